//! Use cases over a real store, with a clock the test sets and a launcher that plays the grain host in-process.

mod accounts;
mod grains;
mod pages;

use std::cell::{Cell, RefCell};
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::rc::Rc;

use capnp_rpc::RpcSystem;
use capnp_rpc::rpc_twoparty_capnp::Side;
use capnp_rpc::twoparty::VatNetwork;
use futures::FutureExt;
use futures::future::LocalBoxFuture;
use percloud_core::id::GrainId;
use percloud_core::secret::Secret;
use percloud_core::time::Timestamp;
use percloud_schemas::host_capnp::{grain_host, host_keeper};
use percloud_store::Batch;
use serde_json::json;
use tokio_util::compat::{TokioAsyncReadCompatExt, TokioAsyncWriteCompatExt};

use crate::account::SignedIn;
use crate::outside::{
    BackupStart, FreezeStart, GrainStart, HostProcess, LaunchError, Launcher, Outside, RestoreStart,
    UnpackStart,
};
use crate::record::{App, Package, app_key};
use crate::{Broker, Config, Layout};

/// What the played grain hosts saw and how they shall behave.
#[derive(Default)]
struct Stage {
    now: Cell<u64>,
    starts: RefCell<Vec<Vec<String>>>,
    admitted: RefCell<Vec<Vec<u8>>>,
    ended_sessions: Cell<u32>,
    /// Set to make the next starts fail with these words.
    broken: RefCell<Option<String>>,
}

struct World {
    broker: Rc<Broker>,
    stage: Rc<Stage>,
    secret: Option<Secret>,
    folder: tempfile::TempDir,
}

const PASSWORD: &str = "correct horse battery staple";

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::in_folder(folder)
    }

    fn in_folder(folder: tempfile::TempDir) -> Self {
        let stage = Rc::new(Stage::default());
        stage.now.set(1_700_000_000_000);
        let outside = Outside {
            now: Rc::new({
                let stage = stage.clone();
                move || Timestamp(stage.now.get())
            }),
            random: Rc::new(|bytes| rand::TryRngCore::try_fill_bytes(&mut rand::rngs::OsRng, bytes).unwrap()),
            launcher: Rc::new(Played { stage: stage.clone() }),
        };
        let config = Config {
            layout: Layout::new(folder.path().join("data"), folder.path().join("run")),
            base: ("http".into(), "percloud.localhost:6080".into()),
            record_refused: false,
            warnings: Vec::new(),
        };
        let (broker, secret) = Broker::start(config, outside).unwrap();
        Self {
            broker,
            stage,
            secret,
            folder,
        }
    }

    /// Lets the whole server go and starts it again on the same folder.
    fn restarted(self) -> Self {
        let Self { broker, folder, .. } = self;
        assert_eq!(Rc::strong_count(&broker), 1, "somebody still holds the broker");
        drop(broker);
        Self::in_folder(folder)
    }

    fn pass(&self, seconds: u64) {
        self.stage.now.set(self.stage.now.get() + seconds * 1000);
    }

    async fn owner(&self) -> SignedIn {
        let secret = self.secret.as_ref().unwrap().expose_hex();
        let body =
            json!({"secret": secret, "name": "Anna", "handle": "anna", "password": PASSWORD}).to_string();
        let (me, cookie) = self.broker.set_up(&body, "127.0.0.1").await.unwrap();
        assert_eq!(me, json!({"name": "Anna", "handle": "anna"}));
        self.broker.resume(cookie.expose()).unwrap()
    }

    /// An installed app, as an installation would leave it behind.
    async fn app(&self, who: &SignedIn) {
        let folder = self.broker.config.layout.package(PACKAGE);
        std::fs::create_dir_all(folder.join("tree")).unwrap();
        std::fs::write(folder.join("info.json"), info().to_string()).unwrap();
        let mut batch = Batch::new();
        let package = Package {
            app_id: APP.into(),
            app_version: 1,
            title: "Guestbook".into(),
            marketing_version: "1.0".into(),
            icon: None,
            installed: Timestamp(0),
        };
        batch.put(PACKAGE.as_bytes(), &package);
        batch.put(
            &app_key(&who.account, APP),
            &App {
                package_id: PACKAGE.into(),
                installed: Timestamp(0),
            },
        );
        self.broker.commit(batch).await.unwrap();
    }

    async fn grain(&self, who: &SignedIn) -> GrainId {
        let body = json!({"packageId": PACKAGE, "action": 0}).to_string();
        let view = self.broker.create_grain(who, &body).await.unwrap();
        view["id"].as_str().unwrap().parse().unwrap()
    }
}

const PACKAGE: &str = "b5bb9d8014a0f9b1d61e21e796d78dcc";
const APP: &str = "6r8gt8ct5e774489grqvzz7dc4fzntpxjrusdwcy329ppnkt3kuh";

fn info() -> serde_json::Value {
    let command =
        |word: &str| json!({"argv": ["/app", word], "environ": [{"key": "SANDSTORM", "value": "1"}]});
    json!({
        "packageId": PACKAGE, "appId": APP, "signer": APP, "size": 1, "unpackedSize": 2, "files": 1, "icons": [],
        "manifest": {
            "appTitle": {"defaultText": "Guestbook"},
            "appVersion": 1,
            "appMarketingVersion": {"defaultText": "1.0"},
            "actions": [
                {"index": 0, "inputNone": true, "nounPhrase": {"defaultText": "guestbook"}, "command": command("begin")},
                {"index": 1, "inputNone": false, "command": command("never")},
            ],
            "continueCommand": command("continue"),
            "metadata": {"license": {"kind": "none"}, "author": {"proof": "none"}},
            "usesBridge": false,
        },
    })
}

