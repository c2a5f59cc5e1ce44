//! What an app can and cannot do, tried by `tests/fixtures/prober` under both policies, started by root and by an
//! ordinary user.

mod support;

use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixListener};

use percloud_sandbox::Policy;
use percloud_sandbox::cgroup::{Version, survey};
use percloud_sandbox::seccomp::{self, Verdict};
use support::*;

/// Each probe with its outcome under the policies `Sandstorm` and `Native`; `|` separates answers that are equally
/// good, for which layer refuses first depends on the kernel and on who owns the package.
const OUTCOMES: &[(&str, &str, &str)] = &[
    // Who it is (sheet 3.2).
    ("pid", "1", "1"),
    ("parent", "0", "0"),
    ("session", "1", "1"),
    ("uid", "1000", "1000"),
    ("gid", "1000", "1000"),
    ("groups", "[]", "[]"),
    ("host", "sandbox sandbox", "sandbox sandbox"),
    ("umask", "7", "7"),
    ("cwd", "/", "/"),
    ("environ", "A=1 PATH=/bin", "A=1 PATH=/bin"),
    (
        "descriptors",
        "0 device 1:3, 1 pipe, 2 pipe, 3 socket",
        "0 device 1:3, 1 pipe, 2 pipe, 3 socket",
    ),
    ("signals blocked", "0x0", "0x0"),
    // SIGPIPE: the prober's own language runtime.
    ("signals ignored", "[13]", "[13]"),
    ("capabilities", "[0, 0, 0, 0, 0, 0]", "ENOSYS"),
    ("bounding set", "0 held", "EINVAL"),
    ("no_new_privs", "1", "EINVAL"),
    ("seccomp mode", "2", "EINVAL"),
    ("become root", "EINVAL", "ENOSYS"),
    ("become group root", "EINVAL", "ENOSYS"),
    ("set groups", "EPERM", "ENOSYS"),
    ("limit core", "0 0", "0 0"),
    ("limit files", "1024 4096", "1024 4096"),
    // Behind a group, which counts them first; alone where there is none.
    ("limit processes", "2048 2048|512 512", "2048 2048|512 512"),
    // What it sees (sheet 3.3).
    ("read /etc/passwd", "ENOENT", "ENOENT"),
    ("read /etc", "ENOENT", "ENOENT"),
    ("read /sys", "ENOENT", "ENOENT"),
    ("read /proc/self/status", "ENOENT", "ENOENT"),
    ("read /proc/1/root", "ENOENT", "ENOENT"),
    ("read /proc/version", "ENOENT", "ENOENT"),
    ("read /root", "ENOENT", "ENOENT"),
    ("read /var/../../../etc/passwd", "ENOENT", "ENOENT"),
    ("read /dev/tty", "ENOENT", "ENOENT"),
    ("read /dev/ptmx", "ENOENT", "ENOENT"),
    ("read /dev/fd", "ENOENT", "ENOENT"),
    ("read /dev/kmsg", "ENOENT", "ENOENT"),
    ("read /dev/fuse", "ENOENT", "ENOENT"),
    ("read /proc/cpuinfo", "ok", "ok"),
    ("list /", "bin dev proc tmp var", "bin dev proc tmp var"),
    (
        "list /dev",
        "null random shm urandom zero",
        "null random shm urandom zero",
    ),
    ("list /proc", "cpuinfo", "cpuinfo"),
    ("kinds of devices", "1:3 1:5 1:9 1:9", "1:3 1:5 1:9 1:9"),
    ("read /dev/zero", "ok", "ok"),
    ("read /dev/random", "ok", "ok"),
    ("read /dev/urandom", "ok", "ok"),
    // What it may write.
    ("create /new", "EROFS|EACCES", "EROFS|EACCES"),
    ("create /bin/new", "EROFS|EACCES", "EROFS|EACCES"),
    (
        "write the program",
        "EROFS|EACCES|ETXTBSY",
        "EROFS|EACCES|ETXTBSY",
    ),
    ("remove the program", "EROFS|EACCES", "EROFS|EACCES"),
    ("chmod /bin", "EROFS", "EROFS"),
    ("create /dev/new", "EROFS|EACCES", "EROFS|EACCES"),
    ("remove /dev/null", "EROFS|EACCES", "EROFS|EACCES"),
    ("write /proc/cpuinfo", "EROFS|EACCES", "EROFS|EACCES"),
    ("write /dev/null", "ok", "ok"),
    ("write /var", "ok", "ok"),
    ("rename in /var", "ok", "ok"),
    // The second where the tests, as root, made the directory for an ordinary user.
    (
        "mode of /var",
        "777 1000:1000|777 65534:65534",
        "777 1000:1000|777 65534:65534",
    ),
    ("write /tmp", "ok", "ok"),
    ("rename in /tmp", "ok", "ok"),
    ("mode of /tmp", "770 1000:1000", "770 1000:1000"),
    ("write /dev/shm", "ok", "ok"),
    ("rename in /dev/shm", "ok", "ok"),
    ("mode of /dev/shm", "770 1000:1000", "770 1000:1000"),
    // By Landlock, which is asked before capabilities are: the sign that it is in force.
    ("make a device in /var", "EACCES", "ENOSYS"),
    ("make a disk in /var", "EACCES", "ENOSYS"),
    ("make a device in /tmp", "EACCES", "ENOSYS"),
    ("make a disk in /tmp", "EACCES", "ENOSYS"),
    ("make a device in /dev/shm", "EACCES", "ENOSYS"),
    ("make a disk in /dev/shm", "EACCES", "ENOSYS"),
    ("follow a link to /etc/passwd", "ENOENT", "ENOENT"),
    ("follow a link out of /var", "ENOENT", "ENOENT"),
    ("hard link of the program", "EXDEV", "EXDEV"),
    ("hard link of a device", "EXDEV", "EXDEV"),
    ("run a program in /var", "!", "!"),
    (
        "run a set-user-ID copy",
        "1000 1000 1000 1000",
        "1000 1000 1000 1000",
    ),
    (
        "run a set-user-ID program of the package",
        "1000 1000 1000 1000",
        "1000 1000 1000 1000",
    ),
    // The network.
    ("socket unix", "ok", "ok"),
    ("socket inet", "ok", "ok"),
    ("socket inet6", "ok", "ok"),
    ("socket netlink", "ok", "EAFNOSUPPORT"),
    ("socket ax25", "EAFNOSUPPORT", "EAFNOSUPPORT"),
    ("socket x25", "EAFNOSUPPORT", "EAFNOSUPPORT"),
    ("socket key", "EAFNOSUPPORT", "EAFNOSUPPORT"),
    ("socket packet", "EAFNOSUPPORT", "EAFNOSUPPORT"),
    ("socket bluetooth", "EAFNOSUPPORT", "EAFNOSUPPORT"),
    ("socket alg", "EAFNOSUPPORT", "EAFNOSUPPORT"),
    ("socket vsock", "EAFNOSUPPORT", "EAFNOSUPPORT"),
    ("socket xdp", "EAFNOSUPPORT", "EAFNOSUPPORT"),
    ("socket raw", "EPERM", "EACCES"),
    ("socket dccp", "EPROTONOSUPPORT", "EACCES"),
    ("connect outside", "ENETUNREACH", "ENETUNREACH"),
    ("connect outside by v6", "ENETUNREACH", "ENETUNREACH"),
    ("send outside", "ENETUNREACH", "ENETUNREACH"),
    ("connect to the host's loopback", "ECONNREFUSED", "ECONNREFUSED"),
    (
        "connect to the host's abstract socket",
        "ECONNREFUSED",
        "ECONNREFUSED",
    ),
    ("connect to the host's socket", "ENOENT", "ENOENT"),
    ("send to the host's socket", "ENOENT", "ENOENT"),
    ("talk to itself over loopback", "ok", "ok"),
    ("talk to itself over a socket in /tmp", "ok", "ok"),
    // Namespaces and mounts.
    ("unshare user", "ENOSYS", "ENOSYS"),
    ("unshare mount", "ENOSYS", "ENOSYS"),
    ("clone user", "EPERM", "EPERM"),
    ("clone mount", "EPERM", "EPERM"),
    ("clone pid", "EPERM", "EPERM"),
    ("clone3", "ENOSYS", "ENOSYS"),
    ("setns", "EPERM", "ENOSYS"),
    ("mount", "ENOSYS", "EPERM"),
    ("mount proc", "ENOSYS", "EPERM"),
    ("remount the root writable", "ENOSYS", "EPERM"),
    ("umount", "EPERM", "ENOSYS"),
    ("pivot_root", "ENOSYS", "ENOSYS"),
    ("chroot", "EPERM", "EPERM"),
    ("open_tree", "ENOSYS", "ENOSYS"),
    ("move_mount", "ENOSYS", "ENOSYS"),
    ("fsopen", "ENOSYS", "ENOSYS"),
    ("fsconfig", "ENOSYS", "ENOSYS"),
    ("fsmount", "ENOSYS", "ENOSYS"),
    ("fspick", "ENOSYS", "ENOSYS"),
    ("mount_setattr", "ENOSYS", "ENOSYS"),
    ("quotactl", "ENOSYS", "ENOSYS"),
    ("swapon", "EPERM", "ENOSYS"),
    // Other processes.
    ("signal a host process", "ESRCH", "ESRCH"),
    ("kill a host process", "ESRCH", "ESRCH"),
    ("trace a host process", "EPERM", "EPERM"),
    ("be traced", "EPERM", "EPERM"),
    ("limits of a host process", "ESRCH", "ESRCH"),
    ("process_vm_readv", "ENOSYS", "ENOSYS"),
    ("process_vm_writev", "ENOSYS", "ENOSYS"),
    ("pidfd_open a host process", "ESRCH", "ESRCH"),
    ("pidfd_getfd", "ENOSYS", "ENOSYS"),
    ("kcmp", "EPERM", "ENOSYS"),
    // Claimed and not done: see `killed_host_takes_the_whole_family_along`.
    ("outlive the host", "ok", "ok"),
    ("name_to_handle_at", "ENOSYS", "ENOSYS"),
    ("open_by_handle_at", "ENOSYS", "ENOSYS"),
    // Kernel machinery.
    ("bpf", "ENOSYS", "ENOSYS"),
    ("perf_event_open", "ENOSYS", "ENOSYS"),
    ("userfaultfd", "ENOSYS", "ENOSYS"),
    ("io_uring_setup", "ENOSYS", "ENOSYS"),
    ("io_uring_enter", "ENOSYS", "ENOSYS"),
    ("io_uring_register", "ENOSYS", "ENOSYS"),
    ("io_setup", "ENOSYS", "ENOSYS"),
    ("keyctl", "ENOSYS", "ENOSYS"),
    ("add_key", "ENOSYS", "ENOSYS"),
    ("request_key", "ENOSYS", "ENOSYS"),
    ("seccomp", "ENOSYS", "ENOSYS"),
    ("prctl seccomp", "EINVAL", "EINVAL"),
    ("landlock", "ENOSYS", "ENOSYS"),
    ("memfd_secret", "ENOSYS", "ENOSYS"),
    ("fanotify_init", "EPERM", "ENOSYS"),
    ("init_module", "EPERM", "ENOSYS"),
    ("finit_module", "EPERM", "ENOSYS"),
    ("kexec_load", "EPERM", "ENOSYS"),
    ("reboot", "EPERM", "ENOSYS"),
    ("syslog", "ENOSYS", "ENOSYS"),
    ("personality", "ENOSYS", "ENOSYS"),
    ("modify_ldt", "ENOSYS", "ENOSYS"),
    ("iopl", "EPERM", "ENOSYS"),
    ("acct", "ENOSYS", "ENOSYS"),
    ("sethostname", "EPERM", "ENOSYS"),
    ("settimeofday", "EPERM", "ENOSYS"),
    ("real-time priority", "EPERM", "ENOSYS"),
    ("push terminal input", "ENOTTY", "ENOTTY"),
    ("message queue", "EMFILE", "ENOSYS"),
    ("call 600", "ENOSYS", "ENOSYS"),
    ("call 1000000", "ENOSYS", "ENOSYS"),
    ("x32 getpid", "ENOSYS", "ENOSYS"),
    ("x32 ptrace", "ENOSYS", "ENOSYS"),
    ("int 0x80 getpid", "ENOSYS", "ENOSYS"),
    ("int 0x80 mount", "ENOSYS", "ENOSYS"),
];

