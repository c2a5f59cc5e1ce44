//! Packages with the prober in them, and the programs of `examples/sandboxed.rs`.

#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::disallowed_methods, reason = "tests start programs")]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use percloud_sandbox::{Policy, SandboxSpec};
use serde::Deserialize;

/// The user every test can drop to.
pub const NOBODY: u32 = 65534;

/// Who starts the sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Starter {
    /// Whoever runs the tests.
    Us,
    /// Whoever runs the tests, where mounts are shared, as systemd has them on every machine; needs them to be root.
    Shared,
    /// An ordinary user; needs the tests to run as root.
    Nobody,
}

impl Starter {
    /// Everyone we can be: all cases when run as root, ourselves otherwise.
    pub fn all() -> &'static [Starter] {
        if rustix::process::geteuid().is_root() {
            &[Starter::Us, Starter::Shared, Starter::Nobody]
        } else {
            &[Starter::Us]
        }
    }
}

/// What a sandbox started here is warned of: nothing where a control group can be had, else that.
pub fn expected_warnings(warnings: &[String]) {
    for warning in warnings {
        assert!(warning.starts_with("no control group"), "{warning}");
    }
}

/// A package and a storage directory that every user may use, below a directory of their own.
pub struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    /// Makes a package with the prober and every directory a sandbox mounts something on.
    pub fn new() -> Self {
        let directory = tempfile::Builder::new()
            .prefix("percloud-sandbox-test")
            .tempdir()
            .unwrap();
        let place = Self { directory };
        open_to_all(place.directory.path());
        for name in [
            "package",
            "package/bin",
            "package/var",
            "package/tmp",
            "package/dev",
            "package/proc",
            "var",
        ] {
            std::fs::create_dir(place.path(name)).unwrap();
            let mode = if name == "var" { 0o777 } else { 0o755 };
            std::fs::set_permissions(place.path(name), PermissionsExt::from_mode(mode)).unwrap();
        }
        std::fs::write(place.path("package/proc/cpuinfo"), b"").unwrap();
        copy_program(prober(), &place.path("package/bin/prober"));
        copy_program(driver(), &place.path("driver"));
        place
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A specification that runs the prober under Sandstorm's rules.
    pub fn spec(&self, arguments: &[&str]) -> SandboxSpec {
        let argv = std::iter::once("/bin/prober")
            .chain(arguments.iter().copied())
            .map(str::to_owned)
            .collect();
        let mut spec = SandboxSpec::new(self.path("package"), self.path("var"), argv);
        spec.policy = Policy::Sandstorm;
        spec
    }

    /// A command of the driver, as `starter`.
    pub fn driver(&self, starter: Starter, arguments: &[&str]) -> Command {
        let driver = self.path("driver");
        let mut command = match starter {
            Starter::Us | Starter::Nobody => Command::new(driver),
            Starter::Shared => {
                let mut unshare = Command::new("unshare");
                unshare.args(["--mount", "--propagation", "shared"]).arg(driver);
                unshare
            }
        };
        command
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        if starter == Starter::Nobody {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }

    /// Starts the driver and hands it the specification.
    pub fn begin(&self, starter: Starter, command: &[&str], spec: &SandboxSpec) -> Running {
        let mut child = self.driver(starter, command).spawn().unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(&serde_json::to_vec(spec).unwrap())
            .unwrap();
        Running(child)
    }

    /// Runs the app of `spec` to its end.
    pub fn run(&self, starter: Starter, spec: &SandboxSpec) -> Run {
        let output = self.begin(starter, &["run"], spec).output();
        serde_json::from_str(&output).unwrap_or_else(|error| panic!("{error}: {output}"))
    }
}

/// A process that does not outlive the test, even one that fails.
pub struct Running(pub Child);

impl Running {
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Waits for the end and returns what it wrote.
    pub fn output(mut self) -> String {
        let mut text = String::new();
        self.0.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        self.0.wait().unwrap();
        text
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn open_to_all(directory: &Path) {
    std::fs::set_permissions(directory, PermissionsExt::from_mode(0o755)).unwrap();
}

/// Copies a program to execute. Not with a descriptor of this process: a fork of another test's thread would carry it
/// along, and nobody can execute a file that somebody has open for writing.
pub fn copy_program(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg(from).arg(to).status().unwrap().success());
}

/// What became of one app.
#[derive(Debug, Deserialize)]
pub struct Run {
    pub error: Option<String>,
    pub output: String,
    pub exit: String,
    pub warnings: Vec<String>,
    pub refused: Vec<(String, u64, u16)>,
    pub memory_refused: Option<u64>,
    pub memory_kills: Option<u64>,
    pub processes_refused: Option<u64>,
    pub processor_us: Option<u64>,
}

impl Run {
    /// The lines `name: outcome` the prober printed.
    pub fn outcomes(&self) -> BTreeMap<&str, &str> {
        assert_eq!(self.error, None);
        self.output
            .lines()
            .filter_map(|line| line.split_once(": ").or(line.split_once(':')))
            .collect()
    }
}

/// Builds the prober as a static binary, once, and returns it.
pub fn prober() -> &'static Path {
    static PROBER: OnceLock<PathBuf> = OnceLock::new();
    PROBER.get_or_init(|| {
        let mut build = cargo_build(&["--release", "--package", "percloud-prober"]);
        build
            .args(["--target", "x86_64-unknown-linux-gnu"])
            .env("RUSTFLAGS", "-C target-feature=+crt-static");
        assert!(build.status().unwrap().success());
        target().join("x86_64-unknown-linux-gnu/release/percloud-prober")
    })
}

/// Builds the example the sandboxes are started from, once: `cargo test --test NAME` builds no examples.
fn driver() -> &'static Path {
    static DRIVER: OnceLock<PathBuf> = OnceLock::new();
    DRIVER.get_or_init(|| {
        let mut build = cargo_build(&["--package", "percloud-sandbox", "--example", "sandboxed"]);
        assert!(build.status().unwrap().success());
        target().join("debug/examples/sandboxed")
    })
}

