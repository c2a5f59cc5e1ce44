//! The file system of the data folder: what it is, what is left on it, and whether it keeps what it says it has kept.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use percloud_sandbox::mountinfo::{self, Mount};
use percloud_sandbox::probe::{self, ProjectQuota};
use rustix::fs::{Mode, OFlags, StatVfs, StatVfsMountFlags};

use super::check::{Check, Group, Subject};
use super::proc;
use super::workplace::{Target, Workplace};

const KIND: Subject = Subject::new(Group::Data, "data-file-system", "File system");
const MOUNT: Subject = Subject::new(Group::Data, "data-mount", "Mount options");
const SPACE: Subject = Subject::new(Group::Data, "data-space", "Free space");
const INODES: Subject = Subject::new(Group::Data, "data-inodes", "Room for files");
const FSYNC: Subject = Subject::new(Group::Data, "data-fsync", "What is saved stays (fsync)");
const RENAME: Subject = Subject::new(Group::Data, "data-rename", "Putting a file in another's place");
const TMPFILE: Subject = Subject::new(Group::Data, "data-tmpfile", "Files without a name (O_TMPFILE)");
const QUOTA: Subject = Subject::new(
    Group::Data,
    "data-quota",
    "Bounds for each app's files (project quota)",
);

/// Less free space than this, in bytes, is said aloud: an app's package alone may unpack to as much.
const LITTLE_SPACE: u64 = 1 << 30;
/// Fewer files than this: an app of many small ones has as many.
const FEW_FILES: u64 = 20_000;
const NO_ROOM: &str = "nothing more can be saved; the server refuses changes";
const FREE_SOME: &str = "free some, enlarge the file system, or choose another folder with --data";

pub fn checks(target: &Target, workplace: &io::Result<Workplace>) -> Vec<Check> {
    let mounts = proc::read("/proc/self/mountinfo").map(|text| mountinfo::read(&text));
    let mount = mounts
        .as_ref()
        .ok()
        .and_then(|mounts| mountinfo::holding(mounts, &target.nearest));
    let mut checks = vec![match mount {
        Some(mount) => kind(mount),
        None => KIND.unknown("no mount of it is in /proc/self/mountinfo"),
    }];
    match rustix::fs::statvfs(&target.nearest) {
        Ok(room) => checks.extend([flags(&room), space(&room), inodes(&room)]),
        Err(error) => checks.extend([MOUNT, SPACE, INODES].map(|subject| subject.unknown(error))),
    }
    checks.extend(match workplace {
        Ok(workplace) => {
            let files = workplace.path("files");
            [
                fsync(mount, save(&files)),
                rename(replace(&files)),
                tmpfile(nameless(&files)),
            ]
        }
        Err(error) => [FSYNC, RENAME, TMPFILE]
            .map(|subject| subject.unknown(format!("nothing may be written there ({error})"))),
    });
    checks.push(quota(probe::project_quota(&target.nearest), mount));
    checks
}

/// What a type of file system is to a server.
#[derive(Debug, PartialEq, Eq)]
enum Sort {
    /// On a disk, with owners and a journal or the like.
    Disk,
    /// In memory.
    Memory,
    /// The top layer of a container.
    Layer,
    /// Somewhere else, through a protocol.
    Remote,
    /// Without owners and permissions.
    Simple,
    Unknown,
}

fn sort(kind: &str) -> Sort {
    match kind {
        "ext4" | "ext3" | "xfs" | "btrfs" | "f2fs" | "zfs" | "bcachefs" | "jfs" | "nilfs2" => Sort::Disk,
        "tmpfs" | "ramfs" | "rootfs" | "hugetlbfs" => Sort::Memory,
        "overlay" | "aufs" => Sort::Layer,
        "nfs" | "nfs4" | "cifs" | "smb3" | "9p" | "virtiofs" | "ceph" | "afs" | "vboxsf" | "prl_fs" => {
            Sort::Remote
        }
        "vfat" | "msdos" | "exfat" | "ntfs" | "ntfs3" | "hfs" | "hfsplus" => Sort::Simple,
        // Anything may be behind it, most often another machine.
        kind if kind == "fuse" || kind.starts_with("fuse.") || kind == "fuseblk" => Sort::Remote,
        _ => Sort::Unknown,
    }
}

