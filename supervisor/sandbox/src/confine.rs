//! Takes rights away from a process of ours that is about to read hostile bytes.
//!
//! Each function confines the *calling process*, for good, and expects it to have one thread: Landlock and seccomp
//! bind the calling thread and what it starts later. Everything it will need (sockets, files) is opened before.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::process::{DumpableBehavior, Resource, Rlimit};
use rustix::thread::{CapabilitySet, CapabilitySets, UnshareFlags};

use crate::seccomp;
use crate::sys::{self, Errno};

/// What a worker may touch and use.
#[derive(Clone, Copy, Debug)]
pub struct WorkerLimits<'a> {
    /// Files and directories it may read.
    pub read: &'a [PathBuf],
    /// Directories it may read and change.
    pub write: &'a [PathBuf],
    /// Address space in bytes.
    pub memory: u64,
    /// Processor time in seconds; the kernel kills it after.
    pub cpu_seconds: u64,
    /// Longest file it may write, in bytes.
    pub file_size: u64,
}

/// Why a process could not be confined. It must end then, without having read anything.
#[derive(Debug, thiserror::Error)]
pub enum ConfineError {
    /// It runs more than one thread.
    #[error("a process with more than one thread cannot be confined")]
    Threads,
    /// A path it needs cannot be opened.
    #[error("cannot open {path} for a confined process")]
    Path {
        /// The path.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// A layer is missing or was refused.
    #[error("cannot confine a process: {layer}")]
    Layer {
        /// Which.
        layer: &'static str,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

fn layer(layer: &'static str) -> impl Fn(Errno) -> ConfineError {
    move |errno| ConfineError::Layer {
        layer,
        source: errno.into(),
    }
}

/// Confines a disposable worker, just forked by the launcher: files of `limits`, descriptors it holds, no network, no
/// process, no executable memory, bounded memory, time and file size.
///
/// # Errors
///
/// Any layer that cannot be had.
pub fn worker(limits: &WorkerLimits<'_>) -> Result<(), ConfineError> {
    one_thread()?;
    let rules = rules(limits.read, limits.write)?;
    // A network namespace without even loopback, and System V objects of nobody. No ids are mapped: files it makes
    // belong to the server as before, since their file system knows the server's ids.
    let flags = UnshareFlags::NEWUSER | UnshareFlags::NEWNET | UnshareFlags::NEWIPC;
    sys::unshare_namespaces(flags).map_err(layer("new user, net and ipc namespaces"))?;

    let both = |value| Rlimit {
        current: Some(value),
        maximum: Some(value),
    };
    for (resource, value) in [
        (Resource::As, limits.memory),
        (Resource::Cpu, limits.cpu_seconds),
        (Resource::Fsize, limits.file_size),
        (Resource::Core, 0),
        (Resource::Nproc, 0),
        (Resource::Msgqueue, 0),
    ] {
        let ours = rustix::process::getrlimit(resource).maximum.unwrap_or(u64::MAX);
        rustix::process::setrlimit(resource, both(value.min(ours))).map_err(layer("resource limits"))?;
    }
    drop_rights()?;
    restrict(rules, true)?;
    seccomp::worker_program()
        .install()
        .map_err(layer("the system call filter"))
}

/// Confines a grain host: the grain's own directory, and connecting to sockets it is told of. It runs no program and
/// traces none. Call it after [`crate::start`] and before the runtime starts its threads.
///
/// # Errors
///
/// Any layer that cannot be had.
pub fn grain_host(grain: &Path) -> Result<(), ConfineError> {
    role(&[], &[grain.to_owned()], seccomp::role_program())
}

/// Confines the edge: no file at all but those of `read` (certificates). Call it before the runtime starts its
/// threads; sockets it listens on are opened before.
///
/// # Errors
///
/// Any layer that cannot be had.
pub fn edge(read: &[PathBuf]) -> Result<(), ConfineError> {
    role(read, &[], seccomp::role_program())
}

/// Confines the egress: TCP and UDP, and no file but those of `read` (what resolves names). Call it before the runtime starts its threads.
///
/// # Errors
///
/// Any layer that cannot be had.
pub fn egress(read: &[PathBuf]) -> Result<(), ConfineError> {
    role(read, &[], seccomp::egress_program())
}

fn role(read: &[PathBuf], write: &[PathBuf], filter: &seccomp::Program) -> Result<(), ConfineError> {
    one_thread()?;
    let rules = rules(read, write)?;
    let both = |value| Rlimit {
        current: Some(value),
        maximum: Some(value),
    };
    rustix::process::setrlimit(Resource::Core, both(0)).map_err(layer("resource limits"))?;
    drop_rights()?;
    // Not signals: a host kills its app, which is in a domain of its own.
    restrict(rules, false)?;
    filter.install().map_err(layer("the system call filter"))
}

fn one_thread() -> Result<(), ConfineError> {
    if sys::single_threaded() {
        Ok(())
    } else {
        Err(ConfineError::Threads)
    }
}

/// Gives up all capabilities, the way to gain any, and being looked at by other processes of the same user.
fn drop_rights() -> Result<(), ConfineError> {
    let named = layer("no_new_privs and capabilities");
    rustix::thread::set_no_new_privs(true).map_err(&named)?;
    rustix::thread::clear_ambient_capability_set().map_err(&named)?;
    let none = CapabilitySet::empty();
    let sets = CapabilitySets {
        effective: none,
        permitted: none,
        inheritable: none,
    };
    rustix::thread::set_capabilities(None, sets).map_err(&named)?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(&named)?;
    // The change of credentials may have cleared it.
    crate::process::die_with_parent().map_err(|source| ConfineError::Layer {
        layer: "its end",
        source,
    })
}

type Rule = (OwnedFd, BitFlags<AccessFs>);

fn rules(read: &[PathBuf], write: &[PathBuf]) -> Result<Vec<Rule>, ConfineError> {
    let reading = AccessFs::ReadFile | AccessFs::ReadDir;
    let changing = AccessFs::from_all(ABI::V6)
        & !(AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::IoctlDev | AccessFs::Execute);
    let reads = read.iter().map(|path| (path, reading));
    let writes = write.iter().map(|path| (path, changing));
    let open = |(path, access): (&PathBuf, BitFlags<AccessFs>)| {
        let failed = |errno: Errno| ConfineError::Path {
            path: path.clone(),
            source: errno.into(),
        };
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(failed)?;
        let kind = FileType::from_raw_mode(rustix::fs::fstat(&fd).map_err(failed)?.st_mode);
        let access = if kind.is_dir() {
            access
        } else {
            access & AccessFs::from_file(ABI::V6)
        };
        Ok((fd, access))
    };
    reads.chain(writes).map(open).collect()
}

fn restrict(rules: Vec<Rule>, alone: bool) -> Result<(), ConfineError> {
    let missing = |_: RulesetError| ConfineError::Layer {
        layer: "Landlock (Linux 5.19 or later, with `landlock` in the boot parameter lsm=)",
        source: Errno::OPNOTSUPP.into(),
    };
    let scope = if alone {
        Scope::from_all(ABI::V6)
    } else {
        Scope::AbstractUnixSocket.into()
    };
    let mut ruleset: RulesetCreated = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(ABI::V2))
        .map_err(missing)?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(ABI::V6))
        .map_err(missing)?
        .scope(scope)
        .map_err(missing)?
        .create()
        .map_err(missing)?;
    for (fd, access) in rules {
        ruleset = ruleset.add_rule(PathBeneath::new(fd, access)).map_err(missing)?;
    }
    match ruleset.restrict_self().map_err(missing)?.ruleset {
        RulesetStatus::NotEnforced => Err(ConfineError::Layer {
            layer: "Landlock",
            source: Errno::OPNOTSUPP.into(),
        }),
        _ => Ok(()),
    }
}
