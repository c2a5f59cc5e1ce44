//! Tries what a sandbox needs of the machine, and leaves nothing behind: for `percloud doctor`.
//!
//! What changes the process that tries (namespaces, no_new_privs, a whole sandbox) is done by a child that then ends.
//! Children are forked, so the caller has one thread. No control group is made: [`crate::cgroup::survey`] looks at those.

mod child;

use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::thread::UnshareFlags;
use serde::{Deserialize, Serialize};

use crate::error::StartError;
use crate::spec::{CgroupMode, SandboxSpec};
use crate::start;
use crate::sys::{self, Asked, Errno};

/// A kind of namespace a sandbox has one of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Namespace {
    /// Users and groups, and the rights over the other kinds.
    User,
    /// Mounts.
    Mount,
    /// Processes.
    Pid,
    /// Network devices and sockets.
    Net,
    /// System V and POSIX message queues, semaphores, shared memory.
    Ipc,
    /// Host and domain name.
    Uts,
    /// What is seen of control groups.
    Cgroup,
}

impl Namespace {
    /// Every kind, the one that comes first in front.
    pub const ALL: [Namespace; 7] = [
        Self::User,
        Self::Mount,
        Self::Pid,
        Self::Net,
        Self::Ipc,
        Self::Uts,
        Self::Cgroup,
    ];

    fn flag(self) -> UnshareFlags {
        match self {
            Self::User => UnshareFlags::NEWUSER,
            Self::Mount => UnshareFlags::NEWNS,
            Self::Pid => UnshareFlags::NEWPID,
            Self::Net => UnshareFlags::NEWNET,
            Self::Ipc => UnshareFlags::NEWIPC,
            Self::Uts => UnshareFlags::NEWUTS,
            Self::Cgroup => UnshareFlags::NEWCGROUP,
        }
    }
}

impl fmt::Display for Namespace {
    /// Writes the name the kernel's own files use.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::User => "user",
            Self::Mount => "mount",
            Self::Pid => "pid",
            Self::Net => "net",
            Self::Ipc => "ipc",
            Self::Uts => "uts",
            Self::Cgroup => "cgroup",
        })
    }
}

/// Makes a namespace of this kind inside a new user namespace, as sandboxes do.
///
/// # Errors
///
/// What the kernel said; `EPERM` and `ENOSPC` mean that somebody forbade it.
pub fn namespace(kind: Namespace) -> io::Result<()> {
    outcome(child::run(|| {
        code(sys::unshare_namespaces(UnshareFlags::NEWUSER | kind.flag()))
    })?)
}

/// Gives up gaining privileges.
///
/// # Errors
///
/// What the kernel said.
pub fn no_new_privs() -> io::Result<()> {
    outcome(child::run(|| code(rustix::thread::set_no_new_privs(true)))?)
}

/// Asks whether seccomp filters can be installed, and whether refused calls can be recorded.
///
/// # Errors
///
/// What the kernel said, where there are no filters.
pub fn seccomp() -> io::Result<bool> {
    sys::seccomp_action(libc::SECCOMP_RET_ERRNO)?;
    Ok(sys::seccomp_action(libc::SECCOMP_RET_USER_NOTIF).is_ok())
}

/// Returns the version of Landlock's interface.
///
/// # Errors
///
/// `ENOSYS` where it was left out of the kernel, `EOPNOTSUPP` where it was not switched on.
pub fn landlock_abi() -> io::Result<u32> {
    Ok(sys::landlock_abi()?)
}

/// Calls of the kernel that sandboxes are built with, by what they are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Calls {
    /// Mounts as descriptors.
    Mounts,
    /// Processes as descriptors.
    Processes,
    /// Closing descriptors by range.
    CloseRange,
    /// Opening files without leaving a directory.
    OpenBeneath,
}

