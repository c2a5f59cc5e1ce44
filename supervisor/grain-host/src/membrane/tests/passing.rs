//! Calls that cross as they came, made past the RPC system at both ends, and those that turn out to need it after all.

use std::cell::{Cell, RefCell};
use std::future::pending;
use std::rc::Rc;

use capnp::capability::{Client, FromClientHook};
use capnp::traits::HasTypeId;
use capnp::{Error, ErrorKind};
use capnp_rpc::new_client;
use capnp_rpc::rpc_twoparty_capnp::Side as VatSide;
use futures::channel::{mpsc, oneshot};
use futures::future::join_all;
use percloud_link::{Direct, Repeated, Shared};
use percloud_schemas::grain_capnp::{ui_session, ui_view};
use percloud_schemas::util_capnp::{byte_stream, handle};
use percloud_schemas::web_session_capnp::web_session;
use tokio::net::UnixStream;
use tokio::task::{LocalSet, spawn_local};

use super::super::{Membrane, Realm, Side};
use super::{PATIENCE, Witness, bounds, peer};
use crate::link::Link;

/// The app. What it does is in the path that is asked for.
#[derive(Default)]
struct Page {
    kept: RefCell<Vec<byte_stream::Client>>,
    never: RefCell<Vec<oneshot::Sender<()>>>,
    handles: RefCell<Vec<oneshot::Receiver<()>>>,
    pings: RefCell<Vec<mpsc::UnboundedReceiver<()>>>,
    calls: Cell<usize>,
}

impl ui_session::Server for Page {}

impl web_session::Server for Page {
    async fn get(
        self: Rc<Self>,
        params: web_session::GetParams,
        mut results: web_session::GetResults,
    ) -> Result<(), Error> {
        self.calls.set(self.calls.get() + 1);
        let (path, stream) = {
            let params = params.get()?;
            let stream = params.get_context()?.get_response_stream();
            (params.get_path()?.to_string()?, stream)
        };
        match path.as_str() {
            "keep" => self.kept.borrow_mut().push(stream?),
            "busy" => return Err(Error::overloaded("busy".to_owned())),
            "never" => {
                let (canceled, _is_canceled) = oneshot::channel();
                self.never.borrow_mut().push(canceled);
                pending::<()>().await;
            }
            "back" => {
                let handle = handle::Client::new(stream?.into_client_hook());
                results.get().init_content().init_body().set_stream(handle);
                return Ok(());
            }
            "unused" => {
                drop((stream, params));
                // The word that it is not wanted leaves before the answer.
                tokio::task::yield_now().await;
                let (witness, pinged, _) = Witness::new();
                self.pings.borrow_mut().push(pinged);
                let handle: handle::Client = new_client(witness);
                results.get().init_content().init_body().set_stream(handle);
                return Ok(());
            }
            "early" | "late" => {
                let stream = stream?;
                if path == "early" {
                    write(&stream, b"early ").await?;
                }
                let (witness, pinged, gone) = Witness::new();
                self.handles.borrow_mut().push(gone);
                self.pings.borrow_mut().push(pinged);
                let handle: handle::Client = new_client(witness);
                results.get().init_content().init_body().set_stream(handle);
                spawn_local(async move {
                    for _ in 0..100 {
                        write(&stream, b"and late").await?;
                    }
                    stream.done_request().send().promise.await.map(drop)
                });
                return Ok(());
            }
            _ => {}
        }
        let content = results.get().init_content();
        content.init_body().set_bytes(path.as_bytes());
        Ok(())
    }
}

pub(super) struct View(web_session::Client);

impl View {
    pub(super) fn of(web: web_session::Client) -> ui_view::Client {
        new_client(Self(web))
    }
}

impl ui_view::Server for View {
    async fn new_session(
        self: Rc<Self>,
        _: ui_view::NewSessionParams,
        mut results: ui_view::NewSessionResults,
    ) -> Result<(), Error> {
        let session = ui_session::Client::new(self.0.client.hook.add_ref());
        results.get().set_session(session);
        Ok(())
    }
}

async fn write(stream: &byte_stream::Client, bytes: &[u8]) -> Result<(), Error> {
    let mut request = stream.write_request();
    request.get().set_data(bytes);
    request.send().await
}

