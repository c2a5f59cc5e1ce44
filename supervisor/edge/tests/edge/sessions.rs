//! From the hand-over to a session, and who gets none.

use std::time::Duration;

use crate::client::request;
use crate::world::{HAND_OVER, PAGE_COOKIE, World, hex};

fn enter(world: &World, headers: &str, body: &str) -> String {
    let rest = format!("{headers}Content-Length: {}\r\n\r\n{body}", body.len());
    request("POST", "/_percloud/enter", &world.page(), &rest)
}

#[test]
fn the_secret_becomes_a_cookie_once_and_leads_to_the_path() {
    let world = World::new();
    let origin = format!("Origin: http://{}\r\n", world.shell());
    let form = format!("secret={}", hex(HAND_OVER));
    for (headers, body, status) in [
        ("Origin: http://evil.example\r\n".to_owned(), form.clone(), 403),
        ("Origin: null\r\n".to_owned(), form.clone(), 403),
        (format!("Origin: http://{}\r\n", world.page()), form.clone(), 403),
        ("Sec-Fetch-Site: cross-site\r\n".to_owned(), form.clone(), 403),
        (origin.clone(), format!("secret={}", hex(6)), 404),
        (origin.clone(), "secret=12".to_owned(), 404),
        (origin.clone(), String::new(), 404),
        (origin.clone(), "x".repeat(5000), 413),
    ] {
        assert_eq!(
            world.ask(&enter(&world, &headers, &body)).status,
            status,
            "{headers} {body}"
        );
    }
    let entered = world.ask(&enter(&world, &origin, &form));
    assert_eq!(
        (entered.status, entered.header("location")),
        (303, Some("/start?x=1"))
    );
    let cookie = format!(
        "__Host-percloud-session={}; Path=/; HttpOnly; SameSite=Strict; Secure",
        hex(PAGE_COOKIE)
    );
    assert_eq!(entered.header("set-cookie"), Some(cookie.as_str()));
    assert_eq!(world.ask(&enter(&world, &origin, &form)).status, 404, "once only");
    assert_eq!(
        world
            .ask(&request("GET", "/_percloud/enter", &world.page(), ""))
            .status,
        404
    );
    assert_eq!(
        world.get("/_percloud/other").status,
        404,
        "apps never see our paths"
    );
    assert_eq!(world.get("/start?x=1").status, 200);
}

#[test]
fn without_the_right_cookie_there_is_nothing_to_see() {
    let world = World::new();
    let other_host = world.page().replace("ui-0", "ui-f");
    let right = format!("Cookie: __Host-percloud-session={}\r\n", hex(PAGE_COOKIE));
    let wrong = format!("Cookie: __Host-percloud-session={}\r\n", hex(1));
    let pages = [
        world.ask(&request("GET", "/", &world.page(), "")),
        world.ask(&request("GET", "/", &world.page(), &wrong)),
        world.ask(&request("GET", "/", &other_host, &right)),
        world.ask(&request(
            "GET",
            "/",
            &world.page(),
            "Cookie: __Host-percloud-session=xyz\r\n",
        )),
    ];
    for page in &pages {
        assert_eq!(
            (page.status, &page.body),
            (404, &pages[0].body),
            "absent and not-yours look the same"
        );
        assert!(
            page.text()
                .contains("This page is closed. Open it again from Percloud.")
        );
    }
    assert_eq!(world.facts.read(|facts| facts.calls.len()), 0);
}

#[test]
fn a_session_is_opened_once_and_knows_the_browser() {
    let world = World::new();
    let more = "User-Agent: Tester/1\r\nAccept-Language: de-AT, de;q=0.5\r\n";
    let mut clients: Vec<_> = (0..8).map(|_| world.connect()).collect();
    for client in &mut clients {
        client.send(world.page_request("GET", "/a", more).as_bytes());
    }
    for client in &mut clients {
        assert_eq!(client.answer().status, 200);
    }
    // One for each of the two threads at most, however many ask at once.
    assert!((1..=2).contains(&world.facts.read(|facts| facts.opened)));
    let origin = format!("http://{}", world.page());
    let languages = vec!["de-AT".to_owned(), "de;q=0.5".to_owned()];
    assert_eq!(
        world.facts.read(|facts| facts.params[0].clone()),
        (origin, "Tester/1".to_owned(), languages)
    );
}

#[test]
fn a_browser_that_says_nothing_of_itself_gets_the_usual() {
    let world = World::new();
    assert_eq!(world.get("/").status, 200);
    let (_, agent, languages) = world.facts.read(|facts| facts.params[0].clone());
    assert_eq!(
        (agent.as_str(), languages),
        ("UnknownAgent/0.0", vec!["en-US".to_owned(), "en".to_owned()])
    );
}

