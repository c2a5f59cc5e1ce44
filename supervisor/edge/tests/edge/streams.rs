//! Long bodies both ways: at the pace of the slower side, and broken off when one side goes away.

use std::io::Write;
use std::time::Duration;

use crate::app::pattern;
use crate::client::Client;
use crate::world::World;

/// What may be on its way between app and a client that does not read: the window, one message, both sockets'
/// buffers, and what the kernel grants them beyond.
const ON_ITS_WAY: u64 = 16 << 20;

#[test]
fn a_long_answer_arrives_whole() {
    let world = World::new();
    for (path, announced) in [
        ("/stream/1000000", Some("1000000")),
        ("/open-stream/1000000", None),
    ] {
        let answer = world.get(path);
        assert_eq!(
            (answer.status, answer.header("content-length"), answer.complete),
            (200, announced, true)
        );
        assert!(answer.body == pattern(0, 1_000_000));
    }
    world
        .facts
        .wait("handles to be let go", |facts| facts.handles_dropped == 2);
}

#[test]
fn an_app_writes_no_faster_than_the_client_reads() {
    const SIZE: u64 = 256 << 20;
    let world = World::new();
    let mut client = world.connect();
    client.send(
        world
            .page_request("GET", &format!("/stream/{SIZE}"), "")
            .as_bytes(),
    );
    let head = client.head().unwrap();
    assert_eq!(head.header("content-length"), Some(SIZE.to_string().as_str()));
    let mut read = 0;
    let mut most_ahead = 0;
    while read < SIZE {
        let bytes = client.take((1 << 20).min(usize::try_from(SIZE - read).unwrap()));
        assert!(bytes == pattern(read, bytes.len()));
        assert!(!bytes.is_empty());
        read += bytes.len() as u64;
        most_ahead = most_ahead.max(world.facts.read(|facts| facts.written).saturating_sub(read));
    }
    assert!(
        most_ahead < ON_ITS_WAY,
        "{most_ahead} bytes were held for a slow reader"
    );
}

#[test]
fn an_endless_answer_ends_with_its_client() {
    let world = World::new();
    let mut client = world.connect();
    client.send(world.page_request("GET", "/endless", "").as_bytes());
    assert_eq!(client.head().unwrap().status, 200);
    for _ in 0..4 {
        client.chunk().unwrap();
    }
    drop(client);
    world
        .facts
        .wait("writing to fail", |facts| facts.write_error.is_some());
    world
        .facts
        .wait("the handle to be let go", |facts| facts.handles_dropped == 1);
    assert!(world.facts.read(|facts| facts.written) < ON_ITS_WAY);
}

#[test]
fn a_client_that_stops_reading_is_let_go() {
    let world = World::with(|limits| limits.write_stall = Duration::from_millis(200));
    let mut client = world.connect();
    client.send(world.page_request("GET", "/endless", "").as_bytes());
    world
        .facts
        .wait("writing to fail", |facts| facts.write_error.is_some());
    assert!(world.facts.read(|facts| facts.written) < ON_ITS_WAY);
}

#[test]
fn an_answer_that_breaks_off_is_seen_to_be_broken() {
    let world = World::new();
    let answer = world.get("/cut");
    assert_eq!((answer.status, answer.complete), (200, false));
    assert!(answer.body.len() <= 1000);
    let answer = world.get("/too-long");
    assert!(answer.body.len() <= 10, "no more than was announced");
}

#[test]
fn a_quiet_stream_is_kept_alive_and_its_head_is_not_held_back() {
    let world = World::with(|limits| limits.ping = Duration::from_millis(20));
    let mut client = world.connect();
    client.send(world.page_request("GET", "/quiet", "").as_bytes());
    assert_eq!(client.head().unwrap().status, 200);
    world.facts.wait("pings", |facts| facts.pings >= 2);
    drop(client);
    world
        .facts
        .wait("the handle to be let go", |facts| facts.handles_dropped == 1);
}

