//! The launcher: a small process with one thread that forks grain hosts and workers on request.
//!
//! It exists because forking is cheap and safe only from a process that is small and has one thread, which the broker
//! is not. It holds the right to build sandboxes and nothing else: it reads requests of the broker alone, decodes no
//! foreign byte, and keeps no descriptor of a request once it has forked.
//!
//! Who dies with whom: a child is killed when the launcher ends, by the kernel; the launcher kills its children and
//! ends when the broker's end of the control socket closes.

mod wire;

use std::collections::HashSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::sys::signal::{SigSet, Signal as Caught};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, WaitOptions};
use serde::{Deserialize, Serialize};

use crate::exit::pidfd_of_child;
use crate::spec::SandboxSpec;
use crate::sys::{self, Errno};
use crate::{cgroup, start};

pub use wire::{MAX_DESCRIPTORS, MAX_MESSAGE, WireError};

/// What to fork. `host` and `job` mean nothing to the launcher; the handler reads them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Kind {
    /// A grain host, and the sandbox it is to start.
    Grain {
        /// The sandbox.
        sandbox: Box<SandboxSpec>,
        /// What the host is told besides.
        host: serde_json::Value,
    },
    /// A disposable worker.
    Worker {
        /// What it is to do.
        job: serde_json::Value,
    },
}

/// A request as the forked child receives it.
#[derive(Debug)]
pub struct Request {
    /// What this child is to be.
    pub kind: Kind,
    /// The descriptors that came with the request, in order; close-on-exec.
    pub fds: Vec<OwnedFd>,
}

