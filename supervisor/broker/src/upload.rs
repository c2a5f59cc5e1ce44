//! A package or a backup on its way from a browser to staging.

use std::cell::{Cell, RefCell};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use percloud_core::id::UploadId;
use percloud_spk::install::{PackageInfo, Stage};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};

use crate::account::SignedIn;
use crate::broker::Broker;
use crate::layout::make_private;
use crate::outside::{UnpackReport, UnpackStart};
use crate::package::Staged;
use crate::problem::Problem;
use crate::staging::Place;
use crate::tree;

/// Largest package file, compressed, in bytes. The format itself ends at 1 GiB uncompressed (sheet 1.1).
const PACKAGE_LIMIT: u64 = 1_200_000_000;
/// Largest backup, in bytes.
const BACKUP_LIMIT: u64 = 64 << 30;
/// Least time between two words on the same stage.
const TELL_PAUSE: Duration = Duration::from_millis(100);
/// Longest line of a worker's report, in bytes: the description of a package with its texts.
const REPORT_LIMIT: u64 = 16 << 20;

/// What is uploaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A package, to be checked, unpacked and decided upon.
    Package,
    /// A backup, of which a grain is made.
    Backup,
}

impl Kind {
    fn limit(self) -> u64 {
        match self {
            Self::Package => PACKAGE_LIMIT,
            Self::Backup => BACKUP_LIMIT,
        }
    }

    fn file(self) -> &'static str {
        match self {
            Self::Package => "package.spk",
            Self::Backup => "backup.zip",
        }
    }
}

/// An upload that goes on. Forgotten with its bytes when dropped before it is finished.
pub(crate) struct Upload {
    broker: Rc<Broker>,
    who: SignedIn,
    kind: Kind,
    /// The name the shell gave it, for progress events.
    name: String,
    folder: PathBuf,
    file: RefCell<Option<std::fs::File>>,
    received: Cell<u64>,
    /// The stage told last, and when.
    last_told: Cell<(&'static str, Option<Instant>)>,
    size: Option<u64>,
    finished: Cell<bool>,
    _place: Place,
}

impl Upload {
    pub(crate) fn begin(
        broker: &Rc<Broker>,
        who: &SignedIn,
        kind: Kind,
        size: u64,
        name: &str,
    ) -> Result<Self, Problem> {
        if size > kind.limit() {
            return Err(Problem::TooLarge);
        }
        let place = broker.place_in_staging(&who.account, size)?;
        let id = UploadId::new(|bytes| (broker.outside.random)(bytes));
        let folder = broker.config.layout.upload(&id);
        let io = |error: std::io::Error| Problem::internal("begin an upload", &error);
        make_private(&folder).map_err(io)?;
        let file = std::fs::File::create_new(folder.join(kind.file())).map_err(io)?;
        Ok(Self {
            broker: broker.clone(),
            who: who.clone(),
            kind,
            name: name.to_owned(),
            folder,
            file: RefCell::new(Some(file)),
            received: Cell::new(0),
            last_told: Cell::default(),
            size: (size > 0).then_some(size),
            finished: Cell::new(false),
            _place: place,
        })
    }

    /// Takes the next bytes; returns when they are written.
    pub(crate) fn write(&self, data: &[u8]) -> Result<(), Problem> {
        let received = self.received.get() + data.len() as u64;
        if received > self.kind.limit() {
            self.file.take();
            return Err(Problem::TooLarge);
        }
        // Its size is only what a browser says.
        if let Err(problem) = self.broker.check_room(data.len() as u64) {
            self.file.take();
            return Err(problem);
        }
        let mut file = self.file.borrow_mut();
        let file = file
            .as_mut()
            .ok_or_else(|| Problem::BadRequest("the upload has ended".to_owned()))?;
        file.write_all(data)
            .map_err(|error| Problem::internal("write an upload", &error))?;
        self.received.set(received);
        self.tell("receiving", received, self.size);
        Ok(())
    }

    /// Checks and unpacks what arrived, in a confined worker; nothing of the package runs.
    pub(crate) async fn finish(&self) -> Result<Value, Problem> {
        if self.file.take().is_none() {
            return Err(Problem::BadRequest("the upload has ended".to_owned()));
        }
        let outcome = match self.kind {
            Kind::Package => self.check().await,
            Kind::Backup => self.restore().await,
        };
        match &outcome {
            Ok(_) => self.tell("done", self.received.get(), Some(self.received.get())),
            Err(_) => self.tell("failed", self.received.get(), self.size),
        }
        outcome
    }

