//! The boundary every capability crosses between the app and the outside.
//!
//! Apps exchange capabilities of interfaces Percloud has never seen, so the membrane knows no interface: it wraps
//! at the level of capnp's hooks (ADR 0005). Whatever crosses is wrapped: the capabilities in parameters and
//! results, promises and what they resolve to, and what is pipelined on them. What comes home is unwrapped, so
//! that an app recognises its own objects (sheet 3.1, traps 39 and 40).
//!
//! A [`Realm`] is one app's boundary. A [`Membrane`] is one session's share of it, and the unit of revocation: once
//! revoked, every capability that crossed through it is dead, in both directions, and lets go of its target.
//!
//! A membrane may have an id, by which its owner ends it and under whose conditions objects are saved through it
//! ([`saving`]). A *tie* ([`Realm::tie`]) is a membrane with the app on both sides: a condition on one capability the
//! app holds, which stays on when it comes home. What the platform hands the app in a membrane of its own passes the
//! session's by, so that it may outlive the session.
//!
//! Most calls cross without being copied: the link passes them on as they came, where a [`route`] lets it.
//!
//! *Invariants.* A wrapper never yields its target to the side that holds the wrapper. A revoked membrane holds no
//! target. No message is copied more often than twice on its way through, and not at all if it carries no capability and its
//! way is known.

mod cap;
mod carry;
mod origin;
mod pending;
mod request;
mod route;
mod saving;
mod slots;
#[cfg(test)]
mod tests;

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::rc::{Rc, Weak};
use std::task::{Poll, Waker};

use capnp::capability::FromClientHook;
use capnp::private::capability::ClientHook;
use percloud_link::Passage;

use cap::{Cap, CapState};
pub use carry::Message;
pub(crate) use carry::carry_error;
pub use origin::Origin;
pub(crate) use saving::{Asked, Question, Saver};
use slots::Slots;

/// By what a membrane is named when it is to be broken: the id of a session or of a reference.
pub type Id = [u8; 16];

/// The two sides of a membrane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The app.
    Inside,
    /// Everything else: the edge, the broker, other grains, this process.
    Outside,
}

impl Side {
    fn other(self) -> Self {
        match self {
            Self::Inside => Self::Outside,
            Self::Outside => Self::Inside,
        }
    }
}

/// One app's boundary: knows every wrapper, so that it can recognise what comes home.
#[derive(Clone, Default)]
pub struct Realm(Rc<RealmState>);

#[derive(Default)]
struct RealmState {
    /// Every wrapper alive; its place here is its identity towards the RPC system.
    caps: RefCell<Slots<Weak<CapState>>>,
    /// How often somebody called into the app or asked to keep it.
    touches: Cell<u64>,
    /// Woken by the next use.
    on_touch: Cell<Option<Waker>>,
    /// Calls into the app that have not been answered.
    pending: Cell<usize>,
    is_overloaded: RefCell<Option<Box<dyn Fn() -> bool>>>,
    /// Tells the app's own capabilities, as they come from its connection.
    app_brand: Cell<Option<usize>>,
    /// Answers those outside who want to save an object of the app.
    saver: RefCell<Option<Rc<dyn Saver>>>,
}

impl Realm {
    /// A membrane of its own for somebody, revocable by itself.
    #[must_use]
    pub fn membrane(&self) -> Membrane {
        self.new_membrane(None, false)
    }

    /// The same, for the session or reference called `id`: what is saved through it is saved under its conditions.
    #[must_use]
    pub fn membrane_of(&self, id: Id) -> Membrane {
        self.new_membrane(Some(id), false)
    }

    fn new_membrane(&self, id: Option<Id>, is_tied: bool) -> Membrane {
        Membrane(Rc::new(MembraneState {
            realm: Rc::clone(&self.0),
            id,
            is_tied,
            kept: RefCell::new(None),
            revoked: RefCell::new(None),
            waiting: RefCell::new(Slots::default()),
            passages: RefCell::new(Slots::default()),
            caps: RefCell::new(HashMap::default()),
        }))
    }

