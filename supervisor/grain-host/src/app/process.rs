//! The app's root process: killed and reaped through its descriptor, so never mistaken for another.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::process::{Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

pub(crate) struct Process(AsyncFd<OwnedFd>);

/// How the app ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Status(i32),
    Signal(i32),
    /// Somebody else reaped it.
    Unknown,
}

impl Process {
    #[expect(
        deprecated,
        reason = "its replacement asks, unsafely, for what OwnedFd promises: a descriptor of its own"
    )]
    pub(crate) fn new(pidfd: OwnedFd) -> io::Result<Self> {
        Ok(Self(AsyncFd::with_interest(pidfd, Interest::READABLE)?))
    }

    /// Ends the app at once; being process 1 of its sandbox, it takes everything in there along.
    pub(crate) fn kill(&self) {
        kill(self.0.get_ref());
    }

    /// Waits until the app has ended, and reaps it.
    pub(crate) async fn wait(&self) -> Exit {
        loop {
            let Ok(mut ready) = self.0.readable().await else {
                return Exit::Unknown;
            };
            let id = WaitId::PidFd(self.0.get_ref().as_fd());
            match waitid(id, WaitIdOptions::EXITED | WaitIdOptions::NOHANG) {
                Ok(Some(status)) => {
                    let code = status.exit_status().map(Exit::Status);
                    return code
                        .or(status.terminating_signal().map(Exit::Signal))
                        .unwrap_or(Exit::Unknown);
                }
                Ok(None) => ready.clear_ready(),
                Err(Errno::INTR) => {}
                Err(_) => return Exit::Unknown,
            }
        }
    }
}

/// Ends the process behind `pidfd` at once.
pub(crate) fn kill(pidfd: impl AsFd) {
    // It fails only when the process has ended already, which is what is wanted.
    let _ended = pidfd_send_signal(pidfd, Signal::KILL);
}

impl fmt::Display for Exit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(formatter, "the app exited with status {status}"),
            Self::Signal(signal) => {
                write!(formatter, "the app was ended by signal {signal}{}", name(*signal))
            }
            Self::Unknown => formatter.write_str("the app ended"),
        }
    }
}

fn name(signal: i32) -> &'static str {
    match Signal::from_named_raw(signal) {
        Some(Signal::ABORT) => " (it gave up by itself)",
        Some(Signal::SEGV) => " (it used memory that is not its own)",
        Some(Signal::KILL) => " (killed, possibly for want of memory)",
        Some(Signal::SYS) => " (it asked the kernel for something forbidden)",
        _ => "",
    }
}
