//! Two peers on real sockets with a membrane between them: `inside` plays the app, `outside` everybody else.

use std::cell::RefCell;
use std::future::{Future, pending};
use std::rc::Rc;
use std::time::Duration;

use capnp::capability::{Client, FromClientHook};
use capnp::{Error, ErrorKind, any_pointer};
use capnp_rpc::rpc_twoparty_capnp::Side as VatSide;
use capnp_rpc::{CapabilityServerSet, RpcSystem, new_client, new_future_client, twoparty};
use futures::channel::{mpsc, oneshot};
use futures::future::join_all;
use futures::{FutureExt, StreamExt};
use percloud_schemas::grain_capnp::{app_persistent, main_view, sandstorm_api};
use percloud_schemas::util_capnp::{byte_stream, handle};
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

#[test]
fn results_and_what_they_hold_cross() {
    with_rig(|rig| async move {
        let (witness, mut pinged, _gone) = Witness::new();
        rig.app.offer_cap("it", new_client::<handle::Client, _>(witness));
        let before = rig.realm.touches();
        let cap = restore(&rig.api, "it").await.unwrap();
        ping(&cap).await.unwrap();
        assert!(pinged.next().await.is_some());
        assert_eq!(
            rig.realm.touches() - before,
            2,
            "every call into the app is use of it"
        );
        assert_eq!(rig.realm.pending(), 0);
    });
}

#[test]
fn calls_on_what_has_not_been_answered_are_pipelined() {
    with_rig(|rig| async move {
        for api in [&rig.api, &rig.local] {
            let (witness, mut pinged, _gone) = Witness::new();
            rig.app.offer_cap("it", new_client::<handle::Client, _>(witness));
            let mut request = api.restore_request();
            request.get().set_token(b"it");
            // Field 0 of the results, as the generated pipeline has no accessor for an AnyPointer's capability.
            let pipeline = request.send().pipeline;
            let cap: handle::Client = FromClientHook::new(pipeline.get_cap().as_cap());
            ping(&cap).await.unwrap();
            assert!(pinged.next().await.is_some());
        }
    });
}

#[test]
fn the_app_calls_back_what_it_is_given() {
    with_rig(|rig| async move {
        for api in [&rig.api, &rig.local] {
            let (witness, mut pinged, _gone) = Witness::new();
            let used = rig.realm.touches();
            save(api, &new_client(witness)).await.unwrap();
            assert!(pinged.next().await.is_some());
            assert_eq!(
                rig.realm.touches() - used,
                1,
                "calls out of the app are no use of it"
            );
        }
    });
}

#[test]
fn promises_lead_to_what_they_promise() {
    with_rig(|rig| async move {
        let (witness, mut pinged, _gone) = Witness::new();
        let (resolve, resolved) = oneshot::channel::<handle::Client>();
        let promise: handle::Client =
            new_future_client(resolved.map(|cap| cap.map_err(|_| Error::failed("never".to_owned()))));
        rig.app.offer_cap("later", promise);
        let cap = restore(&rig.api, "later").await.unwrap();
        let early = ping(&cap);
        assert!(resolve.send(new_client(witness)).is_ok());
        early.await.unwrap();
        let closer = cap
            .client
            .hook
            .get_resolved()
            .expect("the promise is known to be kept");
        ping(&FromClientHook::new(closer)).await.unwrap();
        assert_eq!(pinged.by_ref().take(2).count().await, 2);
    });
}

#[test]
fn a_broken_promise_is_broken_on_the_other_side_too() {
    with_rig(|rig| async move {
        let promise: handle::Client =
            new_future_client(async { Err(Error::overloaded("broken on purpose".to_owned())) });
        rig.app.offer_cap("broken", promise);
        let cap = restore(&rig.api, "broken").await.unwrap();
        assert_eq!(kind(ping(&cap).await), ErrorKind::Overloaded);
    });
}

#[test]
fn an_object_of_the_outside_comes_back_as_itself() {
    with_rig(|rig| async move {
        let mut set = CapabilityServerSet::<Witness, handle::Client>::new();
        let (witness, ..) = Witness::new();
        let mine = set.new_client(witness);
        let back: handle::Client = share(&rig.api, mine.clone()).await.unwrap().cast_to();
        assert!(set.get_local_server(&back).await.is_some());

        // The same when it travels as a promise, resolved while it is away.
        let (resolve, resolved) = oneshot::channel::<handle::Client>();
        let promise: handle::Client =
            new_future_client(resolved.map(|cap| cap.map_err(|_| Error::failed("never".to_owned()))));
        let back: handle::Client = share(&rig.api, promise).await.unwrap().cast_to();
        assert!(resolve.send(mine).is_ok());
        assert!(set.get_local_server(&back).await.is_some());
    });
}

