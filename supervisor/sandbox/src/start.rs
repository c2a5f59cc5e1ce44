//! Starts one app in one sandbox: the host's side.
//!
//! A sandbox is built in two parts. The *ground* is the same for every app: namespaces, a user, a control group, mounts
//! that belong to nobody. The *order* says which app it is to be. The host either has its order at hand
//! ([`start`]), and then both sides work at the same time; or it lays the ground ahead of time and waits ([`start_ahead`]).
//! The new process follows the recipe in `child`, reporting the step and errno of a failure over a socket that exec
//! closes. The end of that socket's stream is how the host knows the app runs.

mod child;
mod heard;
mod plan;
mod report;
mod rights;
mod root;

use std::cell::OnceCell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::retry_on_intr;

use crate::cgroup::{self, Cgroup, Making};
use crate::error::{StartError, Step};
use crate::exit::{kill, wait};
use crate::feature;
use crate::ids::ids;
use crate::seccomp;
use crate::spec::{CgroupMode, SandboxSpec};
use crate::sys::{self, Errno, Made, Stack};

use heard::Heard;
use plan::{Ends, Ground, HostEnds, Order};
use report::Word;

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
    let order = Order::new(spec.clone())?;
    let ground = order.ground();
    let slot = OnceCell::from(order);
    build(&ground, &slot, |site| {
        site.introduce()?;
        site.go(&slot)?;
        site.make_group()
    })
    .map_err(Stop::into_error)
}

/// A start that was ordered when its ground had been laid.
pub(crate) struct Ordered<P> {
    /// Which app it is.
    pub(crate) spec: SandboxSpec,
    /// What else came with the order.
    pub(crate) rest: P,
    /// What [`start`] returns.
    pub(crate) app: Result<App, StartError>,
}

/// Lays the ground for an app with the default limits, then calls `await_order` with what refers to the process that
/// waits there, and starts the app it returns. `None`: it returned none. What is said of [`start`] holds here.
///
/// # Errors
///
/// What keeps the ground from being laid; `await_order` has not been called then.
pub(crate) fn start_ahead<P>(
    await_order: impl FnOnce(BorrowedFd<'_>) -> Option<(SandboxSpec, P)>,
) -> Result<Option<Ordered<P>>, StartError> {
    let ground = Ground::for_any();
    let slot = OnceCell::new();
    let mut asked = None;
    let built = build(&ground, &slot, |site| {
        site.introduce()?;
        site.make_group()?;
        site.await_prepared()?;
        // The new process waits from here on, so this one need no longer be quiet.
        let (spec, rest) = await_order(site.pidfd).ok_or(Stop::Unsuited)?;
        let order = Order::new(spec.clone());
        asked = Some((spec, rest));
        let order = order.map_err(Stop::Error)?;
        if !ground.suits(&order) || site.adjust(&order).is_err() || slot.set(order).is_err() {
            return Err(Stop::Unsuited);
        }
        site.go(&slot)
    });
    let Some((spec, rest)) = asked else {
        return match built {
            Err(Stop::Unsuited) => Ok(None),
            Err(stop) => Err(stop.into_error()),
            Ok(_) => unreachable!("no app runs without an order"),
        };
    };
    let app = match built {
        // One that was killed while it waited is no reason not to start this app.
        Err(Stop::Unsuited | Stop::Error(StartError::Died { .. })) => start(&spec),
        built => built.map_err(Stop::into_error),
    };
    Ok(Some(Ordered { spec, rest, app }))
}

/// Why no app runs.
enum Stop {
    Error(StartError),
    /// Our own part failed: subjects are found when the new process is no more.
    Part(Step, Errno),
    /// The ground does not suit the order, or no order came.
    Unsuited,
}

impl Stop {
    fn into_error(self) -> StartError {
        match self {
            Self::Error(error) => error,
            Self::Part(step, errno) => StartError::at(step, "the new process", errno),
            Self::Unsuited => StartError::Spec("the sandbox was made for another app".to_owned()),
        }
    }
}

/// What the host does and hears while the new process is at work. Quiet, as [`sys::start_beside`] asks: the other one
/// does as it likes with the memory that is theirs both.
struct Site<'a> {
    pid: i32,
    pidfd: BorrowedFd<'a>,
    ground: &'a Ground,
    host: &'a HostEnds,
    group: Option<&'a mut Making>,
    heard: &'a mut Heard,
}

