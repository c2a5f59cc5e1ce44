//! A broker in a few hundred lines: tokens, their seals and conditions, references, and what it was told.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::rc::{Rc, Weak};

use capnp::capability::FromClientHook;
use capnp::{Error, primitive_list};
use capnp_rpc::{CapabilityServerSet, new_client};
use percloud_schemas::activity_capnp::{activity_event, ongoing_notification};
use percloud_schemas::grain_capnp::{sharing_link, ui_view, view_sharing_link};
use percloud_schemas::host_capnp::{
    grain_host, host_keeper, job_schedule, object_id, restored, seal, session_keeper,
};
use percloud_schemas::identity_capnp::identity;
use percloud_schemas::identity_impl_capnp::persistent_identity;
use percloud_schemas::persistent_capnp::persistent;
use percloud_schemas::persistentuiview_capnp::persistent_ui_view;
use percloud_schemas::supervisor_capnp::{api_token_owner, system_persistent};
use percloud_schemas::util_capnp::{assignable, handle};

use crate::membrane::{Id, Message};

pub type Token = Vec<u8>;

/// Whom a token is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seal {
    Grain(String),
    Answer(Id),
    Platform,
    Link,
}

/// What a token stands for.
#[derive(Clone)]
enum Thing {
    Object(String, Rc<Message>),
    Person(String),
}

#[derive(Clone)]
pub struct Record {
    thing: Thing,
    pub seal: Seal,
    /// Ids of sessions and references; the token is dead once one of them was ended.
    pub conditions: Vec<Id>,
    pub label: String,
}

/// A reference that was restored: what it depends on, and whose hosts know it.
struct Reference {
    conditions: Vec<Id>,
    hosts: Vec<String>,
}

/// Something given in a session: what `fulfil` or `offer` said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gift {
    pub kind: &'static str,
    pub session: Id,
    pub token: Token,
    pub permissions: Vec<bool>,
    pub tag: u64,
    pub title: String,
}

#[derive(Default)]
pub struct Broker {
    hosts: RefCell<HashMap<String, (grain_host::Client, PathBuf)>>,
    pub tokens: RefCell<HashMap<Token, Record>>,
    references: RefCell<HashMap<Id, Reference>>,
    ended: RefCell<HashSet<Id>>,
    counter: Cell<u64>,
    pub gifts: RefCell<Vec<Gift>>,
    /// What else it was told, in words.
    pub told: RefCell<Vec<String>>,
    /// The choice a person makes at the next `request`.
    pub choice: RefCell<Option<Token>>,
    pub notifications: RefCell<Vec<ongoing_notification::Client>>,
    /// Notifications shown now.
    pub shown: Rc<Cell<usize>>,
    people: RefCell<CapabilityServerSet<Person, persistent_identity::Client>>,
    /// Permissions a session's variable shows.
    pub permissions: RefCell<Vec<bool>>,
    /// Is awaited before the answer to `restore` leaves.
    pub hold: RefCell<Option<tokio::sync::oneshot::Receiver<()>>>,
}

impl Broker {
    pub fn introduce(&self, grain: &str, host: grain_host::Client, socket: &Path) {
        self.hosts
            .borrow_mut()
            .insert(grain.to_owned(), (host, socket.to_owned()));
    }

    pub fn keeper(self: &Rc<Self>, grain: &str) -> host_keeper::Client {
        new_client(Keeper {
            broker: Rc::downgrade(self),
            grain: grain.to_owned(),
        })
    }

    pub fn session(self: &Rc<Self>, grain: &str, id: Id) -> session_keeper::Client {
        new_client(Session {
            broker: Rc::downgrade(self),
            grain: grain.to_owned(),
            id,
        })
    }

    /// Somebody with an account.
    pub fn person(self: &Rc<Self>, name: &str) -> identity::Client {
        let person = Person {
            broker: Rc::downgrade(self),
            name: name.to_owned(),
        };
        let person: persistent_identity::Client = self.people.borrow_mut().new_client(person);
        person.cast_to()
    }

    pub fn view(self: &Rc<Self>, name: &str) -> ui_view::Client {
        let view: persistent_ui_view::Client = new_client(Person {
            broker: Rc::downgrade(self),
            name: name.to_owned(),
        });
        view.cast_to()
    }