#[test]
fn short_bodies_go_whole_and_long_ones_as_streams() {
    let world = World::new();
    for (method, length, expected) in [
        ("POST", 65_535, "post up".to_owned()),
        ("POST", 65_536, "post streaming up text/plain".to_owned()),
        ("PUT", 70_000, "put streaming up text/plain".to_owned()),
    ] {
        world
            .facts
            .update(|facts| (facts.received, facts.done, facts.expected) = (0, false, None));
        let head = world.page_request(
            method,
            "/up",
            &format!("Content-Type: text/plain\r\nContent-Length: {length}\r\n"),
        );
        let mut client = world.connect();
        client.send(head.as_bytes());
        client.send(&pattern(0, length));
        assert_eq!(client.answer().status, 200);
        assert_eq!(
            world.facts.read(|facts| facts.calls.last().cloned()),
            Some(expected.clone())
        );
        if expected.contains("streaming") {
            assert_eq!(
                world.facts.read(|facts| (facts.received, facts.expected)),
                (length as u64, Some(length as u64))
            );
        }
    }
    world
        .facts
        .update(|facts| (facts.received, facts.done, facts.expected) = (0, false, None));
    let chunked = world.page_request(
        "POST",
        "/up",
        "Transfer-Encoding: chunked\r\n\r\n3\r\n\u{0}\u{1}\u{2}\r\n0\r\n\r\n",
    );
    let answer = world.ask(&chunked);
    assert_eq!(
        (answer.status, answer.text()),
        (200, "3"),
        "a body of unknown size always streams"
    );
    assert_eq!(world.facts.read(|facts| facts.expected), None);
}