fn cargo_build(arguments: &[&str]) -> Command {
    let mut build = Command::new(env!("CARGO"));
    build
        .args(["build", "--quiet"])
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    build
}

/// Cargo's target directory: three levels above a test's binary (`target/debug/deps/name`).
fn target() -> PathBuf {
    std::env::current_exe()
        .unwrap()
        .ancestors()
        .nth(3)
        .unwrap()
        .to_owned()
}

/// Processes of the machine whose command line holds `mark`, except this one's children named in `but`.
pub fn processes_with(mark: &str) -> Vec<i32> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse() else {
            continue;
        };
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if line.windows(mark.len()).any(|window| window == mark.as_bytes()) {
            found.push(pid);
        }
    }
    found
}

/// Asks `condition` until it holds; panics with `what` after half a minute.
pub fn eventually(what: &str, condition: impl Fn() -> bool) {
    within(30, what, condition);
}

/// Asks `condition` until it holds; panics with `what` after so many seconds.
pub fn within(seconds: u64, what: &str, condition: impl Fn() -> bool) {
    let begun = std::time::Instant::now();
    while !condition() {
        assert!(begun.elapsed().as_secs() < seconds, "{what}");
        // Not in the way of what it waits for.
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}

/// Reads until the app says that it is where the test wants it.
pub fn read_ready(output: &mut impl std::io::Read) {
    let mut text = Vec::new();
    let mut byte = [0];
    while !text.ends_with(b"ready\n") {
        assert_eq!(
            output.read(&mut byte).unwrap(),
            1,
            "{}",
            String::from_utf8_lossy(&text)
        );
        text.push(byte[0]);
    }
}

/// Control group directories made by process `pid`, anywhere.
pub fn groups_of(pid: u32) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(&directory).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if entry.file_name().to_string_lossy() == format!("percloud-{pid}") {
                    found.push(entry.path());
                }
                open.push(entry.path());
            }
        }
    }
    found
}
