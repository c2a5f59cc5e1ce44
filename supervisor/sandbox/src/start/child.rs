//! The recipe: from a fresh clone to the app, step by step. Runs as process 1 of the new namespaces, with all
//! capabilities over them and none over the server's.

use std::cell::OnceCell;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Gid, Mode, Uid};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::{DumpableBehavior, Signal};
use rustix::thread::{LinkNameSpaceType, UnshareFlags};

use crate::cgroup;
use crate::error::Step;
use crate::ids::{INSIDE, Ids};
use crate::spec::{Policy, SandboxSpec};
use crate::sys::{self, Beside, Errno, Stack};

use super::plan::{AppEnds, Ground, HostEnds, Order};
use super::report::{self, Report, Warning, Word};
use super::rights::{self, FileRules};
use super::root;

/// A failed step.
pub(super) struct Failure(Step, Errno);

/// Names the step an errno comes from.
pub(super) fn at(step: Step) -> impl Fn(Errno) -> Failure {
    move |errno| Failure(step, errno)
}

/// Becomes the app, or reports why not and returns an exit status. `stack` is for a process of this one's own.
///
/// Shares the host's memory until then: what is borrowed here stays, and is the host's to close.
pub(super) fn run(
    ground: &Ground,
    slot: &OnceCell<Order>,
    ends: &AppEnds,
    host: &HostEnds,
    stack: &mut Stack,
) -> i32 {
    // This copy would keep the socket from ever telling that the host is gone. Those of the other ends close at exec.
    sys::close_copy(host.report.as_fd());
    let Failure(step, errno) = match become_app(ground, slot, ends, stack) {
        Ok(never) => match never {},
        Err(failure) => failure,
    };
    let _ = report::send(ends.report.as_fd(), &Report::Failed(step, errno), None);
    127
}

/// What a failed step was done to, for the error message.
pub(super) fn subject(step: Step, spec: Option<&SandboxSpec>) -> String {
    match (step, spec) {
        (Step::Package | Step::Root | Step::Pivot, Some(spec)) => spec.package.display().to_string(),
        (Step::Var, Some(spec)) => spec.var.display().to_string(),
        (Step::Tmp, Some(spec)) => format!("{} bytes", spec.limits.tmp_bytes),
        (Step::Shm, Some(spec)) => format!("{} bytes", spec.limits.shm_bytes),
        (Step::Device, _) => "null, zero, random, urandom".to_owned(),
        (Step::Limits, Some(spec)) => format!("{:?}", spec.limits),
        _ => "in the new process".to_owned(),
    }
}

fn become_app(
    ground: &Ground,
    slot: &OnceCell<Order>,
    ends: &AppEnds,
    stack: &mut Stack,
) -> Result<std::convert::Infallible, Failure> {
    let AppEnds {
        stdin,
        output,
        rpc,
        report: reports,
    } = ends;
    // The kernel takes 0.3 to 0.5 ms to make a network namespace, as long as for all the rest: another process makes it
    // meanwhile and hands it over.
    let mut network = Network::Coming(sys::run_beside(stack, make_network));
    let (common, file_rules) = lay_ground(ground, reports)?;
    let mut grouped = false;
    let trees = loop {
        match await_host(reports)? {
            (Word::Group, doors) => {
                cgroup::enter(&doors).map_err(at(Step::EnterCgroup))?;
                grouped = true;
                if ground.ahead {
                    network = network.enter()?;
                    report::send(reports.as_fd(), &Report::Prepared, None).map_err(at(Step::AwaitIds))?;
                }
            }
            (Word::Go, trees) => break trees,
            (Word::Ids, _) => return Err(Failure(Step::AwaitIds, Errno::BADMSG)),
        }
    };
    // The host has said that it lies there.
    let order = slot.get().ok_or(Failure(Step::AwaitIds, Errno::BADMSG))?;
    root::assemble(&order.sources, trees, common, reports)?;
    // Before the app's first line, so that whatever it forks is inside too.
    if !grouped {
        let (Word::Group, doors) = await_host(reports)? else {
            return Err(Failure(Step::EnterCgroup, Errno::BADMSG));
        };
        cgroup::enter(&doors).map_err(at(Step::EnterCgroup))?;
    }
    rights::limits(order).map_err(at(Step::Limits))?;
    if !rights::restrict_files(file_rules, order.spec.full).map_err(at(Step::Landlock))? {
        if !order.spec.allow_without_landlock {
            return Err(Failure(Step::Landlock, Errno::OPNOTSUPP));
        }
        report::warn(reports, Warning::NoLandlock).map_err(at(Step::Landlock))?;
    }
    if order.spec.policy == Policy::Native && !order.spec.loopback {
        rights::forbid_network().map_err(at(Step::Landlock))?;
    }
    if let Network::Entered { socket } = network.enter()?
        && order.spec.loopback
    {
        // The kernel gives it 127.0.0.1 and ::1 as it comes up.
        sys::bring_up(&socket, "lo").map_err(at(Step::Loopback))?;
    }
    rights::drop_capabilities().map_err(at(Step::Capabilities))?;

    // 0 to 3 are the app's; the rest closes at the very moment of exec. No number above 3 is lost before: the four
    // sources lie above.
    sys::dup_onto(stdin.as_fd(), 0).map_err(at(Step::Descriptors))?;
    sys::dup_onto(output.as_fd(), 1).map_err(at(Step::Descriptors))?;
    sys::dup_onto(output.as_fd(), 2).map_err(at(Step::Descriptors))?;
    sys::dup_onto(rpc.as_fd(), 3).map_err(at(Step::Descriptors))?;
    sys::close_on_exec_from(4).map_err(at(Step::Descriptors))?;

    // Last, so that no rule has to allow what the steps above call.
    let listener = if order.spec.record_refused {
        Some(order.filter.install_listening().map_err(at(Step::Seccomp))?)
    } else {
        order.filter.install().map_err(at(Step::Seccomp))?;
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
        sys::execve(&order.program, &order.argv, &order.environ),
    ))
}

