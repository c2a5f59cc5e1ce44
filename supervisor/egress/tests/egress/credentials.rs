//! Who is let in: what the platform says in the grain's place, and what a grain cannot say.

use crate::said::{ask, get, problem};
use crate::server::{Server, both};
use crate::world::{Outlet, World, run};

const SECRET: &str = "Bearer the-secret";

#[test]
fn credentials_arrive_at_the_site_and_nowhere_else() {
    run(async {
        let world = World::new().await;
        let (server, other) = (Server::new().await, Server::new().await);
        let session = world.give(1, Outlet::SignedIn(&server.url("a"), SECRET)).await;
        let asked = ask(&session, "", |context| {
            let mut fields = context.init_additional_headers(2);
            for (index, name) in [(0, "Authorization"), (1, "authorization")] {
                let mut field = fields.reborrow().get(index);
                field.set_name(name);
                field.set_value("Bearer of the grain");
            }
        });
        let elsewhere = format!("Location: {}\r\nWWW-Authenticate: Basic\r\n", other.url("b"));
        let (said, seen) = both(asked, server.answer("302 Found", &elsewhere, b"")).await;
        assert_eq!(seen.field("authorization"), SECRET);
        let said = said.unwrap();
        assert_eq!(said.location, other.url("b"));
        assert_eq!(said.fields, []);
        assert!(other.is_lonely(), "a redirect was followed");
    });
}

#[test]
fn credentials_are_in_no_error() {
    run(async {
        let world = World::new().await;
        let server = Server::new().await;
        let session = world.give(1, Outlet::SignedIn(&server.url("a"), SECRET)).await;
        let hang_up = async {
            let mut visitor = server.accept().await;
            assert_eq!(visitor.request().await.field("authorization"), SECRET);
        };
        let (said, ()) = both(get(&session, "x"), hang_up).await;
        let told = problem(said);
        assert!(told.contains("127.0.0.1") && !told.contains("secret"), "{told}");
        let unauthorized = server.answer("401 Unauthorized", "WWW-Authenticate: Bearer realm=a\r\n", b"");
        let (said, _) = both(get(&session, "x"), unauthorized).await;
        let said = said.unwrap();
        assert_eq!(
            (said.what.as_str(), said.fields.len()),
            ("client error BadRequest", 0)
        );
        drop(server);
        let told = problem(get(&session, "x").await);
        assert!(told.contains("127.0.0.1") && !told.contains("secret"), "{told}");
        let told = problem(get(&session, "../x").await);
        assert!(!told.contains("secret"), "{told}");
    });
}

#[test]
fn a_credential_that_would_be_two_headers_is_refused() {
    run(async {
        let world = World::new().await;
        let outlet = Outlet::SignedIn("http://127.0.0.1/", "Bearer a\r\nX: the-secret");
        let told = problem(world.try_admit(&[1; 32], &[1; 16], outlet).await);
        assert!(
            told.contains("fits in no header") && !told.contains("secret"),
            "{told}"
        );
        for url in [
            "ftp://127.0.0.1/",
            "http://a:b@127.0.0.1/",
            "127.0.0.1",
            "http://127.0.0.1/?a",
        ] {
            world
                .try_admit(&[1; 32], &[1; 16], Outlet::Website(url))
                .await
                .unwrap_err();
        }
    });
}

#[test]
fn cookies_go_neither_way() {
    run(async {
        let world = World::new().await;
        let server = Server::new().await;
        let session = world.website(&server.url("")).await;
        for _ in 0..2 {
            let asked = ask(&session, "", |context| {
                let mut cookie = context.init_cookies(1).get(0);
                cookie.set_key("a");
                cookie.set_value("b");
            });
            let (said, seen) = both(asked, server.answer("200 OK", "Set-Cookie: c=d\r\n", b"")).await;
            assert_eq!(seen.field("cookie"), "");
            let said = said.unwrap();
            assert_eq!((said.cookies, said.fields.len()), (0, 0));
        }
    });
}

