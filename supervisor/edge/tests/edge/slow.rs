//! Clients who want to hold what they cannot use: slowly, or in great numbers.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::world::World;

/// Between two bytes of one who dribbles: no pause that is too long by itself.
const DRIBBLE: Duration = Duration::from_millis(20);

#[test]
fn a_body_that_comes_byte_by_byte_is_refused() {
    let world = World::with(|limits| limits.body_pause = Duration::from_millis(300));
    for (host, path) in [
        (
            world.shell_request("POST", "/api/session", "Origin: none\r\n"),
            "shell",
        ),
        (world.page_request("POST", "/up", ""), "page"),
    ] {
        let head = host.replace("\r\n\r\n", "\r\nContent-Length: 60000\r\n\r\n");
        let head = head.replace("Origin: none", &format!("Origin: http://{}", world.shell()));
        let mut client = world.connect();
        client.send(head.as_bytes());
        let begun = Instant::now();
        // The pace of the attack, until it is refused.
        while client.stream.write_all(b"x").is_ok() {
            std::thread::sleep(DRIBBLE);
            assert!(begun.elapsed() < Duration::from_secs(20), "{path} still listens");
        }
        // Not for another reason, which would have been found at once, or after five seconds.
        let held = begun.elapsed();
        assert!(
            held > Duration::from_millis(300) && held < Duration::from_millis(4500),
            "{path}: {held:?}"
        );
        // Others are served all the same.
        assert_eq!(world.get_from(&world.shell(), "/").status, 200);
    }
}

#[test]
fn an_answer_that_is_taken_byte_by_byte_is_cut_off() {
    let world = World::with(|limits| limits.write_stall = Duration::from_millis(300));
    let mut client = world.connect();
    client.send(world.page_request("GET", "/endless", "").as_bytes());
    let begun = Instant::now();
    let mut byte = [0];
    while world.facts.read(|facts| facts.write_error.is_none()) {
        let _ = client.stream.read(&mut byte);
        std::thread::sleep(DRIBBLE);
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "it still is sent something"
        );
    }
    assert_eq!(world.get_from(&world.shell(), "/").status, 200);
}

#[test]
fn idle_connections_of_one_leave_room_for_others_and_end() {
    const SHARE: usize = 100;
    let world = World::single(|limits| {
        limits.connections_per_client = SHARE;
        limits.header_timeout = Duration::from_secs(2);
    });
    let Some(from) = crate::crowded::elsewhere() else {
        return;
    };
    let crowd: Vec<TcpStream> = (0..SHARE + 200).map(|_| connect(&world, from)).collect();
    let open = |stream: &TcpStream| {
        stream.set_nonblocking(true).unwrap();
        let mut stream = stream;
        matches!(stream.read(&mut [0]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
    };
    let mut refused = &crowd[SHARE];
    refused.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    assert!(
        matches!(refused.read(&mut [0]), Ok(0) | Err(_)),
        "it is one more than one may have"
    );
    let begun = Instant::now();
    let mut least = crowd.len();
    while crowd.iter().any(open) {
        // Somebody else is served at once, at every moment.
        let mut other = connect(&world, Ipv4Addr::new(127, 0, 0, 67));
        let request = crate::client::get("/", &world.shell(), "Connection: close\r\n");
        other.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        other.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        least = least.min(crowd.iter().filter(|stream| open(stream)).count());
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "{least} are still open"
        );
    }
    // And so is who held them, now.
    assert_eq!(world.get_from(&world.shell(), "/").status, 200);
}

#[test]
fn who_asks_for_nothing_gives_way_to_who_comes() {
    const ROOM: usize = 20;
    // Nobody is let go for idling alone before the test has ended.
    let world = World::single(|limits| {
        limits.connections = ROOM;
        limits.header_timeout = Duration::from_secs(600);
    });
    // One is being answered, and goes on being.
    let mut reader = world.connect();
    reader.send(world.page_request("GET", "/endless", "").as_bytes());
    assert_eq!(reader.head().unwrap().status, 200);
    // One was answered, and could ask again.
    let mut early = world.connect();
    early.send(crate::client::get("/", &world.shell(), "").as_bytes());
    assert_eq!(early.answer().status, 200);
    // The others say nothing, or half of something.
    let mut crowd: Vec<TcpStream> = (0..4 * ROOM)
        .map(|_| connect(&world, Ipv4Addr::new(127, 0, 0, 66)))
        .collect();
    for (number, stream) in crowd.iter_mut().enumerate() {
        if number % 2 == 0 {
            let _may_be_closed_already = stream.write_all(b"GET / HTTP/1.1\r\nHos");
        }
    }
    for _ in 0..3 * ROOM {
        let answer = world.get_from(&world.shell(), "/");
        assert_eq!(answer.status, 200, "whoever comes is served");
    }
    assert!(early.is_closed(), "it had asked for nothing for longest");
    // The first of the crowd had to go, too.
    assert!(matches!(crowd[0].read(&mut [0]), Ok(0) | Err(_)));
    assert!(reader.chunk().unwrap().is_some(), "who is being answered stays");
}

#[test]
fn who_was_being_answered_gives_way_when_that_is_over() {
    let world = World::with(|limits| {
        limits.connections = 1;
        limits.header_timeout = Duration::from_secs(600);
    });
    // Whichever threads they come to.
    for _ in 0..10 {
        let mut first = world.connect();
        first.send(world.page_request("GET", "/stream/40000000", "").as_bytes());
        let mut answer = first.head().unwrap();
        let mut second = world.connect();
        second.send(crate::client::get("/", &world.shell(), "").as_bytes());
        first.body(&mut answer);
        assert!(answer.complete, "it was answered to the end");
        assert_eq!(second.answer().status, 200);
    }
}

/// A connection from an address of this machine: another client than the tests' own.
fn connect(world: &World, from: Ipv4Addr) -> TcpStream {
    let SocketAddr::V4(to) = world.address else {
        panic!("the edge listens on IPv4 here")
    };
    let socket = rustix::net::socket(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::STREAM,
        None,
    )
    .unwrap();
    rustix::net::bind(&socket, &SocketAddr::from((from, 0))).unwrap();
    rustix::net::connect(&socket, &to).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}
