//! Children that wait to become grain hosts: an app cannot tell, and nobody pays but in time if they are lost.

#![allow(clippy::disallowed_methods, reason = "tests start programs")]

#[path = "support/launched.rs"]
#[allow(dead_code, reason = "each test file uses its part")]
mod launched;
mod support;

use std::io::Read;

use launched::{Launcher, ended, mark};
use percloud_sandbox::{Policy, SandboxSpec};
use rustix::process::{Pid, Signal, kill_process};
use support::*;

/// Processes whose parent is `parent`, without the one that looks at what apps take.
fn children(parent: i32) -> Vec<i32> {
    let of = |entry: std::fs::DirEntry| {
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        let status = std::fs::read_to_string(entry.path().join("status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
        let is_host = !status.starts_with("Name:\tbackground\n");
        (is_host && line.trim().parse() == Ok(parent)).then_some(pid)
    };
    std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(of)
        .collect()
}

/// Waits until both that are kept are there, and the first of them has said that it is ready: they are made one by one.
fn waiting(launcher: &Launcher) -> Vec<i32> {
    let launcher = launcher.process.id() as i32;
    eventually("two children wait with a sandbox each", || {
        let hosts = children(launcher);
        hosts.len() == 2 && hosts.iter().all(|host| !children(*host).is_empty())
    });
    children(launcher)
}

/// What an app says that is started in a sandbox made ahead.
fn from_pool(launcher: &mut Launcher, spec: SandboxSpec) -> String {
    let waited = waiting(launcher);
    let (host, mut output) = launcher.grain(spec);
    assert!(waited.contains(&host.pid), "it was not one of those that waited");
    let mut text = String::new();
    output.read_to_string(&mut text).unwrap();
    ended(&host);
    text
}

#[test]
fn an_app_cannot_tell_that_its_sandbox_waited() {
    for &starter in Starter::all() {
        for policy in [Policy::Sandstorm, Policy::Native] {
            for loopback in [false, true] {
                let place = Place::new();
                let mut launcher = Launcher::start(&place, starter);
                let mut spec = place.spec(&["probe"]);
                (spec.policy, spec.loopback) = (policy, loopback);
                let run = place.run(starter, &spec);
                assert_eq!(run.error, None);
                assert!(run.outcomes().len() > 50, "{}", run.output);
                let waited = from_pool(&mut launcher, spec);
                let differ = run.output.lines().zip(waited.lines()).filter(|(a, b)| a != b);
                assert_eq!(
                    differ.collect::<Vec<_>>(),
                    [],
                    "{starter:?} {policy:?} {loopback}: from nothing, and from the pool"
                );
                assert_eq!(run.output.lines().count(), waited.lines().count());
            }
        }
    }
}

#[test]
fn what_does_not_fit_is_made_anew() {
    for &starter in Starter::all() {
        let place = Place::new();
        let mut launcher = Launcher::start(&place, starter);
        let mut spec = place.spec(&["fill"]);
        spec.limits.tmp_bytes = 1 << 20;
        let run = place.run(starter, &spec);
        assert_eq!(from_pool(&mut launcher, spec), run.output, "{starter:?}");

        let mut spec = place.spec(&["byte"]);
        spec.argv[0] = "/missing".to_owned();
        let said = from_pool(&mut launcher, spec);
        assert!(said.starts_with("error: cannot execute /missing"), "{said}");
    }
}

#[test]
fn a_sandbox_that_waited_keeps_the_limits_of_its_order() {
    for &starter in Starter::all() {
        let place = Place::new();
        let mut launcher = Launcher::start(&place, starter);
        let mut spec = place.spec(&["forks"]);
        spec.limits.pids = 40;
        assert_eq!(
            from_pool(&mut launcher, spec),
            "forks: 39 EAGAIN\n",
            "{starter:?}"
        );

        let mut spec = place.spec(&["memory"]);
        spec.limits.memory = 64 << 20;
        let run = place.run(starter, &spec);
        assert_eq!(from_pool(&mut launcher, spec), run.output, "{starter:?}");
    }
}

#[test]
fn those_that_wait_are_replaced_when_they_are_lost() {
    for &starter in Starter::all() {
        let place = Place::new();
        let mut launcher = Launcher::start(&place, starter);
        // The sandboxes first, which only their hosts miss; then hosts.
        for host in waiting(&launcher) {
            for app in children(host) {
                kill_process(Pid::from_raw(app).unwrap(), Signal::KILL).unwrap();
            }
        }
        let (host, mut output) = launcher.grain(place.spec(&["byte"]));
        let mut text = String::new();
        output.read_to_string(&mut text).unwrap();
        assert_eq!(text, "!\n", "{starter:?}: its sandbox was dead");
        ended(&host);

        // Nobody need ask for what is lost to be noticed.
        let bereft = waiting(&launcher);
        for app in bereft.iter().flat_map(|host| children(*host)) {
            kill_process(Pid::from_raw(app).unwrap(), Signal::KILL).unwrap();
        }
        eventually("others wait in their place", || {
            waiting(&launcher).iter().all(|host| !bereft.contains(host))
        });

        let lost = waiting(&launcher);
        for &host in &lost {
            kill_process(Pid::from_raw(host).unwrap(), Signal::KILL).unwrap();
        }
        launcher.lives();
        assert_eq!(
            from_pool(&mut launcher, place.spec(&["byte"])),
            "!\n",
            "{starter:?}"
        );
    }
}

#[test]
fn those_lost_in_the_making_are_made_again() {
    let place = Place::new();
    let mut launcher = Launcher::start(&place, Starter::Us);
    // As soon as they are there, which is before they are ready. Both may be lost each time, and each loss doubles the pause.
    for _ in 0..3 {
        eventually("a sandbox is being made", || {
            let hosts = children(launcher.process.id() as i32);
            let apps: Vec<i32> = hosts.iter().flat_map(|host| children(*host)).collect();
            for &app in &apps {
                // One that has ended meanwhile is no other's number yet: its host has not collected it.
                let _ = kill_process(Pid::from_raw(app).unwrap(), Signal::KILL);
            }
            !apps.is_empty()
        });
    }
    // Nobody asks, and they come back.
    waiting(&launcher);
    assert_eq!(from_pool(&mut launcher, place.spec(&["byte"])), "!\n");
}

#[test]
fn many_at_once_are_all_served() {
    let place = Place::new();
    let mut launcher = Launcher::start(&place, Starter::Us);
    waiting(&launcher);
    let started: Vec<_> = (0..20).map(|_| launcher.grain(place.spec(&["byte"]))).collect();
    for (host, mut output) in started {
        let mut text = String::new();
        output.read_to_string(&mut text).unwrap();
        assert_eq!(text, "!\n");
        ended(&host);
    }
    waiting(&launcher);
}

#[test]
fn those_that_wait_end_with_the_launcher() {
    for &starter in Starter::all() {
        let place = Place::new();
        let mut launcher = Launcher::start(&place, starter);
        let pid = launcher.process.id();
        let hosts = waiting(&launcher);
        let apps: Vec<i32> = hosts.iter().flat_map(|host| children(*host)).collect();
        assert_eq!(apps.len(), 2);
        launcher.process.0.kill().unwrap();
        launcher.process.0.wait().unwrap();
        eventually("hosts and sandboxes are gone", || {
            let alive = |pid: &i32| std::path::Path::new(&format!("/proc/{pid}")).exists();
            !hosts.iter().chain(&apps).any(alive)
        });
        // The next launcher of this machine clears away what a killed one could not.
        let next = Launcher::start(&place, starter);
        eventually("so are their groups", || groups_of(pid).is_empty());
        drop(next);
        eventually("and who came after", || processes_with(&mark(&place)).is_empty());
    }
}
