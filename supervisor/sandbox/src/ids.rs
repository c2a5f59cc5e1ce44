//! Which user of the machine an app is.
//!
//! Inside, an app is always 1000:1000 (sheet 3.2). Outside there are two cases:
//!
//! - The server runs as an ordinary user: 1000 is that user. No other mapping is allowed to it.
//! - The server runs as root: 1000 must not be root, whose processes escape the kernel's per-user limits and whose
//!   files are the machine's. It becomes a user id no account has. So that files keep belonging to the server on
//!   disk and nothing is ever chowned, package and storage are mounted with the server's id translated to that one.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::process::{Pid, Signal, WaitOptions};

use crate::sys::{self, Cloned, Errno};

/// User and group of an app, inside its namespace.
pub(crate) const INSIDE: u32 = 1000;

/// The machine's user and group apps are, when the server is root. In the range that is set aside for nobody
/// (1879048192 to 2147352575: neither accounts, nor systemd's dynamic users, nor container ranges).
const OUTSIDE: u32 = 1_879_081_192;

/// How ids are mapped for every app this process starts.
pub(crate) enum Ids {
    /// 1000 is the server's own user and group.
    Own { uid: u32, gid: u32 },
    /// 1000 is [`OUTSIDE`]; `mounts` is a user namespace that maps the server's 0 to it, for mounts.
    Separate { mounts: OwnedFd },
}

static IDS: OnceLock<Ids> = OnceLock::new();

/// Returns the mapping of this process and, after a fork, of its children: found out once.
pub(crate) fn ids() -> &'static Ids {
    IDS.get_or_init(|| {
        // Root of a container may lack the right, or the id: then apps are the server's own user, and say so.
        match rustix::process::geteuid().is_root().then(mapping_namespace) {
            Some(Ok(mounts)) => Ids::Separate { mounts },
            _ => from_own(),
        }
    })
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
    /// Writes the maps of the user namespace process `pid` was just created in.
    pub(crate) fn write_maps(&self, pid: i32) -> Result<(), Errno> {
        let (uid, gid) = match self {
            Ids::Own { uid, gid } => {
                // Without privilege in the parent namespace a group map is accepted only after this (user_namespaces(7)).
                write(&format!("/proc/{pid}/setgroups"), "deny")?;
                (*uid, *gid)
            }
            Ids::Separate { .. } => (OUTSIDE, OUTSIDE),
        };
        write(&format!("/proc/{pid}/uid_map"), &format!("{INSIDE} {uid} 1"))?;
        write(&format!("/proc/{pid}/gid_map"), &format!("{INSIDE} {gid} 1"))
    }

    /// Returns the namespace that translates owners on mounts, where mounts are to be translated.
    pub(crate) fn mounts(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Ids::Own { .. } => None,
            Ids::Separate { mounts } => Some(mounts.as_fd()),
        }
    }
}

/// Makes a user namespace that maps 0 to [`OUTSIDE`] and keeps only a descriptor of it.
fn mapping_namespace() -> Result<OwnedFd, Errno> {
    // A namespace needs a process to be born in; it waits until it is killed, and is reaped here.
    let (pid, _pidfd) = match sys::clone(libc::CLONE_NEWUSER as u64, None)? {
        Cloned::Child => {
            let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
            loop {
                std::thread::park();
            }
        }
        Cloned::Parent { pid, pidfd } => (pid, pidfd),
    };
    let namespace = write(&format!("/proc/{pid}/uid_map"), &format!("0 {OUTSIDE} 1"))
        .and_then(|()| write(&format!("/proc/{pid}/gid_map"), &format!("0 {OUTSIDE} 1")))
        .and_then(|()| {
            rustix::fs::openat(
                CWD,
                format!("/proc/{pid}/ns/user"),
                OFlags::RDONLY | OFlags::CLOEXEC,
                Mode::empty(),
            )
        });
    let process = Pid::from_raw(pid).ok_or(Errno::SRCH)?;
    rustix::process::kill_process(process, Signal::KILL)?;
    rustix::process::waitpid(Some(process), WaitOptions::empty())?;
    namespace
}

/// Writes a map or switch in `/proc` in the single write the kernel demands.
pub(crate) fn write(path: &str, text: &str) -> Result<(), Errno> {
    let file = rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    let written = rustix::io::write(&file, text.as_bytes())?;
    if written == text.len() {
        Ok(())
    } else {
        Err(Errno::IO)
    }
}
