//! A grain as a file: taken away, brought back, copied; without any authority.

use percloud_tests::http::Request;
use percloud_tests::owner::{change, text};
use percloud_tests::{Server, built};
use serde_json::json;

#[test]
fn a_backup_of_a_running_grain_comes_back_with_its_data_and_without_its_powers() {
    let (server, owner) = Server::owned();
    let grain = owner.grain_of(&built::sample("guestbook"));
    let visit = owner.open(&grain);
    visit.post_form("/", "name=Ada&message=Remember");
    let who = visit.get("/whoami").json()["identityId"].clone();
    owner.link(&grain, json!({"index": 0}));
    let kept = text(&visit.get("/caps/save-own").json()["token"]);

    let archive = owner.send(Request::new("GET", &format!("/api/grains/{grain}/backup")));
    assert_eq!(archive.status, 200, "{}", archive.text());
    assert!(archive.header("content-disposition").unwrap().contains(".zip"));
    assert_eq!(&archive.body[..4], b"PK\x03\x04");
    assert_eq!(visit.get("/").status, 200, "it goes on where it was");

    let upload = |bytes: &[u8]| {
        owner.send(
            change("POST", "/api/backups")
                .header("X-Upload-Id", "back")
                .body("application/zip", bytes),
        )
    };
    let restored = upload(&archive.body);
    assert_eq!(restored.status, 201, "{}", restored.text());
    let copy = text(&restored.json()["id"]);
    assert_ne!(copy, grain);
    let visit = owner.open(&copy);
    assert!(visit.get("/").text().contains("Remember"));
    assert_eq!(
        visit.get("/whoami").json()["identityId"],
        who,
        "the app knows its owner again"
    );
    assert!(
        visit.get(&format!("/caps/restore?token={kept}")).json()["error"].is_string(),
        "no authority came along"
    );
    let sharing = owner.get(&format!("/api/grains/{copy}/sharing"));
    assert_eq!(sharing["ways"], json!([]));

    for (bytes, what) in [
        (&archive.body[..archive.body.len() / 2], "cut off"),
        (b"PK nonsense".as_slice(), "no archive"),
        (b"".as_slice(), "nothing"),
    ] {
        let refused = upload(bytes);
        assert!(
            (400..500).contains(&refused.status),
            "{what}: {} {}",
            refused.status,
            refused.text()
        );
    }
    let stranger = owner.invite(&server, "Bela");
    assert_eq!(
        stranger
            .send(Request::new("GET", &format!("/api/grains/{grain}/backup")))
            .status,
        404
    );
    let foreign = stranger.send(
        change("POST", "/api/backups")
            .header("X-Upload-Id", "back")
            .body("application/zip", archive.body.clone()),
    );
    assert_eq!(foreign.json()["error"]["code"], "app-missing");
}

#[test]
fn a_copy_is_another_grain() {
    let (_server, owner) = Server::owned();
    let grain = owner.grain_of(&built::sample("guestbook"));
    let visit = owner.open(&grain);
    visit.post_form("/", "name=Ada&message=First");
    let copy = owner.expect("POST", &format!("/api/grains/{grain}/duplicate"), None);
    assert!(text(&copy["title"]).starts_with("Copy of"), "{copy}");
    let other = owner.open(&text(&copy["id"]));
    other.post_form("/", "name=Ada&message=Second");
    assert!(!visit.get("/").text().contains("Second"));
    assert!(other.get("/").text().contains("First"));
}
