//! Grains that want too much.

use percloud_schemas::web_session_capnp::web_session;
use tokio::task::JoinSet;

use crate::network::{connect, host};
use crate::said::{Said, get, load, problem};
use crate::server::{Server, Visitor, both};
use crate::sink::Sink;
use crate::world::{Outlet, World, run};

type Tcp = Visitor<tokio::net::TcpStream>;

#[test]
fn one_connection_too_many_is_refused_and_harms_nobody() {
    run(async {
        let world = World::new().await;
        let server = Server::new().await;
        let session = world.website(&server.url("")).await;
        let other: web_session::Client = world.give(2, Outlet::Website(&server.url(""))).await;
        let mut open: Vec<(Said, Tcp, Sink)> = Vec::new();
        for _ in 0..64 {
            let sink = Sink::default();
            let serve = async {
                let mut visitor = server.accept().await;
                visitor.request().await;
                visitor.send("HTTP/1.1 200 OK\r\n\r\na").await;
                visitor
            };
            let (said, visitor) = both(load(&session, "", sink.bytes()), serve).await;
            open.push((said.unwrap(), visitor, sink));
        }
        let told = problem(get(&session, "").await);
        assert!(told.contains("too many connections"), "{told}");
        let refused = session.post_streaming_request().send().promise.await;
        assert!(problem(refused).contains("too many connections"));
        let opened = crate::web_socket::open(&session, &[], &Sink::default()).await;
        assert!(problem(opened).contains("too many connections"));
        assert!(server.is_lonely());
        let (said, _) = both(get(&other, ""), server.answer("200 OK", "", b"well")).await;
        assert_eq!(said.unwrap().body, b"well");
        for (_, visitor, sink) in &mut open {
            visitor.send("b").await;
            sink.until(|facts| facts.bytes == b"ab").await;
        }
        // Room is made by letting go.
        let (said, mut visitor, _sink) = open.pop().unwrap();
        drop(said);
        visitor.cut().await;
        let (said, _) = both(get(&session, ""), server.answer("200 OK", "", b"well")).await;
        assert_eq!(said.unwrap().body, b"well");
    });
}

#[test]
fn an_upload_takes_room_until_its_end() {
    run(async {
        let world = World::limited(|limits| limits.connections = 2).await;
        let server = Server::new().await;
        let session = world.website(&server.url("")).await;
        let mut open = Vec::new();
        for _ in 0..2 {
            let stream = crate::uploads::post(&session).await;
            let answer = crate::uploads::response(&stream);
            crate::uploads::write(&stream, b"a").await.unwrap();
            let mut visitor = server.accept().await;
            visitor.head().await;
            // An answer does not end it.
            visitor.send("HTTP/1.1 204 So\r\nConnection: close\r\n\r\n").await;
            answer.await.map(drop).unwrap();
            open.push((stream, visitor));
        }
        let told = problem(get(&session, "").await);
        assert!(told.contains("too many connections"), "{told}");
        let (stream, mut visitor) = open.pop().unwrap();
        assert_eq!(visitor.chunk().await.unwrap(), b"a");
        crate::uploads::done(&stream).await.unwrap();
        assert_eq!(visitor.chunk().await.unwrap(), b"");
        assert_eq!(visitor.closed().await, 0);
        let (said, _) = both(get(&session, ""), server.answer("200 OK", "", b"well")).await;
        assert_eq!(said.unwrap().body, b"well");
    });
}

#[test]
fn connections_to_ports_are_counted_too() {
    run(async {
        let world = World::limited(|limits| limits.connections = 3).await;
        let server = Server::new().await;
        let machine = host(&world.network(false).await, "127.0.0.1");
        let mut open = Vec::new();
        for _ in 0..3 {
            let upstream = connect(&machine, server.port, &Sink::default()).await.unwrap();
            open.push((upstream, server.accept().await));
        }
        let told = problem(connect(&machine, server.port, &Sink::default()).await);
        assert!(told.contains("too many connections"), "{told}");
        let (upstream, mut visitor) = open.pop().unwrap();
        drop(upstream);
        visitor.cut().await;
        connect(&machine, server.port, &Sink::default()).await.unwrap();
    });
}