/// Plays the launcher: the grain host is a task, its process a sleeping child.
struct Played {
    stage: Rc<Stage>,
}

impl Launcher for Played {
    fn start_grain(&self, start: GrainStart) -> LocalBoxFuture<'static, Result<HostProcess, LaunchError>> {
        let stage = self.stage.clone();
        async move {
            stage.starts.borrow_mut().push(start.argv);
            #[allow(clippy::disallowed_methods, reason = "a test plays the launcher")]
            let child = Sleeper(
                std::process::Command::new("sleep")
                    .arg("1000")
                    .stdout(Stdio::null())
                    .stderr(Stdio::null())
                    .spawn()
                    .unwrap(),
            );
            let pid = rustix::process::Pid::from_child(&child.0);
            let pidfd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).unwrap();
            let (ended, end) = tokio::sync::oneshot::channel();
            play(
                start.broker,
                Host {
                    stage,
                    ended: RefCell::new(Some(ended)),
                    door: RefCell::new(Some(start.door)),
                },
            );
            tokio::task::spawn_local(async move {
                let _child = child;
                let _ = end.await;
            });
            Ok(HostProcess {
                pid: pid.as_raw_nonzero().get().unsigned_abs(),
                pidfd,
            })
        }
        .boxed_local()
    }

    fn start_unpack(&self, _: UnpackStart) -> LocalBoxFuture<'static, Result<HostProcess, LaunchError>> {
        async { Err(LaunchError("not played".into())) }.boxed_local()
    }

    fn start_backup(&self, _: BackupStart) -> LocalBoxFuture<'static, Result<HostProcess, LaunchError>> {
        async { Err(LaunchError("not played".into())) }.boxed_local()
    }

    fn start_restore(&self, _: RestoreStart) -> LocalBoxFuture<'static, Result<HostProcess, LaunchError>> {
        async { Err(LaunchError("not played".into())) }.boxed_local()
    }

    fn start_freeze(&self, _: FreezeStart) -> LocalBoxFuture<'static, Result<HostProcess, LaunchError>> {
        async { Err(LaunchError("not played".into())) }.boxed_local()
    }
}

/// A process that ends with its owner.
struct Sleeper(std::process::Child);

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn play(socket: UnixStream, host: Host) {
    socket.set_nonblocking(true).unwrap();
    let (reader, writer) = tokio::net::UnixStream::from_std(socket).unwrap().into_split();
    let network = VatNetwork::new(
        reader.compat(),
        writer.compat_write(),
        Side::Client,
        Default::default(),
    );
    let host = Rc::new(host);
    let client: grain_host::Client = capnp_rpc::new_client_from_rc(host.clone());
    let mut system = RpcSystem::new(Box::new(network), Some(client.client));
    let keeper: host_keeper::Client = system.bootstrap(Side::Server);
    let broken = host.stage.broken.borrow().clone();
    tokio::task::spawn_local(async move {
        if let Some(reason) = broken {
            // As a host does whose app could not be started: say why, then go.
            let mut request = keeper.report_exit_request();
            request.get().set_reason(&reason);
            let disconnector = system.get_disconnector();
            tokio::task::spawn_local(system);
            let _ = request.send().promise.await;
            let _ = disconnector.await;
        } else {
            let _ = system.await;
        }
        host.end();
    });
}

struct Host {
    stage: Rc<Stage>,
    ended: RefCell<Option<tokio::sync::oneshot::Sender<()>>>,
    /// Held so that the socket exists for as long as the host does.
    door: RefCell<Option<std::os::unix::net::UnixListener>>,
}

impl Host {
    fn end(&self) {
        self.door.take();
        if let Some(ended) = self.ended.take() {
            let _ = ended.send(());
        }
    }
}

impl grain_host::Server for Host {
    async fn admit(
        self: Rc<Self>,
        params: grain_host::AdmitParams,
        _: grain_host::AdmitResults,
    ) -> Result<(), capnp::Error> {
        self.stage
            .admitted
            .borrow_mut()
            .push(params.get()?.get_nonce()?.to_vec());
        Ok(())
    }

    async fn keep_alive(
        self: Rc<Self>,
        _: grain_host::KeepAliveParams,
        _: grain_host::KeepAliveResults,
    ) -> Result<(), capnp::Error> {
        if self.stage.broken.borrow().is_some() {
            return std::future::pending().await;
        }
        Ok(())
    }

    async fn end_session(
        self: Rc<Self>,
        _: grain_host::EndSessionParams,
        _: grain_host::EndSessionResults,
    ) -> Result<(), capnp::Error> {
        self.stage.ended_sessions.set(self.stage.ended_sessions.get() + 1);
        Ok(())
    }

    async fn shutdown(
        self: Rc<Self>,
        _: grain_host::ShutdownParams,
        _: grain_host::ShutdownResults,
    ) -> Result<(), capnp::Error> {
        self.end();
        Ok(())
    }
}

/// Runs a test on one thread with a place for local tasks.
fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, test);
}
