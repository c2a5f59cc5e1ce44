//! Holds a running app still: while nobody uses it, so that it takes no processor time, and while its storage is read as
//! of one moment.
//!
//! Both freeze in version 2, which needs no controller for that and is there beside version 1 too. What is frozen there
//! can still be killed. Each app is in a group inside another: its host freezes the inner one ([`Freezer`]), by files
//! it opened before it was confined; whoever makes its backup freezes the outer one ([`freeze`]). The kernel lets an app go
//! on when neither is frozen, so they need not know of each other.
//!
//! The process that holds an app still for its backup locks the directory it does that with, and the kernel unlocks it with that
//! process's end: what [`super::sweep`] finds unlocked it lets go, so that no app stands still for want of somebody.
//! What a host has frozen ends with the host, as the whole app does.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, Mode, OFlags};

use super::{Place, meter, owned_directories, place, remove_empty};
use crate::sys::Errno;

/// What the group inside an app's group is called.
pub(super) const INNER: &str = "app";
/// Files of that group, in the order a [`Freezer`] takes them; the `memory.stat` that counts for it follows.
pub(super) const HANDLES: [(&str, OFlags); 3] = [
    ("cgroup.freeze", OFlags::WRONLY),
    ("cgroup.events", OFlags::RDONLY),
    ("cpu.stat", OFlags::RDONLY),
];
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

/// Freezes an app and lets it go on, for its host. Needs no right but the open files.
#[derive(Debug)]
pub struct Freezer {
    switch: OwnedFd,
    events: OwnedFd,
    usage: OwnedFd,
    memory: OwnedFd,
}

impl Freezer {
    pub(super) fn new(handles: Vec<OwnedFd>) -> Option<Self> {
        let [switch, events, usage, memory] = handles.try_into().ok()?;
        Some(Self {
            switch,
            events,
            usage,
            memory,
        })
    }

    /// Has the app stand still, soon: every process of it, wherever it is in its code.
    ///
    /// # Errors
    ///
    /// What the kernel said.
    pub fn freeze(&self) -> io::Result<()> {
        self.set(b"1")
    }

    /// Lets the app go on. Does nothing to one that goes on.
    ///
    /// # Errors
    ///
    /// What the kernel said.
    pub fn thaw(&self) -> io::Result<()> {
        self.set(b"0")
    }

    fn set(&self, word: &[u8]) -> io::Result<()> {
        rustix::io::write(&self.switch, word)?;
        Ok(())
    }

    /// Whether all of the app stands still, whoever holds it.
    ///
    /// # Errors
    ///
    /// What the kernel said.
    pub fn is_frozen(&self) -> io::Result<bool> {
        Ok(says(&look(&self.events)?, "frozen 1"))
    }

    /// The processor time of all processes of the app, ended ones included.
    ///
    /// # Errors
    ///
    /// What the kernel said, or that it says nothing of this.
    pub fn processor_time(&self) -> io::Result<Duration> {
        figure(&look(&self.usage)?, "usage_usec").map(Duration::from_micros)
    }

    /// Bytes of memory that only the app's end brings back, unless they can be swapped out: its own, not its cached files.
    ///
    /// # Errors
    ///
    /// What the kernel said, or that it says nothing of this.
    pub fn memory(&self) -> io::Result<u64> {
        let text = look(&self.memory)?;
        // Versions 2 and 1.
        figure(&text, "anon").or_else(|_| figure(&text, "rss"))
    }
}

/// What a line of `text` says after `name`.
fn figure(text: &str, name: &str) -> io::Result<u64> {
    meter::line(text, name).ok_or_else(|| Errno::NODATA.into())
}

/// The text of an open file of the kernel, which is short.
fn look(file: &OwnedFd) -> io::Result<String> {
    let mut text = [0; 8 << 10];
    let read = rustix::io::pread(file, &mut text, 0)?;
    Ok(String::from_utf8_lossy(&text[..read]).into_owned())
}

fn says(text: &str, line: &str) -> bool {
    text.lines().any(|found| found == line)
}

