//! Starts everything a grain host does, and waits for the first thing that ends it.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use capnp::ErrorKind;
use tokio::net::UnixStream;
use tokio::task::{JoinError, LocalSet, spawn_blocking};
use tokio::time::{sleep, timeout};

use crate::app::{Exit, Process, kill};
use crate::config::{Config, Ended, Limit};
use crate::log::{Log, Reader};
use crate::membrane::Realm;
use crate::platform::WakeLocks;
use crate::share::{self, Share};
use crate::usage;
use crate::wired::{Ends, Wired};

/// How long a killed app may take to be gone. The kernel needs longer only when a disk hangs.
const DEATH: Duration = Duration::from_secs(5);
/// How long the broker may take to hear that a grain has ended.
const REPORT: Duration = Duration::from_secs(2);
/// Threads that wait for the disk need no more.
const STACK: usize = 256 << 10;

/// Serves one running app until it ends, nobody uses it any more, or the broker says so or is gone.
///
/// Meant for a freshly forked, single-threaded process: builds its own runtime. Never returns before the app is dead;
/// the broker has been told why, if it could be reached.
pub fn run(config: Config) -> Ended {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(2)
        .thread_stack_size(STACK)
        .thread_keep_alive(Duration::from_secs(1))
        .build();
    match runtime {
        Ok(runtime) => {
            let ended = LocalSet::new().block_on(&runtime, serve(config));
            // A walk through a hanging disk must not keep us.
            runtime.shutdown_background();
            ended
        }
        Err(error) => {
            kill(&config.app.pidfd);
            Ended {
                reason: format!("the grain's host could not be started: {error}"),
                asked: false,
                limit: None,
            }
        }
    }
}

async fn serve(config: Config) -> Ended {
    // Until the process is watched, its descriptor is what kills it.
    let pidfd = config.app.pidfd.try_clone();
    match Host::start(config) {
        Ok(host) => host.serve().await,
        Err(error) => {
            if let Ok(pidfd) = pidfd {
                kill(pidfd);
            }
            Ended {
                reason: format!("the grain's host could not be started: {error}"),
                asked: false,
                limit: None,
            }
        }
    }
}

/// Everything that runs for one app.
struct Host {
    process: Process,
    log: Log,
    reader: Reader,
    wired: Wired,
    share: Rc<Share>,
    grain_dir: PathBuf,
    idle: Duration,
    rest: Duration,
    farewell: Duration,
}

impl Host {
    fn start(config: Config) -> std::io::Result<Self> {
        let Config {
            grain_dir,
            door,
            broker,
            app,
            storage,
            idle,
            rest,
            limits,
            clock,
        } = config;
        let process = Process::new(app.pidfd)?;
        let (log, reader) = Log::open(&grain_dir, app.log, &limits)?;
        let share = Rc::new(Share::new(grain_dir.clone(), app.group, storage, log.clone()));
        let farewell = limits.farewell;
        let grain = grain_dir.file_name().unwrap_or_default().to_string_lossy();
        let wired = Wired::start(Ends {
            grain: grain.into_owned(),
            rpc: adopt(app.rpc)?,
            broker: adopt(broker)?,
            door,
            log: log.clone(),
            share: Rc::clone(&share),
            refused: app.refused,
            freezer: app.freezer.map(|freezer| freezer as _),
            limits,
            clock,
        });
        Ok(Self {
            process,
            log,
            reader,
            wired,
            share,
            grain_dir,
            idle,
            rest,
            farewell,
        })
    }

    async fn serve(mut self) -> Ended {
        let mut last = Exit::Unknown;
        let keeper = self.wired.keeper.clone();
        let share = Rc::clone(&self.share);
        let (ended, broker_is_there) = tokio::select! {
            exit = self.process.wait() => {
                last = exit;
                (unasked(exit), true)
            }
            ended = &mut self.wired.app_link => (self.after_app_link(ended, &mut last).await, true),
            _ended = &mut self.wired.broker_link => (unasked("the broker is gone"), false),
            ended = &mut self.wired.door => (unasked(door_text(ended)), true),
            Ok(ended) = &mut self.wired.end => (ended, true),
            failure = self.wired.rest.keep(&self.wired.concerned, self.rest) => (unasked(failure), true),
            () = nobody_uses(&self.wired.realm, &self.wired.wake, self.idle) => {
                let reason = "nobody used the grain for a while".to_owned();
                (Ended { reason, asked: true, limit: None }, true)
            }
            ended = share.keep(&self.wired.concerned, &keeper) => (ended, true),
        };
        let ended = match self.share.explains(last) {
            Some((limit, reason)) if !ended.asked && ended.limit.is_none() => Ended {
                reason: reason.to_owned(),
                asked: false,
                limit: Some(limit),
            },
            _ => ended,
        };
        self.finish(ended, broker_is_there).await
    }

