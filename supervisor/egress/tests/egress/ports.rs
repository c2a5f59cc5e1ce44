//! Ports of this machine as a capability: who comes there comes to the grain.

use std::cell::RefCell;
use std::rc::Rc;

use capnp::Error;
use percloud_schemas::ip_capnp::{ip_interface, tcp_port};
use percloud_schemas::util_capnp::{byte_stream, handle};
use tokio::net::{TcpStream, UdpSocket};

use crate::network::{Mailbox, send};
use crate::said::problem;
use crate::server::Visitor;
use crate::sink::{Sink, done, write};
use crate::world::{Outlet, World, run, soon};

/// An app that takes connections.
#[derive(Clone, Default)]
pub struct App {
    pub sink: Sink,
    ways_out: Rc<RefCell<Vec<byte_stream::Client>>>,
    refuses: bool,
}

impl App {
    async fn way_out(&self) -> byte_stream::Client {
        soon(async {
            loop {
                let way = self.ways_out.borrow_mut().pop();
                match way {
                    Some(way) => return way,
                    None => tokio::task::yield_now().await,
                }
            }
        })
        .await
    }
}

impl tcp_port::Server for App {
    async fn connect(
        self: Rc<Self>,
        params: tcp_port::ConnectParams,
        mut results: tcp_port::ConnectResults,
    ) -> Result<(), Error> {
        if self.refuses {
            return Err(Error::failed("no".to_owned()));
        }
        self.ways_out.borrow_mut().push(params.get()?.get_downstream()?);
        results.get().set_upstream(self.sink.bytes());
        Ok(())
    }
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

async fn listen_tcp(
    interface: &ip_interface::Client,
    number: u16,
    app: &App,
) -> Result<handle::Client, Error> {
    let mut request = interface.listen_tcp_request();
    request.get().set_port_num(number);
    request.get().set_port(capnp_rpc::new_client(app.clone()));
    let answer = request.send().promise.await?;
    answer.get()?.get_handle()
}

async fn listen_udp(
    interface: &ip_interface::Client,
    number: u16,
    mailbox: &Mailbox,
) -> Result<handle::Client, Error> {
    let mut request = interface.listen_udp_request();
    request.get().set_port_num(number);
    request.get().set_port(mailbox.port());
    let answer = request.send().promise.await?;
    answer.get()?.get_handle()
}

/// Listens somewhere.
pub async fn listen(interface: &ip_interface::Client, app: &App) -> (u16, handle::Client) {
    for _ in 0..20 {
        let number = free_port();
        if let Ok(handle) = listen_tcp(interface, number, app).await {
            return (number, handle);
        }
    }
    panic!("no port is free");
}

pub async fn listen_for_mail(interface: &ip_interface::Client, mailbox: &Mailbox) -> (u16, handle::Client) {
    for _ in 0..20 {
        let number = free_port();
        if let Ok(handle) = listen_udp(interface, number, mailbox).await {
            return (number, handle);
        }
    }
    panic!("no port is free");
}

async fn visit(number: u16) -> Visitor<TcpStream> {
    Visitor::new(TcpStream::connect(("127.0.0.1", number)).await.unwrap())
}

#[test]
fn who_connects_comes_to_the_app() {
    run(async {
        let world = World::new().await;
        let interface = world.interface().await;
        let app = App::default();
        let (number, handle) = listen(&interface, &app).await;
        handle.ping_request().send().promise.await.unwrap();
        let mut visitor = visit(number).await;
        visitor.send("hello").await;
        app.sink.until(|facts| facts.bytes == b"hello").await;
        let way_out = app.way_out().await;
        write(&way_out, b"hello back").await.unwrap();
        assert_eq!(visitor.take(10).await, b"hello back");
        visitor.shut_down().await;
        app.sink.until(|facts| facts.is_done).await;
        write(&way_out, b"bye").await.unwrap();
        done(&way_out).await.unwrap();
        assert_eq!(visitor.take(4).await, b"bye");
        app.sink.until(|facts| facts.is_dropped).await;
    });
}

#[test]
fn an_app_hangs_up_by_letting_go() {
    run(async {
        let world = World::new().await;
        let interface = world.interface().await;
        let app = App::default();
        let (number, _handle) = listen(&interface, &app).await;
        let mut visitor = visit(number).await;
        drop(app.way_out().await);
        visitor.cut().await;
        let app = App {
            refuses: true,
            ..App::default()
        };
        let (number, _handle) = listen(&interface, &app).await;
        visit(number).await.cut().await;
    });
}

#[test]
fn a_taken_port_is_named_and_one_let_go_of_is_free() {
    run(async {
        let world = World::new().await;
        let interface = world.interface().await;
        let app = App::default();
        let (number, handle) = listen(&interface, &app).await;
        let told = problem(listen_tcp(&interface, number, &app).await);
        assert!(told.contains(&format!("port {number} cannot be had")), "{told}");
        let mut visitor = visit(number).await;
        let way_out = app.way_out().await;
        drop(handle);
        let again = async {
            loop {
                if let Ok(handle) = listen_tcp(&interface, number, &app).await {
                    return handle;
                }
            }
        };
        let _handle = soon(again).await;
        // Who was there already stays.
        write(&way_out, b"well").await.unwrap();
        assert_eq!(visitor.take(4).await, b"well");
    });
}

#[test]
fn datagrams_come_to_the_app_and_are_answered() {
    run(async {
        let world = World::new().await;
        let interface = world.interface().await;
        let mailbox = Mailbox::default();
        let (number, handle) = listen_for_mail(&interface, &mailbox).await;
        let told = problem(listen_udp(&interface, number, &mailbox).await);
        assert!(told.contains(&format!("port {number} cannot be had")), "{told}");
        let far = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        far.send_to(b"question", ("127.0.0.1", number)).await.unwrap();
        let (question, back) = mailbox.next().await;
        assert_eq!(question, b"question");
        send(&back, b"answer", None).await.unwrap();
        let mut datagram = [0; 100];
        let (count, from) = soon(far.recv_from(&mut datagram)).await.unwrap();
        assert_eq!((&datagram[..count], from.port()), (&b"answer"[..], number));
        // The port is free though the way back is still held, which leads nowhere now.
        drop(handle);
        let again = async {
            loop {
                if let Ok(handle) = listen_udp(&interface, number, &mailbox).await {
                    return handle;
                }
            }
        };
        let _handle = soon(again).await;
        let told = problem(send(&back, b"answer", None).await);
        assert!(told.contains("closed"), "{told}");
    });
}

#[test]
fn the_end_frees_the_ports() {
    run(async {
        let world = World::new().await;
        let interface = world.interface().await;
        let (app, mailbox) = (App::default(), Mailbox::default());
        let (tcp, _handle) = listen(&interface, &app).await;
        let (udp, _other) = listen_for_mail(&interface, &mailbox).await;
        let mut visitor = visit(tcp).await;
        let _way_out = app.way_out().await;
        let far = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        far.send_to(b"question", ("127.0.0.1", udp)).await.unwrap();
        let (_, back) = mailbox.next().await;
        world.end(1).await;
        std::net::TcpListener::bind(("127.0.0.1", tcp)).unwrap();
        std::net::UdpSocket::bind(("127.0.0.1", udp)).unwrap();
        visitor.cut().await;
        send(&back, b"answer", None).await.unwrap_err();
        listen_tcp(&interface, tcp, &app).await.map(drop).unwrap_err();
        listen_udp(&interface, udp, &mailbox).await.map(drop).unwrap_err();
        let interface: ip_interface::Client = world.give(2, Outlet::Interface).await;
        listen_tcp(&interface, tcp, &app).await.unwrap();
    });
}