#[test]
fn every_probe_has_the_outcome_of_its_policy() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap();
    let name = format!("percloud-escape-{}", std::process::id());
    let _abstract = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    for &starter in Starter::all() {
        for policy in [Policy::Sandstorm, Policy::Native] {
            let place = Place::new();
            let socket = place.path("socket");
            let _listener = UnixListener::bind(&socket).unwrap();
            copy_program(prober(), &place.path("package/bin/suid"));
            std::fs::set_permissions(place.path("package/bin/suid"), PermissionsExt::from_mode(0o6755))
                .unwrap();
            let hints = [
                format!("pid={}", std::process::id()),
                format!("port={}", port.local_addr().unwrap().port()),
                format!("abstract={name}"),
                format!("socket={}", socket.display()),
            ];
            let mut spec = place.spec(&["probe", &hints[0], &hints[1], &hints[2], &hints[3]]);
            spec.policy = policy;
            spec.loopback = true;
            spec.environ = vec![("A".into(), "1".into()), ("PATH".into(), "/bin".into())];

            let run = place.run(starter, &spec);
            assert_eq!(run.exit, "exit status 0", "{run:?}");
            expected_warnings(&run.warnings);
            let outcomes = run.outcomes();
            let mut wrong = Vec::new();
            for &(probe, sandstorm, native) in OUTCOMES {
                let expected = if policy == Policy::Sandstorm {
                    sandstorm
                } else {
                    native
                };
                let outcome = outcomes.get(probe).copied().unwrap_or("not tried").trim();
                if !expected.split('|').any(|answer| answer == outcome) {
                    wrong.push(format!("{probe}: {outcome}, not {expected}"));
                }
            }
            let tried: Vec<_> = outcomes
                .keys()
                .filter(|name| !OUTCOMES.iter().any(|o| o.0 == **name))
                .collect();
            assert!(wrong.is_empty(), "{starter:?} {policy:?}: {wrong:#?}");
            assert!(tried.is_empty(), "probes nobody judges: {tried:?}");
        }
    }
}

