//! Runs programs in a room of their own: a folder, an environment, and a hosts file in which Percloud's names stand.
//!
//! Outside browsers, names below `localhost` resolve on some machines only. Rather than teach each program another
//! trick, its view of `/etc/hosts` is ours, in a mount namespace that an ordinary user may make.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use percloud_tests::process;
use percloud_tests::wait;
use tempfile::TempDir;

/// How long any program may run.
const PATIENCE: Duration = Duration::from_secs(90);

/// The variable by which `cargo xtask test` says where it unpacked programs that are not installed.
const UNPACKED: &str = "PERCLOUD_CLIENTS";

/// Covers the hosts file and becomes the program.
const ENTER: &str = "mount --bind \"$0\" /etc/hosts && exec \"$@\"";

/// A folder and the names that resolve in it.
#[derive(Debug)]
pub struct Room {
    folder: TempDir,
    variables: Vec<(String, String)>,
}

/// What a program did.
#[derive(Debug)]
pub struct Outcome {
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to standard output.
    pub output: String,
    /// What it wrote to standard error.
    pub errors: String,
}

impl Room {
    /// A fresh room where `hosts` (with or without port) are this machine.
    pub fn new<'a>(hosts: impl Iterator<Item = &'a str>) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("percloud-client-")
            .tempdir()
            .expect("a temporary folder can be made");
        let room = Room {
            folder,
            variables: Vec::new(),
        };
        let mut names = String::from("127.0.0.1 localhost\n");
        for host in hosts {
            let name = host.split(':').next().expect("splitting yields something");
            names.push_str(&format!("127.0.0.1 {name}\n"));
        }
        fs::write(room.path(".hosts"), names).expect("the hosts file can be written");
        room
    }

    /// Sets a variable for every program started from now on.
    pub fn set(&mut self, variable: &str, value: &str) {
        self.variables.push((variable.to_owned(), value.to_owned()));
    }

    /// A path in the room.
    pub fn path(&self, relative: &str) -> PathBuf {
        self.folder.path().join(relative)
    }

    /// Writes a file, and the folders above it.
    pub fn write(&self, relative: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(relative);
        fs::create_dir_all(path.parent().expect("it was joined")).expect("folders can be made");
        fs::write(&path, content).unwrap_or_else(|error| panic!("cannot write {relative}: {error}"));
        path
    }

    /// Reads a file.
    pub fn read(&self, relative: &str) -> Vec<u8> {
        fs::read(self.path(relative)).unwrap_or_else(|error| panic!("cannot read {relative}: {error}"))
    }

    /// Runs a program with nothing to read.
    pub fn run<S: AsRef<OsStr>>(&self, program: &str, arguments: impl IntoIterator<Item = S>) -> Outcome {
        self.run_telling(program, arguments, "")
    }

    /// Runs a program and expects it to succeed; returns its standard output.
    pub fn expect<S: AsRef<OsStr>>(&self, program: &str, arguments: impl IntoIterator<Item = S>) -> String {
        let outcome = self.run(program, arguments);
        assert!(outcome.status.success(), "{program}: {outcome}");
        outcome.output
    }

    /// Runs a program that reads `input` as if a person typed it.
    pub fn run_telling<S: AsRef<OsStr>>(
        &self,
        program: &str,
        arguments: impl IntoIterator<Item = S>,
        input: &str,
    ) -> Outcome {
        let input_file = self.write(".input", input);
        let (out, err) = (self.path(".output"), self.path(".errors"));
        let open = |path: &Path| File::create(path).expect("files can be made in the room");
        let mut command = Command::new("unshare");
        command
            .args(["--user", "--map-root-user", "--mount", "sh", "-c", ENTER])
            .arg(self.path(".hosts"));
        let found = find(program);
        command.args(&found.words).args(arguments);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.folder.path())
            .env("LANG", "C.UTF-8")
            .envs(found.environment)
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .current_dir(self.folder.path())
            .stdin(File::open(input_file).expect("it was just written"))
            .stdout(Stdio::from(open(&out)))
            .stderr(Stdio::from(open(&err)));
        let mut child = command.spawn().expect("unshare can be started");
        let status = wait::within(PATIENCE, || child.try_wait().expect("it can be waited for"));
        let read = |path: &Path| {
            String::from_utf8_lossy(&fs::read(path).expect("its output can be read")).into_owned()
        };
        let status = status.unwrap_or_else(|| {
            process::tree(child.id()).iter().for_each(process::Process::kill);
            let _ = child.wait();
            panic!(
                "{program} did not end within {PATIENCE:?}:\n{}\n{}",
                read(&out),
                read(&err)
            );
        });
        Outcome {
            status,
            output: read(&out),
            errors: read(&err),
        }
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}\n{}\n{}", self.status, self.output, self.errors)
    }
}

/// How a program is started.
struct Found {
    words: Vec<OsString>,
    environment: Vec<(&'static str, OsString)>,
}

/// Finds a program among those unpacked for us, or on the search path.
///
/// # Panics
///
/// When it is nowhere: a test that cannot run says so.
fn find(program: &str) -> Found {
    let unpacked = std::env::var_os(UNPACKED).map(PathBuf::from);
    if let Some(folder) = unpacked
        && folder.join("usr/bin").join(program).is_file()
    {
        return of_folder(&folder, program);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|candidate| candidate.is_file());
    let found = found
        .unwrap_or_else(|| panic!("the program {program} is not here; `cargo xtask test clients` brings it"));
    Found {
        words: vec![found.into()],
        environment: Vec::new(),
    }
}

/// A program that lies in a folder rather than where it was built for.
fn of_folder(folder: &Path, program: &str) -> Found {
    let place = |relative: &str| folder.join(relative);
    let libraries = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"].map(place);
    let libraries = std::env::join_paths(libraries).expect("the folder's name holds no colon");
    let mut environment = vec![
        ("LD_LIBRARY_PATH", libraries),
        ("PYTHONPATH", place("usr/lib/python3/dist-packages").into()),
        // The programs of litmus, and what they compare with.
        ("TESTROOT", place("usr/libexec/litmus").into()),
        ("HTDOCS", place("usr/share/litmus/htdocs").into()),
    ];
    let mut words = Vec::new();
    let text = fs::read(place("usr/bin").join(program)).expect("it was found a moment ago");
    if text.starts_with(b"#!/usr/bin/python3") {
        let own = place("usr/bin/python3.11");
        if own.is_file() {
            environment.push(("PYTHONHOME", place("usr").into()));
            words.push(own.into());
        } else {
            words.push("/usr/bin/python3".into());
        }
    }
    words.push(place("usr/bin").join(program).into());
    Found { words, environment }
}
