//! Long bodies both ways: framing, pace, memory, and who may end them.

use std::rc::Rc;

use percloud_schemas::util_capnp::byte_stream;
use percloud_schemas::web_session_capnp::web_session::{self, request_stream, response};
use tokio::io::AsyncWriteExt;

use crate::app::{App, Request};
use crate::harness::{Bridge, Sink, run};

const BIG: u64 = 100 << 20;

/// Most the bridge's memory may grow while [`BIG`] bytes pass through it, in KiB.
const GROWTH: u64 = 16 << 10;

fn resident_kib(bridge: &Bridge) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", bridge.process.id().unwrap())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Begins a GET whose response goes to `sink`, and returns once the app has sent `head`.
async fn download(
    session: &web_session::Client,
    app: &App,
    sink: &Rc<Sink>,
    head: &str,
) -> (capnp::capability::Response<response::Owned>, Request) {
    let mut request = session.get_request();
    request.get().init_context().set_response_stream(sink.client());
    let app = async {
        let mut request = app.request().await;
        request.send(head).await;
        request
    };
    let (response, request) = tokio::join!(request.send().promise, app);
    (response.unwrap(), request)
}

fn handle(
    response: &capnp::capability::Response<response::Owned>,
) -> percloud_schemas::util_capnp::handle::Client {
    let response::Content(content) = response.get().unwrap().which().unwrap() else {
        panic!("no content")
    };
    let response::content::body::Stream(handle) = content.get_body().which().unwrap() else {
        panic!("not streamed")
    };
    handle.unwrap()
}

async fn upload(session: &web_session::Client, sink: &Rc<Sink>) -> request_stream::Client {
    let mut request = session.post_streaming_request();
    request.get().set_path("up");
    request.get().set_mime_type("text/x");
    request.get().set_encoding("gzip");
    request.get().init_context().set_response_stream(sink.client());
    request
        .send()
        .promise
        .await
        .unwrap()
        .get()
        .unwrap()
        .get_stream()
        .unwrap()
}

async fn write(stream: &request_stream::Client, bytes: &[u8]) -> Result<(), capnp::Error> {
    let stream: byte_stream::Client = capnp::capability::FromClientHook::cast_to(stream.clone());
    let mut request = stream.write_request();
    request.get().set_data(bytes);
    request.send().await
}

async fn done(stream: &request_stream::Client) -> Result<(), capnp::Error> {
    let stream: byte_stream::Client = capnp::capability::FromClientHook::cast_to(stream.clone());
    stream.done_request().send().promise.await.map(|_| ())
}

async fn expect_size(stream: &request_stream::Client, size: u64) {
    let stream: byte_stream::Client = capnp::capability::FromClientHook::cast_to(stream.clone());
    let mut request = stream.expect_size_request();
    request.get().set_size(size);
    request.send().promise.await.unwrap();
}

fn inline(response: &capnp::capability::Response<response::Owned>) -> Vec<u8> {
    let response::Content(content) = response.get().unwrap().which().unwrap() else {
        panic!("no content")
    };
    let response::content::body::Bytes(bytes) = content.get_body().which().unwrap() else {
        panic!("streamed")
    };
    bytes.unwrap().to_vec()
}

#[test]
fn a_long_body_is_streamed_with_its_size() {
    run(async {
        let (bridge, app) = Bridge::simple().await;
        let session = bridge.alice().await;
        let sink = Rc::<Sink>::default();
        let (response, mut request) = download(
            &session,
            &app,
            &sink,
            "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n",
        )
        .await;
        let handle = handle(&response);
        let body: Vec<u8> = (0..100_000_u32).map(|byte| byte.to_le_bytes()[0]).collect();
        request.send(&body).await;
        sink.until(|sink| sink.done.get()).await;
        assert_eq!(sink.size.get(), Some(100_000));
        assert_eq!(*sink.bytes.borrow(), body);
        handle.ping_request().send().promise.await.unwrap();
    });
}

