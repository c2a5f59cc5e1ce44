//! The launcher, and what the processes it forks do.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use percloud_broker::{AdjustReport, UnpackReport};
use percloud_sandbox::cgroup::Cgroup;
use percloud_sandbox::confine::{self, WorkerLimits};
use percloud_sandbox::launcher::{self, Request, Task};
use percloud_sandbox::refused::Recorder;
use percloud_sandbox::{App, Policy, SandboxSpec, StartError, process};
use percloud_spk::install;
use serde::{Deserialize, Serialize};

use crate::backup_workers::{self, BackupJob, FreezeJob, RestoreJob};
use crate::failed_start;

/// The number under which the launcher finds its control socket.
pub const CONTROL_FD: i32 = 3;

/// What a grain host is told beside the sandbox to build.
#[derive(Debug, Serialize, Deserialize)]
pub struct HostJob {
    pub grain: PathBuf,
    pub idle: Duration,
    pub rest: Duration,
    pub storage: Storage,
}

/// What a grain's storage may take; see [`percloud_grain_host::Storage`].
#[derive(Debug, Serialize, Deserialize)]
pub struct Storage {
    pub bytes: u64,
    pub files: u64,
    pub is_full: bool,
}

/// What a running app may take from now on.
#[derive(Debug, Serialize, Deserialize)]
pub struct AdjustJob {
    pub host: u32,
    pub limits: percloud_sandbox::Limits,
}

/// What a worker is to do.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Job {
    /// Check and unpack a package.
    Unpack(UnpackJob),
    /// Write the backup of a grain.
    #[serde(rename = "pack-backup")]
    Backup(BackupJob),
    /// Check and unpack a backup.
    #[serde(rename = "restore-backup")]
    Restore(RestoreJob),
    /// Hold the app of a running grain still.
    Freeze(FreezeJob),
    /// Change what the app of a running grain may take.
    Adjust(AdjustJob),
    /// Say what is weaker on this machine than it should be.
    Weaknesses,
}

/// What an unpack worker is told.
#[derive(Debug, Serialize, Deserialize)]
pub struct UnpackJob {
    pub spk: PathBuf,
    pub into: PathBuf,
}

/// Address space of a worker, in bytes. The allocator reserves addresses by the gibibyte, long before it uses them; what a
/// worker really needs is an xz dictionary, which the format's library bounds.
pub const WORKER_MEMORY: u64 = 4 << 30;
/// How far a grain host stands behind the broker, the edge and the egress (setpriority(2)).
const HOST_NICE: i32 = 4;
/// Processor time of a worker, in seconds; a gibibyte takes about a fifth of it.
const WORKER_SECONDS: u64 = 300;
/// Longest file a worker writes, in bytes: the format's own limit on a whole archive (sheet 1.1), and its table.
const WORKER_FILE: u64 = (1 << 30) + (64 << 20);

/// Grain hosts that wait, with most of a sandbox made: a page with a few grains opens from these, and an idle server pays
/// about 0.6 MB for each.
const AHEAD: usize = 4;

/// Serves requests until the broker is gone. Must be reached before anything starts a thread: it forks.
pub fn run(options: &crate::cli::Launcher) -> Result<ExitCode, Box<dyn Error>> {
    let control = process::take(CONTROL_FD)?;
    confine::launcher(options.recording)?;
    #[cfg(feature = "hostile")]
    percloud_sandbox::hostile::act("launcher");
    launcher::serve(control, AHEAD, child)
}

/// The life of a forked child; returns its exit code.
fn child(request: Request) -> i32 {
    let Request { task, fds } = request;
    let outcome = match task {
        Task::Grain { sandbox, app, host } => grain(&sandbox, app, host, fds),
        Task::Worker { job } => work(job, fds),
    };
    match outcome {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("percloud: {error}");
            1
        }
    }
}

fn grain(
    sandbox: &SandboxSpec,
    app: Result<App, StartError>,
    host: serde_json::Value,
    fds: Vec<OwnedFd>,
) -> Result<(), Box<dyn Error>> {
    let host: HostJob = serde_json::from_value(host)?;
    let [broker, door]: [OwnedFd; 2] = fds.try_into().map_err(|_| "a grain host needs two descriptors")?;
    let broker = UnixStream::from(broker);
    let App {
        pidfd,
        rpc,
        log,
        refused,
        mut cgroup,
        warnings,
        ..
    } = match app {
        Ok(app) => app,
        Err(error) => {
            let reason = format!("the app could not be started: {}", explain(&error));
            return failed_start::report(broker, &reason);
        }
    };
    for warning in warnings {
        eprintln!("percloud: {warning}");
    }
    let group = cgroup.as_ref().map(|group| counted(group, &sandbox.limits));
    // Grain hosts work for one grain each; what serves everybody comes first. Failing that, nothing is lost.
    let _ = rustix::process::setpriority_process(None, HOST_NICE);
    // The app runs; from here on its bytes come in, and what this process could do beyond its grain goes.
    confine::grain_host(&host.grain)?;
    #[cfg(feature = "hostile")]
    percloud_sandbox::hostile::act("grain-host");
    let config = percloud_grain_host::Config {
        grain_dir: host.grain,
        door: UnixListener::from(door),
        broker: broker.into(),
        app: percloud_grain_host::AppHandles {
            rpc,
            log,
            pidfd,
            refused: refused.map(|listener| record(listener, sandbox.policy)),
            group,
            freezer: cgroup
                .as_mut()
                .and_then(percloud_sandbox::cgroup::Cgroup::freezer)
                .map(|freezer| Box::new(Still(freezer)) as Box<dyn percloud_grain_host::Freezer + Send>),
        },
        storage: percloud_grain_host::Storage {
            bytes: host.storage.bytes,
            files: host.storage.files,
            is_full: host.storage.is_full,
        },
        idle: host.idle,
        rest: host.rest,
        limits: percloud_grain_host::Limits::default(),
        clock: clock(),
    };
    percloud_grain_host::run(config);
    if let Some(cgroup) = cgroup {
        cgroup.remove();
    }
    Ok(())
}

