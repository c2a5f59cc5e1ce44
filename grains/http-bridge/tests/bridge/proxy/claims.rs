//! What is claimed, what is no claim, and what a capability is that is no API.

use super::{Claimed, Proxy, claim, claim_request};
use crate::harness::run;

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
