//! With nothing open, this machine and its neighbours are closed, whatever they are called.

use percloud_schemas::ip_capnp::ip_remote_host;

use crate::network::{connect, host, host_at, send};
use crate::said::{get, problem};
use crate::server::{Server, both};
use crate::sink::Sink;
use crate::world::{World, run};

async fn closed() -> World {
    World::with(|config| config.open.clear()).await
}

const CLOSED: [&str; 8] = [
    "127.0.0.1",
    "127.255.0.1",
    "localhost",
    "[::1]",
    "169.254.169.254",
    "[::ffff:127.0.0.1]",
    "0.0.0.0",
    "10.0.0.1",
];

#[test]
fn no_website_is_on_this_machine() {
    run(async {
        let world = closed().await;
        let server = Server::new().await;
        for place in CLOSED {
            for scheme in ["http", "https"] {
                let session = world
                    .website(&format!("{scheme}://{place}:{}/", server.port))
                    .await;
                let told = problem(get(&session, "").await);
                assert!(told.contains("not public"), "{place}: {told}");
                let opened = crate::web_socket::open(&session, &[], &Sink::default()).await;
                assert!(problem(opened).contains("not public"), "{place}");
                let stream = crate::uploads::post(&session).await;
                let _refused = crate::uploads::write(&stream, b"a").await;
                let told = problem(crate::uploads::response(&stream).await);
                assert!(told.contains("not public"), "{place}: {told}");
            }
        }
        assert!(server.is_lonely());
    });
}

#[test]
fn no_port_of_this_machine_is_on_the_network() {
    run(async {
        let world = closed().await;
        let server = Server::new().await;
        let listener = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let network = world.network(false).await;
        let refused = async |machine: ip_remote_host::Client, place: &str| {
            let connected = connect(&machine, server.port, &Sink::default()).await;
            let told = problem(connected);
            assert!(told.contains("not public"), "{place}: {told}");
            let mut request = machine.get_udp_port_request();
            request.get().set_port_num(listener.local_addr().unwrap().port());
            let port = request.send().pipeline.get_port();
            let told = problem(send(&port, b"a", None).await);
            assert!(told.contains("not public"), "{place}: {told}");
        };
        for place in CLOSED {
            refused(host(&network, place), place).await;
        }
        for place in [
            "127.0.0.1",
            "::1",
            "::ffff:127.0.0.1",
            "169.254.169.254",
            "64:ff9b::7f00:1",
        ] {
            refused(host_at(&network, place.parse().unwrap()), place).await;
        }
        assert!(server.is_lonely());
        listener.try_recv(&mut [0; 8]).unwrap_err();
    });
}

#[test]
fn only_what_is_open_is_open() {
    run(async {
        let server = Server::new().await;
        let world = World::with(|config| config.open = vec!["127.0.0.2/32".parse().unwrap()]).await;
        let session = world.website(&server.url("")).await;
        assert!(problem(get(&session, "").await).contains("not public"));
        let network = world.network(false).await;
        let connected = connect(&host(&network, "127.0.0.2"), server.port, &Sink::default()).await;
        assert!(problem(connected).contains("does not answer"));
    });
}

#[test]
fn a_redirect_to_this_machine_is_told_and_not_followed() {
    run(async {
        let world = World::with(|config| config.open = vec!["127.0.0.1/32".parse().unwrap()]).await;
        let (server, other) = (Server::new().await, Server::new().await);
        let session = world.website(&server.url("")).await;
        let place = format!("http://localhost:{}/", other.port);
        let location = format!("Location: {place}\r\n");
        for _ in 0..20 {
            let answer = server.answer("307 So", &location, b"");
            let (said, _) = both(get(&session, ""), answer).await;
            assert_eq!(said.unwrap().location, place);
        }
        assert!(other.is_lonely() && server.is_lonely());
    });
}