/// Returns the names of those calls that this kernel, or a filter around us, does not answer.
pub fn unknown(calls: Calls) -> Vec<&'static str> {
    let calls: &[(Asked, &str)] = match calls {
        Calls::Mounts => &[
            (Asked::OpenTree, "open_tree"),
            (Asked::MoveMount, "move_mount"),
            (Asked::Fsopen, "fsopen"),
            (Asked::Fsconfig, "fsconfig"),
            (Asked::Fsmount, "fsmount"),
            (Asked::MountSetattr, "mount_setattr"),
        ],
        Calls::Processes => &[
            (Asked::Clone3, "clone3"),
            (Asked::PidfdOpen, "pidfd_open"),
            (Asked::PidfdSendSignal, "pidfd_send_signal"),
        ],
        Calls::CloseRange => &[(Asked::CloseRange, "close_range")],
        Calls::OpenBeneath => &[(Asked::Openat2, "openat2")],
    };
    let unknown = calls.iter().filter(|(call, _)| !sys::known(*call));
    unknown.map(|(_, name)| *name).collect()
}

/// What became of a sandbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rehearsal {
    /// It stood, every layer of it.
    Stood,
    /// It did not.
    Failed {
        /// Why, with what the kernel said.
        why: String,
        /// What to do about it, where that is known.
        remedy: Option<String>,
    },
}

/// Builds a whole sandbox, up to an app there is none of, from the directories `package` and `var`, in which nothing is
/// changed; to try everything, the first has directories `var`, `tmp` and `dev` in it and a file `proc/cpuinfo`. Without a
/// control group, for that would be made outside.
///
/// # Errors
///
/// When no child could be made to try.
pub fn sandbox(package: &Path, var: &Path) -> io::Result<Rehearsal> {
    let mut spec = SandboxSpec::new(package, var, vec!["/no/such/program".to_owned()]);
    spec.cgroup = CgroupMode::Off;
    spec.loopback = true;
    child::run(|| match start::rehearse(&spec) {
        Ok(()) => Rehearsal::Stood,
        Err(error) => failed(&error),
    })
}

fn failed(error: &StartError) -> Rehearsal {
    let remedy = match error {
        StartError::Missing { remedy, .. } => Some((*remedy).to_owned()),
        _ => None,
    };
    let mut why = match error {
        // Its text has the remedy in it, which goes apart.
        StartError::Missing { feature, .. } => format!("{feature} is not available"),
        error => error.to_string(),
    };
    if let Some(cause) = std::error::Error::source(error) {
        why = format!("{why}: {cause}");
    }
    Rehearsal::Failed { why, remedy }
}

/// Whether owners of files in `directory` can be translated by a mount, as is done where the server is root. `None`
/// where it is not root, or the kernel gives root no mapping.
///
/// # Errors
///
/// What the kernel said.
pub fn idmapped(directory: &Path) -> io::Result<Option<bool>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    child::run(|| start::translates(directory).map_err(|errno| errno.raw_os_error()))?
        .map_err(io::Error::from_raw_os_error)
}

/// How well the kernel's clock is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// Something on this machine adjusts it to other clocks.
    pub adjusted: bool,
    /// The largest error the kernel knows of, in microseconds.
    pub error: i64,
}

/// Asks how well the clock is kept.
///
/// # Errors
///
/// What the kernel said.
pub fn clock() -> io::Result<Clock> {
    let (adjusted, error) = sys::adjusted_clock()?;
    Ok(Clock { adjusted, error })
}

/// Whether the kernel gives random bytes without waiting.
///
/// # Errors
///
/// What the kernel said.
pub fn random_is_ready() -> io::Result<bool> {
    Ok(sys::random_is_ready()?)
}

/// Whether a file system bounds what each project's files take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProjectQuota {
    /// It counts.
    On,
    /// It could, and is not told to.
    Off,
    /// It has no such thing.
    Absent,
}

/// Asks the file system of `directory` for project quotas.
///
/// # Errors
///
/// What the kernel said, where that is no answer.
pub fn project_quota(directory: &Path) -> io::Result<ProjectQuota> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(directory, flags, Mode::empty())?;
    match sys::project_quota(directory.as_fd()) {
        Ok(()) => Ok(ProjectQuota::On),
        Err(Errno::SRCH) => Ok(ProjectQuota::Off),
        Err(Errno::NOSYS | Errno::OPNOTSUPP | Errno::NODEV | Errno::INVAL) => Ok(ProjectQuota::Absent),
        Err(errno) => Err(errno.into()),
    }
}

/// An outcome as a number that fits into a message: an errno, or 0.
fn code(result: Result<(), Errno>) -> i32 {
    result.map_or_else(|errno| errno.raw_os_error(), |()| 0)
}

fn outcome(code: i32) -> io::Result<()> {
    match code {
        0 => Ok(()),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}
