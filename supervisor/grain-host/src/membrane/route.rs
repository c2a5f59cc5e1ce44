//! Calls that cross as they came: asked for each, counted and broken like every other.

use std::any::Any;
use std::rc::{Rc, Weak};

use capnp::private::capability::ClientHook;
use capnp::traits::HasTypeId;
use percloud_link::{Arrival, Asked, Line, Passage, Route};
use percloud_schemas::web_session_capnp::web_session;

use super::cap::CapState;
use super::carry::carry_error;
use super::{MembraneState, Side};

/// `WebSession.openWebSocket`: what is lent with it lives as long as the socket.
const OPEN_WEB_SOCKET: u16 = 2;

/// From a wrapper to the object behind it.
struct CapRoute {
    cap: Weak<CapState>,
    line: Line,
}

impl CapState {
    /// Has further calls of this kind pass as they come, if this one went to its object directly: `hook`, by way of
    /// `line`. Behind another wrapper, or a promise, it does not.
    pub(super) fn learn(self: &Rc<Self>, hook: &dyn ClientHook, arrival: &Arrival, line: Line) {
        let is_connection = hook.get_brand() != 0 && hook.get_brand() != self.membrane.realm.brand();
        let is_settled = hook.get_resolved().is_none() && hook.when_more_resolved().is_none();
        if is_connection && is_settled && !arrival.is_routed() {
            arrival.route(Rc::new(CapRoute {
                cap: Rc::downgrade(self),
                line,
            }));
        }
    }
}

impl Route for CapRoute {
    fn admit(&self, asked: Asked) -> Option<Line> {
        let cap = self.cap.upgrade()?;
        if cap.question(asked.interface, asked.method).is_some() || !may_lend(asked) {
            return None;
        }
        let _object = cap.admit(asked.interface).ok()?;
        Some(self.line.clone())
    }

    fn begun(&self, passage: Passage) -> Box<dyn Any> {
        match self.cap.upgrade() {
            Some(cap) => Box::new(UnderWay::new(&cap.membrane, cap.target.lives, passage)),
            None => Box::new(()),
        }
    }

    fn error(&self, error: capnp::Error) -> capnp::Error {
        carry_error(error)
    }
}

/// What is lent is let go when the answer is there and carries no capability. So it is with the stream for an answer's
/// body (`WebSession.Context`), which serves nobody if the answer does not say that it will; of other interfaces nothing
/// is known.
fn may_lend(asked: Asked) -> bool {
    const WEB_SESSION: u64 = web_session::Client::TYPE_ID;
    !asked.lends || (asked.interface == WEB_SESSION && asked.method != OPEN_WEB_SOCKET)
}

/// A call's place among those to be broken on revocation, and in the count of those that keep the app awake.
struct UnderWay {
    membrane: Rc<MembraneState>,
    lives: Side,
    place: usize,
}

impl UnderWay {
    fn new(membrane: &Rc<MembraneState>, lives: Side, passage: Passage) -> Self {
        if lives == Side::Inside {
            let pending = &membrane.realm.pending;
            pending.set(pending.get() + 1);
        }
        let place = membrane.passages.borrow_mut().insert(passage);
        Self {
            membrane: Rc::clone(membrane),
            lives,
            place,
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if self.lives == Side::Inside {
            let pending = &self.membrane.realm.pending;
            pending.set(pending.get() - 1);
        }
        self.membrane.passages.borrow_mut().remove(self.place);
    }
}
