//! What was revoked ends at once: the grain host breaks the session, and whoever asks again asks the broker.

use std::time::{Duration, Instant};

use crate::app::pattern;
use crate::client::{Client, request};
use crate::world::World;

/// What has ended must have ended by then.
const AT_ONCE: Duration = Duration::from_secs(1);

const HANDSHAKE: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// Breaks every session there is and the token with them, as the broker and the grain host do.
fn revoke(world: &World) -> Instant {
    world.facts.update(|facts| {
        facts.revoked = true;
        facts.broken = facts.opened;
    });
    Instant::now()
}

fn open(world: &World, program: bool, method: &str, path: &str, rest: &str) -> Client {
    let mut client = world.connect();
    let asked = if program {
        world.api_request(method, path, rest)
    } else {
        world.page_request(method, path, rest)
    };
    client.send(asked.as_bytes());
    client
}

#[test]
fn open_sockets_and_streams_end_within_a_second() {
    for program in [true, false] {
        let world = World::new();
        let mut upload = open(&world, program, "POST", "/up", "Content-Length: 1000000\r\n");
        upload.send(&pattern(0, 100_000));
        world
            .facts
            .wait("the upload to begin", |facts| facts.received == 100_000);
        let mut socket = open(&world, program, "GET", "/echo", HANDSHAKE);
        assert_eq!(socket.head().unwrap().status, 101);
        socket.send(b"hello");
        assert_eq!(socket.take(5), b"hello");
        let mut quiet = open(&world, program, "GET", "/quiet", "");
        assert_eq!(quiet.head().unwrap().status, 200);
        let mut waiting = open(&world, program, "GET", "/never", "");
        world.facts.wait("everything to be under way", |facts| {
            facts.received == 100_005 && facts.calls.iter().any(|call| call == "get never")
        });

        let revoked = revoke(&world);
        assert!(socket.is_closed());
        assert!(quiet.chunk().is_err(), "cut off, not ended");
        let expected = if program { 401 } else { 502 };
        assert_eq!(upload.answer().status, expected);
        // A page has its cookie still, and what may be asked again is: of a new session, which waits as the old one did.
        if program {
            assert_eq!(waiting.answer().status, 401);
        }
        assert!(revoked.elapsed() < AT_ONCE, "{:?}", revoked.elapsed());
    }
}

#[test]
fn a_stream_in_full_flow_ends_within_a_second() {
    let world = World::new();
    let mut client = open(&world, true, "GET", "/endless", "");
    assert_eq!(client.head().unwrap().status, 200);
    assert!(client.chunk().unwrap().is_some());
    let revoked = revoke(&world);
    while client.chunk().is_ok() {}
    assert!(revoked.elapsed() < AT_ONCE, "{:?}", revoked.elapsed());
}

#[test]
fn a_revoked_token_is_refused_whatever_is_asked() {
    for (method, path, rest) in [
        ("GET", "/a", ""),
        ("POST", "/a", "Content-Length: 0\r\n"),
        ("PUT", "/up", "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ("OPTIONS", "/a", ""),
        ("GET", "/echo", HANDSHAKE),
    ] {
        let world = World::single(|_| {});
        assert_eq!(open(&world, true, "GET", "/a", "").answer().status, 200);
        revoke(&world);
        let answer = open(&world, true, method, path, rest).answer();
        assert_eq!(answer.status, 401, "{method} {path}");
        assert!(answer.header("www-authenticate").is_some());
        assert_eq!(
            world.facts.read(|facts| facts.opened),
            1,
            "nothing is opened for it"
        );
    }
}

#[test]
fn a_session_that_was_broken_but_not_revoked_is_opened_anew() {
    let world = World::single(|_| {});
    assert_eq!(open(&world, true, "GET", "/a", "").answer().status, 200);
    world.facts.update(|facts| facts.broken = facts.opened);
    assert_eq!(open(&world, true, "GET", "/a", "").answer().status, 200);
    world.facts.update(|facts| facts.broken = facts.opened);
    let answer = open(&world, true, "GET", "/echo", HANDSHAKE).head().unwrap();
    assert_eq!(answer.status, 502, "a handshake is not repeated");
    let answer = open(&world, true, "GET", "/echo", HANDSHAKE).head().unwrap();
    assert_eq!(answer.status, 101, "but the next one finds a new session");
}

#[test]
fn what_is_published_needs_no_session() {
    let world = World::new();
    revoke(&world);
    let site = format!("{}.{}", crate::world::SITE, world.shell());
    assert_eq!(world.ask(&request("GET", "/", &site, "")).status, 200);
}