    fn fresh(&self) -> u64 {
        self.counter.set(self.counter.get() + 1);
        self.counter.get()
    }

    fn fresh_id(&self) -> Id {
        let mut id = [0xee; 16];
        id[..8].copy_from_slice(&self.fresh().to_le_bytes());
        id
    }

    fn keep(&self, record: Record) -> Token {
        // 43 letters, as long as Sandstorm's.
        let token = format!("{:043}", self.fresh()).into_bytes();
        self.tokens.borrow_mut().insert(token.clone(), record);
        token
    }

    /// A token of somebody with an account, sealed for a grain.
    pub fn give_person(&self, name: &str, seal: Seal) -> Token {
        self.keep(Record {
            thing: Thing::Person(name.to_owned()),
            seal,
            conditions: Vec::new(),
            label: String::new(),
        })
    }

    /// A token of an object of a grain.
    pub fn give(&self, grain: &str, object: &str, seal: Seal) -> Token {
        let mut message = Message::new(16);
        message.get_mut().unwrap().set_as(object).unwrap();
        self.keep(Record {
            thing: Thing::Object(grain.to_owned(), Rc::new(message)),
            seal,
            conditions: Vec::new(),
            label: String::new(),
        })
    }

    /// Seals what was given in a session anew: the person chose it for a page of that session, or gave it on.
    pub fn reseal(&self, token: &[u8], seal: Seal) -> Token {
        let mut record = self.tokens.borrow()[token].clone();
        record.seal = seal;
        self.keep(record)
    }

    pub fn record(&self, token: &[u8]) -> Record {
        self.tokens
            .borrow()
            .get(token)
            .expect("the token is known")
            .clone()
    }

    /// The ids of the references that are alive.
    pub fn living(&self) -> Vec<Id> {
        let ended = self.ended.borrow();
        let mut living: Vec<_> = self.references.borrow().keys().copied().collect();
        living.retain(|id| !ended.contains(id));
        living.sort();
        living
    }

    /// Ends a session or reference, and all references that depend on it, at once and everywhere.
    pub async fn end(&self, id: Id) {
        let mut doomed = vec![id];
        let mut next = 0;
        while let Some(id) = doomed.get(next).copied() {
            next += 1;
            self.ended.borrow_mut().insert(id);
            let references = self.references.borrow();
            let dependent = references
                .iter()
                .filter(|(known, reference)| !doomed.contains(known) && reference.conditions.contains(&id));
            let dependent: Vec<Id> = dependent.map(|(id, _)| *id).collect();
            doomed.extend(dependent);
        }
        let mut calls = Vec::new();
        for id in doomed {
            let hosts = match self.references.borrow().get(&id) {
                Some(reference) => reference.hosts.clone(),
                None => self.hosts.borrow().keys().cloned().collect(),
            };
            for host in hosts {
                let host = self.hosts.borrow()[&host].0.clone();
                let mut request = host.end_session_request();
                request.get().set_session_id(&id);
                calls.push(request.send().promise);
            }
        }
        for call in calls {
            call.await.unwrap();
        }
    }

    /// What a token stands for, alive, for `grain`.
    async fn revive(
        self: &Rc<Self>,
        grain: &str,
        token: &[u8],
        seal: &Seal,
        more: &[Id],
        mut answer: restored::Builder<'_>,
    ) -> Result<(), Error> {
        let dead = || Error::failed("the token is not known here".to_owned());
        let record = self.tokens.borrow().get(token).cloned().ok_or_else(dead)?;
        let conditions = [&record.conditions[..], more].concat();
        let is_dead = |id: &Id| self.ended.borrow().contains(id);
        if record.seal != *seal || conditions.iter().any(is_dead) {
            return Err(dead());
        }
        let id = self.fresh_id();
        let mut hosts = vec![grain.to_owned()];
        answer.set_id(&id);
        match &record.thing {
            Thing::Person(name) => {
                answer
                    .init_cap()
                    .set_as_capability(self.person(name).into_client_hook());
            }
            Thing::Object(owner, object) if owner == grain => {
                answer.init_own().get_id().set_as(object.get()?)?;
            }
            Thing::Object(owner, object) => {
                hosts.push(owner.clone());
                let (host, socket) = self.hosts.borrow()[owner].clone();
                let mut nonce = [0xdd; 32];
                nonce[..8].copy_from_slice(&self.fresh().to_le_bytes());
                let mut request = host.admit_request();
                request.get().set_nonce(&nonce);
                let mut admission = request.get().init_session();
                admission.set_session_id(&id);
                admission.init_object().get_id().set_as(object.get()?)?;
                request.send().promise.await?;
                let mut door = answer.init_door();
                door.set_socket_path(socket.to_str().unwrap());
                door.set_nonce(&nonce);
            }
        }
        self.references
            .borrow_mut()
            .insert(id, Reference { conditions, hosts });
        Ok(())
    }

