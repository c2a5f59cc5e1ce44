//! The recipe: from a fresh clone to the app, step by step. Runs as process 1 of the new namespaces, with all
//! capabilities over them and none over the server's.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Gid, Mode, Uid};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::{DumpableBehavior, Signal};
use rustix::thread::UnshareFlags;

use crate::cgroup;
use crate::error::Step;
use crate::ids::{INSIDE, Ids};
use crate::spec::SandboxSpec;
use crate::sys::{self, Errno};

use super::plan::{AppEnds, Plan, Sources};
use super::report::{self, Report, Warning};
use super::{rights, root};

/// A failed step.
pub(super) struct Failure(Step, Errno);

/// Names the step an errno comes from.
pub(super) fn at(step: Step) -> impl Fn(Errno) -> Failure {
    move |errno| Failure(step, errno)
}

/// Becomes the app, or reports why not and ends.
pub(super) fn run(plan: &Plan, ends: AppEnds, sources: Sources) -> ! {
    // The socket must survive the step that arranges descriptors, so it is taken out of their bundle.
    let AppEnds {
        stdin,
        output,
        rpc,
        report,
    } = ends;
    let Failure(step, errno) = match become_app(plan, &stdin, &output, &rpc, &report, sources) {
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
) -> Result<std::convert::Infallible, Failure> {
    // First what needs no ids, while the host writes the maps.
    network(plan.spec.loopback)?;
    session().map_err(at(Step::Session))?;
    rustix::system::sethostname(b"sandbox").map_err(at(Step::Names))?;
    rustix::system::setdomainname(b"sandbox").map_err(at(Step::Names))?;

    // Until the maps are written this process is nobody, and may not even make a file.
    await_host(reports)?;
    become_user(plan.ids).map_err(at(Step::BecomeUser))?;
    die_with_host(reports).map_err(at(Step::DieWithHost))?;
    no_namespaces(reports)?;
    root::assemble(sources.package, sources.var, &plan.spec.limits, reports)?;
    // Before the app's first line, so that whatever it forks is inside too.
    cgroup::enter(&await_host(reports)?).map_err(at(Step::EnterCgroup))?;
    rights::limits(plan).map_err(at(Step::Limits))?;

    // 0 to 3 are the app's; the rest closes at the very moment of exec. No number above 3 is lost before: the four
    // sources lie above.
    sys::dup_onto(stdin.as_fd(), 0).map_err(at(Step::Descriptors))?;
    sys::dup_onto(output.as_fd(), 1).map_err(at(Step::Descriptors))?;
    sys::dup_onto(output.as_fd(), 2).map_err(at(Step::Descriptors))?;
    sys::dup_onto(rpc.as_fd(), 3).map_err(at(Step::Descriptors))?;
    sys::close_on_exec_from(4).map_err(at(Step::Descriptors))?;

    // No program gains rights by being executed, from here on; Landlock and seccomp ask for this first.
    rustix::thread::set_no_new_privs(true).map_err(at(Step::Capabilities))?;
    if !rights::restrict_files().map_err(at(Step::Landlock))? {
        if !plan.spec.allow_without_landlock {
            return Err(Failure(Step::Landlock, Errno::OPNOTSUPP));
        }
        report::warn(reports, Warning::NoLandlock).map_err(at(Step::Landlock))?;
    }
    rights::drop_capabilities().map_err(at(Step::Capabilities))?;

    // Last, so that no rule has to allow what the steps above call.
    let listener = if plan.spec.record_refused {
        Some(plan.filter.install_listening().map_err(at(Step::Seccomp))?)
    } else {
        plan.filter.install().map_err(at(Step::Seccomp))?;
        None
    };
    report::send(
        reports.as_fd(),
        &Report::Ready,
        listener.as_ref().map(AsFd::as_fd),
    )
    .map_err(at(Step::Seccomp))?;
    Err(Failure(
        Step::Exec,
        sys::execve(&plan.program, &plan.argv, &plan.environ),
    ))
}

/// Waits until the host has done its next part, and takes what it hands over.
fn await_host(reports: &OwnedFd) -> Result<Vec<OwnedFd>, Failure> {
    match report::await_word(reports.as_fd()).map_err(at(Step::AwaitIds))? {
        Some(fds) => Ok(fds),
        None => sys::exit_now(127),
    }
}

/// Makes the network namespace. It takes 0.3 to 0.5 ms, as long as everything else in this recipe, so it is not made
/// by the clone: here the host does its part meanwhile.
fn network(loopback: bool) -> Result<(), Failure> {
    sys::unshare_namespaces(UnshareFlags::NEWNET).map_err(at(Step::Network))?;
    if loopback {
        bring_up_loopback().map_err(at(Step::Loopback))
    } else {
        Ok(())
    }
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
fn bring_up_loopback() -> Result<(), Errno> {
    let socket =
        rustix::net::socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    sys::bring_up(socket.as_fd(), "lo")
}
