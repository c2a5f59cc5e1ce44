//! What the broker needs from outside: time, randomness, processes. The executable brings them.

use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use futures::future::LocalBoxFuture;
use percloud_backup::{GrainInfo, Limits, Packed, Restored};
use percloud_core::secret::Secret;
use percloud_core::time::Timestamp;
use percloud_spk::install::{PackageInfo, Progress};
use serde::{Deserialize, Serialize};

use crate::limits::{Disk, GrainLimits, Limit};
use crate::warm::Memory;

/// Fills a buffer with random bytes.
pub type Random = Rc<dyn Fn(&mut [u8])>;

/// Tells how much room the disk with a folder has.
pub type Room = Rc<dyn Fn(&Path) -> Option<Disk>>;

/// Longest sleep before the clock is looked at again, in milliseconds.
const LOOK: u64 = 30_000;

/// The clock, the source of randomness and the launcher.
#[derive(Clone)]
pub struct Outside {
    /// Tells the time.
    pub now: Rc<dyn Fn() -> Timestamp>,
    /// Fills a buffer with random bytes of the operating system.
    pub random: Random,
    /// Tells how much memory the machine has and has left; `None` where it does not say.
    pub memory: Rc<dyn Fn() -> Option<Memory>>,
    /// Tells how much room the disk with a folder has; `None` where it does not say.
    pub disk: Room,
    /// Starts what runs in a process of its own.
    pub launcher: Rc<dyn Launcher>,
}

impl Outside {
    pub(crate) fn now(&self) -> Timestamp {
        (self.now)()
    }

    /// Waits until a moment has come; for ever when there is none.
    ///
    /// By the clock, not by how long that should take: a machine that slept meanwhile has another idea of it, and so has
    /// one whose clock was set. Such a change is noticed within [`LOOK`].
    pub(crate) async fn until(&self, moment: Option<Timestamp>) {
        let Some(moment) = moment else {
            return std::future::pending().await;
        };
        loop {
            let left = moment.0.saturating_sub(self.now().0);
            if left == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(left.min(LOOK))).await;
        }
    }

    pub(crate) fn secret(&self) -> Secret {
        Secret::new(|bytes| (self.random)(bytes))
    }
}

/// Starts grains and workers, each in its own sandboxed process.
pub trait Launcher {
    /// Starts the grain host of a grain, which starts the app.
    fn start_grain(&self, start: GrainStart) -> LocalBoxFuture<'static, Result<HostProcess, LaunchError>>;
    /// Starts a worker that checks and unpacks one package.
    fn start_unpack(&self, start: UnpackStart) -> LocalBoxFuture<'static, Result<HostProcess, LaunchError>>;
    /// Starts a worker that writes the backup of one grain.
    fn start_backup(&self, start: BackupStart) -> LocalBoxFuture<'static, Result<HostProcess, LaunchError>>;
    /// Starts a worker that checks and unpacks one backup.
    fn start_restore(&self, start: RestoreStart)
    -> LocalBoxFuture<'static, Result<HostProcess, LaunchError>>;
    /// Starts a process that holds the app of one running grain still, so that its storage can be read.
    fn start_freeze(&self, start: FreezeStart) -> LocalBoxFuture<'static, Result<HostProcess, LaunchError>>;
    /// Starts a process that changes what the app of one running grain may take.
    fn start_adjust(&self, start: AdjustStart) -> LocalBoxFuture<'static, Result<HostProcess, LaunchError>>;
}

/// Everything needed to start a grain; plain paths and descriptors, nothing of the store.
#[derive(Debug)]
pub struct GrainStart {
    /// The unpacked package, the app's read-only root.
    pub package: PathBuf,
    /// The grain's own folder: `sandbox/` is the app's `/var`, beside it the log.
    pub grain: PathBuf,
    /// What to execute and its arguments.
    pub argv: Vec<String>,
    /// The app's whole environment.
    pub environ: Vec<(String, String)>,
    /// What it may take.
    pub limits: GrainLimits,
    /// The limit it is above already: it may read and delete, and no more.
    pub full: Option<Limit>,
    /// Whether the app talks to itself over 127.0.0.1 (apps behind the HTTP bridge).
    pub loopback: bool,
    /// Whether the package was built for Percloud, whose apps are answered fewer system calls.
    pub native: bool,
    /// Whether to record what the kernel refuses the app.
    pub record_refused: bool,
    /// The connection between broker and grain host; this end goes to the host.
    pub broker: UnixStream,
    /// Where the edge will knock.
    pub door: UnixListener,
}

