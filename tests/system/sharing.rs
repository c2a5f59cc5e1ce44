//! Sharing between people, and taking it back while they are in the middle of something.

use std::time::{Duration, Instant};

use percloud_tests::http::{Exchange, Request};
use percloud_tests::owner::{Visit, change, text};
use percloud_tests::{Owner, Server, built};
use serde_json::{Value, json};

/// How long a new call may still work after taking back was acknowledged (threat model, P4).
const NEW_CALL: Duration = Duration::from_secs(1);
/// How long an open stream or socket may.
const OPEN_STREAM: Duration = Duration::from_secs(5);

fn role(index: u32) -> Value {
    json!({ "index": index })
}

fn who_am_i(visit: &Visit) -> Value {
    let answer = visit.get("/whoami");
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// Follows a link without an account.
fn follow(server: &Server, token: &str) -> percloud_tests::http::Response {
    server.send(
        &change("POST", "/api/links/open").body("application/json", json!({"token": token}).to_string()),
    )
}

/// A WebSocket, opened and answering.
fn socket(visit: &Visit) -> Exchange {
    let origin = format!("http://{}", visit.host);
    let request = Request::new("GET", "/echo")
        .header("Origin", origin)
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
    let exchange = visit.start(request).expect("the socket opens");
    assert_eq!(exchange.head.status, 101);
    exchange
}

/// How long until nothing comes any more.
fn until_cut(mut exchange: Exchange, limit: Duration) -> Duration {
    let begun = Instant::now();
    exchange.patience(limit).expect("a time limit can be set");
    while let Ok(Some(_)) = exchange.piece() {
        assert!(begun.elapsed() < limit, "it still flows after {limit:?}");
    }
    assert!(
        begun.elapsed() < limit,
        "nothing came for {limit:?}, but nobody cut it either"
    );
    begun.elapsed()
}

#[test]
fn two_people_share_use_downgrade_and_take_back() {
    let (server, ada) = Server::owned();
    let bela = ada.invite(&server, "Bela");
    let grain = ada.grain_of(&built::sample("guestbook"));

    // Nothing of it exists for Bela before.
    for path in ["", "/sharing", "/log", "/devices", "/history"] {
        let path = format!("/api/grains/{grain}{path}");
        assert_eq!(bela.send(Request::new("GET", &path)).status, 404, "{path}");
    }
    let sharing = ada.get(&format!("/api/grains/{grain}/sharing"));
    assert_eq!(sharing["roles"][0]["can"], "can write into the book");

    let (way, token) = ada.link(&grain, role(0));
    let looked = server.send(
        &change("POST", "/api/links/look").body("application/json", json!({"token": token}).to_string()),
    );
    assert_eq!(looked.json()["by"], "Ada Lovelace");
    let taken = bela.expect("POST", "/api/links/accept", Some(json!({"token": token})));
    assert_eq!(
        (&taken["mine"], &taken["owner"]),
        (&json!(false), &json!("Ada Lovelace"))
    );
    let visit = bela.open(&grain);
    let seen = who_am_i(&visit);
    assert_eq!(
        (&seen["displayName"], &seen["permissions"]),
        (&json!("Bela"), &json!([true, true]))
    );
    let owners = who_am_i(&ada.open(&grain));
    assert_ne!(seen["identityId"], owners["identityId"]);

    // A smaller role ends the page that held the larger one, at once; the next one holds less.
    let cut = socket(&visit);
    ada.expect(
        "PATCH",
        &format!("/api/grains/{grain}/shares/{way}"),
        Some(json!({"role": role(1)})),
    );
    assert!(visit.get("/whoami").status >= 400, "the old page is gone");
    until_cut(cut, OPEN_STREAM);
    let visit = bela.open(&grain);
    assert_eq!(who_am_i(&visit)["permissions"], json!([true, false]));

    let cut = socket(&visit);
    ada.expect("DELETE", &format!("/api/grains/{grain}/shares/{way}"), None);
    assert!(visit.get("/whoami").status >= 400);
    until_cut(cut, OPEN_STREAM);
    assert_eq!(bela.try_open(&grain, "/").status, 404);
    assert_eq!(follow(&server, &token).status, 404);
    let home = bela.get("/api/home");
    assert!(home["grains"].as_array().unwrap().is_empty(), "{home}");
    let history = ada.get(&format!("/api/grains/{grain}/history"));
    assert_eq!(history["intact"], true);
    assert!(history["entries"].as_array().unwrap().len() >= 4, "{history}");
}

#[test]
fn a_stranger_comes_by_a_link_and_leaves_with_it() {
    let (server, ada) = Server::owned();
    let grain = ada.grain_of(&built::sample("guestbook"));
    let (way, token) = ada.link(&grain, role(1));
    let opened = follow(&server, &token);
    assert_eq!(opened.status, 200, "{}", opened.text());
    let visit = ada.visit(&opened.json());
    let seen = who_am_i(&visit);
    assert_eq!(
        (&seen["displayName"], &seen["permissions"], &seen["identityId"]),
        (&json!("Anonymous User"), &json!([true, false]), &Value::Null)
    );
    let endless = visit.start(Request::new("GET", "/endless")).unwrap();
    ada.expect("DELETE", &format!("/api/grains/{grain}/shares/{way}"), None);
    assert!(visit.get("/").status >= 400);
    until_cut(endless, OPEN_STREAM);
}

#[test]
fn what_was_taken_back_stays_so_after_everything_is_killed() {
    let (mut server, ada) = Server::owned();
    let grain = ada.grain_of(&built::sample("guestbook"));
    let (gone, old) = ada.link(&grain, role(0));
    let (_, kept) = ada.link(&grain, role(1));
    ada.expect("DELETE", &format!("/api/grains/{grain}/shares/{gone}"), None);
    server.kill_everything();
    server.run();
    assert_eq!(follow(&server, &old).status, 404, "revoked before the crash");
    assert_eq!(follow(&server, &kept).status, 200, "links survive a restart");
    let ada = Owner::sign_in(&server);
    let ways = ada.get(&format!("/api/grains/{grain}/sharing"))["ways"].clone();
    assert_eq!(ways.as_array().unwrap().len(), 1, "{ways}");
    assert_eq!(ada.get(&format!("/api/grains/{grain}/history"))["intact"], true);
}

#[test]
fn no_token_is_ever_on_disk_or_in_a_log() {
    let (server, ada) = Server::owned();
    let grain = ada.grain_of(&built::sample("guestbook"));
    let (_, token) = ada.link(&grain, role(0));
    let device = ada.expect(
        "POST",
        &format!("/api/grains/{grain}/devices"),
        Some(json!({"label": "phone"})),
    );
    let password = text(&device["password"]);
    assert_eq!(follow(&server, &token).status, 200);
    let mut looked_at = 0;
    let mut folders = vec![server.folder().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                let bytes = std::fs::read(entry.path()).unwrap_or_default();
                looked_at += 1;
                for secret in [&token, &password] {
                    let found = bytes
                        .windows(secret.len())
                        .any(|window| window == secret.as_bytes());
                    assert!(!found, "a token is in {}", entry.path().display());
                }
            }
        }
    }
    assert!(looked_at > 5, "the server's folder was searched");
}

