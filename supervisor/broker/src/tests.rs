//! Use cases over a real store, with a clock the test sets and a launcher that plays the grain host in-process.

mod accounts;
mod deleted;
mod full_disk;
mod grains;
mod jobs;
mod limits;
mod many;
mod notices;
mod outlets;
mod packages;
mod pages;
mod pour;
mod programs;
mod references;
mod sharing;
mod taken_back;
mod time;
mod warm;

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
    AdjustStart, BackupStart, FreezeStart, GrainStart, HostProcess, LaunchError, Launcher, Outside,
    RestoreStart, UnpackStart,
};
use crate::record::{App, Package, app_key};
use crate::{Broker, Config, Layout};

/// What the played grain hosts saw and how they shall behave.
#[derive(Default)]
struct Stage {
    now: Cell<u64>,
    /// Whether hosts end only when they are killed.
    lingers: Cell<bool>,
    disk_is_short: Cell<bool>,
    /// Bytes the machine has less than it should have left, and hundredths of the time programs wait for memory.
    lacking: Cell<u64>,
    waiting: Cell<u8>,
    /// Memory and microseconds of processor time of the apps that start next.
    figures: Cell<(u64, u64)>,
    starts: RefCell<Vec<Vec<String>>>,
    admitted: RefCell<Vec<Vec<u8>>>,
    /// Who was announced, in order.
    visitors: RefCell<Vec<Announced>>,
    /// With which limits grains were started, and changed while they ran.
    limited: RefCell<Vec<(crate::GrainLimits, Option<crate::Limit>)>>,
    adjusted: RefCell<Vec<crate::GrainLimits>>,
    /// The versions of the apps whose grains were to be backed up.
    backed_up: RefCell<Vec<u32>>,
    ended_sessions: Cell<u32>,
    /// Ids of sessions and references that were ended.
    ended: RefCell<Vec<Vec<u8>>>,
    /// The broker as the latest grain host sees it.
    keepers: RefCell<Vec<host_keeper::Client>>,
    /// Objects whose jobs were run, and how the next runs end: `Ok` with whether that was the last, or an error.
    ran: RefCell<Vec<String>>,
    runs: RefCell<Vec<Result<bool, capnp::Error>>>,
    /// Kinds of events the app defines, as (verb phrase, permission needed, does it notify).
    events: RefCell<Vec<(&'static str, Option<u16>, bool)>>,
    /// Roles the app defines, as (verb phrase, permissions, default).
    roles: RefCell<Vec<(&'static str, &'static [bool], bool)>>,
    /// Set to make the next starts fail with these words.
    broken: RefCell<Option<String>>,
}

/// Somebody the broker announced.
struct Announced {
    session: Vec<u8>,
    owner: bool,
    name: String,
    permissions: Vec<bool>,
    keeper: Option<percloud_schemas::host_capnp::session_keeper::Client>,
    identity: Option<percloud_schemas::identity_capnp::identity::Client>,
}

struct World {
    broker: Rc<Broker>,
    stage: Rc<Stage>,
    secret: Option<Secret>,
    folder: tempfile::TempDir,
}

/// Memory of the machine.
const TOTAL: u64 = 8 << 30;

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
            memory: Rc::new({
                let stage = stage.clone();
                move || {
                    Some(crate::Memory {
                        total: TOTAL,
                        available: TOTAL / 8 - stage.lacking.get(),
                        waiting: stage.waiting.get(),
                    })
                }
            }),
            disk: Rc::new({
                let stage = stage.clone();
                move |_| {
                    Some(crate::Disk {
                        total: 100 << 30,
                        free: if stage.disk_is_short.get() {
                            1 << 30
                        } else {
                            50 << 30
                        },
                    })
                }
            }),
            launcher: Rc::new(Played { stage: stage.clone() }),
        };
        let config = Config {
            layout: Layout::new(folder.path().join("data"), folder.path().join("run")),
            base: ("http".into(), "percloud.localhost:6080".into()),
            again: false,
            record_refused: false,
            warm_memory: percloud_core::warm::Budget::Share(50),
        };
        let since = std::time::Instant::now();
        let (broker, secret) = loop {
            match Broker::start(config.clone(), outside.clone()) {
                // A process that another test makes right now has our descriptors until it executes its program, and so
                // the lock of the store that was just closed.
                Err(crate::StartError::Store(percloud_store::OpenError::Locked { .. }))
                    if since.elapsed() < std::time::Duration::from_secs(5) =>
                {
                    std::thread::yield_now();
                }
                started => break started.unwrap(),
            }
        };
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
        assert_eq!(
            (&me["name"], &me["handle"], &me["role"]),
            (&json!("Anna"), &json!("anna"), &json!("owner"))
        );
        self.broker.resume(cookie.expose()).unwrap()
    }

    /// Somebody else with an account.
    async fn member(&self, owner: &SignedIn, name: &str) -> SignedIn {
        let invited = self.broker.invite(owner, "{}").await.unwrap();
        let url = invited["url"].as_str().unwrap();
        let (_, secret) = url.split_once("/join#").unwrap();
        let body =
            json!({"secret": secret, "name": name, "handle": name.to_lowercase(), "password": PASSWORD});
        let (_, cookie) = self.broker.join(&body.to_string(), "127.0.0.1").await.unwrap();
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

    /// What is known of who was announced last.
    fn visitor<T>(&self, what: impl FnOnce(&Announced) -> T) -> T {
        what(self.stage.visitors.borrow().last().unwrap())
    }
}