/// Everything needed to check and unpack a package.
#[derive(Debug)]
pub struct UnpackStart {
    /// The package as uploaded.
    pub spk: PathBuf,
    /// An existing empty folder to unpack into; the only place the worker may write.
    pub into: PathBuf,
    /// Where the worker writes its progress and its result, one JSON document a line.
    pub report: OwnedFd,
}

/// Everything needed to write the backup of a grain. The grain must be asleep and kept from starting, or stand still.
#[derive(Debug)]
pub struct BackupStart {
    /// The grain's own folder: `sandbox/` and the log. The only place the worker may read.
    pub grain: PathBuf,
    /// What the backup says of the grain.
    pub info: GrainInfo,
    /// What the backup may hold.
    pub limits: Limits,
    /// Where the worker writes the archive: a pipe, a socket or a file. It ends when the other end closes.
    pub out: OwnedFd,
    /// Where the worker writes its progress and its result, one JSON document a line. What arrived at `out` is an
    /// archive only if the last of them is [`BackupReport::Done`].
    pub report: OwnedFd,
}

/// Everything needed to check and unpack a backup.
#[derive(Debug)]
pub struct RestoreStart {
    /// The backup as uploaded.
    pub zip: PathBuf,
    /// An existing empty folder, which becomes that of the grain; the only place the worker may write.
    pub into: PathBuf,
    /// What the backup may hold.
    pub limits: Limits,
    /// Where the worker writes its progress and its result, one JSON document a line. It ends when the other end closes.
    pub report: OwnedFd,
}

/// Everything needed to hold the app of a running grain still.
#[derive(Debug)]
pub struct FreezeStart {
    /// The process id of its host, as [`HostProcess::pid`] said; the host must not have ended.
    pub host: u32,
    /// Where the process writes one [`FreezeReport`] as a line of JSON. The app goes on when the other end closes.
    pub report: UnixStream,
}

/// A process that was started.
#[derive(Debug)]
pub struct HostProcess {
    /// Its process id, for logs and figures only.
    pub pid: u32,
    /// Refers to the process for as long as it is kept.
    pub pidfd: OwnedFd,
}

/// Why a process could not be started.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct LaunchError(pub String);

/// What the worker that checks and unpacks a package reports, one JSON document a line; the last is an outcome.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UnpackReport {
    /// How far it is.
    Progress(Progress),
    /// The package is sound and lies unpacked in staging.
    Done(Box<PackageInfo>),
    /// The package is refused.
    Failed {
        /// A stable word for the reason.
        code: String,
        /// What was tried, on what, and what to do.
        message: String,
    },
}

/// What the worker that writes a backup reports, one JSON document a line; the last is an outcome.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BackupReport {
    /// How many bytes of the grain's files it has read.
    Progress(u64),
    /// The whole archive is written.
    Done(Box<Packed>),
    /// There is none.
    Failed {
        /// A stable word for the reason.
        code: String,
        /// What was tried, on what.
        message: String,
    },
}

/// What the worker that restores a backup reports, one JSON document a line; the last is an outcome.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestoreReport {
    /// How far it is.
    Progress {
        /// Bytes of the grain's files that are written.
        done: u64,
        /// Of how many.
        total: u64,
    },
    /// The backup is sound; the grain's storage lies in staging, on the disk.
    Done(Box<Restored>),
    /// The backup is refused.
    Failed {
        /// A stable word for the reason.
        code: String,
        /// Which entry, and what is wrong with it.
        message: String,
    },
}

/// Everything needed to change what a running app may take.
#[derive(Debug)]
pub struct AdjustStart {
    /// The process id of its grain host.
    pub host: u32,
    /// What it may take from now on.
    pub limits: GrainLimits,
    /// Where the process says what it did.
    pub report: UnixStream,
}

/// What became of changing what an app may take.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AdjustReport {
    /// It holds.
    Done,
    /// It holds from the next start on.
    Failed {
        /// Why.
        message: String,
    },
}

/// What became of holding an app still.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FreezeReport {
    /// It stands still until the connection closes.
    Frozen,
    /// It cannot be held, and goes on: stop it for the time instead.
    Failed {
        /// Why.
        message: String,
    },
}