    fn tell(&self, words: String) {
        self.told.borrow_mut().push(words);
    }
}

struct Keeper {
    broker: Weak<Broker>,
    grain: String,
}

impl Keeper {
    fn broker(&self) -> Rc<Broker> {
        self.broker
            .upgrade()
            .expect("the broker lives as long as the test")
    }
}

fn read_seal(seal: seal::Reader<'_>) -> Result<Seal, Error> {
    Ok(match seal.which()? {
        seal::Which::Grain(id) => Seal::Grain(id?.to_string()?),
        seal::Which::Answer(session) => Seal::Answer(session?.try_into().unwrap()),
        seal::Which::Platform(()) => Seal::Platform,
        seal::Which::Link(()) => Seal::Link,
    })
}

fn text(object: object_id::Reader<'_>) -> Result<String, Error> {
    Ok(object.get_id().get_as::<capnp::text::Reader<'_>>()?.to_string()?)
}

impl host_keeper::Server for Keeper {
    async fn report_size(
        self: Rc<Self>,
        _: host_keeper::ReportSizeParams,
        _: host_keeper::ReportSizeResults,
    ) -> Result<(), Error> {
        Ok(())
    }

    async fn save(
        self: Rc<Self>,
        params: host_keeper::SaveParams,
        mut results: host_keeper::SaveResults,
    ) -> Result<(), Error> {
        let (params, broker) = (params.get()?, self.broker());
        let through = params.get_through()?;
        assert_eq!(through.len() % 16, 0);
        let conditions: Vec<Id> = through.chunks(16).map(|id| id.try_into().unwrap()).collect();
        let mut object = Message::new(16);
        object.get_mut()?.set_as(params.get_object()?.get_id())?;
        let token = broker.keep(Record {
            thing: Thing::Object(self.grain.clone(), Rc::new(object)),
            seal: read_seal(params.get_seal()?)?,
            conditions,
            label: params.get_label()?.get_default_text()?.to_string()?,
        });
        results.get().set_token(&token);
        Ok(())
    }

    async fn restore(
        self: Rc<Self>,
        params: host_keeper::RestoreParams,
        mut results: host_keeper::RestoreResults,
    ) -> Result<(), Error> {
        let seal = Seal::Grain(self.grain.clone());
        let (token, broker) = (params.get()?.get_token()?, self.broker());
        let answer = results.get().init_restored();
        broker.revive(&self.grain, token, &seal, &[], answer).await?;
        let hold = broker.hold.borrow_mut().take();
        if let Some(hold) = hold {
            hold.await
                .map_err(|_| Error::failed("the test is over".to_owned()))?;
        }
        Ok(())
    }

    async fn drop(
        self: Rc<Self>,
        params: host_keeper::DropParams,
        _: host_keeper::DropResults,
    ) -> Result<(), Error> {
        let (token, broker) = (params.get()?.get_token()?, self.broker());
        let mut tokens = broker.tokens.borrow_mut();
        if tokens
            .get(token)
            .is_some_and(|record| record.seal == Seal::Grain(self.grain.clone()))
        {
            tokens.remove(token);
        }
        Ok(())
    }

    async fn identity_id(
        self: Rc<Self>,
        params: host_keeper::IdentityIdParams,
        mut results: host_keeper::IdentityIdResults,
    ) -> Result<(), Error> {
        let broker = self.broker();
        let person: persistent_identity::Client = params.get()?.get_identity().get_as_capability()?;
        let person = capnp::capability::get_resolved_cap(person).await;
        let person = broker.people.borrow().get_local_server_of_resolved(&person);
        let person = person.ok_or_else(|| Error::failed("this is none of mine".to_owned()))?;
        results.get().set_id(person.name.as_bytes());
        Ok(())
    }

    async fn forget(
        self: Rc<Self>,
        params: host_keeper::ForgetParams,
        _: host_keeper::ForgetResults,
    ) -> Result<(), Error> {
        let forgotten = text(params.get()?.get_object()?)?;
        self.broker().tell(format!("{} forgets {forgotten}", self.grain));
        Ok(())
    }

    async fn stay_awake(
        self: Rc<Self>,
        params: host_keeper::StayAwakeParams,
        mut results: host_keeper::StayAwakeResults,
    ) -> Result<(), Error> {
        let (params, broker) = (params.get()?, self.broker());
        let caption = params
            .get_display()?
            .get_caption()?
            .get_default_text()?
            .to_string()?;
        if caption == "no" {
            return Err(Error::failed("the owner does not want to see it".to_owned()));
        }
        broker.tell(caption);
        broker.notifications.borrow_mut().push(params.get_notification()?);
        results.get().set_handle(new_client(Shown::new(&broker.shown)));
        Ok(())
    }

    async fn activity(
        self: Rc<Self>,
        params: host_keeper::ActivityParams,
        _: host_keeper::ActivityResults,
    ) -> Result<(), Error> {
        let broker = self.broker();
        let told = broker.activity(params.get()?.get_event()?).await?;
        broker.tell(told);
        Ok(())
    }

    async fn schedule(
        self: Rc<Self>,
        params: host_keeper::ScheduleParams,
        _: host_keeper::ScheduleResults,
    ) -> Result<(), Error> {
        let (params, broker) = (params.get()?, self.broker());
        assert_eq!(broker.record(params.get_token()?).seal, Seal::Platform);
        let name = params.get_name()?.get_default_text()?.to_string()?;
        let when = match params.get_job()?.which()? {
            job_schedule::Which::OneShot(once) => format!("at {} for {}", once.get_when(), once.get_slack()),
            job_schedule::Which::Periodic(period) => format!("{:?}", period?),
        };
        broker.tell(format!("{name} {when}"));
        Ok(())
    }

    async fn share_cap(
        self: Rc<Self>,
        params: host_keeper::ShareCapParams,
        mut results: host_keeper::ShareCapResults,
    ) -> Result<(), Error> {
        let (params, broker) = (params.get()?, self.broker());
        assert_eq!(broker.record(params.get_token()?).seal, Seal::Link);
        let title = params
            .get_display()?
            .get_title()?
            .get_default_text()?
            .to_string()?;
        broker.tell(format!("shares {title}"));
        let link: view_sharing_link::Client = new_client(Link);
        results.get().set_link(link.cast_to());
        Ok(())
    }

    async fn share_view(
        self: Rc<Self>,
        params: host_keeper::ShareViewParams,
        mut results: host_keeper::ShareViewResults,
    ) -> Result<(), Error> {
        let view = params.get()?.get_view()?;
        results.get().set_view(view);
        results.get().set_link(new_client(Link));
        Ok(())
    }
}

impl Broker {
    /// An event in words; people who are not the broker's own are strangers.
    async fn activity(&self, event: activity_event::Reader<'_>) -> Result<String, Error> {
        let mut told = event.get_path()?.to_string()?;
        for user in event.get_users()? {
            let person: persistent_identity::Client = user.get_identity()?.cast_to();
            let person = capnp::capability::get_resolved_cap(person).await;
            let person = self.people.borrow().get_local_server_of_resolved(&person);
            told += &person.map_or(" a stranger".to_owned(), |person| format!(" {}", person.name));
        }
        Ok(told)
    }
}

struct Session {
    broker: Weak<Broker>,
    grain: String,
    id: Id,
}

impl Session {
    fn broker(&self) -> Rc<Broker> {
        self.broker
            .upgrade()
            .expect("the broker lives as long as the test")
    }
}

fn list(permissions: primitive_list::Reader<'_, bool>) -> Vec<bool> {
    permissions.iter().collect()
}

/// Takes note of a gift; the parameters of both methods are alike.
macro_rules! gift {
    ($self:ident, $kind:literal, $params:ident) => {{
        let (params, broker) = ($params.get()?, $self.broker());
        let token = params.get_token()?.to_vec();
        let record = broker.record(&token);
        if record.seal != Seal::Answer($self.id) {
            return Err(Error::failed("sealed for somebody else".to_owned()));
        }
        broker.gifts.borrow_mut().push(Gift {
            kind: $kind,
            session: $self.id,
            token,
            permissions: list(params.get_permissions()?),
            tag: params.get_descriptor()?.get_tags()?.get(0).get_id(),
            title: params
                .get_display()?
                .get_title()?
                .get_default_text()?
                .to_string()?,
        });
        Ok(())
    }};
}

impl session_keeper::Server for Session {
    async fn claim(
        self: Rc<Self>,
        params: session_keeper::ClaimParams,
        mut results: session_keeper::ClaimResults,
    ) -> Result<(), Error> {
        let (params, broker) = (params.get()?, self.broker());
        broker.tell(format!("claims with {:?}", list(params.get_permissions()?)));
        let token = params.get_token()?.as_bytes();
        let seal = Seal::Answer(self.id);
        let answer = results.get().init_restored();
        broker.revive(&self.grain, token, &seal, &[], answer).await?;
        broker.tokens.borrow_mut().remove(token);
        Ok(())
    }

    async fn fulfil(
        self: Rc<Self>,
        params: session_keeper::FulfilParams,
        _: session_keeper::FulfilResults,
    ) -> Result<(), Error> {
        gift!(self, "answer", params)
    }

    async fn offer(
        self: Rc<Self>,
        params: session_keeper::OfferParams,
        _: session_keeper::OfferResults,
    ) -> Result<(), Error> {
        gift!(self, "offer", params)
    }

    async fn request(
        self: Rc<Self>,
        params: session_keeper::RequestParams,
        mut results: session_keeper::RequestResults,
    ) -> Result<(), Error> {
        let (params, broker) = (params.get()?, self.broker());
        let choice = broker.choice.borrow_mut().take();
        let choice = choice.ok_or_else(|| Error::failed("the person chose nothing".to_owned()))?;
        let seal = broker.record(&choice).seal;
        let wanted = params.get_query()?.get(0);
        results.get().set_descriptor(wanted)?;
        let answer = results.get().init_restored();
        broker.revive(&self.grain, &choice, &seal, &[], answer).await
    }

    async fn permissions(
        self: Rc<Self>,
        _: session_keeper::PermissionsParams,
        mut results: session_keeper::PermissionsResults,
    ) -> Result<(), Error> {
        results.get().set_var(new_client(Variable(self.broker())));
        Ok(())
    }

    async fn tie(
        self: Rc<Self>,
        params: session_keeper::TieParams,
        mut results: session_keeper::TieResults,
    ) -> Result<(), Error> {
        let broker = self.broker();
        broker.tell(format!("ties to {:?}", list(params.get()?.get_permissions()?)));
        let id = broker.fresh_id();
        let reference = Reference {
            conditions: Vec::new(),
            hosts: vec![self.grain.clone()],
        };
        broker.references.borrow_mut().insert(id, reference);
        results.get().set_id(&id);
        Ok(())
    }

    async fn close(
        self: Rc<Self>,
        _: session_keeper::CloseParams,
        _: session_keeper::CloseResults,
    ) -> Result<(), Error> {
        self.broker().tell("closes".to_owned());
        Ok(())
    }

    async fn open_view(
        self: Rc<Self>,
        params: session_keeper::OpenViewParams,
        _: session_keeper::OpenViewResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let view = params.get_view()?.get_view_info_request().send().promise.await?;
        let title = view.get()?.get_app_title()?.get_default_text()?.to_string()?;
        let path = params.get_path()?.to_str()?;
        self.broker()
            .tell(format!("opens {title} {path} {}", params.get_new_tab()));
        Ok(())
    }

    async fn activity(
        self: Rc<Self>,
        params: session_keeper::ActivityParams,
        _: session_keeper::ActivityResults,
    ) -> Result<(), Error> {
        let broker = self.broker();
        let told = broker.activity(params.get()?.get_event()?).await?;
        broker.tell(told);
        Ok(())
    }

    async fn public_id(
        self: Rc<Self>,
        _: session_keeper::PublicIdParams,
        mut results: session_keeper::PublicIdResults,
    ) -> Result<(), Error> {
        let mut public = results.get();
        public.set_public_id("abcdefghij0123456789");
        public.set_hostname("percloud.example");
        public.set_auto_url("https://abcdefghij0123456789.percloud.example");
        public.set_is_demo_user(true);
        Ok(())
    }

    async fn user_address(
        self: Rc<Self>,
        _: session_keeper::UserAddressParams,
        mut results: session_keeper::UserAddressResults,
    ) -> Result<(), Error> {
        results.get().set_address("ada@example.org");
        results.get().set_name("Ada");
        Ok(())
    }
}

/// A person, or a view of a grain called so: the broker's own objects.
pub struct Person {
    broker: Weak<Broker>,
    name: String,
}

impl identity::Server for Person {
    async fn get_profile(
        self: Rc<Self>,
        _: identity::GetProfileParams,
        mut results: identity::GetProfileResults,
    ) -> Result<(), Error> {
        results
            .get()
            .init_profile()
            .init_display_name()
            .set_default_text(self.name.as_str());
        Ok(())
    }
}

impl ui_view::Server for Person {
    async fn get_view_info(
        self: Rc<Self>,
        _: ui_view::GetViewInfoParams,
        mut results: ui_view::GetViewInfoResults,
    ) -> Result<(), Error> {
        results
            .get()
            .init_app_title()
            .set_default_text(self.name.as_str());
        Ok(())
    }
}

impl persistent::Server for Person {
    async fn save(
        self: Rc<Self>,
        params: persistent::SaveParams,
        mut results: persistent::SaveResults,
    ) -> Result<(), Error> {
        use api_token_owner::Which;
        let broker = self
            .broker
            .upgrade()
            .expect("the broker lives as long as the test");
        let owner: api_token_owner::Reader<'_> = params.get()?.get_seal_for().get_as()?;
        let id = |hex: capnp::text::Reader<'_>| -> Result<Id, Error> {
            let digits = hex.to_str()?;
            let byte = |index: usize| u8::from_str_radix(&digits[2 * index..2 * index + 2], 16).unwrap();
            Ok(std::array::from_fn(byte))
        };
        let (seal, label) = match owner.which()? {
            Which::Grain(grain) => {
                let label = grain.get_save_label()?.get_default_text()?.to_string()?;
                (Seal::Grain(grain.get_grain_id()?.to_string()?), label)
            }
            Which::ClientPowerboxRequest(request) => {
                (Seal::Answer(id(request.get_session_id()?)?), String::new())
            }
            Which::ClientPowerboxOffer(offer) => (Seal::Answer(id(offer.get_session_id()?)?), String::new()),
            Which::Webkey(()) => (Seal::Link, String::new()),
            _ => return Err(Error::failed("not for them".to_owned())),
        };
        let token = broker.keep(Record {
            thing: Thing::Person(self.name.clone()),
            seal,
            conditions: Vec::new(),
            label,
        });
        results
            .get()
            .get_sturdy_ref()
            .set_as::<capnp::data::Owned>(&token[..])
    }
}

