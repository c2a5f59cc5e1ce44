//! Our side as the server starts sandboxes: asked of a launcher, which has made most of each ahead of time.

use std::cell::RefCell;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use percloud_sandbox::launcher::{self, Client, Kind, Request, Task};
use percloud_sandbox::process::{self, Child};
use percloud_sandbox::{App, SandboxSpec, confine};
use rustix::event::{PollFd, PollFlags, poll};

use super::{payload, place};
use crate::failure::{Attempt, Failure};

/// The number under which the launcher finds its socket.
const CONTROL: i32 = 3;
/// As many as the server keeps.
const AHEAD: usize = 4;

/// The launcher, from outside.
pub struct Starter {
    process: Child,
    client: RefCell<Option<Client>>,
    spec: SandboxSpec,
}

impl Starter {
    /// Starts it, and with it one sandbox to see that they can be.
    pub fn new(folder: &Path, payload: &Path) -> Result<Self, Failure> {
        let spec = place(folder, payload)?;
        let own = std::env::current_exe().attempt(|| "find this program".to_owned())?;
        let (ours, theirs) = UnixStream::pair().attempt(|| "make a socket".to_owned())?;
        let fds = vec![(theirs.into(), CONTROL)];
        let process = process::spawn_role(&own, &["role:launcher".into()], &[], fds)
            .map_err(|error| Failure::new(format!("start a launcher: {error}")))?;
        let starter = Self {
            process,
            client: RefCell::new(Some(Client::new(ours.into()))),
            spec,
        };
        starter.start()?;
        Ok(starter)
    }

    /// Starts one sandbox; milliseconds from the request to the app's first byte.
    pub fn start(&self) -> Result<f64, Failure> {
        let (mut told, writer) = std::io::pipe().attempt(|| "make a pipe".to_owned())?;
        let kind = Kind::Grain {
            sandbox: Box::new(self.spec.clone()),
            host: serde_json::Value::Null,
        };
        let mut client = self.client.borrow_mut();
        let client = client.as_mut().expect("it is taken at the end");
        let since = moment();
        let started = client
            .request(&kind, &[writer.as_fd()])
            .map_err(|error| Failure::new(format!("ask for a sandbox: {error}")))?;
        drop(writer);
        let mut then = [0; 8];
        told.read_exact(&mut then)
            .attempt(|| "hear of a sandbox".to_owned())?;
        ended(started.pidfd.as_fd())?;
        let took = Duration::from_nanos(u64::from_le_bytes(then) - since);
        Ok(took.as_secs_f64() * 1e3)
    }
}

impl Drop for Starter {
    fn drop(&mut self) {
        // It ends when nobody can ask any more.
        self.client.take();
        let _ = self.process.wait();
    }
}

/// The role.
pub fn serve() -> Result<(), Failure> {
    let control = process::take(CONTROL).attempt(|| "find the socket".to_owned())?;
    // As the server's own launcher, whose call filter every app inherits.
    confine::launcher(false).map_err(|error| super::ours::describe(&error))?;
    launcher::serve(control, AHEAD, |request| match host(request) {
        Ok(()) => 0,
        Err(failure) => {
            eprintln!("error: {failure}");
            1
        }
    })
}

/// The life of a grain host: says when the app wrote its byte, and sees to its end.
fn host(request: Request) -> Result<(), Failure> {
    let Task::Grain { app, .. } = request.task else {
        return Err(Failure::new("only grains are expected"));
    };
    let App {
        pidfd, log, cgroup, ..
    } = app.map_err(|error| super::ours::describe(&error))?;
    let mut byte = [0];
    File::from(log)
        .read_exact(&mut byte)
        .attempt(|| "read the app's byte".to_owned())?;
    let now = moment();
    let told = request.fds.into_iter().next();
    let mut told = told
        .map(File::from)
        .ok_or_else(|| Failure::new("nobody to tell"))?;
    ended(pidfd.as_fd())?;
    percloud_sandbox::reap(pidfd.as_fd()).attempt(|| "reap the app".to_owned())?;
    if let Some(group) = cgroup {
        group.remove();
    }
    if byte[0] != payload::BYTE {
        return Err(Failure::new("the app wrote another byte"));
    }
    told.write_all(&now.to_le_bytes())
        .attempt(|| "tell the time".to_owned())
}

fn ended(process: BorrowedFd<'_>) -> Result<(), Failure> {
    poll(&mut [PollFd::from_borrowed_fd(process, PollFlags::IN)], None)
        .map_err(std::io::Error::from)
        .attempt(|| "wait for a process".to_owned())
        .map(drop)
}

/// Nanoseconds of a clock that is the same for all processes.
fn moment() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}
