//! The launcher: a small process with one thread that forks grain hosts and workers on request.
//!
//! It exists because forking is cheap and safe only from a process that is small and has one thread, which the broker
//! is not. It holds the right to build sandboxes and nothing else: it reads requests of the broker alone, decodes no
//! foreign byte, and keeps no descriptor of a request once it has forked.
//!
//! It keeps some children ahead of time, for whom everything that is the same for every app has been done: a grain that is
//! asked for becomes one of those (`pool`).
//!
//! Who dies with whom: a child is killed when the launcher ends, by the kernel; the launcher kills its children and
//! ends when the broker's end of the control socket closes.

mod pool;
mod unswept;
pub(crate) mod wire;

use std::collections::HashMap;
use std::io::ErrorKind;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal as Caught};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, WaitOptions};
use serde::{Deserialize, Serialize};

use crate::cgroup;
use crate::error::StartError;
use crate::exit::pidfd_of_child;
use crate::ids::{self, Number, Reserve};
use crate::spec::SandboxSpec;
use crate::start::{self, App};
use crate::sys::{self, Errno};

use pool::Pool;
use unswept::Unswept;

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

/// What a forked child is to be.
#[derive(Debug)]
pub enum Task {
    /// A grain host.
    Grain {
        /// The sandbox that was asked for.
        sandbox: Box<SandboxSpec>,
        /// The app in it, which runs; or why it does not.
        app: Result<App, StartError>,
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
    pub task: Task,
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
    /// The launcher had ended before it was asked: ask the next one.
    #[error("the launcher has ended")]
    Gone,
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
    /// After [`LaunchError::Gone`] and [`LaunchError::Wire`] this client is of no further use.
    pub fn request(&mut self, kind: &Kind, fds: &[BorrowedFd<'_>]) -> Result<Started, LaunchError> {
        let bytes = serde_json::to_vec(kind).map_err(LaunchError::Encode)?;
        wire::send(self.socket.as_fd(), &bytes, fds).map_err(|error| match error {
            WireError::Socket(error) if error.kind() == ErrorKind::BrokenPipe => LaunchError::Gone,
            other => other.into(),
        })?;
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
/// `handler` runs in each forked child, which is its own to keep; what it returns is the child's exit status. `ahead` children
/// wait to become grain hosts. The calling process must have one thread.
pub fn serve(control: OwnedFd, ahead: usize, handler: fn(Request) -> i32) -> ! {
    start::prepare();
    let mut launcher = match Launcher::new(control, ahead, handler) {
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

/// How long children that wait may take to end by themselves.
const DISMISSAL: Duration = Duration::from_millis(900);

/// How soon the process that keeps apps in order is started again.
const BACKGROUND_AGAIN: Duration = Duration::from_secs(1);

struct Launcher {
    control: OwnedFd,
    exits: SignalFd,
    handler: fn(Request) -> i32,
    /// Who runs, and whose app has a user id of its own.
    children: HashMap<i32, (Life, Option<Number>)>,
    ids: Reserve,
    pool: Pool,
    unswept: Unswept,
    /// When to start the process that keeps apps in order, if it does not run and there is one.
    background: Option<Instant>,
}

/// What a child is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Life {
    /// Starting an app.
    Host,
    Worker,
    /// See [`cgroup::keep_background`].
    Background,
}

impl Launcher {
    fn new(control: OwnedFd, ahead: usize, handler: fn(Request) -> i32) -> Result<Self, nix::Error> {
        // Read as a descriptor, so that one poll waits for both.
        let mut mask = SigSet::empty();
        mask.add(Caught::SIGCHLD);
        mask.thread_block()?;
        let exits = SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        Ok(Self {
            control,
            exits,
            handler,
            children: HashMap::new(),
            ids: Reserve::default(),
            pool: Pool::new(ahead),
            unswept: Unswept::new(),
            background: Some(Instant::now()),
        })
    }

    fn run(&mut self) -> Result<(), WireError> {
        loop {
            if self.background.is_some_and(|due| due <= Instant::now()) {
                self.start_background();
            }
            let background = self
                .background
                .map(|due| due.saturating_duration_since(Instant::now()));
            let wait = self
                .unswept
                .wait()
                .into_iter()
                .chain(self.pool.fills_in())
                .chain(background)
                .min();
            let wait = wait.map(|wait| Timespec::try_from(wait).expect("minutes at most"));
            let preparing = self.pool.preparing();
            let mut polled: Vec<_> = [Some(self.control.as_fd()), Some(self.exits.as_fd()), preparing]
                .into_iter()
                .flatten()
                .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
                .collect();
            let heard = match poll(&mut polled, wait.as_ref()) {
                Ok(heard) => heard,
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(WireError::Socket(errno.into())),
            };
            let mut heard_of = polled.iter().map(|polled| !polled.revents().is_empty());
            let (asked, exited) = (heard_of.next() == Some(true), heard_of.next() == Some(true));
            if heard_of.next() == Some(true) {
                self.pool.hear();
            }
            if exited {
                while let Ok(Some(_)) = self.exits.read_signal() {}
                self.reap();
            }
            self.unswept.sweep();
            if asked {
                let Some((bytes, fds)) = wire::receive(self.control.as_fd())? else {
                    return Ok(());
                };
                self.answer(&bytes, fds)?;
            }
            if heard == 0 && self.pool.is_due() {
                self.fill_pool();
                // For a start from nothing. What cannot be made now is tried, and said, when it is needed.
                let _ = self.ids.refill(1);
            }
        }
    }

    fn answer(&mut self, bytes: &[u8], fds: Vec<OwnedFd>) -> Result<(), WireError> {
        let started = match serde_json::from_slice(bytes) {
            Ok(Kind::Grain { sandbox, host }) => match self.pool.order(bytes, &fds) {
                Some(started) => Ok(started),
                None => self.fork(Life::Host, |launcher| {
                    let app = start::start(&sandbox);
                    let task = Task::Grain { sandbox, app, host };
                    (launcher.handler)(Request { task, fds })
                }),
            },
            Ok(Kind::Worker { job }) => self.fork(Life::Worker, |launcher| {
                let task = Task::Worker { job };
                (launcher.handler)(Request { task, fds })
            }),
            Err(error) => return self.reply(Err(format!("request not understood: {error}"))),
        };
        self.reply(started.map_err(|errno| errno.to_string()))
    }

    fn reply(&self, started: Result<Started, String>) -> Result<(), WireError> {
        let (reply, pidfd) = match started {
            Ok(Started { pid, pidfd }) => (Reply::Started { pid }, Some(pidfd)),
            Err(error) => (Reply::Failed { error }, None),
        };
        let bytes = serde_json::to_vec(&reply).map_err(|_| WireError::Garbage)?;
        let fds: Vec<_> = pidfd.iter().map(AsFd::as_fd).collect();
        wire::send(self.control.as_fd(), &bytes, &fds)
    }

    /// Forks the child that keeps apps in order.
    fn start_background(&mut self) {
        let forked = self.fork(Life::Background, |_| {
            let _named = rustix::thread::set_name(c"background");
            match cgroup::keep_background() {
                Ok(()) => 0,
                Err(error) => {
                    eprintln!("percloud launcher: nobody keeps apps in order: {error}");
                    0
                }
            }
        });
        // One that was forked and then could not be held is there all the same.
        let runs = forked.is_ok() || self.children.values().any(|(life, _)| *life == Life::Background);
        self.background = (!runs).then(|| Instant::now() + BACKGROUND_AGAIN);
    }

    /// Forks one more child that waits to become a grain host.
    fn fill_pool(&mut self) {
        let Ok((ours, theirs)) = pool::channel() else {
            return self.pool.give_up();
        };
        // The end of ours that the child holds goes with the pool it gives up, see `give_up_descriptors`.
        self.pool.ours(ours);
        let forked = self.fork(Life::Host, move |launcher| {
            let request = pool::wait(&theirs);
            drop(theirs);
            request.map_or(1, launcher.handler)
        });
        match forked {
            Ok(started) => self.pool.theirs(started),
            Err(_) => self.pool.give_up(),
        }
    }

    /// Forks a child that lives `life`; returns it.
    fn fork(&mut self, what: Life, life: impl FnOnce(&mut Self) -> i32) -> Result<Started, Errno> {
        let launcher = rustix::process::getpid();
        let (own, number) = match what {
            Life::Host => self.ids.take()?.unzip(),
            Life::Worker | Life::Background => (None, None),
        };
        let pid = match sys::fork() {
            Ok(Some(pid)) => pid,
            Ok(None) => {
                // Those of other apps are not for this one.
                self.ids = Reserve::default();
                if let Some(own) = own {
                    ids::choose(own);
                }
                self.become_child(life, launcher)
            }
            Err(errno) => {
                if let Some(number) = number {
                    self.ids.give_back(number);
                }
                return Err(errno);
            }
        };
        self.children.insert(pid, (what, number));
        // Not reaped yet, so the number cannot be another's.
        Ok(Started {
            pid,
            pidfd: pidfd_of_child(pid)?,
        })
    }

    /// The child's side of the fork: gives up what was the launcher's and becomes what was asked for.
    fn become_child(&mut self, life: impl FnOnce(&mut Self) -> i32, launcher: Pid) -> ! {
        let orphan = rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).is_err()
            || rustix::process::getppid() != Some(launcher)
            || sys::unblock_all().is_err()
            || self.give_up_descriptors().is_err();
        if orphan {
            sys::exit_now(1);
        }
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| life(self)));
        std::process::exit(ended.unwrap_or(101))
    }

    /// Closes the control socket in this child: while a copy is open the broker would not see the launcher's end. And
    /// what belongs to children that wait.
    fn give_up_descriptors(&mut self) -> Result<(), Errno> {
        let nothing = rustix::fs::open(
            "/dev/null",
            rustix::fs::OFlags::RDWR | rustix::fs::OFlags::CLOEXEC,
            rustix::fs::Mode::empty(),
        )?;
        self.exits =
            SignalFd::new(&SigSet::empty()).map_err(|errno| Errno::from_raw_os_error(errno as i32))?;
        self.control = nothing;
        self.pool = Pool::new(0);
        Ok(())
    }

    fn reap(&mut self) {
        while let Ok(Some((pid, status))) = rustix::process::waitpid(None, WaitOptions::NOHANG) {
            let pid = pid.as_raw_nonzero().get();
            match self.children.remove(&pid) {
                Some((Life::Host, number)) => {
                    number.into_iter().for_each(|number| self.ids.give_back(number));
                    self.unswept.host(pid.unsigned_abs());
                }
                // It has nothing to do here. Otherwise it was killed, which apps shall not profit from.
                Some((Life::Background, _)) => {
                    let was_killed = status.exit_status() != Some(0);
                    self.background = was_killed.then(|| Instant::now() + BACKGROUND_AGAIN);
                }
                Some((Life::Worker, _)) if status.exit_status() == Some(0) => {}
                _ => self.unswept.anything(),
            }
            self.pool.forget(pid);
        }
    }

    fn end(&mut self, code: i32) -> ! {
        // Those that wait take their sandboxes and groups along when nothing can be asked of them any more.
        let waiting = self.pool.dismiss();
        for &pid in self.children.keys().filter(|pid| !waiting.contains(pid)) {
            kill_process(pid);
        }
        let deadline = Instant::now() + DISMISSAL;
        loop {
            self.reap();
            let left = deadline.saturating_duration_since(Instant::now());
            if self.children.is_empty() || left.is_zero() {
                break;
            }
            let left = Timespec {
                tv_sec: 0,
                tv_nsec: left.subsec_nanos().into(),
            };
            let _ = poll(&mut [PollFd::new(&self.exits, PollFlags::IN)], Some(&left));
            while let Ok(Some(_)) = self.exits.read_signal() {}
        }
        for &pid in self.children.keys() {
            kill_process(pid);
        }
        while rustix::process::waitpid(None, WaitOptions::empty()).is_ok() {}
        cgroup::leave();
        std::process::exit(code)
    }
}

fn kill_process(pid: i32) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ended_already = rustix::process::kill_process(pid, Signal::KILL);
    }
}