#[test]
fn an_open_ended_body_is_passed_on_as_it_comes() {
    run(async {
        let (bridge, app) = Bridge::simple().await;
        let session = bridge.alice().await;
        for (head, pieces, end) in [
            ("HTTP/1.1 200 OK\r\n\r\n", ["data: 1\n", "data: 2\n"], ""),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                ["8\r\ndata: 1\n\r\n", "8\r\ndata: 2\n\r\n"],
                "0\r\n\r\n",
            ),
        ] {
            let sink = Rc::<Sink>::default();
            // The response is here before the first byte of its body is.
            let (response, mut request) = download(&session, &app, &sink, head).await;
            let _handle = handle(&response);
            for (count, piece) in (1..).zip(pieces) {
                request.send(piece).await;
                sink.until(|sink| sink.count.get() == 8 * count).await;
            }
            assert!(!sink.done.get());
            request.reply(end).await;
            sink.until(|sink| sink.done.get()).await;
            assert_eq!(*sink.bytes.borrow(), b"data: 1\ndata: 2\n");
            assert_eq!(sink.size.get(), None);
        }
    });
}

#[test]
fn a_body_that_breaks_off_is_never_done() {
    run(async {
        let (bridge, app) = Bridge::simple().await;
        let session = bridge.alice().await;
        for head in [
            "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n186a0\r\n",
        ] {
            let sink = Rc::<Sink>::default();
            let (response, mut request) = download(&session, &app, &sink, head).await;
            let _handle = handle(&response);
            drop(response);
            request.reply("only this").await;
            sink.until(|sink| sink.dropped.get()).await;
            assert!(!sink.done.get());
            assert_eq!(*sink.bytes.borrow(), b"only this");
        }
    });
}

#[test]
fn dropping_the_handle_hangs_up_on_the_app() {
    run(async {
        let (mut bridge, app) = Bridge::simple().await;
        let session = bridge.alice().await;
        let sink = Rc::<Sink>::default();
        let (response, mut request) = download(&session, &app, &sink, "HTTP/1.1 200 OK\r\n\r\nx").await;
        drop(response);
        let piece = [0; 64 << 10];
        while request.socket.write_all(&piece).await.is_ok() {}
        assert!(!sink.done.get());
        assert!(bridge.process.try_wait().unwrap().is_none());
    });
}

#[test]
fn a_cancelled_request_hangs_up_on_the_app() {
    run(async {
        let (bridge, app) = Bridge::simple().await;
        let session = bridge.alice().await;
        let mut call = Box::pin(session.get_request().send().promise);
        let mut request = tokio::select! {
            request = app.request() => request,
            _ = &mut call => panic!("answered without the app"),
        };
        drop(call);
        assert_eq!(request.rest().await, b"");
    });
}

#[test]
fn a_slow_reader_slows_the_app_and_costs_no_memory() {
    run(async {
        let (bridge, app) = Bridge::simple().await;
        let session = bridge.alice().await;
        let sink = Rc::<Sink>::default();
        sink.counting.set(true);
        sink.allowance.set(Some(0));
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {BIG}\r\n\r\n");
        let (response, mut request) = download(&session, &app, &sink, &head).await;
        let _handle = handle(&response);
        let before = resident_kib(&bridge);

        // Nothing is taken: the app gets stuck after what the buffers on the way hold.
        let piece = vec![0; 64 << 10];
        let mut sent = 0_u64;
        loop {
            tokio::select! {
                result = request.socket.write(&piece) => sent += result.unwrap() as u64,
                () = tokio::time::sleep(std::time::Duration::from_millis(500)) => break,
            }
        }
        assert!(sent < 32 << 20, "{sent} bytes went nowhere");

        // Then everything is.
        sink.allowance.set(Some(u64::MAX));
        sink.changed.notify_waiters();
        while sent < BIG {
            let count = piece.len().min(usize::try_from(BIG - sent).unwrap());
            sent += request.socket.write(&piece[..count]).await.unwrap() as u64;
        }
        sink.until(|sink| sink.done.get()).await;
        assert_eq!(sink.count.get(), BIG);
        let grown = resident_kib(&bridge) - before;
        assert!(grown < GROWTH, "memory grew by {grown} KiB");
    });
}

