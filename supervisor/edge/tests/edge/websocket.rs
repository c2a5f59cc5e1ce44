//! WebSockets: the handshake, and frames that pass unread.

use std::io::{Read, Write};
use std::time::Duration;

use crate::client::{Answer, Client};
use crate::world::World;

fn open(world: &World, path: &str, more: &str) -> (Client, Answer) {
    let rest = format!(
        "Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}"
    );
    let mut client = world.connect();
    client.send(world.page_request("GET", path, &rest).as_bytes());
    let answer = client.head().unwrap();
    (client, answer)
}

#[test]
fn frames_pass_both_ways_as_they_are() {
    let world = World::new();
    let origin = format!("Origin: http://{}\r\n", world.page());
    let more = format!(
        "{origin}Sec-WebSocket-Protocol: chat, super\r\nSec-WebSocket-Extensions: permessage-deflate\r\n"
    );
    let (mut client, answer) = open(&world, "/echo?a=b", &more);
    assert_eq!(answer.status, 101);
    // The example of RFC 6455 section 1.3.
    assert_eq!(
        answer.header("sec-websocket-accept"),
        Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    );
    assert_eq!(answer.header("sec-websocket-protocol"), Some("super"));
    assert_eq!(answer.header("sec-websocket-extensions"), None);
    assert_eq!(
        world.facts.read(|facts| facts.calls.clone()),
        ["socket echo?a=b chat,super"]
    );
    // A masked frame saying "Hello" (RFC 6455 section 5.7), and something long that is no frame at all.
    let frame = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    client.send(&frame);
    assert_eq!(client.take(frame.len()), frame);
    let long: Vec<u8> = (0..1_000_000u32)
        .map(|at| u8::try_from(at % 255).unwrap())
        .collect();
    let mut writer = client.stream.try_clone().unwrap();
    let sent = long.clone();
    let writing = std::thread::spawn(move || writer.write_all(&sent).unwrap());
    assert!(client.take(long.len()) == long);
    writing.join().unwrap();
    drop(client);
    world
        .facts
        .wait("the app's end to be let go", |facts| facts.sockets_closed == 1);
}

#[test]
fn sockets_leave_half_the_places_to_others() {
    const ROOM: usize = 4;
    let world = World::single(|limits| limits.connections = ROOM);
    let origin = format!("Origin: http://{}\r\n", world.page());
    let sockets: Vec<_> = (0..ROOM / 2)
        .map(|_| open(&world, "/echo", &origin))
        .inspect(|(_, answer)| assert_eq!(answer.status, 101))
        .collect();
    let (refused, answer) = open(&world, "/echo", &origin);
    assert_eq!(answer.status, 503);
    drop(refused);
    // Idle ones keep nobody out, and sockets do not give way.
    let _idle: Vec<_> = (0..ROOM * 2).map(|_| world.connect()).collect();
    assert_eq!(world.ask(&world.page_request("GET", "/", "")).status, 200);
    for (mut client, _) in sockets {
        client.send(b"still there");
        assert_eq!(client.take(11), b"still there");
    }
    // Their places are free again.
    world.facts.wait("the sockets to be let go", |facts| {
        facts.sockets_closed == ROOM / 2
    });
    let (_again, answer) = open(&world, "/echo", &origin);
    assert_eq!(answer.status, 101);
}

#[test]
fn handshakes_that_are_none_do_not_reach_the_app() {
    let world = World::new();
    let head = |more: &str| {
        let rest = format!("Upgrade: websocket\r\nConnection: Upgrade\r\n{more}");
        world.ask(&world.page_request("GET", "/echo", &rest)).status
    };
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    assert_eq!(head("Sec-WebSocket-Version: 13\r\n"), 400);
    assert_eq!(
        head("Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: short\r\n"),
        400
    );
    assert_eq!(head(&format!("{key}Sec-WebSocket-Version: 12\r\n")), 426);
    assert_eq!(
        head(&format!(
            "{key}Sec-WebSocket-Version: 13\r\nOrigin: http://evil.example\r\n"
        )),
        403
    );
    let shell = format!("Origin: http://{}\r\n", world.shell());
    assert_eq!(head(&format!("{key}Sec-WebSocket-Version: 13\r\n{shell}")), 403);
    assert_eq!(
        head(&format!(
            "{key}Sec-WebSocket-Version: 13\r\nSec-Fetch-Site: cross-site\r\n"
        )),
        403
    );
    assert_eq!(world.facts.read(|facts| facts.calls.len()), 0);
    let (_, answer) = open(&world, "/refuse", "");
    assert_eq!(answer.status, 500);
}

