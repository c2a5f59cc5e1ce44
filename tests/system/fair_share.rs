//! Apps that take more than their share: each is held to it or stopped, its owner is told why, and everybody else goes on.

use std::time::Duration;

use percloud_tests::http::Request;
use percloud_tests::package::Recipe;
use percloud_tests::{Owner, Server, wait};
use serde_json::{Value, json};

/// How long an owner waits to be told of an app that keeps a processor busy: a minute, and what slow machines add.
const BUSY: Duration = Duration::from_secs(120);
/// The same for an app that says nothing while somebody waits for it: 45 s.
const SILENT: Duration = Duration::from_secs(90);

#[test]
fn a_fork_bomb_is_held_to_its_processes() {
    let scene = Scene::of("forks", json!({"processes": 40}));
    if scene.is_counted() {
        scene.owner_is_told("processes", wait::DEADLINE);
    }
    let used = scene.limits()["limits"]["processes"]["used"].clone();
    assert!(used.as_u64().is_none_or(|used| used <= 40), "{used}");
    scene.others_go_on();
}

#[test]
fn a_memory_hog_is_ended_and_its_page_says_why() {
    let scene = Scene::of("memory", json!({"memory": 64 << 20}));
    if scene.is_counted() {
        scene.owner_is_told("memory", wait::DEADLINE);
        let shown = scene.owner.await_state(&scene.offender, "failed");
        assert_eq!(shown["limit"], "memory", "{shown}");
        assert!(shown["problem"].as_str().unwrap().contains("memory"), "{shown}");
    }
    scene.others_go_on();
}

#[test]
fn who_fills_the_disk_is_stopped_and_may_read_and_delete() {
    let scene = Scene::of("disk", json!({"disk": 32 << 20}));
    scene.owner_is_told("disk", wait::DEADLINE);
    let shown = scene.owner.await_state(&scene.offender, "failed");
    assert_eq!(shown["limit"], "disk", "{shown}");
    scene.cannot_write_now("disk");
    // More room: it starts as others do, and fills that too, perhaps before anybody looks.
    let used = || {
        scene.limits()["limits"]["disk"]["used"]
            .as_u64()
            .expect("it was measured")
    };
    let before = used();
    let change = json!({"disk": before + (512 << 20)});
    scene.owner.expect("PATCH", &scene.path("/limits"), Some(change));
    wait::until("the grain to write more than it could before", || {
        scene.open_unheard();
        (used() > before + (128 << 20)).then_some(())
    });
    scene.others_go_on();
}

#[test]
fn who_makes_too_many_files_is_stopped() {
    let scene = Scene::of("files", json!({"files": 2000}));
    scene.owner_is_told("files", wait::DEADLINE);
    let shown = scene.owner.await_state(&scene.offender, "failed");
    assert_eq!(shown["limit"], "files", "{shown}");
    scene.cannot_write_now("files");
    scene.others_go_on();
}

#[test]
fn the_owner_of_a_log_flood_is_told() {
    let scene = Scene::of("flood", json!({}));
    scene.owner_is_told("log", wait::DEADLINE);
    scene.others_go_on();
}

#[test]
fn a_hoarder_of_descriptors_has_its_own_and_no_more() {
    let scene = Scene::of("descriptors", json!({}));
    scene.owner.await_log(&scene.offender, "files are open");
    // Without a control group, or before Linux 6.2, nobody can count them.
    let is_counted = std::fs::metadata("/proc/self/fd").is_ok_and(|folder| folder.len() > 0);
    if is_counted && scene.is_counted() {
        scene.owner_is_told("open-files", wait::DEADLINE);
    }
    scene.others_go_on();
}

#[test]
fn who_spins_comes_after_the_others_and_its_owner_is_told() {
    let scene = Scene::of("spin", json!({}));
    scene.owner.await_log(&scene.offender, "round and round");
    scene.others_go_on();
    if scene.is_counted() {
        scene.owner_is_told("processor", BUSY);
        assert!(scene.limits()["processor"].as_u64().unwrap() > 10_000);
    }
}

#[test]
fn a_flood_of_calls_holds_up_nobody_else() {
    let scene = Scene::of("calls", json!({}));
    scene.owner.await_log(&scene.offender, "asking and asking");
    scene.others_go_on();
    scene.owner_is_told("calls", wait::DEADLINE);
    let shown = scene.owner.await_state(&scene.offender, "failed");
    assert_eq!(shown["limit"], "calls", "{shown}");
}

