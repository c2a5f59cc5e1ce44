//! Starts one app in one sandbox: the host's side.
//!
//! Everything that can be prepared or can fail with a name is done before the clone; the new process then follows
//! the recipe in `child`, reporting the step and errno of a failure over a socket that exec closes. The end of that
//! socket's stream is how the host knows the app runs.

mod child;
mod plan;
mod report;
mod rights;
mod root;

use std::os::fd::{AsFd, OwnedFd};

use crate::cgroup::{self, Cgroup, Making};
use crate::error::{StartError, Step};
use crate::exit::{kill, wait};
use crate::feature;
use crate::ids::{Ids, ids};
use crate::seccomp;
use crate::spec::{CgroupMode, SandboxSpec};
use crate::sys::{self, Errno, Made, Stack};

use plan::{Ends, HostEnds, Plan, Sources};
use report::Report;

/// A running app. Dropping this closes the channels and leaves the app running: [`crate::kill`] it, [`crate::reap`] it, and
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
    plan::check(spec)?;
    let mut warnings = Vec::new();
    let (sources, ids) = Sources::find(spec, &mut warnings)?;
    let plan = Plan::new(spec, ids)?;
    let ends = Ends::new().map_err(|errno| StartError::at(Step::Channels, "sockets and pipes", errno))?;
    // Version 2: the app is born into its group, so the group comes first. Version 1: made while the new process is at
    // work, which enters it before it becomes the app.
    let (born, mut entered) = match control_groups(spec, &mut warnings)? {
        Some(group) if group.is_unified() => (Some(make(group)?), None),
        group => (None, group),
    };

    // The user namespace comes with all capabilities over the others, which it owns; the process namespace makes the
    // app its process 1, with whose end the kernel kills all others. The three that are missing here take longer than
    // these together: the new process makes them, while this one does its part.
    let flags = libc::CLONE_NEWUSER | libc::CLONE_NEWPID | libc::CLONE_NEWUTS | libc::CLONE_NEWCGROUP;
    let mut stack = Stack::new().map_err(|errno| StartError::at(Step::Namespaces, "a stack", errno))?;
    let dumpable = rustix::process::dumpable_behavior();
    let made = sys::start_beside(
        flags as u64,
        born.as_ref().and_then(Cgroup::born_into),
        || child::run(&plan, &ends.app, &ends.host, &sources, &mut stack),
        |pid, _| introduce(ids, pid, &ends.host, entered.as_mut()),
    );
    // The new process changed this for the memory it shared.
    if let Ok(dumpable) = dumpable {
        let _ = rustix::process::set_dumpable_behavior(dumpable);
    }
    let Ends { host, app } = ends;
    drop(app);
    drop(sources);
    let stopped_at = entered.as_ref().map(Making::at).unwrap_or_default();
    let group = born.or(entered.map(Making::into_group));
    let Made {
        pid,
        pidfd,
        meanwhile,
    } = match made {
        Ok(made) => made,
        Err(errno) => {
            discard(group);
            return Err(StartError::at(Step::Namespaces, "user, pid, uts, cgroup", errno));
        }
    };
    let running = match (meanwhile, follow(&host, &plan, &mut warnings)) {
        (Ok(()), followed) => followed,
        // What the new process has to say for itself comes first.
        (Err(_), Err(error @ (StartError::Missing { .. } | StartError::Step { .. }))) => Err(error),
        (Err((step, errno)), _) => Err(StartError::at(
            step,
            match step {
                Step::Cgroup => stopped_at,
                _ => format!("process {pid}"),
            },
            errno,
        )),
    };
    match running {
        Ok(refused) => Ok(App {
            pidfd,
            pid,
            rpc: host.rpc,
            log: host.log,
            refused,
            cgroup: group,
            warnings,
        }),
        Err(error) => {
            let _ = kill(pidfd.as_fd());
            let ended = wait(pidfd.as_fd());
            discard(group);
            Err(match (error, ended) {
                (StartError::Died { program, .. }, Ok(exit)) => StartError::Died {
                    program,
                    status: exit.to_string(),
                },
                (error, _) => error,
            })
        }
    }
}

/// Builds a sandbox for `spec`, whose program must not exist, and takes it down again: every step but the last. What is
/// said of [`start`] holds here.
pub(crate) fn rehearse(spec: &SandboxSpec) -> Result<(), StartError> {
    match start(spec) {
        Err(StartError::Exec { .. }) => Ok(()),
        Err(error) => Err(error),
        Ok(app) => {
            let _ = kill(app.pidfd.as_fd());
            Err(StartError::Spec("a program that must not exist does".to_owned()))
        }
    }
}

/// Whether owners of files in `directory` can be translated for apps; `None` where there is no other user to translate
/// them to.
pub(crate) fn translates(directory: &std::path::Path) -> Result<Option<bool>, Errno> {
    plan::translates(directory, ids())
}

/// The host's part while the new process is at work. Quiet, as [`sys::start_beside`] asks: the other one does as it
/// likes with the memory that is theirs both.
fn introduce(ids: &Ids, pid: i32, host: &HostEnds, group: Option<&mut Making>) -> Result<(), (Step, Errno)> {
    let tell = |fds| report::tell(host.report.as_fd(), fds).map_err(|errno| (Step::AwaitIds, errno));
    ids.write_maps(pid).map_err(|errno| (Step::IdMap, errno))?;
    tell(&[])?;
    match group {
        None => tell(&[]),
        Some(group) => {
            group.make().map_err(|errno| (Step::Cgroup, errno))?;
            tell(group.doors())
        }
    }
}

/// What is weaker on this machine than it should be, for every app: sentences for the person running the server.
/// Meant for the launcher's children, for which [`prepare`] has found it out.
#[must_use]
pub fn weaknesses() -> Vec<String> {
    let mut weaknesses = Vec::new();
    if let Err(why) = cgroup::place() {
        weaknesses.push(no_control_group(why));
    }
    if rustix::process::geteuid().is_root() && ids().mounts().is_none() {
        weaknesses.push(
            "apps run as the machine's root user inside their boxes, because its kernel or container refuses another \
             mapping of user ids; run the server as an ordinary user instead"
                .to_owned(),
        );
    }
    weaknesses
}

fn no_control_group(why: &str) -> String {
    format!("no control group ({why}): {}", feature::WITHOUT_CGROUP)
}

/// Plans a control group, if one is wanted.
fn control_groups(spec: &SandboxSpec, warnings: &mut Vec<String>) -> Result<Option<Making>, StartError> {
    if spec.cgroup == CgroupMode::Off {
        return Ok(None);
    }
    match cgroup::place() {
        Ok(place) => match place.plan(&spec.limits) {
            Ok(group) => Ok(Some(group)),
            Err(errno) => Err(StartError::at(Step::Cgroup, "its path", errno)),
        },
        Err(why) if spec.cgroup == CgroupMode::Required => {
            Err(StartError::at(Step::Cgroup, why.to_owned(), Errno::OPNOTSUPP))
        }
        Err(why) => {
            warnings.push(no_control_group(why));
            Ok(None)
        }
    }
}

fn make(mut group: Making) -> Result<Cgroup, StartError> {
    match group.make() {
        Ok(()) => Ok(group.into_group()),
        Err(errno) => {
            let error = StartError::at(Step::Cgroup, group.at(), errno);
            group.into_group().remove();
            Err(error)
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