/// What holds an app still, as its host knows it.
struct Still(percloud_sandbox::cgroup::Freezer);

impl percloud_grain_host::Freezer for Still {
    fn freeze(&self) -> io::Result<()> {
        self.0.freeze()
    }

    fn thaw(&self) -> io::Result<()> {
        self.0.thaw()
    }

    fn is_frozen(&self) -> io::Result<bool> {
        self.0.is_frozen()
    }

    fn processor_time(&self) -> io::Result<Duration> {
        self.0.processor_time()
    }

    fn memory(&self) -> io::Result<u64> {
        self.0.memory()
    }
}

/// The clock of grain hosts: apps ask for things at a certain time.
#[expect(
    clippy::disallowed_methods,
    reason = "this is where a host's clock is brought in"
)]
fn clock() -> fn() -> SystemTime {
    SystemTime::now
}

/// Answers and counts refused system calls on a thread of their own; returns what tells them.
fn record(
    listener: OwnedFd,
    policy: Policy,
) -> Box<dyn Fn() -> Vec<percloud_grain_host::RefusedSyscall> + Send> {
    let calls = Arc::new(Mutex::new(BTreeMap::new()));
    let counted = calls.clone();
    std::thread::spawn(move || {
        for refused in Recorder::new(listener, policy) {
            let call = percloud_grain_host::RefusedSyscall {
                number: refused.number.unsigned_abs(),
                name: refused.name.to_owned(),
                count: u32::try_from(refused.count).unwrap_or(u32::MAX),
            };
            counted
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(call.number, call);
        }
    });
    Box::new(move || {
        calls
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .cloned()
            .collect()
    })
}

/// An error with its causes, as one line.
pub fn explain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

fn work(job: serde_json::Value, fds: Vec<OwnedFd>) -> Result<(), Box<dyn Error>> {
    let mut fds = fds.into_iter();
    let report = UnixStream::from(fds.next().ok_or("a worker needs a descriptor to report to")?);
    match (serde_json::from_value(job)?, fds.next(), fds.next()) {
        (Job::Backup(job), Some(out), None) => backup_workers::pack(&job, out, report),
        (Job::Unpack(job), None, None) => unpack(&job, report),
        (Job::Restore(job), None, None) => backup_workers::restore(&job, report),
        (Job::Freeze(job), None, None) => backup_workers::freeze(&job, report),
        (Job::Adjust(job), None, None) => adjust(&job, report),
        (Job::Weaknesses, None, None) => Ok(serde_json::to_writer(report, &percloud_sandbox::weaknesses())?),
        _ => Err("this worker needs another number of descriptors".into()),
    }
}

/// Needs the right to control groups and reads nothing anybody wrote, so nothing is taken from it.
fn adjust(job: &AdjustJob, mut report: UnixStream) -> Result<(), Box<dyn Error>> {
    let told = match percloud_sandbox::cgroup::adjust(job.host, &job.limits) {
        Ok(()) => AdjustReport::Done,
        Err(error) => AdjustReport::Failed {
            message: explain(&error),
        },
    };
    let mut line = serde_json::to_vec(&told)?;
    line.push(b'\n');
    Ok(report.write_all(&line)?)
}

/// The app's group as its host reads it.
fn counted(group: &Cgroup, limits: &percloud_sandbox::Limits) -> percloud_grain_host::Group {
    let meter = Arc::new(group.meter());
    let told = meter.told().filter_map(|file| file.try_clone_to_owned().ok());
    percloud_grain_host::Group {
        told: told.collect(),
        open_files: Box::new({
            let meter = Arc::clone(&meter);
            move || meter.open_files()
        }),
        most_files: [limits.nofile_soft, limits.nofile_hard],
        read: Box::new(move || {
            let found = meter.read();
            percloud_grain_host::Reading {
                memory: found.memory,
                processes: found.processes,
                processor: found.processor,
                memory_kills: found.memory_kills,
                processes_refused: found.processes_refused,
            }
        }),
    }
}

fn unpack(job: &UnpackJob, report: UnixStream) -> Result<(), Box<dyn Error>> {
    let mut report = io::BufWriter::new(report);
    // Opened before the walls go up: from then on only the staging folder exists.
    let spk = File::open(&job.spk)?;
    confine::worker(&WorkerLimits {
        read: &[],
        write: std::slice::from_ref(&job.into),
        memory: WORKER_MEMORY,
        cpu_seconds: WORKER_SECONDS,
        file_size: WORKER_FILE,
    })?;
    #[cfg(feature = "hostile")]
    percloud_sandbox::hostile::act("unpack");
    let mut tell = |message: &UnpackReport| -> io::Result<()> {
        serde_json::to_writer(&mut report, message)?;
        report.write_all(b"\n")?;
        report.flush()
    };
    let outcome = install::check_and_unpack(spk, &job.into, |progress| {
        // Nobody left to tell is no reason to stop: the folder is taken away then.
        let _ = tell(&UnpackReport::Progress(progress));
    });
    let last = match outcome {
        Ok(info) => UnpackReport::Done(Box::new(info)),
        Err(error) => UnpackReport::Failed {
            code: error.code().to_owned(),
            message: explain(&error),
        },
    };
    tell(&last)?;
    Ok(())
}