/// What the caller lends.
struct Sink {
    bytes: RefCell<Vec<u8>>,
    done: RefCell<Option<oneshot::Sender<Vec<u8>>>>,
    _gone: oneshot::Sender<()>,
}

impl Sink {
    fn lent() -> (
        byte_stream::Client,
        oneshot::Receiver<Vec<u8>>,
        oneshot::Receiver<()>,
    ) {
        let (done, is_done) = oneshot::channel();
        let (gone, is_gone) = oneshot::channel();
        let sink = Self {
            bytes: RefCell::default(),
            done: RefCell::new(Some(done)),
            _gone: gone,
        };
        (new_client(sink), is_done, is_gone)
    }
}

impl byte_stream::Server for Sink {
    async fn write(self: Rc<Self>, params: byte_stream::WriteParams) -> Result<(), Error> {
        self.bytes
            .borrow_mut()
            .extend_from_slice(params.get()?.get_data()?);
        Ok(())
    }

    async fn done(
        self: Rc<Self>,
        _: byte_stream::DoneParams,
        _: byte_stream::DoneResults,
    ) -> Result<(), Error> {
        if let Some(done) = self.done.take() {
            let _ = done.send(self.bytes.take());
        }
        Ok(())
    }
}

struct Rig {
    page: Rc<Page>,
    /// Calls that were made before the test.
    calls_before: usize,
    realm: Realm,
    membrane: Membrane,
    web: Direct<web_session::Client>,
    /// Calls share their context.
    repeats: bool,
    /// The connections of the host, to end them.
    outer: tokio::task::JoinHandle<Result<(), Error>>,
    inner: tokio::task::JoinHandle<Result<(), Error>>,
}

/// A caller, a host and an app, and calls that have been made once. Twice, for both kinds of calls.
fn with_rig<Test: Future<Output = ()>>(test: impl Fn(Rig) -> Test) {
    for repeats in [false, true] {
        with_calls(repeats, &test);
    }
}

fn with_calls<Test: Future<Output = ()>>(repeats: bool, test: impl Fn(Rig) -> Test) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    LocalSet::new().block_on(&runtime, async {
        let page = Rc::new(Page::default());
        let offered = View::of(capnp_rpc::new_client_from_rc(Rc::clone(&page)));
        let (inner, app_end) = UnixStream::pair().unwrap();
        let _inside: Client = peer(app_end, VatSide::Client, Some(offered.client));

        let mut link = Link::new(inner, VatSide::Server, bounds(), None);
        let realm = Realm::default();
        let membrane = realm.membrane();
        let view: ui_view::Client = link.bootstrap();
        let inner = spawn_local(link.run());
        let local = View::of(membrane.carry(session(view).await, Side::Inside));

        let (outer, outside_end) = UnixStream::pair().unwrap();
        let outer = spawn_local(Link::new(outer, VatSide::Server, bounds(), Some(local.client)).run());
        let mut link = Link::new(outside_end, VatSide::Client, bounds(), None);
        let view: ui_view::Client = link.bootstrap();
        spawn_local(link.run());
        let web = session(view).await;
        let rig = Rig {
            calls_before: page.calls.get() + 3,
            page,
            realm,
            membrane,
            web: Direct::new(web),
            repeats,
            outer,
            inner,
        };
        for _ in 0..3 {
            assert_eq!(get(&rig, "warm").await.unwrap(), "warm");
        }
        tokio::time::timeout(PATIENCE, test(rig))
            .await
            .expect("the test comes to an end");
    });
}

/// The session that a view opens; unlike a bootstrap it is no promise.
pub(super) async fn session(view: ui_view::Client) -> web_session::Client {
    let answer = view.new_session_request().send().promise.await.unwrap();
    let session = answer.get().unwrap().get_session().unwrap();
    web_session::Client::new(session.into_client_hook())
}

