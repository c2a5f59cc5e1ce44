//! From asking to holding: one grain asks, a person chooses, another grain provides; and what is held ends when it should.

use percloud_tests::http::Request;
use percloud_tests::owner::{Visit, text};
use percloud_tests::{Owner, Server, built};
use serde_json::{Value, json};

/// A packed descriptor: one tag, `ApiSession`, whatever its address (sheet section 9 shows the form).
const ANY_API: &str = "EAZQAQEAABEBF1EEAQH_x80lxnnjecgAAAA";
/// The same for whole grains: `UiView`.
const ANY_GRAIN: &str = "EAZQAQEAABEBF1EEAQH_5-Jn6pjXtNsAAAA";

/// Has the guestbook behind a visit do something with capabilities.
fn caps(visit: &Visit, what: &str) -> Value {
    let answer = visit.get(&format!("/caps/{what}"));
    assert_eq!(answer.status, 200, "{what}: {}", answer.text());
    answer.json()
}

fn page(visit: &Visit) -> String {
    visit.host.split('.').next().unwrap().to_owned()
}

/// Asks, as a page of `grain` does, and returns the request's id with what may be chosen.
fn ask(owner: &Owner, grain: &str, visit: &Visit, query: &str) -> (String, Value) {
    let body = json!({"page": page(visit), "query": [query], "label": "a book"});
    let asked = owner.expect("POST", &format!("/api/grains/{grain}/requests"), Some(body));
    let id = text(&asked["request"]);
    let choices = owner.get(&format!("/api/requests/{id}"));
    (id, choices)
}

/// Two guestbooks, both running, the second with its page open.
fn two_books(owner: &Owner) -> (String, String, Visit) {
    let app = owner.install(&built::sample("guestbook"));
    let (provider, asker) = (owner.create(&app), owner.create(&app));
    // The platform learns what an app provides once it has been shared or asked; sharing asks it.
    owner.get(&format!("/api/grains/{provider}/sharing"));
    let visit = owner.open(&asker);
    assert_eq!(visit.get("/").status, 200);
    (provider, asker, visit)
}

/// Has `provider` give its book to `asker`; returns the token the asking page got.
fn provide(owner: &Owner, provider: &str, asker: &str, visit: &Visit) -> String {
    let (id, choices) = ask(owner, asker, visit, ANY_API);
    let choice = choices["choices"]
        .as_array()
        .unwrap()
        .iter()
        .find(|choice| choice["id"] == json!(format!("from:{provider}")))
        .unwrap_or_else(|| panic!("the other book is on offer: {choices}"))
        .clone();
    let mut events = owner.events();
    let chosen = owner.expect(
        "POST",
        &format!("/api/requests/{id}/choose"),
        Some(json!({"choice": choice["id"]})),
    );
    let other = owner.visit(&chosen["open"]);
    assert_eq!(caps(&other, "fulfil?need=read"), json!({}));
    let answer = events.next("answer");
    assert_eq!(answer["request"], json!(id));
    assert!(answer["descriptor"].as_str().unwrap().len() > 20, "{answer}");
    text(&answer["token"])
}

#[test]
fn a_book_is_asked_for_chosen_claimed_kept_and_found_again() {
    let (mut server, owner) = Server::owned();
    let (provider, asker, visit) = two_books(&owner);
    let token = provide(&owner, &provider, &asker, &visit);

    let claimed = caps(&visit, &format!("claim?token={token}&need=read"));
    assert_eq!(claimed, json!({"held": 0}), "the claim works");
    assert_eq!(caps(&visit, "use?held=0"), json!({"entries": 0}));
    let again = caps(&visit, &format!("claim?token={token}&need=read"));
    assert!(again["error"].is_string(), "a claim works once: {again}");

    let other = owner.open(&provider);
    other.post_form("/", "name=Ada&message=Hello");
    assert_eq!(
        caps(&visit, "use?held=0"),
        json!({"entries": 1}),
        "it is the live book, not a copy"
    );

    let saved = caps(&visit, "save?held=0");
    let kept = text(&saved["token"]);
    assert_eq!(kept.len(), 43);
    let held = owner.get(&format!("/api/grains/{asker}/authority"));
    assert_eq!(held["held"].as_array().unwrap().len(), 1, "{held}");

    // Nobody else restores it: not even the grain whose book it is.
    let foreign = caps(&other, &format!("restore?token={kept}"));
    assert!(foreign["error"].is_string(), "{foreign}");

    server.kill_everything();
    server.run();
    let owner = Owner::sign_in(&server);
    let visit = owner.open(&asker);
    assert_eq!(caps(&visit, &format!("restore?token={kept}")), json!({"held": 0}));
    assert_eq!(caps(&visit, "use?held=0"), json!({"entries": 1}));

    // Its owner takes it away: what is alive dies, and it cannot be restored.
    let id = text(&owner.get(&format!("/api/grains/{asker}/authority"))["held"][0]["id"]);
    owner.expect("DELETE", &format!("/api/grains/{asker}/authority/{id}"), None);
    let gone = caps(&visit, "use?held=0");
    assert_eq!(gone["kind"], "Disconnected", "{gone}");
    assert!(caps(&visit, &format!("restore?token={kept}"))["error"].is_string());
}