#[test]
fn an_upload_of_unknown_size_is_chunked() {
    run(async {
        let (bridge, app) = Bridge::simple().await;
        let session = bridge.alice().await;
        let stream = upload(&session, &Rc::default()).await;
        let response = stream.get_response_request().send().promise;
        let client = async {
            write(&stream, b"hello").await.unwrap();
            write(&stream, b"").await.unwrap();
            write(&stream, &[b'x'; 17]).await.unwrap();
            done(&stream).await.unwrap();
            // Errors of streaming calls show at the latest in the next call.
            let _ = write(&stream, b"late").await;
            assert!(done(&stream).await.is_err());
        };
        let server = async {
            let mut request = app.request().await;
            assert!(
                request.head.starts_with(
                    "POST /up HTTP/1.1\r\nConnection: close\r\nContent-Type: text/x\r\n\
                     Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\nAccept-Language: de,en;q=0.5\r\n\
                     User-Agent: Test/1\r\n"
                ),
                "{}",
                request.head
            );
            let expected = b"5\r\nhello\r\n11\r\nxxxxxxxxxxxxxxxxx\r\n0\r\n\r\n";
            assert_eq!(request.body(expected.len()).await, expected);
            request
                .reply("HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok")
                .await;
        };
        let (response, (), ()) = tokio::join!(response, client, server);
        assert_eq!(inline(&response.unwrap()), b"ok");
    });
}

