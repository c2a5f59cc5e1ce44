//! What of a request reaches the app, and how.

use crate::app::pattern;
use crate::client::request;
use crate::world::{PAGE_COOKIE, World, hex};

/// What the app says it was asked.
fn seen(world: &World, method: &str, path: &str, rest: &str) -> String {
    let answer = world.ask(&world.page_request(method, path, rest));
    assert_eq!(
        answer.status,
        200,
        "{method} {path} {}",
        String::from_utf8_lossy(&answer.body)
    );
    answer.text().to_owned()
}

#[test]
fn every_method_reaches_the_app_as_itself() {
    let world = World::new();
    let host = world.page();
    let text = "Content-Type: text/plain\r\nContent-Length: 2\r\n\r\nhi";
    let xml = "Content-Type: application/xml\r\nContent-Length: 4\r\n\r\n<a/>";
    let to = format!("Destination: http://{host}/b%20c?d\r\nOverwrite: F\r\nDepth: 0\r\n");
    for (method, rest, expected) in [
        ("GET", "", "get p\nignore body false\n"),
        ("POST", text, "post p\ncontent text/plain  2 hi\n"),
        ("PUT", text, "put p\ncontent text/plain  2 hi\n"),
        ("PATCH", text, "patch p\ncontent text/plain  2 hi\n"),
        ("MKCOL", "", "mkcol p\ncontent application/octet-stream  0 \n"),
        ("REPORT", xml, "report p\ncontent application/xml  4 <a/>\n"),
        ("DELETE", "", "delete p\n"),
        ("PROPFIND", "", "propfind p\ndepth Infinity xml \n"),
        (
            "PROPFIND",
            &format!("Depth: 1\r\n{xml}"),
            "propfind p\ndepth One xml <a/>\n",
        ),
        ("PROPPATCH", xml, "proppatch p\nxml <a/>\n"),
        ("ACL", xml, "acl p\nxml <a/>\n"),
        ("COPY", &to, "copy p\nto b%20c?d no overwrite true shallow true\n"),
        ("MOVE", &to, "move p\nto b%20c?d no overwrite true\n"),
        (
            "LOCK",
            &format!("Depth: 0\r\n{xml}"),
            "lock p\nshallow true xml <a/>\n",
        ),
        ("UNLOCK", "Lock-Token: <urn:x>\r\n", "unlock p\ntoken <urn:x>\n"),
    ] {
        assert_eq!(seen(&world, method, "/p", rest), expected, "{method}");
    }
    let head = world.ask(&world.page_request("HEAD", "/p", "Connection: close\r\n"));
    assert_eq!(head.status, 200);
    assert!(world.facts.read(|facts| facts.calls.last().unwrap() == "get p"));
    let options = world.ask(&world.page_request("OPTIONS", "/p", ""));
    assert_eq!(
        (options.status, options.header("dav")),
        (200, Some("1, 3, calendar-access"))
    );
    let none = world.ask(&world.page_request("OPTIONS", "/none", ""));
    assert_eq!((none.status, none.header("dav")), (200, None));
}