/// Asks for `path`; what comes at once, or nothing if a stream is announced, which goes to `sink`.
fn ask(
    rig: &Rig,
    path: &str,
    sink: byte_stream::Client,
) -> impl Future<Output = Result<(String, Option<handle::Client>), Error>> + use<> {
    use web_session::response::{Which, content::body};
    let answer = match rig.web.open().filter(|_| rig.repeats) {
        Some(open) => {
            let fill = |mut context: web_session::context::Builder<'_>| {
                context.set_response_stream(sink.clone());
                Ok::<(), Error>(())
            };
            let shared = Shared::new::<web_session::context::Owned, _>(fill)
                .unwrap()
                .unwrap();
            let call = Repeated {
                method: (web_session::Client::TYPE_ID, 0),
                places: (0, 1),
                text: path,
                shared: &shared,
            };
            open.call::<web_session::get_params::Owned, _>(&call, sink.client.hook)
        }
        None => {
            let mut request = rig.web.get_request();
            request.get().set_path(path);
            request.get().init_context().set_response_stream(sink);
            request.send().promise
        }
    };
    async move {
        let answer = answer.await?;
        let Which::Content(content) = answer.get()?.which()? else {
            panic!("there is content");
        };
        match content.get_body().which()? {
            body::Bytes(bytes) => Ok((String::from_utf8_lossy(bytes?).into_owned(), None)),
            body::Stream(handle) => Ok((String::new(), Some(handle?))),
        }
    }
}

async fn get(rig: &Rig, path: &str) -> Result<String, Error> {
    ask(rig, path, Sink::lent().0).await.map(|(body, _)| body)
}

#[test]
fn answers_reach_those_who_asked() {
    with_rig(|rig| async move {
        let paths: Vec<String> = (0..200).map(|number| format!("page {number}")).collect();
        let answers = join_all(paths.iter().map(|path| get(&rig, path))).await;
        let answers: Vec<String> = answers.into_iter().map(Result::unwrap).collect();
        assert_eq!(answers, paths);
        assert_eq!(rig.realm.pending(), 0);
        let error = get(&rig, "busy").await.unwrap_err();
        assert_eq!(
            (error.kind, error.extra.as_str()),
            (ErrorKind::Overloaded, "remote exception: busy")
        );
    });
}

#[test]
fn a_stream_arrives_whole_whenever_the_app_begins() {
    with_rig(|rig| async move {
        for (path, start) in [
            ("late", ""),
            ("early", "early "),
            ("late", ""),
            ("early", "early "),
        ] {
            let before = rig.page.calls.get();
            let (sink, done, gone) = Sink::lent();
            let (body, handle) = ask(&rig, path, sink).await.unwrap();
            assert_eq!(body, "");
            let expected = format!("{start}{}", "and late".repeat(100));
            assert_eq!(String::from_utf8(done.await.unwrap()).unwrap(), expected);
            let handle = handle.expect("a stream is announced");
            handle.ping_request().send().promise.await.unwrap();
            let dropped = rig.page.handles.borrow_mut().pop().unwrap();
            drop(handle);
            assert!(
                dropped.await.is_err(),
                "the app is told that nobody reads any more"
            );
            assert!(gone.await.is_err(), "the stream is let go of");
            assert_eq!(rig.page.calls.get(), before + 1, "the app is asked once");
        }
        assert_eq!(rig.realm.pending(), 0);
    });
}

#[test]
fn streams_and_plain_answers_go_side_by_side() {
    with_rig(|rig| async move {
        let streams = join_all((0..20).map(|_| async {
            let (sink, done, _gone) = Sink::lent();
            let (_, handle) = ask(&rig, "early", sink).await.unwrap();
            let bytes = done.await.unwrap();
            drop(handle);
            bytes.len()
        }));
        let plain = join_all((0..100).map(|_| get(&rig, "plain")));
        let (streams, plain) = futures::future::join(streams, plain).await;
        assert_eq!(streams, [6 + 800; 20]);
        assert!(plain.into_iter().all(|body| body.unwrap() == "plain"));
    });
}

#[test]
fn what_was_lent_is_dead_when_the_answer_is_there() {
    with_rig(|rig| async move {
        let (sink, _done, gone) = Sink::lent();
        assert_eq!(ask(&rig, "keep", sink).await.unwrap().0, "keep");
        assert!(gone.await.is_err(), "nobody holds it, though the app keeps it");
        let kept = rig.page.kept.borrow_mut().pop().unwrap();
        let error = kept.done_request().send().promise.await.map(drop).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Disconnected, "{error}");
        drop(kept);
        assert_eq!(get(&rig, "again").await.unwrap(), "again");
    });
}

