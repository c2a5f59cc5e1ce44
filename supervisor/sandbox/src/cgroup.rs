//! A control group for each running app, where the machine lets us: memory and processes of the whole tree are bounded, and
//! processor and disk are shared, the server before the apps and every app like every other.
//!
//! A group is new for each start and removed after it: version 2 kills at birth whatever is put into a group on which
//! `cgroup.kill` was ever used, and counters of a former life mean nothing. Names carry the process id of the owner,
//! so that [`sweep`] can remove what a killed process left.
//!
//! Entering costs nothing worth hiding. Version 2: the app is born inside (CLONE_INTO_CGROUP). Version 1: the new
//! process, while it has one thread, writes `0` to `tasks`; moving oneself needs no lock over all processes, where
//! `cgroup.procs` waits 5 to 20 ms for one. Either way it is inside before it runs a line of the app, so nothing it
//! forks is ever outside.

mod background;
mod freeze;
mod make;
mod meter;
mod place;
mod settings;
mod survey;

use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, Mode, OFlags};

use crate::feature;
use crate::sys::Errno;

pub(crate) use background::keep as keep_background;
pub use freeze::{FreezeError, Freezer, Frozen, freeze};
pub use meter::{Meter, Reading};
pub use place::disk_time_is_shared;
use settings::Controller;
pub use survey::{Survey, Version, survey};

/// Directory of this server inside the control group it runs in; a process id follows.
const PREFIX: &str = "percloud-";
/// Where [`delegate`] moves the server itself.
const SUPERVISOR: &str = "percloud.supervisor";

/// How soon to look again for groups that still held a dying process.
pub(crate) const SWEEP_AGAIN: Duration = Duration::from_millis(20);
/// How long [`leave`] looks for such groups.
const LEAVING: Duration = Duration::from_millis(500);

/// Version 2: the controllers apps can do without, as they are asked for.
const OPTIONAL: [&str; 3] = ["+cpu", "+io", "+cpuset"];

/// Hierarchies a group can be in at a time.
pub(crate) const HIERARCHIES: usize = 5;

/// Where this process makes control groups.
#[derive(Debug)]
pub(crate) enum Place {
    /// One hierarchy with the controllers memory and pids at least.
    Unified(PathBuf),
    /// A hierarchy for each controller, memory first; or for several that are mounted together. `freezer` is in that of
    /// version 2, which freezes without any controller, where there is one. `cpuset` holds no groups: apps in the background
    /// move there.
    Separate {
        hierarchies: Vec<Base>,
        freezer: Option<PathBuf>,
        cpuset: Option<PathBuf>,
    },
}

/// A directory in one hierarchy in which groups are made.
#[derive(Clone, Debug)]
pub(crate) struct Base {
    controllers: Vec<Controller>,
    directory: PathBuf,
}

impl Base {
    fn has(&self, controller: Controller) -> bool {
        self.controllers.contains(&controller)
    }
}

/// The control group of one app.
#[derive(Debug)]
pub struct Cgroup {
    /// Each after the one it is in.
    directories: Vec<PathBuf>,
    /// Version 1: the files through which a process moves in.
    doors: Vec<OwnedFd>,
    /// Version 2: what the app is born into.
    birthplace: Option<OwnedFd>,
    /// Files of that, as [`freeze::HANDLES`] has them.
    handles: Vec<OwnedFd>,
    unified: bool,
}

pub(crate) use make::Making;

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

    /// Every directory in which groups are made.
    fn hierarchies(&self) -> Vec<Base> {
        use Controller::{Cpu, Cpuacct, Io, Memory, Pids};
        match self {
            Place::Unified(base) => vec![Base {
                controllers: vec![Memory, Pids, Cpu, Cpuacct, Io],
                directory: base.clone(),
            }],
            Place::Separate { hierarchies, .. } => hierarchies.clone(),
        }
    }

    /// Every directory that was made by [`place`], those without groups included.
    fn bases(&self) -> Vec<PathBuf> {
        let cpuset = match self {
            Place::Unified(_) => None,
            Place::Separate { cpuset, .. } => cpuset.clone(),
        };
        self.directories().into_iter().chain(cpuset).collect()
    }

    /// Every directory in which a group has a directory.
    fn directories(&self) -> Vec<PathBuf> {
        let freezer = match self {
            Place::Unified(_) => None,
            Place::Separate { freezer, .. } => freezer.clone(),
        };
        let hierarchies = self.hierarchies().into_iter().map(|base| base.directory);
        freezer.into_iter().chain(hierarchies).collect()
    }

    /// What apps have to do without for want of a controller: a sentence for each.
    pub(crate) fn lacks(&self) -> Vec<String> {
        let given = match self {
            Place::Unified(base) => {
                fs::read_to_string(base.join("cgroup.subtree_control")).unwrap_or_default()
            }
            Place::Separate { .. } => String::new(),
        };
        let had = |name: &str, controller: Controller| match self {
            Place::Unified(_) => place::lists(&given, name),
            // Without a scheduler that heeds it the controller is of no use, and `percloud doctor` says that.
            Place::Separate { .. } if controller == Controller::Io => place::own_group("blkio").is_some(),
            Place::Separate { hierarchies, .. } => hierarchies.iter().any(|base| base.has(controller)),
        };
        [
            ("cpu", Controller::Cpu, feature::WITHOUT_CPU),
            ("io", Controller::Io, feature::WITHOUT_IO),
        ]
        .into_iter()
        .filter(|(name, controller, _)| !had(name, *controller))
        .map(|(name, _, without)| format!("no control group controller {name}: {without}"))
        .collect()
    }
}

