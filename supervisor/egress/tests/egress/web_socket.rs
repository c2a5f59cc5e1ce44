//! WebSockets: greeted by us, spoken by the grain.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use capnp::Error;
use percloud_schemas::web_session_capnp::web_session::{self, web_socket_stream};
use sha1::{Digest, Sha1};
use tokio::net::TcpStream;

use crate::said::problem;
use crate::server::{Server, Visitor, both};
use crate::sink::Sink;
use crate::world::{World, run, soon};

type Opened = (Vec<String>, web_socket_stream::Client);

pub async fn open(session: &web_session::Client, protocols: &[&str], sink: &Sink) -> Result<Opened, Error> {
    let mut request = session.open_web_socket_request();
    request.get().set_path("socket");
    request.get().set_client_stream(sink.frames());
    let mut list = request
        .get()
        .init_protocol(u32::try_from(protocols.len()).unwrap());
    for (index, protocol) in (0..).zip(protocols) {
        list.set(index, protocol);
    }
    let answer = request.send().promise.await?;
    let answer = answer.get()?;
    let mut chosen = Vec::new();
    for protocol in answer.get_protocol()? {
        chosen.push(protocol?.to_string()?);
    }
    Ok((chosen, answer.get_server_stream()?))
}

pub async fn send(stream: &web_socket_stream::Client, bytes: &[u8]) -> Result<(), Error> {
    let mut request = stream.send_bytes_request();
    request.get().set_message(bytes);
    request.send().await
}

/// Speaks until that fails: what is said may be on its way for a while.
pub async fn fails(stream: &web_socket_stream::Client) -> String {
    soon(async {
        loop {
            if let Err(error) = send(stream, b"more").await {
                return error.to_string();
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

fn accepted(key: &str) -> String {
    let digest = Sha1::new()
        .chain_update(key)
        .chain_update("258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(digest.finalize())
}

/// Greets a visitor, with more fields and another status than usual if that is asked for.
pub async fn greet(server: &Server, status: &str, more: &str) -> Visitor<TcpStream> {
    let mut visitor = server.accept().await;
    let seen = visitor.head().await;
    assert_eq!(seen.line, "GET /socket HTTP/1.1");
    assert_eq!(
        (
            seen.field("connection"),
            seen.field("upgrade"),
            seen.field("sec-websocket-version")
        ),
        ("Upgrade", "websocket", "13")
    );
    assert_eq!(seen.field("sec-websocket-extensions"), "");
    let key = seen.field("sec-websocket-key");
    assert_eq!(STANDARD.decode(key).unwrap().len(), 16);
    let accepted = if more.contains("Accept") {
        String::new()
    } else {
        format!("Sec-WebSocket-Accept: {}\r\n", accepted(key))
    };
    let offered = seen.field("sec-websocket-protocol");
    visitor
        .send(format!(
            "HTTP/1.1 {status}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Offered: {offered}\r\n{accepted}{more}\r\n"
        ))
        .await;
    visitor
}

#[test]
fn frames_pass_both_ways_as_they_are() {
    run(async {
        let world = World::new().await;
        let server = Server::new().await;
        let session = world.website(&server.url("")).await;
        let sink = Sink::default();
        let greeting = greet(&server, "101 So", "Sec-WebSocket-Protocol: chat.2\r\n");
        let (opened, mut visitor) = both(open(&session, &["chat.1", "chat.2"], &sink), greeting).await;
        let (chosen, stream) = opened.unwrap();
        assert_eq!(chosen, ["chat.2"]);
        for _ in 0..10 {
            send(&stream, b"\x81\x82abcd\0\xff").await.unwrap();
            let frame = visitor.take(8).await;
            assert_eq!(frame, b"\x81\x82abcd\0\xff");
            visitor.send(&frame).await;
        }
        sink.until(|facts| facts.bytes.len() == 80).await;
        visitor.shut_down().await;
        sink.until(|facts| facts.is_dropped).await;
        send(&stream, b"last").await.unwrap();
        assert_eq!(visitor.take(4).await, b"last");
        drop(stream);
        visitor.cut().await;
    });
}

#[test]
fn a_site_speaks_no_faster_than_the_grain_listens() {
    run(async {
        let world = World::new().await;
        let server = Server::new().await;
        let session = world.website(&server.url("")).await;
        let sink = Sink::held();
        let greeting = greet(&server, "101 So", "");
        let (opened, mut visitor) = both(open(&session, &[], &sink), greeting).await;
        let (_, stream) = opened.unwrap();
        let piece = vec![b'a'; 64 << 10];
        let mut sent = 0;
        let flood = async {
            while visitor.try_send(&piece).await.is_ok() {
                sent += piece.len();
                assert!(
                    sent < 24 << 20,
                    "{sent} bytes are held for a grain that does not listen"
                );
            }
        };
        let flooded = tokio::time::timeout(std::time::Duration::from_millis(500), flood).await;
        flooded.unwrap_err();
        sink.release();
        sink.until(|facts| facts.bytes.len() >= sent).await;
        // The other way is open all the time.
        send(&stream, b"stop").await.unwrap();
        assert_eq!(visitor.take(4).await, b"stop");
    });
}

#[test]
fn without_protocols_none_is_offered_or_taken() {
    run(async {
        let world = World::new().await;
        let server = Server::new().await;
        let session = world.website(&server.url("")).await;
        let sink = Sink::default();
        let (opened, mut visitor) = both(open(&session, &[], &sink), greet(&server, "101 So", "")).await;
        let (chosen, stream) = opened.unwrap();
        assert!(chosen.is_empty());
        drop(stream);
        visitor.cut().await;
        sink.until(|facts| facts.is_dropped).await;
    });
}

#[test]
fn what_is_no_agreement_opens_nothing() {
    run(async {
        let world = World::new().await;
        let server = Server::new().await;
        let session = world.website(&server.url("")).await;
        for (status, more) in [
            ("200 OK", "Content-Length: 0\r\nConnection: close\r\n"),
            ("403 No", "Content-Length: 0\r\nConnection: close\r\n"),
            ("101 So", "Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n"),
            ("101 So", "X-No-Accept: a\r\n"),
            ("101 So", "Sec-WebSocket-Protocol: chat.9\r\n"),
            ("101 So", "Sec-WebSocket-Extensions: permessage-deflate\r\n"),
        ] {
            let sink = Sink::default();
            let (opened, mut visitor) =
                both(open(&session, &["chat.1"], &sink), greet(&server, status, more)).await;
            let told = problem(opened);
            let number = status.split(' ').next().unwrap();
            assert!(told.contains("no WebSocket") && told.contains(number), "{told}");
            sink.until(|facts| facts.is_dropped).await;
            if number == "101" {
                visitor.cut().await;
            }
        }
        let sink = Sink::default();
        for protocol in ["a\r\nX-C: d", "a\0"] {
            open(&session, &[protocol], &sink).await.map(drop).unwrap_err();
        }
        open(&session, &["a"; 33], &sink).await.map(drop).unwrap_err();
        assert!(server.is_lonely());
    });
}

#[test]
fn a_site_that_answers_with_an_upgrade_unasked_is_an_error() {
    run(async {
        let world = World::new().await;
        let server = Server::new().await;
        let session = world.website(&server.url("")).await;
        let upgrade = async {
            let mut visitor = server.accept().await;
            visitor.request().await;
            visitor
                .send("HTTP/1.1 101 So\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
                .await;
            visitor
        };
        let (said, mut visitor) = both(crate::said::get(&session, ""), upgrade).await;
        said.map(drop).unwrap_err();
        visitor.cut().await;
    });
}
