//! Long bodies, cut ones, and clients that leave.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Claimed, Proxy, rest};
use crate::harness::run;

#[test]
fn long_bodies_stream_both_ways_at_once() {
    run(async {
        let claimed = Claimed::start().await;
        // An echo: no byte of the response can come before its byte of the request.
        for framing in ["Content-Length: 600000\r\n", "Transfer-Encoding: chunked\r\n"] {
            let chunked = framing.starts_with('T');
            let piece = |round: u8| vec![b'0' + round; 100_000];
            let framed = |piece: &[u8]| {
                let frame: [&[u8]; 2] = if chunked {
                    [b"186a0\r\n", b"\r\n"]
                } else {
                    [b"", b""]
                };
                [frame[0], piece, frame[1]].concat()
            };
            let socket = Proxy::of(&claimed.bridge)
                .open(claimed.head("PUT http://x/long", framing))
                .await;
            let (mut read, mut write) = socket.into_split();
            // The app hears nothing before the first of the body is there.
            write.write_all(&framed(&piece(0))).await.unwrap();
            let mut app = claimed.app.request().await;
            assert!(app.head.contains(&format!("\r\n{framing}")), "{}", app.head);
            app.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                .await;
            let mut answer = Vec::new();
            for round in 0..6 {
                let piece = piece(round);
                if round > 0 {
                    write.write_all(&framed(&piece)).await.unwrap();
                }
                if chunked {
                    app.chunked_body(100_000).await;
                } else {
                    assert_eq!(app.body(100_000).await, piece);
                }
                app.send([b"186a0\r\n", &piece[..], b"\r\n"].concat()).await;
                while answer.iter().filter(|byte| **byte == piece[0]).count() < 100_000 {
                    assert_ne!(read.read_buf(&mut answer).await.unwrap(), 0);
                }
            }
            if chunked {
                write.write_all(b"0\r\n\r\n").await.unwrap();
                assert_eq!(app.body(5).await, b"0\r\n\r\n");
            }
            app.reply("0\r\n\r\n").await;
            read.read_to_end(&mut answer).await.unwrap();
            let text = String::from_utf8(answer).unwrap();
            assert!(text.starts_with("HTTP/1.1 200 OK\r\n"));
            assert!(text.contains("\r\nTransfer-Encoding: chunked\r\n") && text.ends_with("\r\n0\r\n\r\n"));
        }
    });
}

#[test]
fn a_long_response_keeps_its_length_and_tells_when_it_is_cut() {
    run(async {
        let claimed = Claimed::start().await;
        let body = "x".repeat(300_000);
        let whole = format!("HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n{body}");
        let (_, answer) = claimed.exchange(claimed.head("GET http://x/", ""), &whole).await;
        assert!(answer.contains("\r\nContent-Length: 300000\r\n") && answer.ends_with(&body));

        let cut = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n493e0\r\n{body}");
        let (_, answer) = claimed.exchange(claimed.head("GET http://x/", ""), &cut).await;
        assert!(answer.contains("\r\nTransfer-Encoding: chunked\r\n"));
        assert!(!answer.ends_with("\r\n0\r\n\r\n"));

        // Somebody who knows no chunks gets it without, until the connection closes.
        let request = claimed.head("GET http://x/", "").replace("HTTP/1.1", "HTTP/1.0");
        let chunked =
            format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n493e0\r\n{body}\r\n0\r\n\r\n");
        let (_, answer) = claimed.exchange(request, &chunked).await;
        let (head, got) = answer.split_once("\r\n\r\n").unwrap();
        assert!(!head.contains("Transfer-Encoding") && !head.contains("Content-Length"));
        assert_eq!(got, body);
    });
}

#[test]
fn a_client_that_leaves_takes_its_request_back() {
    run(async {
        let claimed = Claimed::start().await;
        let proxy = Proxy::of(&claimed.bridge);
        // While the app thinks, while it answers, and in the middle of an upload.
        for (request, response) in [
            (claimed.head("GET http://x/", ""), ""),
            (
                claimed.head("GET http://x/", ""),
                "HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\nbegin",
            ),
            (
                claimed.head("POST http://x/", "Content-Length: 99999\r\n") + "begin",
                "",
            ),
        ] {
            let mut socket = proxy.open(request).await;
            let mut app = claimed.app.request().await;
            if !response.is_empty() {
                app.send(response).await;
                socket.read_buf(&mut Vec::new()).await.unwrap();
            }
            drop(socket);
            // Ends only when the bridge hangs up on the app.
            app.rest().await;
        }
    });
}

#[test]
fn an_early_answer_does_not_cut_the_upload() {
    run(async {
        let claimed = Claimed::start().await;
        let half = vec![b'x'; 100_000];
        let mut socket = Proxy::of(&claimed.bridge)
            .open(claimed.head("POST http://x/", "Content-Length: 200000\r\n"))
            .await;
        socket.write_all(&half).await.unwrap();
        let mut app = claimed.app.request().await;
        app.body(100_000).await;
        app.send("HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
            .await;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            assert_ne!(socket.read_buf(&mut answer).await.unwrap(), 0);
        }
        assert!(answer.starts_with(b"HTTP/1.1 202 Accepted\r\n"));
        socket.write_all(&half).await.unwrap();
        app.body(100_000).await;
    });
}

#[test]
fn a_client_is_told_to_go_on_with_its_body() {
    run(async {
        let claimed = Claimed::start().await;
        let request = claimed.head("POST http://x/", "Expect: 100-continue\r\nContent-Length: 4\r\n");
        let mut socket = Proxy::of(&claimed.bridge).open(request).await;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            assert_ne!(socket.read_buf(&mut answer).await.unwrap(), 0);
        }
        assert_eq!(answer, b"HTTP/1.1 100 Continue\r\n\r\n");
        let (answer, seen) = tokio::join!(
            async {
                socket.write_all(b"body").await.unwrap();
                rest(socket).await
            },
            claimed.app.answer("HTTP/1.1 204 No Content\r\n\r\n")
        );
        assert!(answer.starts_with(b"HTTP/1.1 204 No Content\r\n"));
        assert!(seen.starts_with("POST /api/ "), "{seen}");
    });
}
