//! Capabilities for apps that speak only HTTP: claims and requests through the proxy.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use capnp::Error;
use capnp::capability::FromClientHook;
use percloud_schemas::grain_capnp::ui_session;
use percloud_schemas::web_session_capnp::web_session;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::app::App;
use crate::harness::{Bridge, run, two_permissions};
use crate::world::{Context, World};

/// The proxy of one bridge.
pub struct Proxy(String);

impl Proxy {
    pub fn of(bridge: &Bridge) -> Self {
        let [high, low] = bridge.port.to_be_bytes();
        Self(format!("127.15.{high}.{low}:15239"))
    }

    pub async fn open(&self, request: impl AsRef<[u8]>) -> TcpStream {
        let mut socket = TcpStream::connect(&self.0).await.unwrap();
        socket.write_all(request.as_ref()).await.unwrap();
        socket
    }

    /// Sends a request and returns everything that comes back.
    pub async fn ask(&self, request: impl AsRef<[u8]>) -> String {
        String::from_utf8(rest(self.open(request).await).await).unwrap()
    }
}

async fn rest(mut socket: TcpStream) -> Vec<u8> {
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await.unwrap();
    answer
}

fn claim_request(session: &str, json: &str) -> String {
    let length = json.len();
    format!(
        "POST http://http-bridge/session/{session}/claim HTTP/1.1\r\nContent-Length: {length}\r\n\r\n{json}"
    )
}

/// Claims a request in session 0 of `bridge` and returns the bearer token, or else the whole answer.
pub async fn claim(bridge: &Bridge, token: &str) -> Result<String, String> {
    let json = format!(
        r#"{{"requestToken":"{token}","requiredPermissions":["admin"],"label":{{"defaultText":"for tests"}}}}"#
    );
    let answer = Proxy::of(bridge).ask(claim_request("0", &json)).await;
    if !answer.starts_with("HTTP/1.1 200 OK\r\n") {
        return Err(answer);
    }
    assert!(answer.contains("\r\nContent-Type: application/json\r\n"));
    let cap = answer
        .split("{\"cap\":\"")
        .nth(1)
        .and_then(|rest| rest.strip_suffix("\"}"));
    Ok(cap.unwrap().to_owned())
}

/// A grain that has claimed the API of another one.
struct Claimed {
    /// The app behind the API.
    app: App,
    _provider: Bridge,
    bridge: Bridge,
    cap: String,
    context: Rc<Context>,
    _own_app: App,
    _session: web_session::Client,
}

impl Claimed {
    async fn start() -> Self {
        let world = Rc::<World>::default();
        let directory = || Rc::new(tempfile::tempdir().unwrap());
        let (app, own_app) = (App::listen().await, App::listen().await);
        let provider = Bridge::start_in(&world, 0, directory(), app.port(), &["cat"], |mut config| {
            config.set_api_path("/api/");
            two_permissions(config);
        });
        let api = provider.api(None).await.unwrap();
        let bridge = Bridge::start_in(&world, 1, directory(), own_app.port(), &["cat"], two_permissions);
        let context = Context::new(&world, 1, "");
        let session = bridge
            .open(|mut params| params.set_context(context.client()))
            .await;
        let api: capnp::capability::Client = api.cast_to();
        world.fix(api.clone());
        world.choose("request", api).await;
        let cap = claim(&bridge, "request").await.unwrap();
        Self {
            app,
            _provider: provider,
            bridge,
            cap,
            context,
            _own_app: own_app,
            _session: session,
        }
    }

    /// Begins a request with the capability.
    fn head(&self, line: &str, headers: &str) -> String {
        format!(
            "{line} HTTP/1.1\r\nHost: x.example\r\nAuthorization: Bearer {}\r\n{headers}\r\n",
            self.cap
        )
    }

