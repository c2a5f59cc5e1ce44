//! Kill anything, start again, and find the data.

use std::path::Path;

use percloud_tests::http::Request;
use percloud_tests::owner::change;
use percloud_tests::{Owner, Server, built, wait};

use crate::lifecycle::sign;

#[test]
fn everything_killed_at_once_comes_back_with_its_data() {
    let (mut server, owner) = Server::owned();
    let grain = owner.grain_of(&built::sample("guestbook"));
    sign(&owner, &grain, "written before the end");
    server.kill_everything();

    server.run();
    let owner = Owner::sign_in(&server);
    let home = owner.get("/api/home");
    assert_eq!(home["apps"][0]["title"], "Guestbook");
    assert_eq!(home["grains"][0]["id"], grain.as_str());
    assert!(
        owner
            .open(&grain)
            .get("/")
            .text()
            .contains("written before the end")
    );
}

#[test]
fn with_the_broker_everything_begins_anew_and_people_only_wait() {
    let (server, owner) = Server::owned();
    let grain = owner.grain_of(&built::sample("guestbook"));
    sign(&owner, &grain, "kept over the end of the broker");
    assert!(
        server.processes().len() >= 7,
        "parent, broker, edge, egress, launcher, grain host and app: {:?}",
        server.processes()
    );
    let parent = server.parent();
    for _ in 0..2 {
        server.kill_the_broker();
        assert_eq!(server.parent(), parent);
        // Signed in as before, at the same address.
        let page = owner.open(&grain).get("/").text();
        assert!(page.contains("kept over the end of the broker"), "{page}");
    }
}

#[test]
fn with_the_parent_everything_ends() {
    let (mut server, owner) = Server::owned();
    let grain = owner.grain_of(&built::sample("guestbook"));
    assert_eq!(owner.open(&grain).get("/").status, 200);
    let parent = server.parent();
    server.kill_and_expect_the_end(parent);
    server.run();
    assert_eq!(Owner::sign_in(&server).open(&grain).get("/").status, 200);
}

#[test]
fn who_stops_a_server_that_begins_anew_has_it_stopped() {
    let (mut server, _owner) = Server::owned();
    for _ in 0..2 {
        server.kill_the_broker();
    }
    // The next pause is the third, and long enough to be met.
    let broker = server.broker();
    broker.kill();
    let collected = || (!Path::new(&format!("/proc/{}", broker.pid)).exists()).then_some(());
    wait::until("the broker to be collected", collected);
    assert!(server.stop(), "it exits with 0");
    server.run();
    Owner::sign_in(&server);
}

#[test]
fn a_server_whose_disk_has_gone_ends_and_makes_no_other_store() {
    let (mut server, owner) = Server::owned();
    let grain = owner.grain_of(&built::sample("guestbook"));
    let store = server.data().join("store");
    let aside = server.data().join("store-aside");
    std::fs::rename(&store, &aside).unwrap();
    // What is in the place of a disk that is not mounted.
    std::fs::create_dir(&store).unwrap();
    let broker = server.broker();
    server.kill_and_expect_the_end(broker);
    let said = server.log();
    assert_eq!(said.matches("cannot open the store /").count(), 6, "{said}");
    assert!(said.contains("everything ends"), "{said}");
    std::fs::remove_dir(&store).expect("it is as empty as before");
    std::fs::rename(&aside, &store).unwrap();
    server.run();
    assert_eq!(Owner::sign_in(&server).grain(&grain)["id"], grain.as_str());
}

#[test]
fn a_store_that_has_failed_is_opened_anew_once_its_disk_takes_writes() {
    let (server, owner) = Server::owned();
    let grain = owner.grain_of(&built::sample("guestbook"));
    sign(&owner, &grain, "before the disk failed");
    let broker = server.broker();
    let store = server.data().join("store");
    let aside = server.data().join("store-aside");
    std::fs::rename(&store, &aside).unwrap();
    let invite = || owner.attempt(change("POST", "/api/invitations").body("application/json", "{}"));
    let refused = invite().expect("it answers");
    assert_eq!(refused.status, 503);
    assert_eq!(refused.json()["error"]["code"], "store-failed");
    assert_eq!(hears(&owner, "store-failed"), Some(true));
    // It is not made anew, empty, in the place of the one that is missing, and people can read on.
    std::fs::create_dir(&store).unwrap();
    wait::until("the disk to be tried", || {
        server.log().contains("cannot be opened again yet").then_some(())
    });
    assert!(broker.is_running());
    assert_eq!(owner.get("/api/home")["grains"][0]["id"], grain.as_str());

    std::fs::remove_dir(&store).unwrap();
    std::fs::rename(&aside, &store).unwrap();
    wait::until("the store to be opened anew", || {
        (!broker.is_running()).then_some(())
    });
    wait::until("something to be saved", || {
        invite().filter(|answer| answer.status == 201)
    });
    assert_eq!(hears(&owner, "store-failed"), Some(false));
    let page = owner.open(&grain).get("/").text();
    assert!(page.contains("before the disk failed"), "{page}");
}