impl system_persistent::Server for Person {}
impl persistent_identity::Server for Person {}
impl persistent_ui_view::Server for Person {}

struct Link;

impl sharing_link::Server for Link {}

impl view_sharing_link::Server for Link {
    async fn get_role_assignment(
        self: Rc<Self>,
        _: view_sharing_link::GetRoleAssignmentParams,
        _: view_sharing_link::GetRoleAssignmentResults,
    ) -> Result<(), Error> {
        Err(Error::failed("the link answers".to_owned()))
    }
}

/// Shows a notification while it lives.
struct Shown(Rc<Cell<usize>>);

impl Shown {
    fn new(count: &Rc<Cell<usize>>) -> Self {
        count.set(count.get() + 1);
        Self(Rc::clone(count))
    }
}

impl handle::Server for Shown {}

impl Drop for Shown {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

struct Variable(Rc<Broker>);

impl assignable::getter::Server<primitive_list::Owned<bool>> for Variable {
    async fn get(
        self: Rc<Self>,
        _: assignable::getter::GetParams<primitive_list::Owned<bool>>,
        mut results: assignable::getter::GetResults<primitive_list::Owned<bool>>,
    ) -> Result<(), Error> {
        let permissions = self.0.permissions.borrow();
        results.get().set_value(&permissions[..])
    }
}
