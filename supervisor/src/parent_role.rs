//! `percloud serve`: the parent of a server. It listens, starts the broker and whatever the broker asks for, and begins
//! anew when that ends without being asked to. Why it is a process of its own: docs/adr/0015-confined-roles.md.

mod lives;

use std::error::Error;
use std::ffi::OsString;
use std::fs::DirBuilder;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use percloud_broker::Layout;
use percloud_sandbox::parent::Parent;
use percloud_sandbox::process::{self, Child, SpawnError};
use percloud_sandbox::{Exit, confine};
use rustix::process::{Resource, Signal, getrlimit, setrlimit};

use crate::base::Base;
use crate::cli::Serve;
use crate::edge_role::LISTENER_FD;
use crate::egress_role::{BROKER_FD, DOOR_FD};
use crate::launcher_role::CONTROL_FD;
use crate::parent_role::lives::{IN_VAIN, Lives};
use crate::serve::log_to_stderr;

/// The number under which the broker finds its connection to the parent.
pub const PARENT_FD: i32 = 3;
/// The number of the connection to `percloud try`, where a server is there for that: in the parent, and in the broker.
pub const TRIAL_FD: i32 = 4;

/// What the broker may ask for.
pub const LAUNCHER: &str = "launcher";
pub const EDGE: &str = "edge";
pub const EGRESS: &str = "egress";

/// The code with which the broker asks to be started anew, as a service that cannot do its work for now (sysexits.h,
/// `EX_TEMPFAIL`).
pub const AGAIN: u8 = 75;

/// This same program, whatever became of its file.
const SELF: &str = "/proc/self/exe";

/// A Unix socket's path has at most 107 bytes; ours are named by 22 below the runtime folder.
const RUNTIME_LIMIT: usize = 80;

/// Asks for all the descriptors this process may have: the broker holds a few for each running app, and a soft limit
/// of 1024, which is usual, would be a few hundred apps.
fn raise_open_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!("cannot raise the limit of open files: {error}");
    }
}

/// Starts a server and stays until it is asked to stop, or cannot be started; the exit code is the broker's.
pub fn run(options: &Serve) -> Result<ExitCode, Box<dyn Error>> {
    let trial = options.trial.then(|| process::take(TRIAL_FD)).transpose()?;
    log_to_stderr();
    raise_open_files();
    // Before anything is started: groups for apps need a parent without processes.
    percloud_sandbox::cgroup::delegate();
    let listen = options.place.listen;
    let listener = TcpListener::bind(listen)
        .map_err(|error| format!("cannot listen on {listen}: {error}; choose another with --listen"))?;
    let base = Base::new(options.base_url.as_deref(), listener.local_addr()?)?;
    let data = private_folder(&options.place.data)?;
    let (runtime, _kept) = runtime_folder(options.runtime.as_deref(), &data)?;
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let threads = options
        .threads
        .unwrap_or_else(|| u16::try_from(cores.min(64)).expect("64 fits"));

    let mut parent = Parent::new()?;
    confine::parent(options.trial)?;
    let doors = Layout::new(data.clone(), runtime.clone()).doors().to_owned();
    let server = Server {
        options,
        data,
        runtime,
        listener,
        base,
        threads,
        doors,
        trial,
        serves: false,
    };
    stay(server, &mut parent)
}

/// Starts a server again and again until it is asked to stop, or cannot be started.
fn stay(mut server: Server<'_>, parent: &mut Parent) -> Result<ExitCode, Box<dyn Error>> {
    let mut lives = Lives::new();
    loop {
        let since = Instant::now();
        let exit = match server.start_broker(&lives) {
            Ok((control, broker)) => parent.run(control, broker, |role, fds| server.start(role, fds))?,
            Err(error) if lives.served => {
                tracing::error!("cannot start the broker: {error}");
                Exit::Code(1)
            }
            Err(error) => return Err(error),
        };
        let served = std::mem::take(&mut server.serves);
        if exit == Exit::Code(0) || server.options.trial {
            return last(exit);
        }
        if parent.is_stopping() {
            // It may have been about to begin anew, or not yet ready to hear of it.
            let obeyed = [Exit::Code(AGAIN.into()), Exit::Signal(Signal::TERM.as_raw())].contains(&exit);
            return if obeyed { Ok(ExitCode::SUCCESS) } else { last(exit) };
        }
        let anew = exit == Exit::Code(AGAIN.into());
        if !lives.goes_on(served, since.elapsed(), anew) {
            if lives.served {
                tracing::error!("the broker did not start {IN_VAIN} times in a row; everything ends");
            }
            return last(exit);
        }
        if !anew {
            tracing::error!("the broker ended ({exit}); everything begins anew");
        }
        parent.pause(lives.pause())?;
        if parent.is_stopping() {
            return Ok(ExitCode::SUCCESS);
        }
    }
}

