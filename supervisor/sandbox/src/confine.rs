//! Takes rights away from a process of ours that is about to read hostile bytes.
//!
//! Each function confines the *calling process*, for good, and expects it to have one thread: Landlock and seccomp
//! bind the calling thread and what it starts later. Everything it will need (sockets, files) is opened before.

mod view;

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, Ruleset, RulesetAttr,
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
    drop_rights(CapabilitySet::empty())?;
    restrict(rules, Scope::from_all(ABI::V6), false)?;
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
    role(&Role {
        write: &[grain.to_owned()],
        // A host kills its app, which is in a domain of its own.
        signals: true,
        ..Role::new(seccomp::host_program())
    })
}

/// Confines the edge: no file at all, no way to connect to another machine, and of this machine's sockets those in
/// `doors` alone. Call it before the runtime starts its threads; sockets it listens on are opened before.
///
/// # Errors
///
/// Any layer that cannot be had.
pub fn edge(doors: &Path) -> Result<(), ConfineError> {
    one_thread()?;
    view::only(doors).map_err(layer("a file system of its own"))?;
    role(&Role::new(seccomp::edge_program()))
}

/// Confines the egress: TCP and UDP, and no file but those of `read` (what resolves names). Call it before the runtime starts its threads.
///
/// # Errors
///
/// Any layer that cannot be had.
pub fn egress(read: &[PathBuf]) -> Result<(), ConfineError> {
    role(&Role {
        read,
        network: true,
        ..Role::new(seccomp::egress_program())
    })
}

/// Confines the broker: what it reads, the folders it keeps things in, processes it holds descriptors of, and no socket
/// but those of this machine. Call it before the store is opened, which starts threads. As root it keeps the right to
/// its own folders where they lie in somebody else's.
///
/// # Errors
///
/// Any layer that cannot be had.
pub fn broker(read: &[PathBuf], write: &[PathBuf]) -> Result<(), ConfineError> {
    role(&Role {
        read,
        write,
        // It ends hosts and workers, which are the launcher's and not in its domain.
        signals: true,
        capabilities: CapabilitySet::DAC_OVERRIDE,
        ..Role::new(seccomp::broker_program())
    })
}

/// Confines the launcher before it forks for the first time, and with it everything it will fork: no tracing, no kernel
/// machinery that no sandbox needs. Its children add their own walls. No Landlock: over files it forbids to mount, and even a
/// domain of scopes alone forbids all below it to move files between directories, which apps do.
///
/// `recording` leaves out the call filter: a call it refused would not reach the recorder of refused calls. What it
/// refuses each child's own filter refuses as well.
///
/// # Errors
///
/// Any layer that cannot be had.
pub fn launcher(recording: bool) -> Result<(), ConfineError> {
    one_thread()?;
    no_core()?;
    // What building a sandbox takes where the server is root. Not more than it has: root of a container has less.
    let mut kept = CapabilitySet::SYS_ADMIN
        | CapabilitySet::SETUID
        | CapabilitySet::SETGID
        | CapabilitySet::SETFCAP
        | CapabilitySet::DAC_OVERRIDE
        | CapabilitySet::SYS_RESOURCE;
    kept &= held()?;
    drop_capabilities(kept)?;
    if recording {
        Ok(())
    } else {
        seccomp::launcher_program()
            .install()
            .map_err(layer("the system call filter"))
    }
}

/// Confines the process that looks at what apps take: directories of their control groups, and the files it has open.
///
/// # Errors
///
/// Any layer that cannot be had.
pub(crate) fn background(read: &[PathBuf], write: &[PathBuf]) -> Result<(), ConfineError> {
    role(&Role {
        read,
        write,
        ..Role::new(seccomp::worker_program())
    })
}

/// Confines the parent of all: no call that neither it nor anything it starts needs.
///
/// # Errors
///
/// Any layer that cannot be had.
pub fn parent(recording: bool) -> Result<(), ConfineError> {
    one_thread()?;
    no_core()?;
    rustix::thread::set_no_new_privs(true).map_err(layer("no_new_privs"))?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(layer("no core dump"))?;
    if recording {
        Ok(())
    } else {
        seccomp::launcher_program()
            .install()
            .map_err(layer("the system call filter"))
    }
}

