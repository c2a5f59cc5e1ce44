//! What the edge answers to hosts, paths and headers that are none of ours.

use std::net::SocketAddr;

use percloud_tests::Server;
use percloud_tests::http::{self, Request};

#[test]
fn an_unknown_host_gets_nothing() {
    let (server, _owner) = Server::owned();
    for host in [
        "evil.example",
        "127.0.0.1",
        "ui-0123456789abcdef0123456789abcdef.percloud.localhost",
        "percloud.localhost.evil.example",
    ] {
        let answer = Request::new("GET", "/").send(server.address(), host).unwrap();
        assert!(matches!(answer.status, 404 | 421), "{host}: {}", answer.status);
    }
}

#[test]
fn a_request_without_host_or_with_two_is_refused() {
    let (server, _owner) = Server::owned();
    let none = raw(server.address(), b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n");
    assert!(none.starts_with("HTTP/1.1 4"), "{none}");
    let host = server.host();
    let two = raw(
        server.address(),
        format!("GET / HTTP/1.1\r\nHost: {host}\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
            .as_bytes(),
    );
    assert!(two.starts_with("HTTP/1.1 4"), "{two}");
}

#[test]
fn malformed_and_oversized_heads_are_refused_and_the_server_goes_on() {
    let (server, owner) = Server::owned();
    let host = server.host();
    let endless = format!(
        "GET / HTTP/1.1\r\nHost: {host}\r\nX-Long: {}\r\n\r\n",
        "x".repeat(2 << 20)
    );
    let many = format!(
        "GET / HTTP/1.1\r\nHost: {host}\r\n{}\r\n",
        "X-Many: y\r\n".repeat(20_000)
    );
    let cases: [&[u8]; 5] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        endless.as_bytes(),
        many.as_bytes(),
    ];
    for case in cases {
        // Closing without a word is as good as a refusal.
        let answer = http::raw(server.address(), case).unwrap_or_default();
        let answer = String::from_utf8_lossy(&answer);
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 4") || answer.starts_with("HTTP/1.0 4"),
            "{answer}"
        );
    }
    assert_eq!(owner.get("/api/me")["handle"], percloud_tests::owner::HANDLE);
}

#[test]
fn what_does_not_exist_is_404() {
    let (_server, owner) = Server::owned();
    for path in [
        "/api/grains/nope",
        "/api/packages/nope",
        "/api/nothing",
        "/api/grains/..%2f..%2fetc%2fpasswd",
    ] {
        let answer = owner.send(Request::new("GET", path));
        assert_eq!(answer.status, 404, "{path}: {}", answer.text());
    }
}

#[test]
fn a_shell_page_forbids_what_it_does_not_need() {
    let (server, _owner) = Server::owned();
    let page = server.send(&Request::new("GET", "/"));
    assert_eq!(page.status, 200);
    let policy = page
        .header("content-security-policy")
        .expect("a page has a policy");
    assert!(
        !policy.contains("unsafe-inline") || !policy.contains("script-src 'unsafe-inline'"),
        "{policy}"
    );
    assert!(!policy.contains("unsafe-eval"), "{policy}");
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
}

fn raw(address: SocketAddr, bytes: &[u8]) -> String {
    String::from_utf8_lossy(&http::raw(address, bytes).unwrap()).into_owned()
}