/// Roles of an app, as [`Stage::roles`] has them.
const ROLES: [(&str, &[bool], bool); 2] = [
    ("can edit", &[true, true], false),
    ("can look", &[true, false], true),
];

/// A grain whose app has been running and knows [`ROLES`].
async fn with_roles(world: &World, owner: &SignedIn) -> GrainId {
    *world.stage.roles.borrow_mut() = ROLES.to_vec();
    world.app(owner).await;
    let id = world.grain(owner).await;
    world.broker.sharing(owner, &id).await.unwrap();
    id
}

/// The page that `opened` hands over: its session host's name and its secret.
fn handed_over(opened: &serde_json::Value) -> (String, Secret) {
    let host = opened["host"].as_str().unwrap();
    let host = host
        .strip_prefix("http://")
        .unwrap()
        .strip_suffix(".percloud.localhost:6080")
        .unwrap();
    let secret = Secret::from_hex(opened["secret"].as_str().unwrap()).unwrap();
    (host.to_owned(), secret)
}

/// Enters the page that `opened` hands over, if it is let in: its host and cookie.
async fn enter(world: &World, opened: &serde_json::Value) -> Option<(String, Vec<u8>)> {
    let (host, secret) = handed_over(opened);
    let (cookie, _) = world.broker.enter(&host, secret.expose()).unwrap();
    let session = world.broker.page_session(&host, cookie.expose()).await?;
    session.ok()?;
    Some((host, cookie.expose().to_vec()))
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
            stage.limited.borrow_mut().push((start.limits, start.full));
            let (figures, lingers) = (stage.figures.get(), stage.lingers.get());
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
                    figures,
                },
            );
            tokio::task::spawn_local(async move {
                let _child = child;
                let _ = end.await;
                if lingers {
                    std::future::pending::<()>().await;
                }
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

    fn start_backup(&self, start: BackupStart) -> LocalBoxFuture<'static, Result<HostProcess, LaunchError>> {
        self.stage.backed_up.borrow_mut().push(start.info.app_version);
        async { Err(LaunchError("not played".into())) }.boxed_local()
    }

    fn start_restore(&self, _: RestoreStart) -> LocalBoxFuture<'static, Result<HostProcess, LaunchError>> {
        async { Err(LaunchError("not played".into())) }.boxed_local()
    }

    fn start_adjust(&self, start: AdjustStart) -> LocalBoxFuture<'static, Result<HostProcess, LaunchError>> {
        self.stage.adjusted.borrow_mut().push(start.limits);
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
    host.stage.keepers.borrow_mut().push(keeper.clone());
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
    figures: (u64, u64),
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
    async fn figures(
        self: Rc<Self>,
        _: grain_host::FiguresParams,
        mut results: grain_host::FiguresResults,
    ) -> Result<(), capnp::Error> {
        results.get().set_memory(self.figures.0);
        results.get().set_processor_time(self.figures.1);
        Ok(())
    }

    async fn admit(
        self: Rc<Self>,
        params: grain_host::AdmitParams,
        _: grain_host::AdmitResults,
    ) -> Result<(), capnp::Error> {
        let params = params.get()?;
        self.stage
            .admitted
            .borrow_mut()
            .push(params.get_nonce()?.to_vec());
        let session = params.get_session()?;
        let user = session.get_user()?;
        self.stage.visitors.borrow_mut().push(Announced {
            session: session.get_session_id()?.to_vec(),
            owner: session.get_is_owner(),
            name: user.get_display_name()?.get_default_text()?.to_string()?,
            permissions: user.get_permissions()?.iter().collect(),
            keeper: session.has_keeper().then(|| session.get_keeper()).transpose()?,
            identity: user.has_identity().then(|| user.get_identity()).transpose()?,
        });
        Ok(())
    }

    async fn view_info(
        self: Rc<Self>,
        _: grain_host::ViewInfoParams,
        mut results: grain_host::ViewInfoResults,
    ) -> Result<(), capnp::Error> {
        let described = self.stage.roles.borrow();
        let mut info = results.get().init_info();
        let permissions = described.iter().map(|(_, held, _)| held.len()).max().unwrap_or(0);
        info.reborrow().init_permissions(permissions as u32);
        let events = self.stage.events.borrow();
        let mut types = info.reborrow().init_event_types(events.len() as u32);
        for (index, (verb, needed, notifies)) in (0..).zip(events.iter()) {
            let mut kind = types.reborrow().get(index);
            kind.reborrow().init_verb_phrase().set_default_text(verb);
            kind.set_notify_subscribers(*notifies);
            kind.set_auto_subscribe_to_thread(true);
            match needed {
                Some(index) => kind.init_required_permission().set_permission_index(*index),
                None => kind.init_required_permission().set_everyone(()),
            }
        }
        let mut roles = info.init_roles(described.len() as u32);
        for (index, (verb, held, default)) in (0..).zip(described.iter()) {
            let mut role = roles.reborrow().get(index);
            role.reborrow().init_verb_phrase().set_default_text(verb);
            role.set_default(*default);
            let mut list = role.init_permissions(held.len() as u32);
            for (index, held) in (0..).zip(*held) {
                list.set(index, *held);
            }
        }
        Ok(())
    }

    async fn run_job(
        self: Rc<Self>,
        params: grain_host::RunJobParams,
        mut results: grain_host::RunJobResults,
    ) -> Result<(), capnp::Error> {
        let object = params
            .get()?
            .get_object()?
            .get_id()
            .get_as::<capnp::text::Reader<'_>>()?
            .to_string()?;
        self.stage.ran.borrow_mut().push(object);
        let next = self.stage.runs.borrow_mut().pop();
        results.get().set_cancel_future_runs(next.unwrap_or(Ok(false))?);
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
        params: grain_host::EndSessionParams,
        _: grain_host::EndSessionResults,
    ) -> Result<(), capnp::Error> {
        let id = params.get()?.get_session_id()?.to_vec();
        self.stage.ended.borrow_mut().push(id.clone());
        // A host lets go of what belonged to the session.
        let mut visitors = self.stage.visitors.borrow_mut();
        visitors
            .iter_mut()
            .filter(|visitor| visitor.session == id)
            .for_each(|visitor| {
                visitor.keeper = None;
                visitor.identity = None;
            });
        drop(visitors);
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