#[test]
fn an_app_that_ignores_everything_is_stopped_when_asked() {
    let scene = Scene::of("deaf", json!({}));
    scene.owner.await_log(&scene.offender, "hearing nothing");
    let _waiting = scene.owner.open(&scene.offender).ask("/");
    scene.others_go_on();
    scene.owner_is_told("answers", SILENT);
    scene.owner.expect("POST", &scene.path("/trash"), None);
    assert_eq!(scene.owner.grain(&scene.offender)["state"], "asleep");
}

#[test]
fn limits_of_what_runs_change_at_once() {
    let scene = Scene::of("silent", json!({}));
    scene.owner.await_log(&scene.offender, "saying nothing");
    let change = json!({"memory": 100 << 20, "processes": 99});
    let changed = scene.owner.expect("PATCH", &scene.path("/limits"), Some(change));
    let groups = scene.is_counted();
    assert_eq!(changed["applies"], if groups { "now" } else { "next-start" });
    assert_eq!(changed["limits"]["processes"]["limit"], 99);
    // Others have nothing to see here, and nothing to change.
    let other = scene.owner.invite(&scene.server, "Bela");
    for method in ["GET", "PATCH"] {
        let body = (method == "PATCH").then(|| json!({"memory": 100 << 20}));
        assert_eq!(other.change(method, &scene.path("/limits"), body).status, 404);
    }
}

/// A server with a grain that is as it should be, and one that is not.
struct Scene {
    owner: Owner,
    good: String,
    offender: String,
    server: Server,
}

impl Scene {
    /// Starts the hostile app that behaves in this `way`, with these limits.
    fn of(way: &str, limits: Value) -> Self {
        let (server, owner) = Server::owned();
        let good = owner.grain_of(
            Recipe::of_program("Guestbook", "percloud-raw-app", &[])
                .pack()
                .path(),
        );
        let offender = owner.grain_of(Recipe::hostile(way).pack().path());
        let scene = Self {
            server,
            owner,
            good,
            offender,
        };
        scene.owner.expect("PATCH", &scene.path("/limits"), Some(limits));
        scene.open_unheard();
        scene
    }

    fn path(&self, rest: &str) -> String {
        format!("/api/grains/{}{rest}", self.offender)
    }

    /// Whether somebody counts what an app takes as a whole; without control groups nobody does.
    fn is_counted(&self) -> bool {
        !self.server.log().contains("no control group (")
    }

    fn limits(&self) -> Value {
        self.owner.get(&self.path("/limits"))
    }

    /// Opens the offender, which may never answer.
    fn open_unheard(&self) {
        let opened = self.owner.try_open(&self.offender, "/");
        assert_eq!(opened.status, 200, "{}", opened.text());
    }

    fn owner_is_told(&self, limit: &str, patience: Duration) {
        let told = wait::within(patience, || {
            let notices = self.owner.get("/api/notifications");
            let notices = notices["notifications"].as_array().expect("a list").clone();
            notices
                .into_iter()
                .find(|notice| notice["grain"] == self.offender.as_str() && notice["limit"] == limit)
        });
        let told = told.unwrap_or_else(|| {
            panic!(
                "nobody was told of {limit}: {}\n{}\n{}",
                self.limits(),
                self.owner.grain(&self.offender),
                self.server.log()
            )
        });
        assert!(!told["text"].as_str().unwrap().is_empty());
        let met = self.limits()["met"].clone();
        assert!(
            met.as_array().unwrap().iter().any(|met| met["limit"] == limit),
            "{met}"
        );
    }

    /// A new start of the offender can write nothing.
    fn cannot_write_now(&self, limit: &str) {
        self.open_unheard();
        self.owner.await_log(&self.offender, "refused: Permission denied");
        let grain = self.owner.grain(&self.offender);
        assert_eq!(grain["limit"], limit, "{grain}");
    }

    /// Signing in and a grain of somebody else's.
    fn others_go_on(&self) {
        let other = Owner::sign_in(&self.server);
        let visit = other.open(&self.good);
        assert_eq!(visit.send(Request::new("GET", "/")).status, 200);
        self.owner
            .expect("POST", &format!("/api/grains/{}/restart", self.good), None);
        assert_eq!(self.owner.open(&self.good).get("/").status, 200);
        assert!(self.server.broker().is_running());
    }
}
