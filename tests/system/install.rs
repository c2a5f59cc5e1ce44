//! Packages that must not get in, and that nothing of them stays.

use std::fs;
use std::path::Path;

use percloud_tests::http::Request;
use percloud_tests::owner::text;
use percloud_tests::package::Recipe;
use percloud_tests::{Owner, Server, built, wait};

#[test]
fn a_package_shows_itself_before_it_is_installed() {
    let (_server, owner) = Server::owned();
    let answer = owner.upload(&fs::read(built::sample("guestbook")).unwrap());
    assert_eq!(answer.status, 201, "{}", answer.text());
    let package = answer.json();
    assert_eq!(package["title"], "Guestbook");
    assert_eq!(package["state"], "staged");
    assert_eq!(package["license"]["kind"], "open-source");
    assert_eq!(
        owner.get("/api/home")["apps"].as_array().map(Vec::len),
        Some(0),
        "an upload is no installation"
    );
    let id = text(&package["packageId"]);
    owner.expect("POST", &format!("/api/packages/{id}/install"), None);
    let apps = owner.get("/api/home")["apps"].clone();
    assert_eq!(apps[0]["title"], "Guestbook");
    assert_eq!(owner.get(&format!("/api/packages/{id}"))["state"], "installed");
}

#[test]
fn bad_packages_are_refused_with_a_reason_and_leave_nothing() {
    let (server, owner) = Server::owned();
    let good = fs::read(built::sample("guestbook")).unwrap();
    let middle = good.len() / 2;
    let changed = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 0x40;
        bytes
    };
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("empty", Vec::new()),
        ("one byte", good[..1].to_vec()),
        ("cut after the magic", good[..8].to_vec()),
        ("cut in the middle", good[..middle].to_vec()),
        ("cut before the last byte", good[..good.len() - 1].to_vec()),
        ("wrong magic", changed(0)),
        ("not xz", changed(8)),
        ("changed in the middle", changed(middle)),
        ("trailing bytes", [good.as_slice(), b"more"].concat()),
        ("a text file", b"this is not a package\n".repeat(1000)),
        ("only zeros", vec![0; 1 << 20]),
    ];
    let before = stored(&server);
    for (what, bytes) in cases {
        let answer = owner.upload(&bytes);
        assert!(
            (400..500).contains(&answer.status),
            "{what}: {} {}",
            answer.status,
            answer.text()
        );
        let error = answer.json()["error"].clone();
        if !bytes.is_empty() {
            assert_eq!(error["code"], "bad-package", "{what}: {error}");
            assert!(error["reason"].is_string(), "{what}: {error}");
        }
        assert!(
            error["message"]
                .as_str()
                .is_some_and(|message| message.len() > 10),
            "{what}: {error}"
        );
    }
    assert_eq!(owner.get("/api/home")["apps"].as_array().map(Vec::len), Some(0));
    nothing_is_staged(&server);
    assert_eq!(stored(&server), before, "no package was kept");
    owner.install(&built::sample("guestbook"));
}

#[test]
fn a_package_that_could_never_run_is_refused() {
    let (_server, owner) = Server::owned();
    let mut missing = Recipe::hostile("exit");
    missing.argv = vec!["/no-such-program".to_owned()];
    let mut not_executable = Recipe::hostile("exit");
    not_executable.files.push((
        "data".to_owned(),
        Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"),
    ));
    not_executable.argv = vec!["/data".to_owned()];
    for (what, recipe) in [
        ("missing program", missing),
        ("program that is no program", not_executable),
    ] {
        let answer = owner.upload(&recipe.pack().bytes());
        assert!(
            (400..500).contains(&answer.status),
            "{what}: {} {}",
            answer.status,
            answer.text()
        );
        assert_eq!(answer.json()["error"]["code"], "bad-package", "{what}");
    }
}

#[test]
fn an_upload_broken_off_leaves_nothing() {
    let (server, owner) = Server::owned();
    let good = fs::read(built::sample("guestbook")).unwrap();
    let before = stored(&server);
    broken_upload(&server, &owner, &good[..good.len() / 2], good.len());
    nothing_is_staged(&server);
    assert_eq!(stored(&server), before);
    owner.install(&built::sample("guestbook"));
}

#[test]
fn an_upload_can_be_forgotten_and_an_app_in_use_cannot_be_removed() {
    let (server, owner) = Server::owned();
    let bytes = fs::read(built::sample("guestbook")).unwrap();
    let id = text(&owner.upload(&bytes).json()["packageId"]);
    assert!(!staged(&server).is_empty(), "the package waits in staging");
    owner.expect("DELETE", &format!("/api/packages/{id}"), None);
    assert_eq!(
        owner
            .send(Request::new("GET", &format!("/api/packages/{id}")))
            .status,
        404
    );
    nothing_is_staged(&server);
    assert!(stored(&server).is_empty());

    let grain = owner.grain_of(&built::sample("guestbook"));
    let refused = owner.change("DELETE", &format!("/api/packages/{id}"), None);
    assert_eq!(refused.status, 409, "{}", refused.text());
    assert_eq!(refused.json()["error"]["code"], "in-use");
    owner.expect("POST", &format!("/api/grains/{grain}/trash"), None);
    owner.expect("DELETE", &format!("/api/grains/{grain}"), None);
    owner.expect("DELETE", &format!("/api/packages/{id}"), None);
    assert_eq!(owner.get("/api/home")["apps"].as_array().map(Vec::len), Some(0));
}

/// Sends the head of an upload of `length` bytes, a part of it, and hangs up.
fn broken_upload(server: &Server, owner: &Owner, part: &[u8], length: usize) {
    use std::io::Write;
    let mut stream = std::net::TcpStream::connect(server.address()).unwrap();
    let head = format!(
        "POST /api/packages HTTP/1.1\r\nHost: {}\r\nX-Percloud: 1\r\nX-Upload-Id: broken\r\nContent-Type: application/octet-stream\r\n\
         Cookie: {}\r\nContent-Length: {length}\r\n\r\n",
        server.host(),
        owner.cookie()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(part).unwrap();
    wait::until("the upload to begin", || {
        (!staged(server).is_empty()).then_some(())
    });
    drop(stream);
}

/// Waits until nothing is on its way any more.
fn nothing_is_staged(server: &Server) {
    wait::until("the staging folder to be empty", || {
        staged(server).is_empty().then_some(())
    });
}

/// What is on its way, by name.
fn staged(server: &Server) -> Vec<String> {
    names(&server.data().join("staging"))
}

/// The packages that are kept, by name.
fn stored(server: &Server) -> Vec<String> {
    names(&server.data().join("packages"))
}

fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}