#[test]
fn an_object_of_the_app_comes_back_as_itself() {
    with_rig(|rig| async move {
        let (witness, mut pinged, _gone) = Witness::new();
        let own = rig.app.set.borrow_mut().new_client(witness);
        rig.app.offer_cap("own", own);
        let cap = restore(&rig.api, "own").await.unwrap();
        save(&rig.api, &cap).await.unwrap();
        assert_eq!(*rig.app.recognised.borrow(), Some(true));
        assert!(pinged.next().await.is_some());

        // Through another session of the same app, it is still its own.
        let other = rig.realm.membrane();
        let again: Api = other.carry(rig.membrane.carry(rig.local.clone(), Side::Outside), Side::Inside);
        *rig.app.recognised.borrow_mut() = None;
        let (witness, mut pinged, _gone) = Witness::new();
        let own = rig.app.set.borrow_mut().new_client(witness);
        rig.app.offer_cap("again", own);
        let cap = restore(&again, "again").await.unwrap();
        save(&rig.local, &cap).await.unwrap();
        assert_eq!(*rig.app.recognised.borrow(), Some(true));
        assert!(pinged.next().await.is_some());
    });
}

#[test]
fn one_object_keeps_one_identity_however_often_it_crosses() {
    with_rig(|rig| async move {
        let (witness, ..) = Witness::new();
        let cap: handle::Client = new_client(witness);
        let before = rig.realm.caps();
        let mut held = Vec::new();
        for _ in 0..3 {
            rig.app.offer_cap("same", cap.clone());
            held.push(restore(&rig.local, "same").await.unwrap());
        }
        assert_eq!(rig.realm.caps(), before + 1);
        let identity = held[0].client.hook.get_ptr();
        assert!(held.iter().all(|cap| cap.client.hook.get_ptr() == identity));
        drop(held);
        assert_eq!(rig.realm.caps(), before);
    });
}

#[test]
fn a_call_nobody_waits_for_is_canceled_in_the_app() {
    with_rig(|rig| async move {
        let (canceled, is_canceled) = oneshot::channel();
        rig.app.offer("never", Offer::Never(canceled));
        let call = spawn_local(restore(&rig.api, "never"));
        // The app has the call once the offer is taken.
        while !rig.app.offers.borrow().is_empty() {
            tokio::task::yield_now().await;
        }
        assert_eq!(rig.realm.pending(), 1);
        call.abort();
        assert!(is_canceled.await.is_err(), "the app's call is dropped");
        assert_eq!(rig.realm.pending(), 0);
    });
}

#[test]
fn what_nobody_holds_outside_is_dropped_inside() {
    with_rig(|rig| async move {
        let (witness, mut pinged, gone) = Witness::new();
        rig.app
            .offer_cap("held", new_client::<handle::Client, _>(witness));
        let cap = restore(&rig.api, "held").await.unwrap();
        ping(&cap).await.unwrap();
        assert!(pinged.next().await.is_some());
        drop(cap);
        assert!(gone.await.is_err());
    });
}

