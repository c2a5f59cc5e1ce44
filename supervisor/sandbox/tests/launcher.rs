//! The launcher as its client sees it: what it forks, what it survives, and that everything ends with it.

#![allow(clippy::disallowed_methods, reason = "tests start programs")]

#[path = "support/launched.rs"]
mod launched;
mod support;

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use launched::{Launcher, ended, mark};
use percloud_sandbox::launcher::{Client, Kind, LaunchError, MAX_MESSAGE, Started};
use percloud_sandbox::process::spawn_role;
use serde_json::{Value, json};
use support::*;

#[test]
fn a_grain_runs_and_ends_under_the_launcher() {
    for &starter in Starter::all() {
        let place = Place::new();
        let mut launcher = Launcher::start(&place, starter);
        let (started, mut output) = launcher.grain(place.spec(&["byte"]));
        let mut text = String::new();
        output.read_to_string(&mut text).unwrap();
        assert_eq!(text, "!\n", "{starter:?}");
        ended(&started);
    }
}

#[test]
fn children_hold_nothing_of_the_launcher_and_of_other_requests() {
    let place = Place::new();
    let mut launcher = Launcher::start(&place, Starter::Us);
    let (_other, _pipe) = launcher.work(json!({"wait": true}));
    let open = launcher.report(json!({"descriptors": true}));
    let sockets = open.lines().filter(|line| line.contains("socket:")).count();
    assert_eq!(sockets, 0, "the control socket is not theirs:\n{open}");
    let pipes = open
        .lines()
        .filter(|line| line.contains("pipe:") && !line.starts_with(['1', '2']))
        .count();
    assert_eq!(pipes, 1, "only the pipe of the request:\n{open}");
}

#[test]
fn the_launcher_survives_what_its_children_do() {
    let place = Place::new();
    let mut launcher = Launcher::start(&place, Starter::Us);
    for job in [json!({"exit": 7}), json!({"panic": true})] {
        let (started, _reader) = launcher.work(job);
        ended(&started);
        launcher.lives();
    }
    let mut spec = place.spec(&["byte"]);
    spec.argv[0] = "/missing".to_owned();
    let (started, mut output) = launcher.grain(spec);
    let mut text = String::new();
    output.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("error: cannot execute /missing"), "{text}");
    ended(&started);
    launcher.lives();
}

#[test]
fn a_request_it_does_not_understand_is_answered() {
    let place = Place::new();
    let mut launcher = Launcher::start(&place, Starter::Us);
    for garbage in [
        "",
        "null",
        "{\"gr",
        "{\"unknown\":{}}",
        "{\"worker\":{\"job\":1,\"more\":2}}",
    ] {
        launcher
            .socket
            .write_all(&(garbage.len() as u32).to_le_bytes())
            .unwrap();
        launcher.socket.write_all(garbage.as_bytes()).unwrap();
        let mut length = [0; 4];
        launcher.socket.read_exact(&mut length).unwrap();
        let mut reply = vec![0; u32::from_le_bytes(length) as usize];
        launcher.socket.read_exact(&mut reply).unwrap();
        let reply: Value = serde_json::from_slice(&reply).unwrap();
        assert!(
            reply["failed"]["error"]
                .as_str()
                .unwrap()
                .contains("not understood"),
            "{reply}"
        );
    }
    launcher.lives();
}

#[test]
fn a_message_that_is_none_ends_it_and_its_children() {
    for garbage in [(MAX_MESSAGE as u32 + 1).to_le_bytes(), [0xff; 4]] {
        let place = Place::new();
        let mut launcher = Launcher::start(&place, Starter::Us);
        let (started, mut reader) = launcher.work(json!({"wait": true}));
        read_ready(&mut reader);
        launcher.socket.write_all(&garbage).unwrap();
        ended(&started);
        assert_eq!(launcher.process.0.wait().unwrap().code(), Some(1));
        let gone = launcher.client.request(&Kind::Worker { job: Value::Null }, &[]);
        assert!(matches!(gone, Err(LaunchError::Gone)), "{gone:?}");
    }
}

#[test]
fn too_much_is_refused_before_it_is_sent() {
    let place = Place::new();
    let mut launcher = Launcher::start(&place, Starter::Us);
    let long = Kind::Worker {
        job: Value::String("x".repeat(MAX_MESSAGE)),
    };
    assert!(matches!(
        launcher.client.request(&long, &[]),
        Err(LaunchError::Wire(_))
    ));
    let fds = [launcher.socket.as_fd(); 17];
    let many = launcher.client.request(&Kind::Worker { job: Value::Null }, &fds);
    assert!(matches!(many, Err(LaunchError::Wire(_))));
    launcher.lives();
}

