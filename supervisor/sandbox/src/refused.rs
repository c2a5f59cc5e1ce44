//! Which system calls an app tried and was refused.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};

use crate::seccomp::{self, Verdict};
use crate::spec::Policy;
use crate::sys::{self, Errno};

/// Answers an app's refused system calls as its policy says, and counts them.
///
/// Run it on a thread of its own for as long as the app lives: the app stands still at each refused call until it is
/// answered.
///
/// ```no_run
/// # fn example(listener: std::os::fd::OwnedFd, policy: percloud_sandbox::Policy) {
/// let recorder = percloud_sandbox::refused::Recorder::new(listener, policy);
/// for refused in recorder {
///     eprintln!("{} refused ({} times)", refused.name, refused.count);
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct Recorder {
    listener: OwnedFd,
    policy: Policy,
    counts: BTreeMap<i32, u64>,
}

/// One refused call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The call's number.
    pub number: i32,
    /// Its name, or `unknown`.
    pub name: &'static str,
    /// The errno it was answered; 0 means success was claimed.
    pub errno: u16,
    /// How often this number has been refused, this time included.
    pub count: u64,
}

impl Recorder {
    /// Takes the descriptor [`crate::App::refused`] and the policy the app was started with.
    pub fn new(listener: OwnedFd, policy: Policy) -> Self {
        Self {
            listener,
            policy,
            counts: BTreeMap::new(),
        }
    }
}

impl Iterator for Recorder {
    type Item = Refused;

    /// Waits for the next refused call and answers it. `None` when no process under the filter is left.
    fn next(&mut self) -> Option<Refused> {
        loop {
            let mut polled = [PollFd::new(&self.listener, PollFlags::IN)];
            match poll(&mut polled, None) {
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(_) => return None,
            }
            if !polled[0].revents().contains(PollFlags::IN) {
                return None;
            }
            let call = match sys::notification(self.listener.as_fd()) {
                Ok(call) => call,
                // The caller was killed or interrupted between poll and here.
                Err(Errno::NOENT | Errno::INTR) => continue,
                Err(_) => return None,
            };
            let rules = seccomp::rules(self.policy);
            let errno = match rules.verdict(call.arch, call.number as u32, &call.args) {
                Verdict::Errno(errno) => errno,
                // The filter and the rules are the same data; were they ever to differ, refusing is the safe side.
                Verdict::Allow => libc::ENOSYS as u16,
            };
            match sys::refuse(self.listener.as_fd(), call.id, errno) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(_) => return None,
            }
            let count = self.counts.entry(call.number).or_default();
            *count += 1;
            let name = seccomp::name(call.number as u32).unwrap_or("unknown");
            return Some(Refused {
                number: call.number,
                name,
                errno,
                count: *count,
            });
        }
    }
}
