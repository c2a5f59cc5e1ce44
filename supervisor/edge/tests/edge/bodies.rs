//! What bodies may take of memory, all together and each session by itself.

use crate::app::pattern;
use crate::client::{Answer, Client, request};
use crate::world::{TOKEN, World};

/// Hardly more than is collected without counting.
const SOME: usize = 17_000;

/// The least that is read at a time.
const READ: usize = 4096;

/// A request to the app whose last byte is missing, so that the edge holds what has come of it.
fn hold(world: &World, size: usize) -> Client {
    let mut client = world.connect();
    let head = world.page_request("PATCH", "/a", &format!("Content-Length: {size}\r\n"));
    client.send(head.as_bytes());
    client.send(&vec![b'x'; size - 1]);
    client
}

fn page(world: &World, method: &str, size: usize) -> Answer {
    let body = "x".repeat(size);
    let rest = format!("Content-Type: text/xml\r\nContent-Length: {size}\r\n\r\n{body}");
    world.ask(&world.page_request(method, "/a", &rest))
}

fn program(world: &World, size: usize) -> Answer {
    let body = "x".repeat(size);
    world.ask(&world.api_request("PATCH", "/a", &format!("Content-Length: {size}\r\n\r\n{body}")))
}

/// Holds so many bytes, and says what somebody else is told who finds no room for that. Until then the bytes are on their
/// way, or it was they that found none: then they are sent again.
fn hold_from(world: &World, size: usize, ask: impl Fn() -> Answer) -> (Client, Answer) {
    World::until(|| {
        let mut held = hold(world, size);
        // Whoever has been served so often on the same thread has seen it read what lies there.
        for _ in 0..2 * size / READ {
            assert_eq!(page(world, "PROPFIND", 1).status, 200);
        }
        for _ in 0..20 {
            let answer = ask();
            if answer.status != 200 {
                return Some((held, answer));
            }
        }
        held.send(b"x");
        held.answer();
        None
    })
}

fn is_refused(answer: &Answer) {
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("2")));
    assert!(
        answer.text().contains("Try again in a moment."),
        "{}",
        answer.text()
    );
}

#[test]
fn all_requests_together_take_no_more_than_there_is() {
    let world = World::single(|limits| {
        limits.bodies = 100_000;
        limits.collected_body = 95_000;
    });
    // Another session: what it may have by itself is free.
    let (mut held, refused) = hold_from(&world, 90_000, || program(&world, SOME));
    is_refused(&refused);
    assert_eq!(
        program(&world, 10_000).status,
        200,
        "what is small is not counted"
    );
    for method in ["POST", "MKCOL", "REPORT", "PROPFIND"] {
        is_refused(&page(&world, method, SOME));
    }
    assert_eq!(page(&world, "PROPFIND", 1000).status, 200);
    held.send(b"x");
    assert_eq!(held.answer().status, 200);
    assert_eq!(program(&world, SOME).status, 200, "it was given back");
    // Who leaves in the middle gives it back, too.
    drop(hold(&world, 90_000));
    World::until(|| (program(&world, 90_000).status == 200).then_some(()));
}

#[test]
fn who_is_refused_can_read_why_whatever_it_has_begun_to_send() {
    // More than the kernel takes for a server that does not read.
    const SIZE: usize = 24 << 20;
    let world = World::single(|limits| {
        limits.bodies = 100_000;
        limits.collected_body = SIZE;
    });
    let mut client = world.connect();
    let head = world.page_request("PATCH", "/a", &format!("Content-Length: {SIZE}\r\n"));
    client.send(head.as_bytes());
    client.send(&vec![b'x'; SIZE]);
    is_refused(&client.answer());
    // And may go on.
    client.send(world.page_request("GET", "/a", "").as_bytes());
    assert_eq!(client.answer().status, 200);
}

#[test]
fn one_session_leaves_room_for_others() {
    let world = World::single(|limits| {
        limits.bodies = 200_000;
        limits.collected_body = 50_000;
    });
    let (mut held, refused) = hold_from(&world, 45_000, || page(&world, "PATCH", SOME));
    is_refused(&refused);
    assert_eq!(program(&world, SOME).status, 200);
    held.send(b"x");
    assert_eq!(held.answer().status, 200);
    assert_eq!(page(&world, "PATCH", SOME).status, 200);
}