    /// Makes a request and answers it; returns what the app saw, and what came back.
    async fn exchange(&self, request: impl AsRef<[u8]>, response: &str) -> (String, String) {
        let proxy = Proxy::of(&self.bridge);
        let (answer, seen) = tokio::join!(proxy.ask(request), async {
            let mut seen = self.app.request().await;
            let length = seen
                .head
                .split("Content-Length: ")
                .nth(1)
                .map_or(0, |rest| rest.split('\r').next().unwrap().parse().unwrap());
            let body = seen.body(length).await;
            seen.reply(response).await;
            seen.head + std::str::from_utf8(&body).unwrap()
        });
        (seen, answer)
    }
}

#[test]
fn what_a_page_was_given_is_claimed_and_used() {
    run(async {
        let claimed = Claimed::start().await;
        assert_eq!(*claimed.context.claimed.borrow(), [vec![false, false, true]]);
        assert_eq!(*claimed.bridge.world.labels.borrow(), ["for tests"]);
        // The token itself, once more in base64.
        let token = claimed.bridge.world.tokens().pop().unwrap();
        assert_eq!(claimed.cap.len(), token.len().div_ceil(3) * 4);

        let request = claimed.head(
            "GET https://calendar.example:8443/a%20b?c=d",
            "Accept: text/calendar;q=0.5, */*\r\nAccept-Encoding: gzip\r\nCookie: a=b\r\nX-Other: y\r\n\
             X-Sandstorm-App-Test: 1\r\nIf-None-Match: \"1\", W/\"2\"\r\n",
        );
        let response = "HTTP/1.1 200 OK\r\nContent-Type: text/calendar\r\nETag: W/\"3\"\r\nSet-Cookie: c=d\r\n\
            Content-Language: de\r\nContent-Disposition: attachment; filename=\"a\\\"b\"\r\n\
            X-Sandstorm-App-Answer: 2\r\nX-Other: z\r\nContent-Length: 5\r\n\r\nhello";
        let (seen, answer) = claimed.exchange(request, response).await;
        assert!(seen.starts_with("GET /api/a%20b?c=d HTTP/1.1\r\n"), "{seen}");
        assert!(seen.contains("\r\nX-Sandstorm-Username: Alice"), "{seen}");
        assert!(
            seen.ends_with(
                "\r\nAccept: text/calendar; q=0.5, */*\r\nAccept-Encoding: gzip\r\nx-sandstorm-app-test: 1\r\n\
                 If-None-Match: \"1\", W/\"2\"\r\n\r\n"
            ),
            "{seen}"
        );
        assert_eq!(
            answer,
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/calendar\r\nContent-Language: de\r\n\
             ETag: W/\"3\"\r\nContent-Disposition: attachment; filename=\"a\\\"b\"\r\n\
             x-sandstorm-app-answer: 2\r\nContent-Length: 5\r\n\r\nhello"
        );
        // Restored once, kept since.
        let before = claimed.bridge.world.restored.get();
        let request = claimed.head("GET http://x/", "");
        claimed
            .exchange(&request, "HTTP/1.1 204 No Content\r\n\r\n")
            .await;
        claimed
            .exchange(&request, "HTTP/1.1 204 No Content\r\n\r\n")
            .await;
        assert_eq!(claimed.bridge.world.restored.get(), before);
    });
}

