//! Published sites: files for everybody, and nothing else.

use crate::app::pattern;
use crate::client::{Answer, request};
use crate::world::{SHELL_COOKIE, SITE, World, hex};

fn host(world: &World) -> String {
    format!("{SITE}.{}", world.shell())
}

fn ask(world: &World, method: &str, path: &str, rest: &str) -> Answer {
    let mut client = world.connect();
    client.send(request(method, path, &host(world), rest).as_bytes());
    let mut answer = client.head().unwrap();
    if method != "HEAD" {
        client.body(&mut answer);
    }
    answer
}

#[test]
fn files_are_found_where_they_are() {
    let world = World::new();
    for (path, status, kind) in [
        ("/", 200, Some("text/html; charset=UTF-8")),
        ("/index.html", 200, Some("text/html; charset=UTF-8")),
        ("/?query", 200, Some("text/html; charset=UTF-8")),
        ("/dir/", 200, Some("text/html; charset=UTF-8")),
        ("/README", 200, None),
        ("/a%20b/%c3%bc.txt", 200, Some("text/plain; charset=UTF-8")),
        ("/empty.txt", 200, Some("text/plain; charset=UTF-8")),
        ("/big.bin", 200, Some("application/octet-stream")),
    ] {
        let answer = ask(&world, "GET", path, "");
        assert_eq!((answer.status, answer.complete), (status, true), "{path}");
        assert_eq!(answer.header("content-type"), kind, "{path}");
        assert_eq!(
            answer.header("cache-control"),
            Some("public, max-age=30"),
            "{path}"
        );
        assert_eq!(answer.header("set-cookie"), None);
        let length: usize = answer.header("content-length").unwrap().parse().unwrap();
        assert!(answer.body == pattern(0, length), "{path}");
        let head = ask(&world, "HEAD", path, "");
        assert_eq!(
            head.header("content-length"),
            answer.header("content-length"),
            "{path}"
        );
    }
    for path in [
        "/missing",
        "/..",
        "/%2e%2e/secret",
        "/dir//index.html",
        "/./index.html",
        "/dir%2findex.html",
        "/%00",
        "/%zz",
        "/missing/",
    ] {
        let answer = ask(&world, "GET", path, "");
        assert_eq!(answer.status, 404, "{path}");
        assert!(
            answer.text().contains("There is nothing at this address."),
            "{path}"
        );
    }
    let asked = world.facts.read(|facts| facts.calls.clone());
    assert!(
        asked
            .iter()
            .all(|call| !call.contains("..") && !call.contains("//")),
        "{asked:?}"
    );
}

#[test]
fn a_folder_gets_its_slash() {
    let world = World::new();
    let answer = ask(&world, "GET", "/dir?a=b", "");
    assert_eq!(
        (answer.status, answer.header("location")),
        (303, Some("/dir/?a=b"))
    );
}

#[test]
fn others_and_other_methods_get_nothing() {
    let world = World::new();
    let other = format!("{}.{}", "z".repeat(20), world.shell());
    assert_eq!(world.get_from(&other, "/").status, 404);
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        assert_eq!(
            ask(&world, method, "/", "Content-Length: 0\r\n").status,
            501,
            "{method}"
        );
    }
    // Neither the shell's API nor a session is behind this name, whatever cookie comes along.
    let cookie = format!(
        "Cookie: __Host-percloud={}\r\nX-Percloud: 1\r\n",
        hex(SHELL_COOKIE)
    );
    assert_eq!(ask(&world, "GET", "/api/me", &cookie).status, 404);
}

#[test]
fn parts_are_read_and_no_more() {
    let world = World::new();
    let answer = ask(&world, "GET", "/big.bin", "Range: bytes=500000-500099\r\n");
    assert_eq!((answer.status, answer.body), (206, pattern(500_000, 100)));
    assert_eq!(world.facts.read(|facts| facts.slices), 1);
    let answer = ask(
        &world,
        "GET",
        "/big.bin",
        "Range: bytes=500000-500099\r\nIf-Range: \"x\"\r\n",
    );
    assert_eq!(
        (answer.status, answer.body.len()),
        (200, 1 << 20),
        "nothing proves that it is the same file"
    );
    let answer = ask(&world, "GET", "/big.bin", "Range: bytes=2000000-\r\n");
    assert_eq!(
        (answer.status, answer.header("content-range")),
        (416, Some("bytes */1048576"))
    );
    let answer = ask(&world, "GET", "/empty.txt", "Range: bytes=0-0\r\n");
    assert_eq!(answer.status, 416);
}

#[test]
fn a_file_that_is_not_what_was_said_is_cut_off() {
    let world = World::new();
    for (path, most) in [("/short.bin", 100_000), ("/greedy.bin", 64 << 10)] {
        let answer = ask(&world, "GET", path, "");
        assert!(!answer.complete, "{path}");
        assert!(answer.body.len() <= most, "{path} {}", answer.body.len());
    }
    assert_eq!(ask(&world, "GET", "/", "").status, 200);
}

#[test]
fn a_file_is_read_no_faster_than_it_is_taken() {
    let world = World::new();
    let mut client = world.connect();
    client.send(request("GET", "/huge.bin", &host(&world), "").as_bytes());
    assert_eq!(client.head().unwrap().status, 200);
    let taken = 4 << 20;
    assert_eq!(client.take(taken).len(), taken);
    // What lies in the kernel and in hyper; the file has a gigabyte.
    let read = world.facts.read(|facts| facts.slices) * (64 << 10);
    assert!(read - taken < 8 << 20, "{read}");
    drop(client);
    world
        .facts
        .wait("the file to be let go of", |facts| facts.files_closed == 1);
}
