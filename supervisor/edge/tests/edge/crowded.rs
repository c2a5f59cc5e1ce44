//! All places are taken: who gives way to whoever comes, and who does not.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::time::Duration;

use crate::app::pattern;
use crate::client::{Client, get};
use crate::world::World;

const ROOM: usize = 6;

/// A world with few places and little patience, in which nobody is let go for another reason.
fn crowded(patience: Duration) -> World {
    World::single(|limits| {
        limits.connections = ROOM;
        limits.crowded_wait = patience;
        limits.header_timeout = Duration::from_secs(600);
        limits.body_pause = Duration::from_secs(600);
        limits.write_stall = Duration::from_secs(600);
    })
}

/// Others come and are answered, one after the other, twice as many as there are places. They keep theirs while they can.
fn serve(world: &World) -> Vec<Client> {
    let served = (0..2 * ROOM).map(|_| {
        let mut client = world.connect();
        client.send(get("/", &world.shell(), "").as_bytes());
        assert_eq!(client.answer().status, 200);
        client
    });
    served.collect()
}

/// As many as there are places, who all have said this.
fn crowd(world: &World, request: &str) -> Vec<Client> {
    let crowd = (0..ROOM).map(|_| {
        let mut client = world.connect();
        client.send(request.as_bytes());
        client
    });
    crowd.collect()
}

#[test]
fn who_does_not_send_what_it_announced_gives_way() {
    let world = crowded(Duration::from_millis(50));
    let document = format!(
        "POST /api/session HTTP/1.1\r\nHost: {0}\r\nX-Percloud: 1\r\nOrigin: http://{0}\r\nContent-Length: 10\r\n\r\n",
        world.shell()
    );
    for request in [
        document.clone(),
        // Half of it is as good as nothing.
        format!("{document}{{"),
        world.page_request("PUT", "/up", "Content-Length: 100000\r\n"),
        world.page_request("POST", "/a", "Content-Length: 100\r\n"),
        world.page_request("PUT", "/up", "Transfer-Encoding: chunked\r\n"),
        world.api_request("PROPFIND", "/a", "Content-Length: 100\r\n"),
        // Refused, and read to its end before that is said.
        world
            .api_request("POST", "/a", "Content-Length: 100\r\n")
            .replace(crate::world::TOKEN, "wrong"),
    ] {
        let crowd = crowd(&world, &request);
        serve(&world);
        drop(crowd);
    }
}

#[test]
fn who_does_not_take_its_answer_gives_way() {
    let world = crowded(Duration::from_millis(50));
    for path in ["/endless", "/inline/40000000"] {
        let crowd = crowd(&world, &world.page_request("GET", path, ""));
        serve(&world);
        drop(crowd);
    }
}

#[test]
fn who_takes_an_answer_slowly_stays() {
    const SIZE: usize = 32 << 20;
    let world = crowded(Duration::from_secs(60));
    // HTTP hands over the whole of it at once.
    let mut slow = world.connect();
    slow.send(
        world
            .page_request("GET", &format!("/inline/{SIZE}"), "")
            .as_bytes(),
    );
    let mut answer = slow.head().unwrap();
    assert_eq!(answer.status, 200);
    for _ in 0..4 {
        serve(&world);
        answer.body.extend(slow.take(64 << 10));
    }
    answer.body.extend(slow.take(SIZE - answer.body.len()));
    assert!(answer.body == pattern(0, SIZE));
    // Now it is idle, and like the others.
    let _others = serve(&world);
    assert!(slow.is_closed());
}

#[test]
fn who_sends_slowly_stays() {
    const PART: usize = 50_000;
    let world = crowded(Duration::from_secs(60));
    let mut slow = world.connect();
    let size = 4 * PART;
    slow.send(
        world
            .page_request("PUT", "/up", &format!("Content-Length: {size}\r\n"))
            .as_bytes(),
    );
    for part in 0..4 {
        serve(&world);
        let from = part * PART;
        slow.send(&pattern(from as u64, PART));
        world.facts.wait("the part to arrive", |facts| {
            facts.received as usize == from + PART
        });
    }
    let answer = slow.answer();
    assert_eq!((answer.status, answer.text()), (200, size.to_string().as_str()));
}

#[test]
fn who_waits_for_the_app_stays_however_long_that_takes() {
    let world = crowded(Duration::ZERO);
    let mut quiet = world.connect();
    quiet.send(world.page_request("GET", "/quiet", "").as_bytes());
    assert_eq!(quiet.head().unwrap().status, 200);
    let mut polling = world.connect();
    polling.send(world.page_request("GET", "/never", "").as_bytes());
    world.facts.wait("the app to be asked", |facts| {
        facts.calls.iter().any(|call| call.starts_with("get never"))
    });
    serve(&world);
    assert_eq!(
        world.facts.read(|facts| (facts.handles_dropped, facts.cancelled)),
        (0, 0)
    );
}

#[test]
fn a_proxy_on_this_machine_may_hold_more_connections_than_a_client() {
    let world = World::single(|limits| {
        limits.connections = ROOM;
        limits.connections_per_client = 1;
        limits.header_timeout = Duration::from_secs(600);
    });
    let request = get("/", &world.shell(), "");
    let mut held = crowd(&world, &request);
    for client in &mut held {
        assert_eq!(client.answer().status, 200);
    }
    for client in &mut held {
        client.send(request.as_bytes());
        assert_eq!(client.answer().status, 200);
    }
    // Even when all places are taken.
    let _others = serve(&world);
    assert!(held[0].is_closed(), "it had asked for nothing for longest");
}

/// An address of this machine that is not its loopback: who comes from there is a client like any other.
pub fn elsewhere() -> Option<Ipv4Addr> {
    // Nothing is sent; the kernel only says from where it would be.
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    let address = socket
        .connect("198.51.100.1:9")
        .and_then(|()| socket.local_addr());
    match address.map(|address| address.ip()) {
        Ok(IpAddr::V4(address)) if !address.is_loopback() => Some(address),
        other => {
            eprintln!("not tested: this machine has no address but its loopback ({other:?})");
            None
        }
    }
}