/// Every line of either policy that refuses something, tried from inside a sandbox: each call it names, and each condition
/// on its arguments. (What the lines that allow something say is asked of the kernel in `seccomp/tests.rs`.)
#[test]
fn an_app_is_refused_what_the_policy_says_and_with_these_words() {
    for policy in [Policy::Sandstorm, Policy::Native] {
        let refused: Vec<_> = seccomp::cases(policy)
            .into_iter()
            .filter_map(|case| match case.answer {
                Verdict::Errno(errno) => Some((case, errno)),
                Verdict::Allow => None,
            })
            .collect();
        assert!(refused.len() > 40, "{policy:?}: {}", refused.len());
        let lines: Vec<String> = refused
            .iter()
            .map(|(case, _)| {
                let [a, b, c, d, e, f] = case.arguments;
                format!("{} {a} {b} {c} {d} {e} {f}", case.number)
            })
            .collect();
        for &starter in Starter::all() {
            let place = Place::new();
            std::fs::write(place.path("var/lines"), lines.join("\n")).unwrap();
            let mut spec = place.spec(&["lines"]);
            spec.policy = policy;
            let run = place.run(starter, &spec);
            assert_eq!(run.exit, "exit status 0", "{run:?}");
            let outcomes = run.outcomes();
            for (index, (case, errno)) in refused.iter().enumerate() {
                assert_eq!(
                    outcomes.get(index.to_string().as_str()).copied(),
                    Some(errno.to_string().as_str()),
                    "{starter:?} {policy:?}: {} {case:?}",
                    seccomp::name(case.number).unwrap_or("unknown"),
                );
            }
        }
    }
}

