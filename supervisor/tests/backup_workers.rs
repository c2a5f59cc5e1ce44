//! The workers of backups as the broker has them: forked by a real launcher, confined, killed at any time.

#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::io::{BufRead, BufReader, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use percloud_backup::{GrainInfo, Limits, Packed, STORAGE, Why};
use percloud_broker::{BackupReport, FreezeReport, RestoreReport};
use percloud_sandbox::launcher::{Client, Kind, Started};
use percloud_sandbox::process::{Child, spawn_role};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Signal;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// The user every test can drop to.
const NOBODY: u32 = 65534;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Starter {
    Us,
    Nobody,
}

impl Starter {
    /// Both kinds of user a server can be, when the tests run as root; ourselves otherwise.
    fn all() -> &'static [Starter] {
        if rustix::process::geteuid().is_root() {
            &[Starter::Us, Starter::Nobody]
        } else {
            &[Starter::Us]
        }
    }
}

static STARTING: Mutex<()> = Mutex::new(());

/// A launcher, and a folder that is its user's.
struct Rig {
    place: tempfile::TempDir,
    starter: Starter,
    client: Option<Client>,
    process: Child,
}

impl Drop for Rig {
    fn drop(&mut self) {
        // It ends by itself and takes its control groups along; killed, it could not.
        self.client = None;
        let _ = self.process.wait();
    }
}