#[test]
fn a_device_password_works_for_one_grain_until_it_is_removed() {
    let (server, ada) = Server::owned();
    let grain = ada.grain_of(&built::sample("guestbook"));
    let made = ada.expect(
        "POST",
        &format!("/api/grains/{grain}/devices"),
        Some(json!({"label": "phone"})),
    );
    let (password, url) = (text(&made["password"]), text(&made["url"]));
    let host = url.trim_start_matches("http://").trim_end_matches('/').to_owned();
    let ask = |authorization: &str| {
        Request::new("GET", "/whoami")
            .header("Authorization", authorization)
            .send(server.address(), &host)
            .unwrap()
    };
    let basic = |user: &str, password: &str| {
        use base64::Engine;
        format!(
            "Basic {}",
            base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"))
        )
    };
    let answer = ask(&basic("anybody", &password));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["displayName"], "Ada Lovelace");
    assert_eq!(ask(&format!("Bearer {password}")).status, 200);
    let wrong = ask(&basic("anybody", &password[1..]));
    assert_eq!(wrong.status, 401);
    assert!(wrong.header("www-authenticate").unwrap().starts_with("Basic"));
    let devices = ada.get(&format!("/api/grains/{grain}/devices"));
    assert!(devices["devices"][0]["lastUsed"].is_u64(), "{devices}");
    let id = text(&devices["devices"][0]["id"]);
    ada.expect("DELETE", &format!("/api/grains/{grain}/devices/{id}"), None);
    assert_eq!(ask(&basic("anybody", &password)).status, 401);
}

#[test]
fn revocation_bites_within_the_promised_time() {
    let (server, ada) = Server::owned();
    let grain = ada.grain_of(&built::sample("guestbook"));
    let mut calls = Vec::new();
    let mut streams = Vec::new();
    for _ in 0..20 {
        let (way, token) = ada.link(&grain, role(0));
        let visit = ada.visit(&follow(&server, &token).json());
        assert_eq!(visit.get("/").status, 200);
        let cut = socket(&visit);
        let begun = Instant::now();
        ada.expect("DELETE", &format!("/api/grains/{grain}/shares/{way}"), None);
        while visit
            .try_send(Request::new("GET", "/small"))
            .is_ok_and(|answer| answer.status == 200)
        {
            assert!(begun.elapsed() < NEW_CALL, "a new call still works");
        }
        calls.push(begun.elapsed());
        until_cut(cut, OPEN_STREAM);
        streams.push(begun.elapsed());
    }
    calls.sort();
    streams.sort();
    println!(
        "revocation: new calls refused within {:?}, streams cut within {:?} (worst of 20)",
        calls[19], streams[19]
    );
}

#[test]
fn the_owner_gets_in_however_many_were_taken_back_before() {
    let (server, ada) = Server::owned();
    let grain = ada.grain_of(&built::sample("guestbook"));
    // More than a grain's door takes at a time.
    for _ in 0..70 {
        let (way, token) = ada.link(&grain, role(0));
        let opened = follow(&server, &token);
        assert_eq!(opened.status, 200, "{}", opened.text());
        assert_eq!(ada.visit(&opened.json()).get("/small").status, 200);
        ada.expect("DELETE", &format!("/api/grains/{grain}/shares/{way}"), None);
    }
    assert_eq!(ada.open(&grain).get("/small").status, 200);
}
