//! Apps that misbehave towards us: each fails alone, visibly, and everything else goes on.

use percloud_tests::package::Recipe;
use percloud_tests::{Owner, Server, built, wait};

#[test]
fn an_app_that_exits_at_once_is_a_failed_grain() {
    fails_alone("exit", "leaving at once");
}

#[test]
fn an_app_that_crashes_is_a_failed_grain() {
    fails_alone("crash", "");
}

#[test]
fn garbage_on_the_connection_is_a_failed_grain() {
    fails_alone("garbage", "talking nonsense");
}

#[test]
fn a_message_without_end_is_a_failed_grain() {
    fails_alone("huge", "announcing a giant");
}

#[test]
fn hanging_up_is_a_failed_grain() {
    fails_alone("hang-up", "hanging up");
}

#[test]
fn an_app_that_never_speaks_holds_up_nobody_else() {
    let (server, owner) = Server::owned();
    let silent = owner.grain_of(Recipe::hostile("silent").pack().path());
    let opening = {
        let (owner, silent) = (owner.clone(), silent.clone());
        std::thread::spawn(move || {
            owner
                .attempt_visit(&silent)
                .map(|visit| visit.try_send(percloud_tests::http::Request::new("GET", "/")))
        })
    };
    owner.await_log(&silent, "saying nothing");
    well_behaved_grain_works(&owner);
    // Ending the grain ends whoever waits for it.
    owner.expect("POST", &format!("/api/grains/{silent}/trash"), None);
    let _ = opening.join().expect("the waiting request ends");
    owner.expect("DELETE", &format!("/api/grains/{silent}"), None);
    drop(server);
}

#[test]
fn a_flood_of_log_lines_fills_neither_disk_nor_memory() {
    let (server, owner) = Server::owned();
    let flood = owner.grain_of(Recipe::hostile("flood").pack().path());
    let opening = {
        let (owner, flood) = (owner.clone(), flood.clone());
        std::thread::spawn(move || {
            owner
                .attempt_visit(&flood)
                .map(|visit| visit.try_send(percloud_tests::http::Request::new("GET", "/")))
        })
    };
    owner.await_log(&flood, "xxxxxxxx");
    well_behaved_grain_works(&owner);
    let size = folder_size(&server.data().join("grains").join(&flood));
    assert!(size < 16 << 20, "the log has grown to {size} bytes");
    owner.expect("POST", &format!("/api/grains/{flood}/trash"), None);
    let _ = opening.join().expect("the waiting request ends");
}

/// Opens a grain of the hostile app, expects an error and the state `failed`, and that a good grain works beside it.
fn fails_alone(way: &str, says: &str) {
    let (server, owner) = Server::owned();
    let grain = owner.grain_of(Recipe::hostile(way).pack().path());
    let answered = owner.attempt_visit(&grain).and_then(|visit| {
        visit
            .try_send(percloud_tests::http::Request::new("GET", "/"))
            .ok()
    });
    if let Some(answer) = answered {
        assert!(answer.status >= 500, "{way}: {} {}", answer.status, answer.text());
    }
    let shown = wait::until(&format!("the grain that does `{way}` to end"), || {
        Some(owner.grain(&grain)).filter(|grain| grain["state"] == "failed" || grain["state"] == "asleep")
    });
    assert!(
        shown["problem"].is_string() || shown["state"] == "asleep",
        "{shown}"
    );
    if !says.is_empty() {
        owner.await_log(&grain, says);
    }
    well_behaved_grain_works(&owner);
    assert!(server.broker().is_running());
}

fn well_behaved_grain_works(owner: &Owner) {
    let grain = owner.grain_of(&built::sample("guestbook"));
    assert_eq!(owner.open(&grain).get("/").status, 200);
}

fn folder_size(folder: &std::path::Path) -> u64 {
    let mut pending = vec![folder.to_path_buf()];
    let mut size = 0;
    while let Some(folder) = pending.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                pending.push(entry.path())
            } else {
                size += metadata.len()
            }
        }
    }
    size
}
