//! A control group for each running app: memory and processes of the whole tree, where the machine lets us.
//!
//! A group is new for each start and removed after it: version 2 kills at birth whatever is put into a group on which
//! `cgroup.kill` was ever used, and counters of a former life mean nothing. Names carry the process id of the owner,
//! so that [`sweep`] can remove what a killed process left.
//!
//! Entering costs nothing worth hiding. Version 2: the app is born inside (CLONE_INTO_CGROUP). Version 1: the new
//! process, while it has one thread, writes `0` to `tasks`; moving oneself needs no lock over all processes, where
//! `cgroup.procs` waits 5 to 20 ms for one. Either way it is inside before it runs a line of the app, so nothing it
//! forks is ever outside.

mod freeze;
mod place;

use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{Mode, OFlags};

use crate::spec::Limits;
use crate::sys::Errno;

pub use freeze::{FreezeError, Frozen, freeze};

/// Directory of this server inside the control group it runs in; a process id follows.
const PREFIX: &str = "percloud-";
/// Where [`delegate`] moves the server itself.
const SUPERVISOR: &str = "percloud.supervisor";

/// Where this process makes control groups.
#[derive(Debug)]
pub(crate) enum Place {
    /// One hierarchy with the controllers memory and pids.
    Unified(PathBuf),
    /// A hierarchy each.
    Separate { memory: PathBuf, pids: PathBuf },
}

/// The control group of one app.
#[derive(Debug)]
pub struct Cgroup {
    directories: Vec<PathBuf>,
    /// Version 2: the group itself. Version 1: the files through which a process moves in.
    doors: Vec<OwnedFd>,
    unified: bool,
}

static PLACE: OnceLock<Result<Place, String>> = OnceLock::new();

/// Returns where groups go, found once per process and inherited by its forks; or why there can be none.
pub(crate) fn place() -> Result<&'static Place, &'static str> {
    PLACE.get_or_init(place::find).as_ref().map_err(String::as_str)
}

impl Place {
    /// Whether groups are of version 2.
    pub(crate) fn is_unified(&self) -> bool {
        matches!(self, Place::Unified(_))
    }

    /// Makes a new group with `limits`. An error names the file.
    pub(crate) fn make(&self, limits: &Limits) -> Result<Cgroup, (PathBuf, Errno)> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{number}", std::process::id());
        let memory = limits.memory.to_string();
        let pids = limits.pids.to_string();
        let mut group = Cgroup {
            directories: Vec::new(),
            doors: Vec::new(),
            unified: false,
        };
        let made = match self {
            Place::Unified(base) => {
                group.unified = true;
                group.add(
                    base.join(&name),
                    &[
                        ("memory.max", &memory),
                        ("memory.oom.group", "1"),
                        ("pids.max", &pids),
                    ],
                    None,
                )
            }
            Place::Separate {
                memory: memory_base,
                pids: pids_base,
            } => group
                .add(
                    memory_base.join(&name),
                    &[("memory.limit_in_bytes", &memory)],
                    Some("tasks"),
                )
                .and_then(|()| group.add(pids_base.join(&name), &[("pids.max", &pids)], Some("tasks"))),
        };
        match made {
            Ok(()) => Ok(group),
            Err(error) => {
                group.remove();
                Err(error)
            }
        }
    }
}

impl Cgroup {
    fn add(
        &mut self,
        directory: PathBuf,
        settings: &[(&str, &str)],
        door: Option<&str>,
    ) -> Result<(), (PathBuf, Errno)> {
        let named = |path: &Path| {
            let path = path.to_owned();
            move |errno| (path, errno)
        };
        rustix::fs::mkdir(&directory, Mode::RWXU).map_err(named(&directory))?;
        self.directories.push(directory.clone());
        for (file, value) in settings {
            let path = directory.join(file);
            match crate::ids::write(&path.display().to_string(), value) {
                // memory.oom.group is newer than version 2 itself.
                Err(Errno::NOENT) if *file == "memory.oom.group" => {}
                written => written.map_err(named(&path))?,
            }
        }
        let (path, flags) = match door {
            Some(file) => (directory.join(file), OFlags::WRONLY),
            None => (directory, OFlags::RDONLY | OFlags::DIRECTORY),
        };
        let opened = rustix::fs::open(&path, flags | OFlags::CLOEXEC, Mode::empty()).map_err(named(&path))?;
        self.doors.push(opened);
        Ok(())
    }