fn kind(mount: &Mount) -> Check {
    const DISK: &str = "keep the data on ext4, xfs or btrfs on a disk of this machine";
    let found = format!("{} on {}, at {}", mount.kind, mount.source, mount.point.display());
    match sort(&mount.kind) {
        Sort::Disk => KIND.good(found),
        Sort::Memory => KIND.gap(
            found,
            "it lies in memory: everything is lost when the machine stops",
            DISK,
        ),
        Sort::Layer => KIND.gap(
            found,
            "it is a container's own layer: everything is lost with the container",
            "mount a volume for the data folder",
        ),
        Sort::Remote => KIND.gap(
            found,
            "it lies elsewhere: locks, owners and what is kept through a crash rest on the other side's word",
            DISK,
        ),
        Sort::Simple => KIND.gap(
            found,
            "it knows no owners and permissions, and no sockets can be made on it",
            DISK,
        ),
        Sort::Unknown => KIND.gap(found, "Percloud has not been tried on this type", DISK),
    }
}

fn flags(room: &StatVfs) -> Check {
    judge_flags(
        room.f_flag.contains(StatVfsMountFlags::RDONLY),
        room.f_flag.contains(StatVfsMountFlags::NOEXEC),
    )
}

fn judge_flags(read_only: bool, no_exec: bool) -> Check {
    match (read_only, no_exec) {
        (true, _) => MOUNT.missing(
            "read-only",
            "the server does not start",
            "mount it for reading and writing",
        ),
        (false, true) => MOUNT.missing(
            "noexec: no program on it may be executed",
            "no app starts: their programs lie in the data folder",
            "mount it without noexec; programs there are executed inside sandboxes only",
        ),
        (false, false) => MOUNT.good("for writing, and programs may be executed"),
    }
}

fn space(room: &StatVfs) -> Check {
    let unit = room.f_frsize;
    judge_space(
        room.f_bavail.saturating_mul(unit),
        room.f_blocks.saturating_mul(unit),
    )
}

fn judge_space(free: u64, total: u64) -> Check {
    let found = format!("{} of {} free", proc::bytes(free), proc::bytes(total));
    match free {
        0 => SPACE.missing(found, NO_ROOM, FREE_SOME),
        1..LITTLE_SPACE => SPACE.gap(found, "it is soon full; nothing can be saved then", FREE_SOME),
        _ => SPACE.good(found),
    }
}

fn inodes(room: &StatVfs) -> Check {
    judge_inodes(room.f_favail, room.f_files)
}

/// File systems that make room for files as they come count none.
fn judge_inodes(free: u64, total: u64) -> Check {
    let found = format!("{free} more of {total}");
    match (free, total) {
        (_, 0) => INODES.good("this file system does not limit their number"),
        (0, _) => INODES.missing(found, NO_ROOM, FREE_SOME),
        (..FEW_FILES, _) => INODES.gap(
            found,
            "apps with many small files soon find no room for one more",
            FREE_SOME,
        ),
        _ => INODES.good(found),
    }
}

/// Saves a little and says how long that took.
fn save(folder: &Path) -> io::Result<Duration> {
    let mut file = File::create_new(folder.join("saved"))?;
    file.write_all(&[0x55; 4096])?;
    let begun = Instant::now();
    file.sync_all()?;
    let took = begun.elapsed();
    File::open(folder)?.sync_all()?;
    Ok(took)
}