#[test]
fn a_grain_that_cannot_run_says_why() {
    let world = World::new();
    world
        .facts
        .update(|facts| facts.failed = Some("Its <program> is missing.".to_owned()));
    let answer = world.get("/");
    assert_eq!(answer.status, 503);
    assert!(answer.text().contains("Its &lt;program&gt; is missing."));
    world.facts.update(|facts| facts.failed = None);
    assert_eq!(world.get("/").status, 200, "failing is not remembered");
}

#[test]
fn a_grain_that_restarts_is_found_again() {
    let world = World::new();
    // In the middle of a request that may be repeated.
    let answer = world.get("/restart");
    assert_eq!((answer.status, answer.text()), (200, "back again"));
    // Between two requests, on one connection so that the same thread answers.
    let mut client = world.connect();
    client.send(world.page_request("GET", "/a", "").as_bytes());
    assert_eq!(client.answer().status, 200);
    let open = world.facts.update(|facts| {
        let open: Vec<_> = facts.doors.iter_mut().filter_map(Option::take).collect();
        open.len()
    });
    assert!(open >= 1);
    world
        .facts
        .wait("doors to close", |facts| facts.doors_closed == facts.doors.len());
    client.send(
        world
            .page_request("POST", "/b", "Content-Length: 2\r\n\r\nhi")
            .as_bytes(),
    );
    assert_eq!(
        client.answer().status,
        200,
        "nothing of the POST was sent to the dead one"
    );
}

#[test]
fn a_session_nobody_uses_is_let_go_and_one_in_use_is_not() {
    let world = World::with(|limits| limits.session_idle = Duration::from_millis(100));
    let mut reading = world.connect();
    reading.send(world.page_request("GET", "/quiet", "").as_bytes());
    assert_eq!(reading.head().unwrap().status, 200);
    // The other thread, or the same, opens and forgets a session while the stream holds its own.
    while world.facts.read(|facts| facts.doors.len()) < 2 {
        assert_eq!(world.get("/a").status, 200);
    }
    world
        .facts
        .wait("the idle session to end", |facts| facts.doors_closed == 1);
    assert_eq!(
        world.facts.read(|facts| facts.handles_dropped),
        0,
        "somebody still reads"
    );
    drop(reading);
    world.facts.wait("the last session to end", |facts| {
        facts.doors_closed == facts.doors.len()
    });
}

#[test]
fn what_may_not_be_repeated_is_not() {
    let world = World::new();
    let answer = world.ask(&world.page_request("POST", "/restart", "Content-Length: 2\r\n\r\nhi"));
    assert_eq!(answer.status, 502);
    assert_eq!(world.facts.read(|facts| facts.calls.len()), 1);
}

#[test]
fn other_sites_cannot_make_a_browser_act() {
    let world = World::new();
    let own = format!("Origin: http://{}\r\n", world.page());
    let shell = format!("Origin: http://{}\r\n", world.shell());
    let post = "Content-Length: 0\r\n";
    let cases = [
        ("POST", own.clone(), 200, 200),
        ("POST", shell, 403, 403),
        ("POST", "Origin: http://evil.example\r\n".to_owned(), 403, 403),
        ("GET", "Origin: http://evil.example\r\n".to_owned(), 403, 403),
        ("POST", "Origin: null\r\n".to_owned(), 403, 200),
        ("POST", String::new(), 200, 200),
        ("POST", "Sec-Fetch-Site: same-origin\r\n".to_owned(), 200, 200),
        ("POST", "Sec-Fetch-Site: cross-site\r\n".to_owned(), 403, 403),
        ("POST", "Sec-Fetch-Site: same-site\r\n".to_owned(), 403, 403),
        (
            "GET",
            "Sec-Fetch-Site: same-site\r\nSec-Fetch-Mode: navigate\r\n".to_owned(),
            200,
            200,
        ),
        (
            "GET",
            "Sec-Fetch-Site: same-site\r\nSec-Fetch-Mode: no-cors\r\n".to_owned(),
            403,
            200,
        ),
        ("GET", "Service-Worker: script\r\n".to_owned(), 403, 403),
    ];
    for relaxed in [false, true] {
        let world = World::new();
        world.facts.update(|facts| facts.relaxed = relaxed);
        for (method, headers, strict_status, relaxed_status) in &cases {
            let headers = headers.replace(&own, &format!("Origin: http://{}\r\n", world.page()));
            let answer = world.ask(&world.page_request(method, "/x", &format!("{post}{headers}")));
            let expected = if relaxed { relaxed_status } else { strict_status };
            assert_eq!(answer.status, *expected, "{relaxed} {method} {headers}");
        }
    }
}
