//! `percloud doctor` as a person has it: run on machines that lack something, which the tests make themselves.

#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "tests start programs")]

use std::collections::BTreeSet;
use std::fs::{self, File, Permissions};
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;

/// The user every test can drop to.
const NOBODY: u32 = 65534;

/// A folder with the program and a data folder in it, for whoever runs the doctor.
struct Place {
    folder: tempfile::TempDir,
    user: u32,
}

impl Place {
    /// Places for both kinds of user a server can be, when the tests run as root; for ourselves otherwise.
    fn all() -> Vec<Self> {
        let us = rustix::process::geteuid().as_raw();
        let users = if us == 0 { vec![us, NOBODY] } else { vec![us] };
        users.into_iter().map(Self::of).collect()
    }

    fn ours() -> Self {
        Self::of(rustix::process::geteuid().as_raw())
    }

    fn of(user: u32) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("percloud-doctor-test")
            .permissions(Permissions::from_mode(0o755))
            .tempdir()
            .unwrap();
        let place = Self { folder, user };
        // Not with a descriptor of this process, which a fork of another test would hold open for writing.
        let copied = Command::new("cp")
            .arg(env!("CARGO_BIN_EXE_percloud"))
            .arg(place.program())
            .status();
        assert!(copied.unwrap().success());
        fs::create_dir(place.data()).unwrap();
        place.open_data(0o700);
        chown(place.data(), Some(user), Some(user)).unwrap();
        place
    }

    fn program(&self) -> PathBuf {
        self.folder.path().join("percloud")
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn open_data(&self, mode: u32) {
        fs::set_permissions(self.data(), Permissions::from_mode(mode)).unwrap();
    }

    /// A command as this place's user, without what we were told about a server of our own.
    fn command(&self, program: &str) -> Command {
        let mut command = if self.user == rustix::process::geteuid().as_raw() {
            Command::new(program)
        } else {
            let mut command = Command::new("setpriv");
            let user = self.user;
            command.args([
                &format!("--reuid={user}"),
                &format!("--regid={user}"),
                "--clear-groups",
                program,
            ]);
            command
        };
        for name in ["PERCLOUD_DATA", "PERCLOUD_LISTEN", "NO_COLOR"] {
            command.env_remove(name);
        }
        command.stdin(Stdio::null());
        command
    }

    /// The doctor, at a port that is free.
    fn doctor(&self) -> Command {
        let mut command = self.command(self.program().to_str().unwrap());
        command
            .arg("doctor")
            .arg("--data")
            .arg(self.data())
            .args(["--listen", "127.0.0.1:0"]);
        command
    }

    /// The doctor behind a program that takes something away: `wrapper` and its arguments, then the doctor's.
    fn doctor_behind(&self, wrapper: &[&str]) -> Command {
        let mut command = self.command(wrapper[0]);
        command.args(&wrapper[1..]).arg(self.program());
        command
            .arg("doctor")
            .arg("--data")
            .arg(self.data())
            .args(["--listen", "127.0.0.1:0"]);
        command
    }

    /// Everything in this place, by name.
    fn names(&self) -> BTreeSet<PathBuf> {
        let mut names = BTreeSet::new();
        let mut open = vec![self.folder.path().to_owned()];
        while let Some(folder) = open.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let entry = entry.unwrap();
                if entry.file_type().unwrap().is_dir() {
                    open.push(entry.path());
                }
                names.insert(entry.path());
            }
        }
        names
    }
}

/// What a doctor said, both ways; they must agree.
struct Said {
    text: String,
    json: Value,
    code: i32,
}

fn said(make: impl Fn() -> Command) -> Said {
    let text = make().output().unwrap();
    let json = make().arg("--json").output().unwrap();
    let code = json.status.code();
    assert_eq!(
        text.status.code(),
        code,
        "{}{}",
        utf8(&text),
        String::from_utf8_lossy(&text.stderr)
    );
    let json: Value =
        serde_json::from_slice(&json.stdout).unwrap_or_else(|error| panic!("{error}: {json:?}"));
    let missing = json["missing"].as_u64().unwrap();
    assert_eq!(code, Some(i32::from(missing > 0)), "{json:#}");
    Said {
        text: utf8(&text),
        json,
        code: code.unwrap(),
    }
}

