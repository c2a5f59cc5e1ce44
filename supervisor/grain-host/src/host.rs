//! Starts everything a grain host does, and waits for the first thing that ends it.

use std::cell::RefCell;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use capnp_rpc::rpc_twoparty_capnp::Side as VatSide;
use futures::channel::oneshot;
use percloud_schemas::host_capnp::{grain_host, host_keeper};
use tokio::net::UnixStream;
use tokio::task::{JoinError, JoinHandle, LocalSet, spawn_blocking, spawn_local};
use tokio::time::{sleep, timeout};

use crate::app::{App, Process, Sessions, kill};
use crate::broker::GrainHost;
use crate::config::{Config, Ended};
use crate::door;
use crate::link::{Gauge, Link};
use crate::log::{Log, Reader};
use crate::membrane::Realm;
use crate::platform;
use crate::usage::{self, Usage};

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
            }
        }
    }
}

type Connection = JoinHandle<Result<(), capnp::Error>>;

/// Everything that runs for one app.
struct Host {
    process: Process,
    realm: Realm,
    log: Log,
    reader: Reader,
    keeper: host_keeper::Client,
    app_link: Connection,
    broker_link: Connection,
    door: JoinHandle<std::io::Result<()>>,
    end: oneshot::Receiver<Ended>,
    grain_dir: PathBuf,
    idle: Duration,
    farewell: Duration,
}

impl Host {
    fn start(config: Config) -> std::io::Result<Self> {
        let Config {
            grain_dir,
            door,
            broker,
            app,
            idle,
            limits,
        } = config;
        let process = Process::new(app.pidfd)?;
        let (log, reader) = Log::open(&grain_dir, app.log, &limits)?;
        let realm = Realm::default();

        // What the app says goes to those at the door, and what they say to it: each side waits for the other.
        let to_app = Rc::new(Gauge::default());
        let to_door = Rc::new(Gauge::default());
        realm.refuse_when({
            let (to_app, most) = (Rc::clone(&to_app), limits.queued_bytes);
            move || to_app.bytes() > most
        });

        let bounds = crate::link::bounds(&limits, to_app, Some(Rc::clone(&to_door)));
        let mut link = Link::new(
            adopt(app.rpc)?,
            VatSide::Server,
            bounds,
            Some(platform::sandstorm_api()),
        );
        let view = Rc::new(App::new(link.bootstrap(), limits.clone(), log.clone()));
        let app_link = spawn_local(link.run());

        let sessions = Rc::new(Sessions::new(Rc::clone(&view), realm.clone()));
        let door = spawn_local(door::keep(door, Rc::clone(&sessions), limits.clone(), to_door));

        let (ender, end) = oneshot::channel();
        let face: grain_host::Client = capnp_rpc::new_client(GrainHost {
            app: view,
            sessions,
            realm: realm.clone(),
            membrane: realm.membrane(),
            log: log.clone(),
            limits: limits.clone(),
            refused: app.refused,
            end: RefCell::new(Some(ender)),
        });
        let bounds = crate::link::bounds(&limits, Rc::default(), None);
        let mut link = Link::new(adopt(broker)?, VatSide::Client, bounds, Some(face.client));
        let keeper = link.bootstrap();
        let broker_link = spawn_local(link.run());
        let farewell = limits.farewell;
        Ok(Self {
            process,
            realm,
            log,
            reader,
            keeper,
            app_link,
            broker_link,
            door,
            end,
            grain_dir,
            idle,
            farewell,
        })
    }

    async fn serve(mut self) -> Ended {
        let usage = spawn_local(report_usage(
            self.grain_dir.clone(),
            self.realm.clone(),
            self.idle,
            self.keeper.clone(),
        ));
        let (ended, broker_is_there) = tokio::select! {
            exit = self.process.wait() => (unasked(exit), true),
            ended = &mut self.app_link => (unasked(self.after_app_link(ended).await), true),
            _ended = &mut self.broker_link => (unasked("the broker is gone"), false),
            ended = &mut self.door => (unasked(door_text(ended)), true),
            Ok(ended) = &mut self.end => (ended, true),
            () = nobody_uses(&self.realm, self.idle) => {
                (Ended { reason: "nobody used the grain for a while".to_owned(), asked: true }, true)
            }
        };
        usage.abort();
        self.finish(ended, broker_is_there).await
    }

    /// Why the connection to the app ended. Gives an app that closed it a moment to exit by itself.
    async fn after_app_link(&self, ended: Result<Result<(), capnp::Error>, JoinError>) -> String {
        match ended {
            Ok(Ok(())) => match timeout(self.farewell, self.process.wait()).await {
                Ok(exit) => exit.to_string(),
                Err(_) => "the app closed its connection and did not exit".to_owned(),
            },
            Ok(Err(error)) => format!("the app broke the rules of its connection: {}", error.extra),
            // capnp-rpc takes some impossible messages for bugs of ours.
            Err(_) => "the app broke the rules of its connection".to_owned(),
        }
    }

    /// Kills what is left, has the last words written and tells the broker.
    async fn finish(self, ended: Ended, broker_is_there: bool) -> Ended {
        let Self {
            process,
            log,
            reader,
            keeper,
            app_link,
            broker_link,
            door,
            grain_dir,
            ..
        } = self;
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
                if let Some(Usage { bytes, .. }) = usage::measure(grain_dir).await {
                    report_size(&keeper, bytes).await?;
                }
                let mut request = keeper.report_exit_request();
                request.get().set_reason(&ended.reason);
                request.get().set_asked(ended.asked);
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
    }
}

/// Returns when the grain was not used for a whole `idle`, looking that often (sheet 3.4). Being started counts as use,
/// and so does a call the app is working on.
async fn nobody_uses(realm: &Realm, idle: Duration) {
    let mut seen = None;
    loop {
        sleep(idle).await;
        let touches = Some(realm.touches());
        // Wake locks will be looked at here, last, as an app that is used needs none.
        if seen == touches && realm.pending() == 0 {
            return;
        }
        seen = touches;
    }
}

/// Reports how much of the disk the grain takes, when that changed: soon after it was used, and once per `idle`, since
/// an app may also write by itself.
async fn report_usage(dir: PathBuf, realm: Realm, idle: Duration, keeper: host_keeper::Client) {
    let mut reported = None;
    loop {
        let touches = realm.touches();
        let mut pause = usage::PAUSE;
        if let Some(usage) = usage::measure(dir.clone()).await {
            pause = usage.pause;
            if reported != Some(usage.bytes) && report_size(&keeper, usage.bytes).await.is_ok() {
                reported = Some(usage.bytes);
            }
        }
        sleep(pause).await;
        if realm.pending() == 0 {
            // Nobody is woken for a grain that is not used.
            let _used = timeout(idle, realm.touched(touches)).await;
        }
    }
}

async fn report_size(keeper: &host_keeper::Client, bytes: u64) -> Result<(), capnp::Error> {
    let mut request = keeper.report_size_request();
    request.get().set_bytes(bytes);
    request.send().promise.await.map(drop)
}
