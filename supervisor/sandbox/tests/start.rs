//! How starting fails, and what it leaves behind.

#![allow(clippy::disallowed_methods, reason = "tests start programs")]

mod support;

use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};

use percloud_sandbox::{CgroupMode, StartError};
use support::*;

/// The error of a start that must fail.
fn error(place: &Place, spec: &percloud_sandbox::SandboxSpec) -> String {
    let run = place.run(Starter::Us, spec);
    assert_eq!(run.output, "");
    run.error.expect("the start to fail")
}

#[test]
fn nothing_of_a_sandbox_is_mounted_on_the_machine() {
    let place = Place::new();
    if Starter::all().len() == 1 {
        eprintln!("NOT TESTED: only root can share mounts");
        return;
    }
    let spec = serde_json::to_vec(&place.spec(&["byte"])).unwrap();
    let mut shell = std::process::Command::new("unshare")
        .args(["--mount", "--propagation", "shared", "sh", "-c"])
        .arg("\"$0\" run && echo && cat /proc/self/mountinfo")
        .arg(place.path("driver"))
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    shell.stdin.take().unwrap().write_all(&spec).unwrap();
    let said = Running(shell).output();
    assert!(said.starts_with('{') && said.contains("!\\n"), "{said}");
    let folder = place.path("").display().to_string();
    let mounts: Vec<_> = said
        .lines()
        .skip(1)
        .filter(|line| line.contains(&folder))
        .collect();
    assert!(said.contains(" shared:") && mounts.is_empty(), "{mounts:#?}");
}

#[test]
fn a_program_that_cannot_run_is_named() {
    let place = Place::new();
    std::fs::write(place.path("package/bin/text"), "no program").unwrap();
    std::fs::write(place.path("package/bin/garbage"), "no program").unwrap();
    std::fs::set_permissions(
        place.path("package/bin/garbage"),
        PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    std::fs::write(place.path("package/bin/script"), "#!/bin/missing\n").unwrap();
    std::fs::set_permissions(place.path("package/bin/script"), PermissionsExt::from_mode(0o755)).unwrap();
    for (program, message) in [
        (
            "/bin/missing",
            "cannot execute /bin/missing: no such file in the package",
        ),
        (
            "/bin/text",
            "cannot execute /bin/text: it is not an executable file",
        ),
        ("/bin", "cannot execute /bin: it is not an executable file"),
        (
            "/bin/garbage",
            "cannot execute /bin/garbage: it is neither a program nor a script",
        ),
        (
            "/bin/script",
            "cannot execute /bin/script: no such file in the package, or the interpreter",
        ),
        (
            "/bin/prober/x",
            "cannot execute /bin/prober/x: a part of its path is not a directory",
        ),
    ] {
        let mut spec = place.spec(&[]);
        spec.argv = vec![program.to_owned()];
        let error = error(&place, &spec);
        assert!(error.starts_with(message), "{error}");
    }
}

#[test]
fn what_cannot_be_mounted_is_named() {
    let place = Place::new();
    symlink(place.path("var"), place.path("link")).unwrap();
    std::fs::write(place.path("file"), b"").unwrap();
    for name in ["missing", "link", "file"] {
        let mut spec = place.spec(&["byte"]);
        spec.var = place.path(name);
        let message = error(&place, &spec);
        assert!(
            message.starts_with("cannot mount the grain's storage as /var"),
            "{message}"
        );
        assert!(
            message.contains(&place.path(name).display().to_string()),
            "{message}"
        );
        let mut spec = place.spec(&["byte"]);
        spec.package = place.path(name);
        let message = error(&place, &spec);
        assert!(
            message.starts_with("cannot take the package as the root directory"),
            "{message}"
        );
    }
}

#[test]
fn an_impossible_specification_is_refused() {
    let place = Place::new();
    for change in [
        (|spec| spec.argv.clear()) as fn(&mut percloud_sandbox::SandboxSpec),
        |spec| spec.argv[0] = "a\0b".to_owned(),
        |spec| spec.environ = vec![("A=B".to_owned(), "x".to_owned())],
        |spec| spec.environ = vec![(String::new(), "x".to_owned())],
        |spec| spec.var = "relative".into(),
    ] {
        let mut spec = place.spec(&["byte"]);
        change(&mut spec);
        assert!(error(&place, &spec).starts_with("sandbox specification is unusable"));
    }
}

#[test]
fn a_process_with_threads_may_not_start_a_sandbox() {
    let place = Place::new();
    let (release, wait) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || wait.recv());
    assert!(matches!(
        percloud_sandbox::start(&place.spec(&["byte"])),
        Err(StartError::Threads)
    ));
    drop(release);
    let _ = thread.join();
}

