//! An app that does what a test wants, and its objects.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::ops::Deref;
use std::rc::Rc;

use capnp::capability::{Client, DispatchCallResult, FromClientHook, FromServer, Params, Results, Server};
use capnp::private::capability::ClientHook;
use capnp::traits::HasTypeId;
use capnp::{Error, any_pointer};
use capnp_rpc::CapabilityServerSet;
use futures::channel::oneshot;
use percloud_schemas::api_session_capnp::api_session;
use percloud_schemas::grain_capnp::{
    app_persistent, main_view, sandstorm_api, scheduled_job, session_context, ui_view,
};
use percloud_schemas::identity_capnp::{identity, user_info};
use percloud_schemas::util_capnp::byte_stream;
use percloud_schemas::web_session_capnp::web_session;

use super::rig::{Any, Api};

/// Bytes of the answer to `restore` of "bulk".
pub const BULK: usize = 256 << 10;

/// What the app was asked, and what it kept.
#[derive(Default)]
pub struct TestApp {
    /// The context of every session, in order.
    pub contexts: RefCell<Vec<session_context::Client>>,
    /// The object of every session, in order.
    pub sessions: RefCell<Vec<Rc<Thing>>>,
    /// The identity of every visitor who has one.
    pub people: RefCell<Vec<identity::Client>>,
    /// What sessions were opened, in words.
    pub opened: RefCell<Vec<String>>,
    /// What it was offered.
    pub offered: RefCell<Vec<Client>>,
    pub dropped: RefCell<Vec<String>>,
    pub knows_no_programs: Cell<bool>,
    pub set: RefCell<CapabilityServerSet<Thing, ThingClient>>,
    /// Objects by name that were restored.
    pub restored: RefCell<Vec<Rc<Thing>>>,
}

impl TestApp {
    /// A new object of the app.
    pub fn thing(&self, name: &str) -> (Rc<Thing>, ThingClient) {
        let thing = Rc::new(Thing::named(name));
        let client = self.set.borrow_mut().new_client_from_rc(Rc::clone(&thing));
        (thing, client)
    }

    /// The context of the newest session.
    pub fn context(&self) -> session_context::Client {
        self.contexts
            .borrow()
            .last()
            .expect("a session was opened")
            .clone()
    }

    /// Whether a capability is an object of the app, unwrapped; which one.
    pub async fn recognise(&self, cap: ThingClient) -> Option<String> {
        let cap = capnp::capability::get_resolved_cap(cap).await;
        let thing = self.set.borrow().get_local_server_of_resolved(&cap);
        thing.map(|thing| thing.name.clone())
    }

    fn admit(
        &self,
        kind: &str,
        user: user_info::Reader<'_>,
        context: session_context::Client,
        params: &str,
    ) -> Result<ThingClient, Error> {
        let permissions: Vec<bool> = user.get_permissions()?.iter().collect();
        let blob = user.get_deprecated_permissions_blob()?;
        self.opened
            .borrow_mut()
            .push(format!("{kind} {permissions:?} {blob:?} {params}"));
        self.contexts.borrow_mut().push(context);
        if user.has_identity() {
            self.people.borrow_mut().push(user.get_identity()?);
        }
        let (thing, session) = self.thing("session");
        self.sessions.borrow_mut().push(thing);
        Ok(session)
    }
}

impl ui_view::Server for TestApp {
    async fn get_view_info(
        self: Rc<Self>,
        _: ui_view::GetViewInfoParams,
        mut results: ui_view::GetViewInfoResults,
    ) -> Result<(), Error> {
        results.get().init_permissions(3);
        Ok(())
    }

    async fn new_session(
        self: Rc<Self>,
        params: ui_view::NewSessionParams,
        mut results: ui_view::NewSessionResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let session = match params.get_session_type() {
            api_session::Client::TYPE_ID if self.knows_no_programs.get() => {
                return Err(Error::failed("Unsupported session type.".to_owned()));
            }
            api_session::Client::TYPE_ID => {
                let given: api_session::params::Reader<'_> = params.get_session_params().get_as()?;
                let address = given.get_remote_address()?.get_lower64();
                let told = format!("address {address:#x}");
                self.admit("api", params.get_user_info()?, params.get_context()?, &told)?
            }
            _ => {
                let given: web_session::params::Reader<'_> = params.get_session_params().get_as()?;
                let path = given.get_base_path()?.to_string()?;
                self.admit("page", params.get_user_info()?, params.get_context()?, &path)?
            }
        };
        results.get().set_session(session.cast_to());
        Ok(())
    }

