//! Starts one app in one sandbox: the host's side.
//!
//! Everything that can be prepared or can fail with a name is done before the clone; the new process then follows
//! the recipe in `child`, reporting the step and errno of a failure over a socket that exec closes. The end of that
//! socket's stream is how the host knows the app runs.

mod child;
mod report;
mod root;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::OpenTreeFlags;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions};

use crate::cgroup::{self, Cgroup};
use crate::error::{StartError, Step};
use crate::ids::{Ids, ids};
use crate::seccomp::{self, Program};
use crate::spec::{CgroupMode, SandboxSpec};
use crate::sys::{self, Attributes, CStrings, Cloned, Errno};

use report::Report;
use root::Source;

/// A running app. Dropping this closes the channels and leaves the app running: [`kill`] it, [`reap`] it, and
/// [`Cgroup::remove`] its group.
#[derive(Debug)]
pub struct App {
    /// Refers to process 1 of the sandbox; readable when it has ended, and with it every process of the app.
    pub pidfd: OwnedFd,
    /// Its id in the host's namespace.
    pub pid: i32,
    /// Our end of the stream whose other end is the app's descriptor 3.
    pub rpc: OwnedFd,
    /// What the app writes to its standard output and error.
    pub log: OwnedFd,
    /// Where refused system calls wait, when they are recorded: for [`crate::refused::Recorder`], which must be run,
    /// for the app stands still at its first refused call until it is answered.
    pub refused: Option<OwnedFd>,
    /// The control group the app is in.
    pub cgroup: Option<Cgroup>,
    /// What is weaker or different than it should be, in words for the person running the server.
    pub warnings: Vec<String>,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this status.
    Code(i32),
    /// Killed by this signal.
    Signal(i32),
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Exit::Code(code) => write!(f, "exit status {code}"),
            Exit::Signal(signal) => write!(f, "killed by signal {signal}"),
        }
    }
}

/// Does what is the same for every start, so that later forks of this process find it done: compiles the filters,
/// finds where control groups go, makes the id mapping. Optional; [`start`] does what is missing.
pub fn prepare() {
    let _ = ids();
    let _ = cgroup::place();
    for policy in [crate::Policy::Sandstorm, crate::Policy::Native] {
        let _ = seccomp::program(policy, false);
    }
}

/// Starts the app of `spec`. Blocks until it has been executed, or has failed to.
///
/// The calling process must have a single thread, and must outlive the app: the app and all it forked are killed
/// when this thread ends, however it ends.
///
/// # Errors
///
/// Whatever keeps the app from running exactly as specified; nothing is left behind then.
pub fn start(spec: &SandboxSpec) -> Result<App, StartError> {
    if !sys::single_threaded() {
        return Err(StartError::Threads);
    }
    let plan = Plan::new(spec)?;
    let ends = Ends::new().map_err(|errno| StartError::at(Step::Channels, "sockets and pipes", errno))?;
    let (sources, mut warnings) = sources(spec)?;
    let group = control_group(spec, &mut warnings)?;

    // The user namespace comes with all capabilities over the others, which it owns; the process namespace makes the
    // app its process 1, with whose end the kernel kills all others.
    let flags = libc::CLONE_NEWUSER
        | libc::CLONE_NEWNS
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNET
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWCGROUP;
    let cloned = sys::clone(flags as u64, group.as_ref().and_then(Cgroup::born_into));
    let Ends { host, app } = ends;
    let (pid, pidfd) = match cloned {
        Ok(Cloned::Child) => {
            // Its copies of the host's ends must close with the host's own, or no end would ever be seen.
            drop(host);
            child::run(&plan, app, sources, group.as_ref())
        }
        Ok(Cloned::Parent { pid, pidfd }) => (pid, pidfd),
        Err(errno) => {
            discard(group);
            return Err(StartError::at(Step::Namespaces, "user, mount, pid, net, ipc, uts, cgroup", errno));
        }
    };
    drop(app);
    drop(sources);

    let running = ids()
        .write_maps(pid)
        .map_err(|errno| StartError::at(Step::IdMap, format!("process {pid}"), errno))
        .and_then(|()| {
            report::go(host.report.as_fd())
                .map_err(|errno| StartError::at(Step::AwaitIds, "the new process", errno))
        })
        .and_then(|()| follow(&host, &plan, &mut warnings));
    match running {
        Ok(refused) => {
            Ok(App { pidfd, pid, rpc: host.rpc, log: host.log, refused, cgroup: group, warnings })
        }
        Err(error) => {
            let _ = kill(pidfd.as_fd());
            let ended = wait(pidfd.as_fd());
            discard(group);
            Err(match (error, ended) {
                (StartError::Died { program, .. }, Ok(exit)) => {
                    StartError::Died { program, status: exit.to_string() }
                }
                (error, _) => error,
            })
        }
    }
}