#[test]
fn an_app_without_streams_gets_the_body_whole() {
    let world = World::new();
    for path in ["/collected", "/collected-old"] {
        let body = "x".repeat(100_000);
        let rest = format!(
            "Content-Type: a/b\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let answer = world.ask(&world.page_request("POST", path, &rest));
        assert_eq!(answer.status, 200);
        assert!(answer.text().contains("content a/b  100000 xxx"), "{path}");
    }
    let world = World::with(|limits| limits.collected_body = 80_000);
    let rest = "Content-Length: 100000\r\n";
    assert_eq!(
        world.ask(&world.page_request("POST", "/collected", rest)).status,
        413
    );
}

#[test]
fn a_client_sends_no_faster_than_the_app_takes() {
    const SIZE: usize = 64 << 20;
    let world = World::new();
    world.facts.update(|facts| facts.hold = true);
    let mut client = world.connect();
    client.send(
        world
            .page_request("PUT", "/up", &format!("Content-Length: {SIZE}\r\n"))
            .as_bytes(),
    );
    // The app takes one piece and waits; the client can send what buffers hold, and no more.
    client
        .stream
        .set_write_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    let mut sent = 0;
    while let Ok(count @ 1..) = client
        .stream
        .write(&pattern(sent as u64, (1 << 20).min(SIZE - sent)))
    {
        sent += count;
    }
    assert!((sent as u64) < ON_ITS_WAY, "{sent} bytes went nowhere");
    world.facts.update(|facts| facts.hold = false);
    client
        .stream
        .set_write_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    while sent < SIZE {
        let bytes = pattern(sent as u64, (1 << 20).min(SIZE - sent));
        client.send(&bytes);
        sent += bytes.len();
    }
    let answer = client.answer();
    assert_eq!((answer.status, answer.text()), (200, SIZE.to_string().as_str()));
    assert_eq!(world.facts.read(|facts| facts.expected), Some(SIZE as u64));
}

#[test]
fn an_upload_that_breaks_off_is_not_taken_for_done() {
    let world = World::new();
    let mut client = world.connect();
    client.send(
        world
            .page_request("PUT", "/up", "Content-Length: 1000000\r\n")
            .as_bytes(),
    );
    client.send(&pattern(0, 1000));
    world
        .facts
        .wait("the beginning to arrive", |facts| facts.received > 0);
    drop(client);
    world
        .facts
        .wait("the stream to be let go", |facts| facts.upload_dropped);
    assert!(!world.facts.read(|facts| facts.done));
}

#[test]
fn a_client_that_pauses_too_long_is_told() {
    let world = World::with(|limits| limits.body_pause = Duration::from_millis(100));
    let mut client = world.connect();
    client.send(
        world
            .page_request("POST", "/up", "Content-Length: 10\r\n\r\nabc")
            .as_bytes(),
    );
    assert_eq!(client.answer().status, 408);
    assert!(client.is_closed());
}

#[test]
fn an_app_may_answer_before_the_body_ends() {
    let world = World::new();
    let mut client = world.connect();
    client.send(
        world
            .page_request("POST", "/early", "Content-Length: 200000\r\n")
            .as_bytes(),
    );
    let mut answer = client.head().unwrap();
    client.body(&mut answer);
    assert_eq!(answer.text(), "early");
    client.send(&pattern(0, 200_000));
    world.facts.wait("the rest to arrive all the same", |facts| {
        facts.done && facts.received == 200_000
    });
}

#[test]
fn an_app_that_refuses_a_body_still_has_its_say() {
    let world = World::new();
    let mut client = world.connect();
    client.send(
        world
            .page_request("POST", "/refuse", "Content-Length: 100000\r\n")
            .as_bytes(),
    );
    let _ = client.stream.write_all(&pattern(0, 100_000));
    assert_eq!(client.head().unwrap().status, 413);
}

#[test]
fn an_expectation_is_met_when_the_body_is_wanted() {
    let world = World::new();
    let mut client = world.connect();
    client.send(
        world
            .page_request("PUT", "/up", "Content-Length: 2\r\nExpect: 100-continue\r\n")
            .as_bytes(),
    );
    assert_eq!(client.head().unwrap().status, 100);
    client.send(b"hi");
    assert_eq!(client.answer().status, 200);
}

#[test]
fn a_piece_that_is_too_large_breaks_the_stream() {
    let world = World::new();
    let mut client = world.connect();
    let request = world.page_request("GET", &format!("/piece/{}", 60 << 20), "");
    client.send(request.as_bytes());
    // A stream that breaks before the head has left takes it along.
    if let Some(mut answer) = client.head() {
        client.body(&mut answer);
        assert_eq!((answer.complete, answer.body.len()), (false, 0));
    }
    assert!(client.is_closed());
    world.facts.wait("the app to be told why", |facts| {
        facts
            .write_error
            .as_ref()
            .is_some_and(|error| error.contains("where this stream takes 33554432 at once"))
    });
}

#[test]
fn a_piece_of_some_megabytes_passes() {
    const SIZE: usize = 7 << 20;
    let world = World::new();
    let answer = world.get(&format!("/piece/{SIZE}"));
    assert!(answer.complete && answer.body == pattern(0, SIZE));
}

#[test]
fn a_session_streams_no_more_answers_than_it_may() {
    let world = World::single(|limits| limits.streams_per_session = 1);
    let mut reading = world.connect();
    reading.send(world.page_request("GET", "/quiet", "").as_bytes());
    assert_eq!(reading.head().unwrap().status, 200);
    let refused = world.get("/stream/10");
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("2")));
    assert_eq!(
        world.get("/inline/10").status,
        200,
        "whole answers are not concerned"
    );
    world.facts.wait("the refused handle to be let go", |facts| {
        facts.handles_dropped == 1
    });
    drop(reading);
    world
        .facts
        .wait("the other one too", |facts| facts.handles_dropped == 2);
    assert_eq!(world.get("/stream/10").body, pattern(0, 10));
}

