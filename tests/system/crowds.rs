//! Strangers in great number who want nothing: whoever wants something is served all the same.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use percloud_tests::package::Recipe;
use percloud_tests::{Owner, Server};
use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Connections from one address: fewer than one client may hold.
const EACH: u32 = 900;
/// From so many addresses, if there are descriptors for it: in all more than a server lets in.
const ADDRESSES: u32 = 11;

#[test]
fn idle_connections_by_the_thousand_keep_nobody_out() {
    let (server, owner) = Server::owned();
    let app = Recipe::of_program("Guestbook", "percloud-raw-app", &[]).pack();
    let grain = owner.grain_of(app.path());
    let visit = owner.open(&grain);
    assert_eq!(visit.get("/small").status, 200);

    let most = open_files().saturating_sub(1000) / EACH;
    let crowd: Vec<TcpStream> = (0..ADDRESSES.min(most))
        .flat_map(|from| (0..EACH).map(move |_| from))
        .map(|from| idle(&server, from))
        .collect();
    assert!(crowd.len() > 1000, "too few descriptors to make a crowd");
    let begun = Instant::now();
    for _ in 0..20 {
        assert_eq!(visit.get("/small").status, 200);
    }
    // Somebody new, and somebody who comes back.
    let other = owner.invite(&server, "Bela");
    assert_eq!(other.get("/api/home")["grains"].as_array().map(Vec::len), Some(0));
    let again = Owner::sign_in(&server);
    assert_eq!(again.open(&grain).get("/small").status, 200);
    // Before the first of the crowd is let go for idling alone, which takes half a minute.
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(25), "{took:?}");
    drop(crowd);
}

/// How many descriptors this process may have, after asking for all.
fn open_files() -> u32 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    setrlimit(Resource::Nofile, raised).unwrap();
    limit
        .maximum
        .map_or(u32::MAX, |most| u32::try_from(most).unwrap_or(u32::MAX))
}

/// A connection from one of many addresses, over which nothing is ever said.
fn idle(server: &Server, from: u32) -> TcpStream {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    let from = Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 0, 1, 1)) + from);
    bind(&socket, &SocketAddr::from((from, 0))).unwrap();
    connect(&socket, &server.address()).unwrap();
    socket.into()
}
