//! Learns by which numbers the RPC systems know a call that is being passed on: they keep that to themselves, but what is
//! read while a call is taken in, and what is sent while it is made, belongs to it.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use capnp::message::{Builder, HeapAllocator};
use capnp_rpc::rpc_capnp::{message, message_target};

use super::calls::Line;
use super::relay::{Relayed, Route};
use super::{Incoming, Wire};

thread_local! {
    static WATCHED: Cell<bool> = const { Cell::new(false) };
    static READ: RefCell<Option<Arrival>> = const { RefCell::new(None) };
    /// The message that an RPC system is handling.
    static HANDLED: Cell<u64> = const { Cell::new(0) };
    static COUNT: Cell<u64> = const { Cell::new(0) };
    static SENT: RefCell<Vec<Line>> = const { RefCell::new(Vec::new()) };
}

/// How a call came: by which connection, and on which of the capabilities we host there.
pub struct Arrival {
    wire: Weak<Wire>,
    target: Option<u32>,
    stands_in: Option<Rc<Relayed>>,
}

impl Arrival {
    /// What `read` returns, and how the call came whose parameters it reads.
    pub fn of<T>(read: impl FnOnce() -> T) -> (T, Option<Self>) {
        READ.take();
        let read = watched(read);
        (read, READ.take())
    }

    /// Has calls like this one passed on by `route`, for as long as the peer holds what they are made on.
    pub fn route(&self, route: Rc<dyn Route>) {
        if let (Some(wire), Some(target)) = (self.wire.upgrade(), self.target) {
            wire.add_route(target, route);
        }
    }

    /// Whether calls like this one are passed on already.
    #[must_use]
    pub fn is_routed(&self) -> bool {
        self.target
            .is_none_or(|target| self.wire.upgrade().is_none_or(|wire| wire.has_route(target)))
    }

    /// Makes the call that this one leads to, with `make`. Where the call was passed on already, it is not made again:
    /// `make` then gives the RPC system what it needs to know of it.
    pub fn lead_on<T>(&self, make: impl FnOnce() -> T) -> T {
        match &self.stands_in {
            Some(relayed) => relayed.stand_in(make),
            None => make(),
        }
    }
}

impl Line {
    /// What `make` returns, and where the one call left that it made on a capability of a peer.
    pub fn of<T>(make: impl FnOnce() -> T) -> (T, Option<Self>) {
        SENT.take();
        let made = watched(make);
        let mut sent = SENT.take();
        let line = sent.pop().filter(|_| sent.is_empty());
        (made, line)
    }
}

fn watched<T>(work: impl FnOnce() -> T) -> T {
    WATCHED.set(true);
    let done = work();
    WATCHED.set(false);
    done
}

/// What a message on its way to an RPC system is told from others by.
pub(super) fn number() -> u64 {
    COUNT.set(COUNT.get() + 1);
    COUNT.get()
}

/// The RPC system asks for the next message: it is done with the one before.
pub(super) fn handled() {
    HANDLED.set(0);
}

/// A message is read: first by the RPC system, then by those it is for.
pub(super) fn read(incoming: &Incoming) {
    if !incoming.is_begun.replace(true) {
        HANDLED.set(incoming.number);
    }
    if !WATCHED.get() {
        return;
    }
    // What waited for a promise is not on the way that later calls take.
    let is_at_once = HANDLED.get() == incoming.number;
    let arrival = Arrival {
        wire: incoming.wire.clone(),
        target: target(incoming.message.get_root()).filter(|_| is_at_once),
        stands_in: incoming.stands_in.clone(),
    };
    READ.replace(Some(arrival));
}

/// A message is sent.
pub(super) fn sent(wire: &Weak<Wire>, message: &Builder<HeapAllocator>) {
    if !WATCHED.get() {
        return;
    }
    if let Some(target) = target(message.get_root_as_reader()) {
        let line = Line {
            wire: wire.clone(),
            target,
        };
        SENT.with_borrow_mut(|sent| sent.push(line));
    }
}

/// The number of the capability that a call is made on.
fn target(message: capnp::Result<message::Reader<'_>>) -> Option<u32> {
    let Ok(message::Call(Ok(call))) = message.ok()?.which() else {
        return None;
    };
    match call.get_target().ok()?.which() {
        Ok(message_target::ImportedCap(id)) => Some(id),
        _ => None,
    }
}
