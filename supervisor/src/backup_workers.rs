//! The workers of backups: one writes an archive, one reads one, one holds an app still meanwhile.

use std::error::Error;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use percloud_backup::{BackupError, GrainInfo, Limits};
use percloud_broker::{BackupReport, FreezeReport, RestoreReport};
use percloud_sandbox::cgroup;
use percloud_sandbox::confine::{self, WorkerLimits};
use serde::{Deserialize, Serialize};

use crate::launcher_role::{WORKER_MEMORY, explain};

/// Processor time of a worker, in seconds: 64 GiB, the default of [`Limits::bytes`], at 19 MB/s. A third of what a slow
/// core was measured to do.
const SECONDS: u64 = 3600;
/// Least time between two words on progress.
const PAUSE: Duration = Duration::from_millis(100);

/// What a worker that writes a backup is told.
#[derive(Debug, Serialize, Deserialize)]
pub struct BackupJob {
    pub grain: PathBuf,
    pub info: GrainInfo,
    pub limits: Limits,
}

/// What a worker that restores a backup is told.
#[derive(Debug, Serialize, Deserialize)]
pub struct RestoreJob {
    pub zip: PathBuf,
    pub into: PathBuf,
    pub limits: Limits,
}

/// What a process that holds an app still is told.
#[derive(Debug, Serialize, Deserialize)]
pub struct FreezeJob {
    /// Process id of the grain's host.
    pub host: u32,
}

/// Writes the backup of a grain to `out`.
pub fn pack(job: &BackupJob, out: OwnedFd, report: UnixStream) -> Result<(), Box<dyn Error>> {
    confine::worker(&WorkerLimits {
        read: std::slice::from_ref(&job.grain),
        write: &[],
        memory: WORKER_MEMORY,
        cpu_seconds: SECONDS,
        // An archive is hardly larger than what is in it, beside some room for each entry's name, twice.
        file_size: job.limits.bytes.saturating_mul(2).saturating_add(1 << 30),
    })?;
    #[cfg(feature = "hostile")]
    percloud_sandbox::hostile::act("pack-backup");
    let mut report = Report::new(report);
    let out = io::BufWriter::new(File::from(out));
    let outcome = percloud_backup::pack(&job.grain, &job.info, &job.limits, out, &mut |done| {
        report.progress(&BackupReport::Progress(done))
    });
    report.tell(&match outcome {
        Ok(packed) => BackupReport::Done(Box::new(packed)),
        Err(error) => {
            let (code, message) = failure(&error);
            BackupReport::Failed { code, message }
        }
    })?;
    Ok(())
}

/// Checks the backup and unpacks it.
pub fn restore(job: &RestoreJob, report: UnixStream) -> Result<(), Box<dyn Error>> {
    // Opened before the walls go up: from then on only the staging folder exists.
    let zip = File::open(&job.zip)?;
    confine::worker(&WorkerLimits {
        read: &[],
        write: std::slice::from_ref(&job.into),
        memory: WORKER_MEMORY,
        cpu_seconds: SECONDS,
        file_size: job.limits.bytes,
    })?;
    #[cfg(feature = "hostile")]
    percloud_sandbox::hostile::act("restore-backup");
    let mut report = Report::new(report);
    let outcome = percloud_backup::restore(zip, &job.into, &job.limits, &mut |done, total| {
        report.progress(&RestoreReport::Progress { done, total })
    });
    report.tell(&match outcome {
        Ok(restored) => RestoreReport::Done(Box::new(restored)),
        Err(error) => {
            let (code, message) = failure(&error);
            RestoreReport::Failed { code, message }
        }
    })?;
    Ok(())
}

/// Holds an app still until the connection closes. Reads nothing anybody wrote, and needs the right to control groups,
/// so nothing is taken from it.
pub fn freeze(job: &FreezeJob, report: UnixStream) -> Result<(), Box<dyn Error>> {
    let mut report = Report::new(report);
    match cgroup::freeze(job.host) {
        Ok(frozen) => {
            report.tell(&FreezeReport::Frozen)?;
            // An end, an error, a word nobody should say: whichever it is, the app goes on.
            let _ = report.to.read(&mut [0]);
            drop(frozen);
        }
        Err(error) => report.tell(&FreezeReport::Failed {
            message: explain(&error),
        })?,
    }
    Ok(())
}

fn failure(error: &BackupError) -> (String, String) {
    (error.code().to_owned(), explain(error))
}

/// Where a worker says what it does, a line each.
struct Report {
    to: UnixStream,
    last: Option<Instant>,
}

impl Report {
    fn new(to: UnixStream) -> Self {
        Self { to, last: None }
    }

    /// Tells how far it is, now and then. Fails when nobody is left to hear it, which ends the work.
    fn progress(&mut self, message: &impl Serialize) -> io::Result<()> {
        let now = Instant::now();
        if self.last.is_some_and(|last| now.duration_since(last) < PAUSE) {
            return Ok(());
        }
        self.last = Some(now);
        self.tell(message)
    }

    fn tell(&mut self, message: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(message)?;
        line.push(b'\n');
        self.to.write_all(&line)
    }
}