#[test]
fn a_claim_is_for_the_session_that_asked() {
    let (_server, owner) = Server::owned();
    let (provider, asker, visit) = two_books(&owner);
    let token = provide(&owner, &provider, &asker, &visit);
    let other = owner.open(&asker);
    let stolen = caps(&other, &format!("claim?token={token}&need=read"));
    assert!(stolen["error"].is_string(), "{stolen}");
    let guessed = caps(&visit, &format!("claim?token={}&need=read", "A".repeat(43)));
    assert_eq!(
        stolen["error"], guessed["error"],
        "not yours and not there are one answer"
    );
    assert_eq!(
        caps(&visit, &format!("claim?token={token}&need=read")),
        json!({"held": 0})
    );
}

#[test]
fn what_a_person_gave_ends_when_they_lose_it() {
    let (server, ada) = Server::owned();
    let bela = ada.invite(&server, "Bela");
    let app = ada.install(&built::sample("guestbook"));
    let provider = ada.create(&app);
    ada.get(&format!("/api/grains/{provider}/sharing"));
    let (way, token) = ada.link(&provider, json!({"index": 1}));
    bela.expect("POST", "/api/links/accept", Some(json!({"token": token})));
    let app = bela.install(&built::sample("guestbook"));
    let asker = bela.create(&app);
    let visit = bela.open(&asker);
    assert_eq!(visit.get("/").status, 200);

    let token = provide(&bela, &provider, &asker, &visit);
    caps(&visit, &format!("claim?token={token}&need=read"));
    let kept = text(&caps(&visit, "save?held=0")["token"]);
    caps(&visit, &format!("restore?token={kept}"));
    for held in ["use?held=0", "use?held=1"] {
        assert_eq!(caps(&visit, held), json!({"entries": 0}));
    }
    // Ada takes Bela's access back: what Bela's grain got through it dies with it, alive or saved.
    ada.expect("DELETE", &format!("/api/grains/{provider}/shares/{way}"), None);
    for held in ["use?held=0", "use?held=1"] {
        assert_eq!(caps(&visit, held)["kind"], "Disconnected", "{held}");
    }
    assert!(caps(&visit, &format!("restore?token={kept}"))["error"].is_string());
}

#[test]
fn a_whole_grain_is_handed_over_and_shown_to_a_visitor() {
    let (server, ada) = Server::owned();
    let bela = ada.invite(&server, "Bela");
    let (member, collection, visit) = two_books(&ada);
    let (id, choices) = ask(&ada, &collection, &visit, ANY_GRAIN);
    let choice = json!(format!("grain:{member}"));
    let known = choices["choices"]
        .as_array()
        .unwrap()
        .iter()
        .find(|known| known["id"] == choice);
    assert_eq!(known.unwrap()["roles"].as_array().unwrap().len(), 2, "{choices}");
    let chosen = ada.expect(
        "POST",
        &format!("/api/requests/{id}/choose"),
        Some(json!({"choice": choice, "role": {"index": 1}})),
    );
    let token = text(&chosen["token"]);
    assert_eq!(
        caps(&visit, &format!("claim?token={token}&need=read")),
        json!({"held": 0})
    );
    let kept = text(&caps(&visit, "save?held=0")["token"]);
    // A grain cannot open sessions on what it holds: that is for people.
    assert!(caps(&visit, "use?held=0")["error"].is_string());

    // Bela visits the collection, which offers her the member: she may read it, as long as she may visit.
    let (way, token) = ada.link(&collection, json!({"index": 1}));
    bela.expect("POST", "/api/links/accept", Some(json!({"token": token})));
    assert_eq!(bela.try_open(&member, "/").status, 404);
    let hers = bela.open(&collection);
    assert_eq!(hers.get("/").status, 200);
    let held = caps(&hers, &format!("restore?token={kept}"))["held"].clone();
    let mut events = bela.events();
    assert_eq!(caps(&hers, &format!("offer?held={held}")), json!({}));
    assert_eq!(events.next("show")["grain"], json!(member));
    let seen = bela.open(&member).get("/whoami").json();
    assert_eq!(seen["permissions"], json!([true, false]), "{seen}");
    ada.expect("DELETE", &format!("/api/grains/{collection}/shares/{way}"), None);
    assert_eq!(
        bela.try_open(&member, "/").status,
        404,
        "it hung on the collection"
    );
}

