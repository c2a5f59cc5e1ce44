//! Two peers on real sockets with a membrane between them: `inside` plays the app, `outside` everybody else.

mod crossing;
mod ending;
mod flow;
mod hostile;
mod passing;

use std::cell::RefCell;
use std::future::{Future, pending};
use std::rc::Rc;
use std::time::Duration;

use capnp::capability::{Client, FromClientHook};
use capnp::{Error, ErrorKind, any_pointer};
use capnp_rpc::rpc_twoparty_capnp::Side as VatSide;
use capnp_rpc::{CapabilityServerSet, RpcSystem, twoparty};
use futures::FutureExt;
use futures::channel::{mpsc, oneshot};
use percloud_schemas::grain_capnp::sandstorm_api;
use percloud_schemas::util_capnp::handle;
use tokio::net::UnixStream;
use tokio::task::{LocalSet, spawn_local};
use tokio_util::compat::{TokioAsyncReadCompatExt, TokioAsyncWriteCompatExt};

use super::{Membrane, Realm, Side};
use crate::config::Limits;
use crate::link::{Bounds, Link};

type Api = sandstorm_api::Client<any_pointer::Owned>;

/// Long enough for anything here on a busy machine; only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(20);

/// A capability that tells when nobody holds it any more.
struct Witness {
    pings: mpsc::UnboundedSender<()>,
    _gone: oneshot::Sender<()>,
}

impl Witness {
    fn new() -> (Self, mpsc::UnboundedReceiver<()>, oneshot::Receiver<()>) {
        let (pings, pinged) = mpsc::unbounded();
        let (gone, is_gone) = oneshot::channel();
        (Self { pings, _gone: gone }, pinged, is_gone)
    }
}

impl handle::Server for Witness {
    async fn ping(self: Rc<Self>, _: handle::PingParams, _: handle::PingResults) -> Result<(), Error> {
        self.pings
            .unbounded_send(())
            .map_err(|error| Error::failed(error.to_string()))
    }
}

/// The app's object. `restore` hands out what the test asks for by name, `shareCap` gives back what it is given,
/// and `save` pings its capability.
#[derive(Default)]
struct App {
    offers: RefCell<Vec<(&'static str, Offer)>>,
    set: RefCell<CapabilityServerSet<Witness, handle::Client>>,
    recognised: RefCell<Option<bool>>,
    kept: RefCell<Vec<handle::Client>>,
}

enum Offer {
    Cap(Client),
    Error(Error),
    /// Never answered; the sender is dropped when the call is.
    Never(oneshot::Sender<()>),
}

impl App {
    fn offer(&self, name: &'static str, offer: Offer) {
        self.offers.borrow_mut().push((name, offer));
    }

    fn offer_cap(&self, name: &'static str, cap: impl FromClientHook) {
        self.offer(name, Offer::Cap(Client::new(cap.into_client_hook())));
    }
}

impl sandstorm_api::Server<any_pointer::Owned> for App {
    async fn restore(
        self: Rc<Self>,
        params: sandstorm_api::RestoreParams<any_pointer::Owned>,
        mut results: sandstorm_api::RestoreResults<any_pointer::Owned>,
    ) -> Result<(), Error> {
        let name = params.get()?.get_token()?;
        let place = self
            .offers
            .borrow()
            .iter()
            .position(|(known, _)| known.as_bytes() == name);
        let offer = self
            .offers
            .borrow_mut()
            .remove(place.expect("the test offered it"))
            .1;
        match offer {
            Offer::Cap(cap) => results.get().init_cap().set_as_capability(cap.hook),
            Offer::Error(error) => return Err(error),
            Offer::Never(_canceled) => pending().await,
        }
        Ok(())
    }

    async fn share_cap(
        self: Rc<Self>,
        params: sandstorm_api::ShareCapParams<any_pointer::Owned>,
        mut results: sandstorm_api::ShareCapResults<any_pointer::Owned>,
    ) -> Result<(), Error> {
        let cap: Client = params.get()?.get_cap().get_as_capability()?;
        results.get().init_shared_cap().set_as_capability(cap.hook);
        Ok(())
    }

