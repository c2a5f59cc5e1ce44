//! The network as a capability: connections and datagrams to other machines.

use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;

use capnp::Error;
use percloud_schemas::ip_capnp::{ip_network, ip_remote_host, tcp_port, udp_port};
use percloud_schemas::util_capnp::byte_stream;
use tokio::net::UdpSocket;
use tokio::sync::Notify;

use crate::said::problem;
use crate::server::Server;
use crate::sink::{Sink, done, write};
use crate::world::{World, run, soon};

pub fn host(network: &ip_network::Client, name: &str) -> ip_remote_host::Client {
    let mut request = network.get_remote_host_by_name_request();
    request.get().set_address(name);
    request.send().pipeline.get_host()
}

pub fn host_at(network: &ip_network::Client, address: IpAddr) -> ip_remote_host::Client {
    let bits = match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    };
    let mut request = network.get_remote_host_request();
    let mut place = request.get().init_address();
    place.set_upper64(u64::try_from(bits >> 64).unwrap());
    place.set_lower64(u64::try_from(bits & u128::from(u64::MAX)).unwrap());
    request.send().pipeline.get_host()
}

fn tcp(host: &ip_remote_host::Client, number: u16) -> tcp_port::Client {
    let mut request = host.get_tcp_port_request();
    request.get().set_port_num(number);
    request.send().pipeline.get_port()
}

pub async fn connect(
    host: &ip_remote_host::Client,
    number: u16,
    sink: &Sink,
) -> Result<byte_stream::Client, Error> {
    let mut request = tcp(host, number).connect_request();
    request.get().set_downstream(sink.bytes());
    let answer = request.send().promise.await?;
    answer.get()?.get_upstream()
}

pub async fn send(
    port: &udp_port::Client,
    message: &[u8],
    back: Option<udp_port::Client>,
) -> Result<(), Error> {
    let mut request = port.send_request();
    request.get().set_message(message);
    if let Some(back) = back {
        request.get().set_return_port(back);
    }
    request.send().promise.await.map(drop)
}

/// A datagram with the way back.
type Mail = (Vec<u8>, udp_port::Client);

/// Where datagrams arrive.
#[derive(Clone, Default)]
pub struct Mailbox(Rc<(RefCell<Vec<Mail>>, Notify)>);

impl Mailbox {
    pub fn port(&self) -> udp_port::Client {
        capnp_rpc::new_client(self.clone())
    }

    pub async fn next(&self) -> Mail {
        soon(async {
            loop {
                let arrived = self.0.0.borrow_mut().pop();
                match arrived {
                    Some(mail) => return mail,
                    None => self.0.1.notified().await,
                }
            }
        })
        .await
    }
}

impl udp_port::Server for Mailbox {
    async fn send(
        self: Rc<Self>,
        params: udp_port::SendParams,
        _: udp_port::SendResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let mail = (params.get_message()?.to_vec(), params.get_return_port()?);
        self.0.0.borrow_mut().push(mail);
        self.0.1.notify_one();
        Ok(())
    }
}

#[test]
fn a_connection_carries_both_ways_until_both_are_done() {
    run(async {
        let world = World::new().await;
        let server = Server::new().await;
        let network = world.network(false).await;
        for machine in [
            host(&network, "localhost"),
            host(&network, "127.0.0.1"),
            host_at(&network, "127.0.0.1".parse().unwrap()),
        ] {
            let sink = Sink::default();
            let upstream = connect(&machine, server.port, &sink).await.unwrap();
            let mut visitor = server.accept().await;
            write(&upstream, b"hello").await.unwrap();
            assert_eq!(visitor.take(5).await, b"hello");
            visitor.send("hello back").await;
            sink.until(|facts| facts.bytes == b"hello back").await;
            // Half of it ends; the other goes on, though nobody holds what was ended.
            done(&upstream).await.unwrap();
            assert_eq!(visitor.closed().await, 0);
            drop(upstream);
            visitor.send(" and again").await;
            sink.until(|facts| facts.bytes == b"hello back and again").await;
            assert!(!sink.read(|facts| facts.is_done));
            drop(visitor);
            sink.until(|facts| facts.is_done && facts.is_dropped).await;
        }
    });
}

#[test]
fn a_site_may_be_done_first() {
    run(async {
        let world = World::new().await;
        let server = Server::new().await;
        let network = world.network(false).await;
        let sink = Sink::default();
        let upstream = connect(&host(&network, "127.0.0.1"), server.port, &sink)
            .await
            .unwrap();
        let mut visitor = server.accept().await;
        visitor.send("that is all").await;
        visitor.shut_down().await;
        sink.until(|facts| facts.is_done).await;
        write(&upstream, b"well").await.unwrap();
        assert_eq!(visitor.take(4).await, b"well");
        drop(upstream);
        assert_eq!(visitor.closed().await, 0);
    });
}

