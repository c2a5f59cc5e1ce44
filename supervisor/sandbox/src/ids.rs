//! Which user of the machine an app is.
//!
//! Inside, an app is always 1000:1000 (sheet 3.2). Outside there are two cases:
//!
//! - The server runs as an ordinary user: 1000 is that user. No other mapping is allowed to it.
//! - The server runs as root: 1000 must not be root, whose processes escape the kernel's per-user limits and whose
//!   files are the machine's. It becomes a user id no account has, and no other running app: what the kernel grants
//!   by user (signals, limits, keyrings, locks on shared memory) ends at each app. So that files keep belonging to the
//!   server on disk and nothing is ever chowned, package and storage are mounted with the server's id translated to
//!   that one.
//!
//! A translation is a user namespace, and one takes a fifth of a millisecond to make. So the launcher keeps a few ahead
//! ([`Reserve`]); a grain host is forked with one taken from there and [`choose`]s it.

use std::collections::{HashSet, VecDeque};
use std::ffi::CStr;
use std::fmt::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;

use rustix::fs::{Mode, OFlags};
use rustix::process::Signal;
use rustix::thread::UnshareFlags;

use crate::exit::wait;
use crate::sys::{self, Errno};

/// User and group of an app, inside its namespace.
pub(crate) const INSIDE: u32 = 1000;

/// The first of the machine's users and groups apps are, when the server is root. In the range that is set aside for
/// nobody (1879048192 to 2147352575: neither accounts, nor systemd's dynamic users, nor container ranges).
const OUTSIDE: u32 = 1_879_081_192;
/// How many there are. More than processes a machine can have at a time, as configured by default.
const RANGE: u32 = 1 << 20;

/// How ids are mapped for an app.
#[derive(Debug)]
pub(crate) enum Ids {
    /// 1000 is the server's own user and group.
    Own { uid: u32, gid: u32 },
    /// 1000 is `outside`; `mounts` is a user namespace that maps the server's 0 to it, for mounts.
    Separate { outside: u32, mounts: OwnedFd },
}

static IDS: OnceLock<Ids> = OnceLock::new();
static CHOSEN: OnceLock<Ids> = OnceLock::new();

/// Returns the mapping of the app this process starts: what was chosen for it, else one for every app, found out once.
pub(crate) fn ids() -> &'static Ids {
    CHOSEN.get().unwrap_or_else(common)
}

fn common() -> &'static Ids {
    IDS.get_or_init(|| {
        // Root of a container may lack the right, or the id: then apps are the server's own user, and say so.
        match rustix::process::geteuid()
            .is_root()
            .then(|| mapping_namespace(OUTSIDE))
        {
            Some(Ok(mounts)) => Ids::Separate {
                outside: OUTSIDE,
                mounts,
            },
            _ => from_own(),
        }
    })
}

/// Has this process, a grain host, start its app as `own`. Once.
pub(crate) fn choose(own: Ids) {
    let _ = CHOSEN.set(own);
}

/// Ids for apps that are about to be started, each different from those of all running ones. Where apps are not users of
/// their own it has nothing to give.
#[derive(Debug, Default)]
pub(crate) struct Reserve {
    ready: VecDeque<Ids>,
    numbers: Numbers,
}

/// Which numbers from 1 on running apps have, and those ready. 0 is for apps that are started without one.
#[derive(Debug, Default)]
struct Numbers {
    used: HashSet<u32>,
    last: u32,
}

impl Numbers {
    /// Onwards from the last, so that one is used again as late as can be: its app may still be dying.
    fn take(&mut self) -> Option<u32> {
        let mut numbers = (0..RANGE - 1).map(|step| 1 + (self.last + step) % (RANGE - 1));
        let number = numbers.find(|number| !self.used.contains(number))?;
        self.used.insert(number);
        self.last = number;
        Some(number)
    }
}

/// What is to be given back when the app has ended.
#[derive(Debug)]
pub(crate) struct Number(u32);

impl Reserve {
    /// Makes sure that some are ready, for when there is time.
    pub(crate) fn refill(&mut self, count: usize) -> Result<(), Errno> {
        while matches!(common(), Ids::Separate { .. }) && self.ready.len() < count {
            let ids = self.make()?;
            self.ready.push_back(ids);
        }
        Ok(())
    }

    /// Takes one, made now if none is ready; `None` where all apps are the same user.
    pub(crate) fn take(&mut self) -> Result<Option<(Ids, Number)>, Errno> {
        if matches!(common(), Ids::Own { .. }) {
            return Ok(None);
        }
        let ids = match self.ready.pop_front() {
            Some(ids) => ids,
            None => self.make()?,
        };
        let number = match ids {
            Ids::Separate { outside, .. } => Number(outside - OUTSIDE),
            Ids::Own { .. } => return Ok(None),
        };
        Ok(Some((ids, number)))
    }

    /// Lets another app have it.
    pub(crate) fn give_back(&mut self, number: Number) {
        self.numbers.used.remove(&number.0);
    }

    fn make(&mut self) -> Result<Ids, Errno> {
        let number = self.numbers.take().ok_or(Errno::AGAIN)?;
        let mounts = mapping_namespace(OUTSIDE + number).inspect_err(|_| {
            self.numbers.used.remove(&number);
        })?;
        Ok(Ids::Separate {
            outside: OUTSIDE + number,
            mounts,
        })
    }
}

/// Returns the mapping to the server's own user, for where owners cannot be translated.
pub(crate) fn own() -> &'static Ids {
    static OWN: OnceLock<Ids> = OnceLock::new();
    OWN.get_or_init(from_own)
}