#[test]
fn an_app_that_hangs_up_is_heard() {
    let world = World::new();
    let (mut client, answer) = open(&world, "/close", "");
    assert_eq!(answer.status, 101);
    assert!(client.is_closed());
}

#[test]
fn a_grain_that_dies_takes_its_sockets_along() {
    let world = World::new();
    let (mut client, answer) = open(&world, "/echo", "");
    assert_eq!(answer.status, 101);
    world.facts.update(|facts| drop(facts.doors[0].take()));
    assert!(client.is_closed());
}

#[test]
fn a_slow_reader_holds_the_app_back() {
    let world = World::new();
    let (mut client, answer) = open(&world, "/flood", "");
    assert_eq!(answer.status, 101);
    let mut buffer = [0; 64 << 10];
    let mut read = 0;
    for _ in 0..50 {
        read += client.stream.read(&mut buffer).unwrap() as u64;
    }
    client
        .stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let written = world.facts.read(|facts| facts.written);
    assert!(written.saturating_sub(read) < 16 << 20, "{written} {read}");
    drop(client);
    world
        .facts
        .wait("writing to fail", |facts| facts.write_error.is_some());
}

#[test]
fn a_session_has_no_more_sockets_than_it_may() {
    let world = World::single(|limits| limits.sockets_per_session = 2);
    let (first, answer) = open(&world, "/echo", "");
    assert_eq!(answer.status, 101);
    let (_second, answer) = open(&world, "/echo", "");
    assert_eq!(answer.status, 101);
    let (_, answer) = open(&world, "/echo", "");
    assert_eq!(answer.status, 503);
    assert_eq!(
        world.facts.read(|facts| facts.calls.len()),
        2,
        "the app is not asked for more"
    );
    assert_eq!(world.get("/a").status, 200, "other requests are not concerned");
    drop(first);
    world
        .facts
        .wait("the app's end to be let go", |facts| facts.sockets_closed == 1);
    let (_, answer) = open(&world, "/echo", "");
    assert_eq!(answer.status, 101);
}

#[test]
fn a_socket_the_app_does_not_give_is_not_counted() {
    let world = World::single(|limits| limits.sockets_per_session = 1);
    for _ in 0..3 {
        assert_eq!(open(&world, "/refuse", "").1.status, 500);
    }
    assert_eq!(open(&world, "/echo", "").1.status, 101);
}

#[test]
fn a_message_that_is_too_large_ends_the_socket() {
    let world = World::new();
    let (mut client, answer) = open(&world, "/blurt", "");
    assert_eq!(answer.status, 101);
    assert!(client.is_closed(), "nothing of it comes");
    world.facts.wait("the app to be told why", |facts| {
        facts
            .write_error
            .as_ref()
            .is_some_and(|error| error.contains("34603008 bytes"))
    });
}

#[test]
fn an_app_that_takes_nothing_of_a_socket_is_given_up() {
    let world = World::single(|limits| {
        limits.answer = Duration::from_millis(300);
        limits.sockets_per_session = 1;
    });
    world.facts.update(|facts| facts.hold = true);
    let origin = format!("Origin: http://{}\r\n", world.page());
    for stays in [false, true] {
        // Nobody looks whether the browser is there while the app takes nothing, but not for ever.
        let mut client = World::until(|| {
            let (client, answer) = open(&world, "/echo", &origin);
            (answer.status == 101).then_some(client)
        });
        world.facts.update(|facts| facts.received = 0);
        client.send(&[0; 200_000]);
        world
            .facts
            .wait("something to arrive", |facts| facts.received > 0);
        if stays {
            assert!(client.is_closed());
        }
    }
}
