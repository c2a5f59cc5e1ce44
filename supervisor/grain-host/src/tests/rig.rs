//! Grains whose apps, broker and visitors are the test.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::os::unix::net::{UnixListener, UnixStream as StdStream};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use capnp::capability::{Client, FromClientHook};
use capnp::{Error, any_pointer};
use capnp_rpc::rpc_twoparty_capnp::Side;
use capnp_rpc::{RpcSystem, twoparty};
use percloud_schemas::grain_capnp::{main_view, sandstorm_api};
use percloud_schemas::host_capnp::{admission, grain_door, grain_host, host_keeper};
use tempfile::TempDir;
use tokio::net::UnixStream;
use tokio::task::{LocalSet, spawn_local};
use tokio_util::compat::{TokioAsyncReadCompatExt, TokioAsyncWriteCompatExt};

use super::app::{TestApp, ThingClient};
use super::broker::Broker;
use crate::config::{Freezer, Limits, Storage};
use crate::log::Log;
use crate::membrane::Id;
use crate::share::Share;
use crate::wired::{Ends, Wired};

pub type Any = any_pointer::Owned;
pub type Api = sandstorm_api::Client<Any>;

/// Long enough for anything here on a busy machine; only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(30);
/// What the clock of every host shows, in seconds since the epoch.
pub const NOW: u64 = 1_800_000_000;

/// Storage without a limit.
const UNBOUNDED: Storage = Storage {
    bytes: u64::MAX,
    files: u64::MAX,
    is_full: false,
};

/// A server of one machine.
pub struct World {
    pub broker: Rc<Broker>,
    folder: TempDir,
    pub limits: RefCell<Limits>,
    /// What the next grain's app is held still with.
    pub freezer: RefCell<Option<Box<dyn Freezer>>>,
    nonces: Cell<u64>,
}

/// A running grain.
pub struct Grain {
    pub name: String,
    pub app: Rc<TestApp>,
    /// What the app finds on its descriptor 3.
    pub api: Api,
    pub host: grain_host::Client,
    pub wired: Wired,
    socket: PathBuf,
    world: Rc<World>,
}

pub fn with_world<Test: Future<Output = ()>>(test: impl FnOnce(Rc<World>) -> Test) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    LocalSet::new().block_on(&runtime, async {
        let world = Rc::new(World {
            broker: Rc::default(),
            folder: TempDir::new().unwrap(),
            limits: RefCell::default(),
            freezer: RefCell::default(),
            nonces: Cell::new(0),
        });
        tokio::time::timeout(PATIENCE, test(world))
            .await
            .expect("the test comes to an end");
    });
}

/// Runs a test with one grain.
pub fn with_grain<Test: Future<Output = ()>>(test: impl FnOnce(Grain) -> Test) {
    with_world(|world| async move { test(world.grain("one")).await });
}

/// Runs a test with two grains.
pub fn with_two<Test: Future<Output = ()>>(test: impl FnOnce(Grain, Grain) -> Test) {
    with_world(|world| async move { test(world.grain("one"), world.grain("two")).await });
}

impl World {
    pub fn grain(self: &Rc<Self>, name: &str) -> Grain {
        let folder = self.folder.path().join(name);
        std::fs::create_dir(&folder).unwrap();
        let socket = folder.join("socket");
        let (app_end, rpc) = pair();
        let (broker_end, broker) = pair();
        let (words, _said) = std::io::pipe().unwrap();
        let limits = self.limits.borrow().clone();
        let (log, _reader) = Log::open(&folder, words.into(), &limits).unwrap();
        let wired = Wired::start(Ends {
            grain: name.to_owned(),
            rpc,
            broker,
            door: UnixListener::bind(&socket).unwrap(),
            share: Rc::new(Share::new(folder.clone(), None, UNBOUNDED, log.clone())),
            log,
            refused: None,
            freezer: self.freezer.take(),
            limits,
            clock: || SystemTime::UNIX_EPOCH + Duration::from_secs(NOW),
        });
        let app = Rc::new(TestApp::default());
        let view: main_view::Client<Any> = capnp_rpc::new_client_from_rc(Rc::clone(&app));
        let api = peer(app_end, Side::Client, Some(view.client));
        let keeper: host_keeper::Client = self.broker.keeper(name);
        let host: grain_host::Client = peer(broker_end, Side::Server, Some(keeper.client));
        self.broker.introduce(name, host.clone(), &socket);
        Grain {
            name: name.to_owned(),
            app,
            api,
            host,
            wired,
            socket,
            world: Rc::clone(self),
        }
    }
}