    async fn new_request_session(
        self: Rc<Self>,
        params: ui_view::NewRequestSessionParams,
        mut results: ui_view::NewRequestSessionResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let query = params.get_request_info()?;
        let told = format!("tag {}", query.get(0).get_tags()?.get(0).get_id());
        let session = self.admit("request", params.get_user_info()?, params.get_context()?, &told)?;
        results.get().set_session(session.cast_to());
        Ok(())
    }

    async fn new_offer_session(
        self: Rc<Self>,
        params: ui_view::NewOfferSessionParams,
        mut results: ui_view::NewOfferSessionResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let told = format!("tag {}", params.get_descriptor()?.get_tags()?.get(0).get_id());
        self.offered
            .borrow_mut()
            .push(params.get_offer().get_as_capability()?);
        let session = self.admit("offer", params.get_user_info()?, params.get_context()?, &told)?;
        results.get().set_session(session.cast_to());
        Ok(())
    }
}

impl main_view::Server<Any> for TestApp {
    async fn restore(
        self: Rc<Self>,
        params: main_view::RestoreParams<Any>,
        mut results: main_view::RestoreResults<Any>,
    ) -> Result<(), Error> {
        let name = params
            .get()?
            .get_object_id()?
            .get_as::<capnp::text::Reader<'_>>()?;
        let name = name.to_str()?;
        match name {
            "gone" => return Err(Error::failed("there is no such thing".to_owned())),
            "slow" => std::future::pending::<()>().await,
            _ => {}
        }
        let (thing, client) = self.thing(name);
        self.restored.borrow_mut().push(thing);
        results
            .get()
            .init_cap()
            .set_as_capability(client.into_client_hook());
        Ok(())
    }

    async fn drop(
        self: Rc<Self>,
        params: main_view::DropParams<Any>,
        _: main_view::DropResults<Any>,
    ) -> Result<(), Error> {
        let name = params
            .get()?
            .get_object_id()?
            .get_as::<capnp::text::Reader<'_>>()?;
        match name.to_str()? {
            "kept" => Err(Error::unimplemented("drop is not known here".to_owned())),
            "stuck" => Err(Error::failed("the disk is full".to_owned())),
            name => {
                self.dropped.borrow_mut().push(name.to_owned());
                Ok(())
            }
        }
    }
}

/// An object of an app, or of a visitor. Speaks by the methods of an interface that is at hand: `restore` makes or
/// finds another capability, `shareCap` gives back what it is given, `save` keeps it and pings it, and so on.
pub struct Thing {
    pub name: String,
    pub pings: Cell<usize>,
    pub kept: RefCell<Vec<Client>>,
    /// Calls that are never answered; each tells when it is given up.
    pub hanging: RefCell<Vec<oneshot::Receiver<()>>>,
    /// What `restore` of "promise" leads to, once told.
    pub promised: RefCell<Option<oneshot::Sender<ThingClient>>>,
    /// What was written to "sink".
    pub written: Rc<Cell<usize>>,
    pub runs: Cell<usize>,
}

impl Thing {
    pub fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            pings: Cell::new(0),
            kept: RefCell::default(),
            hanging: RefCell::default(),
            promised: RefCell::default(),
            written: Rc::default(),
            runs: Cell::new(0),
        }
    }

    /// An object of somebody who is no app.
    pub fn of_visitor(name: &str) -> (Rc<Self>, ThingClient) {
        let thing = Rc::new(Self::named(name));
        let client = capnp_rpc::new_client_from_rc(Rc::clone(&thing));
        (thing, client)
    }
}