#[test]
fn a_large_request_arrives_whole() {
    let place = Place::new();
    let mut launcher = Launcher::start(&place, Starter::Us);
    let report = launcher.report(json!({"descriptors": true, "ballast": "x".repeat(MAX_MESSAGE - 100)}));
    assert!(report.contains("pipe:"), "{report}");
}

#[test]
fn everything_ends_when_the_broker_is_gone() {
    for &starter in Starter::all() {
        let place = Place::new();
        let Launcher {
            mut process,
            socket,
            mut client,
        } = Launcher::start(&place, starter);
        let (reader, writer) = std::io::pipe().unwrap();
        let spec = place.spec(&["family", &mark(&place)]);
        let kind = Kind::Grain {
            sandbox: Box::new(spec),
            host: Value::Null,
        };
        let host = client.request(&kind, &[writer.as_fd()]).unwrap();
        let (waiting, job_writer) = std::io::pipe().unwrap();
        let job = Kind::Worker {
            job: json!({"wait": true}),
        };
        let worker = client.request(&job, &[job_writer.as_fd()]).unwrap();
        read_ready(&mut { reader });
        read_ready(&mut { waiting });
        drop((socket, client));
        assert_eq!(process.0.wait().unwrap().code(), Some(0));
        ended(&host);
        ended(&worker);
        eventually("every process of the app is gone", || {
            processes_with(&mark(&place)).is_empty()
        });
    }
}

#[test]
fn everything_ends_when_the_launcher_is_killed() {
    for &starter in Starter::all() {
        let place = Place::new();
        let mut launcher = Launcher::start(&place, starter);
        let (host, mut output) = launcher.grain(place.spec(&["family", &mark(&place)]));
        read_ready(&mut output);
        let pid = launcher.process.id();
        let Launcher { process, .. } = launcher;
        drop(process);
        ended(&host);
        eventually("every process of the app is gone", || {
            processes_with(&mark(&place)).is_empty()
        });
        // What it could not remove any more, the next one does.
        let next = Launcher::start(&place, starter);
        eventually("its control groups are gone", || groups_of(pid).is_empty());
        drop(next);
    }
}

#[test]
fn a_killed_host_takes_its_app_and_its_group_along() {
    for &starter in Starter::all() {
        let place = Place::new();
        let mut launcher = Launcher::start(&place, starter);
        let (host, mut output) = launcher.grain(place.spec(&["family", &mark(&place)]));
        read_ready(&mut output);
        rustix::process::pidfd_send_signal(&host.pidfd, rustix::process::Signal::KILL).unwrap();
        ended(&host);
        eventually("every process of the app is gone", || {
            processes_with(&mark(&place)).is_empty()
        });
        let named = format!("{}-", host.pid);
        eventually("its control group is gone", || {
            let bases = groups_of(launcher.process.id());
            let mut groups = bases
                .iter()
                .flat_map(|base| std::fs::read_dir(base).unwrap().flatten());
            groups.all(|group| !group.file_name().to_string_lossy().starts_with(&named))
        });
        launcher.lives();
    }
}

#[test]
fn every_running_app_is_a_user_of_its_own_where_the_server_is_root() {
    for &starter in Starter::all() {
        let places = [(); 4].map(|()| Place::new());
        let mut launcher = Launcher::start(&places[0], starter);
        let mut hosts = Vec::new();
        for place in &places {
            let (host, mut output) = launcher.grain(place.spec(&["family", &mark(place)]));
            read_ready(&mut output);
            hosts.push((host, output));
        }
        let users: Vec<u32> = places
            .iter()
            .map(|place| {
                let app = processes_with(&mark(place))[0];
                let status = std::fs::read_to_string(format!("/proc/{app}/status")).unwrap();
                let of = |field: &str| {
                    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
                    let ids: Vec<u32> = line.split_whitespace().map(|id| id.parse().unwrap()).collect();
                    assert!(ids.iter().all(|id| *id == ids[0]), "{line}");
                    ids[0]
                };
                assert_eq!(of("Uid:"), of("Gid:"));
                of("Uid:")
            })
            .collect();
        if starter == Starter::Nobody || !rustix::process::geteuid().is_root() {
            assert!(users.iter().all(|user| *user == users[0]), "{users:?}");
        } else {
            let different: std::collections::BTreeSet<_> = users.iter().collect();
            assert_eq!(different.len(), places.len(), "{users:?}");
            assert!(users.iter().all(|user| *user >= 1_879_081_192), "{users:?}");
        }
        for (host, _) in &hosts {
            rustix::process::pidfd_send_signal(&host.pidfd, rustix::process::Signal::KILL).unwrap();
            ended(host);
        }
        launcher.lives();
    }
}

