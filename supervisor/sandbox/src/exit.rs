//! How processes end: by our hand, and what they leave to collect.

use std::os::fd::{BorrowedFd, OwnedFd};

use nix::sys::wait::{Id, WaitPidFlag};
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions};

use crate::sys::Errno;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this status.
    Code(i32),
    /// Killed by this signal.
    Signal(i32),
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Exit::Code(code) => write!(f, "exit status {code}"),
            Exit::Signal(signal) => write!(f, "killed by signal {signal}"),
        }
    }
}

/// Kills the app and with it every process it started.
///
/// # Errors
///
/// `ESRCH` once it has been reaped.
pub fn kill(app: BorrowedFd<'_>) -> std::io::Result<()> {
    Ok(rustix::process::pidfd_send_signal(app, Signal::KILL)?)
}

/// Collects the exit of a child of this process, if it has ended. Never blocks: wait for `pidfd` to become readable.
///
/// # Errors
///
/// `ECHILD` when it has been collected already or is not a child of this process.
pub fn reap(pidfd: BorrowedFd<'_>) -> std::io::Result<Option<Exit>> {
    Ok(wait_with(pidfd, WaitIdOptions::EXITED | WaitIdOptions::NOHANG)?)
}

/// Collects children that have ended and that nobody here started: as the first process of a container this one is left
/// with those whose parents ended before them. `is_orphan` tells them by process id.
pub(crate) fn collect_orphans(is_orphan: impl Fn(i32) -> bool) {
    let ended = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG;
    loop {
        // A look first: who is somebody's has its end told to them.
        let seen = nix::sys::wait::waitid(Id::All, ended | WaitPidFlag::WNOWAIT);
        match seen.ok().and_then(|status| status.pid()) {
            Some(pid) if is_orphan(pid.as_raw()) => {
                let _ = nix::sys::wait::waitid(Id::Pid(pid), ended);
            }
            // None has ended, or one for somebody: the next end is another occasion.
            _ => return,
        }
    }
}

pub(crate) fn wait(pidfd: BorrowedFd<'_>) -> Result<Exit, Errno> {
    loop {
        match wait_with(pidfd, WaitIdOptions::EXITED) {
            Ok(Some(exit)) => return Ok(exit),
            Ok(None) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

fn wait_with(pidfd: BorrowedFd<'_>, options: WaitIdOptions) -> Result<Option<Exit>, Errno> {
    let status = rustix::process::waitid(WaitId::PidFd(pidfd), options)?;
    Ok(status.map(
        |status| match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => Exit::Code(code),
            (None, signal) => Exit::Signal(signal.unwrap_or(0)),
        },
    ))
}

/// Opens a pidfd for a child that has not been reaped.
pub(crate) fn pidfd_of_child(pid: i32) -> Result<OwnedFd, Errno> {
    rustix::process::pidfd_open(Pid::from_raw(pid).ok_or(Errno::SRCH)?, PidfdFlags::empty())
}
