//! API hosts: programs with a token, and those without.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::app::pattern;
use crate::client::{Answer, request};
use crate::world::{API, TOKEN, World, hex};

const CHALLENGE: &str = "Basic realm=\"Percloud\", charset=\"UTF-8\"";

fn basic(user: &str, password: &str) -> String {
    format!(
        "Authorization: Basic {}\r\n",
        STANDARD.encode(format!("{user}:{password}"))
    )
}

/// What every answer says, whoever it is from.
fn is_dressed(answer: &Answer) {
    for (name, value) in [
        ("access-control-allow-origin", "*"),
        ("vary", "Authorization"),
        ("content-security-policy", "default-src 'none'; sandbox"),
        ("referrer-policy", "no-referrer"),
        ("x-content-type-options", "nosniff"),
    ] {
        assert_eq!(answer.all(name), [value], "{name} of {answer:?}");
    }
    assert!(
        answer
            .header("access-control-expose-headers")
            .unwrap()
            .starts_with("ETag")
    );
    assert_eq!(answer.header("set-cookie"), None);
}

#[test]
fn a_token_opens_the_app_wherever_it_stands() {
    let world = World::new();
    let (own, generic) = (world.api(), format!("api.{}", world.shell()));
    let bearer = format!("Authorization: bEARER {TOKEN}\r\n");
    let git = "User-Agent: git/2.40.1\r\n";
    let basic = basic("anybody", &format!(" {TOKEN}"));
    let in_path = format!("/.sandstorm-token/{TOKEN}/a/b?c=d");
    for (host, path, headers, opens) in [
        (&own, "/a/b?c=d", bearer.clone(), true),
        (&own, "/a/b?c=d", basic.clone(), true),
        (&own, &in_path, String::new(), true),
        (&generic, "/a/b?c=d", bearer.clone(), true),
        (&generic, "/a/b?c=d", format!("{git}{basic}"), true),
        (&generic, &in_path, git.to_owned(), true),
        (&generic, "/a/b?c=d", basic.clone(), false),
        (&generic, &in_path, String::new(), false),
    ] {
        let answer = world.ask(&request("GET", path, host, &headers));
        is_dressed(&answer);
        if opens {
            assert_eq!(answer.status, 200, "{host} {path} {headers}");
            assert!(answer.text().starts_with("get a/b?c=d\n"), "{}", answer.text());
        } else {
            assert_eq!(
                (answer.status, answer.header("www-authenticate")),
                (403, None),
                "{host} {path}"
            );
        }
    }
    // What an app is told that knows no sessions for programs.
    let told = world.facts.read(|facts| facts.params[0].0.clone());
    assert_eq!(told, "https://sandbox");
}

#[test]
fn neither_token_nor_cookies_reach_the_app() {
    let world = World::new();
    let headers = format!(
        "Cookie: a=b; __Host-percloud={}\r\nProxy-Authorization: Basic x\r\nX-Sandstorm-App-Key: mine\r\n",
        hex(7)
    );
    let answer = world.ask(&world.api_request("GET", "/a", &headers));
    let text = answer.text();
    assert!(text.contains("header x-sandstorm-app-key: mine"), "{text}");
    for secret in ["cookie", "uthorization", TOKEN] {
        assert!(!text.contains(secret), "{text}");
    }
    let answer = world.ask(&world.api_request("GET", "/headers", ""));
    is_dressed(&answer);
    assert_eq!(answer.header("x-sandstorm-app-color"), Some("green"));
    assert_eq!(
        answer.header("access-control-expose-headers"),
        Some("ETag, x-sandstorm-app-color, x-oc-mtime")
    );
}