#[test]
fn a_confined_worker_reaches_its_files_and_nothing_else() {
    for &starter in Starter::all() {
        let place = Place::new();
        std::fs::write(place.path("input"), b"bytes").unwrap();
        let mut launcher = Launcher::start(&place, starter);
        let job = json!({"confined": {"read": [place.path("input")], "write": [place.path("var")]}});
        let report = launcher.report(job);
        let denied = "permission denied";
        let expected = [
            ("read", "ok"),
            ("change what is read", denied),
            ("write", "ok"),
            ("make directories", "ok"),
            ("link", "ok"),
            ("rename", "ok"),
            ("read through the link", denied),
            ("read /etc/passwd", denied),
            ("read /proc", denied),
            ("write /tmp", denied),
            ("socket", denied),
            ("unix socket", denied),
            ("thread", denied),
            ("signal the launcher", denied),
        ];
        for (line, (name, outcome)) in report.lines().zip(expected) {
            assert_eq!(line, format!("{name}: {outcome}"), "{starter:?}:\n{report}");
        }
        // SIGXFSZ ends it where it writes more than its bound, so there is no line for that.
        assert_eq!(report.lines().count(), expected.len(), "{starter:?}:\n{report}");
        assert_eq!(std::fs::metadata(place.path("var/big")).unwrap().len(), 1 << 20);
        launcher.lives();
    }
}

#[test]
fn a_confined_host_keeps_its_grain_and_the_power_over_its_app() {
    for &starter in Starter::all() {
        let place = Place::new();
        let mut launcher = Launcher::start(&place, starter);
        let (mut reader, writer) = std::io::pipe().unwrap();
        let sandbox = Box::new(place.spec(&["family", &mark(&place)]));
        let kind = Kind::Grain {
            sandbox,
            host: json!({"confine": true}),
        };
        let host = launcher.client.request(&kind, &[writer.as_fd()]).unwrap();
        drop(writer);
        let mut report = String::new();
        reader.read_to_string(&mut report).unwrap();
        ended(&host);
        let expected = "\
            write its grain: ok\n\
            listen in its grain: permission denied\n\
            read the package: permission denied\n\
            read /etc/passwd: permission denied\n\
            write /tmp: permission denied\n\
            run a program: permission denied\n\
            thread: ok\n\
            socket: no such family\n\
            signal the launcher: permission denied\n\
            read the log: ok\n\
            kill the app: ok\n\
            reap the app: ok\n";
        assert_eq!(report, expected, "{starter:?}");
        assert_eq!(processes_with(&mark(&place)), [0; 0]);
    }
}

/// What the app `tick` has written, as it is now.
fn ticks(place: &Place) -> Vec<(std::ffi::OsString, String)> {
    let mut found: Vec<_> = std::fs::read_dir(place.path("var"))
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name(), std::fs::read_to_string(entry.path()).unwrap()))
        .collect();
    found.sort();
    found
}

fn stands_still(place: &Place) -> bool {
    let before = ticks(place);
    // Not to wait for something, but to give it the chance to go wrong.
    std::thread::sleep(std::time::Duration::from_millis(100));
    before == ticks(place)
}

impl Launcher {
    /// Holds the app of `host` still; returns what says so and what ends it.
    fn freeze(&mut self, host: &Started) -> (Started, std::io::PipeReader, std::io::PipeWriter) {
        let (reader, writer) = std::io::pipe().unwrap();
        let (hold, release) = std::io::pipe().unwrap();
        let job = json!({"freeze": host.pid});
        let kind = Kind::Worker { job };
        let started = self
            .client
            .request(&kind, &[writer.as_fd(), hold.as_fd()])
            .unwrap();
        (started, reader, release)
    }
}