fn fsync(mount: Option<&Mount>, saved: io::Result<Duration>) -> Check {
    const LOST: &str = "what Percloud says is saved may be lost when the power fails";
    let took = match saved {
        Ok(took) => took,
        Err(error) => {
            return FSYNC.missing(
                format!("the kernel refused: {error}"),
                "the server cannot promise to keep anything, so it does not start",
                "look at the kernel's log for errors of the disk, or choose another folder with --data",
            );
        }
    };
    let answered = format!("answered after {:.1} ms", took.as_secs_f64() * 1000.0);
    let Some(mount) = mount else {
        return FSYNC.gap(
            format!("{answered}, by an unknown file system"),
            LOST,
            "keep the data on ext4, xfs or btrfs",
        );
    };
    let told = |option: &&str| {
        mount
            .options
            .split(',')
            .chain(mount.super_options.split(','))
            .any(|one| one == *option)
    };
    let careless = ["nobarrier", "barrier=0", "fsync_mode=nobarrier", "volatile"];
    if let Some(option) = careless.iter().find(|option| told(option)) {
        return FSYNC.gap(
            format!("{answered}, but the mount option {option} takes its meaning away"),
            LOST,
            format!("mount it without {option}"),
        );
    }
    match sort(&mount.kind) {
        Sort::Disk => FSYNC.good(format!(
            "{answered}; whether the disk keeps its word cannot be seen from here"
        )),
        Sort::Memory => FSYNC.gap(
            "means nothing on a file system in memory",
            LOST,
            "keep the data on a disk",
        ),
        Sort::Layer => FSYNC.gap(
            format!("{answered}, by a container's layer"),
            LOST,
            "mount a volume for the data folder",
        ),
        Sort::Remote | Sort::Simple | Sort::Unknown => FSYNC.gap(
            format!("{answered}; {} may keep it or not", mount.kind),
            LOST,
            "keep the data on ext4, xfs or btrfs on a disk of this machine",
        ),
    }
}

/// Puts a file in the place of another, as everything that must be whole is written.
fn replace(folder: &Path) -> io::Result<()> {
    let (old, new) = (folder.join("place"), folder.join("place.new"));
    fs::write(&old, b"old")?;
    fs::write(&new, b"new")?;
    fs::rename(&new, &old)?;
    if fs::read(&old)? == b"new" && !new.try_exists()? {
        Ok(())
    } else {
        Err(io::Error::other("the old file is still there"))
    }
}

fn rename(replaced: io::Result<()>) -> Check {
    match replaced {
        Ok(()) => RENAME.good("works"),
        Err(error) => RENAME.missing(
            format!("failed: {error}"),
            "the server does not start: it cannot write anything whole",
            "keep the data on ext4, xfs or btrfs",
        ),
    }
}

fn nameless(folder: &Path) -> io::Result<()> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    rustix::fs::open(folder, flags, Mode::RUSR | Mode::WUSR)?;
    Ok(())
}

fn tmpfile(made: io::Result<()>) -> Check {
    match made {
        Ok(()) => TMPFILE.good("works"),
        Err(error) => TMPFILE.gap(
            format!("failed: {error}"),
            "what is being written when the server is killed leaves a file, which the next start sweeps away",
            "keep the data on ext4, xfs or btrfs",
        ),
    }
}

fn quota(answer: io::Result<ProjectQuota>, mount: Option<&Mount>) -> Check {
    const WITHOUT: &str = "no app's files are bounded by the file system: one app can fill it for all";
    let remedy = match mount.map(|mount| mount.kind.as_str()) {
        Some("ext4") => "tune2fs -O project,quota on the unmounted device, then mount with prjquota",
        Some("xfs") => "mount with prjquota",
        _ => "keep the data on ext4 or xfs, mounted with prjquota",
    };
    match answer {
        Ok(ProjectQuota::On) => {
            QUOTA.good("the file system counts by project; this version of Percloud sets no bounds yet")
        }
        Ok(ProjectQuota::Off) => QUOTA.gap(
            "the file system does not count by project as it is mounted now",
            WITHOUT,
            remedy,
        ),
        Ok(ProjectQuota::Absent) => QUOTA.gap("the file system cannot count by project", WITHOUT, remedy),
        Err(error) => QUOTA.unknown(error),
    }
}

#[cfg(test)]
mod tests;
