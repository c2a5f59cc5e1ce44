//! Brings the broker what it may not fetch itself: time, randomness, processes.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::FutureExt;
use futures::future::LocalBoxFuture;
use percloud_broker::{
    AdjustStart, BackupStart, Disk, FreezeStart, GrainLimits, GrainStart, HostProcess, LaunchError, Launcher,
    Limit, Memory, Outside, RestoreStart, UnpackStart,
};
use percloud_core::time::Timestamp;
use percloud_sandbox::launcher::{self, Client, Kind};
use percloud_sandbox::{Policy, SandboxSpec};
use rand::TryRngCore;
use rand::rngs::OsRng;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::backup_workers::{BackupJob, FreezeJob, RestoreJob};
use crate::doctor::proc;
use crate::launcher_role::{AdjustJob, HostJob, Job, Storage, UnpackJob};
use crate::processes::restarts::LONGEST;

/// Files of the kernel that the broker looks into again and again, opened before it is confined. By descriptor and not
/// by a rule for their paths: the kernel forgets which file it made for one when memory is short, and rules with it.
#[derive(Debug)]
pub struct Machine {
    memory: Option<File>,
    pressure: Option<File>,
}

impl Machine {
    /// Opens what there is.
    pub fn open() -> Self {
        Self {
            memory: File::open("/proc/meminfo").ok(),
            // Not on every kernel.
            pressure: File::open("/proc/pressure/memory").ok(),
        }
    }
}

/// The clock, the randomness and the launcher of a real server.
pub fn outside(launcher: LauncherHandle, machine: Machine) -> Outside {
    Outside {
        now: Rc::new(now),
        random: Rc::new(random),
        memory: Rc::new(move || memory(&machine)),
        disk: Rc::new(disk),
        launcher: Rc::new(launcher),
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "the wiring is where the clock comes from"
)]
fn now() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

fn random(bytes: &mut [u8]) {
    OsRng
        .try_fill_bytes(bytes)
        .expect("the kernel gives random bytes once it has booted");
}

/// What the kernel says of the machine's memory (proc(5), meminfo).
fn memory(machine: &Machine) -> Option<Memory> {
    let text = proc::read_again(machine.memory.as_ref()?).ok()?;
    let pressure = machine
        .pressure
        .as_ref()
        .and_then(|file| proc::read_again(file).ok());
    Some(Memory {
        total: proc::memory_line(&text, "MemTotal")?,
        available: proc::memory_line(&text, "MemAvailable")?,
        waiting: pressure.map_or(0, |text| proc::pressure(&text)),
    })
}

/// What the disk with `folder` has left for us (statvfs(3)).
fn disk(folder: &Path) -> Option<Disk> {
    let found = rustix::fs::statvfs(folder).ok()?;
    Some(Disk {
        total: found.f_blocks.saturating_mul(found.f_frsize),
        free: found.f_bavail.saturating_mul(found.f_frsize),
    })
}

/// What the sandbox makes of what a grain may take.
fn limits(limits: &GrainLimits) -> percloud_sandbox::Limits {
    percloud_sandbox::Limits {
        memory: limits.memory,
        swap: limits.memory / 4,
        pids: u32::try_from(limits.processes).unwrap_or(u32::MAX),
        file_bytes: limits.disk,
        ..Default::default()
    }
}

/// How long a request waits for the launcher after one that has ended: until it is there, if it can be started.
const PATIENCE: Duration = LONGEST.saturating_add(Duration::from_secs(3));

/// The launcher as the broker sees it. The process behind it may be replaced when it dies; who asks meanwhile waits.
#[derive(Clone)]
pub struct LauncherHandle {
    client: Arc<Mutex<Client>>,
    /// Changes with each launcher.
    replaced: Rc<watch::Sender<()>>,
    idle: Duration,
    rest: Duration,
}

impl LauncherHandle {
    /// Wraps the control connection of a launcher.
    pub fn new(client: Client, idle: Duration, rest: Duration) -> Self {
        Self {
            client: Arc::new(Mutex::new(client)),
            replaced: Rc::new(watch::Sender::new(())),
            idle,
            rest,
        }
    }

    /// Uses another launcher from now on.
    pub fn replace(&self, client: Client) {
        *self.client.lock().unwrap_or_else(PoisonError::into_inner) = client;
        self.replaced.send_replace(());
    }