#[test]
fn what_a_connection_says_again_reaches_the_app_as_if_it_were_said_once() {
    let world = World::single(|_| {});
    let browser = "Accept: text/html, */*;q=0.8\r\nAccept-Encoding: gzip, br\r\n";
    let other = "Accept: image/png\r\nAccept-Encoding: gzip, br\r\n";
    let long = format!("Accept: {}\r\n", "a/b, ".repeat(60));
    let with_header = format!("{browser}X-Requested-With: somebody\r\n");
    let if_none_match = format!("{browser}If-None-Match: \"a\", W/\"b\"\r\n");
    let deep = format!("/{}", "a/".repeat(2000));
    let asked = [
        ("GET", "/p", browser),
        ("GET", "/p", browser),
        ("GET", "/p?query=1", browser),
        ("GET", "/", browser),
        ("GET", &deep, browser),
        ("GET", "/p", &with_header),
        ("GET", "/p", browser),
        ("GET", "/p", &if_none_match),
        ("PROPFIND", "/p", browser),
        ("GET", "/1234567", browser),
        ("GET", "/12345678", browser),
        ("GET", "/p", other),
        ("GET", "/p", other),
        ("GET", "/p", ""),
        ("GET", "/p", ""),
        ("GET", "/p", ""),
        ("GET", "/p", &long),
        ("GET", "/p", &long),
        ("GET", "/p", &long),
        ("GET", "/p", browser),
        ("GET", "/p", browser),
    ];
    let mut asked: Vec<String> = asked
        .into_iter()
        .map(|(method, path, rest)| world.page_request(method, path, rest))
        .collect();
    let cookies = format!(
        "Cookie: color=green; __Host-percloud-session={}; taste=sweet\r\n",
        hex(PAGE_COOKIE)
    );
    asked.extend((0..3).map(|_| request("GET", "/p", &world.page(), &cookies)));
    let mut client = world.connect();
    for (index, request) in asked.iter().enumerate() {
        client.send(request.as_bytes());
        let answer = client.answer();
        assert_eq!(answer.status, 200, "{index}: {request}");
        let alone = world.ask(request);
        assert_eq!(answer.text(), alone.text(), "{index}: {request}");
    }
}

#[test]
fn what_is_said_again_may_be_answered_in_any_way() {
    let world = World::single(|_| {});
    let mut client = world.connect();
    let mut ask = |path: &str| {
        client.send(world.page_request("GET", path, "Accept: */*\r\n").as_bytes());
        let answer = client.answer();
        assert!(answer.complete, "{path}");
        (answer.status, answer.body)
    };
    for _ in 0..3 {
        assert_eq!(ask("/p").0, 200);
        // The stream that was lent is used, and the call made again by way of the RPC system.
        assert_eq!(ask("/stream/300000"), (200, pattern(0, 300_000)));
        assert_eq!(ask("/inline/70000"), (200, pattern(0, 70_000)));
        assert_eq!(ask("/fail").0, 500);
    }
    // The grain goes away in the middle of such a call, and is asked again.
    assert_eq!(ask("/restart"), (200, b"back again".to_vec()));
    assert_eq!(ask("/stream/1000"), (200, pattern(0, 1000)));
}

#[test]
fn requests_that_make_no_sense_do_not_reach_the_app() {
    let world = World::new();
    for (method, rest, status) in [
        ("BREW", "", 501),
        ("TRACE", "", 501),
        ("PROPFIND", "Depth: 7\r\n", 400),
        (
            "PROPFIND",
            "Content-Type: application/json\r\nContent-Length: 1\r\n\r\nx",
            415,
        ),
        (
            "PROPFIND",
            "Content-Type: text/xml\r\nContent-Length: 1\r\n\r\n\u{0}",
            200,
        ),
        ("COPY", "", 400),
        ("COPY", "Destination: http://evil.example/x\r\n", 502),
        ("MOVE", "Destination: //evil.example/x\r\n", 502),
        ("UNLOCK", "", 400),
        ("PUT", "If-Match: nonsense\r\nContent-Length: 0\r\n", 400),
        ("PATCH", "Content-Length: 99999999999\r\n", 413),
        (
            "PROPPATCH",
            "Content-Type: text/xml\r\nContent-Length: 9999999\r\n",
            413,
        ),
    ] {
        let answer = world.ask(&world.page_request(method, "/p", rest));
        assert_eq!(answer.status, status, "{method} {rest}");
    }
    assert_eq!(world.facts.read(|facts| facts.calls.clone()), ["propfind p"]);
}

#[test]
fn paths_pass_as_they_came() {
    let world = World::new();
    for path in [
        "",
        "a/../b",
        "%2e%2e/%2e%2e/etc/passwd",
        "a%00b",
        "a//b",
        "..",
        "?",
        "?a=b&c",
        "%",
        "a%2Fb?x=/../y",
        "%ff",
    ] {
        let text = seen(&world, "GET", &format!("/{path}"), "");
        assert_eq!(text.lines().next(), Some(format!("get {path}").as_str()));
    }
}