/// Kills the app and with it every process it started.
///
/// # Errors
///
/// `ESRCH` once it has been reaped.
pub fn kill(app: BorrowedFd<'_>) -> std::io::Result<()> {
    Ok(rustix::process::pidfd_send_signal(app, Signal::KILL)?)
}

/// Collects the exit of a child of this process, if it has ended. Never blocks: wait for `pidfd` to become readable.
///
/// # Errors
///
/// `ECHILD` when it has been collected already or is not a child of this process.
pub fn reap(pidfd: BorrowedFd<'_>) -> std::io::Result<Option<Exit>> {
    Ok(wait_with(pidfd, WaitIdOptions::EXITED | WaitIdOptions::NOHANG)?)
}

pub(crate) fn wait(pidfd: BorrowedFd<'_>) -> Result<Exit, Errno> {
    loop {
        match wait_with(pidfd, WaitIdOptions::EXITED) {
            Ok(Some(exit)) => return Ok(exit),
            Ok(None) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

fn wait_with(pidfd: BorrowedFd<'_>, options: WaitIdOptions) -> Result<Option<Exit>, Errno> {
    let status = rustix::process::waitid(WaitId::PidFd(pidfd), options)?;
    Ok(status.map(|status| match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, signal) => Exit::Signal(signal.unwrap_or(0)),
    }))
}

/// What the child needs of the specification, in shapes that need no allocation after the clone.
struct Plan<'a> {
    spec: &'a SandboxSpec,
    program: std::ffi::CString,
    argv: CStrings,
    environ: CStrings,
    filter: &'static Program,
    ids: &'static Ids,
    grouped: bool,
}

impl<'a> Plan<'a> {
    fn new(spec: &'a SandboxSpec) -> Result<Self, StartError> {
        let unusable = |what: &str| StartError::Spec(what.to_owned());
        let program = spec.argv.first().ok_or_else(|| unusable("argv is empty"))?;
        for path in [&spec.package, &spec.var] {
            if !path.is_absolute() {
                return Err(unusable(&format!("{} is not an absolute path", path.display())));
            }
        }
        if spec.environ.iter().any(|(name, _)| name.is_empty() || name.contains('=')) {
            return Err(unusable("an environment variable has no usable name"));
        }
        let nul = |_| unusable("a NUL byte in argv or environment");
        Ok(Self {
            spec,
            program: std::ffi::CString::new(program.as_str()).map_err(nul)?,
            argv: CStrings::new(spec.argv.iter().map(String::as_str)).map_err(nul)?,
            environ: CStrings::new(spec.environ.iter().map(|(name, value)| format!("{name}={value}")))
                .map_err(nul)?,
            filter: seccomp::program(spec.policy, spec.record_refused),
            ids: ids(),
            grouped: spec.cgroup != CgroupMode::Off && cgroup::place().is_ok(),
        })
    }
}

/// Both ends of every channel between host and app.
struct Ends {
    host: HostEnds,
    app: AppEnds,
}

struct HostEnds {
    rpc: OwnedFd,
    log: OwnedFd,
    report: OwnedFd,
}

struct AppEnds {
    stdin: OwnedFd,
    output: OwnedFd,
    rpc: OwnedFd,
    report: OwnedFd,
}

impl Ends {
    fn new() -> Result<Self, Errno> {
        let stdin = rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        let (log, output) = pipe_with(PipeFlags::CLOEXEC)?;
        let (rpc, app_rpc) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        let (report, app_report) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        Ok(Self {
            host: HostEnds { rpc, log, report },
            app: AppEnds {
                stdin: above_handed(stdin)?,
                output: above_handed(output)?,
                rpc: above_handed(app_rpc)?,
                report: above_handed(app_report)?,
            },
        })
    }
}

/// Moves a descriptor above 0 to 3, which the app gets and which may be free in the host.
fn above_handed(fd: OwnedFd) -> Result<OwnedFd, Errno> {
    use std::os::fd::AsRawFd;
    if fd.as_raw_fd() > 3 { Ok(fd) } else { rustix::io::fcntl_dupfd_cloexec(&fd, 4) }
}