    /// Why the connection to the app ended. Gives an app that closed it a moment to exit by itself.
    async fn after_app_link(
        &self,
        ended: Result<Result<(), capnp::Error>, JoinError>,
        last: &mut Exit,
    ) -> Ended {
        unasked(match ended {
            Ok(Ok(())) => match timeout(self.farewell, self.process.wait()).await {
                Ok(exit) => {
                    *last = exit;
                    exit.to_string()
                }
                Err(_) => "the app closed its connection and did not exit".to_owned(),
            },
            Ok(Err(error)) => {
                let reason = format!("the app broke the rules of its connection: {}", error.extra);
                return Ended {
                    reason,
                    asked: false,
                    limit: (error.kind == ErrorKind::Overloaded).then_some(Limit::Calls),
                };
            }
            // capnp-rpc takes some impossible messages for bugs of ours.
            Err(_) => "the app broke the rules of its connection".to_owned(),
        })
    }

    /// Kills what is left, has the last words written and tells the broker.
    async fn finish(self, ended: Ended, broker_is_there: bool) -> Ended {
        let Self {
            process,
            log,
            reader,
            wired,
            grain_dir,
            ..
        } = self;
        let Wired {
            keeper,
            app_link,
            broker_link,
            door,
            watch,
            ..
        } = wired;
        watch.abort();
        door.abort();
        app_link.abort();
        process.kill();
        if timeout(DEATH, process.wait()).await.is_err() {
            log.line("the app does not die; the kernel may be waiting for a disk");
        }
        let _last_words = timeout(REPORT, spawn_blocking(move || reader.finish())).await;
        log.line(&ended.reason);
        if broker_is_there {
            let report = async {
                if let Some(usage) = usage::measure(grain_dir).await {
                    share::report_size(&keeper, usage).await?;
                }
                let mut request = keeper.report_exit_request();
                request.get().set_reason(&ended.reason);
                request.get().set_asked(ended.asked);
                request.get().set_limit(share::wire(ended.limit));
                request.send().promise.await.map(drop)
            };
            // A broker that does not listen learns of the end from the connection.
            let _heard = timeout(REPORT, report).await;
        }
        broker_link.abort();
        ended
    }
}

fn adopt(socket: OwnedFd) -> std::io::Result<UnixStream> {
    let socket = std::os::unix::net::UnixStream::from(socket);
    socket.set_nonblocking(true)?;
    UnixStream::from_std(socket)
}

fn door_text(ended: Result<std::io::Result<()>, JoinError>) -> String {
    match ended {
        Ok(Err(error)) => format!("the grain's door cannot be kept open: {error}"),
        Ok(Ok(())) | Err(_) => "the grain's door closed".to_owned(),
    }
}

fn unasked(reason: impl ToString) -> Ended {
    Ended {
        reason: reason.to_string(),
        asked: false,
        limit: None,
    }
}

/// Returns when the grain was not used for a whole `idle`, looking that often (sheet 3.4). Being started counts as use,
/// and so does a call the app is working on; a wake lock keeps it too.
async fn nobody_uses(realm: &Realm, wake: &WakeLocks, idle: Duration) {
    let mut seen = None;
    loop {
        sleep(idle).await;
        let touches = Some(realm.touches());
        if seen == touches && realm.pending() == 0 && !wake.are_held() {
            return;
        }
        seen = touches;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;
    use crate::tests::rig::with_grain;

    #[test]
    fn a_wake_lock_keeps_a_grain_that_nobody_uses() {
        const IDLE: Duration = Duration::from_millis(20);
        with_grain(|grain| async move {
            let lock = {
                let answer = grain.api.stay_awake_request().send().promise.await;
                answer.unwrap().get().unwrap().get_handle().unwrap()
            };
            let (realm, wake) = (&grain.wired.realm, &grain.wired.wake);
            // Many times as long as it would live otherwise. Only its death would end this early.
            let lived = timeout(IDLE * 20, nobody_uses(realm, wake, IDLE)).await;
            assert!(lived.is_err(), "it lives");
            drop(lock);
            nobody_uses(realm, wake, IDLE).await;
            assert!(!wake.are_held());
        });
    }
}