#[test]
fn identities_stay_themselves_and_a_tie_ends_with_the_person() {
    let (server, ada) = Server::owned();
    let bela = ada.invite(&server, "Bela");
    let grain = ada.grain_of(&built::sample("guestbook"));
    ada.get(&format!("/api/grains/{grain}/sharing"));
    let (way, token) = ada.link(&grain, json!({"index": 0}));
    bela.expect("POST", "/api/links/accept", Some(json!({"token": token})));
    let (mine, hers) = (ada.open(&grain), bela.open(&grain));
    let id = |visit: &Visit| text(&caps(visit, "me")["id"]);
    assert_eq!(id(&mine), text(&mine.get("/whoami").json()["identityId"]));
    assert_ne!(id(&mine), id(&hers));
    let saved = caps(&hers, "save-me");
    assert_eq!(text(&saved["token"]).len(), 43, "{saved}");

    // What is tied to Bela works for Bela's time only, whoever uses it.
    let own = text(&caps(&hers, "save-own")["token"]);
    let held = caps(&hers, &format!("restore?token={own}"))["held"].clone();
    let tied = caps(&hers, &format!("tie?held={held}&need=read"))["held"].clone();
    assert_eq!(caps(&mine, &format!("use?held={tied}")), json!({"entries": 0}));
    ada.expect("DELETE", &format!("/api/grains/{grain}/shares/{way}"), None);
    assert_eq!(caps(&mine, &format!("use?held={tied}"))["kind"], "Disconnected");
    assert_eq!(
        caps(&mine, &format!("use?held={held}")),
        json!({"entries": 0}),
        "the object itself lives on"
    );
}

#[test]
fn nonsense_from_a_page_is_refused_and_nothing_breaks() {
    let (server, owner) = Server::owned();
    let (_, asker, visit) = two_books(&owner);
    let path = format!("/api/grains/{asker}/requests");
    let long = "A".repeat(60_000);
    for query in [
        json!(["!!!"]),
        json!(["AAAA"]),
        json!(["EAZQAQEAABEBF1EEAQH_x80lxnnjecg"]),
        json!([long]),
        json!(vec![ANY_API; 100]),
        json!([7]),
        json!("text"),
    ] {
        let body = json!({"page": page(&visit), "query": query});
        let answer = owner.change("POST", &path, Some(body));
        assert!(
            (400..500).contains(&answer.status),
            "{query}: {} {}",
            answer.status,
            answer.text()
        );
    }
    let foreign = json!({"page": "ui-00000000000000000000000000000000", "query": [ANY_API]});
    assert_eq!(
        owner.change("POST", &path, Some(foreign)).status,
        404,
        "a page that is none"
    );
    assert_eq!(
        owner
            .send(Request::new("GET", "/api/requests/2222222222222222222222"))
            .status,
        404
    );
    let (id, _) = ask(&owner, &asker, &visit, ANY_GRAIN);
    let stranger = owner.invite(&server, "Bela");
    assert_eq!(
        stranger
            .send(Request::new("GET", &format!("/api/requests/{id}")))
            .status,
        404
    );
    for choice in [
        "grain:x",
        "grain:2222222222222222222222",
        "from:x",
        "person:x",
        "nothing",
        "email:a@b",
    ] {
        let answer = owner.change(
            "POST",
            &format!("/api/requests/{id}/choose"),
            Some(json!({"choice": choice})),
        );
        assert_eq!(answer.status, 404, "{choice}: {}", answer.text());
    }
    assert_eq!(visit.get("/").status, 200);
}

#[test]
fn work_in_the_background_keeps_a_grain_awake_and_is_shown() {
    let (_server, owner) = Server::owned();
    let grain = owner.grain_of(&built::sample("guestbook"));
    let visit = owner.open(&grain);
    assert_eq!(caps(&visit, "awake"), json!({}));
    let shown = owner.get("/api/notifications");
    assert_eq!(shown["notifications"][0]["text"], "binding the book");
    assert_eq!(shown["notifications"][0]["ongoing"], true);
    assert_eq!(caps(&visit, "asleep"), json!({}));
    percloud_tests::wait::until("the notification to be gone", || {
        let shown = owner.get("/api/notifications");
        shown["notifications"]
            .as_array()
            .unwrap()
            .is_empty()
            .then_some(())
    });
    assert_eq!(caps(&visit, "schedule"), json!({}));
    let jobs = owner.get(&format!("/api/grains/{grain}/jobs"));
    assert_eq!(
        (&jobs["jobs"][0]["name"], &jobs["jobs"][0]["period"]),
        (&json!("tidy the shelf"), &json!("hourly"))
    );
}