    /// Version 2: what a new process is born into.
    pub(crate) fn born_into(&self) -> Option<BorrowedFd<'_>> {
        if self.unified {
            self.doors.first().map(AsFd::as_fd)
        } else {
            None
        }
    }

    /// Version 1: the files by which [`enter`] moves in; none for version 2.
    pub(crate) fn doors(&self) -> Vec<BorrowedFd<'_>> {
        if self.unified {
            Vec::new()
        } else {
            self.doors.iter().map(AsFd::as_fd).collect()
        }
    }

    /// Directories of this group, one per hierarchy.
    pub fn directories(&self) -> &[PathBuf] {
        &self.directories
    }

    /// Returns the memory in use in bytes, caches included, if the kernel says.
    pub fn memory(&self) -> Option<u64> {
        let file = if self.unified {
            "memory.current"
        } else {
            "memory.usage_in_bytes"
        };
        fs::read_to_string(self.directories.first()?.join(file))
            .ok()?
            .trim()
            .parse()
            .ok()
    }

    /// Returns how often the app met its memory bound.
    pub fn memory_refused(&self) -> Option<u64> {
        let directory = self.directories.first()?;
        if !self.unified {
            return fs::read_to_string(directory.join("memory.failcnt"))
                .ok()?
                .trim()
                .parse()
                .ok();
        }
        let events = fs::read_to_string(directory.join("memory.events")).ok()?;
        events
            .lines()
            .find_map(|line| line.strip_prefix("max "))?
            .trim()
            .parse()
            .ok()
    }

    /// Removes the group. Call it when the app has been reaped: a group with a process in it stays.
    pub fn remove(self) {
        for directory in &self.directories {
            remove_empty(directory);
        }
    }
}

/// Moves this thread through the doors of a version 1 group. The host opened them, and the kernel checks the opener's
/// right, not ours.
pub(crate) fn enter(doors: &[OwnedFd]) -> Result<(), Errno> {
    doors
        .iter()
        .try_for_each(|door| rustix::io::write(door, b"0").map(|_| ()))
}

/// Removes the groups that processes which are no more left behind. Called by the launcher at its start and whenever
/// a host has ended. Returns whether some of them still hold a dying process.
pub fn sweep() -> bool {
    let Ok(place) = place() else { return false };
    // First: what stands still can neither die nor leave its group.
    let mut remains = freeze::sweep(place);
    let bases = match place {
        Place::Unified(base) => vec![base],
        Place::Separate { memory, pids } => vec![memory, pids],
    };
    for base in bases {
        for (pid, group) in owned_directories(base, "") {
            if !alive(pid) {
                remains |= !remove_empty(&group);
            }
        }
        // Bases of launchers that are no more.
        for (pid, other) in base
            .parent()
            .map(|parent| owned_directories(parent, PREFIX))
            .unwrap_or_default()
        {
            if !alive(pid) {
                for (_, group) in owned_directories(&other, "") {
                    remove_empty(&group);
                }
                remove_empty(&other);
            }
        }
    }
    remains
}

/// Removes the directory this process made for its groups, once every group in it is gone: the last act of a launcher,
/// or of a program that starts sandboxes without one.
pub fn leave() {
    sweep();
    if let Ok(place) = place() {
        freeze::leave(place);
    }
    match place() {
        Ok(Place::Unified(base)) => {
            remove_empty(base);
        }
        Ok(Place::Separate { memory, pids }) => {
            remove_empty(memory);
            remove_empty(pids);
        }
        Err(_) => {}
    }
}

/// Moves the server into a leaf of its control group and hands the controllers to the groups beside it.
///
/// Version 2 gives controllers only to groups whose parent holds no process, so a server that was started in a
/// delegated group must step aside once, before it starts anything. Does nothing where that is not the case: version
/// 1, no right to write, or other processes in the group, which are not ours to move.
pub fn delegate() {
    let Some(own) = place::unified() else { return };
    let controllers = fs::read_to_string(own.join("cgroup.controllers")).unwrap_or_default();
    let has = |name: &str| controllers.split_whitespace().any(|c| c == name);
    let processes = fs::read_to_string(own.join("cgroup.procs")).unwrap_or_default();
    let alone = processes.split_whitespace().eq([std::process::id().to_string()]);
    if !has("memory") || !has("pids") || !alone {
        return;
    }
    let leaf = own.join(SUPERVISOR);
    if fs::create_dir(&leaf).is_ok() || leaf.is_dir() {
        let moved = fs::write(leaf.join("cgroup.procs"), std::process::id().to_string());
        if moved.is_ok() {
            let _ = fs::write(own.join("cgroup.subtree_control"), "+memory +pids");
        }
    }
}

/// Lists the directories below `parent` named `prefix`, a process id, and perhaps `-` and more.
fn owned_directories(parent: &Path, prefix: &str) -> Vec<(u32, PathBuf)> {
    let Ok(entries) = fs::read_dir(parent) else {
        return Vec::new();
    };
    let owned = entries.flatten().filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let pid = name.strip_prefix(prefix)?.split('-').next()?.parse().ok()?;
        Some((pid, entry.path()))
    });
    owned.collect()
}

fn alive(pid: u32) -> bool {
    let Some(pid) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) else {
        return false;
    };
    rustix::process::test_kill_process(pid) != Err(Errno::SRCH)
}

/// Removes a group. Its last process may be dead and not yet off the group's books (the kernel does that last), so
/// "busy" is asked again a few times; what then remains is left to [`sweep`]. Returns `false` if it is
/// still busy.
fn remove_empty(directory: &Path) -> bool {
    for _ in 0..50 {
        match rustix::fs::rmdir(directory) {
            Err(Errno::BUSY) => rustix::thread::sched_yield(),
            // Gone already, or not ours to remove: nothing to wait for.
            _ => return true,
        }
    }
    false
}
