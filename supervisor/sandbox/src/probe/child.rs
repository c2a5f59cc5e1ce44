//! A child that tries something, tells, and ends.

use std::fs::File;
use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, WaitOptions};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::sys::{self, Errno};

/// How long a child may take. A kernel that makes namespaces one at a time takes a second or two under load.
const DEADLINE: Duration = Duration::from_secs(10);
/// Bytes of an answer read at most.
const ANSWER: u64 = 64 << 10;

/// Runs `something` in a child and returns what it returned. The child and what it made are gone then.
///
/// Fails with `EBUSY` in a process with more than one thread, with `ETIMEDOUT` when nothing was heard in time, with
/// `ECHILD` when the child ended without a word.
pub(super) fn run<T: Serialize + DeserializeOwned>(something: impl FnOnce() -> T) -> io::Result<T> {
    let (ours, theirs) = pipe_with(PipeFlags::CLOEXEC)?;
    let Some(pid) = sys::fork()? else {
        drop(ours);
        let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
        let tried = std::panic::catch_unwind(std::panic::AssertUnwindSafe(something));
        let told = tried.is_ok_and(|answer| {
            let bytes = serde_json::to_vec(&answer).unwrap_or_default();
            File::from(theirs).write_all(&bytes).is_ok()
        });
        sys::exit_now(i32::from(!told));
    };
    drop(theirs);
    let child = Child(Pid::from_raw(pid));
    let mut answer = File::from(ours);
    let mut bytes = Vec::new();
    let until = Instant::now() + DEADLINE;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let left = Timespec {
            tv_sec: left.as_secs().try_into().unwrap_or(0),
            tv_nsec: left.subsec_nanos().into(),
        };
        match poll(&mut [PollFd::new(&answer, PollFlags::IN)], Some(&left)) {
            Ok(0) => return Err(Errno::TIMEDOUT.into()),
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(errno) => return Err(errno.into()),
        }
        let mut part = [0; 4096];
        match answer.read(&mut part) {
            Ok(0) => break,
            Ok(count) => bytes.extend_from_slice(&part[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        if bytes.len() as u64 > ANSWER {
            return Err(Errno::MSGSIZE.into());
        }
    }
    drop(child);
    serde_json::from_slice(&bytes).map_err(|_| Errno::CHILD.into())
}

/// Ended and collected when dropped. Not by its pidfd: whether the kernel has those may be the question.
struct Child(Option<Pid>);

impl Drop for Child {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            // It has told what it had to tell; not yet collected, so the number cannot be another's.
            let _ = rustix::process::kill_process(pid, Signal::KILL);
            let _ = rustix::io::retry_on_intr(|| rustix::process::waitpid(Some(pid), WaitOptions::empty()));
        }
    }
}
