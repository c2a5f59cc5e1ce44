//! What bodies may take of memory, all together and each session by itself.

use crate::app::pattern;
use crate::client::{Answer, Client};
use crate::world::World;

/// Hardly more than is collected without counting.
const SOME: usize = 17_000;

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

#[test]
fn answers_of_all_sessions_share_what_may_wait_for_slow_clients() {
    // More than the kernel takes for a client that does not read.
    const MOST: usize = 32 << 20;
    let world = World::single(|limits| limits.bodies = MOST);
    let mut slow = world.connect();
    slow.send(
        world
            .page_request("GET", &format!("/inline/{MOST}"), "")
            .as_bytes(),
    );
    let mut answer = slow.head().unwrap();
    assert_eq!(answer.status, 200);
    let inline = |size: usize| world.ask(&world.api_request("GET", &format!("/inline/{size}"), ""));
    is_refused(&inline(SOME));
    assert_eq!(inline(10).status, 200, "what is small is not counted");
    slow.body(&mut answer);
    assert!(answer.body == pattern(0, MOST));
    assert_eq!(inline(SOME).body, pattern(0, SOME));
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