impl Site<'_> {
    /// Writes the id maps.
    fn introduce(&self) -> Result<(), Stop> {
        let written = self.ground.ids.write_maps(self.pid);
        written.map_err(|errno| Stop::Part(Step::IdMap, errno))?;
        self.tell(Word::Ids, [])
    }

    /// Makes the control group, as far as the app is not born into it.
    fn make_group(&mut self) -> Result<(), Stop> {
        let Some(group) = &mut self.group else {
            return self.tell(Word::Group, []);
        };
        group.make().map_err(|errno| Stop::Part(Step::Cgroup, errno))?;
        let doors = self.group.as_deref().map(Making::doors).unwrap_or_default();
        self.tell(Word::Group, doors.iter().map(AsFd::as_fd))
    }

    /// Has the group keep the limits of `order`, where it was made with others. Nobody waits quietly any more.
    fn adjust(&self, order: &Order) -> std::io::Result<()> {
        let limits = &order.spec.limits;
        if *limits == self.ground.limits {
            return Ok(());
        }
        let group = self.group.as_deref().map(Making::group);
        group.map_or(Ok(()), |group| group.adjust(limits))
    }

    /// Waits until the ground is laid.
    fn await_prepared(&mut self) -> Result<(), Stop> {
        while !self.heard.prepared {
            self.await_word()
                .map_err(|errno| Stop::Part(Step::AwaitIds, errno))?;
            match self.heard.next(&self.host.report) {
                Ok(true) => {}
                // It says why it ended.
                Ok(false) => return Err(Stop::Part(Step::AwaitIds, Errno::PIPE)),
                Err(errno) => return Err(Stop::Part(Step::AwaitIds, errno)),
            }
        }
        Ok(())
    }

    /// Waits until the new process has said something, or is no more. Its end of the socket does not tell: this process holds a
    /// copy of that, for as long as the other one needs its memory.
    fn await_word(&self) -> Result<(), Errno> {
        let report = self.host.report.as_fd();
        let mut polled = [report, self.pidfd].map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
        retry_on_intr(|| poll(&mut polled, None))?;
        if polled[0].revents().is_empty() {
            return Err(Errno::PIPE);
        }
        Ok(())
    }

    /// Tells the new process to fetch its order.
    fn go(&self, slot: &OnceCell<Order>) -> Result<(), Stop> {
        let trees = slot.get().map_or([None, None], Order::trees);
        self.tell(Word::Go, trees.into_iter().flatten())
    }

    fn tell<'fd>(&self, word: Word, fds: impl IntoIterator<Item = BorrowedFd<'fd>>) -> Result<(), Stop> {
        let told = report::tell(self.host.report.as_fd(), word, fds);
        told.map_err(|errno| Stop::Part(Step::AwaitIds, errno))
    }
}

