//! What an app may ask of Percloud.
//!
//! The app finds [`SandstormApi`](api) on its file descriptor 3, and a [context](context) in every session. What either
//! is asked, the broker decides: this host only knows which capability is whose. So everything here is a translation:
//! a wrapper the app holds becomes the object it stands for, where that object is the broker's; an object of the app
//! becomes the id by which the app finds it again; a token becomes a capability in a membrane of its own.

pub(crate) mod api;
pub(crate) mod context;
mod job;
mod objects;
mod restore;
mod save;
mod seal;
mod wake;

use std::cell::OnceCell;
use std::rc::Rc;
use std::time::SystemTime;

use capnp::any_pointer;
use capnp::capability::{Client, Params};
use capnp::private::capability::ClientHook;
use capnp::traits::Owned;
use capnp::{Error, MessageSize};
use percloud_schemas::grain_capnp::main_view;
use percloud_schemas::host_capnp::host_keeper;
use percloud_schemas::util_capnp::localized_text;

use crate::config::Limits;
use crate::crowd::Crowd;
use crate::membrane::{Membrane, Message, Origin, Realm, Side};
use crate::neighbours::Neighbours;
use crate::references::References;
pub(crate) use wake::WakeLocks;

/// Words an app may pass to a method of the platform: 64 KiB, which is long for texts and descriptors.
const WORDS: u64 = 8 << 10;
/// Bytes of a token; those of Sandstorm and Percloud are 43 long (sheet 6.1).
const TOKEN: usize = 256;
/// Permissions an app may define.
const PERMISSIONS: u32 = 4096;

/// What the methods of the platform share. One for each host.
pub(crate) struct Platform {
    realm: Realm,
    /// What the app hands the platform, with no session about, crosses here.
    membrane: Membrane,
    pub(crate) references: Rc<References>,
    pub(crate) wake: Rc<WakeLocks>,
    neighbours: Neighbours,
    grain: String,
    clock: fn() -> SystemTime,
    limits: Limits,
    peers: OnceCell<Peers>,
}

/// Known once both connections are set up, before either is run.
struct Peers {
    view: main_view::Client<any_pointer::Owned>,
    keeper: host_keeper::Client,
}

impl Platform {
    /// `grain` is the grain's own id; `crowd` is whom the app's words go to.
    pub(crate) fn new(
        realm: &Realm,
        grain: String,
        limits: &Limits,
        clock: fn() -> SystemTime,
        crowd: Rc<Crowd>,
    ) -> Rc<Self> {
        let platform = Rc::new(Self {
            realm: realm.clone(),
            membrane: realm.membrane(),
            references: Rc::default(),
            wake: Rc::new(WakeLocks::new(realm)),
            neighbours: Neighbours::new(crowd, limits.clone()),
            grain,
            clock,
            limits: limits.clone(),
            peers: OnceCell::new(),
        });
        realm.save_with(Rc::clone(&platform) as _);
        platform
    }

    /// Introduces the app and the broker. To be called before their connections are run.
    pub(crate) fn connect(&self, view: main_view::Client<any_pointer::Owned>, keeper: host_keeper::Client) {
        self.realm.know_app(view.client.hook.as_ref());
        let introduced = self.peers.set(Peers { view, keeper });
        assert!(introduced.is_ok(), "a host has one app and one broker");
    }

    fn peers(&self) -> &Peers {
        self.peers.get().expect("nobody calls before the connections run")
    }

    fn keeper(&self) -> &host_keeper::Client {
        &self.peers().keeper
    }

    fn is_the_brokers(&self, hook: &dyn ClientHook) -> bool {
        hook.get_brand() == self.keeper().client.hook.get_brand()
    }

    /// A bounded copy of what the app passed to a method, for the broker.
    fn taken<T: Owned>(&self, params: &Params<T>) -> Result<Message, Error> {
        let params = params.hook.get()?;
        let words = bounded(params.target_size()?)?;
        let mut message = Message::new(words);
        message.get_mut()?.set_as(params)?;
        message.map_caps(|cap| self.for_broker(cap));
        Ok(message)
    }

    /// A capability the app passed, for the broker: its own objects are themselves again, by whichever session they
    /// came, so that it knows them.
    fn for_broker(&self, cap: Box<dyn ClientHook>) -> Box<dyn ClientHook> {
        match self.realm.origin(cap.add_ref()) {
            Ok(Origin::Outside {
                object,
                is_tied: false,
            }) if self.is_the_brokers(object.as_ref()) => object,
            Ok(_) if self.realm.is_the_apps(cap.as_ref()) => {
                self.membrane.carry(Client::new(cap), Side::Inside).hook
            }
            // A session's membrane has wrapped it already.
            Ok(_) => cap,
            Err(error) => capnp_rpc::new_broken_cap(error).hook,
        }
    }

    /// The broker's own object behind a capability the app passed, or `refusal`.
    async fn brokers_own(&self, cap: Client, refusal: &str) -> Result<Client, Error> {
        match self.origin(cap).await? {
            Origin::Outside {
                object,
                is_tied: false,
            } if self.is_the_brokers(object.as_ref()) => Ok(Client::new(object)),
            _ => Err(Error::failed(refusal.to_owned())),
        }
    }

    /// Where a capability the app passed comes from. Waits until that is decided, for a while.
    async fn origin(&self, cap: Client) -> Result<Origin, Error> {
        let limit = self.limits.object_timeout;
        let resolved = tokio::time::timeout(limit, capnp::capability::get_resolved_cap(cap)).await;
        let resolved = resolved.map_err(|_| {
            let seconds = limit.as_secs();
            Error::failed(format!(
                "the capability is a promise not kept within {seconds} seconds"
            ))
        })?;
        self.realm.origin(resolved.hook)
    }
}

/// Words of a message of the app, if that is not too long.
fn bounded(size: MessageSize) -> Result<u32, Error> {
    if size.word_count > WORDS {
        return Err(Error::failed(format!(
            "this says more than {} bytes, which is too long",
            WORDS * 8
        )));
    }
    Ok(u32::try_from(size.word_count + 1).expect("the bound is lower"))
}

/// A text somebody passed, if it is not too long and nothing else hides in it.
fn words(text: localized_text::Reader<'_>) -> Result<localized_text::Reader<'_>, Error> {
    let size = text.total_size()?;
    bounded(size)?;
    if size.cap_count > 0 {
        return Err(Error::failed("a text contains no capabilities".to_owned()));
    }
    Ok(text)
}

/// A capability the app passed in a pointer of any type.
fn passed(cap: any_pointer::Reader<'_>) -> Result<Client, Error> {
    cap.get_as_capability()
        .map_err(|_| Error::failed("there is no capability here".to_owned()))
}

/// Permissions an app named. As a list of its own: an absent one, copied, is no list of these.
fn permissions(list: capnp::primitive_list::Reader<'_, bool>) -> Result<Vec<bool>, Error> {
    if list.len() > PERMISSIONS {
        return Err(Error::failed(format!(
            "an app has {PERMISSIONS} permissions at most"
        )));
    }
    Ok(list.iter().collect())
}
