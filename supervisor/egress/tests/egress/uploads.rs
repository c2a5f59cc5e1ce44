//! Long requests: streamed, and never taken for whole when they broke off.

use std::future::Future;
use std::time::Duration;

use capnp::Error;
use percloud_schemas::util_capnp::byte_stream;
use percloud_schemas::web_session_capnp::web_session::{self, request_stream, response};

use crate::said::{problem, said};
use crate::server::{Server, Visitor, both};
use crate::sink::{self, Sink};
use crate::world::{World, pass, run, soon};

pub async fn post(session: &web_session::Client) -> request_stream::Client {
    let mut request = session.post_streaming_request();
    request.get().set_path("up");
    request.get().set_mime_type("text/x-note");
    let answer = request.send().promise.await.unwrap();
    answer.get().unwrap().get_stream().unwrap()
}

/// The stream as what it is for whoever only writes.
fn bytes(stream: &request_stream::Client) -> byte_stream::Client {
    byte_stream::Client {
        client: stream.client.clone(),
    }
}

pub async fn write(stream: &request_stream::Client, piece: &[u8]) -> Result<(), Error> {
    sink::write(&bytes(stream), piece).await
}

pub async fn done(stream: &request_stream::Client) -> Result<(), Error> {
    sink::done(&bytes(stream)).await
}

pub async fn expect(stream: &request_stream::Client, size: u64) {
    let mut request = bytes(stream).expect_size_request();
    request.get().set_size(size);
    request.send().promise.await.unwrap();
}

/// Writes until that fails: what is written may be on its way for a while.
pub async fn fails(stream: &request_stream::Client) -> String {
    sink::fails(&bytes(stream)).await
}

type Response = capnp::capability::Promise<capnp::capability::Response<response::Owned>, Error>;

pub fn response(stream: &request_stream::Client) -> Response {
    stream.get_response_request().send().promise
}

#[test]
fn an_upload_arrives_piece_by_piece() {
    run(async {
        let world = World::new().await;
        let server = Server::new().await;
        let session = world.website(&server.url("")).await;
        let stream = post(&session).await;
        let answer = response(&stream);
        write(&stream, b"one").await.unwrap();
        let mut visitor = server.accept().await;
        let seen = visitor.head().await;
        assert_eq!(seen.line, "POST /up HTTP/1.1");
        assert_eq!(
            (
                seen.field("content-type"),
                seen.field("transfer-encoding"),
                seen.field("content-length")
            ),
            ("text/x-note", "chunked", "")
        );
        assert_eq!(visitor.chunk().await.unwrap(), b"one");
        write(&stream, b"two").await.unwrap();
        assert_eq!(visitor.chunk().await.unwrap(), b"two");
        done(&stream).await.unwrap();
        assert_eq!(visitor.chunk().await.unwrap(), b"");
        visitor.answer("201 So", "", b"well").await;
        let answer = said(soon(answer).await).unwrap();
        assert_eq!((&*answer.what, &*answer.body), ("content Created", &b"well"[..]));
        fails(&stream).await;
    });
}

#[test]
fn what_is_expected_is_announced() {
    run(async {
        let world = World::new().await;
        let server = Server::new().await;
        let session = world.website(&server.url("")).await;
        let mut request = session.put_streaming_request();
        request.get().set_path("up");
        request.get().set_encoding("gzip");
        let stream = request.send().pipeline.get_stream();
        expect(&stream, 6).await;
        let up = async {
            write(&stream, b"abc").await.unwrap();
            write(&stream, b"def").await.unwrap();
            done(&stream).await.unwrap();
            // A stream that was let go of after its end is answered all the same.
            let answer = response(&stream);
            drop(stream);
            answer.await
        };
        let (answer, seen) = both(up, server.answer("200 OK", "", b"well")).await;
        assert_eq!(said(answer).unwrap().body, b"well");
        assert_eq!(
            (
                &*seen.line,
                seen.field("content-length"),
                seen.field("content-encoding"),
                &*seen.body
            ),
            ("PUT /up HTTP/1.1", "6", "gzip", &b"abcdef"[..])
        );
    });
}