#[test]
fn a_grain_sets_only_what_is_its_business() {
    run(async {
        let world = World::new().await;
        let server = Server::new().await;
        let session = world.website(&server.url("")).await;
        let free = [
            ("accept-language", "de"),
            ("if-modified-since", "Sat, 28 Nov 2026 00:00:00 GMT"),
            ("range", "bytes=0-1"),
            ("x-csrf-token", "1"),
            ("x-sandstorm-app-a", "b"),
        ];
        let taken = [
            ("Accept-Encoding", "br"),
            ("Authorization", "Basic YTpi"),
            ("Connection", "upgrade"),
            ("Content-Encoding", "gzip"),
            ("Content-Length", "7"),
            ("Content-Type", "text/html"),
            ("Content_Length", "7"),
            ("COOKIE", "a=b"),
            ("Destination", "http://127.0.0.1/"),
            ("Expect", "100-continue"),
            ("Forwarded", "for=127.0.0.1"),
            ("Host", "other.example"),
            ("Keep-Alive", "1"),
            ("Origin", "http://other.example"),
            ("Proxy-Authorization", "Basic YTpi"),
            ("Sec-WebSocket-Key", "a"),
            ("TE", "trailers"),
            ("Trailer", "a"),
            ("Transfer-Encoding", "chunked"),
            ("Transfer_Encoding", "chunked"),
            ("Upgrade", "h2c"),
            ("User-Agent", "Other/1"),
            ("Via", "1.1 other"),
            ("X-Forwarded-For", "127.0.0.1"),
            ("X_Forwarded_For", "127.0.0.1"),
            ("X-Original-URL", "/admin"),
            ("X-Rewrite-URL", "/admin"),
            ("X-Original-Host", "other.example"),
            ("X-Original-URI", "/admin"),
            ("X-Real-IP", "127.0.0.1"),
            ("True-Client-IP", "127.0.0.1"),
            ("Client-IP", "127.0.0.1"),
            ("Client_IP", "127.0.0.1"),
            ("CF-Connecting-IP", "127.0.0.1"),
            ("Proxy", "http://other.example/"),
        ];
        let asked = ask(&session, "", |context| {
            let all = free.iter().chain(&taken);
            let count = u32::try_from(free.len() + taken.len()).unwrap();
            let mut fields = context.init_additional_headers(count);
            for (index, (name, value)) in (0..).zip(all) {
                let mut field = fields.reborrow().get(index);
                field.set_name(name);
                field.set_value(value);
            }
        });
        let (said, mut seen) = both(asked, server.answer("204 Empty", "", b"")).await;
        said.unwrap();
        let usual = seen.fields.split_off(2 + free.len());
        assert_eq!(seen.field("accept-encoding"), "identity");
        let agent = concat!("Percloud/", env!("CARGO_PKG_VERSION"));
        assert_eq!(seen.field("user-agent"), agent);
        assert_eq!(usual, [("host".to_owned(), format!("127.0.0.1:{}", server.port))]);
        for (name, value) in free {
            assert_eq!(seen.field(name), value);
        }
    });
}

#[test]
fn nothing_breaks_out_of_its_header() {
    run(async {
        let world = World::new().await;
        let server = Server::new().await;
        let session = world.website(&server.url("")).await;
        for (name, value) in [
            ("x-a", "b\r\nX-C: d"),
            ("x-a", "b\nX-C: d"),
            ("x-a", "b\0"),
            ("x-a: b\r\nx-c", "d"),
            ("x a", "b"),
            ("", "b"),
        ] {
            let asked = ask(&session, "", |context| {
                let mut field = context.init_additional_headers(1).get(0);
                field.set_name(name);
                field.set_value(value);
            });
            asked.await.map(drop).unwrap_err();
        }
        let mut post = session.post_request();
        post.get().init_content().set_mime_type("text/plain\r\nX-C: d");
        post.send().promise.await.map(drop).unwrap_err();
        let mut post = session.post_request();
        post.get().init_content().set_encoding("gzip\nX-C: d");
        post.send().promise.await.map(drop).unwrap_err();
        let mut post = session.post_streaming_request();
        post.get().set_mime_type("text/plain\r\nX-C: d");
        post.send().promise.await.map(drop).unwrap_err();
        let mut unlock = session.unlock_request();
        unlock.get().set_lock_token("a\r\nX-C: d");
        unlock.send().promise.await.map(drop).unwrap_err();
        let asked = ask(&session, "", |context| {
            context.init_accept(1).get(0).set_mime_type("a/b\r\nX-C: d");
        });
        asked.await.map(drop).unwrap_err();
        for tag in ["a\", \"b", "a\r\nX-C: d"] {
            let asked = ask(&session, "", |context| {
                let condition = context.init_e_tag_precondition();
                condition.init_matches_one_of(1).get(0).set_value(tag);
            });
            asked.await.map(drop).unwrap_err();
        }
        let asked = ask(&session, "", |context| {
            context.init_additional_headers(65);
        });
        asked.await.map(drop).unwrap_err();
        assert!(server.is_lonely());
    });
}
