//! Paths below what was granted, and those that lead out of it.

use crate::said::{get, problem};
use crate::server::{Server, both};
use crate::sink::Sink;
use crate::world::{World, run};

const OUT: [&str; 12] = [
    "..",
    "../b",
    "a/../../b",
    "%2e%2e/b",
    "%2E%2E/b",
    ".%2e/b",
    "..%2fb",
    "a%2f..%2fb",
    "..;/b",
    "..\\b",
    "..%5cb",
    "a b\r\nX-C: d",
];

#[test]
fn paths_are_put_below_the_address() {
    run(async {
        let world = World::new().await;
        let server = Server::new().await;
        let session = world.website(&server.url("api/v1")).await;
        for (path, target) in [
            ("", "/api/v1"),
            ("a", "/api/v1/a"),
            ("a/?b=../c", "/api/v1/a/?b=../c"),
            ("?b", "/api/v1?b"),
            // Nothing but a path, whatever it looks like.
            ("http://other.example/a", "/api/v1/http://other.example/a"),
            ("/other.example/a", "/api/v1//other.example/a"),
            ("@other.example", "/api/v1/@other.example"),
            (":80/a", "/api/v1/:80/a"),
        ] {
            let (said, seen) = both(get(&session, path), server.answer("204 Empty", "", b"")).await;
            said.unwrap();
            assert_eq!(seen.line, format!("GET {target} HTTP/1.1"));
            assert_eq!(seen.field("host"), format!("127.0.0.1:{}", server.port));
        }
    });
}

#[test]
fn no_path_leads_out_of_what_was_granted() {
    run(async {
        let world = World::new().await;
        let server = Server::new().await;
        let session = world.website(&server.url("api/v1")).await;
        for path in OUT {
            let told = problem(get(&session, path).await);
            assert!(told.contains("path"), "{told}");
            let mut copy = session.copy_request();
            copy.get().set_path("a");
            copy.get().set_destination(path);
            copy.send().promise.await.map(drop).unwrap_err();
            let mut rename = session.move_request();
            rename.get().set_path("a");
            rename.get().set_destination(path);
            rename.send().promise.await.map(drop).unwrap_err();
            let mut upload = session.put_streaming_request();
            upload.get().set_path(path);
            upload.send().promise.await.map(drop).unwrap_err();
            let mut socket = session.open_web_socket_request();
            socket.get().set_path(path);
            socket.get().set_client_stream(Sink::default().frames());
            socket.send().promise.await.map(drop).unwrap_err();
        }
        let told = problem(get(&session, &"a".repeat(17 << 10)).await);
        assert!(told.contains("too long"), "{told}");
        assert!(server.is_lonely());
    });
}
