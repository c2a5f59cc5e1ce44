//! The recipe: from a fresh clone to the app, step by step. Runs as process 1 of the new namespaces, with all
//! capabilities over them and none over the server's.

use std::os::fd::{AsFd, OwnedFd};

use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, RestrictionStatus, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};
use rustix::fs::{Gid, Mode, OFlags, Uid};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::{DumpableBehavior, Resource, Rlimit, Signal};
use rustix::thread::{CapabilitiesSecureBits as Secure, CapabilitySet, CapabilitySets};

use crate::cgroup::Cgroup;
use crate::error::Step;
use crate::ids::{INSIDE, Ids};
use crate::spec::SandboxSpec;
use crate::sys::{self, Errno};

use super::report::{self, Report, Warning};
use super::{AppEnds, Plan, Sources, root};

/// A failed step.
pub(super) struct Failure(Step, Errno);

/// Names the step an errno comes from.
pub(super) fn at(step: Step) -> impl Fn(Errno) -> Failure {
    move |errno| Failure(step, errno)
}

/// Becomes the app, or reports why not and ends.
pub(super) fn run(plan: &Plan, ends: AppEnds, sources: Sources, group: Option<&Cgroup>) -> ! {
    // The socket must survive the step that arranges descriptors, so it is taken out of their bundle.
    let AppEnds { stdin, output, rpc, report } = ends;
    let Failure(step, errno) = match become_app(plan, &stdin, &output, &rpc, &report, sources, group) {
        Ok(never) => match never {},
        Err(failure) => failure,
    };
    let _ = report::send(report.as_fd(), &Report::Failed(step, errno), None);
    sys::exit_now(127)
}

/// What a failed step was done to, for the error message.
pub(super) fn subject(step: Step, spec: &SandboxSpec) -> String {
    match step {
        Step::Package | Step::Root | Step::Pivot => spec.package.display().to_string(),
        Step::Var => spec.var.display().to_string(),
        Step::Tmp => format!("{} bytes", spec.limits.tmp_bytes),
        Step::Shm => format!("{} bytes", spec.limits.shm_bytes),
        Step::Device => "null, zero, random, urandom".to_owned(),
        Step::Limits => format!("{:?}", spec.limits),
        _ => "in the new process".to_owned(),
    }
}

fn become_app(
    plan: &Plan,
    stdin: &OwnedFd,
    output: &OwnedFd,
    rpc: &OwnedFd,
    reports: &OwnedFd,
    sources: Sources,
    group: Option<&Cgroup>,
) -> Result<std::convert::Infallible, Failure> {
    // Until the host has written the id maps this process is nobody, and may not even make a file.
    if !report::await_go(reports.as_fd()).map_err(at(Step::AwaitIds))? {
        sys::exit_now(127);
    }
    become_user(plan.ids).map_err(at(Step::BecomeUser))?;
    die_with_host(reports).map_err(at(Step::DieWithHost))?;
    // Before anything is allocated in the kernel on the app's behalf, so that it is counted.
    if let Some(group) = group {
        group.enter().map_err(at(Step::EnterCgroup))?;
    }
    no_namespaces(reports)?;
    session().map_err(at(Step::Session))?;
    rustix::system::sethostname(b"sandbox").map_err(at(Step::Names))?;
    rustix::system::setdomainname(b"sandbox").map_err(at(Step::Names))?;
    if plan.spec.loopback {
        loopback().map_err(at(Step::Loopback))?;
    }
    root::assemble(sources.package, sources.var, &plan.spec.limits, reports)?;
    limits(plan).map_err(at(Step::Limits))?;

    // 0 to 3 are the app's; the rest closes at the very moment of exec. No number above 3 is lost before: the four
    // sources lie above.
    sys::dup_onto(stdin.as_fd(), 0).map_err(at(Step::Descriptors))?;
    sys::dup_onto(output.as_fd(), 1).map_err(at(Step::Descriptors))?;
    sys::dup_onto(output.as_fd(), 2).map_err(at(Step::Descriptors))?;
    sys::dup_onto(rpc.as_fd(), 3).map_err(at(Step::Descriptors))?;
    sys::close_on_exec_from(4).map_err(at(Step::Descriptors))?;

    // No program gains rights by being executed, from here on; Landlock and seccomp ask for this first.
    rustix::thread::set_no_new_privs(true).map_err(at(Step::Capabilities))?;
    if !restrict_files().map_err(at(Step::Landlock))? {
        if !plan.spec.allow_without_landlock {
            return Err(Failure(Step::Landlock, Errno::OPNOTSUPP));
        }
        report::warn(reports, Warning::NoLandlock).map_err(at(Step::Landlock))?;
    }
    drop_capabilities().map_err(at(Step::Capabilities))?;

    // Last, so that no rule has to allow what the steps above call.
    let listener = if plan.spec.record_refused {
        Some(plan.filter.install_listening().map_err(at(Step::Seccomp))?)
    } else {
        plan.filter.install().map_err(at(Step::Seccomp))?;
        None
    };
    report::send(reports.as_fd(), &Report::Ready, listener.as_ref().map(AsFd::as_fd))
        .map_err(at(Step::Seccomp))?;
    Err(Failure(Step::Exec, sys::execve(&plan.program, &plan.argv, &plan.environ)))
}

/// Becomes 1000:1000 where the clone did not come out as that already.
fn become_user(ids: &Ids) -> Result<(), Errno> {
    if let Ids::Separate { .. } = ids {
        // The server's supplementary groups (root's) must not follow.
        rustix::thread::set_thread_groups(&[])?;
        let (uid, gid) = (Uid::from_raw(INSIDE), Gid::from_raw(INSIDE));
        rustix::thread::set_thread_res_gid(gid, gid, gid)?;
        rustix::thread::set_thread_res_uid(uid, uid, uid)?;
    }
    // Until exec this is a copy of the host's memory: nobody else's to look at.
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
}