#[test]
fn whole_answers_share_what_may_wait_for_slow_clients() {
    // More than the kernel takes for a client that does not read.
    const MOST: usize = 32 << 20;
    let world = World::single(|limits| limits.bytes_per_session = MOST);
    let mut slow = world.connect();
    slow.send(
        world
            .page_request("GET", &format!("/inline/{MOST}"), "")
            .as_bytes(),
    );
    let mut head = slow.head().unwrap();
    assert_eq!(head.status, 200);
    assert_eq!(world.get("/inline/20000").status, 503);
    assert_eq!(
        world.get("/inline/10").status,
        200,
        "what is small is not counted"
    );
    assert_eq!(
        world.get("/stream/100000").body,
        pattern(0, 100_000),
        "streams wait on their own"
    );
    slow.body(&mut head);
    assert!(head.body == pattern(0, MOST));
    let larger = world.get(&format!("/inline/{}", MOST + 1));
    assert!(larger.body == pattern(0, MOST + 1), "the first may be larger");
}

#[test]
fn streams_make_do_with_what_a_session_may_hold() {
    let world = World::single(|limits| limits.bytes_per_session = 64 << 10);
    for answer in [world.get("/stream/1000000"), world.get("/open-stream/1000000")] {
        assert!(answer.complete && answer.body == pattern(0, 1_000_000));
    }
}

/// A world with an app that takes nothing of a body, and a client that has begun to send one.
fn stuck() -> (World, Client) {
    let world = World::single(|limits| {
        limits.answer = Duration::from_secs(2);
        limits.uploads_per_session = 1;
    });
    world.facts.update(|facts| facts.hold = true);
    // More than the app is sent before it has taken something.
    let head = world.page_request("PUT", "/up", "Content-Length: 1000000\r\n");
    let mut client = world.connect();
    client.send(head.as_bytes());
    client.send(&pattern(0, 500_000));
    world
        .facts
        .wait("the beginning to arrive", |facts| facts.received > 0);
    (world, client)
}

#[test]
fn an_app_that_takes_nothing_of_a_body_is_given_up() {
    let (_world, mut client) = stuck();
    assert_eq!(client.head().unwrap().status, 504);
}

#[test]
fn a_client_that_vanishes_while_the_app_takes_nothing_is_given_up() {
    let (world, client) = stuck();
    drop(client);
    let rest = "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n";
    let head = world.page_request("PUT", "/up", rest);
    let status = || {
        let mut client = world.connect();
        client.send(head.as_bytes());
        client.head().unwrap().status
    };
    World::until(|| (status() == 100).then_some(()));
}

#[test]
fn an_app_that_never_says_it_has_all_of_a_body_is_given_up() {
    let world = World::with(|limits| limits.answer = Duration::from_millis(300));
    world.facts.update(|facts| facts.hold = true);
    let rest = "Transfer-Encoding: chunked\r\n\r\n3\r\n\u{0}\u{1}\u{2}\r\n0\r\n\r\n";
    assert_eq!(world.ask(&world.page_request("POST", "/up", rest)).status, 504);
}

#[test]
fn a_session_has_no_more_uploads_under_way_than_it_may() {
    let world = World::single(|limits| limits.uploads_per_session = 1);
    let head = world.page_request("PUT", "/up", "Content-Length: 100000\r\n");
    let mut sending = world.connect();
    sending.send(head.as_bytes());
    sending.send(&pattern(0, 1000));
    world
        .facts
        .wait("the beginning to arrive", |facts| facts.received > 0);
    let refused = world.ask(&head);
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("2")));
    assert_eq!(
        world.get("/stream/10").body,
        pattern(0, 10),
        "answers have their own"
    );
    let short = world.page_request("POST", "/a", "Content-Length: 2\r\n\r\nhi");
    assert_eq!(world.ask(&short).status, 200, "what is short is no upload");
    sending.send(&pattern(1000, 99_000));
    assert_eq!(sending.answer().status, 200);
    world
        .facts
        .update(|facts| (facts.received, facts.done) = (0, false));
    sending.send(head.as_bytes());
    sending.send(&pattern(0, 100_000));
    assert_eq!(sending.answer().status, 200);
}