/// An app that stands still until this is dropped, or its holder ends.
#[derive(Debug)]
pub struct Frozen {
    /// The group that is frozen.
    group: PathBuf,
    /// The locked directory.
    mark: PathBuf,
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
    let base = base(place).ok_or(none("no hierarchy of version 2 is there for the server"))?;
    let group = owned_directories(base, "")
        .into_iter()
        .find(|(owner, group)| *owner == host && !is_mark(group))
        .map(|(_, group)| group)
        .ok_or(none("the app has none"))?;
    let mark = base.join(format!("{host}{MARK}"));
    make(&mark)?;
    let lock = lock(&mark, until)?;
    // From here on dropping it lets the app go, whatever fails.
    let frozen = Frozen { group, mark, lock };
    set(&frozen.group, true)?;
    while !frozen.stands_still()? {
        if Instant::now() > until {
            return Err(FreezeError::Deadline);
        }
        std::thread::sleep(PAUSE);
    }
    Ok(frozen)
}

/// Where groups are that can be frozen.
fn base(place: &Place) -> Option<&PathBuf> {
    match place {
        Place::Unified(base) => Some(base),
        Place::Separate { freezer, .. } => freezer.as_ref(),
    }
}

impl Frozen {
    fn stands_still(&self) -> Result<bool, FreezeError> {
        let path = self.group.join("cgroup.events");
        let text = fs::read_to_string(&path).map_err(refused(&path))?;
        Ok(says(&text, "frozen 1"))
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        if let Err(error) = set(&self.group, false) {
            eprintln!("percloud: an app may stand still: {error}");
        }
        remove_empty(&self.mark);
    }
}

/// Lets go whatever stands still with nobody holding it. Returns whether something of that is left.
pub(super) fn sweep(place: &Place) -> bool {
    base(place).is_some_and(|base| release(base))
}

fn release(base: &Path) -> bool {
    let mut remains = false;
    for (host, mark) in owned_directories(base, "")
        .into_iter()
        .filter(|(_, path)| is_mark(path))
    {
        // Held by somebody who lives: theirs to let go.
        let Ok(_lock) = try_lock(&mark) else { continue };
        let groups = owned_directories(base, "").into_iter();
        for (_, group) in groups.filter(|(owner, path)| *owner == host && !is_mark(path)) {
            let _ = set(&group, false);
        }
        remains |= !remove_empty(&mark);
    }
    remains
}

fn set(group: &Path, frozen: bool) -> Result<(), FreezeError> {
    let path = group.join("cgroup.freeze");
    let name = CString::new(path.as_os_str().as_bytes()).map_err(|_| refused(&path)(Errno::INVAL.into()))?;
    crate::ids::write(&name, if frozen { "1" } else { "0" }).map_err(|errno| refused(&path)(errno.into()))
}

pub(super) fn is_mark(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|name| name.to_string_lossy().ends_with(MARK))
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

    /// The host's handle on the rig's group.
    fn freezer(rig: &Rig) -> Freezer {
        let open = |(file, flags): (&str, OFlags)| {
            rustix::fs::open(rig.group.join(file), flags, Mode::empty()).unwrap()
        };
        // What follows is not asked here.
        Freezer::new(HANDLES.into_iter().chain([HANDLES[2]]).map(open).collect()).unwrap()
    }

    fn until_frozen(freezer: &Freezer) {
        let begun = Instant::now();
        while !freezer.is_frozen().unwrap() {
            assert!(begun.elapsed() < DEADLINE);
            std::thread::sleep(PAUSE);
        }
    }

    #[test]
    fn a_host_freezes_its_app_which_takes_no_processor_time_until_it_is_let_go() {
        let Some(mut rig) = Rig::new("host") else { return };
        let freezer = freezer(&rig);
        let used = || freezer.processor_time().unwrap();
        assert!(!freezer.is_frozen().unwrap());
        freezer.freeze().unwrap();
        until_frozen(&freezer);
        let before = used();
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(used(), before);
        freezer.thaw().unwrap();
        let begun = Instant::now();
        while used() == before {
            assert!(begun.elapsed() < DEADLINE, "it does not go on");
        }
        // One that stands still can be killed.
        freezer.freeze().unwrap();
        until_frozen(&freezer);
        rig.process.kill().unwrap();
        assert!(!rig.process.wait().unwrap().success());
    }

    #[test]
    fn version_2_freezes_the_group_the_app_is_in() {
        let Some(rig) = Rig::new("freeze") else { return };
        let place = Place::Unified(rig.base.clone());
        let host = std::process::id();
        let frozen = freeze_in(&place, host).unwrap();
        assert!(rig.is_frozen());
        // Whoever sweeps leaves it, for it is held.
        release(&rig.base);
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
        assert!(!release(&rig.base));
        assert!(!rig.is_frozen());
        assert!(!mark.exists());
    }
}