/// The kernel kills process 1, and so the app, when the host's thread ends. After the change of user, which clears
/// the setting. The app cannot call it off: its filter answers that prctl itself.
fn die_with_host(reports: &OwnedFd) -> Result<(), Errno> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    // A host that died before that line sends no signal. getppid() tells nothing across process namespaces; the
    // host's end of this socket does.
    if !report::host_lives(reports.as_fd())? {
        sys::exit_now(127);
    }
    Ok(())
}

/// No user namespace below this one, whatever call asks for it: the limit is the namespace's own and needs no filter.
fn no_namespaces(reports: &OwnedFd) -> Result<(), Failure> {
    match crate::ids::write("/proc/sys/user/max_user_namespaces", "0") {
        Ok(()) => Ok(()),
        // A container that masks /proc/sys. The call filter refuses the same.
        Err(Errno::NOENT | Errno::ROFS | Errno::ACCESS | Errno::PERM) => {
            report::warn(reports, Warning::NoNamespaceLimit).map_err(at(Step::NoNamespaces))
        }
        Err(errno) => Err(Failure(Step::NoNamespaces, errno)),
    }
}

fn session() -> Result<(), Errno> {
    // No controlling terminal: nothing to push input into (TIOCSTI).
    rustix::process::setsid()?;
    rustix::process::umask(Mode::from_bits_retain(0o007));
    sys::default_dispositions();
    sys::unblock_all()
}

/// Brings up `lo`; the kernel gives it 127.0.0.1 and ::1 as it comes up.
fn loopback() -> Result<(), Errno> {
    let socket =
        rustix::net::socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    sys::bring_up(socket.as_fd(), "lo")
}

fn limits(plan: &Plan) -> Result<(), Errno> {
    let limits = &plan.spec.limits;
    let both = |value| Rlimit { current: Some(value), maximum: Some(value) };
    let set = rustix::process::setrlimit;
    set(Resource::Core, both(0))?;
    // Lower than the server's own limits at most: an unprivileged process cannot raise a hard limit.
    let (_, ours) = current(Resource::Nofile);
    let hard = limits.nofile_hard.min(ours);
    set(Resource::Nofile, Rlimit { current: Some(limits.nofile_soft.min(hard)), maximum: Some(hard) })?;
    // Counted in this user namespace alone (Linux 5.14), so it is the grain's own number, group or no group.
    let pids = u64::from(limits.pids).min(current(Resource::Nproc).1);
    set(Resource::Nproc, both(pids))?;
    // Memory of each process, where no group counts the whole: private writable memory, which unlike address space
    // is near to what is used. Four times, for it includes stacks that are never touched.
    if !plan.grouped {
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
    (limit.current.unwrap_or(u64::MAX), limit.maximum.unwrap_or(u64::MAX))
}

/// The mounts allow no more than these rules do. They hold even where a mount would be found writable through a bug,
/// and against descriptors of directories passed in from elsewhere. Returns whether this kernel can.
fn restrict_files() -> Result<bool, Errno> {
    // ABI 1 forbids every rename between directories, which apps need; it counts as no Landlock.
    let everything = AccessFs::from_all(ABI::V6);
    let device = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::IoctlDev | AccessFs::Truncate;
    let storage = everything & !(AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::IoctlDev);
    let rules: [(&std::ffi::CStr, BitFlags<AccessFs>); 8] = [
        (c"/", AccessFs::ReadFile | AccessFs::ReadDir | AccessFs::Execute),
        (c"/var", storage),
        (c"/tmp", storage),
        (c"/dev/shm", storage),
        (c"/dev/null", device),
        (c"/dev/zero", device),
        (c"/dev/random", device),
        (c"/dev/urandom", device),
    ];
    let refused = |_: RulesetError| Errno::INVAL;
    let required = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(ABI::V2));
    let ruleset = match required {
        Ok(ruleset) => ruleset,
        Err(_) => return Ok(false),
    };
    let mut ruleset = ruleset
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(everything)
        .map_err(refused)?
        // Signals and abstract sockets beyond this sandbox (ABI 6); its namespaces separate both already.
        .scope(Scope::from_all(ABI::V6))
        .map_err(refused)?
        .create()
        .map_err(refused)?;
    for (path, access) in rules {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(beneath) => {
                let access = if is_directory(&beneath)? { access } else { access & AccessFs::from_file(ABI::V6) };
                ruleset = ruleset.add_rule(PathBeneath::new(beneath, access)).map_err(refused)?;
            }
            // The package has no such directory, so nothing was mounted.
            Err(Errno::NOENT | Errno::NOTDIR) => {}
            Err(errno) => return Err(errno),
        }
    }
    let RestrictionStatus { ruleset, .. } = ruleset.restrict_self().map_err(refused)?;
    Ok(ruleset != RulesetStatus::NotEnforced)
}

fn is_directory(fd: &OwnedFd) -> Result<bool, Errno> {
    Ok(rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(fd)?.st_mode).is_dir())
}

/// Gives up the capabilities over the namespaces, and every way to have any again.
fn drop_capabilities() -> Result<(), Errno> {
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
    rustix::thread::clear_ambient_capability_set()?;
    let none = CapabilitySet::empty();
    rustix::thread::set_capabilities(
        None,
        CapabilitySets { effective: none, permitted: none, inheritable: none },
    )
}