#[test]
fn who_is_refused_while_writing_can_finish_and_read_why() {
    let world = World::single(|limits| limits.wrong_tokens = 1000);
    let wrong = format!("Authorization: Bearer {}\r\n", "x".repeat(43));
    for headers in [String::new(), wrong, "Authorization: Bearer short\r\n".to_owned()] {
        let head = request("PROPFIND", "/", &world.api(), &format!("Content-Length: 4\r\n{headers}"));
        let mut slow = world.connect();
        slow.send(head.as_bytes());
        // Refused in one piece meanwhile: the slow one has had its time as well.
        assert_eq!(world.ask(&format!("{head}<a/>")).status, 401);
        slow.send(b"<a/>");
        assert_eq!(slow.answer().status, 401, "{headers}");
        slow.send(format!("{head}<b/>").as_bytes());
        assert_eq!(slow.answer().status, 401, "the connection goes on");
    }
    // Who asks first whether to send at all is told at once.
    let waiting = "Content-Length: 4\r\nExpect: 100-continue\r\n";
    let answer = world.ask(&request("PUT", "/", &world.api(), waiting));
    assert_eq!(answer.status, 401);
    // As is who would send more than is worth reading.
    let large = world.ask(&request("PUT", "/", &world.api(), "Content-Length: 10000000\r\n"));
    assert_eq!(large.status, 401);
}

#[test]
fn wrong_foreign_and_missing_tokens_are_refused_alike() {
    let world = World::with(|limits| limits.wrong_tokens = 1000);
    let (own, generic) = (world.api(), format!("api.{}", world.shell()));
    let foreign = format!("api-{}.{}", "f".repeat(32), world.shell());
    let unknown = "x".repeat(43);
    let git = "User-Agent: git/2.40.1\r\n";
    for (host, headers, status) in [
        (&own, String::new(), 401),
        (&own, format!("Authorization: Bearer {unknown}\r\n"), 401),
        (&own, "Authorization: Bearer short\r\n".to_owned(), 401),
        (&own, basic("u", &unknown), 401),
        (&own, basic("u", ""), 401),
        (&own, basic("u", "   "), 401),
        (&own, "Authorization: Digest x\r\n".to_owned(), 401),
        (&foreign, format!("Authorization: Bearer {TOKEN}\r\n"), 401),
        (&foreign, String::new(), 401),
        (&generic, String::new(), 403),
        (&generic, format!("Authorization: Bearer {unknown}\r\n"), 403),
        (&generic, git.to_owned(), 401),
        (&generic, format!("{git}{}", basic("u", &unknown)), 401),
    ] {
        for method in ["GET", "PROPFIND", "PUT"] {
            let answer = world.ask(&request(
                method,
                "/",
                host,
                &format!("Content-Length: 0\r\n{headers}"),
            ));
            is_dressed(&answer);
            let challenge = (status == 401).then_some(CHALLENGE);
            assert_eq!(
                (answer.status, answer.header("www-authenticate")),
                (status, challenge),
                "{method} {host} {headers}"
            );
        }
    }
    assert!(
        world.facts.read(|facts| facts.params.is_empty()),
        "no grain was entered"
    );
}

#[test]
fn scripts_of_any_site_may_ask_first() {
    let world = World::new();
    let headers = "Origin: https://elsewhere.example\r\nAccess-Control-Request-Method: REPORT\r\n\
                   Access-Control-Request-Headers: authorization, x-thing\r\n";
    for host in [world.api(), format!("api.{}", world.shell())] {
        let answer = world.ask(&request("OPTIONS", "/a", &host, headers));
        is_dressed(&answer);
        for (name, value) in [
            ("access-control-max-age", "3600"),
            ("access-control-allow-headers", "authorization, x-thing"),
            (
                "access-control-allow-methods",
                "GET, HEAD, POST, PUT, PATCH, DELETE, REPORT",
            ),
        ] {
            assert_eq!(answer.header(name), Some(value), "{name}");
        }
        assert_eq!((answer.status, answer.body.len()), (200, 0));
    }
    assert!(
        world.facts.read(|facts| facts.calls.is_empty()),
        "nobody else is asked"
    );
    let answer = world.ask(&world.api_request("GET", "/a", "Origin: https://elsewhere.example\r\n"));
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("access-control-max-age"), None);
}