fn from_own() -> Ids {
    Ids::Own {
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
    }
}

impl Ids {
    /// Writes the maps of the user namespace process `pid` was just created in. Quiet, as [`sys::start_beside`] asks.
    pub(crate) fn write_maps(&self, pid: i32) -> Result<(), Errno> {
        match *self {
            Ids::Own { uid, gid } => {
                let process = process_directory(pid)?;
                // Without privilege in the parent namespace a group map is accepted only after this (user_namespaces(7)).
                write_at(&process, c"setgroups", b"deny")?;
                map(&process, c"uid_map", INSIDE, uid)?;
                map(&process, c"gid_map", INSIDE, gid)
            }
            Ids::Separate { outside, .. } => {
                let process = process_directory(pid)?;
                map(&process, c"uid_map", INSIDE, outside)?;
                map(&process, c"gid_map", INSIDE, outside)
            }
        }
    }

    /// Returns the namespace that translates owners on mounts, where mounts are to be translated.
    pub(crate) fn mounts(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Ids::Own { .. } => None,
            Ids::Separate { mounts, .. } => Some(mounts.as_fd()),
        }
    }
}

/// Moves this process, which has one thread, into a user namespace of its own, where it stays the user it is, and into
/// others that belong to that one.
pub(crate) fn own_namespace(others: UnshareFlags) -> Result<(), Errno> {
    let (uid, gid) = (
        rustix::process::geteuid().as_raw(),
        rustix::process::getegid().as_raw(),
    );
    sys::unshare_namespaces(UnshareFlags::NEWUSER | others)?;
    let process = process_directory(rustix::process::getpid().as_raw_nonzero().get())?;
    write_at(&process, c"setgroups", b"deny")?;
    map(&process, c"uid_map", uid, uid)?;
    map(&process, c"gid_map", gid, gid)
}

/// Makes a user namespace that maps 0 to `outside` and keeps only a descriptor of it.
fn mapping_namespace(outside: u32) -> Result<OwnedFd, Errno> {
    // A namespace needs a process to be born in; it waits until it is killed, and is reaped here.
    let host = rustix::process::getpid();
    let waiting = || {
        let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
        while rustix::process::getppid() == Some(host) {
            let _ = rustix::event::poll(&mut [], None);
        }
        1
    };
    let made = sys::start_beside(
        libc::CLONE_NEWUSER as u64,
        None,
        waiting,
        |pid, process| -> Result<OwnedFd, Errno> {
            let namespace = process_directory(pid).and_then(|directory| {
                map(&directory, c"uid_map", 0, outside)?;
                map(&directory, c"gid_map", 0, outside)?;
                let flags = OFlags::RDONLY | OFlags::CLOEXEC;
                rustix::fs::openat(&directory, c"ns/user", flags, Mode::empty())
            });
            rustix::process::pidfd_send_signal(process, Signal::KILL)?;
            namespace
        },
    )?;
    wait(made.pidfd.as_fd())?;
    made.meanwhile
}

fn process_directory(pid: i32) -> Result<OwnedFd, Errno> {
    let mut path = Text::default();
    let _ = write!(path, "/proc/{pid}");
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path.bytes(), flags, Mode::empty())
}

/// Writes a map that translates one id.
fn map(process: &OwnedFd, file: &CStr, inside: u32, outside: u32) -> Result<(), Errno> {
    let mut line = Text::default();
    let _ = write!(line, "{inside} {outside} 1");
    write_at(process, file, line.bytes())
}

/// A few numbers written out, without the allocator.
#[derive(Default)]
struct Text {
    buffer: [u8; 32],
    length: usize,
}

impl Text {
    fn bytes(&self) -> &[u8] {
        &self.buffer[..self.length]
    }
}

impl Write for Text {
    fn write_str(&mut self, more: &str) -> std::fmt::Result {
        let end = self.length + more.len();
        let place = self.buffer.get_mut(self.length..end).ok_or(std::fmt::Error)?;
        place.copy_from_slice(more.as_bytes());
        self.length = end;
        Ok(())
    }
}

fn write_at(directory: &OwnedFd, file: &CStr, text: &[u8]) -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    all_of(&rustix::fs::openat(directory, file, flags, Mode::empty())?, text)
}

/// Writes a setting of the kernel in the single write it demands. Quiet, as [`sys::start_beside`] asks.
pub(crate) fn write(path: &CStr, text: &str) -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    all_of(&rustix::fs::open(path, flags, Mode::empty())?, text.as_bytes())
}

fn all_of(file: &OwnedFd, text: &[u8]) -> Result<(), Errno> {
    match rustix::io::write(file, text)? {
        written if written == text.len() => Ok(()),
        _ => Err(Errno::IO),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_use_are_not_given_twice_and_others_rest_before_they_are() {
        let mut numbers = Numbers::default();
        let first: Vec<u32> = (0..5).filter_map(|_| numbers.take()).collect();
        assert_eq!(first, [1, 2, 3, 4, 5]);
        numbers.used.remove(&2);
        assert_eq!(numbers.take(), Some(6), "2 rests");

        // At the end of the range it begins again, past those in use.
        numbers.last = RANGE - 2;
        assert_eq!(numbers.take(), Some(RANGE - 1));
        assert_eq!(numbers.take(), Some(2));
        assert!(OUTSIDE.checked_add(RANGE).is_some_and(|end| end < 2_147_352_576));
    }
}
