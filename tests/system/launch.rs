//! From a package to an app that answers.

use std::collections::BTreeSet;
use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use percloud_tests::http::Request;
use percloud_tests::{Server, built, process, residue, wait};

#[test]
fn a_native_app_answers_in_its_own_session() {
    let (server, owner) = Server::owned();
    let grain = owner.grain_of(&built::sample("guestbook"));
    let visit = owner.open(&grain);
    assert_ne!(visit.host, server.host());
    let page = visit.get("/");
    assert_eq!(page.status, 200, "{}", page.text());
    assert!(
        page.text().to_lowercase().contains("guestbook"),
        "{}",
        page.text()
    );
    owner.await_state(&grain, "running");
}

#[test]
fn each_visit_has_a_host_of_its_own_and_its_cookie_opens_no_other() {
    let (server, owner) = Server::owned();
    let grain = owner.grain_of(&built::sample("guestbook"));
    let (first, second) = (owner.open(&grain), owner.open(&grain));
    assert_ne!(first.host, second.host);
    let stranger = Request::new("GET", "/")
        .send(server.address(), &first.host)
        .unwrap();
    assert!(matches!(stranger.status, 401 | 403 | 404), "{}", stranger.status);
    assert_eq!(first.get("/").status, 200);
    assert_eq!(second.get("/").status, 200);
}

#[test]
fn the_secret_of_a_visit_works_once() {
    let (server, owner) = Server::owned();
    let grain = owner.grain_of(&built::sample("guestbook"));
    let opened = owner.try_open(&grain, "/").json();
    let host = opened["host"]
        .as_str()
        .unwrap()
        .trim_start_matches("http://")
        .to_owned();
    let enter = || {
        let form = format!("secret={}", opened["secret"].as_str().unwrap());
        let request = Request::new("POST", "/_percloud/enter").header("Origin", server.url());
        request
            .body("application/x-www-form-urlencoded", form)
            .send(server.address(), &host)
            .unwrap()
    };
    let first = enter();
    assert_eq!(first.status, 303, "{}", first.text());
    assert!(first.header("set-cookie").is_some());
    let second = enter();
    assert!((400..500).contains(&second.status), "{}", second.status);
    assert!(second.header("set-cookie").is_none());
}

#[test]
fn what_the_shell_may_set_does_not_reach_the_app() {
    let (_server, owner) = Server::owned();
    let grain = owner.grain_of(&built::sample("guestbook"));
    let visit = owner.open(&grain);
    let page = visit.get("/");
    let policy = page.header("content-security-policy").unwrap_or_default();
    assert!(
        policy.contains("frame-ancestors"),
        "an app may be framed by the shell only: `{policy}`"
    );
}

/// A server started as from a terminal, whose standard output nobody reads any more, on a loopback address that only
/// this test uses.
fn start_unheard(data: &Path, address: &str) -> (Child, SocketAddr) {
    // A port nobody has: the kernel's choice, given back at once.
    let address = TcpListener::bind((address, 0)).unwrap().local_addr().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let server = Command::new(built::program("percloud"))
        .args(["serve", "--listen", &address.to_string(), "--data"])
        .arg(data)
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(writer)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait::until("the server listens", || TcpStream::connect(address).ok());
    (server, address)
}

/// Waits for the end of a server that was asked to; nothing may be left of it then, and it may not have failed.
fn expect_an_orderly_end(mut server: Child, all: &BTreeSet<process::Process>) {
    let ended = server.wait().unwrap();
    let mut said = String::new();
    server.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(ended.success(), "{ended}: {said}");
    assert!(!said.contains("ERROR"), "{said}");
    assert_eq!(
        residue::groups(&all.iter().map(|process| process.pid).collect()),
        0
    );
    // Where there are no control groups to say so, the kernel ends sandboxes with their hosts in its own time.
    wait::until("nothing is left", || {
        (!all.iter().any(process::Process::is_running)).then_some(())
    });
}

#[test]
fn a_server_whose_words_nobody_reads_serves_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let (server, address) = start_unheard(&folder.path().join("data"), "127.0.0.2");
    let answer = Request::new("GET", "/").send(address, "percloud.localhost");
    let all = process::tree(server.id());
    process::Process::find(server.id()).unwrap().terminate();
    expect_an_orderly_end(server, &all);
    assert!(answer.is_ok(), "{answer:?}");
}

#[test]
fn an_interrupt_at_the_terminal_ends_a_server_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let (server, address) = start_unheard(&folder.path().join("data"), "127.0.0.3");
    Request::new("GET", "/")
        .send(address, "percloud.localhost")
        .unwrap();
    let all = process::tree(server.id());
    // What a terminal sends goes to all processes it has in front.
    let group = format!("-{}", server.id());
    assert!(
        Command::new("kill")
            .args(["-s", "INT", "--", &group])
            .status()
            .unwrap()
            .success()
    );
    expect_an_orderly_end(server, &all);
}