/// What is the same for every app, and leaves the capabilities it takes to do the rest.
fn lay_ground(ground: &Ground, reports: &OwnedFd) -> Result<(root::Common, FileRules), Failure> {
    // First what needs no ids, while the host writes the maps. These two namespaces take long enough not to be made by
    // the clone either.
    let slow = UnshareFlags::NEWNS | UnshareFlags::NEWIPC;
    sys::unshare_namespaces(slow).map_err(at(Step::Namespaces))?;
    session().map_err(at(Step::Session))?;
    rustix::system::sethostname(b"sandbox").map_err(at(Step::Names))?;
    rustix::system::setdomainname(b"sandbox").map_err(at(Step::Names))?;

    // Until the maps are written this process is nobody, and may not even make a file.
    let (Word::Ids, _) = await_host(reports)? else {
        return Err(Failure(Step::AwaitIds, Errno::BADMSG));
    };
    become_user(ground.ids).map_err(at(Step::BecomeUser))?;
    die_with_host(reports).map_err(at(Step::DieWithHost))?;
    no_namespaces(reports)?;
    rights::empty_bounding_set().map_err(at(Step::Capabilities))?;
    // No program gains rights by being executed, from here on; Landlock and seccomp ask for this first.
    rustix::thread::set_no_new_privs(true).map_err(at(Step::Capabilities))?;
    let common = root::prepare(&ground.limits, ground.leaves_server())?;
    let rules = rights::file_rules(&common).map_err(at(Step::Landlock))?;
    Ok((common, rules))
}

/// Waits for the host's next word, and takes what it hands over.
fn await_host(reports: &OwnedFd) -> Result<(Word, Vec<OwnedFd>), Failure> {
    match report::await_word(reports.as_fd()).map_err(at(Step::AwaitIds))? {
        Some(word) => Ok(word),
        None => sys::exit_now(127),
    }
}

/// The network namespace of this process.
enum Network<'s> {
    Coming(Result<Beside<'s, Result<NewNetwork, Failure>>, Errno>),
    /// And a socket in it.
    Entered {
        socket: OwnedFd,
    },
}

impl Network<'_> {
    /// Enters it, if that has not been done.
    fn enter(self) -> Result<Self, Failure> {
        let made = match self {
            Self::Coming(Ok(beside)) => beside.join().map_err(at(Step::Network))?,
            // A control group that has room for the app's one process alone.
            Self::Coming(Err(Errno::AGAIN)) => Some(make_network()),
            Self::Coming(Err(errno)) => return Err(Failure(Step::Network, errno)),
            entered @ Self::Entered { .. } => return Ok(entered),
        };
        let NewNetwork { network, socket } = made.unwrap_or(Err(Failure(Step::Network, Errno::SRCH)))?;
        let kind = Some(LinkNameSpaceType::Network);
        rustix::thread::move_into_link_name_space(network.as_fd(), kind).map_err(at(Step::Network))?;
        Ok(Self::Entered { socket })
    }
}

/// A network namespace and a socket in it.
struct NewNetwork {
    network: OwnedFd,
    socket: OwnedFd,
}

/// Makes a network namespace. Quiet, as [`sys::run_beside`] asks.
fn make_network() -> Result<NewNetwork, Failure> {
    sys::unshare_namespaces(UnshareFlags::NEWNET).map_err(at(Step::Network))?;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
        .map_err(at(Step::Network))?;
    let network = sys::network_of(&socket).map_err(at(Step::Network))?;
    Ok(NewNetwork { network, socket })
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
    match crate::ids::write(c"/proc/sys/user/max_user_namespaces", "0") {
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
