//! Sites that break the rules.

use std::time::Duration;

use percloud_schemas::web_session_capnp::web_session;

use crate::said::{get, problem};
use crate::server::{Server, Visitor, both};
use crate::world::{World, run};

type Tcp = Visitor<tokio::net::TcpStream>;

/// Asks while the server does something, and returns why it failed.
async fn fails(session: &web_session::Client, server: &Server, act: impl AsyncFnOnce(&mut Tcp)) -> String {
    let serve = async {
        let mut visitor = server.accept().await;
        visitor.request().await;
        act(&mut visitor).await;
    };
    let (said, ()) = both(get(session, ""), serve).await;
    problem(said)
}

#[test]
fn heads_have_an_end() {
    run(async {
        let world = World::new().await;
        let server = Server::new().await;
        let session = world.website(&server.url("")).await;
        for piece in ["X-A: b\r\n", "X-A: b; ", "X"] {
            let piece = piece.repeat(1000);
            let mut sent = 0;
            let told = fails(&session, &server, async |visitor| {
                visitor.send("HTTP/1.1 200 OK\r\n").await;
                while visitor.try_send(&piece).await.is_ok() {
                    sent += piece.len();
                }
            })
            .await;
            assert!(told.contains("could not be asked"), "{told}");
            assert!(sent < 16 << 20, "{sent} bytes of a head were read");
        }
    });
}

#[test]
fn what_is_no_http_is_an_error() {
    run(async {
        let world = World::new().await;
        let server = Server::new().await;
        let session = world.website(&server.url("")).await;
        for garbage in [
            "<html>hello</html>\r\n\r\n",
            "hello\r\n\r\n",
            "HTTP/0.9 200 OK\r\n\r\nhello",
            "HTTP/2.0 200 OK\r\n\r\n",
            "HTTP/1.1 20 OK\r\n\r\n",
            "HTTP/1.1 2000 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
            "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\na",
            "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\na",
            "HTTP/1.1 200 OK\r\nX A: b\r\n\r\n",
            "HTTP/1.1 200 OK\r\nX-A: b\0\r\n\r\n",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            "\0\0\0\0\x16\x03\x01",
            "",
        ] {
            let told = fails(&session, &server, async |visitor| visitor.send(garbage).await).await;
            assert!(told.contains("could not be asked"), "{garbage:?}: {told}");
        }
        for chunk in ["z\r\n", "5\r\nhello?", "5;", "\r\n", "-5\r\nhello\r\n"] {
            let told = fails(&session, &server, async |visitor| {
                visitor
                    .send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                    .await;
                visitor.send(chunk).await;
            })
            .await;
            assert!(told.contains("broke off"), "{chunk:?}: {told}");
        }
        for (begin, more) in [("0\r\n", "X-A: b\r\n"), ("5;", "a=b;")] {
            let mut sent = 0;
            let told = fails(&session, &server, async |visitor| {
                visitor
                    .send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                    .await;
                visitor.send(begin).await;
                let piece = more.repeat(1000);
                while visitor.try_send(&piece).await.is_ok() {
                    sent += piece.len();
                }
            })
            .await;
            assert!(told.contains("broke off"), "{begin:?}: {told}");
            assert!(sent < 16 << 20, "{sent} bytes were read");
        }
        // Nobody was harmed.
        let (said, _) = both(get(&session, ""), server.answer("200 OK", "", b"well")).await;
        assert_eq!(said.unwrap().body, b"well");
    });
}

#[test]
fn nobody_is_waited_for_without_end() {
    run(async {
        let world = World::limited(|limits| limits.answer = Duration::from_millis(300)).await;
        let server = Server::new().await;
        let session = world.website(&server.url("")).await;
        let told = fails(&session, &server, async |visitor| {
            visitor.closed().await;
        })
        .await;
        assert!(told.contains("did not answer"), "{told}");
        let told = fails(&session, &server, async |visitor| {
            visitor
                .send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
                .await;
            visitor.closed().await;
        })
        .await;
        assert!(told.contains("stopped in the middle"), "{told}");
        let told = fails(&session, &server, async |visitor| {
            let interim = "HTTP/1.1 103 So\r\nLink: <a>\r\n\r\n";
            while visitor.try_send(interim).await.is_ok() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        assert!(told.contains("did not answer"), "{told}");
    });
}

#[test]
fn interim_answers_are_passed_over() {
    run(async {
        let world = World::new().await;
        let server = Server::new().await;
        let session = world.website(&server.url("")).await;
        let serve = async {
            let mut visitor = server.accept().await;
            visitor.request().await;
            for status in [100, 102, 103] {
                visitor
                    .send(format!("HTTP/1.1 {status} So\r\nX-Interim: a\r\n\r\n"))
                    .await;
            }
            visitor.answer("200 OK", "", b"well").await;
        };
        let (said, ()) = both(get(&session, ""), serve).await;
        let said = said.unwrap();
        assert_eq!((&*said.body, said.fields.len()), (&b"well"[..], 0));
    });
}

#[test]
fn what_is_too_much_is_cut_off() {
    run(async {
        let world = World::new().await;
        let server = Server::new().await;
        let session = world.website(&server.url("")).await;
        let page = vec![b'a'; 3 << 20];
        for (status, kind) in [("404 So", "text/html"), ("500 So", "text/plain")] {
            let fields = format!("Content-Type: {kind}\r\n");
            let (said, _) = both(get(&session, ""), server.answer(status, &fields, &page)).await;
            let said = said.unwrap();
            assert_eq!(said.page.len() + said.body.len(), 1 << 20);
        }
        let fields = "X-A: b\r\n".repeat(90);
        let (said, _) = both(get(&session, ""), server.answer("200 OK", &fields, b"")).await;
        assert_eq!(said.unwrap().fields.len(), 64);
        let fields = format!("X-A: {}\r\n", "b".repeat(5000)).repeat(10);
        let (said, _) = both(get(&session, ""), server.answer("200 OK", &fields, b"")).await;
        assert_eq!(said.unwrap().fields.len(), 3);
    });
}