#[test]
fn without_a_token_there_is_what_was_registered() {
    let world = World::new();
    let (own, generic) = (world.api(), format!("api.{}", world.shell()));
    for (method, path, status) in [
        ("GET", "/hello", 200),
        ("GET", "/hello?x", 200),
        ("HEAD", "/hello", 200),
        ("GET", "/other", 401),
        ("POST", "/hello", 401),
        ("PROPFIND", "/hello", 401),
    ] {
        let mut client = world.connect();
        client.send(request(method, path, &own, "Content-Length: 0\r\n").as_bytes());
        let mut answer = client.head().unwrap();
        if method != "HEAD" {
            client.body(&mut answer);
        }
        is_dressed(&answer);
        assert_eq!(answer.status, status, "{method} {path}");
        if method == "GET" && status == 200 {
            assert_eq!(answer.text(), "<p>hello");
            assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
            assert_eq!(answer.header("content-language"), Some("en"));
        }
    }
    let bad = world.ask(&request("GET", "/bad", &own, ""));
    assert_eq!(bad.header("x-injected"), None);
    assert_eq!(bad.header("content-type"), Some("text/plain; charset=utf-8"));

    let options = world.ask(&request("OPTIONS", "/", &own, ""));
    is_dressed(&options);
    assert_eq!(
        (options.status, options.header("dav")),
        (200, Some("1, calendar-access"))
    );
    assert!(options.header("allow").unwrap().contains("PROPFIND"));
    let options = world.ask(&request("OPTIONS", "/", &generic, ""));
    assert_eq!((options.status, options.header("dav")), (200, None));
    // With a token, it is the app that says what it can.
    let options = world.ask(&world.api_request("OPTIONS", "/", ""));
    is_dressed(&options);
    assert_eq!(options.header("dav"), Some("1, 3, calendar-access"));
    assert_eq!(
        options.header("access-control-allow-methods"),
        Some("GET, HEAD, POST, PUT, PATCH, DELETE")
    );
}

#[test]
fn calendars_and_address_books_are_found() {
    let world = World::new();
    for method in ["GET", "PROPFIND"] {
        for path in ["/.well-known/caldav", "/.well-known/caldav/"] {
            for authorization in [String::new(), format!("Authorization: Bearer {TOKEN}\r\n")] {
                let answer = world.ask(&request(method, path, &world.api(), &authorization));
                is_dressed(&answer);
                assert_eq!(
                    (answer.status, answer.header("location")),
                    (301, Some("/dav/calendars/")),
                    "{method} {path}"
                );
            }
        }
    }
    // Nothing usable is registered for the other: the app may know.
    let answer = world.ask(&world.api_request("PROPFIND", "/.well-known/carddav", "Depth: 0\r\n"));
    assert_eq!(answer.status, 200);
    assert!(
        answer.text().starts_with("propfind .well-known/carddav\n"),
        "{}",
        answer.text()
    );
    let answer = world.ask(&request("PROPFIND", "/.well-known/carddav", &world.api(), ""));
    assert_eq!(
        (answer.status, answer.header("www-authenticate")),
        (401, Some(CHALLENGE))
    );
}