#[test]
fn every_method_arrives_as_it_was_sent() {
    run(async {
        let claimed = Claimed::start().await;
        let xml = "Content-Length: 4\r\n";
        for (method, headers, seen_start, seen_lines, body) in [
            ("HEAD", "", "HEAD /api/p ", "", ""),
            (
                "DELETE",
                "If-Match: *\r\n",
                "DELETE /api/p ",
                "\r\nIf-Match: *\r\n",
                "",
            ),
            (
                "POST",
                "Content-Type: a/b\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n",
                "POST /api/p ",
                "\r\nContent-Type: a/b\r\nContent-Length: 4\r\nContent-Encoding: gzip\r\n",
                "body",
            ),
            (
                "PUT",
                "Content-Length: 4\r\nIf-None-Match: *\r\n",
                "PUT /api/p ",
                "\r\nIf-None-Match: *\r\n",
                "body",
            ),
            ("PATCH", xml, "PATCH /api/p ", "", "body"),
            ("MKCOL", xml, "MKCOL /api/p ", "", "body"),
            ("REPORT", xml, "REPORT /api/p ", "", "body"),
            (
                "PROPFIND",
                "Depth: 1\r\nContent-Length: 4\r\n",
                "PROPFIND /api/p ",
                "\r\nDepth: 1\r\n",
                "body",
            ),
            (
                "PROPFIND",
                xml,
                "PROPFIND /api/p ",
                "\r\nDepth: infinity\r\n",
                "body",
            ),
            ("PROPPATCH", xml, "PROPPATCH /api/p ", "", "body"),
            ("ACL", xml, "ACL /api/p ", "", "body"),
            (
                "LOCK",
                "Depth: 0\r\nContent-Length: 4\r\n",
                "LOCK /api/p ",
                "\r\nDepth: 0\r\n",
                "body",
            ),
            (
                "UNLOCK",
                "Lock-Token: <x>\r\n",
                "UNLOCK /api/p ",
                "\r\nLock-Token: <x>\r\n",
                "",
            ),
            (
                "COPY",
                "Destination: https://host/to?q\r\nOverwrite: F\r\n",
                "COPY /api/p ",
                "\r\nDestination: /api/to?q\r\nOverwrite: F\r\nDepth: infinity\r\n",
                "",
            ),
            (
                "MOVE",
                "Destination: /to\r\n",
                "MOVE /api/p ",
                "\r\nDestination: /api/to\r\nOverwrite: T\r\n",
                "",
            ),
        ] {
            let request = claimed.head(&format!("{method} http://x/p"), headers) + body;
            let (seen, answer) = claimed
                .exchange(request, "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")
                .await;
            assert!(seen.starts_with(seen_start), "{seen}");
            assert!(seen.contains(seen_lines), "{seen_lines}: {seen}");
            assert!(seen.ends_with(&format!("\r\n\r\n{body}")), "{seen}");
            assert!(
                answer.starts_with("HTTP/1.1 201 Created\r\n"),
                "{method}: {answer}"
            );
        }
        let (seen, answer) = claimed
            .exchange(
                claimed.head("OPTIONS http://x/p", ""),
                "HTTP/1.1 200 OK\r\nDAV: 1, 3, calendar-access\r\nContent-Length: 0\r\n\r\n",
            )
            .await;
        assert!(seen.starts_with("OPTIONS /api/p "), "{seen}");
        assert!(answer.contains("\r\nDAV: 1, 3, calendar-access\r\n"), "{answer}");
    });
}

