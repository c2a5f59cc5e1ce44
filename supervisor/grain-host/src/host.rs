//! Starts everything a grain host does, and waits for the first thing that ends it.

use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use capnp::ErrorKind;
use percloud_schemas::host_capnp::host_keeper;
use tokio::net::UnixStream;
use tokio::task::{JoinError, LocalSet, spawn_blocking};
use tokio::time::{sleep, timeout};

use crate::app::{Exit, Process, kill};
use crate::config::{Config, Ended, Limit};
use crate::log::{Log, Reader};
use crate::membrane::Realm;
use crate::platform::WakeLocks;
use crate::share::{self, Share};
use crate::wired::{Ends, Wired};

/// How long a killed app may take to be gone. The kernel needs longer only when a disk hangs.
const DEATH: Duration = Duration::from_secs(5);
/// How long the broker may take to hear that a grain has ended.
const REPORT: Duration = Duration::from_secs(2);
/// How long it may take to find out what the grain has come to take. The broker, having asked for an end, waits for a second
/// in all.
const LAST_WALK: Duration = Duration::from_millis(500);
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
            ended = share.keep(&self.wired.concerned, &self.wired.rest, &keeper) => (ended, true),
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
            share,
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
            report(&keeper, &share, &ended).await;
        }
        broker_link.abort();
        ended
    }
}

/// Tells the broker how the grain ended, and what it took when that was found out last; then what it has come to take, if
/// that is soon known.
async fn report(keeper: &host_keeper::Client, share: &Share, ended: &Ended) {
    let mut exit = keeper.report_exit_request();
    exit.get().set_reason(&ended.reason);
    exit.get().set_asked(ended.asked);
    exit.get().set_limit(share::wire(ended.limit));
    let exit = exit.send().promise;
    // Beside it, and no condition for it: whether the app may write when it starts again is told from the size.
    let size = async {
        if let Some(usage) = share.last() {
            let _unheard = share::report_size(keeper, usage).await;
        }
    };
    // A broker that does not listen learns of the end from the connection.
    let Ok((Ok(_), ())) = timeout(REPORT, futures::future::join(exit, size)).await else {
        return;
    };
    let walk = async {
        if let Some(usage) = share.measure_anew().await {
            let _unheard = share::report_size(keeper, usage).await;
        }
    };
    let _slow = timeout(LAST_WALK, walk).await;
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
    use std::cell::RefCell;
    use std::path::{Path, PathBuf};
    use std::sync::mpsc;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::config::Storage;
    use crate::tests::rig::with_grain;

    /// Hears how a grain ends, and puts a file into its folder then.
    struct Book {
        told: Rc<RefCell<Vec<String>>>,
        folder: PathBuf,
        takes_sizes: bool,
    }

    impl host_keeper::Server for Book {
        async fn report_size(
            self: Rc<Self>,
            params: host_keeper::ReportSizeParams,
            _: host_keeper::ReportSizeResults,
        ) -> Result<(), capnp::Error> {
            if !self.takes_sizes {
                return Err(capnp::Error::overloaded(
                    "there is no room in the book".to_owned(),
                ));
            }
            let files = params.get()?.get_files();
            self.told.borrow_mut().push(format!("{files} files"));
            Ok(())
        }

        async fn report_exit(
            self: Rc<Self>,
            params: host_keeper::ReportExitParams,
            _: host_keeper::ReportExitResults,
        ) -> Result<(), capnp::Error> {
            let reason = params.get()?.get_reason()?.to_string()?;
            self.told.borrow_mut().push(reason);
            std::fs::write(self.folder.join("late"), "").unwrap();
            Ok(())
        }
    }

    /// What is told of an end, `slow` where the disk is from then on, and how long that takes.
    fn end_of(folder: &Path, takes_sizes: bool, slow: bool) -> (Vec<String>, Duration) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(1)
            .build()
            .unwrap();
        LocalSet::new().block_on(&runtime, async {
            let told = Rc::<RefCell<Vec<String>>>::default();
            let keeper: host_keeper::Client = capnp_rpc::new_client(Book {
                told: Rc::clone(&told),
                folder: folder.to_owned(),
                takes_sizes,
            });
            let (words, _said) = std::io::pipe().unwrap();
            let (log, _reader) = Log::open(folder, words.into(), &crate::Limits::default()).unwrap();
            std::fs::write(folder.join("heap"), "").unwrap();
            let storage = Storage {
                bytes: u64::MAX,
                files: 1,
                is_full: false,
            };
            let share = Share::new(folder.to_owned(), None, storage, log);
            share.measure().await.unwrap();
            let (go_on, hold) = mpsc::channel::<()>();
            if slow {
                // The only thread that could walk.
                spawn_blocking(move || hold.recv());
            }
            let begun = Instant::now();
            report(&keeper, &share, &unasked("too many files")).await;
            let took = begun.elapsed();
            drop(go_on);
            (told.take(), took)
        })
    }

    /// Files there are from the beginning.
    fn files() -> u64 {
        let folder = tempfile::tempdir().unwrap();
        let (told, _) = end_of(folder.path(), true, true);
        told[1].split_once(' ').unwrap().0.parse().unwrap()
    }

    #[test]
    fn the_end_is_told_with_what_is_known_and_the_last_walk_follows() {
        let folder = tempfile::tempdir().unwrap();
        let files = files();
        let (told, _) = end_of(folder.path(), true, false);
        let last = files + 1;
        assert_eq!(
            told,
            [
                "too many files".to_owned(),
                format!("{files} files"),
                format!("{last} files")
            ]
        );
    }

    #[test]
    fn a_slow_disk_delays_no_end() {
        let folder = tempfile::tempdir().unwrap();
        let (told, took) = end_of(folder.path(), true, true);
        assert_eq!(told.len(), 2, "{told:?}");
        assert_eq!(told[0], "too many files");
        assert!(took < REPORT, "the broker waits for a second, {took:?}");
    }

    #[test]
    fn a_size_that_is_refused_is_no_reason_not_to_tell_of_the_end() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(end_of(folder.path(), false, false).0, ["too many files"]);
    }

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