impl Grain {
    pub fn broker(&self) -> &Rc<Broker> {
        &self.world.broker
    }

    /// Has the broker announce somebody with a keeper of the session; the nonce to present.
    pub async fn announce(
        &self,
        session: Id,
        fill: impl FnOnce(admission::Builder<'_>),
    ) -> Result<[u8; 32], Error> {
        self.world.nonces.set(self.world.nonces.get() + 1);
        let mut nonce = [0; 32];
        nonce[..8].copy_from_slice(&self.world.nonces.get().to_le_bytes());
        let mut request = self.host.admit_request();
        request.get().set_nonce(&nonce);
        {
            let mut admission = request.get().init_session();
            admission.set_session_id(&session);
            admission.set_tab_id(&[7; 16]);
            admission.set_keeper(self.broker().session(&self.name, session));
            fill(admission);
        }
        request.send().promise.await?;
        Ok(nonce)
    }

    /// A new connection to the door.
    pub fn door(&self) -> grain_door::Client {
        peer(self.stream(), Side::Client, None)
    }

    /// Ends the host; where it listened.
    pub fn stop(&self) -> PathBuf {
        self.wired.door.abort();
        self.wired.app_link.abort();
        self.wired.broker_link.abort();
        self.socket.clone()
    }

    /// A connection to the door for those who write bytes by hand.
    pub fn stream(&self) -> UnixStream {
        let stream = StdStream::connect(&self.socket).unwrap();
        stream.set_nonblocking(true).unwrap();
        UnixStream::from_std(stream).unwrap()
    }

    /// Opens a session through a door of its own. The app has its context then.
    pub async fn session(&self, session: Id) -> ThingClient {
        let nonce = self.announce(session, |_| {}).await.unwrap();
        enter(&self.door(), &nonce).await.unwrap()
    }
}

/// Presents a nonce; the app's sessions are its things.
pub async fn enter(door: &grain_door::Client, nonce: &[u8]) -> Result<ThingClient, Error> {
    let mut request = door.enter_request();
    request.get().set_nonce(nonce);
    let mut params = request.get().init_params();
    params.set_base_path("http://ui-1.localhost:6080");
    params.set_user_agent("a test");
    let answer = request.send().promise.await?;
    Ok(answer.get()?.get_session()?.cast_to())
}

fn pair() -> (UnixStream, UnixStream) {
    UnixStream::pair().unwrap()
}

/// One end of a connection, on capnp-rpc's own network.
pub fn peer<C: FromClientHook>(stream: UnixStream, side: Side, bootstrap: Option<Client>) -> C {
    let (reader, writer) = stream.into_split();
    let network = twoparty::VatNetwork::new(reader.compat(), writer.compat_write(), side, Default::default());
    let mut system = RpcSystem::new(Box::new(network), bootstrap);
    let other = match side {
        Side::Client => Side::Server,
        Side::Server => Side::Client,
    };
    let offered = system.bootstrap(other);
    spawn_local(system);
    offered
}

/// `SandstormApi.save`.
pub async fn save(api: &Api, cap: impl FromClientHook, label: &str) -> Result<Vec<u8>, Error> {
    let mut request = api.save_request();
    request.get().get_cap().set_as_capability(cap.into_client_hook());
    if !label.is_empty() {
        request.get().init_label().set_default_text(label);
    }
    Ok(request.send().promise.await?.get()?.get_token()?.to_vec())
}

/// `SandstormApi.restore`.
pub async fn restore<C: FromClientHook>(api: &Api, token: &[u8]) -> Result<C, Error> {
    let mut request = api.restore_request();
    request.get().set_token(token);
    request.send().promise.await?.get()?.get_cap().get_as_capability()
}

/// The error of something that fails, in words.
pub fn refusal<T>(result: Result<T, Error>) -> String {
    result.err().expect("it is refused").extra
}

/// Waits, letting everybody else work, until something is so.
pub async fn until(is_so: impl Fn() -> bool) {
    while !is_so() {
        tokio::task::yield_now().await;
    }
}
