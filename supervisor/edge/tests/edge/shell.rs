//! The shell host: pages, the API, and who may use it.

use crate::client::{get, request};
use crate::world::{SHELL_COOKIE, World, hex};

#[test]
fn pages_of_the_shell_are_confined() {
    let world = World::new();
    let page = world.get_from(&world.shell(), "/grain/abc");
    let shell = world.shell();
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
         font-src 'self'; manifest-src 'self'; frame-src http://*.{shell}; form-action 'self' http://*.{shell}; \
         base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    );
    for (name, value) in [
        ("content-security-policy", policy.as_str()),
        ("content-type", "text/html; charset=utf-8"),
        ("referrer-policy", "strict-origin"),
        ("cross-origin-opener-policy", "same-origin"),
        ("x-content-type-options", "nosniff"),
        ("cache-control", "private, no-cache"),
    ] {
        assert_eq!(page.header(name), Some(value), "{name}");
    }
    assert_eq!(world.get_from(&shell, "/assets/none.js").status, 404);
    assert_eq!(
        world
            .ask(&request("POST", "/", &shell, "Content-Length: 0\r\n"))
            .status,
        501
    );
}

#[test]
fn signing_in_gives_a_cookie_and_signing_out_takes_it() {
    let world = World::new();
    let shell = world.shell();
    let post = |path: &str, body: &str| {
        let rest = format!(
            "X-Percloud: 1\r\nUser-Agent: T\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        world.ask(&request("POST", path, &shell, &rest))
    };
    let cookie = format!(
        "__Host-percloud={}; Path=/; HttpOnly; SameSite=Strict; Secure",
        hex(SHELL_COOKIE)
    );
    for (path, status) in [("/api/setup", 201), ("/api/session", 200)] {
        let answer = post(path, "{\"x\":\"right\"}");
        assert_eq!(
            (answer.status, answer.header("set-cookie")),
            (status, Some(cookie.as_str())),
            "{path}"
        );
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
    let answer = post("/api/session", "{}");
    assert_eq!(
        (
            answer.status,
            answer.header("retry-after"),
            answer.header("set-cookie")
        ),
        (429, Some("30"), None)
    );
    assert_eq!(world.facts.read(|facts| facts.calls[0].clone()), "127.0.0.1 T");
    assert_eq!(post("/api/session", &"x".repeat(70_000)).status, 413);

    let out = world.ask(&world.shell_request("DELETE", "/api/session", ""));
    assert_eq!(out.status, 204);
    assert!(out.header("set-cookie").unwrap().ends_with("Max-Age=0"));
    let settings = world.get_from(&shell, "/api/settings");
    assert!(
        settings.text().contains("\"signedIn\":false"),
        "{}",
        settings.text()
    );
    let settings = world.ask(&world.shell_request("GET", "/api/settings", ""));
    assert!(
        settings.text().contains("\"signedIn\":true"),
        "{}",
        settings.text()
    );
}

#[test]
fn every_call_reaches_its_capability() {
    let world = World::new();
    let body = |text: &str| format!("Content-Length: {}\r\n\r\n{text}", text.len());
    for (method, path, rest, status, answer) in [
        (
            "GET",
            "/api/me",
            String::new(),
            200,
            r#"{"name":"Owner","handle":"owner"}"#,
        ),
        (
            "GET",
            "/api/home",
            String::new(),
            200,
            r#"{"apps":[],"grains":[]}"#,
        ),
        ("POST", "/api/grains", body("{}"), 201, r#"{"id":"g1"}"#),
        ("GET", "/api/grains/g1", String::new(), 200, r#"{"id":"g1"}"#),
        (
            "PATCH",
            "/api/grains/g1",
            body(r#"{"title":"new"}"#),
            200,
            r#"{"title":"new"}"#,
        ),
        (
            "PATCH",
            "/api/grains/g1",
            body(r#"{"relaxedPolicy":true}"#),
            200,
            r#"{"relaxedPolicy":true}"#,
        ),
        (
            "PATCH",
            "/api/grains/g1",
            body(r#"{"title":"n","relaxedPolicy":true}"#),
            200,
            r#"{"relaxedPolicy":true}"#,
        ),
        (
            "POST",
            "/api/grains/g1/open",
            body(r#"{"path":"/x"}"#),
            200,
            r#"{"host":"h","secret":"s"}"#,
        ),
        (
            "POST",
            "/api/grains/g1/trash",
            String::new(),
            200,
            r#"{"trashed":1}"#,
        ),
        (
            "POST",
            "/api/grains/g1/restore",
            String::new(),
            200,
            r#"{"trashed":null}"#,
        ),
        (
            "POST",
            "/api/grains/g1/restart",
            String::new(),
            200,
            r#"{"state":"running"}"#,
        ),
        ("DELETE", "/api/grains/g1", String::new(), 204, ""),
        (
            "GET",
            "/api/packages/p1",
            String::new(),
            200,
            r#"{"packageId":"p1"}"#,
        ),
        (
            "POST",
            "/api/packages/p1/install",
            String::new(),
            200,
            r#"{"appId":"a"}"#,
        ),
        (
            "GET",
            "/api/packages/p1/icons/appGrid",
            String::new(),
            200,
            "<svg/>",
        ),
    ] {
        let got = world.ask(&world.shell_request(method, path, &rest));
        assert_eq!((got.status, got.text()), (status, answer), "{method} {path}");
    }
    for (method, path, rest, status) in [
        ("DELETE", "/api/packages/p1", String::new(), 409),
        ("GET", "/api/packages/p1/icons/grain", String::new(), 404),
        ("GET", "/api/packages/p1/icons/other", String::new(), 404),
        ("GET", "/api/packages/p2", String::new(), 404),
        ("GET", "/api/grains/g2", String::new(), 404),
        ("GET", "/api/grains/g1/nothing", String::new(), 404),
        ("GET", "/api/nothing", String::new(), 404),
        ("GET", "/api", String::new(), 404),
        ("PATCH", "/api/grains/g1", body("{}"), 400),
        ("PATCH", "/api/grains/g1", body(r#"{"owner":"me"}"#), 400),
        ("PATCH", "/api/grains/g1", body("nonsense"), 400),
        ("GET", "/api/grains/g1/log?backlog=x", String::new(), 400),
    ] {
        assert_eq!(
            world.ask(&world.shell_request(method, path, &rest)).status,
            status,
            "{method} {path}"
        );
    }
    let expected = [
        "create {}",
        r#"rename {"title":"new"}"#,
        r#"configure {"relaxedPolicy":true}"#,
        r#"rename {"title":"n"}"#,
        r#"configure {"relaxedPolicy":true}"#,
        r#"open {"path":"/x"}"#,
    ];
    assert_eq!(world.facts.read(|facts| facts.calls.clone()), expected);
    let icon = world.ask(&world.shell_request("GET", "/api/packages/p1/icons/appGrid", ""));
    assert_eq!(icon.header("content-type"), Some("image/svg+xml"));
    let policy = "sandbox; default-src 'none'; style-src 'unsafe-inline'";
    assert_eq!(icon.header("content-security-policy"), Some(policy));
}

#[test]
fn strangers_and_other_sites_are_refused() {
    let world = World::new();
    let shell = world.shell();
    for path in [
        "/api/me",
        "/api/home",
        "/api/grains/g1",
        "/api/packages/p1",
        "/api/events",
        "/api/nothing",
    ] {
        let answer = world.get_from(&shell, path);
        assert_eq!(answer.status, 401, "{path}");
        assert!(answer.text().contains("\"code\":\"signed-out\""));
    }
    let page = world.page();
    let cookie = format!(
        "Cookie: __Host-percloud={}\r\nContent-Length: 0\r\n",
        hex(SHELL_COOKIE)
    );
    for (method, headers, status) in [
        ("POST", "X-Percloud: 1\r\n".to_owned(), 200),
        (
            "POST",
            format!("X-Percloud: 1\r\nOrigin: http://{shell}\r\nSec-Fetch-Site: same-origin\r\n"),
            200,
        ),
        ("POST", String::new(), 403),
        ("POST", format!("Origin: http://{shell}\r\n"), 403),
        ("POST", format!("X-Percloud: 1\r\nOrigin: http://{page}\r\n"), 403),
        ("POST", "X-Percloud: 1\r\nOrigin: null\r\n".to_owned(), 403),
        (
            "POST",
            "X-Percloud: 1\r\nSec-Fetch-Site: same-site\r\n".to_owned(),
            403,
        ),
        ("GET", String::new(), 200),
        ("GET", "Sec-Fetch-Site: none\r\n".to_owned(), 200),
        ("GET", "Sec-Fetch-Site: same-site\r\n".to_owned(), 403),
        ("GET", format!("Origin: http://{page}\r\n"), 403),
    ] {
        let path = if method == "POST" {
            "/api/grains/g1/trash"
        } else {
            "/api/me"
        };
        let answer = world.ask(&request(method, path, &shell, &format!("{cookie}{headers}")));
        assert_eq!(answer.status, status, "{method} {headers}");
    }
}

#[test]
fn a_package_is_passed_on_while_it_arrives() {
    let world = World::with(|limits| limits.package = 1_000_000);
    let spk: Vec<u8> = (0..900_000u32)
        .map(|at| u8::try_from(at % 253).unwrap())
        .collect();
    let head = |length: usize, id: &str| {
        world.shell_request(
            "POST",
            "/api/packages",
            &format!("X-Upload-Id: {id}\r\nContent-Length: {length}\r\n"),
        )
    };
    let mut client = world.connect();
    client.send(head(spk.len(), "up-1").as_bytes());
    client.send(&spk);
    let answer = client.answer();
    assert_eq!((answer.status, answer.text()), (201, r#"{"packageId":"p1"}"#));
    assert!(world.facts.read(|facts| facts.package == spk));
    assert_eq!(
        world.facts.read(|facts| facts.calls.clone()),
        ["upload 900000 up-1"]
    );

    assert_eq!(world.ask(&head(1_000_001, "up-2")).status, 413);
    let chunked = world.shell_request(
        "POST",
        "/api/packages",
        "X-Upload-Id: u\r\nTransfer-Encoding: chunked\r\n",
    );
    let mut client = world.connect();
    client.send(chunked.as_bytes());
    for _ in 0..16 {
        let _ = std::io::Write::write_all(
            &mut client.stream,
            format!("10000\r\n{}\r\n", "x".repeat(0x10000)).as_bytes(),
        );
    }
    assert_eq!(client.head().unwrap().status, 413);
    for id in ["", "a b", &"x".repeat(65), "../x"] {
        assert_eq!(world.ask(&head(10, id)).status, 400, "{id}");
    }
}

#[test]
fn an_upload_that_breaks_off_is_forgotten() {
    let world = World::new();
    let rest = "X-Upload-Id: up\r\nContent-Length: 1000\r\n\r\nonly this";
    let mut client = world.connect();
    client.send(world.shell_request("POST", "/api/packages", rest).as_bytes());
    world
        .facts
        .wait("the beginning to arrive", |facts| facts.package == b"only this");
    drop(client);
    world
        .facts
        .wait("the upload to be dropped", |facts| facts.package_dropped);
}

#[test]
fn what_is_here_whole_is_finished_even_if_nobody_waits() {
    let world = World::new();
    world.facts.update(|facts| facts.hold_finish = true);
    let rest = "X-Upload-Id: up\r\nContent-Length: 9\r\n\r\nonly this";
    let mut client = world.connect();
    client.send(world.shell_request("POST", "/api/packages", rest).as_bytes());
    world
        .facts
        .wait("finishing to begin", |facts| facts.finishing == 1);
    // Gone both ways; the edge has closed its end once this reads an end.
    client.stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert!(client.is_closed());
    assert!(!world.facts.read(|facts| facts.package_dropped));
    world.facts.update(|facts| facts.hold_finish = false);
    world.facts.wait("it to be finished and let go", |facts| {
        facts.finished == 1 && facts.package_dropped
    });
}

#[test]
fn events_come_as_they_happen_until_nobody_listens() {
    let world = World::with(|limits| limits.event_comment = std::time::Duration::from_millis(50));
    let mut client = world.connect();
    client.send(world.shell_request("GET", "/api/events", "").as_bytes());
    let head = client.head().unwrap();
    assert_eq!(
        (head.status, head.header("content-type")),
        (200, Some("text/event-stream"))
    );
    let mut text = String::new();
    while !text.contains(":\n\n") {
        text.push_str(std::str::from_utf8(&client.chunk().unwrap().unwrap()).unwrap());
    }
    let events = "data: {\"type\":\"hello\"}\n\ndata: {\"type\":\"app-removed\",\"appId\":\"a\"}\n\n";
    assert!(text.starts_with(events), "{text}");
    drop(client);
    world.facts.wait("the handle to be let go", |facts| {
        facts.listener_handles_dropped == 1
    });
}

#[test]
fn a_log_is_followed() {
    let world = World::new();
    for (query, expected) in [("", "backlog 65536\n"), ("?backlog=10", "backlog 10\n")] {
        let mut client = world.connect();
        client.send(
            world
                .shell_request("GET", &format!("/api/grains/g1/log{query}"), "")
                .as_bytes(),
        );
        assert_eq!(
            client.head().unwrap().header("content-type"),
            Some("text/plain; charset=utf-8")
        );
        assert_eq!(client.chunk().unwrap().unwrap(), expected.as_bytes());
    }
    world.facts.wait("handles to be let go", |facts| {
        facts.listener_handles_dropped == 2
    });
}

#[test]
fn the_edge_ends_with_its_broker() {
    let mut world = World::new();
    let mut idle = world.connect();
    idle.send(get("/", &world.shell(), "").as_bytes());
    assert_eq!(idle.answer().status, 200);
    assert!(matches!(world.end(), percloud_edge::EdgeError::BrokerGone));
    assert!(idle.is_closed());
}

#[test]
fn the_edge_ends_even_if_clients_do_not() {
    let mut world = World::with(|limits| limits.drain = std::time::Duration::from_millis(200));
    // Whole requests first, so that every connection is known to be accepted; then ones that never end.
    let mut clients: Vec<_> = (0..16).map(|_| world.connect()).collect();
    for client in &mut clients {
        client.send(get("/", &world.shell(), "").as_bytes());
        assert_eq!(client.answer().status, 200);
        let rest = "X-Percloud: 1\r\nContent-Length: 100\r\n\r\nhalf";
        client.send(request("POST", "/api/session", &world.shell(), rest).as_bytes());
    }
    let (told, ended) = std::sync::mpsc::channel();
    let ending = std::thread::spawn(move || {
        let error = world.end();
        told.send(()).unwrap();
        error
    });
    ended
        .recv_timeout(std::time::Duration::from_secs(20))
        .expect("the edge ends");
    assert!(matches!(
        ending.join().unwrap(),
        percloud_edge::EdgeError::BrokerGone
    ));
    for client in &mut clients {
        assert!(client.is_closed());
    }
}