    /// Notes that the grain is in use, as every call into the app does.
    pub fn touch(&self) {
        self.0.touch();
    }

    /// A number that grows with every use of the grain.
    #[must_use]
    pub fn touches(&self) -> u64 {
        self.0.touches.get()
    }

    /// Waits until the grain is used, unless it was since `touches` was read. One task may wait at a time.
    pub async fn touched(&self, touches: u64) {
        poll_fn(|context| {
            if self.touches() != touches {
                return Poll::Ready(());
            }
            self.0.on_touch.set(Some(context.waker().clone()));
            Poll::Pending
        })
        .await;
    }

    /// Calls the app is working on now.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.0.pending.get()
    }

    /// Objects of the app that are held outside.
    #[must_use]
    pub fn held(&self) -> usize {
        let caps = self.0.caps.borrow();
        let held =
            |cap: &Rc<CapState>| cap.target.lives == Side::Inside && cap.membrane.revoked.borrow().is_none();
        caps.values().filter_map(Weak::upgrade).filter(held).count()
    }

    /// Wrappers alive on either side.
    #[cfg(test)]
    fn caps(&self) -> usize {
        self.0.caps.borrow().len()
    }

    /// Refuses new calls into the app as overloaded while `is_overloaded` says so.
    pub fn refuse_when(&self, is_overloaded: impl Fn() -> bool + 'static) {
        *self.0.is_overloaded.borrow_mut() = Some(Box::new(is_overloaded));
    }
}

impl RealmState {
    /// Tells this realm's wrappers from other capabilities: no connection lives at our address.
    fn brand(self: &Rc<Self>) -> usize {
        Rc::as_ptr(self) as usize
    }

    fn touch(&self) {
        self.touches.set(self.touches.get().wrapping_add(1));
        if let Some(waker) = self.on_touch.take() {
            waker.wake();
        }
    }

    fn is_overloaded(&self) -> bool {
        self.is_overloaded
            .borrow()
            .as_ref()
            .is_some_and(|is_overloaded| is_overloaded())
    }

    fn find(&self, identity: usize) -> Option<Rc<CapState>> {
        self.caps.borrow().get(identity >> 1)?.upgrade()
    }
}

/// One session's share of the boundary, and the unit of revocation.
#[derive(Clone)]
pub struct Membrane(Rc<MembraneState>);

struct MembraneState {
    realm: Rc<RealmState>,
    id: Option<Id>,
    /// Both sides of it are the app's: see [`Realm::tie`].
    is_tied: bool,
    /// Let go when the membrane is revoked, or nothing that crossed it is held any more.
    kept: RefCell<Option<Box<dyn Any>>>,
    revoked: RefCell<Option<capnp::Error>>,
    /// Calls under way; woken when the membrane is revoked.
    waiting: RefCell<Slots<Waker>>,
    /// Calls that are passed on as they came.
    passages: RefCell<Slots<Passage>>,
    /// What has crossed and is still held, so that one object keeps one identity on the other side.
    caps: RefCell<HashMap<Target, Weak<CapState>, slots::Spread>>,
}

/// A capability on one side, as the RPC system tells it from others while it is alive.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Target {
    brand: usize,
    identity: usize,
    lives: Side,
}

impl Membrane {
    /// Takes a capability that lives on `from` across to the other side.
    #[must_use]
    pub fn carry<C: FromClientHook>(&self, cap: C, from: Side) -> C {
        C::new(self.0.carry(cap.into_client_hook(), from))
    }

    /// A copy of `message`, which was written on `from`, for the other side.
    ///
    /// # Errors
    /// When the message is malformed.
    pub fn carry_message(
        &self,
        message: capnp::any_pointer::Reader<'_>,
        from: Side,
    ) -> capnp::Result<Message> {
        self.0.copy_owned(message, from)
    }

