//! What the host has heard from the new process so far.

use std::os::fd::{AsFd, OwnedFd};

use crate::error::{StartError, Step};
use crate::sys::Errno;

use super::child;
use super::plan::Order;
use super::report::{self, Report, Warning};

/// Collected without allocating, for the new process may be at work on the same memory.
#[derive(Default)]
pub(super) struct Heard {
    /// The ground is laid.
    pub(super) prepared: bool,
    /// The next thing is exec.
    ready: bool,
    /// Where refused calls wait, if they are recorded.
    pub(super) listener: Option<OwnedFd>,
    warned: [bool; Warning::ALL.len()],
    failed: Option<(Step, Errno)>,
}

impl Heard {
    /// Waits for the next report. `false`: there are no more.
    pub(super) fn next(&mut self, socket: &OwnedFd) -> Result<bool, Errno> {
        match report::receive(socket.as_fd())? {
            (None, _) => return Ok(false),
            (Some(Report::Prepared), _) => self.prepared = true,
            (Some(Report::Ready), fd) => {
                self.ready = true;
                self.listener = fd;
            }
            (Some(Report::Warning(warning)), _) => self.warned[warning as usize] = true,
            (Some(Report::Failed(step, errno)), _) => self.failed = Some((step, errno)),
        }
        Ok(true)
    }

    /// Listens until the app is executed (the end of the stream) or a step has failed.
    pub(super) fn rest(&mut self, socket: &OwnedFd, order: Option<&Order>) -> Result<(), StartError> {
        let spec = order.map(|order| &order.spec);
        let program = || {
            let named = spec.and_then(|spec| spec.argv.first());
            named.map_or("an app", String::as_str).to_owned()
        };
        while self.failed.is_none() {
            match self.next(socket) {
                Ok(true) => {}
                Ok(false) if self.ready => return Ok(()),
                Ok(false) => {
                    return Err(StartError::Died {
                        program: program(),
                        status: "its end is unknown".to_owned(),
                    });
                }
                Err(errno) => return Err(StartError::at(Step::AwaitIds, "the new process", errno)),
            }
        }
        match self.failed {
            Some((Step::Exec, errno)) => Err(StartError::exec(&program(), errno)),
            Some((step, errno)) => Err(StartError::at(step, child::subject(step, spec), errno)),
            None => Ok(()),
        }
    }

    /// In words for the person running the server.
    pub(super) fn warnings(&self) -> impl Iterator<Item = String> + '_ {
        let warned = Warning::ALL.into_iter().zip(self.warned);
        warned
            .filter(|(_, heard)| *heard)
            .map(|(warning, _)| warning.to_string())
    }
}
