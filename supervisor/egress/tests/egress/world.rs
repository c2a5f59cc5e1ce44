//! An egress with a broker and grain hosts around it, started in one line and taken down again.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use capnp::Error;
use capnp::capability::FromClientHook;
use capnp_rpc::rpc_twoparty_capnp::Side;
use percloud_egress::{Config, Limits};
use percloud_link::{Bounds, Link};
use percloud_schemas::egress_capnp::{egress, egress_keeper};
use percloud_schemas::host_capnp::grain_door;
use percloud_schemas::ip_capnp::{ip_interface, ip_network};
use percloud_schemas::web_session_capnp::web_session;
use rustls::RootCertStore;
use tokio::net::UnixStream;
use tokio::task::{LocalSet, spawn_local};
use tokio_util::task::AbortOnDropHandle;

/// Runs one test, with a limit that no passing test comes near.
pub fn run<F: Future<Output = ()>>(test: F) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    LocalSet::new().block_on(&runtime, async {
        tokio::time::timeout(Duration::from_secs(120), test)
            .await
            .expect("test hangs");
    });
}

/// Waits for what has to happen soon.
pub async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), what)
        .await
        .expect("waited in vain")
}

/// Lets time pass for everybody.
pub async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

/// What a broker lets somebody reach.
#[derive(Clone, Copy)]
pub enum Outlet<'a> {
    Website(&'a str),
    SignedIn(&'a str, &'a str),
    Network { tls: bool },
    Interface,
}

/// A reference, and for whom it was to be saved.
type Saved = (Vec<u8>, String);

/// The broker.
#[derive(Clone, Default)]
pub struct Keeper(Rc<RefCell<Vec<Saved>>>);

impl Keeper {
    pub fn saved(&self) -> Vec<Saved> {
        self.0.borrow().clone()
    }
}

impl egress_keeper::Server for Keeper {
    async fn save(
        self: Rc<Self>,
        params: egress_keeper::SaveParams,
        mut results: egress_keeper::SaveResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let owner: capnp::text::Reader<'_> = params.get_owner().get_as()?;
        self.0
            .borrow_mut()
            .push((params.get_reference()?.to_vec(), owner.to_string()?));
        results.get().set_token(b"a token");
        Ok(())
    }
}

/// A grain host at the door.
pub struct Host {
    door: grain_door::Client,
    link: AbortOnDropHandle<()>,
}

impl Host {
    pub async fn take<C: FromClientHook>(&self, nonce: &[u8]) -> Result<C, Error> {
        let mut request = self.door.take_request();
        request.get().set_nonce(nonce);
        let answer = request.send().promise.await?;
        answer.get()?.get_cap().get_as_capability()
    }

    /// Waits until the egress hangs up.
    pub async fn hung_up(self) {
        self.link.await.unwrap();
    }
}

pub struct World {
    pub broker: egress::Client,
    pub keeper: Keeper,
    door: PathBuf,
    _folder: tempfile::TempDir,
    egress: AbortOnDropHandle<()>,
    link: AbortOnDropHandle<()>,
    hosts: RefCell<Vec<Host>>,
    nonces: Cell<u8>,
}

impl World {
    /// A world in which the loopback is open.
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn limited(change: impl FnOnce(&mut Limits)) -> Self {
        Self::with(|config| change(&mut config.limits)).await
    }

