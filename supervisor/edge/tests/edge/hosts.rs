//! Which host is meant, and what becomes of requests that are none.

use std::io::Write;
use std::time::Duration;

use crate::world::{PAGE, World};

#[test]
fn each_host_gets_its_own_and_strangers_get_nothing() {
    let world = World::new();
    let port = world.address.port();
    let shell = world.get_from(&world.shell(), "/");
    assert_eq!((shell.status, shell.text()), (200, "<title>Percloud</title>"));
    for alias in [format!("localhost:{port}"), format!("127.0.0.1:{port}")] {
        let moved = world.get_from(&alias, "/grain/1?x");
        let shell = format!("http://{}/grain/1?x", world.shell());
        assert_eq!(
            (moved.status, moved.header("location")),
            (308, Some(shell.as_str()))
        );
        assert_eq!(
            world.ask(&crate::client::request("POST", "/", &alias, "")).status,
            404
        );
    }
    for stranger in [
        "evil.example",
        &format!("{PAGE}.evil.example:{port}"),
        "percloud.localhost:1",
        &format!("ui-1.{}", world.shell()),
    ] {
        assert_eq!(world.get_from(stranger, "/").status, 404, "{stranger}");
    }
}

#[test]
fn pages_that_say_no_say_it_in_the_language_of_who_asks() {
    let world = World::new();
    let (shell, page) = (world.shell(), world.page());
    for (method, host, english, german) in [
        (
            "GET",
            "evil.example",
            "no site with this name",
            "Website mit diesem Namen",
        ),
        ("GET", &page, "This page is closed", "Diese Seite ist geschlossen"),
        ("PUT", &shell, "The method PUT", "Die Methode PUT"),
    ] {
        for (languages, tag, sentence) in [
            ("", "en", english),
            ("Accept-Language: fr,en;q=0.5\r\n", "en", english),
            ("Accept-Language: de-AT,de;q=0.9,en;q=0.5\r\n", "de", german),
        ] {
            let answer = world.ask(&crate::client::request(method, "/", host, languages));
            assert_eq!(answer.header("content-language"), Some(tag), "{method} {host}");
            let text = answer.text();
            assert!(text.contains(&format!("lang=\"{tag}\"")), "{text}");
            assert!(text.contains(sentence), "{text}");
        }
    }
}

#[test]
fn requests_without_one_clear_host_are_refused() {
    let world = World::new();
    let shell = world.shell();
    for (head, status) in [
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400),
        (
            format!("GET / HTTP/1.1\r\nHost: {shell}\r\nHost: {shell}\r\n\r\n"),
            400,
        ),
        (format!("GET / HTTP/1.1\r\nHost: {shell}/x\r\n\r\n"), 400),
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\nHost: \r\n\r\n".to_owned(), 400),
        ("GET / HTTP/1.0\r\n\r\n".to_owned(), 404),
        (
            format!("GET http://{shell}/ HTTP/1.1\r\nHost: {shell}\r\n\r\n"),
            200,
        ),
        (
            format!("GET http://evil.example/ HTTP/1.1\r\nHost: {shell}\r\n\r\n"),
            400,
        ),
        (
            format!("GET https://{shell}/ HTTP/1.1\r\nHost: {shell}\r\n\r\n"),
            400,
        ),
        (
            format!("GET http://{shell}/ HTTP/1.1\r\nHost: evil.example\r\n\r\n"),
            400,
        ),
        (format!("CONNECT {shell} HTTP/1.1\r\nHost: {shell}\r\n\r\n"), 400),
        (
            format!("GET / HTTP/1.1\r\nHost: {shell}\r\nbad header: x\r\n\r\n"),
            400,
        ),
        (format!("GET /a\u{1}b HTTP/1.1\r\nHost: {shell}\r\n\r\n"), 400),
        (
            format!("GET /{} HTTP/1.1\r\nHost: {shell}\r\n\r\n", "a".repeat(20_000)),
            414,
        ),
        (
            format!(
                "GET / HTTP/1.1\r\nHost: {shell}\r\nX-Big: {}\r\n\r\n",
                "a".repeat(70_000)
            ),
            431,
        ),
        (
            format!(
                "GET / HTTP/1.1\r\nHost: {shell}\r\n{}\r\n",
                "a: b\r\n".repeat(200)
            ),
            431,
        ),
        (
            format!(
                "POST /api/session HTTP/1.1\r\nHost: {shell}\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"
            ),
            400,
        ),
    ] {
        let mut client = world.connect();
        // The edge may have heard enough before everything is said.
        let _ = client.stream.write_all(head.as_bytes());
        assert_eq!(
            client.answer().status,
            status,
            "{:?}",
            &head[..head.len().min(90)]
        );
    }
    let mut client = world.connect();
    client.send(b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(client.answer().status, 400);
    // And it goes on.
    assert_eq!(world.get_from(&shell, "/").status, 200);
}

#[test]
fn a_client_that_never_finishes_its_head_is_let_go() {
    let world = World::with(|limits| limits.header_timeout = Duration::from_millis(150));
    let mut slow = world.connect();
    slow.send(format!("GET / HTTP/1.1\r\nHost: {}\r\nX-Slow: ", world.shell()).as_bytes());
    // Others are served meanwhile.
    assert_eq!(world.get_from(&world.shell(), "/").status, 200);
    assert!(slow.is_closed());
    let mut silent = world.connect();
    assert!(silent.is_closed());
}

#[test]
fn one_connection_carries_many_requests() {
    let world = World::new();
    let mut client = world.connect();
    for _ in 0..3 {
        client.send(world.page_request("GET", "/one", "").as_bytes());
        assert_eq!(client.answer().status, 200);
        client.send(crate::client::get("/", &world.shell(), "").as_bytes());
        assert_eq!(client.answer().text(), "<title>Percloud</title>");
    }
}

#[test]
fn a_full_house_waits_instead_of_failing() {
    let world = World::with(|limits| limits.connections = 1);
    let mut first = world.connect();
    first.send(world.page_request("GET", "/endless", "").as_bytes());
    assert_eq!(first.head().unwrap().status, 200);
    let mut second = world.connect();
    second.send(crate::client::get("/", &world.shell(), "").as_bytes());
    second
        .stream
        .set_read_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    assert!(
        std::io::Read::read(&mut second.stream, &mut [0]).is_err(),
        "there is no room while the first is being answered"
    );
    drop(first);
    second
        .stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    assert_eq!(second.answer().status, 200);
}