#[test]
fn letting_go_ends_a_connection() {
    run(async {
        let world = World::new().await;
        let server = Server::new().await;
        let network = world.network(false).await;
        let sink = Sink::default();
        let upstream = connect(&host(&network, "127.0.0.1"), server.port, &sink)
            .await
            .unwrap();
        let mut visitor = server.accept().await;
        drop(upstream);
        visitor.cut().await;
        sink.until(|facts| facts.is_dropped).await;
        assert!(!sink.read(|facts| facts.is_done));
    });
}

#[test]
fn a_grain_that_dies_ends_its_connections() {
    run(async {
        let world = World::new().await;
        let server = Server::new().await;
        let network = world.network(false).await;
        for is_half in [false, true] {
            let sink = Sink::held();
            let upstream = connect(&host(&network, "127.0.0.1"), server.port, &sink)
                .await
                .unwrap();
            let mut visitor = server.accept().await;
            if is_half {
                done(&upstream).await.unwrap();
            }
            drop(upstream);
            if !is_half {
                visitor.cut().await;
                continue;
            }
            assert_eq!(visitor.closed().await, 0);
            world.hosts_die();
            visitor.cut().await;
        }
    });
}

#[test]
fn who_does_not_answer_is_named() {
    run(async {
        let world = World::new().await;
        let server = Server::new().await;
        let port = server.port;
        drop(server);
        let network = world.network(false).await;
        let sink = Sink::default();
        let told = problem(connect(&host(&network, "localhost"), port, &sink).await);
        assert!(told.contains("localhost does not answer"), "{told}");
        for name in ["", "a b", "a\r\nb", "no such\0"] {
            let told = problem(connect(&host(&network, name), port, &sink).await);
            assert!(told.contains("not the name of a host"), "{told}");
        }
    });
}

#[test]
fn a_datagram_is_answered_where_it_was_said() {
    run(async {
        let world = World::new().await;
        let far = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let network = world.network(false).await;
        let mut request = host(&network, "localhost").get_udp_port_request();
        request.get().set_port_num(far.local_addr().unwrap().port());
        let port = request.send().pipeline.get_port();
        let mut datagram = vec![0; 70_000];
        let (first, second) = (Mailbox::default(), Mailbox::default());
        for mailbox in [&first, &second] {
            send(&port, b"question", Some(mailbox.port())).await.unwrap();
            let (count, from) = soon(far.recv_from(&mut datagram)).await.unwrap();
            assert_eq!(&datagram[..count], b"question");
            far.send_to(b"answer", from).await.unwrap();
            let (answer, back) = mailbox.next().await;
            assert_eq!(answer, b"answer");
            // The way back of an answer is the port it came from.
            send(&back, b"", None).await.unwrap();
            assert_eq!(soon(far.recv_from(&mut datagram)).await.unwrap(), (0, from));
        }
        // Strangers who guess the port are not heard.
        send(&port, b"question", None).await.unwrap();
        let (_, from) = soon(far.recv_from(&mut datagram)).await.unwrap();
        let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        stranger.send_to(b"lies", from).await.unwrap();
        far.send_to(b"truth", from).await.unwrap();
        assert_eq!(second.next().await.0, b"truth");
        send(&port, &vec![b'a'; 65_536], None).await.unwrap_err();
    });
}

#[test]
fn datagrams_survive_that_nobody_listened() {
    run(async {
        let world = World::new().await;
        let gone = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let place = gone.local_addr().unwrap();
        drop(gone);
        let network = world.network(false).await;
        let mut request = host(&network, "127.0.0.1").get_udp_port_request();
        request.get().set_port_num(place.port());
        let port = request.send().pipeline.get_port();
        let mailbox = Mailbox::default();
        for _ in 0..5 {
            send(&port, b"anybody?", Some(mailbox.port())).await.unwrap();
        }
        let far = UdpSocket::bind(place).await.unwrap();
        send(&port, b"you!", None).await.unwrap();
        let mut datagram = [0; 100];
        let (count, from) = soon(far.recv_from(&mut datagram)).await.unwrap();
        assert_eq!(&datagram[..count], b"you!");
        far.send_to(b"me", from).await.unwrap();
        assert_eq!(mailbox.next().await.0, b"me");
    });
}