#[test]
fn revoking_ends_calls_under_way_and_refuses_new_ones_in_both_directions() {
    with_rig(|rig| async move {
        let (witness, mut pinged, app_object_gone) = Witness::new();
        rig.app
            .offer_cap("held", new_client::<handle::Client, _>(witness));
        let cap = restore(&rig.api, "held").await.unwrap();
        ping(&cap).await.unwrap();
        assert!(pinged.next().await.is_some());
        let (callback, _called_back, _callback_gone) = Witness::new();
        save(&rig.api, &new_client(callback)).await.unwrap();

        let mut under_way = Vec::new();
        for _ in 0..10 {
            let (canceled, is_canceled) = oneshot::channel();
            rig.app.offer("never", Offer::Never(canceled));
            under_way.push((restore(&rig.api, "never"), is_canceled));
        }
        let (calls, canceled): (Vec<_>, Vec<_>) = under_way.into_iter().unzip();
        let calls: Vec<_> = calls.into_iter().map(spawn_local).collect();
        while rig.realm.pending() < 10 || !rig.app.offers.borrow().is_empty() {
            tokio::task::yield_now().await;
        }

        rig.membrane.revoke("the session was ended");
        for call in join_all(calls).await {
            let error = call.unwrap().err().expect("the call fails");
            assert_eq!(error.kind, ErrorKind::Disconnected);
            assert!(error.extra.ends_with("the session was ended"), "{error}");
        }
        assert!(
            join_all(canceled)
                .await
                .into_iter()
                .all(|canceled| canceled.is_err())
        );
        assert_eq!(rig.realm.pending(), 0);
        assert_eq!(kind(ping(&cap).await), ErrorKind::Disconnected);
        assert_eq!(
            kind(restore(&rig.api, "more").await.map(drop)),
            ErrorKind::Disconnected
        );
        assert_eq!(kind(save(&rig.local, &cap).await), ErrorKind::Disconnected);
        // The app lost what it was given, and its object was let go though it is still held outside.
        let given = rig.app.kept.borrow()[0].clone();
        assert_eq!(kind(ping(&given).await), ErrorKind::Disconnected);
        assert!(app_object_gone.await.is_err());

        // What crosses afterwards is dead on arrival.
        let (late, ..) = Witness::new();
        let late: handle::Client = rig.membrane.carry(new_client(late), Side::Inside);
        assert_eq!(kind(ping(&late).await), ErrorKind::Disconnected);
    });
}

#[test]
fn revoking_one_session_leaves_others_alone() {
    with_rig(|rig| async move {
        let other = rig.realm.membrane();
        let (witness, mut pinged, _gone) = Witness::new();
        let object: handle::Client = new_client(witness);
        let through_one: handle::Client = rig.membrane.carry(object.clone(), Side::Inside);
        let through_other: handle::Client = other.carry(object, Side::Inside);
        rig.membrane.revoke("over");
        assert_eq!(kind(ping(&through_one).await), ErrorKind::Disconnected);
        ping(&through_other).await.unwrap();
        assert!(pinged.next().await.is_some());
    });
}

#[test]
fn an_outside_object_lent_to_one_session_stays_tied_to_it_in_another() {
    with_rig(|rig| async move {
        let other = rig.realm.membrane();
        let (witness, mut pinged, _gone) = Witness::new();
        let held_by_app: handle::Client = rig.membrane.carry(new_client(witness), Side::Outside);
        let passed_on: handle::Client = other.carry(held_by_app, Side::Inside);
        ping(&passed_on).await.unwrap();
        assert!(pinged.next().await.is_some());
        rig.membrane.revoke("over");
        assert_eq!(kind(ping(&passed_on).await), ErrorKind::Disconnected);
    });
}

#[test]
fn errors_keep_their_kind_and_gain_no_text_on_the_way() {
    with_rig(|rig| async move {
        let errors = [
            Error::failed,
            Error::overloaded,
            Error::disconnected,
            Error::unimplemented,
        ];
        for error in errors {
            let error = error("as the app said".to_owned());
            rig.app.offer("error", Offer::Error(error.clone()));
            let local = restore(&rig.local, "error").await.err().unwrap();
            assert_eq!(
                (local.kind, local.extra.as_str()),
                (error.kind, "as the app said")
            );
            rig.app.offer("error", Offer::Error(error.clone()));
            let far = restore(&rig.api, "error").await.err().unwrap();
            assert_eq!(
                (far.kind, far.extra.as_str()),
                (error.kind, "remote exception: as the app said")
            );
        }
    });
}

#[test]
fn reserved_methods_do_not_cross() {
    with_rig(|rig| async move {
        for api in [&rig.api, &rig.local] {
            let hook = api.client.hook.add_ref();
            let view: main_view::Client<any_pointer::Owned> = FromClientHook::new(hook.add_ref());
            assert_eq!(
                kind(view.drop_request().send().promise.await.map(drop)),
                ErrorKind::Unimplemented
            );
            let persistent: app_persistent::Client<any_pointer::Owned> = FromClientHook::new(hook);
            let saved = persistent.save_request().send().promise.await;
            assert_eq!(kind(saved.map(drop)), ErrorKind::Unimplemented);
        }
    });
}

