//! A broker in a few hundred lines: tokens, their seals and conditions, references, and what it was told.

mod keeper;
mod objects;
mod session;

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use capnp::Error;
use capnp::capability::FromClientHook;
use capnp_rpc::{CapabilityServerSet, new_client};
use percloud_schemas::activity_capnp::{activity_event, ongoing_notification};
use percloud_schemas::grain_capnp::ui_view;
use percloud_schemas::host_capnp::{grain_host, host_keeper, restored, session_keeper};
use percloud_schemas::identity_capnp::identity;
use percloud_schemas::identity_impl_capnp::persistent_identity;
use percloud_schemas::persistentuiview_capnp::persistent_ui_view;

use self::keeper::Keeper;
use self::objects::Person;
use self::session::Session;
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
    /// References it was told nobody holds any more.
    pub let_go: RefCell<HashSet<Id>>,
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