#[test]
fn every_method_reaches_the_app() {
    let world = World::new();
    let origin = format!("http://{}", world.api());
    for (method, headers, first) in [
        ("GET", String::new(), "get a"),
        ("POST", "Content-Length: 0\r\n".to_owned(), "post a"),
        ("PUT", "Content-Length: 0\r\n".to_owned(), "put a"),
        ("PATCH", "Content-Length: 0\r\n".to_owned(), "patch a"),
        ("DELETE", String::new(), "delete a"),
        ("PROPFIND", "Depth: 1\r\n".to_owned(), "propfind a"),
        ("PROPPATCH", "Content-Length: 0\r\n".to_owned(), "proppatch a"),
        ("MKCOL", String::new(), "mkcol a"),
        ("COPY", format!("Destination: {origin}/b\r\n"), "copy a"),
        ("MOVE", format!("Destination: {origin}/b\r\n"), "move a"),
        ("LOCK", "Content-Length: 0\r\n".to_owned(), "lock a"),
        ("UNLOCK", "Lock-Token: <urn:x>\r\n".to_owned(), "unlock a"),
        ("REPORT", "Content-Length: 0\r\n".to_owned(), "report a"),
        ("ACL", "Content-Length: 0\r\n".to_owned(), "acl a"),
    ] {
        let answer = world.ask(&world.api_request(method, "/a", &headers));
        is_dressed(&answer);
        assert_eq!(answer.status, 200, "{method}");
        assert_eq!(answer.text().lines().next(), Some(first), "{method}");
    }
    let answer = world.ask(&world.api_request("BREW", "/a", ""));
    is_dressed(&answer);
    assert_eq!(answer.status, 501);
    let path = format!("/.sandstorm-token/{TOKEN}/a");
    let to = format!("Destination: {origin}/.sandstorm-token/{TOKEN}/b\r\n");
    let moved = world.ask(&request("MOVE", &path, &world.api(), &to));
    assert!(moved.text().contains("to b no overwrite"), "{}", moved.text());
    let to = "Destination: http://evil.example/b\r\n";
    assert_eq!(world.ask(&world.api_request("MOVE", "/a", to)).status, 502);
}

#[test]
fn bodies_stream_both_ways_and_parts_are_cut() {
    let world = World::new();
    let mut client = world.connect();
    client.send(
        world
            .api_request("PUT", "/up", "Content-Length: 300000\r\n")
            .as_bytes(),
    );
    client.send(&pattern(0, 300_000));
    let answer = client.answer();
    assert_eq!((answer.status, answer.text()), (200, "300000"));
    is_dressed(&answer);
    let answer = world.ask(&world.api_request("GET", "/stream/300000", "Range: bytes=100000-100009\r\n"));
    assert_eq!((answer.status, answer.body), (206, pattern(100_000, 10)));
    let answer = world.ask(&world.api_request("GET", "/inline/10", ""));
    assert_eq!(answer.header("etag"), Some("\"v1\""));
    let mut client = world.connect();
    client.send(world.api_request("HEAD", "/inline/10", "").as_bytes());
    let head = client.head().unwrap();
    assert_eq!((head.status, head.header("etag")), (200, Some("\"v1\"")));
}

#[test]
fn who_must_sign_in_first_need_not_send_the_body() {
    let world = World::new();
    let rest = "Content-Length: 10\r\nExpect: 100-continue\r\n";
    let mut client = world.connect();
    client.send(request("PUT", "/a", &world.api(), rest).as_bytes());
    let answer = client.answer();
    assert_eq!(
        (answer.status, answer.header("www-authenticate")),
        (401, Some(CHALLENGE))
    );
    let mut client = world.connect();
    client.send(world.api_request("PUT", "/a", rest).as_bytes());
    assert_eq!(client.head().unwrap().status, 100);
    client.send(b"0123456789");
    let answer = client.answer();
    assert_eq!(answer.status, 200);
    assert!(answer.text().contains("10 0123456789"), "{}", answer.text());
}

