//! The boundary between the app's connections and the platform's.
//!
//! It exists for one method: the platform saves an object of the app by asking it for an id, and that id has to be
//! told from those of the bridge's own objects when it comes back to `MainView.restore`. So `AppPersistent.save`
//! on whatever the app exports is answered here, with the app's id inside a `BridgeObjectId`. Which capabilities
//! will be saved one day nobody knows when they pass, so all are wrapped: those in parameters and results,
//! promises, and what they resolve to. What comes home is unwrapped.
//!
//! *Invariant.* No object of the app reaches the platform, and none of the platform the app, but through a wrapper;
//! and no wrapper is ever wrapped on its way home.

mod cap;
mod request;

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::{Rc, Weak};

use capnp::any_pointer;
use capnp::capability::FromClientHook;
use capnp::message::{Builder, HeapAllocator};
use capnp::private::capability::ClientHook;
use capnp::private::layout::CapTable;
use capnp::traits::{Imbue, ImbueMut};

use cap::{Cap, CapState};

/// The two sides of the membrane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Whatever is connected to the bridge's socket.
    App,
    /// The platform, and the bridge itself.
    Platform,
}

impl Side {
    fn other(self) -> Self {
        match self {
            Self::App => Self::Platform,
            Self::Platform => Self::App,
        }
    }
}

/// One boundary for all of the app's connections.
#[derive(Clone, Default)]
pub(crate) struct Membrane(Rc<State>);

#[derive(Default)]
struct State {
    /// Every wrapper alive, by its address, which is its identity towards the RPC system.
    wrappers: RefCell<HashMap<usize, Weak<CapState>>>,
}

impl Membrane {
    /// Takes a capability that lives on `from` across to the other side.
    pub(crate) fn carry<C: FromClientHook>(&self, cap: C, from: Side) -> C {
        C::new(self.carry_hook(cap.into_client_hook(), from))
    }

    fn carry_hook(&self, mut hook: Box<dyn ClientHook>, from: Side) -> Box<dyn ClientHook> {
        while let Some(closer) = hook.get_resolved() {
            hook = closer;
        }
        match self.find(hook.as_ref()) {
            Some(wrapper) if wrapper.lives == from.other() => wrapper.hook.add_ref(),
            _ => Box::new(Cap(CapState::new(self, hook, from))),
        }
    }

    /// Returns the wrapper that `hook` is, if it is one.
    fn find(&self, hook: &dyn ClientHook) -> Option<Rc<CapState>> {
        if hook.get_brand() != self.brand() {
            return None;
        }
        self.0.wrappers.borrow().get(&hook.get_ptr())?.upgrade()
    }

    /// Tells wrappers from other capabilities: no connection lives at this address.
    fn brand(&self) -> usize {
        Rc::as_ptr(&self.0) as usize
    }

    /// Copies `source`, written on side `from`, into `target`, which belongs to the other side.
    fn copy(
        &self,
        source: any_pointer::Reader<'_>,
        mut target: any_pointer::Builder<'_>,
        from: Side,
    ) -> capnp::Result<()> {
        if source.target_size()?.cap_count == 0 {
            return target.set_as(source);
        }
        // By way of a message of our own: capnp lets nobody exchange the capabilities of a message in use.
        let carried = self.copy_owned(source, from)?;
        target.set_as(carried.get()?)
    }

    fn copy_owned(&self, source: any_pointer::Reader<'_>, from: Side) -> capnp::Result<Message> {
        let words = source.target_size()?.word_count;
        let mut message = Message::new(u32::try_from(words + 1).unwrap_or(u32::MAX));
        message.get_mut()?.set_as(source)?;
        message.carry(self, from);
        Ok(message)
    }
}

/// A message of our own: bytes and the capabilities they refer to.
struct Message {
    builder: Builder<HeapAllocator>,
    caps: CapTable,
}

impl Message {
    /// Begins a message with room for `words` before more memory is taken.
    fn new(words: u32) -> Self {
        Self {
            builder: Builder::new(HeapAllocator::new().first_segment_words(words)),
            caps: CapTable::new(),
        }
    }

    fn get(&self) -> capnp::Result<any_pointer::Reader<'_>> {
        let mut root: any_pointer::Reader<'_> = self.builder.get_root_as_reader()?;
        root.imbue(&self.caps);
        Ok(root)
    }

    fn get_mut(&mut self) -> capnp::Result<any_pointer::Builder<'_>> {
        let mut root: any_pointer::Builder<'_> = self.builder.get_root()?;
        root.imbue_mut(&mut self.caps);
        Ok(root)
    }

    /// Takes the capabilities across; the bytes stay as they are.
    fn carry(&mut self, membrane: &Membrane, from: Side) {
        for cap in &mut self.caps {
            *cap = cap.take().map(|cap| membrane.carry_hook(cap, from));
        }
    }
}