#[test]
fn who_announces_much_and_sends_nothing_takes_nothing() {
    let world = World::single(|limits| {
        limits.bodies = 200_000;
        limits.collected_body = 150_000;
    });
    let announced: Vec<_> = (0..4)
        .map(|_| {
            let mut client = world.connect();
            let head = world.page_request(
                "PATCH",
                "/a",
                "Content-Length: 150000\r\nExpect: 100-continue\r\n",
            );
            client.send(head.as_bytes());
            assert_eq!(client.head().unwrap().status, 100, "it is waited for");
            client
        })
        .collect();
    assert_eq!(page(&world, "PATCH", 150_000).status, 200);
    drop(announced);
}

/// Begins an answer of so many bytes that is not taken; more than the kernel takes for a client that does not read.
fn begin(world: &World, request: &str) -> (Client, Answer) {
    let mut slow = world.connect();
    slow.send(request.as_bytes());
    let answer = slow.head().unwrap();
    assert_eq!(answer.status, 200);
    (slow, answer)
}

#[test]
fn answers_of_all_sessions_share_what_may_wait_for_slow_clients() {
    const LARGE: usize = 32 << 20;
    let world = World::single(|limits| limits.bodies = 2 * LARGE);
    let authorization = format!("Authorization: Bearer {TOKEN}\r\n\r\n");
    let other = |size: usize| {
        let host = format!("api.{}", world.shell());
        world.ask(&request("GET", &format!("/inline/{size}"), &host, &authorization))
    };
    // The first of a session may be larger than its part, and however large is half of it all.
    const LARGEST: usize = LARGE * 3 / 2;
    let (mut first, mut answer) = begin(
        &world,
        &world.page_request("GET", &format!("/inline/{LARGEST}"), ""),
    );
    assert_eq!(other(SOME).status, 200);
    let second = begin(&world, &world.api_request("GET", &format!("/inline/{LARGE}"), ""));
    is_refused(&other(SOME));
    assert_eq!(other(10).status, 200, "what is small is not counted");
    first.body(&mut answer);
    assert!(answer.body == pattern(0, LARGEST));
    assert_eq!(other(SOME).body, pattern(0, SOME));
    drop(second);
}

#[test]
fn what_the_app_has_done_is_not_to_be_tried_again_for_want_of_room() {
    const LARGE: usize = 24 << 20;
    let world = World::single(|limits| limits.bodies = 4 * LARGE);
    let slow = begin(
        &world,
        &world.page_request("GET", &format!("/inline/{LARGE}"), ""),
    );
    let ask = |method: &str| {
        let rest = "Content-Length: 1\r\n\r\nx";
        world.ask(&world.page_request(method, &format!("/inline/{SOME}"), rest))
    };
    for method in ["POST", "PATCH"] {
        let answer = ask(method);
        assert_eq!(
            (answer.status, answer.header("retry-after")),
            (502, None),
            "{method}"
        );
        assert!(
            answer.text().contains("before you ask again"),
            "{}",
            answer.text()
        );
    }
    is_refused(&ask("PUT"));
    drop(slow);
}

#[test]
fn answers_of_one_session_leave_room_for_those_of_others() {
    const LARGE: usize = 24 << 20;
    let world = World::single(|limits| limits.bodies = 4 * LARGE);
    let mut slow = world.connect();
    slow.send(
        world
            .page_request("GET", &format!("/inline/{LARGE}"), "")
            .as_bytes(),
    );
    let mut answer = slow.head().unwrap();
    assert_eq!(answer.status, 200);
    is_refused(&world.ask(&world.page_request("GET", &format!("/inline/{SOME}"), "")));
    let other = world.ask(&world.api_request("GET", &format!("/inline/{LARGE}"), ""));
    assert_eq!(other.status, 200);
    assert!(other.body == pattern(0, LARGE));
    slow.body(&mut answer);
    assert!(answer.body == pattern(0, LARGE));
}