#[test]
fn links_in_a_package_are_not_mounted_through() {
    for &starter in Starter::all() {
        let place = Place::new();
        std::fs::write(place.path("var/secret"), b"").unwrap();
        for name in ["var", "tmp", "dev"] {
            std::fs::remove_dir(place.path("package").join(name)).unwrap();
        }
        std::fs::remove_file(place.path("package/proc/cpuinfo")).unwrap();
        symlink("/etc", place.path("package/var")).unwrap();
        symlink("bin", place.path("package/tmp")).unwrap();
        std::fs::write(place.path("package/dev"), b"").unwrap();
        symlink("/bin/prober", place.path("package/proc/cpuinfo")).unwrap();
        let run = place.run(starter, &place.spec(&["probe"]));
        let outcomes = run.outcomes();
        assert_eq!(outcomes["list /"], "bin dev proc tmp var");
        assert_eq!(outcomes["write /var"], "ENOENT");
        assert!(["EROFS", "EACCES"].contains(&outcomes["write /tmp"]), "{run:?}");
        assert_eq!(outcomes["list /dev"], "ENOTDIR");
        assert_eq!(
            outcomes["read /proc/cpuinfo"], "ok",
            "the link, to the package's own file"
        );
        let told = |what: &str| run.warnings.iter().any(|warning| warning.contains(what));
        assert!(
            told("/var is not a directory") && told("/tmp is not") && told("/dev is not"),
            "{run:?}"
        );
    }
}

#[test]
fn a_bare_package_gets_no_mounts() {
    let place = Place::new();
    for name in ["var", "tmp", "dev"] {
        std::fs::remove_dir(place.path("package").join(name)).unwrap();
    }
    std::fs::remove_dir_all(place.path("package/proc")).unwrap();
    let run = place.run(Starter::Us, &place.spec(&["probe"]));
    expected_warnings(&run.warnings);
    let outcomes = run.outcomes();
    assert_eq!(outcomes["list /"], "bin");
    for name in [
        "list /dev",
        "list /proc",
        "write /var",
        "write /tmp",
        "write /dev/null",
    ] {
        assert_eq!(outcomes[name], "ENOENT", "{name}");
    }
}

#[test]
fn the_exit_of_the_app_is_told() {
    let place = Place::new();
    let run = place.run(Starter::Us, &place.spec(&["no such command"]));
    assert_eq!((run.error, run.exit.as_str()), (None, "exit status 2"));
    assert_eq!(run.output, "unknown command \"no such command\"\n");
}

#[test]
fn two_hundred_starts_leave_nothing() {
    for &starter in Starter::all() {
        let place = Place::new();
        let mark = format!("mark={}", place.path("").display());
        let child = place.begin(starter, &["run-many", "200"], &place.spec(&["byte", &mark]));
        let pid = child.id();
        assert_eq!(child.output(), "clean\n", "{starter:?}");
        assert_eq!(processes_with(&mark), [0; 0]);
        assert_eq!(groups_of(pid), Vec::<std::path::PathBuf>::new());
    }
}

#[test]
fn a_required_control_group_is_had_or_named() {
    for &starter in Starter::all() {
        let place = Place::new();
        let mut spec = place.spec(&["byte"]);
        spec.cgroup = CgroupMode::Required;
        let run = place.run(starter, &spec);
        match run.error {
            None => assert!(run.warnings.is_empty() && run.output == "!\n", "{run:?}"),
            Some(error) => assert!(
                error.contains("a control group is not available; run the server"),
                "{error}"
            ),
        }
    }
}

#[test]
fn a_group_of_one_process_has_room_for_the_app() {
    for &starter in Starter::all() {
        let place = Place::new();
        let mut spec = place.spec(&["byte"]);
        spec.limits.pids = 1;
        let run = place.run(starter, &spec);
        assert_eq!((run.error, run.output.as_str()), (None, "!\n"), "{starter:?}");
    }
}

#[test]
fn a_start_that_is_killed_at_any_moment_ends_and_leaves_nothing() {
    let starter = *Starter::all().last().unwrap();
    let place = Place::new();
    let mark = format!("mark={}", place.path("").display());
    let spec = place.spec(&["byte", &mark]);
    for moment in 0..250 {
        let mut host = place.begin(starter, &["host"], &spec);
        let children = format!("/proc/{0}/task/{0}/children", host.id());
        let mut first = None;
        while first.is_none() && host.0.try_wait().unwrap().is_none() {
            let text = std::fs::read_to_string(&children).unwrap_or_default();
            first = text.split_whitespace().next().and_then(|pid| pid.parse().ok());
        }
        // From its first instruction to some time after it has become the app.
        let seen = std::time::Instant::now();
        while seen.elapsed() < std::time::Duration::from_micros(moment * 6) {
            std::hint::spin_loop();
        }
        if let Some(first) = first.and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(first, rustix::process::Signal::KILL);
        }
        let host = std::cell::RefCell::new(host);
        eventually("the host has seen it end", || {
            host.borrow_mut().0.try_wait().unwrap().is_some()
        });
    }
    assert_eq!(processes_with(&mark), [0; 0]);
}

#[test]
fn killed_host_takes_the_whole_family_along() {
    for &starter in Starter::all() {
        let place = Place::new();
        let mark = format!("mark={}", place.path("").display());
        let mut host = place.begin(starter, &["host"], &place.spec(&["family", &mark]));
        read_ready(host.0.stdout.as_mut().unwrap());
        eventually("process 1, four children and four orphans", || {
            processes_with(&mark).len() == 9
        });
        drop(host);
        eventually("every process of the app is gone", || {
            processes_with(&mark).is_empty()
        });
    }
}