#[test]
fn a_clean_stop_leaves_no_process_and_no_socket() {
    let (mut server, owner) = Server::owned();
    let grain = owner.grain_of(&built::sample("guestbook"));
    assert_eq!(owner.open(&grain).get("/").status, 200);
    assert!(server.stop(), "it exits with 0");
    assert_eq!(
        sockets_below(&server.folder().join("run")),
        Vec::<std::path::PathBuf>::new()
    );
    server.run();
    assert_eq!(Owner::sign_in(&server).open(&grain).get("/").status, 200);
}

#[test]
fn who_opens_a_grain_while_the_launcher_is_replaced_only_waits() {
    let (server, owner) = Server::owned();
    let grain = owner.grain_of(&built::sample("guestbook"));
    for _ in 0..3 {
        let launcher = server.role("launcher");
        launcher.kill();
        wait::until("the launcher to end", || (!launcher.is_running()).then_some(()));
        assert_eq!(owner.open(&grain).get("/").status, 200);
    }
}

#[test]
fn who_runs_the_server_hears_of_a_part_that_ends_again_and_again() {
    let (server, owner) = Server::owned();
    let other = owner.invite(&server, "Bela");
    // The edge comes late: while it is down nobody can be asked. With the broker the others are forgotten.
    for (role, code) in [
        ("egress", "egress-fails"),
        ("launcher", "launcher-fails"),
        ("edge", "edge-fails"),
        ("broker", "broker-fails"),
    ] {
        assert_eq!(hears(&owner, code), Some(false));
        wait::until(code, || {
            let heard = hears(&owner, code)?;
            if let Some(process) = server.try_role(role).filter(|_| !heard) {
                process.kill();
            }
            heard.then_some(())
        });
        let others = wait::until("the server to answer", || hears(&other, code));
        assert!(!others, "who does not run the server can do nothing about it");
    }
}

/// Whether somebody is told of this when they come home; `None` while nobody answers.
fn hears(who: &Owner, code: &str) -> Option<bool> {
    let home = Request::new("GET", "/api/home");
    let answer = who.attempt(home).filter(|answer| answer.status == 200)?;
    let home = answer.json();
    let warnings = home["warnings"].as_array().expect("a list");
    Some(warnings.iter().any(|warning| warning["code"] == code))
}

#[test]
fn data_may_lie_behind_links() {
    let (mut server, owner) = Server::owned();
    let grain = owner.grain_of(&built::sample("guestbook"));
    sign(&owner, &grain, "moved to another disk");
    assert!(server.stop());
    let elsewhere = server.folder().join("an ünusual place");
    std::fs::rename(server.data(), &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, server.data()).unwrap();
    std::fs::rename(server.folder().join("run"), server.folder().join("sockets")).unwrap();
    std::os::unix::fs::symlink("sockets", server.folder().join("run")).unwrap();
    let large = server.folder().join("large");
    std::fs::rename(elsewhere.join("grains"), &large).unwrap();
    std::os::unix::fs::symlink(&large, elsewhere.join("grains")).unwrap();

    server.run();
    let owner = Owner::sign_in(&server);
    let copy = owner.grain_of(&built::sample("guestbook"));
    assert_eq!(owner.open(&copy).get("/").status, 200);
    let page = owner.open(&grain).get("/").text();
    assert!(page.contains("moved to another disk"), "{page}");
}

#[test]
fn any_single_process_may_die_and_the_server_goes_on() {
    let (server, owner) = Server::owned();
    let grain = owner.grain_of(&built::sample("guestbook"));
    sign(&owner, &grain, "still here");
    let (parent, broker) = (server.parent(), server.broker());
    for process in server
        .processes()
        .into_iter()
        .filter(|process| ![parent, broker].contains(process))
    {
        // One death may have taken others with it.
        if !process.is_running() {
            continue;
        }
        process.kill();
        wait::until("the server to answer again", || {
            let answer = Request::new("GET", "/api/settings").send(server.address(), server.host());
            answer.ok().filter(|answer| answer.status == 200)
        });
        wait::until("the grain to open again", || {
            let answer = owner_opens(&owner, &grain)?;
            answer.contains("still here").then_some(())
        });
    }
    assert!(broker.is_running());
}

#[test]
fn a_damaged_store_is_reported_and_not_made_worse() {
    let (mut server, _owner) = Server::owned();
    assert!(server.stop());
    let store = server.data().join("store");
    assert!(store.is_dir(), "the store is in {}", store.display());
    std::fs::rename(&store, server.data().join("store-aside")).unwrap();
    std::fs::write(&store, "this is no store").unwrap();
    let said = server.run_expecting_failure();
    assert!(said.contains("store"), "{said}");
    assert_eq!(std::fs::read_to_string(&store).unwrap(), "this is no store");
    std::fs::remove_file(&store).unwrap();
    std::fs::rename(server.data().join("store-aside"), &store).unwrap();
    server.run();
    Owner::sign_in(&server);
}

/// Everything below `folder` that is no folder itself.
fn sockets_below(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut pending = vec![folder.to_path_buf()];
    let mut found = Vec::new();
    while let Some(folder) = pending.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                pending.push(path)
            } else {
                found.push(path)
            }
        }
    }
    found
}

/// Opens the grain and reads its page, where any step may fail just now.
fn owner_opens(owner: &Owner, grain: &str) -> Option<String> {
    let page = owner
        .attempt_visit(grain)?
        .try_send(Request::new("GET", "/"))
        .ok()?;
    (page.status == 200).then(|| page.text())
}