/// A forked child, as the client sees it.
#[derive(Debug)]
pub struct Started {
    /// Its process id.
    pub pid: i32,
    /// Refers to it; readable when it has ended. It is reaped by the launcher.
    pub pidfd: OwnedFd,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
enum Reply {
    Started { pid: i32 },
    Failed { error: String },
}

/// Why a request was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The launcher is gone or out of step: start another.
    #[error("the launcher does not answer")]
    Wire(#[from] WireError),
    /// It answered that it could not.
    #[error("the launcher could not fork: {0}")]
    Failed(String),
    /// The request cannot be written down.
    #[error("the request for the launcher is not valid JSON")]
    Encode(#[source] serde_json::Error),
}

/// The broker's end of the control socket. Blocking: a request takes one fork, about 0.2 ms.
#[derive(Debug)]
pub struct Client {
    socket: OwnedFd,
}

impl Client {
    /// Takes one end of a stream socket pair whose other end the launcher serves.
    pub fn new(socket: OwnedFd) -> Self {
        Self { socket }
    }

    /// Asks for a child that gets copies of `fds`, and waits until it is forked. What becomes of the child after that
    /// is between it and whoever holds the other ends.
    ///
    /// # Errors
    ///
    /// After [`LaunchError::Wire`] this client is of no further use.
    pub fn request(&mut self, kind: &Kind, fds: &[BorrowedFd<'_>]) -> Result<Started, LaunchError> {
        let bytes = serde_json::to_vec(kind).map_err(LaunchError::Encode)?;
        wire::send(self.socket.as_fd(), &bytes, fds)?;
        let (bytes, fds) = wire::receive(self.socket.as_fd())?.ok_or(WireError::Closed)?;
        match serde_json::from_slice(&bytes).map_err(|_| WireError::Garbage)? {
            Reply::Failed { error } => Err(LaunchError::Failed(error)),
            Reply::Started { pid } => {
                let pidfd = fds.into_iter().next().ok_or(WireError::Garbage)?;
                Ok(Started { pid, pidfd })
            }
        }
    }
}

/// Serves requests on `control` until its other end closes, then ends this process and every child.
///
/// `handler` runs in each forked child, which is its own to keep; what it returns is the child's exit status. The
/// calling process must have one thread.
pub fn serve(control: OwnedFd, handler: fn(Request) -> i32) -> ! {
    start::prepare();
    cgroup::sweep();
    let mut launcher = match Launcher::new(control, handler) {
        Ok(launcher) => launcher,
        Err(errno) => {
            eprintln!("percloud launcher: cannot wait for children: {errno}");
            sys::exit_now(1)
        }
    };
    let code = match launcher.run() {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("percloud launcher: {error}");
            1
        }
    };
    launcher.end(code)
}

struct Launcher {
    control: OwnedFd,
    exits: SignalFd,
    handler: fn(Request) -> i32,
    children: HashSet<i32>,
}

impl Launcher {
    fn new(control: OwnedFd, handler: fn(Request) -> i32) -> Result<Self, nix::Error> {
        // Read as a descriptor, so that one poll waits for both.
        let mut mask = SigSet::empty();
        mask.add(Caught::SIGCHLD);
        mask.thread_block()?;
        let exits = SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        Ok(Self {
            control,
            exits,
            handler,
            children: HashSet::new(),
        })
    }

    fn run(&mut self) -> Result<(), WireError> {
        let mut unswept = false;
        loop {
            let mut polled = [
                PollFd::new(&self.control, PollFlags::IN),
                PollFd::new(&self.exits, PollFlags::IN),
            ];
            // A killed host's app takes a moment to die; its control group cannot be removed before.
            let again = Timespec {
                tv_sec: 0,
                tv_nsec: 20_000_000,
            };
            match poll(&mut polled, unswept.then_some(&again)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(WireError::Socket(errno.into())),
            }
            let (asked, exited) = (!polled[0].revents().is_empty(), !polled[1].revents().is_empty());
            if exited || unswept {
                while let Ok(Some(_)) = self.exits.read_signal() {}
                self.reap();
                unswept = cgroup::sweep();
            }
            if asked {
                let Some((bytes, fds)) = wire::receive(self.control.as_fd())? else {
                    return Ok(());
                };
                self.answer(&bytes, fds)?;
            }
        }
    }

    fn answer(&mut self, bytes: &[u8], fds: Vec<OwnedFd>) -> Result<(), WireError> {
        let started = match serde_json::from_slice(bytes) {
            Ok(kind) => self
                .fork(Request { kind, fds })
                .map_err(|errno| errno.to_string()),
            Err(error) => Err(format!("request not understood: {error}")),
        };
        let (reply, pidfd) = match started {
            Ok(Started { pid, pidfd }) => (Reply::Started { pid }, Some(pidfd)),
            Err(error) => (Reply::Failed { error }, None),
        };
        let bytes = serde_json::to_vec(&reply).map_err(|_| WireError::Garbage)?;
        let fds: Vec<_> = pidfd.iter().map(AsFd::as_fd).collect();
        wire::send(self.control.as_fd(), &bytes, &fds)
    }

    fn fork(&mut self, request: Request) -> Result<Started, Errno> {
        let launcher = rustix::process::getpid();
        let Some(pid) = sys::fork()? else {
            self.become_child(request, launcher)
        };
        self.children.insert(pid);
        // Not reaped yet, so the number cannot be another's.
        Ok(Started {
            pid,
            pidfd: pidfd_of_child(pid)?,
        })
    }

    /// The child's side of the fork: gives up what was the launcher's and becomes what was asked for.
    fn become_child(&mut self, request: Request, launcher: Pid) -> ! {
        let orphan = rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).is_err()
            || rustix::process::getppid() != Some(launcher)
            || sys::unblock_all().is_err()
            || self.give_up_descriptors().is_err();
        if orphan {
            sys::exit_now(1);
        }
        let handler = self.handler;
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| handler(request)));
        std::process::exit(ended.unwrap_or(101))
    }

    /// Closes the control socket in this child: while a copy is open the broker would not see the launcher's end.
    fn give_up_descriptors(&mut self) -> Result<(), Errno> {
        let nothing = rustix::fs::open(
            "/dev/null",
            rustix::fs::OFlags::RDWR | rustix::fs::OFlags::CLOEXEC,
            rustix::fs::Mode::empty(),
        )?;
        self.exits =
            SignalFd::new(&SigSet::empty()).map_err(|errno| Errno::from_raw_os_error(errno as i32))?;
        self.control = nothing;
        Ok(())
    }

    fn reap(&mut self) {
        while let Ok(Some((pid, _))) = rustix::process::waitpid(None, WaitOptions::NOHANG) {
            self.children.remove(&pid.as_raw_nonzero().get());
        }
    }

    fn end(&mut self, code: i32) -> ! {
        for &pid in &self.children {
            if let Some(pid) = Pid::from_raw(pid) {
                let _ = rustix::process::kill_process(pid, Signal::KILL);
            }
        }
        while rustix::process::waitpid(None, WaitOptions::empty()).is_ok() {}
        cgroup::leave();
        std::process::exit(code)
    }
}