#[test]
fn every_response_has_its_form_in_http() {
    run(async {
        let claimed = Claimed::start().await;
        for (request, response, expected) in [
            (
                "GET",
                "HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\ngone",
                "HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Type: text/html; charset=UTF-8\r\n\
                 Content-Length: 4\r\n\r\ngone",
            ),
            (
                "GET",
                "HTTP/1.1 409 X\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
                "HTTP/1.1 409 Conflict\r\nConnection: close\r\nContent-Type: application/json\r\n\
                 Content-Length: 2\r\n\r\n{}",
            ),
            (
                "GET",
                "HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n",
                "HTTP/1.1 500 Internal Server Error\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
            ),
            (
                "GET",
                "HTTP/1.1 307 X\r\nLocation: /there\r\nContent-Length: 0\r\n\r\n",
                "HTTP/1.1 307 Temporary Redirect\r\nConnection: close\r\nLocation: /there\r\nContent-Length: 0\r\n\r\n",
            ),
            (
                "GET",
                "HTTP/1.1 301 X\r\nLocation: /there\r\nContent-Length: 0\r\n\r\n",
                "HTTP/1.1 301 Moved Permanently\r\nConnection: close\r\nLocation: /there\r\nContent-Length: 0\r\n\r\n",
            ),
            (
                "GET",
                "HTTP/1.1 205 X\r\nContent-Length: 0\r\n\r\n",
                "HTTP/1.1 205 Reset Content\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
            ),
            (
                "HEAD",
                "HTTP/1.1 200 X\r\nContent-Type: a/b\r\nContent-Length: 4\r\n\r\n",
                "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: a/b\r\n\r\n",
            ),
            (
                "GET*",
                "HTTP/1.1 304 X\r\nETag: \"1\"\r\n\r\n",
                "HTTP/1.1 304 Not Modified\r\nConnection: close\r\nETag: \"1\"\r\n\r\n",
            ),
            (
                "DELETE*",
                "HTTP/1.1 412 X\r\nContent-Length: 0\r\n\r\n",
                "HTTP/1.1 412 Precondition Failed\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
            ),
        ] {
            let condition = if request.ends_with('*') {
                "If-None-Match: \"1\"\r\n"
            } else {
                ""
            };
            let line = format!("{} http://x/", request.trim_end_matches('*'));
            let (_, answer) = claimed.exchange(claimed.head(&line, condition), response).await;
            assert_eq!(answer, expected);
        }
    });
}

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

#[test]
fn what_cannot_be_asked_is_refused_in_http() {
    run(async {
        let claimed = Claimed::start().await;
        let long = "x".repeat(70_000);
        let cases = [
            (
                "GET http://example.com/ HTTP/1.1\r\n\r\n".to_owned(),
                "404 Not Found",
            ),
            (
                "GET http://x/ HTTP/1.1\r\nAuthorization: Bearer abcd\r\n\r\n".to_owned(),
                "404 Not Found",
            ),
            (
                format!(
                    "GET http://x/ HTTP/1.1\r\nAuthorization: Basic {}\r\n\r\n",
                    claimed.cap
                ),
                "404 Not Found",
            ),
            (
                "CONNECT example.com:443 HTTP/1.1\r\n\r\n".to_owned(),
                "501 Not Implemented",
            ),
            ("GET example.com HTTP/1.1\r\n\r\n".to_owned(), "400 Bad Request"),
            ("\x16\x03\x01 nonsense\r\n\r\n".to_owned(), "400 Bad Request"),
            (
                format!("GET http://x/{long} HTTP/1.1\r\n\r\n"),
                "431 Request Header Fields Too Large",
            ),
            (claimed.head("TRACE http://x/", ""), "501 Not Implemented"),
            (
                claimed.head("GET http://x/", "Upgrade: websocket\r\n"),
                "501 Not Implemented",
            ),
            (
                claimed.head("DELETE http://x/", "If-Match: nonsense\r\n"),
                "400 Bad Request",
            ),
            (claimed.head("COPY http://x/", ""), "400 Bad Request"),
            (
                claimed.head("PROPFIND http://x/", "Depth: 7\r\n"),
                "400 Bad Request",
            ),
            (
                claimed.head(
                    "POST http://x/",
                    "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
                ),
                "400 Bad Request",
            ),
            (
                claimed.head("POST http://x/", "Content-Length: x\r\n"),
                "400 Bad Request",
            ),
            (
                claimed.head("PATCH http://x/", "Transfer-Encoding: chunked\r\n") + "zz\r\n",
                "400 Bad Request",
            ),
        ];
        for (request, status) in &cases {
            let answer = Proxy::of(&claimed.bridge).ask(request).await;
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {status}\r\n")),
                "{request:.60}: {answer}"
            );
            assert!(answer.contains("\r\nConnection: close\r\n"));
        }
        // None of which has hurt it.
        let request = claimed.head("GET /", "");
        let (_, answer) = claimed.exchange(request, "HTTP/1.1 204 No Content\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 204 "));
    });
}