impl sandstorm_api::Server<Any> for Thing {
    async fn restore(
        self: Rc<Self>,
        params: sandstorm_api::RestoreParams<Any>,
        mut results: sandstorm_api::RestoreResults<Any>,
    ) -> Result<(), Error> {
        let name = params.get()?.get_token()?;
        let cap: Client = match std::str::from_utf8(name).expect("tests write text") {
            "kept" => self.kept.borrow()[0].clone(),
            "promise" => {
                let (promise, kept) = oneshot::channel();
                *self.promised.borrow_mut() = Some(promise);
                let promised: ThingClient = capnp_rpc::new_future_client(async move {
                    kept.await.map_err(|_| Error::failed("never".to_owned()))
                });
                promised.client
            }
            "bulk" => {
                return results
                    .get()
                    .init_cap()
                    .set_as::<capnp::data::Owned>(&[7_u8; BULK][..]);
            }
            "sink" => {
                let sink: byte_stream::Client = capnp_rpc::new_client(Sink(Rc::clone(&self.written)));
                sink.client
            }
            name => {
                let child: ThingClient = capnp_rpc::new_client(Self::named(name));
                child.client
            }
        };
        results.get().init_cap().set_as_capability(cap.hook);
        Ok(())
    }

    async fn share_cap(
        self: Rc<Self>,
        params: sandstorm_api::ShareCapParams<Any>,
        mut results: sandstorm_api::ShareCapResults<Any>,
    ) -> Result<(), Error> {
        let cap: Client = params.get()?.get_cap().get_as_capability()?;
        results.get().init_shared_cap().set_as_capability(cap.hook);
        Ok(())
    }

    async fn save(
        self: Rc<Self>,
        params: sandstorm_api::SaveParams<Any>,
        _: sandstorm_api::SaveResults<Any>,
    ) -> Result<(), Error> {
        let cap: ThingClient = params.get()?.get_cap().get_as_capability()?;
        ping(&cap).await?;
        self.kept.borrow_mut().push(cap.client);
        Ok(())
    }

    async fn deprecated_publish(
        self: Rc<Self>,
        _: sandstorm_api::DeprecatedPublishParams<Any>,
        _: sandstorm_api::DeprecatedPublishResults<Any>,
    ) -> Result<(), Error> {
        self.pings.set(self.pings.get() + 1);
        Ok(())
    }

    async fn deprecated_register_action(
        self: Rc<Self>,
        _: sandstorm_api::DeprecatedRegisterActionParams<Any>,
        _: sandstorm_api::DeprecatedRegisterActionResults<Any>,
    ) -> Result<(), Error> {
        let (_held, given_up) = oneshot::channel::<()>();
        self.hanging.borrow_mut().push(given_up);
        std::future::pending().await
    }
}

impl app_persistent::Server<Any> for Thing {
    async fn save(
        self: Rc<Self>,
        _: app_persistent::SaveParams<Any>,
        mut results: app_persistent::SaveResults<Any>,
    ) -> Result<(), Error> {
        match self.name.as_str() {
            "passing" => return Err(Error::unimplemented("not for long".to_owned())),
            "long" => {
                let long = "x".repeat(4000);
                return results.get().get_object_id()?.set_as(long.as_str());
            }
            "carrier" => {
                let (_, cap) = Self::of_visitor("cargo");
                results
                    .get()
                    .get_object_id()?
                    .set_as_capability(cap.into_client_hook());
                return Ok(());
            }
            name => results.get().get_object_id()?.set_as(name)?,
        }
        results.get().init_label().set_default_text("as the app says");
        Ok(())
    }
}

impl scheduled_job::callback::Server for Thing {
    async fn run(
        self: Rc<Self>,
        _: scheduled_job::callback::RunParams,
        mut results: scheduled_job::callback::RunResults,
    ) -> Result<(), Error> {
        self.runs.set(self.runs.get() + 1);
        results.get().set_cancel_future_runs(self.name == "last");
        Ok(())
    }
}

struct Sink(Rc<Cell<usize>>);

impl byte_stream::Server for Sink {
    async fn write(self: Rc<Self>, params: byte_stream::WriteParams) -> Result<(), Error> {
        self.0.set(self.0.get() + params.get()?.get_data()?.len());
        Ok(())
    }
}

/// A [`Thing`] from afar: capnp knows no object of several interfaces but by inheritance.
#[derive(Clone)]
pub struct ThingClient {
    pub client: Client,
}