#[test]
fn the_app_learns_where_a_client_is_only_if_the_client_says_so() {
    let world = World::single(|_| {});
    let told = || {
        world.facts.read(|facts| {
            let calls = facts.calls.iter().filter(|call| call.starts_with("token"));
            calls.cloned().collect::<Vec<_>>()
        })
    };
    let real = "X-Real-IP: 192.0.2.1\r\n";
    for (headers, sessions) in [
        (String::new(), 1),
        (real.to_owned(), 1),
        (format!("{real}X-Sandstorm-Passthrough: address\r\n"), 2),
        (format!("{real}X-Sandstorm-Passthrough: x, address\r\n"), 2),
        ("X-Sandstorm-Passthrough: address\r\n".to_owned(), 3),
    ] {
        let agent = format!("User-Agent: T\r\n{headers}");
        assert_eq!(world.ask(&world.api_request("GET", "/a", &agent)).status, 200);
        assert_eq!(told().len(), sessions, "{headers}");
    }
    assert_eq!(
        told(),
        [
            format!("token {API}  from 127.0.0.1 T"),
            format!("token {API} 192.0.2.1 from 192.0.2.1 T"),
            format!("token {API} 127.0.0.1 from 127.0.0.1 T"),
        ]
    );
}

#[test]
fn a_session_belongs_to_one_token_on_one_host() {
    let world = World::single(|limits| limits.wrong_tokens = 1000);
    let bearer = format!("Authorization: Bearer {TOKEN}\r\n");
    for _ in 0..3 {
        assert_eq!(world.ask(&world.api_request("GET", "/a", "")).status, 200);
    }
    assert_eq!(world.facts.read(|facts| facts.opened), 1);
    // The session at hand is no way in for whoever comes to another host with the same token.
    let foreign = format!("api-{}.{}", "f".repeat(32), world.shell());
    assert_eq!(world.ask(&request("GET", "/a", &foreign, &bearer)).status, 401);
    let page = world.ask(&request("GET", "/a", &world.page(), &bearer));
    assert_eq!(page.status, 404, "a token is no cookie");
    assert_eq!(world.facts.read(|facts| facts.opened), 1);
}

#[test]
fn a_token_is_kept_alive_without_asking_the_app() {
    let world = World::new();
    let kept = world.ask(&world.api_request("GET", "/a", "X-Sandstorm-Token-Keepalive: 300000\r\n"));
    is_dressed(&kept);
    assert_eq!((kept.status, kept.body.len()), (200, 0));
    assert_eq!(world.facts.read(|facts| facts.calls.clone()), ["keep 300000"]);
    for wrong in ["", "x", "-1", "99999999999"] {
        let rest = format!("X-Sandstorm-Token-Keepalive: {wrong}\r\n");
        assert_eq!(
            world.ask(&world.api_request("GET", "/a", &rest)).status,
            400,
            "{wrong}"
        );
    }
    let rest = format!(
        "Authorization: Bearer {}\r\nX-Sandstorm-Token-Keepalive: 1\r\n",
        "x".repeat(43)
    );
    assert_eq!(world.ask(&request("GET", "/a", &world.api(), &rest)).status, 401);
}

#[test]
fn who_guesses_waits_and_who_knows_does_not() {
    let world = World::single(|limits| {
        limits.wrong_tokens = 3;
        limits.wrong_token_counts = Duration::from_secs(600);
    });
    assert_eq!(world.ask(&world.api_request("GET", "/a", "")).status, 200);
    let guess = |token: &str| {
        let headers = format!("Authorization: Bearer {token}\r\n");
        world.ask(&request("GET", "/a", &world.api(), &headers))
    };
    for token in ["short", &"x".repeat(43), &"y".repeat(43)] {
        assert_eq!(guess(token).status, 401, "{token}");
    }
    let asked = world.facts.read(|facts| facts.calls.len());
    for token in ["short", &"z".repeat(43)] {
        let answer = guess(token);
        is_dressed(&answer);
        assert_eq!(
            (answer.status, answer.header("retry-after")),
            (429, Some("600")),
            "{token}"
        );
    }
    assert_eq!(
        world.facts.read(|facts| facts.calls.len()),
        asked,
        "the broker is not asked"
    );
    assert_eq!(
        world.ask(&world.api_request("GET", "/a", "")).status,
        200,
        "who was let in stays"
    );
    let nobody = world.ask(&request("GET", "/a", &world.api(), ""));
    assert_eq!(nobody.status, 401, "bringing none is no guess");
}