#[test]
fn a_busy_app_is_not_given_more() {
    with_rig(|rig| async move {
        rig.realm.refuse_when(|| true);
        let error = restore(&rig.api, "it").await.err().unwrap();
        assert_eq!(error.kind, ErrorKind::Overloaded);
    });
}

/// Takes writes, and acknowledges each only when the test allows it.
struct Sink {
    taken: mpsc::UnboundedSender<Vec<u8>>,
    allowed: Rc<tokio::sync::Semaphore>,
}

impl byte_stream::Server for Sink {
    async fn write(self: Rc<Self>, params: byte_stream::WriteParams) -> Result<(), Error> {
        let data = params.get()?.get_data()?.to_vec();
        self.taken
            .unbounded_send(data)
            .map_err(|error| Error::failed(error.to_string()))?;
        self.allowed
            .acquire()
            .await
            .map_err(|error| Error::failed(error.to_string()))?
            .forget();
        Ok(())
    }

    async fn done(
        self: Rc<Self>,
        _: byte_stream::DoneParams,
        _: byte_stream::DoneResults,
    ) -> Result<(), Error> {
        Ok(())
    }
}

#[test]
fn a_slow_reader_inside_slows_a_writer_outside() {
    const CHUNK: usize = 16 << 10;
    const CHUNKS: u64 = 200;
    with_rig(|rig| async move {
        let (taken, mut arrived) = mpsc::unbounded();
        let allowed = Rc::new(tokio::sync::Semaphore::new(0));
        rig.app.offer_cap(
            "sink",
            new_client::<byte_stream::Client, _>(Sink {
                taken,
                allowed: Rc::clone(&allowed),
            }),
        );
        let stream: byte_stream::Client = restore(&rig.api, "sink").await.unwrap().cast_to();
        let sent = Rc::new(std::cell::Cell::new(0_u64));
        let writer = spawn_local({
            let sent = Rc::clone(&sent);
            async move {
                for number in 0..CHUNKS {
                    let mut request = stream.write_request();
                    request.get().init_data(CHUNK as u32).fill(number as u8);
                    sent.set(sent.get() + 1);
                    request.send().await.unwrap();
                }
                stream.done_request().send().promise.await.unwrap();
            }
        });
        // The first write is there and not acknowledged: the writer may fill its window, 64 KiB and a message, no more.
        let first = arrived.next().await.unwrap();
        assert_eq!(first, [0; CHUNK]);
        for _ in 0..10_000 {
            tokio::task::yield_now().await;
        }
        assert!(
            sent.get() < 10,
            "{} chunks left without being acknowledged",
            sent.get()
        );
        allowed.add_permits(CHUNKS as usize);
        let mut expected = 1;
        while expected < CHUNKS {
            assert_eq!(
                arrived.next().await.unwrap()[0],
                expected as u8,
                "writes arrive in order"
            );
            expected += 1;
        }
        writer.await.unwrap();
    });
}

#[test]
fn a_failed_write_fails_the_stream() {
    with_rig(|rig| async move {
        let (taken, arrived) = mpsc::unbounded();
        drop(arrived);
        let allowed = Rc::new(tokio::sync::Semaphore::new(1000));
        rig.app.offer_cap(
            "sink",
            new_client::<byte_stream::Client, _>(Sink { taken, allowed }),
        );
        let stream: byte_stream::Client = restore(&rig.api, "sink").await.unwrap().cast_to();
        let mut failed = false;
        for _ in 0..1000 {
            let mut request = stream.write_request();
            request.get().init_data(1 << 10);
            if request.send().await.is_err() {
                failed = true;
                break;
            }
        }
        assert!(failed, "the writer hears of it");
    });
}

#[test]
fn large_messages_cross_whole() {
    with_rig(|rig| async move {
        let (taken, mut arrived) = mpsc::unbounded();
        let allowed = Rc::new(tokio::sync::Semaphore::new(1));
        rig.app.offer_cap(
            "sink",
            new_client::<byte_stream::Client, _>(Sink { taken, allowed }),
        );
        let stream: byte_stream::Client = restore(&rig.api, "sink").await.unwrap().cast_to();
        let data: Vec<u8> = (0..20 << 20_u32)
            .map(|index: u32| (index ^ (index >> 8)) as u8)
            .collect();
        let mut request = stream.write_request();
        request.get().set_data(&data);
        request.send().await.unwrap();
        assert!(
            arrived.next().await.unwrap() == data,
            "20 MiB arrive as they were"
        );
    });
}