/// How a server ends whose last broker ended like this.
fn last(exit: Exit) -> Result<ExitCode, Box<dyn Error>> {
    match exit {
        Exit::Code(code) => Ok(ExitCode::from(u8::try_from(code).unwrap_or(1))),
        ended @ Exit::Signal(_) => Err(format!("the broker was {ended}, and everything ends with it").into()),
    }
}

/// What stays the same over the lives of a server: whom it starts, and what each is told. Nothing of it is the broker's to
/// choose but the other ends of its own connections.
struct Server<'a> {
    options: &'a Serve,
    data: PathBuf,
    runtime: PathBuf,
    /// Open all the time: who comes between two lives waits.
    listener: TcpListener,
    base: Base,
    threads: u16,
    /// Where the sockets of grain hosts are.
    doors: PathBuf,
    /// The connection to `percloud try`, until the broker has it.
    trial: Option<OwnedFd>,
    /// Whether somebody listens to browsers, or did in this life.
    serves: bool,
}

impl Server<'_> {
    /// Starts the broker, and returns the other end of its connection to the parent.
    fn start_broker(&mut self, lives: &Lives) -> Result<(OwnedFd, Child), Box<dyn Error>> {
        let (ours, theirs) = UnixStream::pair()?;
        let options = self.options;
        let mut arguments: Vec<OsString> = vec!["broker".into(), "--data".into(), self.data.clone().into()];
        arguments.extend(["--runtime".into(), self.runtime.clone().into()]);
        arguments.extend(["--base".into(), self.base.url().into()]);
        arguments.extend(["--address".into(), self.listener.local_addr()?.to_string().into()]);
        arguments.extend(["--threads".into(), self.threads.to_string().into()]);
        arguments.extend(["--idle".into(), options.idle.to_string().into()]);
        arguments.extend(["--rest".into(), options.rest.to_string().into()]);
        arguments.extend(["--warm-memory".into(), options.warm_memory.to_string().into()]);
        if lives.served {
            arguments.push("--again".into());
        }
        if lives.is_worrying() {
            arguments.push("--ends-often".into());
        }
        let mut fds = vec![(OwnedFd::from(theirs), PARENT_FD)];
        if let Some(trial) = self.trial.take() {
            arguments.push("--trial".into());
            fds.push((trial, TRIAL_FD));
        }
        Ok((ours.into(), spawn(&arguments, fds)?))
    }

    fn start(&mut self, role: &str, fds: Vec<OwnedFd>) -> Result<Child, Box<dyn Error>> {
        match role {
            LAUNCHER => {
                let mut arguments = vec![OsString::from("launcher")];
                if self.options.trial {
                    arguments.push("--recording".into());
                }
                Ok(spawn(&arguments, numbered([CONTROL_FD], fds)?)?)
            }
            EDGE => {
                let connections = LISTENER_FD + 1..LISTENER_FD + 1 + i32::from(self.threads);
                let mut fds = numbered(connections, fds)?;
                fds.push((self.listener.as_fd().try_clone_to_owned()?, LISTENER_FD));
                let threads = self.threads.to_string();
                let arguments = [
                    "edge",
                    "--base",
                    &self.base.url(),
                    "--threads",
                    &threads,
                    "--doors",
                ];
                let mut arguments = arguments.map(OsString::from).to_vec();
                arguments.push(self.doors.clone().into());
                let edge = spawn(&arguments, fds)?;
                self.serves = true;
                Ok(edge)
            }
            EGRESS => {
                let options = &self.options.egress;
                let mut arguments = vec![OsString::from("egress"), "--app-listen".into()];
                arguments.push(options.app_listen.to_string().into());
                for range in &options.open {
                    arguments.extend(["--open-address".into(), range.to_string().into()]);
                }
                Ok(spawn(&arguments, numbered([BROKER_FD, DOOR_FD], fds)?)?)
            }
            unknown => Err(format!("there is no role {unknown:?}").into()),
        }
    }
}