#[test]
fn an_upload_of_known_size_says_so() {
    run(async {
        let (bridge, app) = Bridge::simple().await;
        let session = bridge.alice().await;
        let stream = upload(&session, &Rc::default()).await;
        expect_size(&stream, 5).await;
        let client = async {
            write(&stream, b"hel").await.unwrap();
            write(&stream, b"lo").await.unwrap();
            done(&stream).await.unwrap();
            // Asking late is as good as asking early, asking twice is not.
            let response = stream.get_response_request().send().promise.await.unwrap();
            assert!(stream.get_response_request().send().promise.await.is_err());
            response
        };
        let server = async {
            let mut request = app.request().await;
            assert!(request.head.contains("\r\nContent-Length: 5\r\n"));
            assert!(!request.head.contains("chunked"));
            assert_eq!(request.body(5).await, b"hello");
            request
                .reply("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                .await;
        };
        let (response, ()) = tokio::join!(client, server);
        assert_eq!(inline(&response), b"ok");
    });
}

#[test]
fn an_empty_upload_is_a_whole_request() {
    run(async {
        let (bridge, app) = Bridge::simple().await;
        let session = bridge.alice().await;
        for (size, body) in [(None, &b"0\r\n\r\n"[..]), (Some(0), b"")] {
            let stream = upload(&session, &Rc::default()).await;
            if let Some(size) = size {
                expect_size(&stream, size).await;
            }
            done(&stream).await.unwrap();
            let response = stream.get_response_request().send().promise;
            let server = async {
                let mut request = app.request().await;
                assert_eq!(request.body(body.len()).await, body);
                request.reply("HTTP/1.1 204 No Content\r\n\r\n").await;
            };
            let (response, ()) = tokio::join!(response, server);
            response.unwrap();
        }
    });
}

#[test]
fn a_body_of_another_size_than_announced_never_looks_complete() {
    run(async {
        let (bridge, app) = Bridge::simple().await;
        let session = bridge.alice().await;
        for (bytes, finish) in [(&b"four"[..], true), (b"sixsix", false)] {
            let stream = upload(&session, &Rc::default()).await;
            expect_size(&stream, 5).await;
            let client = async {
                // What does not fit may fail at the write or, as streaming allows, at the next call.
                let written = write(&stream, bytes).await;
                let finished = done(&stream).await;
                assert!(finished.is_err(), "{bytes:?}");
                assert!(written.is_ok() || !finish);
                drop(stream);
            };
            let server = async {
                if finish {
                    let mut request = app.request().await;
                    assert_eq!(request.rest().await, b"four");
                }
            };
            tokio::join!(client, server);
        }
    });
}

#[test]
fn an_abandoned_upload_breaks_off() {
    run(async {
        let (bridge, app) = Bridge::simple().await;
        let session = bridge.alice().await;
        let stream = upload(&session, &Rc::default()).await;
        let response = stream.get_response_request().send().promise;
        write(&stream, b"half").await.unwrap();
        let mut request = app.request().await;
        assert_eq!(request.body(9).await, b"4\r\nhalf\r\n");
        drop(stream);
        // The app sees the end of its input without the end of the body, and may still say what it makes of it.
        assert_eq!(request.rest().await, b"");
        request.reply("HTTP/1.1 400 Bad Request\r\n\r\n").await;
        let response = response.await.unwrap();
        assert!(matches!(
            response.get().unwrap().which().unwrap(),
            response::ClientError(_)
        ));
    });
}

#[test]
fn an_app_may_answer_before_it_has_read_everything() {
    run(async {
        let (bridge, app) = Bridge::simple().await;
        let session = bridge.alice().await;
        let stream = upload(&session, &Rc::default()).await;
        let response = stream.get_response_request().send().promise;
        let server = async {
            let mut request = app.request().await;
            request
                .send("HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")
                .await;
            request
        };
        write(&stream, b"first").await.unwrap();
        let (response, request) = tokio::join!(response, server);
        let response = response.unwrap();
        assert!(matches!(
            response.get().unwrap().which().unwrap(),
            response::ClientError(_)
        ));
        // The rest goes nowhere, but does not fail either.
        drop(request);
        for _ in 0..100 {
            write(&stream, &[0; 1 << 16]).await.unwrap();
        }
        done(&stream).await.unwrap();

        // The same for a request sent in one go that no socket buffer would hold.
        let mut post = session.post_request();
        post.get().init_content().set_content(&vec![0; 32 << 20]);
        let server = async {
            let mut request = app.request().await;
            request
                .send("HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")
                .await;
            request
        };
        let (response, _request) = tokio::join!(post.send().promise, server);
        let response = response.unwrap();
        assert!(matches!(
            response.get().unwrap().which().unwrap(),
            response::ClientError(_)
        ));
    });
}

#[test]
fn a_slow_app_slows_the_upload_and_costs_no_memory() {
    run(async {
        let (bridge, app) = Bridge::simple().await;
        let session = bridge.alice().await;
        let stream = upload(&session, &Rc::default()).await;
        expect_size(&stream, BIG).await;
        let response = stream.get_response_request().send().promise;
        let piece = vec![b'x'; 64 << 10];
        write(&stream, &piece).await.unwrap();
        let mut request = app.request().await;
        let before = resident_kib(&bridge);

        // Nothing is read: the writer gets stuck.
        let mut sent = piece.len() as u64;
        let mut pending = None;
        while pending.is_none() {
            let mut writing = Box::pin(write(&stream, &piece));
            sent += piece.len() as u64;
            tokio::select! {
                result = &mut writing => result.unwrap(),
                () = tokio::time::sleep(std::time::Duration::from_millis(500)) => pending = Some(writing),
            }
        }
        assert!(sent < 32 << 20, "{sent} bytes went nowhere");

        // Then everything is.
        let client = async {
            pending.unwrap().await.unwrap();
            while sent < BIG {
                sent += piece.len() as u64;
                write(&stream, &piece).await.unwrap();
            }
            done(&stream).await.unwrap();
        };
        let server = async {
            let mut left = usize::try_from(BIG).unwrap();
            while left > 0 {
                left -= request.body(left.min(1 << 16)).await.len();
            }
            request.reply("HTTP/1.1 204 No Content\r\n\r\n").await;
        };
        let (response, (), ()) = tokio::join!(response, client, server);
        response.unwrap();
        let grown = resident_kib(&bridge) - before;
        assert!(grown < GROWTH, "memory grew by {grown} KiB");
    });
}

fn descriptors(bridge: &Bridge) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", bridge.process.id().unwrap()))
        .unwrap()
        .count()
}

#[test]
fn what_is_given_up_leaves_no_descriptor_behind() {
    run(async {
        let (bridge, app) = Bridge::simple().await;
        let session = bridge.alice().await;
        let before = descriptors(&bridge);
        let mut held = Vec::new();
        for _ in 0..50 {
            // A request cancelled, a download dropped, an upload dropped: each while the app holds on.
            let mut call = Box::pin(session.get_request().send().promise);
            held.push(tokio::select! {
                request = app.request() => request,
                _ = &mut call => panic!("answered without the app"),
            });
            drop(call);
            let sink = Rc::<Sink>::default();
            let (response, request) = download(&session, &app, &sink, "HTTP/1.1 200 OK\r\n\r\nx").await;
            held.push(request);
            drop(response);
            let stream = upload(&session, &sink).await;
            write(&stream, b"x").await.unwrap();
            drop(stream);
            held.push(app.request().await);
        }
        // The releases are on their way; the test's time limit is what ends this if they do nothing.
        while descriptors(&bridge) > before {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        drop(held);
    });
}
