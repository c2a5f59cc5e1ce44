//! curl: the ways a script may speak to a grain, header by header.

use percloud_tests::Server;
use percloud_tests::http;

use crate::device::{Device, grain_with_devices};
use crate::mirror::Mirror;
use crate::program::Room;

/// Runs curl; returns the head of the last answer and its body.
fn curl(room: &Room, arguments: &[&str]) -> (String, String) {
    let common = ["--silent", "--show-error", "--include", "--max-time", "60"];
    let answer = room.expect("curl", common.iter().chain(arguments));
    let mut rest = answer.as_str();
    loop {
        let (head, body) = rest.split_once("\r\n\r\n").expect("an answer has a head");
        if !head.starts_with("HTTP/1.1 100") {
            return (head.to_ascii_lowercase(), body.to_owned());
        }
        rest = body;
    }
}

fn status(head: &str) -> &str {
    head.split(' ').nth(1).unwrap_or_default()
}

fn bearer(device: &Device) -> String {
    format!("Authorization: Bearer {}", device.password)
}

fn basic(device: &Device) -> String {
    format!("{}:{}", device.user, device.password)
}

#[test]
fn a_token_counts_wherever_it_may_stand() {
    let (_server, owner, grain, [device], room) = grain_with_devices("guestbook", ["script"]);
    let small = format!("{}small", device.url);
    let in_path = format!("{}.sandstorm-token/{}/small", device.url, device.password);
    let ways: [&[&str]; 3] = [
        &["--header", &bearer(&device), &small],
        &["--user", &basic(&device), &small],
        &[&in_path],
    ];
    for way in ways {
        let (head, body) = curl(&room, way);
        assert_eq!((status(&head), body.len()), ("200", 128), "{way:?}: {head}");
        assert!(head.contains("access-control-allow-origin: *"), "{head}");
        assert!(!head.contains("set-cookie"), "{head}");
    }
    let (head, _) = curl(&room, &[&small]);
    assert_eq!(status(&head), "401", "{head}");
    assert!(head.contains("www-authenticate: basic"), "{head}");

    device.revoke(&owner, &grain);
    for way in ways {
        let (head, body) = curl(&room, way);
        assert_eq!(status(&head), "401", "{way:?}: {head}\n{body}");
    }
}

#[test]
fn a_page_of_any_site_may_ask_first() {
    let (_server, _owner, _grain, [device], room) = grain_with_devices("guestbook", ["page"]);
    let (head, _) = curl(
        &room,
        &[
            "--request",
            "OPTIONS",
            "--header",
            "Origin: https://somewhere.example",
            "--header",
            "Access-Control-Request-Method: PROPFIND",
            "--header",
            "Access-Control-Request-Headers: authorization, depth",
            &device.url,
        ],
    );
    assert_eq!(status(&head), "200", "{head}");
    for line in [
        "access-control-allow-origin: *",
        "access-control-allow-headers: authorization, depth",
        "access-control-max-age: 3600",
    ] {
        assert!(head.contains(line), "{line}: {head}");
    }
    let methods = head
        .lines()
        .find(|line| line.starts_with("access-control-allow-methods"));
    assert!(
        methods.is_some_and(|methods| methods.contains("propfind")),
        "{head}"
    );
    assert!(!head.contains("access-control-allow-credentials"), "{head}");
}

#[test]
fn heads_parts_and_conditions_are_answered() {
    let (_server, _owner, _grain, [device], room) = grain_with_devices("webdav", ["script"]);
    let (login, url) = (basic(&device), format!("{}alphabet.txt", device.url));
    let alphabet = room.write("alphabet.txt", "abcdefghijklmnopqrstuvwxyz");
    let alphabet = alphabet.to_string_lossy();
    let (head, _) = curl(&room, &["--user", &login, "--upload-file", &alphabet, &url]);
    assert_eq!(status(&head), "201", "{head}");

    let (head, body) = curl(&room, &["--user", &login, "--head", &url]);
    assert_eq!((status(&head), body.as_str()), ("200", ""), "{head}");
    assert!(head.contains("content-type: text/plain; charset=utf-8"), "{head}");
    let etag = head
        .lines()
        .find_map(|line| line.strip_prefix("etag: "))
        .expect("files have tags");

    let (head, body) = curl(&room, &["--user", &login, "--range", "2-4", &url]);
    assert_eq!((status(&head), body.as_str()), ("206", "cde"), "{head}");
    assert!(head.contains("content-range: bytes 2-4/26"), "{head}");
    let (head, _) = curl(&room, &["--user", &login, "--range", "26-", &url]);
    assert_eq!(status(&head), "416", "{head}");

    let known = format!("If-None-Match: {etag}");
    let (head, _) = curl(&room, &["--user", &login, "--header", &known, &url]);
    assert_eq!(status(&head), "304", "{head}");
    let stale = [
        "--user",
        &login,
        "--header",
        "If-Match: \"other\"",
        "--upload-file",
        &alphabet,
        &url,
    ];
    let (head, _) = curl(&room, &stale);
    assert_eq!(status(&head), "412", "{head}");
}

