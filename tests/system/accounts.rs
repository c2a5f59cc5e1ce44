//! Who gets in.

use percloud_tests::http::Request;
use percloud_tests::owner::{HANDLE, PASSWORD, change};
use percloud_tests::{Owner, Server};
use serde_json::json;

#[test]
fn the_setup_secret_works_once() {
    let server = Server::start();
    let account = |secret: &str| {
        let body = json!({"secret": secret, "name": "Ada", "handle": HANDLE, "password": PASSWORD});
        server.send(&change("POST", "/api/setup").body("application/json", body.to_string()))
    };
    let wrong = account(&"0".repeat(server.secret().len()));
    assert_eq!(wrong.status, 403, "{}", wrong.text());
    assert_eq!(wrong.json()["error"]["code"], "wrong-secret");
    let secret = server.secret().to_owned();
    assert_eq!(account(&secret).status, 201);
    let again = account(&secret);
    assert!(again.status >= 400, "{}", again.text());
    assert_eq!(again.json()["error"]["code"], "already-set-up");
}

#[test]
fn a_stranger_sees_that_there_is_a_server_and_nothing_else() {
    let (server, owner) = Server::owned();
    let grain = owner.grain_of(&percloud_tests::built::sample("guestbook"));
    assert_eq!(server.send(&Request::new("GET", "/api/settings")).status, 200);
    let paths = [
        "/api/me".to_owned(),
        "/api/home".to_owned(),
        "/api/events".to_owned(),
        format!("/api/grains/{grain}"),
        format!("/api/grains/{grain}/log"),
    ];
    for path in paths {
        let answer = server.send(&Request::new("GET", &path));
        assert_eq!(answer.status, 401, "{path}: {}", answer.text());
        assert_eq!(answer.json()["error"]["code"], "signed-out", "{path}");
    }
    let open =
        server.send(&change("POST", &format!("/api/grains/{grain}/open")).body("application/json", "{}"));
    assert_eq!(open.status, 401);
}

#[test]
fn a_wrong_password_is_refused_and_guessing_is_slowed_down() {
    let (server, _owner) = Server::owned();
    let attempt = |password: &str| {
        let body = json!({"handle": HANDLE, "password": password});
        server.send(&change("POST", "/api/session").body("application/json", body.to_string()))
    };
    let wrong = attempt("not it");
    assert!(wrong.status >= 400);
    assert_eq!(wrong.json()["error"]["code"], "wrong-credentials");
    let slowed = (0..40)
        .map(|number| attempt(&format!("guess {number}")))
        .find(|answer| answer.status == 429);
    let slowed = slowed.expect("forty wrong passwords in a row are slowed down");
    assert_eq!(slowed.json()["error"]["code"], "too-many-attempts");
    assert!(
        slowed.json()["error"]["retryAfter"]
            .as_u64()
            .is_some_and(|seconds| seconds > 0)
    );
}

#[test]
fn signing_out_ends_the_session() {
    let (server, owner) = Server::owned();
    assert_eq!(owner.get("/api/me")["handle"], HANDLE);
    owner.expect("DELETE", "/api/session", None);
    let answer = owner.send(Request::new("GET", "/api/me"));
    assert_eq!(answer.status, 401);
    assert_eq!(Owner::sign_in(&server).get("/api/me")["handle"], HANDLE);
}

#[test]
fn a_foreign_page_cannot_change_anything() {
    let (_server, owner) = Server::owned();
    let foreign = change("DELETE", "/api/session").header("Origin", "http://evil.example");
    let answer = owner.send(foreign);
    assert_eq!(answer.status, 403, "{}", answer.text());
    assert_eq!(answer.json()["error"]["code"], "cross-site");
    let unmarked = owner.send(Request::new("DELETE", "/api/session"));
    assert_eq!(unmarked.status, 403);
    assert_eq!(owner.get("/api/me")["handle"], HANDLE, "the session still stands");
}

#[test]
fn the_password_is_nowhere_in_the_data_folder() {
    let (mut server, _owner) = Server::owned();
    assert!(server.stop(), "it stops cleanly");
    let mut pending = vec![server.data()];
    let mut looked_at = 0;
    while let Some(folder) = pending.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                pending.push(path);
            } else if path.is_file() {
                let bytes = std::fs::read(&path).unwrap();
                let found = bytes
                    .windows(PASSWORD.len())
                    .any(|window| window == PASSWORD.as_bytes());
                assert!(!found, "the password is in {}", path.display());
                looked_at += 1;
            }
        }
    }
    assert!(looked_at > 0);
}