#[test]
fn ten_thousand_calls_at_once_are_all_answered() {
    run(async {
        let world = World::new().await;
        let server = Server::new().await;
        let session = world.website(&server.url("")).await;
        let mut calls = JoinSet::new();
        for _ in 0..10_000 {
            let session = session.clone();
            calls.spawn_local(async move { get(&session, "").await });
        }
        let mut visits = JoinSet::new();
        let (mut well, mut refused) = (0, 0);
        while well + refused < 10_000 {
            tokio::select! {
                Some(said) = calls.join_next() => match said.unwrap() {
                    Ok(said) => {
                        assert_eq!(said.body, b"well");
                        well += 1;
                    }
                    Err(error) => {
                        assert!(error.to_string().contains("too many connections"), "{error}");
                        refused += 1;
                    }
                },
                mut visitor = server.accept() => {
                    visits.spawn_local(async move {
                        visitor.request().await;
                        visitor.answer("200 OK", "", b"well").await;
                    });
                }
            }
        }
        assert!(well >= 64, "{well} were answered");
        let (said, _) = both(get(&session, ""), server.answer("200 OK", "", b"well")).await;
        assert_eq!(said.unwrap().body, b"well");
    });
}

#[test]
fn who_takes_many_times_has_no_more_connections() {
    run(async {
        let world = World::new().await;
        let server = Server::new().await;
        let mut machines = Vec::new();
        for (holder, reference) in [("grain", 1), ("grain", 2), ("other", 3)] {
            let network = world.give_to(holder, reference, Outlet::Network { tls: false });
            machines.push(host(&network.await, "127.0.0.1"));
        }
        let mut open = Vec::new();
        for count in 0..64 {
            let upstream = connect(&machines[count % 2], server.port, &Sink::default()).await;
            open.push((upstream.unwrap(), server.accept().await));
        }
        for machine in &machines[..2] {
            let told = problem(connect(machine, server.port, &Sink::default()).await);
            assert!(told.contains("too many connections"), "{told}");
        }
        let session: web_session::Client = world.give_to("grain", 4, Outlet::Website(&server.url(""))).await;
        let told = problem(get(&session, "").await);
        assert!(told.contains("too many connections"), "{told}");
        connect(&machines[2], server.port, &Sink::default())
            .await
            .unwrap();
    });
}

#[test]
fn all_together_have_a_bound() {
    run(async {
        let world = World::limited(|limits| limits.in_all = 3).await;
        let server = Server::new().await;
        let mut open = Vec::new();
        for reference in 1..=3 {
            let network = world.give(reference, Outlet::Network { tls: false }).await;
            let machine = host(&network, "127.0.0.1");
            let upstream = connect(&machine, server.port, &Sink::default()).await;
            open.push((upstream.unwrap(), server.accept().await));
        }
        let network = world.give(4, Outlet::Network { tls: false }).await;
        let machine = host(&network, "127.0.0.1");
        let told = problem(connect(&machine, server.port, &Sink::default()).await);
        assert!(told.contains("too many connections"), "{told}");
        let (upstream, mut visitor) = open.pop().unwrap();
        drop(upstream);
        visitor.cut().await;
        connect(&machine, server.port, &Sink::default()).await.unwrap();
    });
}

#[test]
fn nobody_fills_the_door_alone() {
    run(async {
        let world = World::new().await;
        let admit = async |holder: &str, number: u16| {
            let mut nonce = [0; 32];
            nonce[..2].copy_from_slice(&number.to_be_bytes());
            let outlet = Outlet::Network { tls: false };
            world.try_admit_for(holder, &nonce, &[1; 16], outlet).await
        };
        for number in 0..1000 {
            admit("grain", number).await.unwrap();
        }
        assert!(problem(admit("grain", 1000).await).contains("too many wait"));
        admit("other", 1001).await.unwrap();
    });
}