    pub async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let door = folder.path().join("door");
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let mut config = Config {
            broker: theirs,
            door: UnixListener::bind(&door).unwrap(),
            open: vec!["127.0.0.0/8".parse().unwrap()],
            listen: "127.0.0.1".parse().unwrap(),
            roots: RootCertStore::empty(),
            limits: Limits::default(),
        };
        change(&mut config);
        let egress = spawn_local(async { percloud_egress::serve(config).await.unwrap() });
        ours.set_nonblocking(true).unwrap();
        let ours = UnixStream::from_std(ours).unwrap();
        let keeper = Keeper::default();
        let client: egress_keeper::Client = capnp_rpc::new_client(keeper.clone());
        let mut link = Link::new(ours, Side::Server, Bounds::default(), Some(client.client));
        let broker = link.bootstrap();
        let link = spawn_local(async { link.run().await.unwrap() });
        Self {
            broker,
            keeper,
            door,
            _folder: folder,
            egress: AbortOnDropHandle::new(egress),
            link: AbortOnDropHandle::new(link),
            hosts: RefCell::default(),
            nonces: Cell::new(0),
        }
    }

    /// One more grain host at the door.
    pub async fn knock(&self) -> Host {
        let stream = UnixStream::connect(&self.door).await.unwrap();
        let mut link = Link::new(stream, Side::Client, Bounds::default(), None);
        let door = link.bootstrap();
        let link = spawn_local(async {
            let _ended = link.run().await;
        });
        Host {
            door,
            link: AbortOnDropHandle::new(link),
        }
    }

    pub async fn try_admit(&self, nonce: &[u8], reference: &[u8], outlet: Outlet<'_>) -> Result<(), Error> {
        let holder = format!("holder of {reference:?}");
        self.try_admit_for(&holder, nonce, reference, outlet).await
    }

    pub async fn try_admit_for(
        &self,
        holder: &str,
        nonce: &[u8],
        reference: &[u8],
        outlet: Outlet<'_>,
    ) -> Result<(), Error> {
        let mut request = self.broker.admit_request();
        request.get().set_nonce(nonce);
        request.get().set_reference(reference);
        request.get().set_holder(holder);
        let mut place = request.get().init_outlet();
        match outlet {
            Outlet::Website(url) => place.init_website().set_url(url),
            Outlet::SignedIn(url, authorization) => {
                let mut website = place.init_website();
                website.set_url(url);
                website.set_authorization(authorization);
            }
            Outlet::Network { tls } => place.init_network().set_tls(tls),
            Outlet::Interface => place.set_interface(()),
        }
        request.send().promise.await.map(drop)
    }

    fn fresh(&self) -> [u8; 32] {
        self.nonces.set(self.nonces.get() + 1);
        [self.nonces.get(); 32]
    }

    /// Announces somebody, and returns the nonce.
    pub async fn admit(&self, reference: u8, outlet: Outlet<'_>) -> [u8; 32] {
        let nonce = self.fresh();
        self.try_admit(&nonce, &[reference; 16], outlet).await.unwrap();
        nonce
    }

    /// Gives somebody something, through a grain host of its own.
    pub async fn give<C: FromClientHook>(&self, reference: u8, outlet: Outlet<'_>) -> C {
        let nonce = self.admit(reference, outlet).await;
        self.fetch(&nonce).await
    }

    /// The same for somebody with a name.
    pub async fn give_to<C: FromClientHook>(&self, holder: &str, reference: u8, outlet: Outlet<'_>) -> C {
        let nonce = self.fresh();
        self.try_admit_for(holder, &nonce, &[reference; 16], outlet)
            .await
            .unwrap();
        self.fetch(&nonce).await
    }

    async fn fetch<C: FromClientHook>(&self, nonce: &[u8]) -> C {
        let host = self.knock().await;
        let taken = host.take(nonce).await.unwrap();
        self.hosts.borrow_mut().push(host);
        taken
    }

    pub async fn website(&self, url: &str) -> web_session::Client {
        self.give(1, Outlet::Website(url)).await
    }

    pub async fn network(&self, tls: bool) -> ip_network::Client {
        self.give(1, Outlet::Network { tls }).await
    }

    pub async fn interface(&self) -> ip_interface::Client {
        self.give(1, Outlet::Interface).await
    }

    pub async fn end(&self, reference: u8) {
        let mut request = self.broker.end_request();
        request.get().set_reference(&[reference; 16]);
        soon(request.send().promise).await.unwrap();
    }

    /// The broker dies, and the egress with it.
    pub async fn broker_dies(&mut self) {
        self.link.abort();
        soon(&mut self.egress).await.unwrap();
    }

    /// All grain hosts die.
    pub fn hosts_die(&self) {
        self.hosts.take();
    }
}