    /// Whether all of it is there.
    fn complete(&self) -> Result<(), Problem> {
        if self.size.is_some_and(|size| size != self.received.get()) {
            return Err(Problem::BadRequest(
                "the upload ended before the whole file had arrived".to_owned(),
            ));
        }
        Ok(())
    }

    async fn restore(&self) -> Result<Value, Problem> {
        self.complete()?;
        let zip = self.folder.join(self.kind.file());
        let progress = |done, total| self.tell("unpacking", done, Some(total));
        let name = |title: &str| Some(title.to_owned());
        // The folder of this upload goes with it; what was restored has left it by then.
        self.broker
            .restore_backup(&self.who, &self.folder, zip, name, progress)
            .await
    }

    async fn check(&self) -> Result<Value, Problem> {
        self.complete()?;
        let into = self.folder.join("unpacked");
        let io = |error: std::io::Error| Problem::internal("unpack an upload", &error);
        make_private(&into).map_err(io)?;
        let (report, theirs) = std::os::unix::net::UnixStream::pair().map_err(io)?;
        let start = UnpackStart {
            spk: self.folder.join(self.kind.file()),
            into: into.clone(),
            report: theirs.into(),
        };
        let worker = self.broker.outside.launcher.start_unpack(start).await;
        let worker = worker.map_err(|error| Problem::internal("start the worker that unpacks", &error))?;
        let _worker = Worker(worker.pidfd);
        report.set_nonblocking(true).map_err(io)?;
        let report = tokio::net::UnixStream::from_std(report).map_err(io)?;
        let info = self.follow(report).await?;
        // The compressed form has served its purpose.
        let _ = std::fs::remove_file(self.folder.join(self.kind.file()));
        self.finished.set(true);
        let staged = Staged::new(self.folder.clone(), info, &self.who, self.broker.outside.now());
        self.broker.stage(&self.who, staged)
    }

    /// Reads a worker's report to its end. The worker read hostile bytes, so its words are bounded too.
    async fn follow(&self, report: tokio::net::UnixStream) -> Result<PackageInfo, Problem> {
        let died = || Problem::BadPackage {
            reason: "worker-ended".to_owned(),
            message: "unpacking this package was stopped: it asked for more than a package may".to_owned(),
        };
        let mut lines = BufReader::new(report.take(4 * REPORT_LIMIT));
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = (&mut lines).take(REPORT_LIMIT).read_until(b'\n', &mut line).await;
            if !matches!(read, Ok(length) if length > 0) || line.last() != Some(&b'\n') {
                return Err(died());
            }
            match serde_json::from_slice(&line).map_err(|_| died())? {
                UnpackReport::Progress(progress) => {
                    self.broker.check_room(0)?;
                    let stage = match progress.stage {
                        Stage::Verify => "verifying",
                        Stage::Unpack | Stage::Sync => "unpacking",
                    };
                    self.tell(stage, progress.done, Some(progress.total));
                }
                UnpackReport::Done(info) => return Ok(*info),
                UnpackReport::Failed { code, message } => {
                    return Err(if code == "disk-full" {
                        Problem::DiskFull
                    } else {
                        Problem::BadPackage {
                            reason: code,
                            message,
                        }
                    });
                }
            }
        }
    }

    /// Tells the shell how far it is: every change of stage, and between them ten times a second at most.
    fn tell(&self, stage: &'static str, done: u64, total: Option<u64>) {
        let now = Instant::now();
        let (last_stage, last) = self.last_told.get();
        if last_stage == stage && last.is_some_and(|last| now.duration_since(last) < TELL_PAUSE) {
            return;
        }
        self.last_told.set((stage, Some(now)));
        let event =
            json!({"type": "upload", "uploadId": self.name, "stage": stage, "done": done, "total": total});
        self.broker.events.tell(&self.who.account, &event);
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if !self.finished.get() {
            tree::remove_in_background(self.folder.clone());
        }
    }
}

/// A worker that does not outlive the interest in its work.
pub(crate) struct Worker(pub OwnedFd);

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = rustix::process::pidfd_send_signal(&self.0, rustix::process::Signal::KILL);
    }
}
