//! Plays the platform for any number of grains: saves, restores, and passes capabilities between them.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use capnp::capability::{Client, FromClientHook, get_resolved_cap};
use capnp::message::{HeapAllocator, TypedBuilder};
use capnp::{Error, ErrorKind, any_pointer};
use percloud_schemas::email_capnp::email_send_port;
use percloud_schemas::grain_capnp::{app_persistent, main_view, sandstorm_api, session_context};
use percloud_schemas::hack_session_capnp::hack_session_context;
use percloud_schemas::identity_capnp::{identity, profile};
use percloud_schemas::powerbox_capnp::{powerbox_descriptor, powerbox_display_info};

type Api = sandstorm_api::Client<any_pointer::Owned>;
type View = main_view::Client<any_pointer::Owned>;
type Message<T> = TypedBuilder<T, HeapAllocator>;

/// What a token stands for.
#[derive(Clone)]
enum Saved {
    /// A capability of the platform's own.
    Fixed(Client),
    /// An object of a grain, by the id it gave.
    Object {
        grain: usize,
        id: Rc<Message<any_pointer::Owned>>,
    },
}

/// The platform.
#[derive(Default)]
pub struct World {
    views: RefCell<HashMap<usize, View>>,
    tokens: RefCell<HashMap<Vec<u8>, (usize, Saved)>>,
    /// Capabilities given to grains, by which they are recognised when they come back.
    known: RefCell<Vec<(Client, Saved)>>,
    people: RefCell<Vec<(Client, Vec<u8>)>>,
    requests: RefCell<HashMap<String, Saved>>,
    count: Cell<u64>,
    /// Labels of everything saved, in order.
    pub labels: RefCell<Vec<String>>,
    /// Tokens dropped, in order.
    pub dropped: RefCell<Vec<Vec<u8>>>,
    pub restored: Cell<u64>,
    /// Whether saving fails for now.
    pub is_broken: Cell<bool>,
}

impl World {
    /// Returns what the grain with this number bootstraps.
    pub fn api(self: &Rc<Self>, grain: usize) -> Api {
        capnp_rpc::new_client(GrainApi {
            world: self.clone(),
            grain,
        })
    }

    pub fn set_view(&self, grain: usize, view: View) {
        self.views.borrow_mut().insert(grain, view);
    }

    /// Makes the capability one that can be saved.
    pub fn fix(&self, cap: Client) {
        self.known.borrow_mut().push((cap.clone(), Saved::Fixed(cap)));
    }

    /// Makes a person whose identity id is `id` 32 times.
    pub fn person(&self, id: u8, name: &'static str) -> identity::Client {
        let person: identity::Client = capnp_rpc::new_client(Person(name));
        let cap: Client = person.clone().cast_to();
        self.fix(cap.clone());
        self.people.borrow_mut().push((cap, vec![id; 32]));
        person
    }

    /// Prepares the powerbox request `token`, for which a person has chosen `cap`, one of those fixed.
    pub async fn choose(&self, token: &str, cap: Client) {
        let saved = self.find(cap).await.unwrap();
        self.requests.borrow_mut().insert(token.to_owned(), saved);
    }

    /// Makes every token worthless.
    pub fn revoke_all(&self) {
        self.tokens.borrow_mut().clear();
    }

