//! Starts the long-lived roles (launcher, edge) by executing this same program again, with numbered descriptors.
//!
//! By exec and not by fork, so that a role starts with a small, fresh memory and none of the broker's secrets in it.

use std::ffi::{CString, OsString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Signal;

use crate::exit::{self, Exit, pidfd_of_child};
use crate::sys::{self, CStrings, Errno};

/// A role's process. Dropping this leaves it running, until the thread that started it ends.
#[derive(Debug)]
pub struct Child {
    /// Its process id.
    pub pid: i32,
    /// Readable when it has ended.
    pub pidfd: OwnedFd,
}

impl Child {
    /// Waits for the end and collects it.
    ///
    /// # Errors
    ///
    /// `ECHILD` when it has been collected already.
    pub fn wait(&self) -> io::Result<Exit> {
        Ok(exit::wait(self.pidfd.as_fd())?)
    }

    /// Kills it.
    ///
    /// # Errors
    ///
    /// `ESRCH` once it has been collected.
    pub fn kill(&self) -> io::Result<()> {
        exit::kill(self.pidfd.as_fd())
    }
}

/// Why a role did not start.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// A NUL byte in a string, or a descriptor number below 3.
    #[error("unusable argument for a new process: {0}")]
    Argument(&'static str),
    /// The kernel refused a step before exec.
    #[error("cannot start a process for {program}")]
    Fork {
        /// What was to run.
        program: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The program could not be executed.
    #[error("cannot execute {program}")]
    Exec {
        /// What was to run.
        program: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

/// Runs `exe` with `args` (its own name is put in front), exactly `environ`, standard input, output and error of this
/// process, and each of `fds` under its number (3 or above). Nothing else is inherited.
///
/// The new process is killed when the *thread* that calls this ends (prctl(2), PR_SET_PDEATHSIG). Call it from the
/// main thread, before a runtime moves work about, never from a pool thread that ends when idle.
///
/// # Errors
///
/// Also when the exec fails, which is reported back.
pub fn spawn_role(
    exe: &Path,
    args: &[OsString],
    environ: &[(OsString, OsString)],
    fds: Vec<(OwnedFd, RawFd)>,
) -> Result<Child, SpawnError> {
    let nul = |_| SpawnError::Argument("a NUL byte in a name or argument");
    let program = CString::new(exe.as_os_str().as_bytes()).map_err(nul)?;
    let argv = std::iter::once(exe.as_os_str()).chain(args.iter().map(OsString::as_os_str));
    let argv = CStrings::new(argv.map(|arg| arg.as_bytes().to_vec())).map_err(nul)?;
    let environ = environ.iter().map(|(name, value)| {
        let mut pair = name.clone();
        pair.push("=");
        pair.push(value);
        pair.into_vec()
    });
    let environ = CStrings::new(environ).map_err(nul)?;

    let failed = |errno: Errno| SpawnError::Fork {
        program: exe.display().to_string(),
        source: errno.into(),
    };
    let above = fds.iter().map(|(_, target)| *target).max().unwrap_or(2) + 1;
    if fds.iter().any(|(_, target)| *target < 3) {
        return Err(SpawnError::Argument("descriptors 0 to 2 are inherited"));
    }
    // Every source moves above every target, so that no order of duplications can overwrite one still needed.
    let moved = fds
        .into_iter()
        .map(|(fd, target)| Ok((rustix::io::fcntl_dupfd_cloexec(&fd, above)?, target)))
        .collect::<Result<Vec<_>, Errno>>()
        .map_err(failed)?;
    let numbers: Vec<_> = moved
        .iter()
        .map(|(fd, target)| (fd.as_raw_fd(), *target))
        .collect();
    let (reports, low) = pipe_with(PipeFlags::CLOEXEC).map_err(failed)?;
    let report = rustix::io::fcntl_dupfd_cloexec(&low, above).map_err(failed)?;
    // Two open writing ends would keep the pipe from ever ending.
    drop(low);

    let pid = sys::spawn(&program, &argv, &environ, &numbers, report.as_raw_fd()).map_err(failed)?;
    let pidfd = pidfd_of_child(pid).map_err(failed)?;
    drop(report);
    // Ends without a byte when exec succeeded, for exec closed the other end.
    let mut bytes = [0; 4];
    match rustix::io::retry_on_intr(|| rustix::io::read(&reports, &mut bytes)) {
        Ok(0) => Ok(Child { pid, pidfd }),
        Ok(_) => {
            let _ = exit::wait(pidfd.as_fd());
            Err(SpawnError::Exec {
                program: exe.display().to_string(),
                source: io::Error::from_raw_os_error(i32::from_le_bytes(bytes)),
            })
        }
        Err(errno) => Err(failed(errno)),
    }
}

/// Takes ownership of a descriptor this process was started with, and marks it close-on-exec. Once per number.
///
/// # Errors
///
/// `EBADF` when nothing is open under that number.
pub fn take(number: RawFd) -> io::Result<OwnedFd> {
    let fd = sys::own(number)?;
    rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC)?;
    Ok(fd)
}

/// Has the kernel kill this process when the thread that started it ends. [`spawn_role`] and the launcher do this for
/// their children; a change of user clears it, so [`crate::confine`] does it again.
///
/// # Errors
///
/// Never on a kernel this crate runs on.
pub fn die_with_parent() -> io::Result<()> {
    Ok(rustix::process::set_parent_process_death_signal(Some(
        Signal::KILL,
    ))?)
}