#[test]
fn locks_are_not_promised_where_none_could_be_shown() {
    let (_server, _owner, _grain, [device], room) = grain_with_devices("webdav", ["mount"]);
    let login = basic(&device);
    let (head, _) = curl(&room, &["--user", &login, "--request", "OPTIONS", &device.url]);
    let classes = head.lines().find_map(|line| line.strip_prefix("dav: "));
    assert_eq!(
        classes.map(|classes| classes.replace(' ', "")).as_deref(),
        Some("1,3"),
        "{head}"
    );
    let (head, _) = curl(&room, &["--user", &login, "--request", "LOCK", &device.url]);
    assert_eq!(status(&head), "403", "{head}");
}

#[test]
fn who_asks_before_sending_is_told_to_go_on_or_not_to() {
    let (_server, _owner, _grain, [device], room) = grain_with_devices("webdav", ["script"]);
    let (login, url) = (basic(&device), format!("{}large.bin", device.url));
    room.write("large.bin", vec![7; 3 << 20]);
    let expecting = [
        "--header",
        "Expect: 100-continue",
        "--expect100-timeout",
        "30",
        "--upload-file",
        "large.bin",
    ];
    let guess = basic(&device.guessing());
    let with = |more: &[&str]| -> Vec<String> {
        expecting
            .iter()
            .chain(more)
            .map(|word| (*word).to_owned())
            .collect()
    };
    let verbose = |words: Vec<String>| {
        room.run(
            "curl",
            ["--silent", "--verbose"].map(str::to_owned).iter().chain(&words),
        )
    };
    let welcome = verbose(with(&["--user", &login, &url]));
    assert!(welcome.errors.contains("< HTTP/1.1 100 Continue"), "{welcome}");
    assert!(welcome.errors.contains("< HTTP/1.1 201 Created"), "{welcome}");
    // Chunked, as programs send what they do not know the size of.
    let chunked = verbose(with(&[
        "--header",
        "Transfer-Encoding: chunked",
        "--user",
        &login,
        &url,
    ]));
    assert!(
        chunked.errors.contains("< HTTP/1.1 204") || chunked.errors.contains("< HTTP/1.1 200"),
        "{chunked}"
    );
    room.expect(
        "curl",
        [
            "--silent", "--fail", "--user", &login, "--output", "back.bin", &url,
        ],
    );
    assert!(
        room.read("back.bin") == room.read("large.bin"),
        "what was sent is what comes back"
    );

    let unwelcome = verbose(with(&["--user", &guess, &url]));
    assert!(!unwelcome.errors.contains("100 Continue"), "{unwelcome}");
    assert!(unwelcome.errors.contains("< HTTP/1.1 401"), "{unwelcome}");
}

#[test]
fn an_app_learns_where_its_client_is_only_from_a_client_that_says_so() {
    let (_server, owner) = Server::owned();
    let grain = owner.grain_of(&Mirror::pack().path());
    let device = Device::of(&owner, &grain, "script");
    let room = Room::new([device.host()].into_iter());
    let (token, url) = (bearer(&device), format!("{}seen", device.url));
    // As a web server on this machine passes a request on.
    let from_afar = [
        "--header",
        &token,
        "--header",
        "X-Real-IP: 192.0.2.9",
        "--cookie",
        "a=b",
    ];
    let ask = |more: &[&str]| {
        let words: Vec<&str> = from_afar
            .iter()
            .chain(more)
            .copied()
            .chain([url.as_str()])
            .collect();
        let (head, body) = curl(&room, &words);
        assert_eq!(status(&head), "200", "{head}\n{body}");
        body
    };
    let seen = ask(&[]);
    assert!(
        seen.contains("HTTP_X_SANDSTORM_USERNAME=Ada%20Lovelace"),
        "{seen}"
    );
    for secret in [
        "192.0.2.9",
        "HTTP_COOKIE",
        device.password.as_str(),
        "AUTHORIZATION",
    ] {
        assert!(!seen.contains(secret), "{secret}: {seen}");
    }
    let seen = ask(&["--header", "X-Sandstorm-Passthrough: address"]);
    assert!(seen.contains("HTTP_X_REAL_IP=192.0.2.9"), "{seen}");
}

#[test]
fn a_socket_opens_with_the_token_in_its_path() {
    let (server, _owner, _grain, [device], room) = grain_with_devices("guestbook", ["page"]);
    let handshake = [
        "--header",
        "Connection: Upgrade",
        "--header",
        "Upgrade: websocket",
        "--header",
        "Sec-WebSocket-Version: 13",
        "--header",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "--header",
        "Origin: https://somewhere.example",
    ];
    let refused = format!(
        "{}.sandstorm-token/{}/echo",
        device.url,
        device.guessing().password
    );
    let words: Vec<&str> = handshake.iter().copied().chain([refused.as_str()]).collect();
    let (head, _) = curl(&room, &words);
    assert_eq!(status(&head), "401", "{head}");

    // curl cannot send frames: the same handshake by hand, a masked `hello`, and the frame that closes.
    let mut bytes = format!(
        "GET /.sandstorm-token/{}/echo HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Origin: https://somewhere.example\r\n\r\n",
        device.password,
        device.host()
    )
    .into_bytes();
    bytes.extend_from_slice(b"\x81\x85\0\0\0\0hello\x88\x80\0\0\0\0");
    let answer = http::raw(server.address(), &bytes).unwrap();
    let shown = String::from_utf8_lossy(&answer);
    assert!(shown.starts_with("HTTP/1.1 101 "), "{shown}");
    assert!(shown.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{shown}");
    let echoed = answer.windows(7).any(|window| window == b"\x81\x05hello");
    assert!(echoed, "{shown}");
}
