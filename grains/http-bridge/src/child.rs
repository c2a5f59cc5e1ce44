//! Starts the app and does the duties of process 1: reaping orphans and ending when the app ends.

use std::ffi::OsString;
use std::io;
use std::net::SocketAddrV4;
use std::process::{Command, ExitCode};

use nix::errno::Errno;
use nix::sys::signal::{Signal as SignalNumber, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::log::log;

/// The app's process.
pub(crate) struct Child {
    pid: Pid,
    exits: Signal,
}

impl Child {
    /// Starts `command` with the environment this process has, plus the variables that lead HTTP clients to
    /// the bridge's proxy.
    ///
    /// The child inherits standard streams only: every other descriptor here is close-on-exec.
    pub(crate) fn start(command: &[OsString], proxy: SocketAddrV4) -> io::Result<Self> {
        // Registered before the start, so that an exit right away is not missed.
        let exits = signal(SignalKind::child())?;
        // Process 1 gets orphans anyway; this gives the same behaviour outside a sandbox.
        let _ = nix::sys::prctl::set_child_subreaper(true);
        let (program, arguments) = command
            .split_first()
            .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        let proxy = format!("http://{proxy}/");
        #[expect(
            clippy::disallowed_methods,
            reason = "starting the app is what this program is for"
        )]
        let child = Command::new(program)
            .args(arguments)
            .env("http_proxy", &proxy)
            .env("HTTP_PROXY", &proxy)
            .env("no_proxy", "localhost,127.0.0.1")
            .spawn()?;
        // From here on only `wait` reaps, by number; the handle would compete for the same zombie.
        let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
        Ok(Self {
            pid: Pid::from_raw(pid),
            exits,
        })
    }

    /// Reaps whatever dies until the app itself does, and returns the status to exit with: the app's own, or
    /// 128 plus the signal that ended it.
    pub(crate) async fn wait(&mut self) -> ExitCode {
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, status)) if pid == self.pid => {
                    log(format_args!("app exited with status {status}"));
                    return ExitCode::from(status.to_le_bytes()[0]);
                }
                Ok(WaitStatus::Signaled(pid, signal, _)) if pid == self.pid => {
                    log(format_args!("app was ended by {signal}"));
                    return ExitCode::from((signal as i32).to_le_bytes()[0] | 0x80);
                }
                Ok(WaitStatus::StillAlive) => {
                    if self.exits.recv().await.is_none() {
                        return ExitCode::FAILURE;
                    }
                }
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => {
                    log(format_args!("could not wait for the app: {error}"));
                    return ExitCode::FAILURE;
                }
            }
        }
    }

    /// Ends the app at once. In a sandbox the kernel does this when process 1 leaves; elsewhere nobody would.
    pub(crate) fn kill(&self) {
        let _ = kill(self.pid, SignalNumber::SIGKILL);
    }
}