    /// Keeps `thing` for as long as something that crossed is held, and until the membrane is revoked.
    pub fn keep(&self, thing: impl Any) {
        if !self.is_revoked() {
            *self.0.kept.borrow_mut() = Some(Box::new(thing));
        }
    }

    /// A reference that keeps nothing alive.
    #[must_use]
    pub fn downgrade(&self) -> WeakMembrane {
        WeakMembrane(Rc::downgrade(&self.0))
    }

    /// Breaks everything that crossed through this membrane: calls under way and new ones fail as disconnected
    /// with `reason`, and the objects on both sides are let go. Once revoked it stays so.
    pub fn revoke(&self, reason: &str) {
        self.0.revoke(capnp::Error::disconnected(reason.to_owned()));
    }

    /// Whether [`Membrane::revoke`] was called.
    #[must_use]
    pub fn is_revoked(&self) -> bool {
        self.0.revoked.borrow().is_some()
    }
}

/// Refers to a membrane without keeping it.
#[derive(Clone)]
pub struct WeakMembrane(Weak<MembraneState>);

impl WeakMembrane {
    /// The membrane, if anything that crossed it is still held.
    #[must_use]
    pub fn upgrade(&self) -> Option<Membrane> {
        self.0.upgrade().map(Membrane)
    }
}

impl MembraneState {
    fn carry(self: &Rc<Self>, mut hook: Box<dyn ClientHook>, from: Side) -> Box<dyn ClientHook> {
        while let Some(closer) = hook.get_resolved() {
            hook = closer;
        }
        if from == Side::Outside && self.needs_no_wrapper(hook.as_ref()) {
            return hook;
        }
        if let Some(home) = self.unwrapped(hook.as_ref(), from) {
            return home;
        }
        let target = Target {
            brand: hook.get_brand(),
            identity: hook.get_ptr(),
            lives: from,
        };
        let known = self.caps.borrow().get(&target).and_then(Weak::upgrade);
        Box::new(Cap(known.unwrap_or_else(|| CapState::new(self, hook, target))))
    }

    /// What `hook` wraps, if it is a wrapper on its way home.
    ///
    /// Home is the app for its own objects, through whichever session they come back. For an object of the outside
    /// it is the session it came through: handed to another session it stays wrapped, and dies with the first one.
    fn unwrapped(self: &Rc<Self>, hook: &dyn ClientHook, from: Side) -> Option<Box<dyn ClientHook>> {
        if hook.get_brand() != self.realm.brand() {
            return None;
        }
        let cap = self.realm.find(hook.get_ptr())?;
        let comes_home = cap.target.lives == from.other()
            && (Rc::ptr_eq(&cap.membrane, self)
                || (cap.target.lives == Side::Inside && !cap.membrane.is_tied));
        if comes_home { cap.hook().ok() } else { None }
    }

    /// Whether `hook` is fit for the app as it is: the app's own, or wrapped for the app by the platform. Under a tie,
    /// what is wrapped for the app is wrapped once more, since it ends with the tie.
    fn needs_no_wrapper(&self, hook: &dyn ClientHook) -> bool {
        let is_wrapped = hook.get_brand() == self.realm.brand();
        self.realm.is_the_apps(hook) && !(self.is_tied && is_wrapped)
    }

    fn revoke(&self, error: capnp::Error) {
        if self.revoked.borrow().is_some() {
            return;
        }
        *self.revoked.borrow_mut() = Some(error.clone());
        // Letting go of a capability runs other code, so nothing may be borrowed meanwhile.
        let caps = std::mem::take(&mut *self.caps.borrow_mut());
        for cap in caps.into_values().filter_map(|cap| cap.upgrade()) {
            cap.let_go();
        }
        let waiting = std::mem::take(&mut *self.waiting.borrow_mut());
        waiting.into_values().for_each(Waker::wake);
        let passages = std::mem::take(&mut *self.passages.borrow_mut());
        passages
            .into_values()
            .for_each(|passage| passage.break_off(error.clone()));
        let kept = self.kept.borrow_mut().take();
        drop(kept);
    }
}