/// Makes the new process and does the host's part, which is `part`; returns the app that runs.
fn build(
    ground: &Ground,
    slot: &OnceCell<Order>,
    part: impl FnOnce(&mut Site<'_>) -> Result<(), Stop>,
) -> Result<App, Stop> {
    if !sys::single_threaded() {
        return Err(Stop::Error(StartError::Threads));
    }
    let failed = |step, subject: &str, errno| Stop::Error(StartError::at(step, subject, errno));
    let ends = Ends::new().map_err(|errno| failed(Step::Channels, "sockets and pipes", errno))?;
    let mut warnings = Vec::new();
    // What the app is born into comes first. The rest is made while the new process is at work, which enters it before it
    // becomes the app.
    let mut group = control_groups(ground, &mut warnings).map_err(Stop::Error)?;
    if let Some(Err(errno)) = group.as_mut().map(Making::make_birthplace) {
        let at = group.as_ref().map(Making::at).unwrap_or_default();
        discard(group.map(Making::into_group));
        return Err(failed(Step::Cgroup, &at, errno));
    }
    let birthplace = group.as_mut().and_then(Making::birthplace);

    // The user namespace comes with all capabilities over the others, which it owns; the process namespace makes the
    // app its process 1, with whose end the kernel kills all others. The three that are missing here take longer than
    // these together: the new process makes them, while this one does its part.
    let flags = libc::CLONE_NEWUSER | libc::CLONE_NEWPID | libc::CLONE_NEWUTS | libc::CLONE_NEWCGROUP;
    let mut stack = Stack::new().map_err(|errno| failed(Step::Namespaces, "a stack", errno))?;
    let dumpable = rustix::process::dumpable_behavior();
    let mut heard = Heard::default();
    let made = sys::start_beside(
        flags as u64,
        birthplace.as_ref().map(AsFd::as_fd),
        || child::run(ground, slot, &ends.app, &ends.host, &mut stack),
        |pid, pidfd| {
            part(&mut Site {
                pid,
                pidfd,
                ground,
                host: &ends.host,
                group: group.as_mut(),
                heard: &mut heard,
            })
        },
    );
    // The new process changed this for the memory it shared.
    if let Ok(dumpable) = dumpable {
        let _ = rustix::process::set_dumpable_behavior(dumpable);
    }
    let Ends { host, app } = ends;
    drop(app);
    let stopped_at = group.as_ref().map(Making::at).unwrap_or_default();
    let mut group = group.map(Making::into_group);
    let Made {
        pid,
        pidfd,
        meanwhile,
    } = match made {
        Ok(made) => made,
        Err(errno) => {
            discard(group);
            return Err(failed(Step::Namespaces, "user, pid, uts, cgroup", errno));
        }
    };
    let running = match (meanwhile, heard.rest(&host.report, slot.get())) {
        (Ok(()), Ok(())) => Ok(()),
        (Err(Stop::Unsuited), _) => Err(Stop::Unsuited),
        (Err(Stop::Error(error)), _) => Err(Stop::Error(error)),
        // What the new process has to say for itself comes first.
        (_, Err(error @ (StartError::Missing { .. } | StartError::Step { .. }))) => Err(Stop::Error(error)),
        (Err(Stop::Part(Step::Cgroup, errno)), _) => Err(failed(Step::Cgroup, &stopped_at, errno)),
        (Err(Stop::Part(step, errno)), _) => Err(failed(step, &format!("process {pid}"), errno)),
        (Ok(()), Err(error)) => Err(Stop::Error(error)),
    };
    match running {
        Ok(()) => {
            warnings.extend(
                slot.get()
                    .into_iter()
                    .flat_map(|order| order.warnings.iter().cloned()),
            );
            warnings.extend(heard.warnings());
            // Nobody else is to come in; what the app says is read by this process.
            group.iter_mut().for_each(Cgroup::close);
            Ok(App {
                pidfd,
                pid,
                rpc: host.rpc,
                log: host.log,
                refused: heard.listener,
                cgroup: group,
                warnings,
            })
        }
        Err(stop) => {
            let _ = kill(pidfd.as_fd());
            let ended = wait(pidfd.as_fd());
            discard(group);
            Err(match (stop, ended) {
                (Stop::Error(StartError::Died { program, .. }), Ok(exit)) => Stop::Error(StartError::Died {
                    program,
                    status: exit.to_string(),
                }),
                (stop, _) => stop,
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

/// What is weaker on this machine than it should be, for every app: sentences for the person running the server.
/// Meant for the launcher's children, for which [`prepare`] has found it out.
#[must_use]
pub fn weaknesses() -> Vec<String> {
    let mut weaknesses = Vec::new();
    match cgroup::place() {
        Ok(place) => weaknesses.extend(place.lacks()),
        Err(why) => weaknesses.push(no_control_group(why)),
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
fn control_groups(ground: &Ground, warnings: &mut Vec<String>) -> Result<Option<Making>, StartError> {
    if ground.cgroup == CgroupMode::Off {
        return Ok(None);
    }
    match cgroup::place() {
        Ok(place) => match place.plan(&ground.limits) {
            Ok(group) => Ok(Some(group)),
            Err(errno) => Err(StartError::at(Step::Cgroup, "its path", errno)),
        },
        Err(why) if ground.cgroup == CgroupMode::Required => {
            Err(StartError::at(Step::Cgroup, why.to_owned(), Errno::OPNOTSUPP))
        }
        Err(why) => {
            warnings.push(no_control_group(why));
            Ok(None)
        }
    }
}

fn discard(group: Option<Cgroup>) {
    if let Some(group) = group {
        group.remove();
    }
}
