//! Requests and responses as HTTP has them.

use std::time::Duration;

use super::{Claimed, Proxy, claim_request};
use crate::harness::run;

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