#[test]
fn an_app_stands_still_while_it_is_held_and_goes_on_after() {
    for &starter in Starter::all() {
        let place = Place::new();
        let mut launcher = Launcher::start(&place, starter);
        let (host, mut output) = launcher.grain(place.spec(&["tick", &mark(&place)]));
        read_ready(&mut output);
        let (holder, mut said, release) = launcher.freeze(&host);
        let has_group = !groups_of(launcher.process.id()).is_empty();
        if !has_group {
            let mut text = String::new();
            said.read_to_string(&mut text).unwrap();
            assert!(text.starts_with("error: there is no control group"), "{text}");
            ended(&holder);
            continue;
        }
        read_ready(&mut said);
        assert!(stands_still(&place), "{starter:?}");
        drop(release);
        ended(&holder);
        eventually("it goes on", || !stands_still(&place));

        // Again, and this time the holder is killed: what it held is let go all the same.
        let (holder, mut said, _release) = launcher.freeze(&host);
        read_ready(&mut said);
        assert!(stands_still(&place), "{starter:?}");
        rustix::process::pidfd_send_signal(&holder.pidfd, rustix::process::Signal::KILL).unwrap();
        ended(&holder);
        eventually("it goes on", || !stands_still(&place));

        // A host that is killed takes an app along that stands still.
        let (_holder, mut said, release) = launcher.freeze(&host);
        read_ready(&mut said);
        rustix::process::pidfd_send_signal(&host.pidfd, rustix::process::Signal::KILL).unwrap();
        ended(&host);
        drop(release);
        eventually("every process of the app is gone", || {
            processes_with(&mark(&place)).is_empty()
        });
        let pid = launcher.process.id();
        drop((launcher.client, launcher.socket));
        assert_eq!(launcher.process.0.wait().unwrap().code(), Some(0));
        assert_eq!(groups_of(pid), Vec::<std::path::PathBuf>::new());
    }
}

#[test]
fn what_a_killed_launcher_held_still_is_let_go_by_the_next() {
    let place = Place::new();
    let mut launcher = Launcher::start(&place, Starter::Us);
    let (host, mut output) = launcher.grain(place.spec(&["tick", &mark(&place)]));
    read_ready(&mut output);
    let pid = launcher.process.id();
    if groups_of(pid).is_empty() {
        return;
    }
    let (_holder, mut said, _release) = launcher.freeze(&host);
    read_ready(&mut said);
    let Launcher { process, .. } = launcher;
    drop(process);
    ended(&host);
    eventually("nothing of it is left", || {
        Launcher::start(&place, Starter::Us).lives();
        groups_of(pid).is_empty() && processes_with(&mark(&place)).is_empty()
    });
}

/// The processors a process may run on, as the kernel writes them.
fn processors(status: &str) -> Option<String> {
    let status = std::fs::read_to_string(status).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    Some(line.trim().to_owned())
}

#[test]
fn an_app_that_takes_processors_for_long_is_in_the_background_until_it_is_quiet() {
    let place = Place::new();
    let mut launcher = Launcher::start(&place, Starter::Us);
    let (host, mut output) = launcher.grain(place.spec(&["spin", &mark(&place)]));
    read_ready(&mut output);
    let groups = groups_of(launcher.process.id());
    let name = |directory: &std::path::PathBuf| directory.join(format!("{}-0", host.pid));
    let Some(group) = groups
        .iter()
        .map(name)
        .find(|group| group.join("cpu.idle").exists())
    else {
        eprintln!("NOT TESTED: no group can be sent to the background here");
        return;
    };
    let read = |file: &str| {
        std::fs::read_to_string(group.join(file))
            .unwrap_or_default()
            .trim()
            .to_owned()
    };
    let (weight, half) = if group.join("cpu.weight").exists() {
        ("cpu.weight", "50")
    } else {
        ("cpu.shares", "512")
    };
    // Long: beside others that are busy it takes its time to take much.
    within(120, "it goes to the background", || read("cpu.idle") == "1");

    // It leaves one processor alone, with all it starts.
    let all = processors("/proc/self/status").unwrap();
    let runs_on = || -> Vec<String> {
        let all = processes_with(&mark(&place)).into_iter();
        all.filter_map(|pid| processors(&format!("/proc/{pid}/status")))
            .collect()
    };
    let sets = groups
        .iter()
        .any(|directory| directory.join("cpuset.cpus").exists());
    let leaves_one = sets && all != "0";
    if leaves_one {
        eventually("it leaves a processor alone", || {
            !runs_on().is_empty() && runs_on().iter().all(|list| *list != all)
        });
    }

    // Other limits are kept there too, and are what it comes back to.
    ended(&launcher.work(json!({"adjust": host.pid, "weight": 50})).0);
    within(120, "it goes there again", || read("cpu.idle") == "1");
    std::fs::write(place.path("var/quiet"), b"").unwrap();
    eventually("it comes back", || {
        read("cpu.idle") == "0" && read(weight) == half
    });
    eventually("all of it, though it starts something all the time", || {
        !leaves_one || runs_on().iter().all(|list| *list == all)
    });
}