#[test]
fn only_what_an_app_may_know_is_passed_on() {
    let world = World::new();
    let rest = "Cookie: a=b; c; percloud=x; __Host-percloud=y; d=\"e f\"\r\n\
        Accept: text/html, */*;q=0.1\r\nAccept-Encoding: gzip, br;q=0.5\r\n\
        X-Requested-With: XMLHttpRequest\r\nX-Sandstorm-App-Mood: fine\r\n\
        X-Sandstorm-User-Id: forged\r\nX-Sandstorm-Permissions: admin\r\nX-Real-IP: 1.2.3.4\r\n\
        Authorization: Basic x\r\nReferer: http://x/\r\nRange: bytes=0-1\r\nX-Forwarded-For: 1.1.1.1\r\n";
    let expected = "get p\nignore body false\ncookie a=b\ncookie d=\"e f\"\naccept text/html 1\naccept */* 0.1\n\
        coding gzip 1\ncoding br 0.5\nheader x-requested-with: XMLHttpRequest\nheader x-sandstorm-app-mood: fine\n";
    let answer = world.ask(&world.page_request("GET", "/p", &format!("X-A: b\r\n{rest}")));
    assert_eq!(answer.status, 206, "the range is ours to serve");
    let rest = rest.replace("Range: bytes=0-1\r\n", "");
    assert_eq!(seen(&world, "GET", "/p", &rest), expected);
}

#[test]
fn what_was_said_before_on_a_connection_changes_nothing() {
    let world = World::new();
    let mut client = world.connect();
    let mut ask = |host: &str, rest: &str| {
        client.send(request("GET", "/p", host, rest).as_bytes());
        let answer = client.answer();
        (answer.status, answer.text().to_owned())
    };
    let page = world.page();
    let ours = format!("__Host-percloud-session={}", hex(PAGE_COOKIE));
    let wrong = format!("__Host-percloud-session={}", hex(1));
    let other = page.replace("ui-0", "ui-f");
    let usual = format!("Cookie: {ours}; a=b\r\nAccept: text/html\r\nAccept-Encoding: br\r\n");
    for _ in 0..2 {
        let seen = "cookie a=b\naccept text/html 1\ncoding br 1\n";
        assert!(ask(&page, &usual).1.ends_with(seen));
        assert!(ask(&page, &usual).1.ends_with(seen), "once more");
        assert_eq!(ask(&page, &usual.replace(&ours, &wrong)).0, 404, "another cookie");
        assert_eq!(
            ask(&page, &usual.replace(&ours, &format!("{ours}; {ours}"))).0,
            404
        );
        assert_eq!(ask(&page, "").0, 404, "no cookie");
        assert_eq!(ask(&other, &usual).0, 404, "another host");
        assert_eq!(ask("evil.example", &usual).0, 404, "a host that is none of ours");
        let seen = "cookie a=c\naccept image/png 1\ncoding gzip 1\n";
        let changed = usual
            .replace("a=b", "a=c")
            .replace("text/html", "image/png")
            .replace("br", "gzip");
        assert!(ask(&page, &changed).1.ends_with(seen));
        let cookie = format!("Cookie: {ours}\r\n");
        assert!(
            ask(&page, &cookie).1.ends_with("ignore body false\n"),
            "nothing else"
        );
    }
}

#[test]
fn conditions_are_understood() {
    let world = World::new();
    for (header, expected) in [
        ("If-Match: *", "exists"),
        ("If-None-Match: *", "absent"),
        ("If-Match: \"a\", W/\"b\"", "one of a W/b"),
        ("If-None-Match: \"a\"", "none of a"),
    ] {
        let text = seen(&world, "GET", "/p", &format!("{header}\r\n"));
        assert!(text.ends_with(&format!("condition {expected}\n")), "{text}");
    }
}
