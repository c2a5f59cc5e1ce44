//! The end of a reference: everything made with it is over, for the grain and for the other side.

use percloud_schemas::ip_capnp::{ip_network, tcp_port};
use percloud_schemas::web_session_capnp::web_session;

use crate::network::{Mailbox, connect, host, send as send_datagram};
use crate::said::{get, load, problem, said};
use crate::server::{Server, both};
use crate::sink::{Sink, done, fails, write};
use crate::uploads;
use crate::web_socket;
use crate::world::{Outlet, World, run, soon};

#[test]
fn calls_fail_at_once_and_others_are_left_alone() {
    run(async {
        let world = World::new().await;
        let server = Server::new().await;
        let session = world.website(&server.url("")).await;
        let twin = world.website(&server.url("")).await;
        let other: web_session::Client = world.give(2, Outlet::Website(&server.url(""))).await;
        let network: ip_network::Client = world.give(1, Outlet::Network { tls: false }).await;
        let machine = host(&network, "127.0.0.1");
        machine.get_tcp_port_request().send().promise.await.unwrap();
        let waiting = get(&session, "");
        let ending = async {
            let mut visitor = server.accept().await;
            visitor.request().await;
            world.end(1).await;
            visitor
        };
        let (said, mut visitor) = both(waiting, ending).await;
        assert!(problem(said).contains("revoked"));
        visitor.cut().await;
        for session in [&session, &twin] {
            assert!(problem(get(session, "").await).contains("revoked"));
            let opened = web_socket::open(session, &[], &Sink::default()).await;
            assert!(problem(opened).contains("revoked"));
            session
                .options_request()
                .send()
                .promise
                .await
                .map(drop)
                .unwrap_err();
            session
                .post_streaming_request()
                .send()
                .promise
                .await
                .map(drop)
                .unwrap_err();
        }
        let told = problem(connect(&machine, server.port, &Sink::default()).await);
        assert!(told.contains("revoked"), "{told}");
        assert!(server.is_lonely());
        let (said, _) = both(get(&other, ""), server.answer("200 OK", "", b"well")).await;
        assert_eq!(said.unwrap().body, b"well");
    });
}

#[test]
fn downloads_are_cut() {
    run(async {
        let world = World::new().await;
        let server = Server::new().await;
        let session = world.website(&server.url("")).await;
        for (reference, sink) in [(1, Sink::default()), (2, Sink::held())] {
            let session: web_session::Client = world.give(reference, Outlet::Website(&server.url(""))).await;
            let serve = async {
                let mut visitor = server.accept().await;
                visitor.request().await;
                visitor.send("HTTP/1.1 200 OK\r\n\r\nbegin").await;
                visitor
            };
            let (said, mut visitor) = both(load(&session, "", sink.bytes()), serve).await;
            let said = said.unwrap();
            world.end(reference).await;
            visitor.cut().await;
            assert!(!sink.read(|facts| facts.is_done));
            drop(said);
        }
        drop(session);
    });
}

#[test]
fn uploads_are_cut() {
    run(async {
        let world = World::new().await;
        let server = Server::new().await;
        for is_answered in [false, true] {
            let session = world.website(&server.url("")).await;
            let stream = uploads::post(&session).await;
            let answer = uploads::response(&stream);
            uploads::write(&stream, b"one").await.unwrap();
            let mut visitor = server.accept().await;
            visitor.head().await;
            assert_eq!(visitor.chunk().await.unwrap(), b"one");
            if is_answered {
                visitor.send("HTTP/1.1 204 So\r\n\r\n").await;
                assert_eq!(said(soon(answer).await).unwrap().what, "no content");
                world.end(1).await;
            } else {
                world.end(1).await;
                assert!(problem(soon(answer).await).contains("revoked"));
            }
            assert_eq!(visitor.chunk().await, None);
            visitor.cut().await;
            uploads::fails(&stream).await;
            uploads::done(&stream).await.unwrap_err();
        }
    });
}

#[test]
fn an_upload_in_the_middle_of_a_write_is_cut() {
    run(async {
        let world = World::new().await;
        let server = Server::new().await;
        let session = world.website(&server.url("")).await;
        let stream = uploads::post(&session).await;
        let piece = vec![b'a'; 1 << 20];
        let writing = async {
            loop {
                if let Err(error) = uploads::write(&stream, &piece).await {
                    return error.to_string();
                }
            }
        };
        let ending = async {
            let mut visitor = server.accept().await;
            visitor.head().await;
            world.end(1).await;
            while let Some(piece) = visitor.chunk().await {
                assert!(!piece.is_empty(), "the body came to its end");
            }
        };
        let (told, ()) = both(writing, ending).await;
        assert!(told.contains("revoked"), "{told}");
    });
}

#[test]
fn web_sockets_are_cut() {
    run(async {
        let world = World::new().await;
        let server = Server::new().await;
        let session = world.website(&server.url("")).await;
        let sink = Sink::default();
        let greeting = web_socket::greet(&server, "101 So", "");
        let (opened, mut visitor) = both(web_socket::open(&session, &[], &sink), greeting).await;
        let (_, stream) = opened.unwrap();
        web_socket::send(&stream, b"a").await.unwrap();
        world.end(1).await;
        assert_eq!(visitor.closed().await, 1);
        visitor.cut().await;
        sink.until(|facts| facts.is_dropped).await;
        let told = web_socket::fails(&stream).await;
        assert!(told.contains("revoked"), "{told}");
    });
}