#[test]
fn who_keeps_apps_in_order_is_replaced_when_it_is_killed_and_brings_back_what_it_finds() {
    let place = Place::new();
    let mut launcher = Launcher::start(&place, Starter::Us);
    let (host, mut output) = launcher.grain(place.spec(&["idle", &mark(&place)]));
    read_ready(&mut output);
    let name = format!("{}-0/cpu.idle", host.pid);
    let groups = groups_of(launcher.process.id());
    let Some(idle) = groups
        .iter()
        .map(|group| group.join(&name))
        .find(|file| file.exists())
    else {
        eprintln!("NOT TESTED: no group can be sent to the background here");
        return;
    };
    let parent = format!("PPid:\t{}\n", launcher.process.id());
    let background = || {
        let all = std::fs::read_dir("/proc").unwrap().flatten();
        let mut found = all.filter_map(|entry| {
            let status = std::fs::read_to_string(entry.path().join("status")).ok()?;
            let is_it = status.starts_with("Name:\tbackground\n") && status.contains(&parent);
            is_it.then(|| entry.file_name().to_string_lossy().parse::<i32>().unwrap())
        });
        found.next()
    };
    eventually("it is there", || background().is_some());
    // As if it had sent the app there before.
    std::fs::write(&idle, "1").unwrap();
    let killed = background().unwrap();
    let pid = rustix::process::Pid::from_raw(killed).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    eventually("another is there", || {
        background().is_some_and(|pid| pid != killed)
    });
    // It does not know for how long that app was there already. Not to wait for something, but for that to go wrong.
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert_eq!(std::fs::read_to_string(&idle).unwrap().trim(), "1");
    eventually("the app comes back", || {
        std::fs::read_to_string(&idle).unwrap().trim() == "0"
    });
}

#[test]
fn a_role_gets_its_descriptors_and_dies_with_its_starter() {
    let place = Place::new();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let driver = place.path("driver");
    let role = spawn_role(
        &driver,
        &["launcher".into(), "7".into(), "2".into()],
        &[],
        vec![(theirs.into(), 7)],
    )
    .unwrap();
    let mut client = Client::new(ours.into());
    let (mut reader, writer) = std::io::pipe().unwrap();
    let job = Kind::Worker {
        job: json!({"descriptors": true}),
    };
    let worker = client.request(&job, &[writer.as_fd()]).unwrap();
    drop(writer);
    ended(&worker);
    let mut open = String::new();
    reader.read_to_string(&mut open).unwrap();
    assert!(
        !open.contains("socket:"),
        "nothing of this process is inherited:\n{open}"
    );
    drop(client);
    assert_eq!(role.wait().unwrap(), percloud_sandbox::Exit::Code(0));

    // The thread that starts it is what it dies with.
    let (ours, theirs) = UnixStream::pair().unwrap();
    let role = std::thread::spawn(move || {
        let role = spawn_role(
            &driver,
            &["launcher".into(), "3".into(), "2".into()],
            &[],
            vec![(theirs.into(), 3)],
        )
        .unwrap();
        let mut client = Client::new(ours.try_clone().unwrap().into());
        client
            .request(
                &Kind::Worker {
                    job: json!({"exit": 0}),
                },
                &[],
            )
            .unwrap();
        (role, ours)
    });
    let (role, _open) = role.join().unwrap();
    assert_eq!(role.wait().unwrap(), percloud_sandbox::Exit::Signal(9));
}

#[test]
fn a_role_that_cannot_run_is_named() {
    let error = spawn_role("/missing/program".as_ref(), &[], &[], Vec::new()).unwrap_err();
    assert_eq!(error.to_string(), "cannot execute /missing/program");
}