#[test]
fn claims_that_make_no_sense_are_refused_with_a_reason() {
    run(async {
        let claimed = Claimed::start().await;
        let proxy = Proxy::of(&claimed.bridge);
        let large = format!("{{\"requestToken\":\"{}\"}}", "x".repeat(70_000));
        for (session, json, status, reason) in [
            ("0", "", "400 Bad Request", "no claim"),
            ("0", "[1]", "400 Bad Request", "no claim"),
            ("0", "{}", "400 Bad Request", "no requestToken"),
            (
                "0",
                r#"{"requestToken":"x","requiredPermissions":["fly"]}"#,
                "400 Bad Request",
                "\"fly\"",
            ),
            ("7", r#"{"requestToken":"x"}"#, "404 Not Found", "no session"),
            ("0/x", r#"{"requestToken":"x"}"#, "404 Not Found", "bearer"),
            // Claimed before.
            (
                "0",
                r#"{"requestToken":"request"}"#,
                "403 Forbidden",
                "no such request",
            ),
            ("0", &large, "413 Content Too Large", "64 KiB"),
        ] {
            let answer = proxy.ask(claim_request(session, json)).await;
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {status}\r\n")),
                "{json:.60}: {answer}"
            );
            assert!(answer.contains(reason), "{json:.60}: {answer}");
        }
        // Only a POST claims.
        let answer = proxy
            .ask("GET http://http-bridge/session/0/claim HTTP/1.1\r\n\r\n")
            .await;
        assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    });
}

#[test]
fn a_claim_that_cannot_be_saved_says_so() {
    run(async {
        let claimed = Claimed::start().await;
        let ada = claimed.bridge.world.person(1, "Ada");
        claimed.bridge.world.choose("person", ada.client).await;
        claimed.bridge.world.is_broken.set(true);
        let answer = claim(&claimed.bridge, "person").await.unwrap_err();
        assert!(answer.starts_with("HTTP/1.1 502 Bad Gateway\r\n"), "{answer}");
        assert!(answer.contains("saving does not work today"), "{answer}");
    });
}

#[test]
fn what_is_no_api_answers_as_not_implemented() {
    run(async {
        let claimed = Claimed::start().await;
        let ada = claimed.bridge.world.person(1, "Ada");
        claimed.bridge.world.choose("person", ada.client).await;
        let cap = claim(&claimed.bridge, "person").await.unwrap();
        let request = format!("GET http://x/ HTTP/1.1\r\nAuthorization: Bearer {cap}\r\n\r\n");
        let answer = Proxy::of(&claimed.bridge).ask(request).await;
        assert!(answer.starts_with("HTTP/1.1 501 Not Implemented\r\n"), "{answer}");
    });
}

#[test]
fn a_half_request_holds_up_nobody() {
    run(async {
        let claimed = Claimed::start().await;
        let proxy = Proxy::of(&claimed.bridge);
        let _half = proxy.open("GET http://x/ HT").await;
        let _body = proxy
            .open(claim_request("0", "{}").replace("Length: 2", "Length: 3"))
            .await;
        let (_, answer) = tokio::time::timeout(
            Duration::from_secs(20),
            claimed.exchange(
                claimed.head("GET http://x/", ""),
                "HTTP/1.1 204 No Content\r\n\r\n",
            ),
        )
        .await
        .unwrap();
        assert!(answer.starts_with("HTTP/1.1 204 "));
    });
}

/// An API of the old kind: it takes bodies in one piece, and says so in one of two ways.
struct OldApi {
    seen: RefCell<Vec<(String, usize)>>,
}

impl ui_session::Server for OldApi {}

impl web_session::Server for OldApi {
    async fn post(
        self: Rc<Self>,
        params: web_session::PostParams,
        mut results: web_session::PostResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let length = params.get_content()?.get_content()?.len();
        let entry = (format!("POST {}", params.get_path()?.to_str()?), length);
        self.seen.borrow_mut().push(entry);
        results.get().init_no_content();
        Ok(())
    }

    async fn put(
        self: Rc<Self>,
        params: web_session::PutParams,
        mut results: web_session::PutResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let length = params.get_content()?.get_content()?.len();
        let entry = (format!("PUT {}", params.get_path()?.to_str()?), length);
        self.seen.borrow_mut().push(entry);
        // Nothing of this may become a second header, or a header at all.
        let mut content = results.get().init_content();
        content.set_mime_type("a/b\r\nX-Evil: 1");
        content
            .reborrow()
            .init_disposition()
            .set_download("a\r\nX-Evil: 2");
        content.init_body().set_bytes(b"done");
        let mut headers = results.get().init_additional_headers(3);
        for (index, (name, value)) in (0..).zip([
            ("x-sandstorm-app-a", "1\nX-Evil: 3"),
            ("x-sandstorm-app-b: 1\r\nX-Evil", "4"),
            ("x-evil", "5"),
        ]) {
            headers.reborrow().get(index).set_name(name);
            headers.reborrow().get(index).set_value(value);
        }
        Ok(())
    }

    async fn put_streaming(
        self: Rc<Self>,
        _: web_session::PutStreamingParams,
        _: web_session::PutStreamingResults,
    ) -> Result<(), Error> {
        Err(Error::failed("Method not implemented.".into()))
    }
}

#[test]
fn who_cannot_take_a_stream_gets_the_body_in_one_piece() {
    run(async {
        let claimed = Claimed::start().await;
        let old = Rc::new(OldApi {
            seen: RefCell::default(),
        });
        let api: web_session::Client = capnp_rpc::new_client_from_rc(old.clone());
        claimed.bridge.world.fix(api.client.clone());
        claimed.bridge.world.choose("old", api.client).await;
        let cap = claim(&claimed.bridge, "old").await.unwrap();
        let proxy = Proxy::of(&claimed.bridge);
        let body = "x".repeat(200_000);
        for (method, framing, body) in [
            ("POST", "Content-Length: 200000", body.clone()),
            (
                "PUT",
                "Transfer-Encoding: chunked",
                format!("30d40\r\n{body}\r\n0\r\n\r\n"),
            ),
        ] {
            let head =
                format!("{method} http://x/p HTTP/1.1\r\nAuthorization: Bearer {cap}\r\n{framing}\r\n\r\n");
            let answer = proxy.ask(head + &body).await;
            assert!(answer.starts_with("HTTP/1.1 20"), "{answer}");
            assert!(!answer.to_lowercase().contains("x-evil"), "{answer}");
        }
        let expected = [("POST p".to_owned(), 200_000), ("PUT p".to_owned(), 200_000)];
        assert_eq!(*old.seen.borrow(), expected);
    });
}

#[test]
fn a_body_too_large_to_be_collected_is_refused() {
    run(async {
        let claimed = Claimed::start().await;
        let socket = Proxy::of(&claimed.bridge)
            .open(claimed.head("PATCH http://x/", "Transfer-Encoding: chunked\r\n"))
            .await;
        let (mut read, mut write) = socket.into_split();
        let piece = [b"100000\r\n", &vec![b'x'; 1 << 20][..], b"\r\n"].concat();
        let sending = async {
            // Until the proxy has had enough and closes.
            while write.write_all(&piece).await.is_ok() {}
        };
        let reading = async {
            let mut answer = Vec::new();
            // The connection may be reset after the answer, since there is no end to what is sent.
            while !answer.ends_with(b"32 MiB\n") {
                assert_ne!(read.read_buf(&mut answer).await.unwrap(), 0);
            }
            String::from_utf8(answer).unwrap()
        };
        tokio::select! {
            answer = reading => assert!(answer.starts_with("HTTP/1.1 413 Content Too Large\r\n"), "{answer}"),
            () = sending => panic!("closed before the answer could be read"),
        }
    });
}