/// Gives descriptors their numbers, one each.
fn numbered(
    numbers: impl IntoIterator<Item = i32>,
    fds: Vec<OwnedFd>,
) -> Result<Vec<(OwnedFd, i32)>, Box<dyn Error>> {
    let numbers: Vec<i32> = numbers.into_iter().collect();
    if numbers.len() != fds.len() {
        return Err(format!("{} descriptors for {} numbers", fds.len(), numbers.len()).into());
    }
    Ok(fds.into_iter().zip(numbers).collect())
}

fn spawn(arguments: &[OsString], fds: Vec<(OwnedFd, i32)>) -> Result<Child, SpawnError> {
    process::spawn_role(Path::new(SELF), arguments, &environment(), fds)
}

/// What a role inherits of our environment: how to log.
#[allow(
    clippy::disallowed_methods,
    reason = "the wiring decides what a role's environment is"
)]
pub fn environment() -> Vec<(OsString, OsString)> {
    let kept = ["PERCLOUD_LOG", "RUST_BACKTRACE"];
    #[cfg(feature = "hostile")]
    let kept = kept.into_iter().chain([percloud_sandbox::hostile::VARIABLE]);
    kept.into_iter()
        .filter_map(|name| Some((OsString::from(name), std::env::var_os(name)?)))
        .collect()
}

/// Starts a server for `percloud try`, which it is connected to and which it does not outlive.
pub fn start_trial(data: &Path, runtime: &Path, idle: u64) -> Result<(UnixStream, Child), Box<dyn Error>> {
    let (ours, theirs) = UnixStream::pair()?;
    let mut arguments: Vec<OsString> = vec!["serve".into(), "--trial".into(), "--data".into()];
    arguments.extend([data.into(), "--runtime".into(), runtime.into()]);
    arguments.extend(
        [
            "--listen",
            "127.0.0.1:0",
            "--rest",
            "0",
            "--warm-memory",
            "0",
            "--idle",
        ]
        .map(OsString::from),
    );
    arguments.push(idle.to_string().into());
    let child = spawn(&arguments, vec![(theirs.into(), TRIAL_FD)])?;
    Ok((ours, child))
}

/// Makes a folder only its owner may enter, where there is none, and returns its own path: roles that see little of the
/// machine's files do not see links elsewhere.
fn private_folder(path: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    let found = made.and_then(|()| path.canonicalize());
    found.map_err(|error| format!("cannot use the folder {}: {error}", path.display()).into())
}

/// The folder for sockets: as asked, else inside the data folder, else, where that name is too long, a temporary one,
/// which is gone when the second value is.
fn runtime_folder(
    asked: Option<&Path>,
    data: &Path,
) -> Result<(PathBuf, Option<tempfile::TempDir>), Box<dyn Error>> {
    if let Some(asked) = asked {
        let asked = private_folder(asked)?;
        if asked.as_os_str().len() > RUNTIME_LIMIT {
            let shown = asked.display();
            return Err(
                format!("the runtime folder's name is longer than {RUNTIME_LIMIT} bytes: {shown}").into(),
            );
        }
        return Ok((asked, None));
    }
    let inside = data.join("run");
    if inside.as_os_str().len() <= RUNTIME_LIMIT {
        return Ok((private_folder(&inside)?, None));
    }
    let kept = temporary()?;
    Ok((private_folder(&kept.path().join("run"))?, Some(kept)))
}

fn temporary() -> io::Result<tempfile::TempDir> {
    tempfile::Builder::new().prefix("percloud-").tempdir()
}