#[test]
fn an_empty_upload_is_a_request() {
    run(async {
        let world = World::new().await;
        let server = Server::new().await;
        let session = world.website(&server.url("")).await;
        let stream = post(&session).await;
        done(&stream).await.unwrap();
        let (answer, seen) = both(response(&stream), server.answer("204 So", "", b"")).await;
        assert_eq!(said(answer).unwrap().what, "no content");
        assert_eq!(seen.field("content-length"), "0");
    });
}

#[test]
fn a_grain_writes_no_faster_than_the_site_reads() {
    run(async {
        let world = World::new().await;
        let server = Server::new().await;
        let session = world.website(&server.url("")).await;
        let stream = post(&session).await;
        let piece = vec![b'a'; 1 << 20];
        let sent = std::cell::Cell::new(0);
        let mut writing = std::pin::pin!(async {
            for _ in 0..64 {
                write(&stream, &piece).await?;
                sent.set(sent.get() + 1);
            }
            done(&stream).await
        });
        let mut visitor = stuck(&server, &mut writing).await;
        assert!(
            sent.get() < 32,
            "{} MiB are held for a site that does not read",
            sent.get()
        );
        let read = async {
            let mut length = 0;
            loop {
                let piece = visitor.chunk().await.unwrap();
                if piece.is_empty() {
                    return length;
                }
                length += piece.len();
            }
        };
        let (written, length) = both(writing, read).await;
        written.unwrap();
        assert_eq!(length, 64 << 20);
    });
}

#[test]
fn a_long_upload_is_not_late() {
    run(async {
        let world = World::limited(|limits| limits.answer = Duration::from_secs(10)).await;
        let server = Server::new().await;
        let session = world.website(&server.url("")).await;
        let stream = post(&session).await;
        let answer = response(&stream);
        let mut visitor = None;
        for _ in 0..4 {
            // The grain has its own pace.
            pass(Duration::from_secs(7)).await;
            write(&stream, b"piece").await.unwrap();
            if visitor.is_none() {
                visitor = Some(server.accept().await);
            }
        }
        done(&stream).await.unwrap();
        let mut visitor = visitor.unwrap();
        assert!(visitor.request().await.is_complete);
        visitor.answer("200 OK", "", b"well").await;
        assert_eq!(said(soon(answer).await).unwrap().body, b"well");
        // But from the end on the site has only so much time.
        let stream = post(&session).await;
        done(&stream).await.unwrap();
        let _silent = server.accept().await;
        pass(Duration::from_secs(11)).await;
        let told = problem(soon(response(&stream)).await);
        assert!(told.contains("did not answer"), "{told}");
    });
}

#[test]
fn a_long_answer_to_an_upload_goes_to_its_stream() {
    run(async {
        let world = World::limited(|limits| limits.whole = 10).await;
        let server = Server::new().await;
        let session = world.website(&server.url("")).await;
        let sink = Sink::default();
        let mut request = session.post_streaming_request();
        request.get().init_context().set_response_stream(sink.bytes());
        let stream = request.send().pipeline.get_stream();
        done(&stream).await.unwrap();
        let (answer, _) = both(response(&stream), server.answer("200 OK", "", &[b'a'; 1000])).await;
        let answer = said(answer).unwrap();
        drop(stream);
        sink.until(|facts| facts.is_done).await;
        assert_eq!(sink.read(|facts| facts.bytes.len()), 1000);
        drop(answer);
    });
}

/// An upload that waits for its site, in the middle of a write.
pub async fn stuck(
    server: &Server,
    write: impl Future<Output = Result<(), Error>>,
) -> Visitor<tokio::net::TcpStream> {
    let visit = async {
        let mut visitor = server.accept().await;
        visitor.head().await;
        visitor
    };
    // Long enough for every buffer on the way to fill.
    let written = tokio::time::timeout(Duration::from_millis(500), write);
    let (written, visitor) = both(written, visit).await;
    written.map(drop).unwrap_err();
    visitor
}