#[test]
fn what_ordinary_apps_live_on_works_under_both_policies() {
    for &starter in Starter::all() {
        for policy in [Policy::Sandstorm, Policy::Native] {
            let place = Place::new();
            let mut spec = place.spec(&["works"]);
            spec.policy = policy;
            let run = place.run(starter, &spec);
            assert_eq!(run.exit, "exit status 0", "{run:?}");
            let outcomes = run.outcomes();
            assert!(outcomes.len() > 40, "{outcomes:?}");
            let failed: Vec<_> = outcomes.iter().filter(|(_, outcome)| **outcome != "ok").collect();
            assert!(failed.is_empty(), "{starter:?} {policy:?}: {failed:?}");
        }
    }
}

#[test]
fn loopback_is_down_unless_asked_for() {
    let place = Place::new();
    let run = place.run(Starter::Us, &place.spec(&["probe", "port=80"]));
    let outcomes = run.outcomes();
    assert_eq!(outcomes["connect to the host's loopback"], "ENETUNREACH");
    assert_eq!(outcomes["talk to itself over loopback"], "ENETUNREACH");

    // One built for Percloud is not even let try, where Landlock knows TCP (Linux 6.7).
    let mut spec = place.spec(&["probe", "port=80"]);
    spec.policy = Policy::Native;
    let run = place.run(Starter::Us, &spec);
    let knows_tcp = percloud_sandbox::probe::landlock_abi().is_ok_and(|interface| interface >= 4);
    let refused = if knows_tcp { "EACCES" } else { "ENETUNREACH" };
    assert_eq!(run.outcomes()["connect to the host's loopback"], refused);
    assert_eq!(run.outcomes()["connect outside"], refused);
}