    /// Asks the launcher for a process; the answer takes about a millisecond, spent off the broker's thread.
    fn request(
        &self,
        kind: Kind,
        fds: Vec<OwnedFd>,
    ) -> LocalBoxFuture<'static, Result<HostProcess, LaunchError>> {
        let client = self.client.clone();
        let mut replaced = self.replaced.subscribe();
        let asked = Arc::new((kind, fds));
        async move {
            let deadline = Instant::now() + PATIENCE;
            loop {
                match ask(client.clone(), asked.clone()).await {
                    Err(launcher::LaunchError::Gone)
                        if matches!(timeout_at(deadline, replaced.changed()).await, Ok(Ok(()))) => {}
                    answer => return answer.map_err(|error| LaunchError(error.to_string())),
                }
            }
        }
        .boxed_local()
    }

    /// Has the launcher start a worker.
    pub fn work(
        &self,
        job: &Job,
        fds: Vec<OwnedFd>,
    ) -> LocalBoxFuture<'static, Result<HostProcess, LaunchError>> {
        let job = serde_json::to_value(job).expect("plain data becomes JSON");
        self.request(Kind::Worker { job }, fds)
    }
}

/// Asks whoever is the launcher now.
async fn ask(
    client: Arc<Mutex<Client>>,
    asked: Arc<(Kind, Vec<OwnedFd>)>,
) -> Result<HostProcess, launcher::LaunchError> {
    let answer = tokio::task::spawn_blocking(move || {
        let (kind, fds) = &*asked;
        let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
        client
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .request(kind, &fds)
    });
    let started = answer
        .await
        .map_err(|error| launcher::LaunchError::Failed(error.to_string()))??;
    Ok(HostProcess {
        pid: started.pid.unsigned_abs(),
        pidfd: started.pidfd,
    })
}

impl Launcher for LauncherHandle {
    fn start_grain(&self, start: GrainStart) -> LocalBoxFuture<'static, Result<HostProcess, LaunchError>> {
        let sandbox = SandboxSpec {
            environ: start.environ,
            policy: if start.native {
                Policy::Native
            } else {
                // What packages were tested against.
                Policy::Sandstorm
            },
            loopback: start.loopback,
            record_refused: start.record_refused,
            limits: limits(&start.limits),
            full: start.full.is_some(),
            ..SandboxSpec::new(start.package, start.grain.join("sandbox"), start.argv)
        };
        let host = HostJob {
            grain: start.grain,
            idle: self.idle,
            rest: self.rest,
            storage: Storage {
                bytes: start.limits.disk,
                files: start.limits.files,
                is_full: start.full.is_some_and(|limit| limit != Limit::ServerDisk),
            },
        };
        let host = serde_json::to_value(host).expect("plain data becomes JSON");
        self.request(
            Kind::Grain {
                sandbox: Box::new(sandbox),
                host,
            },
            vec![start.broker.into(), start.door.into()],
        )
    }

    fn start_unpack(&self, start: UnpackStart) -> LocalBoxFuture<'static, Result<HostProcess, LaunchError>> {
        let job = Job::Unpack(UnpackJob {
            spk: start.spk,
            into: start.into,
        });
        self.work(&job, vec![start.report])
    }

    fn start_backup(&self, start: BackupStart) -> LocalBoxFuture<'static, Result<HostProcess, LaunchError>> {
        let job = Job::Backup(BackupJob {
            grain: start.grain,
            info: start.info,
            limits: start.limits,
        });
        self.work(&job, vec![start.report, start.out])
    }

    fn start_restore(
        &self,
        start: RestoreStart,
    ) -> LocalBoxFuture<'static, Result<HostProcess, LaunchError>> {
        let job = Job::Restore(RestoreJob {
            zip: start.zip,
            into: start.into,
            limits: start.limits,
        });
        self.work(&job, vec![start.report])
    }

    fn start_adjust(&self, start: AdjustStart) -> LocalBoxFuture<'static, Result<HostProcess, LaunchError>> {
        let job = Job::Adjust(AdjustJob {
            host: start.host,
            limits: limits(&start.limits),
        });
        self.work(&job, vec![start.report.into()])
    }

    fn start_freeze(&self, start: FreezeStart) -> LocalBoxFuture<'static, Result<HostProcess, LaunchError>> {
        let job = Job::Freeze(FreezeJob { host: start.host });
        self.work(&job, vec![start.report.into()])
    }
}