fn utf8(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

impl Said {
    fn checks(&self) -> &[Value] {
        self.json["checks"].as_array().unwrap()
    }

    fn check(&self, id: &str) -> &Value {
        self.checks()
            .iter()
            .find(|check| check["id"] == id)
            .unwrap_or_else(|| panic!("no check {id}: {:#}", self.json))
    }

    /// Asserts that a check went so, in the object and in the text; returns its words.
    fn expect(&self, id: &str, status: &str) -> String {
        let check = self.check(id);
        assert_eq!(check["status"], status, "{check:#}");
        let field = |name: &str| check[name].as_str().unwrap_or_default();
        let line = format!("  {status:<7}  {}: ", field("title"));
        let mut lines = self.text.lines().skip_while(|one| !one.starts_with(&line));
        assert!(lines.next().is_some(), "{line}\n{}", self.text);
        if status == "good" {
            assert!(
                check["consequence"].is_null() && check["remedy"].is_null(),
                "{check:#}"
            );
        } else {
            assert_eq!(
                lines.next(),
                Some(format!("           means: {}", field("consequence")).as_str())
            );
            assert_eq!(
                lines.next(),
                Some(format!("           to do: {}", field("remedy")).as_str())
            );
        }
        [field("found"), field("consequence"), field("remedy")].join("\n")
    }
}

#[test]
fn every_check_is_documented_and_every_documented_check_is_made() {
    let documented: BTreeSet<&str> = include_str!("../../docs/doctor.md")
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`').map(|(id, _)| id))
        .collect();
    for place in Place::all() {
        let said = said(|| place.doctor());
        let made: Vec<&str> = said
            .checks()
            .iter()
            .map(|check| check["id"].as_str().unwrap())
            .collect();
        let distinct: BTreeSet<&str> = made.iter().copied().collect();
        assert_eq!(distinct.len(), made.len(), "an id names one check");
        assert_eq!(distinct, documented);
        let counted: u64 = ["good", "gaps", "missing"]
            .iter()
            .map(|name| said.json[name].as_u64().unwrap())
            .sum();
        assert_eq!(counted, made.len() as u64);
        assert_eq!(
            (&said.json["format"], &said.json["user"]),
            (&1.into(), &place.user.into())
        );
        for check in said.checks() {
            let kebab = |text: &str| {
                text.bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte == b'-' || byte.is_ascii_digit())
            };
            assert!(
                kebab(check["id"].as_str().unwrap()) && kebab(check["group"].as_str().unwrap()),
                "{check:#}"
            );
            said.expect(check["id"].as_str().unwrap(), check["status"].as_str().unwrap());
        }
    }
}

#[test]
fn a_machine_that_runs_these_tests_lacks_nothing() {
    for place in Place::all() {
        let said = said(|| place.doctor());
        assert_eq!(said.code, 0, "{}", said.text);
        assert!(
            said.text
                .trim_end()
                .lines()
                .last()
                .unwrap()
                .starts_with("Nothing is missing"),
            "{}",
            said.text
        );
        said.expect("sandbox", "good");
        said.expect("data-folder", "good");
        for kind in ["user", "mount", "pid", "net", "ipc", "uts", "cgroup"] {
            said.expect(&format!("{kind}-namespace"), "good");
        }
    }
}

#[test]
fn looking_leaves_no_trace() {
    for place in Place::all() {
        let before = place.names();
        let groups = control_groups();
        said(|| place.doctor());
        assert_eq!(place.names(), before);
        // Nor where the folder is not there yet.
        let mut command = place.command(place.program().to_str().unwrap());
        command
            .arg("doctor")
            .arg("--data")
            .arg(place.data().join("not/yet"));
        assert!(command.output().unwrap().status.code().is_some());
        assert_eq!(place.names(), before);
        // Other tests may run servers meanwhile: none of a process called doctor.
        let made: Vec<_> = control_groups().difference(&groups).cloned().collect();
        let ours = made.iter().filter(|group| is_a_doctors(group));
        assert_eq!(ours.count(), 0, "{made:?}");
    }
}

/// Directories in the control groups named like ours.
fn control_groups() -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut open = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if entry.file_name().to_string_lossy().starts_with("percloud-") {
                    found.insert(entry.path());
                }
                open.push(entry.path());
            }
        }
    }
    found
}

/// Whether a group's maker is gone, as a doctor is by now, unlike a launcher.
fn is_a_doctors(group: &Path) -> bool {
    let name = group.file_name().unwrap().to_string_lossy().into_owned();
    let maker = name.trim_start_matches("percloud-").to_owned();
    group.is_dir() && !Path::new("/proc").join(maker).exists()
}

#[test]
fn a_doctor_that_is_interrupted_leaves_no_folder() {
    let place = Place::ours();
    let before = place.names();
    for moment in 0..40 {
        let mut child = place.doctor().stdout(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(moment));
        if let Some(pid) = rustix::process::Pid::from_raw(child.id() as i32) {
            // Not collected yet, so the number is still its own.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::INT);
        }
        child.wait().unwrap();
        assert_eq!(place.names(), before, "after {moment} ms");
    }
}

#[test]
fn few_open_files_are_named() {
    for place in Place::all() {
        let few = said(|| place.doctor_behind(&["prlimit", "--nofile=24:24"]));
        assert_eq!(few.code, 1);
        let words = few.expect("open-files", "missing");
        assert!(
            words.starts_with("24, which the server raises to 24") && words.contains("LimitNOFILE"),
            "{words}"
        );

        let some = said(|| place.doctor_behind(&["prlimit", "--nofile=1024:1024"]));
        assert_eq!(some.code, 0, "{}", some.text);
        let words = some.expect("open-files", "gap");
        assert!(words.contains("about 320 connections"), "{words}");

        said(|| place.doctor_behind(&["prlimit", "--nofile=1024:8192"])).expect("open-files", "good");
    }
}

#[test]
fn few_processes_bind_an_ordinary_user() {
    for place in Place::all() {
        let said = said(|| place.doctor_behind(&["prlimit", "--nproc=1000:1000"]));
        let words = said.expect("processes", if place.user == 0 { "good" } else { "gap" });
        assert!(place.user == 0 || words.starts_with("1000\n"), "{words}");
    }
}

#[test]
fn a_folder_others_may_look_into_is_a_gap() {
    for place in Place::all() {
        place.open_data(0o755);
        let open = said(|| place.doctor());
        assert_eq!(open.code, 0, "{}", open.text);
        let words = open.expect("data-folder", "gap");
        assert!(
            words.contains("mode 0755") && words.contains("chmod 0700"),
            "{words}"
        );
        place.open_data(0o700);
        said(|| place.doctor()).expect("data-folder", "good");
    }
}

#[test]
fn a_folder_that_cannot_be_written_to_is_missing_and_stays_as_it_is() {
    for place in Place::all().into_iter().filter(|place| place.user != 0) {
        place.open_data(0o500);
        let before = place.names();
        let said = said(|| place.doctor());
        assert_eq!(said.code, 1);
        let words = said.expect("data-folder", "missing");
        assert!(words.contains("may not write to it"), "{words}");
        // What needs a file written is not claimed to be good, and the sandbox is tried without one.
        for id in ["data-fsync", "data-rename", "data-tmpfile"] {
            said.expect(id, "gap");
        }
        said.expect("sandbox", "good");
        assert_eq!(place.names(), before);
    }
}

#[test]
fn what_is_no_folder_is_missing() {
    let place = Place::ours();
    fs::remove_dir(place.data()).unwrap();
    fs::write(place.data(), b"").unwrap();
    let words = said(|| place.doctor()).expect("data-folder", "missing");
    assert!(
        words.starts_with("there is something that is no folder"),
        "{words}"
    );
}

#[test]
fn forbidden_user_namespaces_are_named_with_their_setting() {
    for place in Place::all() {
        // In a user namespace of the test's own, whose settings are nobody else's.
        let forbid = "echo 0 > /proc/sys/user/max_user_namespaces && exec \"$0\" \"$@\"";
        let said =
            said(|| place.doctor_behind(&["unshare", "--user", "--map-root-user", "sh", "-c", forbid]));
        assert_eq!(said.code, 1);
        for id in ["user-namespace", "mount-namespace", "net-namespace", "sandbox"] {
            said.expect(id, "missing");
        }
        let words = said.expect("namespace-counts", "missing");
        assert_eq!(
            words,
            "user.max_user_namespaces is 0\nno app starts\nsysctl user.max_user_namespaces=65536"
        );
        assert!(
            said.expect("sandbox", "missing")
                .contains("sysctl user.max_user_namespaces")
        );
    }
}

#[test]
fn one_forbidden_kind_is_told_from_the_others() {
    let place = Place::ours();
    let forbid = "echo 0 > /proc/sys/user/max_ipc_namespaces && exec \"$0\" \"$@\"";
    let said = said(|| place.doctor_behind(&["unshare", "--user", "--map-root-user", "sh", "-c", forbid]));
    assert_eq!(said.code, 1);
    said.expect("ipc-namespace", "missing");
    for id in ["user-namespace", "net-namespace", "uts-namespace"] {
        said.expect(id, "good");
    }
    assert!(
        said.expect("namespace-counts", "missing")
            .contains("sysctl user.max_ipc_namespaces")
    );
}

#[test]
fn a_small_file_system_in_memory_without_programs_is_named() {
    let place = Place::ours();
    let mount = format!(
        "mount -t tmpfs -o size=4m,noexec none {} && exec \"$0\" \"$@\"",
        place.data().display()
    );
    let said = said(|| {
        place.doctor_behind(&[
            "unshare",
            "--user",
            "--map-root-user",
            "--mount",
            "sh",
            "-c",
            &mount,
        ])
    });
    assert_eq!(said.code, 1);
    assert!(said.expect("data-mount", "missing").starts_with("noexec"));
    assert!(
        said.expect("data-file-system", "gap")
            .starts_with("tmpfs on none")
    );
    assert!(
        said.expect("data-space", "gap")
            .starts_with("4.0 MiB of 4.0 MiB free")
    );
    assert!(said.expect("data-fsync", "gap").contains("memory"));
}

#[test]
fn a_full_file_system_is_missing_room() {
    let place = Place::ours();
    let data = place.data();
    let mount = format!(
        "mount -t tmpfs -o size=64k none {0} && head -c 1000000 /dev/zero > {0}/big 2>/dev/null; exec \"$0\" \"$@\"",
        data.display()
    );
    let said = said(|| {
        place.doctor_behind(&[
            "unshare",
            "--user",
            "--map-root-user",
            "--mount",
            "sh",
            "-c",
            &mount,
        ])
    });
    assert_eq!(said.code, 1);
    assert!(
        said.expect("data-space", "missing")
            .starts_with("0.0 KiB of 64.0 KiB free")
    );
}

#[test]
fn an_address_in_use_is_missing() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let place = Place::ours();
    let said = said(|| {
        let mut command = place.command(place.program().to_str().unwrap());
        command
            .arg("doctor")
            .arg("--data")
            .arg(place.data())
            .args(["--listen", &address]);
        command
    });
    assert_eq!(said.code, 1);
    assert!(
        said.expect("listen-address", "missing")
            .starts_with(&format!("{address} is in use\n"))
    );
}

/// A server that does not outlive its test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(pid) = rustix::process::Pid::from_raw(self.0.id() as i32) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let _ = self.0.wait();
    }
}

#[test]
fn data_another_server_holds_is_missing_until_it_ends() {
    for place in Place::all() {
        said(|| place.doctor()).expect("data-in-use", "good");
        let mut serve = place.command(place.program().to_str().unwrap());
        serve.arg("serve").arg("--data").arg(place.data()).args([
            "--listen",
            "127.0.0.1:0",
            "--threads",
            "1",
        ]);
        let mut server = Server(
            serve
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap(),
        );
        // Kept open to the end: there is more to print than is read here.
        let mut printed = BufReader::new(server.0.stdout.take().unwrap());
        let mut line = String::new();
        printed.read_line(&mut line).unwrap();
        assert!(line.starts_with("Percloud is ready"), "{line}");
        let held = said(|| place.doctor());
        assert_eq!(held.code, 1);
        held.expect("data-in-use", "missing");
        drop(server);
        said(|| place.doctor()).expect("data-in-use", "good");
    }
}

#[test]
fn a_command_line_that_is_not_understood_ends_with_two() {
    let place = Place::ours();
    let code = |arguments: &[&str]| {
        let mut command = place.command(place.program().to_str().unwrap());
        command
            .arg("doctor")
            .args(arguments)
            .output()
            .unwrap()
            .status
            .code()
    };
    for arguments in [
        &[][..],
        &["--data"],
        &["--data", ""],
        &["--data", "/tmp", "--listen", "nowhere"],
        &["--data", "/tmp", "--fix"],
        &["--data", "/tmp", "more"],
    ] {
        assert_eq!(code(arguments), Some(2), "{arguments:?}");
    }
}

#[test]
fn the_environment_says_where_as_it_does_to_a_server() {
    let place = Place::ours();
    let mut command = place.command(place.program().to_str().unwrap());
    command
        .args(["doctor", "--json"])
        .env("PERCLOUD_DATA", place.data())
        .env("PERCLOUD_LISTEN", "127.0.0.1:0");
    let json: Value = serde_json::from_slice(&command.output().unwrap().stdout).unwrap();
    assert_eq!(json["data"], place.data().to_str().unwrap());
    assert_eq!(json["listen"], "127.0.0.1:0");
}

#[test]
fn a_hostile_name_reaches_no_terminal() {
    let place = Place::ours();
    let said = said(|| {
        let mut command = place.command(place.program().to_str().unwrap());
        command
            .arg("doctor")
            .arg("--data")
            .arg(place.data().join("a\u{1b}]0;x\u{7}\nb\u{202e}"));
        command.args(["--listen", "127.0.0.1:0"]);
        command
    });
    assert!(
        !said.text.contains(['\u{1b}', '\u{7}', '\u{202e}']),
        "{}",
        said.text
    );
    assert!(
        said.text
            .lines()
            .next()
            .unwrap()
            .ends_with("a\\u{1b}]0;x\\u{7}\\u{a}b\\u{202e}"),
        "{}",
        said.text
    );
}

/// What is printed on a terminal.
fn on_terminal(place: &Place, no_color: Option<&str>) -> String {
    let terminal = nix::pty::openpty(None, None).unwrap();
    let mut command = place.doctor();
    if let Some(value) = no_color {
        command.env("NO_COLOR", value);
    }
    let mut child = command.stdout(Stdio::from(terminal.slave)).spawn().unwrap();
    // It holds the terminal's other end, which must close for reading to end.
    drop(command);
    let mut bytes = Vec::new();
    // Ends with EIO when nobody has the other end open any more.
    let _ = File::from(terminal.master).read_to_end(&mut bytes);
    child.wait().unwrap();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn colour_is_for_terminals_and_for_those_who_want_it() {
    let place = Place::ours();
    let coloured = on_terminal(&place, None);
    assert!(coloured.contains("\u{1b}[32mgood   \u{1b}[0m"), "{coloured}");
    assert!(
        on_terminal(&place, Some("")).contains('\u{1b}'),
        "set to nothing counts as not set"
    );
    let plain = on_terminal(&place, Some("1"));
    assert!(plain.contains("good") && !plain.contains('\u{1b}'), "{plain}");
    assert!(!utf8(&place.doctor().output().unwrap()).contains('\u{1b}'));
}

#[test]
fn the_help_tells_codes_and_promises() {
    let place = Place::ours();
    let help = utf8(
        &place
            .command(place.program().to_str().unwrap())
            .args(["doctor", "--help"])
            .output()
            .unwrap(),
    );
    for words in [
        "Exit status:",
        "NO_COLOR",
        "--json",
        "--data <DIR>",
        "--listen <ADDRESS:PORT>",
        "Examples:",
    ] {
        assert!(help.contains(words), "{words}\n{help}");
    }
}