impl Rig {
    fn new(starter: Starter) -> Self {
        let place = tempfile::Builder::new()
            .prefix("percloud-backup-test")
            .permissions(Permissions::from_mode(0o755))
            .tempdir()
            .unwrap();
        // One at a time: a process another thread forks off while the copy is being written holds it open for writing until it
        // is another program, and what is open for writing cannot be executed.
        let _turn = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
        // A copy, for the other user may not enter the folder it was built in.
        let program = place.path().join("percloud");
        fs::copy(env!("CARGO_BIN_EXE_percloud"), &program).unwrap();
        let (ours, theirs) = UnixStream::pair().unwrap();
        let fds = vec![(theirs.into(), 3)];
        let process = if starter == Starter::Nobody {
            let ids = format!("--reuid={NOBODY} --regid={NOBODY} --clear-groups");
            let arguments = ids.split(' ').map(OsString::from);
            let arguments: Vec<OsString> = arguments.chain([program.into(), "launcher".into()]).collect();
            spawn_role("/usr/bin/setpriv".as_ref(), &arguments, &[], fds)
        } else {
            spawn_role(&program, &["launcher".into()], &[], fds)
        };
        let rig = Self {
            starter,
            client: Some(Client::new(ours.into())),
            process: process.unwrap(),
            place,
        };
        for folder in ["grain", "grain/sandbox", "staging"] {
            fs::create_dir(rig.path(folder)).unwrap();
            fs::set_permissions(rig.path(folder), Permissions::from_mode(0o700)).unwrap();
            rig.give(&rig.path(folder));
        }
        rig
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    fn owner(&self) -> u32 {
        match self.starter {
            Starter::Nobody => NOBODY,
            Starter::Us => rustix::process::geteuid().as_raw(),
        }
    }

    /// Makes something the server's own, as everything in its data is.
    fn give(&self, path: &Path) {
        std::os::unix::fs::lchown(path, Some(self.owner()), Some(self.owner())).unwrap();
    }

    fn write(&self, name: &str, content: &[u8]) {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        self.give(&path);
    }

    fn start(&mut self, job: Value, fds: &[BorrowedFd<'_>]) -> Started {
        let client = self.client.as_mut().expect("it goes on until the end");
        client.request(&Kind::Worker { job }, fds).unwrap()
    }

    fn start_backup(&mut self, out: &OwnedFd) -> (Started, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let job = json!({"pack-backup": {"grain": self.path("grain"), "info": info(), "limits": Limits::default()}});
        (self.start(job, &[theirs.as_fd(), out.as_fd()]), ours)
    }

    fn start_restore(&mut self, limits: Limits) -> (Started, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let job = json!({"restore-backup":
            {"zip": self.path("backup.zip"), "into": self.path("staging"), "limits": limits}});
        (self.start(job, &[theirs.as_fd()]), ours)
    }

    /// Packs the grain into `backup.zip`, through a pipe as towards a browser.
    fn backup(&mut self) -> BackupReport {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let out = OwnedFd::from(writer);
        let (worker, report) = self.start_backup(&out);
        drop(out);
        let mut zip = Vec::new();
        reader.read_to_end(&mut zip).unwrap();
        self.write("backup.zip", &zip);
        let last = last(report);
        ended(&worker);
        last
    }

    fn restore(&mut self) -> RestoreReport {
        let (worker, report) = self.start_restore(Limits::default());
        let last = last(report);
        ended(&worker);
        last
    }

    fn restored(&self, name: &str) -> PathBuf {
        self.path("staging").join(STORAGE).join(name)
    }
}

fn info() -> GrainInfo {
    GrainInfo {
        app_id: "a".repeat(52),
        title: "A grain".to_owned(),
        ..GrainInfo::default()
    }
}

/// The last line of a report; each must be one.
fn last<T: DeserializeOwned>(report: UnixStream) -> T {
    let lines = BufReader::new(report).lines().map(|line| {
        let line = line.unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    });
    lines.last().expect("an outcome")
}

fn ended(started: &Started) {
    let limit = Timespec {
        tv_sec: 20,
        tv_nsec: 0,
    };
    let mut polled = [PollFd::new(&started.pidfd, PollFlags::IN)];
    let count = poll(&mut polled, Some(&limit)).unwrap();
    assert_eq!(count, 1, "process {} goes on", started.pid);
}

fn kill(started: &Started) {
    // It may have ended by itself.
    let _ = rustix::process::pidfd_send_signal(&started.pidfd, Signal::KILL);
    ended(started);
}

#[track_caller]
fn packed(report: BackupReport) -> Packed {
    match report {
        BackupReport::Done(packed) => *packed,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_grain_goes_out_and_comes_back_as_the_servers_own() {
    for &starter in Starter::all() {
        let mut rig = Rig::new(starter);
        fs::create_dir(rig.path("grain/sandbox/folder")).unwrap();
        rig.give(&rig.path("grain/sandbox/folder"));
        rig.write("grain/sandbox/folder/file", &b"content ".repeat(100_000));
        rig.write("grain/sandbox/program", b"#!/bin/sh\n");
        fs::set_permissions(rig.path("grain/sandbox/program"), Permissions::from_mode(0o755)).unwrap();
        symlink("/etc/passwd", rig.path("grain/sandbox/link")).unwrap();
        rig.give(&rig.path("grain/sandbox/link"));
        rig.write("grain/log", b"words");
        let packed = packed(rig.backup());
        assert_eq!((packed.entries, packed.skipped_count), (7, 0), "{starter:?}");

        let RestoreReport::Done(restored) = rig.restore() else {
            panic!("{starter:?}: not restored")
        };
        assert_eq!((restored.info, restored.entries), (info(), 5));
        assert_eq!(
            fs::read(rig.restored("folder/file")).unwrap(),
            b"content ".repeat(100_000)
        );
        assert_eq!(
            fs::metadata(rig.restored("program")).unwrap().mode() & 0o7777,
            0o755
        );
        assert_eq!(
            fs::read_link(rig.restored("link")).unwrap(),
            Path::new("/etc/passwd")
        );
        // Owned like every grain's: the app's user is made of the server's when its storage is mounted.
        for name in ["", "folder", "folder/file", "program", "link"] {
            let meta = fs::symlink_metadata(rig.restored(name)).unwrap();
            assert_eq!(meta.uid(), rig.owner(), "{starter:?}: {name}");
        }
    }
}

#[test]
fn what_the_worker_may_not_read_is_told() {
    for &starter in Starter::all() {
        let mut rig = Rig::new(starter);
        rig.write("grain/sandbox/open", b"x");
        rig.write("grain/sandbox/closed", b"x");
        fs::set_permissions(rig.path("grain/sandbox/closed"), Permissions::from_mode(0o000)).unwrap();
        fs::create_dir(rig.path("grain/sandbox/shut")).unwrap();
        rig.give(&rig.path("grain/sandbox/shut"));
        fs::set_permissions(rig.path("grain/sandbox/shut"), Permissions::from_mode(0o300)).unwrap();
        let packed = packed(rig.backup());
        let names: Vec<_> = packed
            .skipped
            .iter()
            .map(|skipped| (skipped.name.as_str(), skipped.why))
            .collect();
        let unreadable = Why::Unreadable;
        assert_eq!(
            names,
            [("data/closed", unreadable), ("data/shut", unreadable)],
            "{starter:?}"
        );
        assert!(matches!(rig.restore(), RestoreReport::Done(_)));
    }
}

#[test]
fn a_worker_reads_its_grain_and_nothing_else() {
    for &starter in Starter::all() {
        let mut rig = Rig::new(starter);
        // A folder of storage that is a link to another grain, as a taken-over host could make of it.
        fs::create_dir(rig.path("other")).unwrap();
        rig.write("other/secret", b"secret");
        fs::remove_dir(rig.path("grain/sandbox")).unwrap();
        symlink(rig.path("other"), rig.path("grain/sandbox")).unwrap();
        symlink(rig.path("other/secret"), rig.path("grain/log")).unwrap();
        match rig.backup() {
            BackupReport::Failed { code, .. } => assert_eq!(code, "system"),
            other => panic!("{starter:?}: {other:?}"),
        }
        let zip = fs::read(rig.path("backup.zip")).unwrap();
        assert!(!zip.windows(6).any(|window| window == b"secret"));
    }
}

#[test]
fn a_refused_backup_says_which_entry_and_why() {
    let mut rig = Rig::new(Starter::Us);
    for (zip, code) in [
        (b"PK\x03\x04 cut".as_slice(), "truncated"),
        (b"hello", "not-a-zip"),
    ] {
        rig.write("backup.zip", zip);
        match rig.restore() {
            RestoreReport::Failed { code: found, message } => {
                assert_eq!(found, code);
                assert!(!message.is_empty());
            }
            other => panic!("{other:?}"),
        }
    }
    rig.write("grain/sandbox/large", &[0x55; 5000]);
    packed(rig.backup());
    let limits = Limits {
        bytes: 4999,
        ..Limits::default()
    };
    let (worker, report) = rig.start_restore(limits);
    match last(report) {
        RestoreReport::Failed { code, message } => {
            assert_eq!(code, "too-large");
            assert_eq!(message, "\"data/large\": its files have more than 4999 bytes");
        }
        other => panic!("{other:?}"),
    }
    ended(&worker);
    assert_eq!(fs::read_dir(rig.path("staging")).unwrap().count(), 0);
}

#[test]
fn a_worker_killed_at_any_moment_leaves_only_staging() {
    let mut rig = Rig::new(Starter::Us);
    for number in 0..400_u32 {
        let folder = format!("grain/sandbox/folder-{}", number % 20);
        fs::create_dir_all(rig.path(&folder)).unwrap();
        rig.write(
            &format!("{folder}/file-{number}"),
            &number.to_le_bytes().repeat(2000),
        );
    }
    packed(rig.backup());
    let around = |rig: &Rig| -> Vec<_> {
        let entries = fs::read_dir(rig.place.path()).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let (before, zip) = (around(&rig), fs::read(rig.path("backup.zip")).unwrap());
    let mut partial = 0;
    for moment in 0..25 {
        let (worker, report) = rig.start_restore(Limits::default());
        // Different moments without a clock: after so many files have appeared.
        loop {
            let folders = fs::read_dir(rig.path("staging").join(STORAGE));
            let made = folders.map_or(0, Iterator::count);
            let mut done = [PollFd::new(&worker.pidfd, PollFlags::IN)];
            let now = Timespec {
                tv_sec: 0,
                tv_nsec: 0,
            };
            if made >= moment || poll(&mut done, Some(&now)).unwrap() == 1 {
                break;
            }
        }
        kill(&worker);
        drop(report);
        partial += u32::from(!rig.restored("folder-9/file-399").exists());
        assert_eq!(around(&rig), before);
        assert_eq!(fs::read(rig.path("backup.zip")).unwrap(), zip);
        fs::remove_dir_all(rig.path("staging")).unwrap();
        fs::create_dir(rig.path("staging")).unwrap();
    }
    assert!(partial > 5, "killed too late to prove anything: {partial}");
    assert!(matches!(rig.restore(), RestoreReport::Done(_)));
}

#[test]
fn workers_end_when_nobody_waits_for_them() {
    let mut rig = Rig::new(Starter::Us);
    let file = File::create(rig.path("grain/sandbox/large")).unwrap();
    // Hours of work, if it were done.
    file.set_len(60 << 30).unwrap();
    let (mut reader, writer) = std::io::pipe().unwrap();
    let out = OwnedFd::from(writer);
    let (worker, report) = rig.start_backup(&out);
    drop(out);
    reader.read_exact(&mut [0; 1000]).unwrap();
    drop((reader, report));
    ended(&worker);
}

#[test]
fn a_storage_is_held_still_only_where_there_is_a_group() {
    let mut rig = Rig::new(Starter::Us);
    let (ours, theirs) = UnixStream::pair().unwrap();
    // The launcher is nobody's grain host.
    let pid = rig.process.pid;
    let holder = rig.start(json!({"freeze": {"host": pid}}), &[theirs.as_fd()]);
    drop(theirs);
    match last(ours) {
        FreezeReport::Failed { message } => assert!(message.contains("no control group"), "{message}"),
        FreezeReport::Frozen => panic!("nothing was there to freeze"),
    }
    ended(&holder);
}

#[test]
fn a_job_with_the_wrong_descriptors_is_refused() {
    let mut rig = Rig::new(Starter::Us);
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let job =
        json!({"pack-backup": {"grain": rig.path("grain"), "info": info(), "limits": Limits::default()}});
    let worker = rig.start(job, &[theirs.as_fd()]);
    drop(theirs);
    ended(&worker);
    let mut text = String::new();
    ours.read_to_string(&mut text).unwrap();
    assert_eq!(text, "");
}
