//! Holds a running app still for a while, so that its storage can be read as of one moment.
//!
//! Version 2: the app's own group is frozen. Version 1 freezes in a hierarchy of its own, which apps do not enter when
//! they start, for that would cost every start; its processes are moved there when the first backup asks.
//!
//! The process that holds an app still locks the directory it does that with, and the kernel unlocks it with that
//! process's end: what [`super::sweep`] finds unlocked it lets go, so that no app stands still for want of somebody.

use std::collections::HashSet;
use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, Mode, OFlags};

use super::{Place, alive, owned_directories, place, remove_empty};
use crate::sys::Errno;

/// What the directory is called that says an app is, or was, held still: its host's process id and this.
const MARK: &str = "-freezer";
/// How long an app may take to stand still. One that waits for a dead disk may take longer.
const DEADLINE: Duration = Duration::from_secs(5);
/// Between two looks at whether it does.
const PAUSE: Duration = Duration::from_millis(2);

/// Why an app cannot be held still. Nothing has changed then; it can be stopped instead.
#[derive(Debug, thiserror::Error)]
pub enum FreezeError {
    /// There is no control group to do it with.
    #[error("there is no control group that could be frozen ({0})")]
    NoGroup(String),
    /// It did not stand still in time, or somebody else holds it.
    #[error("the app did not stand still within {} seconds", DEADLINE.as_secs())]
    Deadline,
    /// The kernel refused.
    #[error("cannot use {path}")]
    Refused {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

/// An app that stands still until this is dropped, or its holder ends.
#[derive(Debug)]
pub struct Frozen {
    /// The group that is frozen.
    group: PathBuf,
    /// The locked directory.
    mark: PathBuf,
    unified: bool,
    #[allow(dead_code, reason = "held for what it is")]
    lock: OwnedFd,
}

/// Holds the app of the grain host `host` still: every process of it, wherever it is in its code. What it has written so
/// far is what others read. Meant for children of the launcher that started the host.
///
/// # Errors
///
/// Where there is no control group, it cannot be frozen, or the app takes too long to stand still.
pub fn freeze(host: u32) -> Result<Frozen, FreezeError> {
    freeze_in(place().map_err(none)?, host)
}

fn none(why: &str) -> FreezeError {
    FreezeError::NoGroup(why.to_owned())
}

fn freeze_in(place: &Place, host: u32) -> Result<Frozen, FreezeError> {
    let until = Instant::now() + DEADLINE;
    let (base, freezer) = match place {
        Place::Unified(base) => (base, base.clone()),
        Place::Separate(hierarchies) => {
            let memory = &hierarchies[0].directory;
            let freezer =
                freezer_base(memory).ok_or(none("no freezer controller is delegated to the server"))?;
            make(&freezer)?;
            (memory, freezer)
        }
    };
    let group = owned_directories(base, "")
        .into_iter()
        .find(|(owner, group)| *owner == host && !is_mark(group))
        .map(|(_, group)| group)
        .ok_or(none("the app has none"))?;
    let mark = freezer.join(format!("{host}{MARK}"));
    make(&mark)?;
    let lock = lock(&mark, until)?;
    let unified = base == &freezer;
    // From here on dropping it lets the app go, whatever fails.
    let frozen = Frozen {
        group: if unified { group.clone() } else { mark.clone() },
        mark,
        unified,
        lock,
    };
    frozen.set(true)?;
    if !unified {
        move_all(&group, &frozen.group, until)?;
    }
    while !frozen.stands_still()? {
        if Instant::now() > until {
            return Err(FreezeError::Deadline);
        }
        std::thread::sleep(PAUSE);
    }
    Ok(frozen)
}

impl Frozen {
    fn set(&self, frozen: bool) -> Result<(), FreezeError> {
        set(&self.group, self.unified, frozen)
    }

    fn stands_still(&self) -> Result<bool, FreezeError> {
        let (file, line) = if self.unified {
            ("cgroup.events", "frozen 1")
        } else {
            ("freezer.state", "FROZEN")
        };
        let path = self.group.join(file);
        let text = fs::read_to_string(&path).map_err(refused(&path))?;
        Ok(text.lines().any(|found| found == line))
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        if let Err(error) = self.set(false) {
            eprintln!("percloud: an app may stand still: {error}");
        }
        // Version 1: the app lives on in there, and takes it along with its end.
        if self.unified {
            remove_empty(&self.mark);
        }
    }
}

/// Moves every process of one group into another, which is frozen, so that what has been moved makes no more.
fn move_all(from: &Path, to: &Path, until: Instant) -> Result<(), FreezeError> {
    let (list, door) = (from.join("cgroup.procs"), to.join("cgroup.procs"));
    let mut moved = HashSet::new();
    loop {
        let text = fs::read_to_string(&list).map_err(refused(&list))?;
        let here: HashSet<&str> = text.split_whitespace().collect();
        let mut unchanged = true;
        for process in here {
            if moved.insert(process.to_owned()) {
                unchanged = false;
                match fs::write(&door, process) {
                    // It has ended.
                    Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                    written => written.map_err(refused(&door))?,
                }
            }
        }
        if unchanged {
            return Ok(());
        }
        if Instant::now() > until {
            return Err(FreezeError::Deadline);
        }
    }
}

/// Lets go whatever stands still with nobody holding it, and removes what is left of apps that are no more. Returns
/// whether some of them still hold a dying process.
pub(super) fn sweep(place: &Place) -> bool {
    let (base, unified) = match place {
        Place::Unified(base) => (base.clone(), true),
        Place::Separate(hierarchies) => match freezer_base(&hierarchies[0].directory) {
            Some(base) => (base, false),
            None => return false,
        },
    };
    let mut remains = release(&base, unified);
    // Of launchers that are no more; version 2 has them in the groups that are swept anyhow.
    if !unified && let Some(parent) = base.parent() {
        for (pid, other) in owned_directories(parent, super::PREFIX) {
            if !alive(pid) {
                remains |= release(&other, unified);
                remove_empty(&other);
            }
        }
    }
    remains
}

/// Removes the directory in which version 1 freezes.
pub(super) fn leave(place: &Place) {
    if let Place::Separate(hierarchies) = place
        && let Some(base) = freezer_base(&hierarchies[0].directory)
    {
        remove_empty(&base);
    }
}

fn release(base: &Path, unified: bool) -> bool {
    let mut remains = false;
    for (host, mark) in owned_directories(base, "")
        .into_iter()
        .filter(|(_, path)| is_mark(path))
    {
        // Held by somebody who lives: theirs to let go.
        let Ok(_lock) = try_lock(&mark) else { continue };
        if unified {
            let groups = owned_directories(base, "").into_iter();
            for (_, group) in groups.filter(|(owner, path)| *owner == host && !is_mark(path)) {
                let _ = set(&group, unified, false);
            }
        } else {
            let _ = set(&mark, unified, false);
        }
        if unified || !alive(host) {
            remains |= !remove_empty(&mark);
        }
    }
    remains
}

fn set(group: &Path, unified: bool, frozen: bool) -> Result<(), FreezeError> {
    let (file, text) = match (unified, frozen) {
        (true, true) => ("cgroup.freeze", "1"),
        (true, false) => ("cgroup.freeze", "0"),
        (false, true) => ("freezer.state", "FROZEN"),
        (false, false) => ("freezer.state", "THAWED"),
    };
    let path = group.join(file);
    let name = CString::new(path.as_os_str().as_bytes()).map_err(|_| refused(&path)(Errno::INVAL.into()))?;
    crate::ids::write(&name, text).map_err(|errno| refused(&path)(errno.into()))
}

pub(super) fn is_mark(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|name| name.to_string_lossy().ends_with(MARK))
}

/// Where version 1 freezes: named as the directory this server has in the other hierarchies.
fn freezer_base(memory: &Path) -> Option<PathBuf> {
    Some(super::place::own_group("freezer")?.join(memory.file_name()?))
}

fn make(directory: &Path) -> Result<(), FreezeError> {
    match rustix::fs::mkdir(directory, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(refused(directory)(errno.into())),
    }
}

fn lock(directory: &Path, until: Instant) -> Result<OwnedFd, FreezeError> {
    loop {
        match try_lock(directory) {
            Ok(lock) => return Ok(lock),
            Err(Errno::WOULDBLOCK) if Instant::now() < until => std::thread::sleep(PAUSE),
            Err(Errno::WOULDBLOCK) => return Err(FreezeError::Deadline),
            Err(errno) => return Err(refused(directory)(errno.into())),
        }
    }
}

fn try_lock(directory: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(directory, flags, Mode::empty())?;
    rustix::fs::flock(&directory, FlockOperation::NonBlockingLockExclusive)?;
    Ok(directory)
}

fn refused(path: &Path) -> impl Fn(io::Error) -> FreezeError {
    let path = path.to_owned();
    move |source| FreezeError::Refused {
        path: path.clone(),
        source,
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests start programs")]
mod tests {
    use std::process::{Child, Command};

    use super::*;

    /// A group of version 2 with a busy process in it; it needs no controllers, so most machines have it for root.
    struct Rig {
        base: PathBuf,
        group: PathBuf,
        process: Child,
    }

    impl Rig {
        fn new(name: &str) -> Option<Self> {
            let base =
                super::super::place::unified()?.join(format!("percloud-test-{name}-{}", std::process::id()));
            let group = base.join(format!("{}-0", std::process::id()));
            if fs::create_dir_all(&group).is_err() {
                eprintln!(
                    "NOT TESTED: no control groups of version 2 can be made at {}",
                    base.display()
                );
                return None;
            }
            let process = Command::new("sh")
                .args(["-c", "while :; do :; done"])
                .spawn()
                .unwrap();
            let rig = Self { base, group, process };
            fs::write(rig.group.join("cgroup.procs"), rig.process.id().to_string()).unwrap();
            Some(rig)
        }

        fn is_frozen(&self) -> bool {
            let text = fs::read_to_string(self.group.join("cgroup.events")).unwrap();
            text.lines().any(|line| line == "frozen 1")
        }
    }

    impl Drop for Rig {
        fn drop(&mut self) {
            let _ = self.process.kill();
            let _ = self.process.wait();
            for (_, group) in owned_directories(&self.base, "") {
                remove_empty(&group);
            }
            remove_empty(&self.base);
        }
    }

    #[test]
    fn version_2_freezes_the_group_the_app_is_in() {
        let Some(rig) = Rig::new("freeze") else { return };
        let place = Place::Unified(rig.base.clone());
        let host = std::process::id();
        let frozen = freeze_in(&place, host).unwrap();
        assert!(rig.is_frozen());
        // Whoever sweeps leaves it, for it is held.
        release(&rig.base, true);
        assert!(rig.is_frozen());
        drop(frozen);
        assert!(!rig.is_frozen());
        assert_eq!(owned_directories(&rig.base, "").len(), 1, "no mark is left");
        assert!(matches!(
            freeze_in(&place, host + 1),
            Err(FreezeError::NoGroup(_))
        ));
    }

    #[test]
    fn version_2_lets_go_what_nobody_holds() {
        let Some(rig) = Rig::new("release") else { return };
        let place = Place::Unified(rig.base.clone());
        let frozen = freeze_in(&place, std::process::id()).unwrap();
        // As if its holder had been killed: the lock is gone, and nothing was undone.
        let mark = frozen.mark.clone();
        let copy = std::mem::ManuallyDrop::new(frozen);
        rustix::fs::flock(&copy.lock, FlockOperation::Unlock).unwrap();
        assert!(rig.is_frozen());
        assert!(!release(&rig.base, true));
        assert!(!rig.is_frozen());
        assert!(!mark.exists());
    }
}
