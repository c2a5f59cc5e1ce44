//! The open sessions by their ids, for the app's calls through the bridge's socket.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use capnp::capability::Client as Capability;
use capnp::message::{HeapAllocator, TypedBuilder};
use percloud_schemas::grain_capnp::session_context;
use percloud_schemas::sandstorm_http_bridge_capnp::sandstorm_http_bridge::{
    get_session_offer_results, get_session_request_results,
};

/// What a powerbox session is about.
#[derive(Clone)]
pub(crate) enum Detail {
    /// Nothing: a person opened the grain.
    Normal,
    /// Another grain asks for a capability, described as `getSessionRequest` will return it.
    Request(Rc<TypedBuilder<get_session_request_results::Owned, HeapAllocator>>),
    /// Another grain offers a capability. The message is the result of `getSessionOffer` but for the capability.
    Offer {
        offer: Capability,
        message: Rc<TypedBuilder<get_session_offer_results::Owned, HeapAllocator>>,
    },
}

/// One open session, as far as the app may ask about it.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) context: session_context::Client,
    pub(crate) detail: Detail,
}

/// All open sessions of this process.
#[derive(Default)]
pub(crate) struct SessionTable {
    next: Cell<u64>,
    open: RefCell<HashMap<String, Entry>>,
}

impl SessionTable {
    /// Gives the session the next number and keeps it findable until the registration is dropped.
    ///
    /// A request session takes two numbers and goes by the first: what apps have seen counted that way stays so.
    pub(crate) fn register(
        self: &Rc<Self>,
        context: session_context::Client,
        detail: Detail,
    ) -> Registration {
        let number = self.next.get();
        let taken = if matches!(detail, Detail::Request(_)) {
            2
        } else {
            1
        };
        self.next.set(number + taken);
        let id = number.to_string();
        self.open
            .borrow_mut()
            .insert(id.clone(), Entry { context, detail });
        Registration {
            id,
            table: self.clone(),
        }
    }

    /// Returns the open session called `id`.
    pub(crate) fn find(&self, id: &[u8]) -> Option<Entry> {
        self.open.borrow().get(std::str::from_utf8(id).ok()?).cloned()
    }
}

/// A session's place in the table.
pub(crate) struct Registration {
    id: String,
    table: Rc<SessionTable>,
}

impl Registration {
    /// Returns the id the app sees, a decimal number.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        // Bound first: dropping the entry drops capabilities, which must not find the table borrowed.
        let entry = self.table.open.borrow_mut().remove(&self.id);
        drop(entry);
    }
}