#[test]
fn storage_belongs_to_the_server_outside() {
    use std::os::unix::fs::MetadataExt;
    for &starter in Starter::all() {
        let place = Place::new();
        let run = place.run(starter, &place.spec(&["probe"]));
        assert_eq!(run.error, None);
        let data = std::fs::metadata(place.path("var/file")).unwrap();
        let owner = if starter == Starter::Nobody {
            NOBODY
        } else {
            rustix::process::geteuid().as_raw()
        };
        assert_eq!(data.uid(), owner, "{starter:?}");
        assert_eq!(data.mode() & 0o777, 0o660, "umask 007");
    }
}

#[test]
fn temporary_space_is_bounded() {
    let place = Place::new();
    let mut spec = place.spec(&["fill"]);
    spec.limits.tmp_bytes = 8 << 20;
    spec.limits.tmp_inodes = 100;
    spec.limits.shm_bytes = 4 << 20;
    spec.limits.shm_inodes = 50;
    let run = place.run(Starter::Us, &spec);
    let outcomes = run.outcomes();
    assert_eq!(outcomes["bytes in /tmp"], "8 MiB ENOSPC");
    assert_eq!(outcomes["bytes in /dev/shm"], "4 MiB ENOSPC");
    // The directory itself is one.
    assert_eq!(outcomes["files in /tmp"], "99 ENOSPC");
    assert_eq!(outcomes["files in /dev/shm"], "49 ENOSPC");
}

#[test]
fn fork_bomb_stops_at_the_limit() {
    for &starter in Starter::all() {
        for group in [
            percloud_sandbox::CgroupMode::Auto,
            percloud_sandbox::CgroupMode::Off,
        ] {
            let place = Place::new();
            let mut spec = place.spec(&["forks"]);
            spec.limits.pids = 40;
            spec.cgroup = group;
            let run = place.run(starter, &spec);
            assert_eq!(run.outcomes()["forks"], "39 EAGAIN", "{starter:?} {group:?}");
            if group == percloud_sandbox::CgroupMode::Auto && run.warnings.is_empty() {
                assert_eq!(run.processes_refused, Some(1), "its owner is to be told");
                assert!(run.processor_us.is_none_or(|time| time > 0), "{run:?}");
            }
        }
    }
}

#[test]
fn memory_hog_meets_its_limit() {
    for &starter in Starter::all() {
        let place = Place::new();
        let mut spec = place.spec(&["memory"]);
        spec.limits.memory = 64 << 20;
        let run = place.run(starter, &spec);
        // Version 2 ends every process of the app, and with it the one that would say so.
        let whole = matches!(survey().groups, Ok((Version::Unified, _)));
        if run.warnings.is_empty() && whole {
            assert_eq!(run.exit, "killed by signal 9", "the group's: {run:?}");
            assert_eq!(run.output, "");
            assert!(run.memory_refused.unwrap() > 0);
            assert!(run.memory_kills.unwrap() > 0, "its owner is to be told");
        } else if run.warnings.is_empty() {
            assert_eq!(run.outcomes()["memory"], "signal 9", "the group's");
            assert!(run.memory_refused.unwrap() > 0);
            assert_eq!(run.memory_kills, Some(1), "its owner is to be told");
        } else {
            assert_eq!(run.outcomes()["memory"], "ENOMEM", "the process's own");
        }
    }
}

#[test]
fn refused_calls_are_recorded_and_answered_alike() {
    for &starter in Starter::all() {
        let place = Place::new();
        let mut spec = place.spec(&["refused"]);
        let silent = place.run(starter, &spec);
        spec.record_refused = true;
        let recorded = place.run(starter, &spec);
        assert_eq!(silent.output, recorded.output);
        assert_eq!(silent.refused, []);
        let count = |name: &str| {
            recorded
                .refused
                .iter()
                .find(|(call, ..)| call == name)
                .map(|(_, count, errno)| (*count, *errno))
        };
        assert_eq!(count("bpf"), Some((3, libc::ENOSYS as u16)));
        assert_eq!(count("keyctl"), Some((1, libc::ENOSYS as u16)));
        assert_eq!(count("socket"), Some((1, libc::EAFNOSUPPORT as u16)));
        assert_eq!(count("prctl"), Some((1, 0)));
        assert_eq!(
            count("unknown"),
            Some((1, libc::ENOSYS as u16)),
            "the x32 call: {recorded:?}"
        );
    }
}
