//! What comes back: each kind of answer as a session says it.

use crate::said::{ask, get, problem, said};
use crate::server::{Server, both};
use crate::world::{World, run};

#[test]
fn every_status_has_its_word() {
    run(async {
        let world = World::new().await;
        let server = Server::new().await;
        let session = world.website(&server.url("")).await;
        for (status, what) in [
            (200, "content Ok"),
            (201, "content Created"),
            (202, "content Accepted"),
            (203, "content Ok"),
            (204, "no content"),
            (205, "no content reset"),
            (206, "content PartialContent"),
            (207, "content MultiStatus"),
            (226, "content Ok"),
            (304, "precondition failed"),
            (400, "client error BadRequest"),
            (401, "client error BadRequest"),
            (403, "client error Forbidden"),
            (404, "client error NotFound"),
            (405, "client error MethodNotAllowed"),
            (406, "client error NotAcceptable"),
            (409, "client error Conflict"),
            (410, "client error Gone"),
            (412, "precondition failed"),
            (413, "client error RequestEntityTooLarge"),
            (414, "client error RequestUriTooLong"),
            (415, "client error UnsupportedMediaType"),
            (418, "client error ImATeapot"),
            (422, "client error UnprocessableEntity"),
            (429, "client error BadRequest"),
            (500, "server error"),
            (503, "server error"),
        ] {
            let (said, _) = both(get(&session, ""), server.answer(&format!("{status} So"), "", b"")).await;
            assert_eq!(said.unwrap().what, what, "{status}");
        }
        for status in [300, 305, 999] {
            let (said, _) = both(get(&session, ""), server.answer(&format!("{status} So"), "", b"")).await;
            let told = problem(said);
            assert!(told.contains(&status.to_string()), "{told}");
        }
    });
}

