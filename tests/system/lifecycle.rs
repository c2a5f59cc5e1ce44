//! A grain's life: made, renamed, restarted, thrown away, found again, gone.

use percloud_tests::owner::change;
use percloud_tests::{Owner, Server, built};
use serde_json::json;

#[test]
fn a_grain_is_made_renamed_thrown_away_restored_and_deleted() {
    let (server, owner) = Server::owned();
    let grain = owner.grain_of(&built::sample("guestbook"));
    let path = format!("/api/grains/{grain}");
    let visit = owner.open(&grain);
    assert_eq!(visit.get("/").status, 200);

    assert_eq!(
        owner.expect("PATCH", &path, Some(json!({"title": "Summer guests"})))["title"],
        "Summer guests"
    );
    assert_eq!(owner.grain(&grain)["title"], "Summer guests");

    let early = owner.change("DELETE", &path, None);
    assert!(
        (400..500).contains(&early.status),
        "only the trash can be emptied: {}",
        early.status
    );

    owner.expect("POST", &format!("{path}/trash"), None);
    assert!(owner.grain(&grain)["trashed"].is_number());
    let refused = owner.try_open(&grain, "/");
    assert_eq!(refused.json()["error"]["code"], "in-trash");
    let cut_off = visit.try_send(percloud_tests::http::Request::new("GET", "/"));
    assert!(
        cut_off.is_err() || cut_off.is_ok_and(|answer| answer.status >= 400),
        "an open visit ends with the grain"
    );

    owner.expect("POST", &format!("{path}/restore"), None);
    assert!(owner.grain(&grain)["trashed"].is_null());
    assert_eq!(owner.open(&grain).get("/").status, 200);

    let folder = server.data().join("grains").join(&grain);
    assert!(folder.is_dir(), "{} holds its data", folder.display());
    owner.expect("POST", &format!("{path}/trash"), None);
    owner.expect("DELETE", &path, None);
    assert_eq!(
        owner
            .send(percloud_tests::http::Request::new("GET", &path))
            .status,
        404
    );
    percloud_tests::wait::until("the grain's files to go", || (!folder.exists()).then_some(()));
}

#[test]
fn a_restart_keeps_what_was_written() {
    let (_server, owner) = Server::owned();
    let grain = owner.grain_of(&built::sample("guestbook"));
    sign(&owner, &grain, "before the restart");
    owner.expect("POST", &format!("/api/grains/{grain}/restart"), None);
    let page = owner.open(&grain).get("/");
    assert!(page.text().contains("before the restart"), "{}", page.text());
}

#[test]
fn two_grains_of_one_app_know_nothing_of_each_other() {
    let (_server, owner) = Server::owned();
    let app = owner.install(&built::sample("guestbook"));
    let (one, other) = (owner.create(&app), owner.create(&app));
    sign(&owner, &one, "only in the first");
    assert!(owner.open(&one).get("/").text().contains("only in the first"));
    assert!(!owner.open(&other).get("/").text().contains("only in the first"));
}

#[test]
fn titles_are_taken_as_text_and_bounded() {
    let (_server, owner) = Server::owned();
    let grain = owner.grain_of(&built::sample("guestbook"));
    let path = format!("/api/grains/{grain}");
    let markup = "<script>alert(1)</script> \u{202e} \"quoted\"";
    owner.expect("PATCH", &path, Some(json!({ "title": markup })));
    let shown = owner.grain(&grain)["title"].as_str().unwrap().to_owned();
    assert!(shown.contains("<script>"), "text stays text: {shown}");
    let long = owner.change("PATCH", &path, Some(json!({"title": "x".repeat(60_000)})));
    assert!(
        long.status >= 400 || owner.grain(&grain)["title"].as_str().unwrap().len() < 5_000,
        "titles have an end"
    );
    let nonsense = owner.send(change("PATCH", &path).body("application/json", "{\"title\": 7"));
    assert_eq!(nonsense.status, 400, "{}", nonsense.text());
}

/// Writes in a guestbook.
pub fn sign(owner: &Owner, grain: &str, words: &str) {
    let visit = owner.open(grain);
    let answer = visit.post_form("/", &format!("name=Ada&message={}", words.replace(' ', "+")));
    assert!(
        matches!(answer.status, 200..=399),
        "{} {}",
        answer.status,
        answer.text()
    );
}
