//! A crash of the whole machine, simulated: the writer is stopped, the block image below its mounted file system copied,
//! and the copy mounted. What the file system kept in memory only is not in the copy.
//!
//! Kinder than a power cut in one way (the block device forgets nothing it received), and enough to find an engine that
//! forgets to sync.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rand::Rng;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

use crate::outcome::{Outcome, in_mount_namespace, missing, run};
use crate::workload::{Writer, assert_whole};

const TIME: Duration = Duration::from_secs(20);
const ROUNDS: usize = 12;
const SIZE: u64 = 96 << 20;

/// Several crashes of a host that runs a store.
pub fn crashed_host() -> Outcome {
    let temp = tempfile::tempdir().expect("temporary folder");
    in_mount_namespace(&["--mount"], "image", temp.path())
}

/// The same with a writer that does not sync: it has to lose something, or the case above proves nothing.
pub fn control() -> Outcome {
    let temp = tempfile::tempdir().expect("temporary folder");
    in_mount_namespace(&["--mount"], "image-control", temp.path())
}

/// A file system in a file, mounted through a loop device that the kernel frees with the mount.
struct Disk {
    image: PathBuf,
    mountpoint: PathBuf,
}

impl Disk {
    fn format(dir: &Path) -> Result<Self, String> {
        let image = dir.join("image");
        let file = fs::File::create(&image).map_err(|error| error.to_string())?;
        file.set_len(SIZE).map_err(|error| error.to_string())?;
        drop(file);
        run("mkfs.ext4", &["-q", "-F", &text(&image)])?;
        Self::mount(image, dir.join("disk"))
    }

    fn mount(image: PathBuf, mountpoint: PathBuf) -> Result<Self, String> {
        fs::create_dir_all(&mountpoint).map_err(|error| error.to_string())?;
        run("mount", &["-o", "loop", &text(&image), &text(&mountpoint)])?;
        Ok(Self { image, mountpoint })
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Err(error) = run("umount", &[&text(&self.mountpoint)]) {
            eprintln!("{error}");
        }
    }
}

/// Runs a writer on `disk`, crashes it after some acknowledgements, and returns them with what the disk then held.
fn crash(disk: &Disk, dir: &Path, role: &str, path: &str, lines: usize) -> (u64, Disk) {
    let mut writer = Writer::start(role, &disk.mountpoint.join(path));
    for _ in 0..lines {
        assert!(writer.read(), "the writer died by itself: {:?}", writer.refused);
    }
    // The image is copied while nobody writes: it is the state of one moment, as a crash leaves it.
    let pid = Pid::from_child(&writer.process);
    kill_process(pid, Signal::STOP).expect("our own child");
    let stopped = waitpid(Some(pid), WaitOptions::UNTRACED)
        .expect("our own child")
        .expect("waited");
    assert!(stopped.1.stopped());
    let crashed = dir.join("crashed");
    run("cp", &["--sparse=always", &text(&disk.image), &text(&crashed)]).expect("copies");
    let acknowledged = writer.kill();
    (
        acknowledged,
        Disk::mount(crashed, dir.join("after")).expect("mounts"),
    )
}

pub fn inside(dir: &Path) {
    let since = Instant::now();
    let mut random = rand::rng();
    let mut rounds = 0;
    let mut total = 0;
    while rounds < ROUNDS && since.elapsed() < TIME {
        let disk = Disk::format(dir).unwrap_or_else(|error| missing(&error));
        // Every other store is not new: it has been written, closed and cleaned before.
        let mut before = 0;
        if rounds % 2 == 1 {
            let mut writer = Writer::start("write", &disk.mountpoint.join("store"));
            while writer.acknowledged < 2000 {
                assert!(writer.read());
            }
            before = assert_whole_after(writer, &disk);
        }
        let lines = random.random_range(2..600);
        let (acknowledged, after) = crash(&disk, dir, "write", "store", lines);
        total += assert_whole(&after.mountpoint.join("store"), acknowledged.max(before));
        rounds += 1;
    }
    assert!(rounds >= 3, "only {rounds} rounds in {TIME:?}");
    println!("{rounds} crashes, {total} commits");
}

fn assert_whole_after(writer: Writer, disk: &Disk) -> u64 {
    let acknowledged = writer.kill();
    assert_whole(&disk.mountpoint.join("store"), acknowledged)
}

pub fn control_inside(dir: &Path) {
    let disk = Disk::format(dir).unwrap_or_else(|error| missing(&error));
    let (acknowledged, after) = crash(&disk, dir, "write-unsynced", "lines", 2000);
    let found = fs::File::open(after.mountpoint.join("lines")).map_or(0, |file| {
        BufReader::new(file).lines().map_while(Result::ok).count()
    });
    assert!(
        (found as u64) < acknowledged,
        "{acknowledged} unsynced lines survived: this image is no crash"
    );
    println!("{found} of {acknowledged} unsynced lines survived");
}

fn text(path: &Path) -> String {
    path.to_str().expect("a plain path").to_owned()
}