#[test]
fn connections_are_cut() {
    run(async {
        let world = World::new().await;
        let server = Server::new().await;
        for is_half in [false, true] {
            let network = world.network(false).await;
            let sink = Sink::default();
            let machine = host(&network, "127.0.0.1");
            let upstream = connect(&machine, server.port, &sink).await.unwrap();
            let mut visitor = server.accept().await;
            write(&upstream, b"a").await.unwrap();
            if is_half {
                done(&upstream).await.unwrap();
            }
            world.end(1).await;
            assert_eq!(visitor.closed().await, 1);
            visitor.cut().await;
            sink.until(|facts| facts.is_dropped).await;
            assert!(!sink.read(|facts| facts.is_done));
            let told = fails(&upstream).await;
            assert!(told.contains("revoked"), "{told}");
        }
    });
}

#[test]
fn a_connection_whose_grain_does_not_read_is_cut() {
    run(async {
        let world = World::new().await;
        let server = Server::new().await;
        let network = world.network(false).await;
        let sink = Sink::held();
        let upstream = connect(&host(&network, "127.0.0.1"), server.port, &sink)
            .await
            .unwrap();
        let mut visitor = server.accept().await;
        let piece = vec![b'a'; 1 << 20];
        let filled = async { while visitor.try_send(&piece).await.is_ok() {} };
        tokio::time::timeout(std::time::Duration::from_millis(300), filled)
            .await
            .unwrap_err();
        world.end(1).await;
        visitor.cut().await;
        drop(upstream);
    });
}

#[test]
fn idle_connections_are_closed() {
    run(async {
        let patience = std::time::Duration::from_secs(3600);
        let world = World::limited(|limits| limits.patience = patience).await;
        let server = Server::new().await;
        let session = world.website(&server.url("")).await;
        let mut visitor = None;
        for _ in 0..3 {
            let serve = async {
                if visitor.is_none() {
                    visitor = Some(server.accept().await);
                }
                let visitor = visitor.as_mut().unwrap();
                visitor.request().await;
                visitor
                    .send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nwell")
                    .await;
            };
            let (said, ()) = both(get(&session, ""), serve).await;
            assert_eq!(said.unwrap().body, b"well");
        }
        // The time an idle connection has is far longer than this test.
        world.end(1).await;
        visitor.unwrap().cut().await;
    });
}

#[test]
fn datagrams_are_over() {
    run(async {
        let world = World::new().await;
        let far = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let network = world.network(false).await;
        let mut request = host(&network, "127.0.0.1").get_udp_port_request();
        request.get().set_port_num(far.local_addr().unwrap().port());
        let port = request.send().pipeline.get_port();
        send_datagram(&port, b"a", Some(Mailbox::default().port()))
            .await
            .unwrap();
        let (_, from) = soon(far.recv_from(&mut [0; 8])).await.unwrap();
        world.end(1).await;
        // Its place is free, though the grain still holds the port.
        std::net::UdpSocket::bind(("127.0.0.1", from.port())).unwrap();
        assert!(problem(send_datagram(&port, b"b", None).await).contains("revoked"));
        assert!(far.try_recv(&mut [0; 8]).is_err());
        let tcp: tcp_port::Client = {
            let mut request = host(&network, "127.0.0.1").get_tcp_port_request();
            request.get().set_port_num(1);
            request.send().pipeline.get_port()
        };
        let mut request = tcp.connect_request();
        request.get().set_downstream(Sink::default().bytes());
        request.send().promise.await.map(drop).unwrap_err();
    });
}

#[test]
fn calls_of_a_grain_that_died_hold_nothing_up() {
    run(async {
        let world = World::new().await;
        let server = Server::new().await;
        let session = world.website(&server.url("")).await;
        let network: ip_network::Client = world.give(1, Outlet::Network { tls: true }).await;
        let mut asked = Box::pin(get(&session, ""));
        let mut visitor = tokio::select! {
            _ = &mut asked => unreachable!("nobody answers"),
            visitor = server.accept() => visitor,
        };
        visitor.head().await;
        let sink = Sink::default();
        let machine = host(&network, "localhost");
        let mut connecting = Box::pin(connect(&machine, server.port, &sink));
        // It waits for a greeting that never comes.
        let mut silent = tokio::select! {
            _ = &mut connecting => unreachable!("nobody greets"),
            visitor = server.accept() => visitor,
        };
        assert_eq!(silent.take(2).await, [0x16, 0x03]);
        world.hosts_die();
        visitor.cut().await;
        silent.cut().await;
        world.end(1).await;
    });
}

#[test]
fn a_port_that_answers_itself_is_let_go_of() {
    run(async {
        let world = World::limited(|limits| limits.connections = 1).await;
        let far = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        for answers_itself in [false, true, true] {
            let network = world.give_to("grain", 1, Outlet::Network { tls: false }).await;
            let mut request = host(&network, "127.0.0.1").get_udp_port_request();
            request.get().set_port_num(far.local_addr().unwrap().port());
            let port = request.send().promise.await.unwrap();
            let port = port.get().unwrap().get_port().unwrap();
            let back = if answers_itself {
                port.clone()
            } else {
                Mailbox::default().port()
            };
            // What was before it may take a moment to go.
            soon(async {
                while send_datagram(&port, b"a", Some(back.clone())).await.is_err() {
                    tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                }
            })
            .await;
            world.end(1).await;
        }
    });
}
