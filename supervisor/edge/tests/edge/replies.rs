//! What of an app's answer reaches the browser, and what does not.

use std::time::Duration;

use crate::app::pattern;
use crate::world::World;

#[test]
fn what_an_app_may_say_arrives() {
    let world = World::new();
    let answer = world.get("/headers");
    assert_eq!((answer.status, answer.text()), (200, "<p>hello"));
    for (name, value) in [
        ("content-type", "text/html; charset=utf-8"),
        ("content-language", "de"),
        ("content-encoding", "identity"),
        ("etag", "W/\"v2\""),
        ("content-disposition", "attachment; filename=\"re\\\"port.html\""),
        ("x-sandstorm-app-color", "green"),
        ("x-oc-mtime", "accepted"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        ("origin-agent-cluster", "?1"),
        ("permissions-policy", "interest-cohort=()"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{name}");
    }
    let cookies = [
        "session=abc; Max-Age=60; Path=/; HttpOnly; SameSite=Strict",
        "other=def; SameSite=Strict",
    ];
    assert_eq!(answer.all("set-cookie"), cookies);
    assert!(
        world.get("/inline/1").header("cache-control").is_none(),
        "apps' caching is not ours to invent"
    );
}

#[test]
fn what_an_app_may_not_say_does_not() {
    let world = World::new();
    let answer = world.get("/bad-headers");
    assert_eq!(answer.status, 200);
    let mut names: Vec<_> = answer.headers.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    let expected = [
        "content-length",
        "content-security-policy",
        "content-type",
        "cross-origin-resource-policy",
        "date",
        "origin-agent-cluster",
        "permissions-policy",
        "referrer-policy",
        "x-content-type-options",
    ];
    assert_eq!(names, expected);
    assert_eq!(
        answer.header("content-type"),
        Some("application/octet-stream"),
        "never a type for the browser to guess"
    );
    assert_eq!(answer.header("content-length"), Some("8"));
    assert!(
        answer
            .header("content-security-policy")
            .unwrap()
            .starts_with("default-src 'none'")
    );
    for path in ["/bad-redirect", "/many-cookies"] {
        let answer = world.get(path);
        assert_eq!((answer.status, answer.header("location")), (502, None), "{path}");
    }
}

#[test]
fn pages_are_confined_unless_the_owner_said_otherwise() {
    let strict = World::new();
    let policy = strict
        .get("/")
        .header("content-security-policy")
        .unwrap()
        .to_owned();
    let (page, shell) = (strict.page(), strict.shell());
    for part in [
        format!("connect-src 'self' ws://{page} data: blob:;"),
        "img-src 'self' data: blob:;".to_owned(),
        "form-action 'self';".to_owned(),
        "worker-src 'none';".to_owned(),
        format!("frame-ancestors http://{shell} 'self'"),
    ] {
        assert!(policy.contains(&part), "{part} in {policy}");
    }
    let relaxed = World::new();
    relaxed.facts.update(|facts| facts.relaxed = true);
    let expected = format!("frame-ancestors http://{} 'self'", relaxed.shell());
    assert_eq!(
        relaxed.get("/").header("content-security-policy"),
        Some(expected.as_str())
    );
}

#[test]
fn every_status_has_its_code() {
    let world = World::new();
    for (path, status) in [
        ("/success/0", 200),
        ("/success/1", 201),
        ("/success/2", 202),
        ("/success/3", 204),
        ("/success/4", 206),
        ("/success/5", 207),
        ("/success/6", 304),
        ("/client/0", 400),
        ("/client/1", 403),
        ("/client/2", 404),
        ("/client/3", 405),
        ("/client/4", 406),
        ("/client/5", 409),
        ("/client/6", 410),
        ("/client/7", 413),
        ("/client/8", 414),
        ("/client/9", 415),
        ("/client/10", 418),
        ("/client/11", 412),
        ("/client/12", 422),
        ("/server", 500),
        ("/redirect/0", 307),
        ("/redirect/1", 308),
        ("/redirect/2", 303),
        ("/redirect/3", 301),
        ("/no-content/0", 204),
        ("/no-content/1", 205),
        ("/precondition", 412),
        ("/fail", 500),
        ("/overloaded", 503),
        ("/unimplemented", 501),
    ] {
        assert_eq!(world.get(path).status, status, "{path}");
    }
    assert_eq!(
        world.get("/redirect/0").header("location"),
        Some("https://elsewhere.example/a?b#c")
    );
    assert_eq!(world.get("/no-content/0").header("etag"), Some("\"e\""));
    assert_eq!(world.get("/client/2").text(), "<p>no");
    assert_eq!(
        world.get("/plain-error").header("content-type"),
        Some("application/json")
    );
    assert!(world.get("/fail").text().contains("it &lt;b&gt;broke&lt;/b&gt;"));
}

#[test]
fn a_failed_condition_is_told_by_who_asked() {
    let world = World::new();
    for (method, header, status) in [
        ("GET", "If-None-Match: \"e\"", 304),
        ("HEAD", "If-None-Match: \"e\"", 304),
        ("GET", "If-Match: \"e\"", 412),
        ("PUT", "If-None-Match: *", 412),
        ("DELETE", "If-Match: \"x\"", 412),
    ] {
        let rest = format!("Content-Length: 0\r\n{header}\r\n");
        let answer = world.ask(&world.page_request(method, "/precondition", &rest));
        assert_eq!(
            (answer.status, answer.header("etag")),
            (status, Some("\"e\"")),
            "{method} {header}"
        );
    }
}

#[test]
fn parts_are_served_of_what_is_whole() {
    let world = World::new();
    for path in ["/inline/1000", "/stream/1000"] {
        let part = world.ask(&world.page_request("GET", path, "Range: bytes=10-19\r\n"));
        assert_eq!(
            (part.status, part.header("content-range")),
            (206, Some("bytes 10-19/1000")),
            "{path}"
        );
        assert_eq!(
            (part.header("content-length"), &part.body),
            (Some("10"), &pattern(10, 10))
        );
        let tail = world.ask(&world.page_request("GET", path, "Range: bytes=-5\r\n"));
        assert_eq!((tail.status, &tail.body), (206, &pattern(995, 5)));
        let beyond = world.ask(&world.page_request("GET", path, "Range: bytes=1000-\r\n"));
        assert_eq!(
            (beyond.status, beyond.header("content-range")),
            (416, Some("bytes */1000"))
        );
    }
    for (condition, status) in [("\"v1\"", 206), ("\"v0\"", 200)] {
        let rest = format!("Range: bytes=0-0\r\nIf-Range: {condition}\r\n");
        assert_eq!(
            world.ask(&world.page_request("GET", "/inline/10", &rest)).status,
            status
        );
    }
    let whole = world.ask(&world.page_request("GET", "/open-stream/1000000", "Range: bytes=0-0\r\n"));
    assert_eq!(
        (whole.status, whole.body.len()),
        (200, 1_000_000),
        "of unknown size there is no part"
    );
}

#[test]
fn an_app_that_never_answers_is_not_waited_for_for_ever() {
    let world = World::with(|limits| limits.answer = Duration::from_millis(100));
    let answer = world.get("/never");
    assert_eq!(answer.status, 504);
    assert!(answer.text().contains("did not answer in time"));
    world
        .facts
        .wait("the call to be given up", |facts| facts.cancelled == 1);
}

#[test]
fn a_call_is_given_up_with_its_client() {
    let world = World::new();
    let mut client = world.connect();
    client.send(world.page_request("GET", "/never", "").as_bytes());
    world
        .facts
        .wait("the app to be asked", |facts| facts.calls.len() == 1);
    drop(client);
    world
        .facts
        .wait("the call to be given up", |facts| facts.cancelled == 1);
}

#[test]
fn a_head_has_no_body() {
    let world = World::new();
    let mut client = world.connect();
    for path in ["/inline/10", "/stream/1000", "/missing"] {
        client.send(world.page_request("HEAD", path, "").as_bytes());
        let head = client.head().unwrap();
        assert_eq!(head.status, 200, "{path}");
    }
    client.send(world.page_request("GET", "/inline/3", "").as_bytes());
    assert_eq!(client.answer().body, pattern(0, 3), "nothing was left over");
    world
        .facts
        .wait("the stream to be let go", |facts| facts.handles_dropped == 1);
}