impl FromClientHook for ThingClient {
    fn new(hook: Box<dyn ClientHook>) -> Self {
        Self {
            client: Client::new(hook),
        }
    }

    fn into_client_hook(self) -> Box<dyn ClientHook> {
        self.client.hook
    }

    fn as_client_hook(&self) -> &dyn ClientHook {
        &*self.client.hook
    }
}

impl FromServer<Thing> for ThingClient {
    type Dispatch = ThingDispatch;

    fn from_server(thing: Rc<Thing>) -> ThingDispatch {
        ThingDispatch(thing)
    }
}

#[derive(Clone)]
pub struct ThingDispatch(Rc<Thing>);

impl Deref for ThingDispatch {
    type Target = Thing;

    fn deref(&self) -> &Thing {
        &self.0
    }
}

impl Server for ThingDispatch {
    fn dispatch_call(
        self,
        interface: u64,
        method: u16,
        params: Params<any_pointer::Owned>,
        results: Results<any_pointer::Owned>,
    ) -> DispatchCallResult {
        const PERSISTENT: u64 = app_persistent::Client::<Any>::TYPE_ID;
        const CALLBACK: u64 = scheduled_job::callback::Client::TYPE_ID;
        match interface {
            PERSISTENT => <app_persistent::Client<Any> as FromServer<Thing>>::from_server(self.0)
                .dispatch_call(interface, method, params, results),
            CALLBACK => <scheduled_job::callback::Client as FromServer<Thing>>::from_server(self.0)
                .dispatch_call(interface, method, params, results),
            _ => <Api as FromServer<Thing>>::from_server(self.0)
                .dispatch_call(interface, method, params, results),
        }
    }

    fn as_ptr(&self) -> usize {
        Rc::as_ptr(&self.0).cast::<()>() as usize
    }
}

fn api(cap: &ThingClient) -> Api {
    FromClientHook::new(cap.client.hook.add_ref())
}

pub fn ping(cap: &ThingClient) -> impl Future<Output = Result<(), Error>> + use<> {
    let answer = api(cap).deprecated_publish_request().send().promise;
    async move { answer.await.map(drop) }
}

pub fn hang(cap: &ThingClient) -> impl Future<Output = Result<(), Error>> + use<> {
    let answer = api(cap).deprecated_register_action_request().send().promise;
    async move { answer.await.map(drop) }
}

/// Another capability of a thing, as `restore` of its methods.
pub fn child(cap: &ThingClient, name: &str) -> impl Future<Output = Result<ThingClient, Error>> + use<> {
    let mut request = api(cap).restore_request();
    request.get().set_token(name.as_bytes());
    let answer = request.send().promise;
    async move { answer.await?.get()?.get_cap().get_as_capability() }
}

/// The same, used before it is there.
pub fn early_child(cap: &ThingClient, name: &str) -> ThingClient {
    let mut request = api(cap).restore_request();
    request.get().set_token(name.as_bytes());
    FromClientHook::new(request.send().pipeline.get_cap().as_cap())
}

/// Gives a thing a capability and takes it back.
pub fn echo(
    cap: &ThingClient,
    given: &ThingClient,
) -> impl Future<Output = Result<ThingClient, Error>> + use<> {
    let mut request = api(cap).share_cap_request();
    request
        .get()
        .get_cap()
        .set_as_capability(given.client.hook.add_ref());
    let answer = request.send().promise;
    async move { answer.await?.get()?.get_shared_cap().get_as_capability() }
}

/// Gives a thing a capability to keep; it pings it at once.
pub fn keep(cap: &ThingClient, given: &ThingClient) -> impl Future<Output = Result<(), Error>> + use<> {
    let mut request = api(cap).save_request();
    request
        .get()
        .get_cap()
        .set_as_capability(given.client.hook.add_ref());
    let answer = request.send().promise;
    async move { answer.await.map(drop) }
}

/// Asks for an answer of [`BULK`] bytes; how many came.
pub fn bulk(cap: &ThingClient) -> impl Future<Output = Result<usize, Error>> + use<> {
    let mut request = api(cap).restore_request();
    request.get().set_token(b"bulk");
    let answer = request.send().promise;
    async move { Ok(answer.await?.get()?.get_cap().get_as::<&[u8]>()?.len()) }
}
