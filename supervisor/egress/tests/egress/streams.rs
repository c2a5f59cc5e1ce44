//! Long answers: at the pace of the slower side, and never taken for whole when they broke off.

use percloud_schemas::web_session_capnp::web_session;

use crate::said::{Said, get, load, problem};
use crate::server::{Server, Visitor, both};
use crate::sink::Sink;
use crate::world::{World, run, soon};

/// What may be on its way between a server and a grain that does not read: the window, both sockets' buffers, and what
/// the kernel grants them beyond.
const ON_ITS_WAY: usize = 24 << 20;

type Tcp = Visitor<tokio::net::TcpStream>;

/// Begins a long answer.
async fn begin(server: &Server, session: &web_session::Client, sink: &Sink, head: &str) -> (Said, Tcp) {
    let serve = async {
        let mut visitor = server.accept().await;
        visitor.request().await;
        visitor.send(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n")).await;
        if head.contains("chunked") {
            visitor.send("5\r\nbegin\r\n").await;
        } else {
            visitor.send("begin").await;
        }
        visitor
    };
    let (said, visitor) = both(load(session, "", sink.bytes()), serve).await;
    let said = said.unwrap();
    assert!(said.stream.is_some());
    (said, visitor)
}

#[test]
fn a_body_of_unknown_length_arrives_whole() {
    run(async {
        let world = World::new().await;
        let server = Server::new().await;
        let session = world.website(&server.url("")).await;
        let sink = Sink::default();
        let (said, mut visitor) = begin(&server, &session, &sink, "Transfer-Encoding: chunked").await;
        sink.until(|facts| facts.bytes == b"begin").await;
        for _ in 0..1000 {
            visitor.send(format!("3e8\r\n{}\r\n", "a".repeat(1000))).await;
        }
        assert!(!sink.read(|facts| facts.is_done));
        visitor.send("0\r\nX-Trailer: a\r\n\r\n").await;
        sink.until(|facts| facts.is_done).await;
        sink.until(|facts| facts.is_dropped).await;
        sink.read(|facts| assert_eq!((facts.bytes.len(), facts.expected), (1_000_005, None)));
        drop(said);
    });
}

#[test]
fn the_size_of_a_long_body_is_announced() {
    run(async {
        let world = World::limited(|limits| limits.whole = 100).await;
        let server = Server::new().await;
        let session = world.website(&server.url("")).await;
        let sink = Sink::default();
        let (_said, mut visitor) = begin(
            &server,
            &session,
            &sink,
            "Connection: close\r\nContent-Length: 101",
        )
        .await;
        visitor.send("b".repeat(96)).await;
        sink.until(|facts| facts.is_done).await;
        sink.read(|facts| assert_eq!((facts.bytes.len(), facts.expected), (101, Some(101))));
        // What is not longer than that comes in one piece, and the stream is left alone.
        let sink = Sink::default();
        let answer = server.answer("200 OK", "", &[b'c'; 100]);
        let (said, _) = both(load(&session, "", sink.bytes()), answer).await;
        assert_eq!(said.unwrap().body, [b'c'; 100]);
        sink.until(|facts| facts.is_dropped).await;
        sink.read(|facts| assert_eq!((facts.bytes.len(), facts.is_done), (0, false)));
    });
}

#[test]
fn a_site_writes_no_faster_than_the_grain_reads() {
    run(async {
        let world = World::new().await;
        let server = Server::new().await;
        let session = world.website(&server.url("")).await;
        let sink = Sink::held();
        let (said, mut visitor) = begin(&server, &session, &sink, "Connection: close").await;
        let piece = vec![b'a'; 64 << 10];
        let mut sent = 0;
        // It stops when writing waits though everything else has had its turn many times.
        loop {
            let pause = std::time::Duration::from_millis(500);
            match tokio::time::timeout(pause, visitor.try_send(&piece)).await {
                Ok(written) => written.unwrap(),
                Err(_) => break,
            }
            sent += piece.len();
            assert!(
                sent < ON_ITS_WAY,
                "{sent} bytes are held for a grain that does not read"
            );
        }
        sink.release();
        drop(visitor);
        sink.until(|facts| facts.bytes.len() >= sent).await;
        drop(said);
    });
}

#[test]
fn letting_go_of_the_handle_ends_the_connection() {
    run(async {
        let world = World::new().await;
        let server = Server::new().await;
        let session = world.website(&server.url("")).await;
        for head in ["Transfer-Encoding: chunked", "Content-Length: 1000000000"] {
            let sink = Sink::default();
            let (said, mut visitor) = begin(&server, &session, &sink, head).await;
            sink.until(|facts| facts.bytes == b"begin").await;
            said.stream
                .as_ref()
                .unwrap()
                .ping_request()
                .send()
                .promise
                .await
                .unwrap();
            drop(said);
            visitor.cut().await;
            sink.until(|facts| facts.is_dropped).await;
            assert!(!sink.read(|facts| facts.is_done));
        }
    });
}

#[test]
fn without_a_stream_a_long_answer_is_an_error_and_a_short_one_is_not() {
    run(async {
        let world = World::limited(|limits| limits.whole = 1000).await;
        let server = Server::new().await;
        let session = world.website(&server.url("")).await;
        let (said, _) = both(get(&session, ""), server.answer("200 OK", "", &[b'a'; 1001])).await;
        let told = problem(said);
        assert!(
            told.contains("1000 bytes") && told.contains("responseStream"),
            "{told}"
        );
        for (pieces, is_short) in [(10, true), (11, false)] {
            let chunked = async {
                let mut visitor = server.accept().await;
                visitor.request().await;
                visitor
                    .send("HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n")
                    .await;
                for _ in 0..pieces {
                    visitor.send(format!("64\r\n{}\r\n", "a".repeat(100))).await;
                }
                let _cut = visitor.try_send("0\r\n\r\n").await;
            };
            let (said, ()) = both(get(&session, ""), chunked).await;
            if is_short {
                assert_eq!(said.unwrap().body, [b'a'; 1000]);
            } else {
                let told = problem(said);
                assert!(told.contains("1000 bytes"), "{told}");
            }
        }
    });
}

#[test]
fn what_breaks_off_is_never_done() {
    run(async {
        let world = World::new().await;
        let server = Server::new().await;
        let session = world.website(&server.url("")).await;
        for (head, more) in [
            ("Transfer-Encoding: chunked", ""),
            ("Transfer-Encoding: chunked", "5\r\nab"),
            ("Transfer-Encoding: chunked", "0\r\n"),
            ("Transfer-Encoding: chunked", "-1\r\n\r\n"),
            ("Transfer-Encoding: chunked", "ffffffffffffffffff\r\na"),
            ("Content-Length: 1000000", "more"),
        ] {
            let sink = Sink::default();
            let (_said, mut visitor) = begin(&server, &session, &sink, head).await;
            sink.until(|facts| facts.bytes == b"begin").await;
            visitor.send(more).await;
            drop(visitor);
            sink.until(|facts| facts.is_dropped).await;
            assert!(!sink.read(|facts| facts.is_done), "{head} {more}");
        }
        // The same within the part that would have come in one piece.
        let short = async {
            let mut visitor = server.accept().await;
            visitor.request().await;
            visitor
                .send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")
                .await;
        };
        let (said, ()) = both(get(&session, ""), short).await;
        let told = problem(said);
        assert!(told.contains("broke off"), "{told}");
    });
}

#[test]
fn a_site_that_falls_silent_is_given_up() {
    run(async {
        let world = World::limited(|limits| limits.answer = std::time::Duration::from_millis(200)).await;
        let server = Server::new().await;
        let session = world.website(&server.url("")).await;
        let sink = Sink::default();
        let (_said, mut visitor) = begin(&server, &session, &sink, "Transfer-Encoding: chunked").await;
        sink.until(|facts| facts.is_dropped).await;
        assert!(!sink.read(|facts| facts.is_done));
        visitor.cut().await;
    });
}

#[test]
fn a_grain_that_dies_ends_its_downloads() {
    run(async {
        let world = World::new().await;
        let server = Server::new().await;
        let session = world.website(&server.url("")).await;
        let sink = Sink::held();
        let (_said, mut visitor) = begin(&server, &session, &sink, "Transfer-Encoding: chunked").await;
        world.hosts_die();
        visitor.cut().await;
        // Nothing is left of it, and others are served.
        let session = world.website(&server.url("")).await;
        let (said, _) = both(get(&session, ""), server.answer("200 OK", "", b"well")).await;
        assert_eq!(soon(async { said }).await.unwrap().body, b"well");
    });
}