/// Changes what the app of the grain host `host` may take, from now on. Meant for children of the launcher that started
/// the host.
///
/// # Errors
///
/// Where there is no group, or the kernel refuses.
pub fn adjust(host: u32, limits: &crate::Limits) -> std::io::Result<()> {
    let place = place().map_err(std::io::Error::other)?;
    let directories: Vec<PathBuf> = place
        .hierarchies()
        .iter()
        .flat_map(|base| owned_directories(&base.directory, ""))
        .filter(|(owner, group)| *owner == host && !freeze::is_mark(group))
        .map(|(_, group)| group)
        .collect();
    if directories.is_empty() {
        return Err(std::io::Error::other("the app has no control group"));
    }
    Cgroup {
        directories,
        doors: Vec::new(),
        birthplace: None,
        handles: Vec::new(),
        unified: place.is_unified(),
    }
    .adjust(limits)
}

impl Cgroup {
    /// Takes out what freezes the app; `None` where there is nothing that could. Works once.
    pub fn freezer(&mut self) -> Option<Freezer> {
        Freezer::new(std::mem::take(&mut self.handles))
    }

    /// Directories of this group, in each hierarchy it is in.
    pub fn directories(&self) -> &[PathBuf] {
        &self.directories
    }

    /// Closes the way in, for a process that has come in and is about to read what the app says.
    pub(crate) fn close(&mut self) {
        self.doors.clear();
    }

    /// Removes the group. Call it when the app has been reaped: a group with a process in it stays.
    pub fn remove(self) {
        for directory in self.directories.iter().rev() {
            remove_empty(directory);
        }
    }
}

/// Keeps others from changing the share of the group at `group` until what this returns is dropped.
fn lock_limits(group: &Path) -> Option<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(group, flags, Mode::empty()).ok()?;
    rustix::fs::flock(&directory, FlockOperation::LockExclusive).ok()?;
    Some(directory)
}

/// Moves this thread through the doors of a version 1 group. The host opened them, and the kernel checks the opener's
/// right, not ours.
pub(crate) fn enter(doors: &[OwnedFd]) -> Result<(), Errno> {
    doors
        .iter()
        .try_for_each(|door| rustix::io::write(door, b"0").map(|_| ()))
}

/// Removes the groups that processes which are no more left behind, whoever they were. Returns whether some of them still hold a dying process.
pub fn sweep() -> bool {
    let Ok(place) = place() else { return false };
    // First: marks are directories like groups, and an app that is let go may end by itself.
    let mut remains = freeze::sweep(place);
    for base in place.bases() {
        let base = &base;
        for (pid, group) in owned_directories(base, "") {
            if !alive(pid) {
                remains |= !remove_group(&group);
            }
        }
        // Bases of launchers that are no more.
        for (pid, other) in base
            .parent()
            .map(|parent| owned_directories(parent, PREFIX))
            .unwrap_or_default()
        {
            if !alive(pid) {
                let groups = owned_directories(&other, "");
                let busy = groups.iter().filter(|(_, group)| !remove_group(group)).count();
                remains |= busy > 0 || !remove_empty(&other);
            }
        }
    }
    remains
}

/// Most groups one host makes: a start made ahead, and one from nothing when that does not suit its order.
const GROUPS_OF_A_HOST: u64 = 2;

/// Removes what a host that has ended left of its groups. Returns whether one still holds a dying process.
pub fn sweep_after(host: u32) -> bool {
    let mut remains = false;
    for base in place().map(Place::directories).unwrap_or_default() {
        for number in 0..GROUPS_OF_A_HOST {
            remains |= !remove_group(&base.join(make::name(host, number)));
        }
    }
    remains
}

/// Removes the directory this process made for its groups, once every group in it is gone: the last act of a launcher,
/// or of a program that starts sandboxes without one. Dying processes are waited for, up to [`LEAVING`]; what remains then
/// is for the next launcher to sweep.
pub fn leave() {
    let deadline = Instant::now() + LEAVING;
    while sweep() && Instant::now() < deadline {
        std::thread::sleep(SWEEP_AGAIN);
    }
    for base in place().map(Place::bases).unwrap_or_default() {
        remove_empty(&base);
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
    let has = |name: &str| place::lists(&controllers, name);
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
            // Apps can do without these, so one that is refused takes no other along.
            for more in OPTIONAL {
                let _ = fs::write(own.join("cgroup.subtree_control"), more);
            }
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

/// Whether a process runs. One that has ended and was not collected does not, and may be there for good where the first
/// process of the machine, or of a container, collects nobody.
fn alive(pid: u32) -> bool {
    let Some(number) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) else {
        return false;
    };
    if rustix::process::test_kill_process(number) == Err(Errno::SRCH) {
        return false;
    }
    // The state comes after the name, which may have any characters but is the last in parentheses (proc_pid_stat(5)).
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    !matches!(state, Some('Z' | 'X'))
}

/// Removes a group and the one inside it. Returns `false` if either is still busy.
fn remove_group(directory: &Path) -> bool {
    remove_empty(&directory.join(freeze::INNER)) && remove_empty(directory)
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

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests start programs")]
mod tests {
    use super::*;

    #[test]
    fn one_that_has_ended_does_not_live_though_nobody_has_collected_it() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        assert!(alive(child.id()));
        child.kill().unwrap();
        let begun = Instant::now();
        while alive(child.id()) {
            assert!(begun.elapsed() < Duration::from_secs(10));
        }
        assert_eq!(child.wait().unwrap().code(), None, "it was there to be collected");
        assert!(!alive(child.id()));
    }
}
