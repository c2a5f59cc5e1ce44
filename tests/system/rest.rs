//! Apps that have nothing to do stand still, and nobody who wants something of them notices.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use percloud_tests::http::Request;
use percloud_tests::process::Process;
use percloud_tests::{Owner, Server, built, wait};

/// Rests after a second in which nothing was wanted, or six while a page is open.
const ARGUMENTS: [&str; 2] = ["--rest", "1"];

/// The groups that are frozen of the server's apps, and the apps' processes.
struct Apps {
    groups: BTreeSet<PathBuf>,
    processes: Vec<Process>,
}

/// The apps that run. `None` where there is no hierarchy in which anything could be frozen.
fn apps(server: &Server) -> Option<Apps> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let mount = mounts
        .lines()
        .find(|line| line.split(' ').nth(2) == Some("cgroup2"));
    let Some(mount) = mount.and_then(|line| line.split(' ').nth(1)) else {
        eprintln!("NOT TESTED: no control groups of version 2");
        return None;
    };
    let mut apps = Apps {
        groups: BTreeSet::new(),
        processes: Vec::new(),
    };
    for process in server.processes() {
        // Not the sandboxes that wait for an app: they go by their maker's name.
        if process.arguments().get(1).is_some_and(|role| role == "launcher") {
            continue;
        }
        let text = fs::read_to_string(format!("/proc/{}/cgroup", process.pid)).unwrap_or_default();
        let group = text.lines().find_map(|line| line.strip_prefix("0::"));
        if let Some(group) = group.filter(|group| group.ends_with("/app")) {
            apps.groups.insert(PathBuf::from(format!("{mount}{group}")));
            apps.processes.push(process);
        }
    }
    if apps.groups.is_empty() {
        eprintln!("NOT TESTED: apps are in no control group of version 2");
        return None;
    }
    Some(apps)
}

impl Apps {
    fn stand_still(&self) -> bool {
        self.groups.iter().all(|group| {
            let events = fs::read_to_string(group.join("cgroup.events")).unwrap_or_default();
            events.lines().any(|line| line == "frozen 1")
        })
    }

    fn rest(&self) {
        wait::until("the apps to stand still", || self.stand_still().then_some(()));
    }
}

fn resting() -> Option<(Server, Owner, String, Apps)> {
    let server = Server::start_with(&ARGUMENTS);
    let owner = Owner::set_up(&server);
    let grain = owner.grain_of(&built::sample("guestbook"));
    assert_eq!(owner.open(&grain).get("/").status, 200);
    let apps = apps(&server)?;
    apps.rest();
    Some((server, owner, grain, apps))
}

#[test]
fn an_app_at_rest_answers_as_if_it_had_never_stood_still() {
    let Some((_server, owner, grain, apps)) = resting() else {
        return;
    };
    let visit = owner.open(&grain);
    for _ in 0..3 {
        apps.rest();
        assert_eq!(visit.get("/").status, 200);
        let answer = visit.post_form("/", "name=Ada&message=still+here");
        assert!(matches!(answer.status, 200..=399), "{}", answer.status);
    }
    apps.rest();
    assert!(owner.open(&grain).get("/").text().contains("still here"));
    // The same app all the time.
    assert!(apps.processes.iter().all(Process::is_running));
}

#[test]
fn an_app_with_a_socket_or_a_download_open_does_not_rest() {
    let Some((_server, owner, grain, apps)) = resting() else {
        return;
    };
    let visit = owner.open(&grain);
    let mut download = visit
        .start(Request::new("GET", "/download?bytes=100000000"))
        .unwrap();
    assert!(download.piece().unwrap().is_some());
    // Many times as long as it would need: not to wait for something, but to give it the chance to go wrong.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(8) {
        assert!(!apps.stand_still());
        sleep(Duration::from_millis(100));
    }
    drop(download);
    apps.rest();
}

#[test]
fn an_app_at_rest_is_restarted_thrown_away_and_backed_up_like_any_other() {
    let Some((server, owner, grain, before)) = resting() else {
        return;
    };
    let path = format!("/api/grains/{grain}");
    let backup = owner.send(Request::new("GET", &format!("{path}/backup")));
    assert_eq!(backup.status, 200, "{}", backup.text());
    assert!(backup.body.starts_with(b"PK"), "a backup is a zip");
    assert!(before.stand_still(), "its backup does not wake it");

    owner.expect("POST", &format!("{path}/restart"), None);
    assert_eq!(owner.open(&grain).get("/").status, 200);
    wait::until("the first app to be gone", || {
        before.processes.iter().all(|app| !app.is_running()).then_some(())
    });
    let second = apps(&server).unwrap();
    second.rest();
    owner.expect("POST", &format!("{path}/trash"), None);
    wait::until("the second to be gone", || {
        second.processes.iter().all(|app| !app.is_running()).then_some(())
    });
}

#[test]
fn what_stands_still_dies_with_whoever_is_killed_and_leaves_nothing() {
    let Some((mut server, owner, grain, first)) = resting() else {
        return;
    };
    // Its host: what its app's first process was started by.
    let mut killed = BTreeSet::new();
    for process in &first.processes {
        let status = fs::read_to_string(format!("/proc/{}/status", process.pid)).unwrap();
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
        killed.extend(Process::find(parent.unwrap().trim().parse().unwrap()));
    }
    killed
        .difference(&first.processes.iter().copied().collect())
        .for_each(Process::kill);
    wait::until("the app to go with its host", || {
        first.processes.iter().all(|app| !app.is_running()).then_some(())
    });
    assert_eq!(owner.open(&grain).get("/").status, 200, "and comes back");
    let second = apps(&server).unwrap();
    second.rest();
    server.kill_everything();
    assert!(second.processes.iter().all(|app| !app.is_running()));
    // The next server clears up when it starts, and whenever something ends: at its start those that were killed may not
    // have been collected yet.
    server.run();
    let owner = Owner::sign_in(&server);
    wait::until("the next server to clear up", || {
        owner.expect("POST", &format!("/api/grains/{grain}/restart"), None);
        second.groups.iter().all(|group| !group.exists()).then_some(())
    });
}
