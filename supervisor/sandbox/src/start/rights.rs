//! What the new process gives up: limits, files by Landlock, capabilities.

use std::os::fd::OwnedFd;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, RestrictionStatus,
    Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Resource, Rlimit};
use rustix::thread::{CapabilitiesSecureBits as Secure, CapabilitySet, CapabilitySets};

use crate::sys::Errno;

use super::plan::Order;
use super::root::Common;

/// Sets resource limits.
pub(super) fn limits(order: &Order) -> Result<(), Errno> {
    let limits = &order.spec.limits;
    let both = |value| Rlimit {
        current: Some(value),
        maximum: Some(value),
    };
    let set = rustix::process::setrlimit;
    set(Resource::Core, both(0))?;
    // Lower than the server's own limits at most: an unprivileged process cannot raise a hard limit.
    let (_, ours) = current(Resource::Nofile);
    let hard = limits.nofile_hard.min(ours);
    set(
        Resource::Nofile,
        Rlimit {
            current: Some(limits.nofile_soft.min(hard)),
            maximum: Some(hard),
        },
    )?;
    // Counted in this user namespace alone (Linux 5.14), so it is the grain's own number. Where a group counts too, this
    // is behind it: only the group says that it was met, and can be changed while the app runs.
    let pids = u64::from(limits.pids) * if order.grouped { 4 } else { 1 };
    set(Resource::Nproc, both(pids.min(current(Resource::Nproc).1)))?;
    // One file alone cannot take more than the grain may, however long the next look at the whole takes.
    set(
        Resource::Fsize,
        both(limits.file_bytes.min(current(Resource::Fsize).1)),
    )?;
    // Memory of each process, where no group counts the whole: private writable memory, which unlike address space
    // is near to what is used. Four times, for it includes stacks that are never touched.
    if !order.grouped {
        let data = limits.memory.saturating_mul(4).min(current(Resource::Data).1);
        set(Resource::Data, both(data))?;
    }
    // Kernel memory without a file behind it: messages, locked pages, real-time signals, priorities.
    set(Resource::Msgqueue, both(0))?;
    set(Resource::Rtprio, both(0))?;
    set(Resource::Nice, both(0))
}

fn current(resource: Resource) -> (u64, u64) {
    let limit = rustix::process::getrlimit(resource);
    (
        limit.current.unwrap_or(u64::MAX),
        limit.maximum.unwrap_or(u64::MAX),
    )
}

/// Rules for files, not in force yet; `None` on a kernel without Landlock.
pub(super) type FileRules = Option<RulesetCreated>;

/// The mounts allow no more than these rules do. They hold even where a mount would be found writable through a bug,
/// and against descriptors of directories passed in from elsewhere. Here are those for what is the same for every app.
pub(super) fn file_rules(common: &Common) -> Result<FileRules, Errno> {
    let required = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        // ABI 1 forbids every rename between directories, which apps need; it counts as no Landlock.
        .handle_access(AccessFs::from_all(ABI::V2));
    let Ok(ruleset) = required else {
        return Ok(None);
    };
    let rules = ruleset
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(everything())
        .and_then(|ruleset| {
            ruleset
                // Signals and abstract sockets beyond this sandbox (ABI 6); its namespaces separate both already.
                .scope(Scope::from_all(ABI::V6))?
                .create()?
                .add_rule(PathBeneath::new(&common.tmp, storage()))?
                // Nothing can be made there: the mount is read-only.
                .add_rule(PathBeneath::new(&common.dev, device()))?
                .add_rule(PathBeneath::new(&common.shm, storage()))
        });
    rules.map(Some).map_err(|_| Errno::INVAL)
}

/// Adds the app's own, and puts all in force. Returns whether this kernel can.
///
/// With `full`, what is in the storage can be read and removed, and nothing written.
pub(super) fn restrict_files(rules: FileRules, full: bool) -> Result<bool, Errno> {
    let Some(mut rules) = rules else {
        return Ok(false);
    };
    let refused = |_: RulesetError| Errno::INVAL;
    let reading = AccessFs::ReadFile | AccessFs::ReadDir | AccessFs::Execute;
    let var = if full {
        reading | AccessFs::RemoveFile | AccessFs::RemoveDir
    } else {
        storage()
    };
    let own: [(&std::ffi::CStr, BitFlags<AccessFs>); 2] = [(c"/", reading), (c"/var", var)];
    for (path, access) in own {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(beneath) => {
                let access = if is_directory(&beneath)? {
                    access
                } else {
                    access & AccessFs::from_file(ABI::V6)
                };
                rules = rules
                    .add_rule(PathBeneath::new(beneath, access))
                    .map_err(refused)?;
            }
            // The package has no such directory, so nothing was mounted.
            Err(Errno::NOENT | Errno::NOTDIR) => {}
            Err(errno) => return Err(errno),
        }
    }
    let RestrictionStatus { ruleset, .. } = rules.restrict_self().map_err(refused)?;
    Ok(ruleset != RulesetStatus::NotEnforced)
}

/// No TCP for an app that has nobody to talk to: one built for Percloud that asked for no loopback. Sandstorm's packages may
/// expect to try. A layer of its own, for it is known late; where the kernel has none for it (before 6.7) the network
/// namespace alone forbids it.
pub(super) fn forbid_network() -> Result<(), Errno> {
    let Ok(ruleset) = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessNet::from_all(ABI::V4))
    else {
        return Ok(());
    };
    let closed = ruleset
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessNet::from_all(ABI::V10))
        .and_then(|ruleset| ruleset.create()?.restrict_self());
    closed.map(|_| ()).map_err(|_| Errno::INVAL)
}

fn everything() -> BitFlags<AccessFs> {
    AccessFs::from_all(ABI::V6)
}

fn storage() -> BitFlags<AccessFs> {
    everything() & !(AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::IoctlDev)
}

fn device() -> BitFlags<AccessFs> {
    AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::IoctlDev | AccessFs::Truncate
}

fn is_directory(fd: &OwnedFd) -> Result<bool, Errno> {
    Ok(rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(fd)?.st_mode).is_dir())
}

/// Gives up every way to gain capabilities.
pub(super) fn empty_bounding_set() -> Result<(), Errno> {
    rustix::thread::set_capabilities_secure_bits(
        Secure::NO_ROOT
            | Secure::NO_ROOT_LOCKED
            | Secure::NO_SETUID_FIXUP
            | Secure::NO_SETUID_FIXUP_LOCKED
            | Secure::KEEP_CAPS_LOCKED
            | Secure::NO_CAP_AMBIENT_RAISE
            | Secure::NO_CAP_AMBIENT_RAISE_LOCKED,
    )?;
    for bit in 0..64 {
        match rustix::thread::remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << bit)) {
            Ok(()) => {}
            // Beyond the last one this kernel knows.
            Err(Errno::INVAL) => break,
            Err(errno) => return Err(errno),
        }
    }
    rustix::thread::clear_ambient_capability_set()
}

/// Gives up the capabilities over the namespaces.
pub(super) fn drop_capabilities() -> Result<(), Errno> {
    let none = CapabilitySet::empty();
    rustix::thread::set_capabilities(
        None,
        CapabilitySets {
            effective: none,
            permitted: none,
            inheritable: none,
        },
    )
}