/// Package and storage, found before the clone so that a missing one is named as such.
struct Sources {
    package: Source,
    var: Source,
}

fn sources(spec: &SandboxSpec) -> Result<(Sources, Vec<String>), StartError> {
    let ids = ids();
    let mut warnings = Vec::new();
    let mut translated = true;
    let mut source = |step: Step, path: &Path| {
        let fail = |errno| StartError::at(step, path.display().to_string(), errno);
        // Also where the mount is made later, from the same path: an error here names the path.
        let found = rustix::fs::open(
            path,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .map_err(fail)?;
        let Some(namespace) = ids.mounts() else {
            return Ok(Source::path(path.as_os_str().as_bytes()));
        };
        let tree = rustix::mount::open_tree(
            &found,
            c"",
            OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH,
        )
        .map_err(fail)?;
        match sys::set_attributes(tree.as_fd(), Attributes { ids: Some(namespace), ..Attributes::default() }) {
            Ok(()) => Ok(Source::Tree(tree)),
            Err(Errno::INVAL | Errno::PERM | Errno::OPNOTSUPP) => {
                translated = false;
                Ok(Source::Tree(tree))
            }
            Err(errno) => Err(fail(errno)),
        }
    };
    let package = source(Step::Package, &spec.package)?;
    let var = source(Step::Var, &spec.var)?;
    if !translated {
        return Err(StartError::at(
            Step::Var,
            format!("{}: its file system cannot translate owners (idmapped mounts)", spec.var.display()),
            Errno::OPNOTSUPP,
        ));
    }
    if matches!(ids, Ids::Own { uid: 0, .. }) {
        warnings.push(
            "the server runs as root without the right to map other user ids: apps are root's processes, held by \
             their namespaces only; run the server as an ordinary user"
                .to_owned(),
        );
    }
    Ok((Sources { package, var }, warnings))
}

fn control_group(spec: &SandboxSpec, warnings: &mut Vec<String>) -> Result<Option<Cgroup>, StartError> {
    if spec.cgroup == CgroupMode::Off {
        return Ok(None);
    }
    match cgroup::place() {
        Ok(place) => Ok(Some(place.make(&spec.limits).map_err(|(path, errno)| {
            StartError::at(Step::Cgroup, path.display().to_string(), errno)
        })?)),
        Err(why) if spec.cgroup == CgroupMode::Required => {
            Err(StartError::at(Step::Cgroup, why.to_owned(), Errno::OPNOTSUPP))
        }
        Err(why) => {
            warnings.push(format!(
                "no control group ({why}): memory is bounded per process, not per grain, and there is no share of \
                 processor time"
            ));
            Ok(None)
        }
    }
}

/// Reads reports until the app is executed (the end of the stream) or a step has failed.
fn follow(host: &HostEnds, plan: &Plan, warnings: &mut Vec<String>) -> Result<Option<OwnedFd>, StartError> {
    let mut ready = false;
    let mut listener = None;
    loop {
        let (report, fd) = report::receive(host.report.as_fd())
            .map_err(|errno| StartError::at(Step::AwaitIds, "the new process", errno))?;
        match report {
            Some(Report::Ready) => {
                ready = true;
                listener = fd;
            }
            Some(Report::Warning(warning)) => warnings.push(warning.to_string()),
            Some(Report::Failed(Step::Exec, errno)) => {
                return Err(StartError::exec(&plan.spec.argv[0], errno));
            }
            Some(Report::Failed(step, errno)) => {
                return Err(StartError::at(step, child::subject(step, plan.spec), errno));
            }
            None if ready => return Ok(listener),
            None => {
                return Err(StartError::Died {
                    program: plan.spec.argv[0].clone(),
                    status: "its end is unknown".to_owned(),
                });
            }
        }
    }
}

fn discard(group: Option<Cgroup>) {
    if let Some(group) = group {
        group.remove();
    }
}

/// Opens a pidfd for a child that has not been reaped.
pub(crate) fn pidfd_of_child(pid: i32) -> Result<OwnedFd, Errno> {
    rustix::process::pidfd_open(Pid::from_raw(pid).ok_or(Errno::SRCH)?, PidfdFlags::empty())
}

/// Opens a directory or file without following a symbolic link at its end.
pub(crate) fn open_path(path: &Path) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(CWD, path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}