/// What one of our long-lived processes keeps.
struct Role<'a> {
    read: &'a [PathBuf],
    write: &'a [PathBuf],
    /// Binding and connecting TCP and UDP sockets.
    network: bool,
    /// Signals to processes outside its own domain.
    signals: bool,
    capabilities: CapabilitySet,
    filter: &'a seccomp::Program,
}

impl<'a> Role<'a> {
    fn new(filter: &'a seccomp::Program) -> Self {
        Self {
            read: &[],
            write: &[],
            network: false,
            signals: false,
            capabilities: CapabilitySet::empty(),
            filter,
        }
    }
}

fn role(role: &Role<'_>) -> Result<(), ConfineError> {
    one_thread()?;
    let rules = rules(role.read, role.write)?;
    no_core()?;
    drop_rights(role.capabilities & held()?)?;
    let mut scope = Scope::from_all(ABI::V6);
    if role.signals {
        scope.remove(Scope::Signal);
    }
    restrict(rules, scope, role.network)?;
    role.filter.install().map_err(layer("the system call filter"))
}

/// No image of this process's memory in a file when it crashes.
fn no_core() -> Result<(), ConfineError> {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    rustix::process::setrlimit(Resource::Core, none).map_err(layer("resource limits"))
}

fn held() -> Result<CapabilitySet, ConfineError> {
    let sets = rustix::thread::capabilities(None).map_err(layer("capabilities"))?;
    Ok(sets.permitted)
}

fn one_thread() -> Result<(), ConfineError> {
    if sys::single_threaded() {
        Ok(())
    } else {
        Err(ConfineError::Threads)
    }
}

/// Gives up all capabilities but `kept`, the way to gain any, and being looked at by other processes of the same user.
fn drop_rights(kept: CapabilitySet) -> Result<(), ConfineError> {
    drop_capabilities(kept)?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(layer("no core dump"))?;
    // The change of credentials may have cleared it.
    crate::process::die_with_parent().map_err(|source| ConfineError::Layer {
        layer: "its end",
        source,
    })
}

fn drop_capabilities(kept: CapabilitySet) -> Result<(), ConfineError> {
    let named = layer("no_new_privs and capabilities");
    rustix::thread::set_no_new_privs(true).map_err(&named)?;
    rustix::thread::clear_ambient_capability_set().map_err(&named)?;
    let sets = CapabilitySets {
        effective: kept,
        permitted: kept,
        inheritable: CapabilitySet::empty(),
    };
    rustix::thread::set_capabilities(None, sets).map_err(&named)
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

fn no_landlock(_: RulesetError) -> ConfineError {
    ConfineError::Layer {
        layer: "Landlock (Linux 5.19 or later, with `landlock` in the boot parameter lsm=)",
        source: Errno::OPNOTSUPP.into(),
    }
}

/// Enters a Landlock domain with these files, closed to what `scope` names, and without network sockets to bind and
/// connect unless `network`.
fn restrict(rules: Vec<Rule>, scope: BitFlags<Scope>, network: bool) -> Result<(), ConfineError> {
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(ABI::V2))
        .map_err(no_landlock)?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(ABI::V6))
        .map_err(no_landlock)?
        .scope(scope)
        .map_err(no_landlock)?;
    if !network {
        // Beside the filter, which sees no address: a connection that was accepted can be connected anew.
        ruleset = ruleset
            .handle_access(AccessNet::from_all(ABI::V10))
            .map_err(no_landlock)?;
    }
    let mut ruleset: RulesetCreated = ruleset.create().map_err(no_landlock)?;
    for (fd, access) in rules {
        ruleset = ruleset
            .add_rule(PathBeneath::new(fd, access))
            .map_err(no_landlock)?;
    }
    match ruleset.restrict_self().map_err(no_landlock)?.ruleset {
        RulesetStatus::NotEnforced => Err(ConfineError::Layer {
            layer: "Landlock",
            source: Errno::OPNOTSUPP.into(),
        }),
        _ => Ok(()),
    }
}