    /// Shows the object id behind a token.
    pub fn with_object(&self, token: &[u8], look: impl FnOnce(any_pointer::Reader<'_>)) {
        let tokens = self.tokens.borrow();
        let Some((_, Saved::Object { id, .. })) = tokens.get(token) else {
            panic!("no object was saved under this token");
        };
        look(id.get_root_as_reader().unwrap());
    }

    pub fn tokens(&self) -> Vec<Vec<u8>> {
        let mut tokens: Vec<_> = self.tokens.borrow().keys().cloned().collect();
        tokens.sort();
        tokens
    }

    async fn find(&self, cap: Client) -> Option<Saved> {
        let cap: Client = get_resolved_cap(cap).await;
        let known = self.known.borrow();
        let same = known.iter().find(|(known, _)| is_same(known, &cap));
        same.map(|(_, saved)| saved.clone())
    }

    fn mint(&self, grain: usize, saved: Saved) -> Vec<u8> {
        self.count.set(self.count.get() + 1);
        // As long as the real ones, and of the same alphabet.
        let token = format!("{:_>43}", self.count.get()).into_bytes();
        self.tokens.borrow_mut().insert(token.clone(), (grain, saved));
        token
    }

    async fn live(&self, saved: &Saved) -> Result<Client, Error> {
        match saved {
            Saved::Fixed(cap) => Ok(cap.clone()),
            Saved::Object { grain, id } => {
                let view = self.views.borrow().get(grain).cloned();
                let mut request = view.unwrap().restore_request();
                request.get().init_object_id().set_as(id.get_root_as_reader()?)?;
                let answer = request.send().promise.await?;
                let cap: Client = answer.get()?.get_cap().get_as_capability()?;
                let cap: Client = get_resolved_cap(cap).await;
                self.known.borrow_mut().push((cap.clone(), saved.clone()));
                Ok(cap)
            }
        }
    }

    /// Asks an object of `grain` for its id.
    async fn name(&self, grain: usize, cap: Client) -> Result<(Saved, String), Error> {
        let object: app_persistent::Client<any_pointer::Owned> = cap.cast_to();
        let answer = object.save_request().send().promise.await?;
        let answer = answer.get()?;
        let mut id = TypedBuilder::<any_pointer::Owned>::new_default();
        id.set_root(answer.get_object_id()?)?;
        let label = answer.get_label()?.get_default_text()?.to_string()?;
        Ok((
            Saved::Object {
                grain,
                id: Rc::new(id),
            },
            label,
        ))
    }
}

fn is_same(one: &Client, other: &Client) -> bool {
    let mut one = one.hook.add_ref();
    while let Some(closer) = one.get_resolved() {
        one = closer;
    }
    one.get_brand() == other.hook.get_brand() && one.get_ptr() == other.hook.get_ptr()
}

struct Person(&'static str);

impl identity::Server for Person {
    async fn get_profile(
        self: Rc<Self>,
        _: identity::GetProfileParams,
        mut results: identity::GetProfileResults,
    ) -> Result<(), Error> {
        let mut profile = results.get().init_profile();
        profile.reborrow().init_display_name().set_default_text(self.0);
        profile.set_preferred_handle(&*self.0.to_lowercase());
        profile.set_pronouns(profile::Pronouns::Robot);
        Ok(())
    }
}

/// What one grain finds on the platform's side. `getIdentityId` without an identity says who this is.
struct GrainApi {
    world: Rc<World>,
    grain: usize,
}

impl sandstorm_api::Server<any_pointer::Owned> for GrainApi {
    async fn get_identity_id(
        self: Rc<Self>,
        params: sandstorm_api::GetIdentityIdParams<any_pointer::Owned>,
        mut results: sandstorm_api::GetIdentityIdResults<any_pointer::Owned>,
    ) -> Result<(), Error> {
        if !params.get()?.has_identity() {
            results.get().set_id(b"the platform");
            return Ok(());
        }
        let cap: Client = params.get()?.get_identity()?.cast_to();
        let cap: Client = get_resolved_cap(cap).await;
        let people = self.world.people.borrow();
        let person = people.iter().find(|(person, _)| is_same(person, &cap));
        let (_, id) = person.ok_or_else(|| Error::failed("not an identity of this platform".into()))?;
        results.get().set_id(id);
        Ok(())
    }

    async fn save(
        self: Rc<Self>,
        params: sandstorm_api::SaveParams<any_pointer::Owned>,
        mut results: sandstorm_api::SaveResults<any_pointer::Owned>,
    ) -> Result<(), Error> {
        if self.world.is_broken.get() {
            return Err(Error::failed("saving does not work today".into()));
        }
        let label = params.get()?.get_label()?.get_default_text()?.to_string()?;
        let cap: Client = params.get()?.get_cap().get_as_capability()?;
        let saved = match self.world.find(cap.clone()).await {
            Some(saved) => saved,
            None => self.world.name(self.grain, cap).await?.0,
        };
        self.world.labels.borrow_mut().push(label);
        results.get().set_token(&self.world.mint(self.grain, saved));
        Ok(())
    }

    async fn restore(
        self: Rc<Self>,
        params: sandstorm_api::RestoreParams<any_pointer::Owned>,
        mut results: sandstorm_api::RestoreResults<any_pointer::Owned>,
    ) -> Result<(), Error> {
        self.world.restored.set(self.world.restored.get() + 1);
        let token = params.get()?.get_token()?.to_vec();
        let saved = self.world.tokens.borrow().get(&token).cloned();
        match saved {
            Some((owner, saved)) if owner == self.grain => {
                let cap = self.world.live(&saved).await?;
                results.get().init_cap().set_as_capability(cap.hook);
                Ok(())
            }
            _ => Err(Error::failed("no such token".into())),
        }
    }

    async fn drop(
        self: Rc<Self>,
        params: sandstorm_api::DropParams<any_pointer::Owned>,
        _: sandstorm_api::DropResults<any_pointer::Owned>,
    ) -> Result<(), Error> {
        let token = params.get()?.get_token()?.to_vec();
        let removed = self.world.tokens.borrow_mut().remove(&token);
        drop(removed);
        self.world.dropped.borrow_mut().push(token);
        Ok(())
    }
}

/// What a person was given in a request session.
pub struct Fulfilled {
    pub required: Vec<bool>,
    pub descriptor: Message<powerbox_descriptor::Owned>,
    pub display: Message<powerbox_display_info::Owned>,
    /// What the object called itself when it was saved.
    pub label: String,
}

/// The context of one session of one grain.
pub struct Context {
    world: Rc<World>,
    grain: usize,
    /// The request that fulfilling answers, for another grain to claim.
    answers: &'static str,
    pub fulfilled: RefCell<Option<Fulfilled>>,
    pub claimed: RefCell<Vec<Vec<bool>>>,
}

impl Context {
    pub fn new(world: &Rc<World>, grain: usize, answers: &'static str) -> Rc<Self> {
        Rc::new(Self {
            world: world.clone(),
            grain,
            answers,
            fulfilled: RefCell::default(),
            claimed: RefCell::default(),
        })
    }

    pub fn client(self: &Rc<Self>) -> session_context::Client {
        capnp_rpc::new_client_from_rc::<hack_session_context::Client, _>(self.clone()).cast_to()
    }
}

impl session_context::Server for Context {
    async fn close(
        self: Rc<Self>,
        _: session_context::CloseParams,
        _: session_context::CloseResults,
    ) -> Result<(), Error> {
        Ok(())
    }

    async fn claim_request(
        self: Rc<Self>,
        params: session_context::ClaimRequestParams,
        mut results: session_context::ClaimRequestResults,
    ) -> Result<(), Error> {
        let token = params.get()?.get_request_token()?.to_string()?;
        let required = params.get()?.get_required_permissions()?.iter().collect();
        let saved = self.world.requests.borrow_mut().remove(&token);
        let saved = saved.ok_or_else(|| Error::failed("no such request in this session".into()))?;
        self.claimed.borrow_mut().push(required);
        let cap = self.world.live(&saved).await?;
        results.get().init_cap().set_as_capability(cap.hook);
        Ok(())
    }

    async fn fulfill_request(
        self: Rc<Self>,
        params: session_context::FulfillRequestParams,
        _: session_context::FulfillRequestResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let mut descriptor = TypedBuilder::new_default();
        descriptor.set_root(params.get_descriptor()?)?;
        let mut display = TypedBuilder::new_default();
        display.set_root(params.get_display_info()?)?;
        let required = params.get_required_permissions()?.iter().collect();
        let cap: Client = params.get_cap().get_as_capability()?;
        let (saved, label) = self.world.name(self.grain, cap).await?;
        self.world
            .requests
            .borrow_mut()
            .insert(self.answers.to_owned(), saved);
        *self.fulfilled.borrow_mut() = Some(Fulfilled {
            required,
            descriptor,
            display,
            label,
        });
        Ok(())
    }
}

impl email_send_port::Server for Context {}

impl hack_session_context::Server for Context {
    async fn get_public_id(
        self: Rc<Self>,
        _: hack_session_context::GetPublicIdParams,
        mut results: hack_session_context::GetPublicIdResults,
    ) -> Result<(), Error> {
        results.get().set_public_id("public");
        Ok(())
    }
}

/// Tells whether a method is missing rather than failing.
pub fn is_unimplemented(error: &Error) -> bool {
    error.kind == ErrorKind::Unimplemented
}