#[test]
fn content_is_described() {
    run(async {
        let world = World::new().await;
        let server = Server::new().await;
        let session = world.website(&server.url("")).await;
        let fields = "Content-Type: text/x-note; charset=utf-8\r\nContent-Encoding: gzip\r\n\
                      Content-Language: de\r\nETag: W/\"a b\"\r\nAlt-Svc: h3\r\nKeep-Alive: 1\r\n\
                      Retry-After: 7\r\nX-A: b\r\n";
        let (said, _) = both(get(&session, ""), server.answer("200 OK", fields, b"\x1f\x8b")).await;
        let said = said.unwrap();
        assert_eq!(
            (
                &*said.mime,
                &*said.encoding,
                &*said.language,
                &*said.tag,
                &*said.body
            ),
            (
                "text/x-note; charset=utf-8",
                "gzip",
                "de",
                "W/a b",
                &b"\x1f\x8b"[..]
            )
        );
        let passed = [("retry-after", "7"), ("x-a", "b")];
        assert_eq!(
            said.fields,
            passed.map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
        let (said, _) = both(get(&session, ""), server.answer("204 So", "ETag: \"c\"\r\n", b"")).await;
        assert_eq!(said.unwrap().tag, "c");
    });
}

#[test]
fn conditions_that_do_not_hold_are_told() {
    run(async {
        let world = World::new().await;
        let server = Server::new().await;
        let session = world.website(&server.url("")).await;
        let asked = ask(&session, "", |context| {
            context.init_e_tag_precondition().set_doesnt_exist(());
        });
        let (said, _) = both(asked, server.answer("304 Same", "ETag: \"a\"\r\n", b"")).await;
        let said = said.unwrap();
        assert_eq!((&*said.what, &*said.tag), ("precondition failed", "a"));
        let asked = ask(&session, "", |context| {
            context.init_e_tag_precondition().set_exists(());
        });
        let (said, _) = both(
            asked,
            server.answer("412 No", "Content-Type: text/html\r\n", b"no"),
        )
        .await;
        let said = said.unwrap();
        assert_eq!(
            (&*said.what, &*said.tag, &*said.page),
            ("precondition failed", "", "")
        );
    });
}

#[test]
fn error_pages_are_told_from_other_errors() {
    run(async {
        let world = World::new().await;
        let server = Server::new().await;
        let session = world.website(&server.url("")).await;
        for status in ["404 So", "502 So"] {
            let html = "Content-Type: Text/HTML; charset=utf-8\r\n";
            let (said, _) = both(get(&session, ""), server.answer(status, html, b"<p>\xff")).await;
            let said = said.unwrap();
            assert_eq!((&*said.page, &*said.body), ("<p>\u{fffd}", &b""[..]));

            let json = "Content-Type: application/json\r\nContent-Language: de\r\n";
            let (said, _) = both(get(&session, ""), server.answer(status, json, b"{}")).await;
            let said = said.unwrap();
            assert_eq!(
                (&*said.page, &*said.body, &*said.mime, &*said.language),
                ("", &b"{}"[..], "application/json", "de")
            );
            // A page that has to be decoded first is none yet.
            let packed = "Content-Type: text/html\r\nContent-Encoding: gzip\r\n";
            let (said, _) = both(get(&session, ""), server.answer(status, packed, b"\x1f")).await;
            let said = said.unwrap();
            assert_eq!(
                (&*said.page, &*said.body, &*said.mime, &*said.encoding),
                ("", &b"\x1f"[..], "text/html", "gzip")
            );
        }
    });
}

#[test]
fn redirects_are_told_from_the_address_on() {
    run(async {
        let world = World::new().await;
        let server = Server::new().await;
        let session = world.website(&server.url("a")).await;
        for (status, what) in [
            (301, "redirect permanent get"),
            (302, "redirect get"),
            (303, "redirect get"),
            (307, "redirect"),
            (308, "redirect permanent"),
        ] {
            let status = format!("{status} So");
            let answer = server.answer(&status, "Location: y?z\r\n", b"");
            let (said, _) = both(get(&session, "b/x"), answer).await;
            let said = said.unwrap();
            assert_eq!((&*said.what, &*said.location), (what, "b/y?z"));
        }
        for (location, told) in [
            ("/a/y", "y".to_owned()),
            (&server.url("a"), String::new()),
            ("/other", server.url("other")),
            ("/ab", server.url("ab")),
            ("../../c", server.url("c")),
            ("//other.example/a/b", "http://other.example/a/b".to_owned()),
            ("https://127.0.0.1/a/b", "https://127.0.0.1/a/b".to_owned()),
        ] {
            let field = format!("Location: {location}\r\n");
            let (said, _) = both(get(&session, "b/x"), server.answer("302 So", &field, b"")).await;
            assert_eq!(said.unwrap().location, told, "{location}");
        }
        for fields in ["", "Location: http://\r\n", "Location: \u{ff}\r\n"] {
            let (said, _) = both(get(&session, "b/x"), server.answer("302 So", fields, b"")).await;
            assert!(problem(said).contains("leads nowhere"));
        }
        assert!(server.is_lonely(), "a redirect was followed");
    });
}

#[test]
fn head_has_no_body_whatever_it_says() {
    run(async {
        let world = World::new().await;
        let server = Server::new().await;
        let session = world.website(&server.url("")).await;
        let ask = || {
            let mut head = session.get_request();
            head.get().set_ignore_body(true);
            head.send().promise
        };
        let long = async {
            let mut visitor = server.accept().await;
            let seen = visitor.request().await;
            assert_eq!(seen.line, "HEAD / HTTP/1.1");
            visitor
                .send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1000000000\r\nETag: \"a\"\r\n\r\n")
                .await;
        };
        let (answer, ()) = both(ask(), long).await;
        let answer = said(answer).unwrap();
        assert_eq!(
            (&*answer.what, &*answer.tag, answer.body.len()),
            ("content Ok", "a", 0)
        );
        assert!(answer.stream.is_none());
        let missing = async {
            let mut visitor = server.accept().await;
            visitor.request().await;
            visitor
                .send("HTTP/1.1 404 No\r\nConnection: close\r\nContent-Type: text/html\r\nContent-Length: 9\r\n\r\n")
                .await;
        };
        let (answer, ()) = both(ask(), missing).await;
        let answer = said(answer).unwrap();
        assert_eq!((&*answer.what, &*answer.page), ("client error NotFound", ""));
    });
}
