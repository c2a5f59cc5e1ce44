//! Uses the `spk` program as an author does.
#![allow(
    clippy::disallowed_methods,
    reason = "a test of the program starts the program"
)]

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// A folder of its own, with a keyring in it, and the program.
struct Author {
    home: tempfile::TempDir,
}

/// What a run of the program gave.
struct Ran {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Author {
    fn new() -> Self {
        Self {
            home: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_spk"));
        command
            .args(arguments)
            .current_dir(self.home.path())
            .env("HOME", self.home.path());
        command.env_remove("PERCLOUD_HTTP_BRIDGE").stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        Ran::from(self.command(arguments).output().unwrap())
    }

    /// Runs what has to succeed and returns what it prints.
    #[track_caller]
    fn spk(&self, arguments: &[&str]) -> String {
        let ran = self.run(arguments);
        assert_eq!(ran.code, 0, "{arguments:?}: {}", ran.stderr);
        ran.stdout.trim_end().to_owned()
    }

    /// Makes a small app in `app/` and returns its id.
    fn app(&self) -> String {
        write(&self.path("app/run"), b"#!/bin/sh\n", 0o755);
        write(&self.path("app/data/file"), b"contents", 0o644);
        std::os::unix::fs::symlink("file", self.path("app/data/link")).unwrap();
        self.spk(&["init", "-r", "-A", "-I", "app", "--", "/run"])
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().expect("it ended by itself"),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

fn write(path: &Path, content: &[u8], mode: u32) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn an_author_makes_a_package_and_another_reads_it() {
    let author = Author::new();
    let app = author.app();
    assert_eq!(author.spk(&["listkeys"]), app);
    assert_eq!(author.spk(&["pack", "-q", "notes.spk"]), app);

    let text = author.spk(&["verify", "notes.spk"]);
    assert!(
        text.contains("Example App") && text.contains(&app) && text.contains("valid"),
        "{text}"
    );
    let info: Value = serde_json::from_str(&author.spk(&["verify", "--json", "notes.spk"])).unwrap();
    assert_eq!(info["appId"], app.as_str());
    assert_eq!(info["title"]["defaultText"], "Example App");
    assert_eq!(
        fs::metadata(author.path("notes.spk")).unwrap().len(),
        info["size"].as_u64().unwrap()
    );

    // Into the package's name without ".spk".
    assert_eq!(author.spk(&["unpack", "notes.spk"]), app);
    assert_eq!(fs::read(author.path("notes/data/file")).unwrap(), b"contents");
    assert_eq!(
        fs::read_link(author.path("notes/data/link")).unwrap(),
        Path::new("file")
    );
    assert_eq!(
        author.run(&["unpack", "notes.spk"]).code,
        1,
        "it is there already"
    );
}

#[test]
fn packages_come_from_standard_input_too() {
    let author = Author::new();
    let app = author.app();
    author.spk(&["pack", "-q", "app.spk"]);
    let mut child = author
        .command(&["unpack", "-", "out"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(&fs::read(author.path("app.spk")).unwrap())
        .unwrap();
    let mut printed = String::new();
    child.stdout.take().unwrap().read_to_string(&mut printed).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(printed.trim_end(), app);
    assert_eq!(fs::read(author.path("out/data/link")).unwrap(), b"contents");
    assert_eq!(author.run(&["unpack", "-"]).code, 2, "it needs a folder then");
}

#[test]
fn keys_move_between_keyrings() {
    let author = Author::new();
    let (first, second) = (author.spk(&["keygen"]), author.spk(&["keygen", "-q"]));
    let output = author.command(&["getkey", &second]).output().unwrap();
    assert_eq!(output.stdout.len(), 128);
    fs::write(author.path("other"), output.stdout).unwrap();
    let ran = author.run(&["-k", "other", "listkeys"]);
    assert_eq!(ran.stdout.trim_end(), second);
    assert!(
        ran.stderr.contains("chmod 600"),
        "others could read it: {}",
        ran.stderr
    );
    let keys: Vec<String> = serde_json::from_str(&author.spk(&["listkeys", "--json"])).unwrap();
    assert_eq!(keys, [first.clone(), second]);
    let ran = author.run(&["-k", "other", "getkey", &first]);
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""));
    assert!(ran.stderr.contains(&first), "{}", ran.stderr);
    assert_eq!(author.run(&["getkey", "nonsense"]).code, 2);
}

#[test]
fn the_bridge_comes_along() {
    let author = Author::new();
    write(&author.path("app/server"), b"#!/bin/sh\n", 0o755);
    author.spk(&["init", "-p", "8000", "-A", "-I", "app", "--", "/server"]);
    // A copy of the program that has no bridge beside it.
    let lonely = author.path("bin/spk");
    write(&lonely, &fs::read(env!("CARGO_BIN_EXE_spk")).unwrap(), 0o755);
    let mut command = Command::new(lonely);
    command
        .args(["pack", "app.spk"])
        .current_dir(author.home.path())
        .env("HOME", author.home.path());
    let ran = Ran::from(command.env_remove("PERCLOUD_HTTP_BRIDGE").output().unwrap());
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    assert!(
        ran.stderr.contains("--bridge") && ran.stderr.contains("PERCLOUD_HTTP_BRIDGE"),
        "{}",
        ran.stderr
    );

    write(&author.path("bridge"), b"\x7fELF bridge", 0o755);
    author.spk(&["pack", "-q", "--bridge", "bridge", "app.spk"]);
    author.spk(&["unpack", "app.spk", "out"]);
    assert_eq!(
        fs::read(author.path("out/sandstorm-http-bridge")).unwrap(),
        b"\x7fELF bridge"
    );
    assert!(author.path("out/sandstorm-http-bridge-config").is_file());
    let mut command = author.command(&["pack", "-q", "again.spk"]);
    assert!(
        command
            .env("PERCLOUD_HTTP_BRIDGE", "bridge")
            .output()
            .unwrap()
            .status
            .success()
    );
    assert_eq!(
        fs::read(author.path("again.spk")).unwrap(),
        fs::read(author.path("app.spk")).unwrap()
    );
    for port in ["80", "1023", "65536", "x"] {
        assert_eq!(
            author
                .run(&["init", "-p", port, "-o", "other.capnp", "--", "/server"])
                .code,
            2,
            "{port}"
        );
    }
}

#[test]
fn refusals_have_a_reason_a_code_and_a_status() {
    let author = Author::new();
    author.app();
    author.spk(&["pack", "-q", "app.spk"]);
    let good = fs::read(author.path("app.spk")).unwrap();
    let cases: [(&str, &[u8], &str); 4] = [
        ("cut.spk", &good[..good.len() / 2], "truncated"),
        ("zip.spk", b"PK\x03\x04 not a package", "wrong-magic"),
        ("plain.spk", &[&good[..8], b"not compressed"].concat(), "not-xz"),
        ("longer.spk", &[&good[..], b"more"].concat(), "trailing-bytes"),
    ];
    for (name, bytes, code) in cases {
        fs::write(author.path(name), bytes).unwrap();
        let ran = author.run(&["verify", name]);
        assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{name}");
        assert!(ran.stderr.starts_with("spk: "), "{}", ran.stderr);
        let ran = author.run(&["verify", "--json", name]);
        let answer: Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!(
            (ran.code, answer["error"]["code"].as_str()),
            (1, Some(code)),
            "{name}"
        );
        let ran = author.run(&["unpack", name, "out"]);
        assert_eq!(ran.code, 1, "{name}");
        assert!(!author.path("out").exists(), "{name} left nothing");
    }
    assert_eq!(author.run(&["verify", "missing.spk"]).code, 1);
    assert_eq!(author.run(&["frobnicate"]).code, 2);
}

#[test]
fn authors_are_told_what_servers_would_refuse() {
    let author = Author::new();
    author.app();
    fs::set_permissions(author.path("app/run"), fs::Permissions::from_mode(0o644)).unwrap();
    let ran = author.run(&["pack", "app.spk"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(
        ran.stderr.contains("servers will refuse this package"),
        "{}",
        ran.stderr
    );
    let ran = author.run(&["verify", "--json", "app.spk"]);
    let answer: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(
        (ran.code, answer["error"]["code"].as_str()),
        (1, Some("not-executable"))
    );
}

#[test]
fn mistakes_in_a_definition_name_file_and_line() {
    let author = Author::new();
    let app = author.app();
    let definition = author.path("sandstorm-pkgdef.capnp");
    let text = fs::read_to_string(&definition).unwrap();
    fs::write(&definition, text.replace("appVersion = 0", "appVersoin = 0")).unwrap();
    let line = text
        .lines()
        .position(|line| line.contains("appVersion = 0"))
        .unwrap()
        + 1;
    let ran = author.run(&["pack", "app.spk"]);
    assert_eq!(ran.code, 1);
    assert!(
        ran.stderr.contains(&format!("sandstorm-pkgdef.capnp:{line}:")),
        "{}",
        ran.stderr
    );
    assert!(!author.path("app.spk").exists());

    fs::write(&definition, text).unwrap();
    fs::remove_file(author.path(".sandstorm-keyring")).unwrap();
    let ran = author.run(&["pack", "app.spk"]);
    assert!(ran.stderr.contains("spk keygen"), "{}", ran.stderr);
    author.spk(&["keygen"]);
    let ran = author.run(&["pack", "app.spk"]);
    assert!(
        ran.stderr.contains(&app),
        "the key that is missing is named: {}",
        ran.stderr
    );
}

#[test]
fn the_starting_point_packs_whatever_the_command_is() {
    let author = Author::new();
    write(&author.path("app/run \"it\""), b"#!/bin/sh\n", 0o755);
    author.spk(&[
        "init",
        "-r",
        "-A",
        "-I",
        "app",
        "--",
        "/run \"it\"",
        "a\\b",
        "tab\there",
        "line\nbreak",
        "ü",
    ]);
    let ran = author.run(&["init", "-r", "--", "/other"]);
    assert_eq!(ran.code, 2, "nothing is overwritten");
    author.spk(&["pack", "-q", "app.spk"]);
    author.spk(&["verify", "app.spk"]);
}

#[test]
fn help_explains_every_verb() {
    let author = Author::new();
    let help = author.spk(&["--help"]);
    for verb in ["keygen", "listkeys", "getkey", "init", "pack", "unpack", "verify"] {
        assert!(help.contains(verb), "{verb}");
        assert!(author.spk(&[verb, "--help"]).len() > 100, "{verb}");
    }
    assert!(help.contains("Exit status"), "{help}");
}

/// `xz` compresses with several threads into many blocks; Sandstorm's packer lets it.
#[test]
fn packages_compressed_by_xz_are_read_and_xz_reads_ours() {
    let author = Author::new();
    author.app();
    write(
        &author.path("app/data/big"),
        &(0..3_000_000u32)
            .map(|n| (n.wrapping_mul(n) >> 7) as u8)
            .collect::<Vec<_>>(),
        0o644,
    );
    author.spk(&["pack", "-q", "app.spk"]);
    let ours = fs::read(author.path("app.spk")).unwrap();
    let Some(payload) = pipe("xz", &["-dc"], &ours[8..]) else {
        eprintln!("skipped: there is no xz on this machine");
        return;
    };
    for arguments in [
        &["-T2", "--block-size=1MiB"][..],
        &["-9e"],
        &["-0", "--check=none"],
        &["-6", "--x86", "--lzma2"],
    ] {
        let compressed = pipe("xz", arguments, &payload).expect("xz is there");
        fs::write(author.path("theirs.spk"), [&ours[..8], &compressed].concat()).unwrap();
        author.spk(&["verify", "theirs.spk"]);
    }
}

fn pipe(program: &str, arguments: &[&str], input: &[u8]) -> Option<Vec<u8>> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .ok()?;
    let mut stdin = child.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input).unwrap());
        child.wait_with_output().unwrap()
    });
    assert!(output.status.success(), "{program} {arguments:?}");
    Some(output.stdout)
}