    async fn save(
        self: Rc<Self>,
        params: sandstorm_api::SaveParams<any_pointer::Owned>,
        _: sandstorm_api::SaveResults<any_pointer::Owned>,
    ) -> Result<(), Error> {
        let cap: handle::Client = params.get()?.get_cap().get_as_capability()?;
        let cap = capnp::capability::get_resolved_cap(cap).await;
        *self.recognised.borrow_mut() = Some(self.set.borrow().get_local_server_of_resolved(&cap).is_some());
        cap.ping_request().send().promise.await?;
        self.kept.borrow_mut().push(cap);
        Ok(())
    }
}

struct Rig {
    app: Rc<App>,
    realm: Realm,
    membrane: Membrane,
    /// The app's object as this process holds it, wrapped.
    local: Api,
    /// The app's object as the other end of the outer connection holds it.
    api: Api,
}

/// Runs a test with both connections up.
fn with_rig<Test: Future<Output = ()>>(test: impl FnOnce(Rig) -> Test) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    LocalSet::new().block_on(&runtime, async {
        let app = Rc::new(App::default());
        let offered: Api = capnp_rpc::new_client_from_rc(Rc::clone(&app));
        let (inner, app_end) = UnixStream::pair().unwrap();
        let _inside: Client = peer(app_end, VatSide::Client, Some(offered.client));

        let mut link = Link::new(inner, VatSide::Server, bounds(), None);
        let realm = Realm::default();
        let membrane = realm.membrane();
        let local: Api = membrane.carry(link.bootstrap(), Side::Inside);
        spawn_local(link.run());

        let (outer, outside_end) = UnixStream::pair().unwrap();
        spawn_local(Link::new(outer, VatSide::Server, bounds(), Some(local.client.clone())).run());
        let api: Api = peer(outside_end, VatSide::Client, None);
        let rig = Rig {
            app,
            realm,
            membrane,
            local,
            api,
        };
        tokio::time::timeout(PATIENCE, test(rig))
            .await
            .expect("the test comes to an end");
    });
}

fn bounds() -> Bounds {
    crate::link::bounds(&Limits::default(), Rc::default(), None)
}

/// The other end of a connection, on capnp-rpc's own network.
fn peer<C: FromClientHook>(stream: UnixStream, side: VatSide, bootstrap: Option<Client>) -> C {
    let (reader, writer) = stream.into_split();
    let network = twoparty::VatNetwork::new(reader.compat(), writer.compat_write(), side, Default::default());
    let mut system = RpcSystem::new(Box::new(network), bootstrap);
    let offered = system.bootstrap(VatSide::Server);
    spawn_local(system);
    offered
}

fn restore(api: &Api, name: &str) -> impl Future<Output = Result<handle::Client, Error>> + use<> {
    let mut request = api.restore_request();
    request.get().set_token(name.as_bytes());
    let answer = request.send().promise;
    async move { answer.await?.get()?.get_cap().get_as_capability() }
}

fn share<C: FromClientHook>(api: &Api, cap: C) -> impl Future<Output = Result<Client, Error>> + use<C> {
    let mut request = api.share_cap_request();
    request.get().get_cap().set_as_capability(cap.into_client_hook());
    let answer = request.send().promise;
    async move { answer.await?.get()?.get_shared_cap().get_as_capability() }
}

fn save(api: &Api, cap: &handle::Client) -> impl Future<Output = Result<(), Error>> + use<> {
    let mut request = api.save_request();
    request
        .get()
        .get_cap()
        .set_as_capability(cap.client.hook.add_ref());
    let answer = request.send().promise;
    async move { answer.await.map(drop) }
}

fn ping(cap: &handle::Client) -> impl Future<Output = Result<(), Error>> + use<> {
    cap.ping_request().send().promise.map(|answer| answer.map(drop))
}

fn kind(result: Result<(), Error>) -> ErrorKind {
    result.expect_err("the call fails").kind
}
