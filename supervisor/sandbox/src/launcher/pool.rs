//! Children that wait to become grain hosts, each with the ground of a sandbox laid ([`crate::start`]).
//!
//! What takes most of a start (namespaces, a network, a control group, the fork itself) is the same for every app, so it
//! is done while nobody waits for it. A child that waits costs no processor time, and about 0.6 MB, most of it the
//! kernel's. Whoever asks when none is ready is served by a start from nothing.

use std::collections::HashSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{Shutdown, shutdown};

use super::{Kind, Request, Started, Task, wire};
use crate::exit::kill;
use crate::start::{self, Ordered};

/// How long nothing is asked before the next child is made: whoever has just opened one grain gets the processor first.
const QUIET: Duration = Duration::from_millis(5);

/// How long nobody is made after one was lost, first and at most; each time twice as long, until somebody asks for a grain.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// The launcher's side.
pub(super) struct Pool {
    size: usize,
    ready: Vec<Member>,
    preparing: Option<(OwnedFd, Option<Started>)>,
    /// Nobody is wanted any more.
    dismissed: bool,
    /// How long to wait with the next after the latest setback, and when that was.
    pause: Duration,
    setback: Instant,
}

struct Member {
    orders: OwnedFd,
    started: Started,
}

/// Both ends of the socket a child is told over what to become.
pub(super) fn channel() -> std::io::Result<(OwnedFd, OwnedFd)> {
    UnixStream::pair().map(|(ours, theirs)| (ours.into(), theirs.into()))
}

impl Pool {
    pub(super) fn new(size: usize) -> Self {
        Self {
            size,
            ready: Vec::new(),
            preparing: None,
            dismissed: false,
            pause: Duration::ZERO,
            setback: Instant::now(),
        }
    }

    /// How long nothing may be asked before [`Pool::ours`] is due; `None` while nobody is missing.
    pub(super) fn fills_in(&self) -> Option<Duration> {
        let missing = self.ready.len() < self.size && self.preparing.is_none() && !self.dismissed;
        missing.then(|| QUIET.max(self.pause.saturating_sub(self.setback.elapsed())))
    }

    /// Whether the next is to be made now that nothing is asked.
    pub(super) fn is_due(&self) -> bool {
        self.fills_in() == Some(QUIET)
    }

    /// One was lost, or could not be made: the machine may be short of something.
    fn set_back(&mut self) {
        self.pause = (self.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
        self.setback = Instant::now();
    }

    /// The end of a new child's socket that is ours. The child itself follows by [`Pool::theirs`].
    pub(super) fn ours(&mut self, orders: OwnedFd) {
        self.preparing = Some((orders, None));
    }

    /// The child that has been forked.
    pub(super) fn theirs(&mut self, child: Started) {
        if let Some((_, started)) = &mut self.preparing {
            *started = Some(child);
        }
    }

    /// What to listen to for [`Pool::hear`].
    pub(super) fn preparing(&self) -> Option<BorrowedFd<'_>> {
        self.preparing.as_ref().map(|(orders, _)| orders.as_fd())
    }

    /// Takes the word of the child that is being prepared: it is ready, or has ended.
    pub(super) fn hear(&mut self) {
        let Some((orders, Some(started))) = self.preparing.take() else {
            return;
        };
        match rustix::io::read(&orders, &mut [0; 1]) {
            Ok(1) => self.ready.push(Member { orders, started }),
            _ => self.set_back(),
        }
    }

    /// No more for now.
    pub(super) fn give_up(&mut self) {
        self.preparing = None;
        self.set_back();
    }

    /// Has a ready child become what `request` says. `None`: there is none.
    pub(super) fn order(&mut self, request: &[u8], fds: &[OwnedFd]) -> Option<Started> {
        self.pause = Duration::ZERO;
        let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
        while let Some(Member { orders, started }) = self.ready.pop() {
            if wire::send(orders.as_fd(), request, &fds).is_ok() {
                return Some(started);
            }
            let _ended_already = kill(started.pidfd.as_fd());
        }
        None
    }

    /// Tells all children that they are not needed; returns them.
    pub(super) fn dismiss(&mut self) -> HashSet<i32> {
        self.dismissed = true;
        let ready = self.ready.drain(..).map(|member| member.started.pid);
        let preparing = self.preparing.take().and_then(|(_, started)| started);
        ready.chain(preparing.map(|started| started.pid)).collect()
    }

    /// A child has ended.
    pub(super) fn forget(&mut self, pid: i32) {
        let before = self.ready.len();
        self.ready.retain(|member| member.started.pid != pid);
        if self.ready.len() < before {
            self.set_back();
        }
    }
}

/// Waits until something comes from the launcher or the sandbox has been killed. Then nothing more can come, but what was on
/// its way is still there to be read: whoever asked in that moment is served from nothing.
fn watch(sandbox: BorrowedFd<'_>, orders: &OwnedFd) -> Result<(), Errno> {
    let mut polled = [orders.as_fd(), sandbox].map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
    retry_on_intr(|| poll(&mut polled, None))?;
    if !polled[1].revents().is_empty() {
        shutdown(orders, Shutdown::Read)?;
    }
    Ok(())
}

/// The child's side: lays the ground, says so, waits for its order, starts the app. `None`: it is not needed, or cannot.
pub(super) fn wait(orders: &OwnedFd) -> Option<Request> {
    let await_order = |sandbox: BorrowedFd<'_>| {
        rustix::io::write(orders, b"!").ok()?;
        watch(sandbox, orders).ok()?;
        let (request, fds) = wire::receive(orders.as_fd()).ok()??;
        match serde_json::from_slice(&request) {
            Ok(Kind::Grain { sandbox, host }) => Some((*sandbox, (host, fds))),
            _ => None,
        }
    };
    match start::start_ahead(await_order) {
        Ok(Some(Ordered {
            spec,
            rest: (host, fds),
            app,
        })) => Some(Request {
            task: Task::Grain {
                sandbox: Box::new(spec),
                app,
                host,
            },
            fds,
        }),
        Ok(None) => None,
        // Whoever asks next starts from nothing, and is told the reason.
        Err(error) => {
            eprintln!("percloud launcher: no sandbox is made ahead: {error}");
            None
        }
    }
}