#[test]
fn one_who_guesses_does_not_lock_out_another() {
    let world = World::single(|limits| {
        limits.wrong_tokens = 2;
        limits.wrong_token_counts = Duration::from_secs(600);
    });
    let guess = |address: &str| {
        // As a server in front of this one says it.
        let headers = format!("X-Real-IP: {address}\r\nAuthorization: Bearer wrong\r\n");
        world.ask(&request("GET", "/a", &world.api(), &headers)).status
    };
    let answers: Vec<u16> = (0..3).map(|_| guess("192.0.2.1")).collect();
    assert_eq!(answers, [401, 401, 429]);
    assert_eq!(guess("192.0.2.2"), 401);
    let opens = |address: &str| {
        let headers = format!("X-Real-IP: {address}\r\n");
        world.ask(&world.api_request("GET", "/a", &headers)).status
    };
    assert_eq!(
        opens("192.0.2.1"),
        429,
        "even the right one, until it may guess again"
    );
    assert_eq!(opens("192.0.2.2"), 200);
    assert_eq!(
        opens("192.0.2.1"),
        200,
        "what is open stays open to whoever has the token"
    );
}

#[test]
fn a_failing_grain_says_why_in_plain_text() {
    let world = World::new();
    world
        .facts
        .update(|facts| facts.failed = Some("Its <program> is missing.".to_owned()));
    let answer = world.ask(&world.api_request("GET", "/a", ""));
    is_dressed(&answer);
    assert_eq!(
        (answer.status, answer.text()),
        (503, "Its <program> is missing.\n")
    );
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
}

#[test]
fn a_password_that_a_browser_remembers_is_not_used_by_other_sites() {
    let world = World::new();
    let handshake = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let bearer = format!("Authorization: Bearer {TOKEN}\r\n");
    let basic = basic("me", TOKEN);
    let foreign = "Origin: https://evil.example\r\n";
    let own = format!("Origin: http://{}\r\n", world.api());
    let post = "Content-Type: text/plain\r\nContent-Length: 0\r\n";
    for (method, path, headers, status) in [
        ("POST", "/a", format!("{post}{basic}{foreign}"), 403),
        ("POST", "/a", format!("{post}{bearer}{foreign}"), 200),
        ("POST", "/a", format!("{post}{basic}{own}"), 200),
        ("POST", "/a", format!("{post}{basic}"), 200),
        ("GET", "/echo", format!("{handshake}{basic}{foreign}"), 403),
        ("GET", "/echo", format!("{handshake}{basic}{own}"), 101),
    ] {
        let mut client = world.connect();
        client.send(request(method, path, &world.api(), &headers).as_bytes());
        assert_eq!(client.head().unwrap().status, status, "{method} {headers}");
    }
    // Nor shown by them, unless the page knows the token.
    let policy = |path: &str, headers: &str| {
        let answer = world.ask(&request("GET", path, &world.api(), headers));
        assert_eq!(answer.status, 200, "{path}");
        answer.header("cross-origin-resource-policy").unwrap().to_owned()
    };
    assert_eq!(policy("/a", &basic), "same-origin");
    assert_eq!(
        policy(&format!("/.sandstorm-token/{TOKEN}/a"), ""),
        "cross-origin"
    );
}

#[test]
fn web_sockets_open_with_the_token_in_the_path() {
    let world = World::new();
    let handshake = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: https://elsewhere.example\r\n";
    let mut client = world.connect();
    let path = format!("/.sandstorm-token/{TOKEN}/echo");
    client.send(request("GET", &path, &world.api(), handshake).as_bytes());
    assert_eq!(client.head().unwrap().status, 101);
    client.send(b"hello");
    assert_eq!(client.take(5), b"hello");
    let answer = world.ask(&request("GET", "/echo", &world.api(), handshake));
    assert_eq!(answer.status, 401);
}