#[test]
fn what_was_lent_may_be_handed_back() {
    with_rig(|rig| async move {
        for _ in 0..2 {
            let (sink, done, gone) = Sink::lent();
            let (_, handle) = ask(&rig, "back", sink).await.unwrap();
            let stream = byte_stream::Client::new(handle.expect("it comes back").into_client_hook());
            write(&stream, b"home").await.unwrap();
            stream.done_request().send().promise.await.unwrap();
            assert_eq!(done.await.unwrap(), b"home");
            drop(stream);
            assert!(gone.await.is_err(), "the stream is let go of");
        }
        assert_eq!(get(&rig, "again").await.unwrap(), "again");
        assert!(!rig.outer.is_finished() && !rig.inner.is_finished());
    });
}

#[test]
fn what_is_given_back_before_the_answer_brings_something_is_let_go() {
    with_rig(|rig| async move {
        for _ in 0..2 {
            let (sink, _done, gone) = Sink::lent();
            let (_, handle) = ask(&rig, "unused", sink).await.unwrap();
            let handle = handle.expect("a stream is announced");
            handle.ping_request().send().promise.await.unwrap();
            assert!(gone.await.is_err(), "nobody holds what the app did not want");
        }
    });
}

#[test]
fn a_call_nobody_waits_for_is_canceled_in_the_app() {
    with_rig(|rig| async move {
        let (sink, _done, gone) = Sink::lent();
        let call = spawn_local(ask(&rig, "never", sink));
        while rig.page.calls.get() < rig.calls_before + 1 {
            tokio::task::yield_now().await;
        }
        assert_eq!(rig.realm.pending(), 1);
        call.abort();
        assert!(gone.await.is_err(), "what was lent is back");
        while rig.realm.pending() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(get(&rig, "next").await.unwrap(), "next");
    });
}

#[test]
fn revocation_ends_what_is_on_its_way_and_what_was_lent() {
    with_rig(|rig| async move {
        let (sink, _done, gone) = Sink::lent();
        let call = spawn_local(ask(&rig, "never", sink));
        let (stream, _streamed, _) = Sink::lent();
        let (_, handle) = ask(&rig, "late", stream).await.unwrap();
        while rig.page.calls.get() < rig.calls_before + 2 {
            tokio::task::yield_now().await;
        }
        rig.membrane.revoke("the session was ended");
        let error = call.await.unwrap().map(drop).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Disconnected);
        assert!(error.extra.ends_with("the session was ended"), "{error}");
        assert!(gone.await.is_err());
        let handle = handle.expect("a stream is announced");
        assert!(handle.ping_request().send().promise.await.is_err());
        let error = get(&rig, "new").await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Disconnected, "{error}");
        assert_eq!(
            rig.page.calls.get(),
            rig.calls_before + 2,
            "a new call does not reach the app"
        );
        assert_eq!(rig.realm.pending(), 0);
    });
}

#[test]
fn an_end_of_either_connection_ends_the_calls() {
    with_rig(|rig| async move {
        let call = spawn_local(ask(&rig, "never", Sink::lent().0));
        while rig.page.calls.get() < rig.calls_before + 1 {
            tokio::task::yield_now().await;
        }
        rig.inner.abort();
        assert_eq!(
            call.await.unwrap().map(drop).unwrap_err().kind,
            ErrorKind::Disconnected
        );
        assert_eq!(rig.realm.pending(), 0);
    });
    with_rig(|rig| async move {
        let call = spawn_local(ask(&rig, "never", Sink::lent().0));
        while rig.page.calls.get() < rig.calls_before + 1 {
            tokio::task::yield_now().await;
        }
        rig.outer.abort();
        assert_eq!(
            call.await.unwrap().map(drop).unwrap_err().kind,
            ErrorKind::Disconnected
        );
        assert_eq!(rig.realm.pending(), 0);
    });
}
