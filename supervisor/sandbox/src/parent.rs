//! The parent: the one process of a server that starts the others, because they may not.
//!
//! A process that has given up executing programs, or that Landlock keeps from mounting, hands that down to whatever
//! it starts. So nothing that is confined starts anything: each role asks the parent, which starts what it was told to
//! know and nothing else. It has one thread and decodes a role's name and no other byte. When the first process it started
//! ends, however it ends, all others end, by themselves or killed, and all may begin anew; when the parent ends the kernel
//! kills them all.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal as Caught};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Signal;
use serde::{Deserialize, Serialize};

use crate::exit::{self, Exit};
use crate::launcher::{MAX_DESCRIPTORS, WireError, wire};
use crate::process::Child;
use crate::sys::Errno;

/// Most descriptors a role is handed: a listener, and one connection for each of 256 threads, with room to spare.
const MOST: usize = 512;

/// How long all roles together may take to put away what is theirs once the first process has ended, and with it their
/// connections to it: the launcher has control groups to remove.
const PARTING: Duration = Duration::from_secs(2);

/// A part of a request: descriptors travel in messages of at most [`MAX_DESCRIPTORS`].
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Part {
    role: String,
    last: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
enum Reply {
    Started { pid: i32 },
    Failed { error: String },
}

/// Why a role was not started.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The parent is gone, which ends this process too.
    #[error("the parent process does not answer")]
    Wire(#[from] WireError),
    /// It could not, or does not know the role.
    #[error("the parent process could not start it: {0}")]
    Failed(String),
}

/// Who asks the parent for processes. Blocking: a request takes a fork and an exec, a few milliseconds.
#[derive(Debug)]
pub struct Client {
    socket: OwnedFd,
}

impl Client {
    /// Takes one end of a stream socket pair whose other end [`Parent::run`] serves.
    pub fn new(socket: OwnedFd) -> Self {
        Self { socket }
    }

    /// Asks for `role`, handing it copies of `fds`. The process is the parent's child: it is watched and killed by its
    /// descriptor, and collected by the parent.
    ///
    /// # Errors
    ///
    /// After [`AskError::Wire`] this client is of no further use.
    pub fn start(&self, role: &str, fds: &[BorrowedFd<'_>]) -> Result<Child, AskError> {
        let mut parts: Vec<_> = fds.chunks(MAX_DESCRIPTORS).collect();
        let last = parts.pop().unwrap_or_default();
        for (fds, last) in parts.into_iter().map(|fds| (fds, false)).chain([(last, true)]) {
            let part = Part {
                role: role.to_owned(),
                last,
            };
            let bytes = serde_json::to_vec(&part).map_err(|_| WireError::Garbage)?;
            wire::send(self.socket.as_fd(), &bytes, fds)?;
        }
        let (bytes, fds) = wire::receive(self.socket.as_fd())?.ok_or(WireError::Closed)?;
        match serde_json::from_slice(&bytes).map_err(|_| WireError::Garbage)? {
            Reply::Failed { error } => Err(AskError::Failed(error)),
            Reply::Started { pid } => {
                let pidfd = fds.into_iter().next().ok_or(WireError::Garbage)?;
                Ok(Child { pid, pidfd })
            }
        }
    }
}

/// The parent's side. Make it before the first process is started: from then on its signals are read, not delivered.
#[derive(Debug)]
pub struct Parent {
    signals: SignalFd,
    started: Vec<Child>,
    /// Whether it was asked to stop.
    stopping: bool,
}

impl Parent {
    /// Takes over the signals of this process, which has one thread: its children's ends, and the two by which a server
    /// is asked to stop.
    ///
    /// # Errors
    ///
    /// When no descriptor is left.
    pub fn new() -> io::Result<Self> {
        let mut mask = SigSet::empty();
        for signal in [Caught::SIGCHLD, Caught::SIGINT, Caught::SIGTERM] {
            mask.add(signal);
        }
        mask.thread_block()?;
        let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        Ok(Self {
            signals,
            started: Vec::new(),
            stopping: false,
        })
    }

    /// Starts roles that are asked for on `control`, by `start`, until `first` ends; returns how. All others are gone then.
    ///
    /// A request to stop is passed on to `first` as SIGTERM, and is its to follow.
    ///
    /// # Errors
    ///
    /// When the parent's own signals cannot be read. The kernel kills the others as this process ends.
    pub fn run<E: std::fmt::Display>(
        &mut self,
        control: OwnedFd,
        first: Child,
        mut start: impl FnMut(&str, Vec<OwnedFd>) -> Result<Child, E>,
    ) -> io::Result<Exit> {
        let mut control = Some(control);
        let mut gathered = Vec::new();
        loop {
            let mut polled = vec![PollFd::new(&self.signals, PollFlags::IN)];
            if let Some(control) = &control {
                polled.push(PollFd::new(control, PollFlags::IN));
            }
            match poll(&mut polled, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
            let asked = polled.get(1).is_some_and(|control| !control.revents().is_empty());
            if self.hear() {
                // Ended already: then its end is the next thing heard.
                let _ = rustix::process::pidfd_send_signal(&first.pidfd, Signal::TERM);
            }
            if let Some(exit) = self.collect(&first)? {
                self.end_all();
                return Ok(exit);
            }
            if asked
                && let Some(open) = &control
                && self.answer(open.as_fd(), &mut gathered, &mut start).is_err()
            {
                // Nobody asks any more; what runs, runs on until `first` ends.
                control = None;
            }
        }
    }

    /// Waits for `time`, while nothing runs, or until it is asked to stop.
    ///
    /// # Errors
    ///
    /// When the parent's own signals cannot be read.
    pub fn pause(&mut self, time: Duration) -> io::Result<()> {
        let deadline = Instant::now() + time;
        loop {
            self.hear();
            let left = deadline.saturating_duration_since(Instant::now());
            if self.stopping || left.is_zero() {
                return Ok(());
            }
            let left = Timespec::try_from(left).expect("no longer than `time`");
            match poll(&mut [PollFd::new(&self.signals, PollFlags::IN)], Some(&left)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Whether it was asked to stop, ever.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// Reads the signals there are; returns whether one of them asks to stop.
    fn hear(&mut self) -> bool {
        let mut asked = false;
        while let Ok(Some(signal)) = self.signals.read_signal() {
            asked |= signal.ssi_signo != Caught::SIGCHLD as u32;
        }
        self.stopping |= asked;
        asked
    }

    /// Takes one message, and answers it if it completes a request.
    fn answer<E: std::fmt::Display>(
        &mut self,
        control: BorrowedFd<'_>,
        gathered: &mut Vec<OwnedFd>,
        start: &mut impl FnMut(&str, Vec<OwnedFd>) -> Result<Child, E>,
    ) -> Result<(), WireError> {
        let (bytes, fds) = wire::receive(control)?.ok_or(WireError::Closed)?;
        let part: Part = serde_json::from_slice(&bytes).map_err(|_| WireError::Garbage)?;
        gathered.extend(fds);
        if gathered.len() > MOST {
            return Err(WireError::TooManyDescriptors);
        }
        if !part.last {
            return Ok(());
        }
        let reply = match start(&part.role, std::mem::take(gathered)) {
            Ok(child) => {
                let pid = child.pid;
                self.started.push(child);
                Reply::Started { pid }
            }
            Err(error) => Reply::Failed {
                error: error.to_string(),
            },
        };
        let child = match &reply {
            Reply::Started { .. } => self.started.last(),
            Reply::Failed { .. } => None,
        };
        let bytes = serde_json::to_vec(&reply).map_err(|_| WireError::Garbage)?;
        let fds: Vec<_> = child.iter().map(|child| child.pidfd.as_fd()).collect();
        wire::send(control, &bytes, &fds)
    }

    /// Collects whoever has ended; tells how `first` did, if it did.
    fn collect(&mut self, first: &Child) -> io::Result<Option<Exit>> {
        self.started
            .retain(|child| matches!(exit::reap(child.pidfd.as_fd()), Ok(None)));
        let ended = exit::reap(first.pidfd.as_fd());
        exit::collect_orphans(|pid| pid != first.pid && self.started.iter().all(|child| child.pid != pid));
        ended
    }

    fn end_all(&mut self) {
        let deadline = Instant::now() + PARTING;
        for child in &self.started {
            await_end(child, deadline);
        }
        for child in self.started.drain(..) {
            let _ended_already = child.kill();
            let _ = child.wait();
        }
    }
}

/// Waits for the end of `child`, or for `deadline`.
fn await_end(child: &Child, deadline: Instant) {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).expect("no longer than PARTING");
        match poll(&mut [PollFd::new(&child.pidfd, PollFlags::IN)], Some(&left)) {
            Err(Errno::INTR) => {}
            // Ended, too late, or not to be watched: all of them are for the caller to end.
            _ => return,
        }
    }
}
