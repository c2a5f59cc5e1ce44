//! What a connection tells whoever lets its peer rest.

use std::cell::{Cell, OnceCell};

/// The traffic on one connection, either way.
#[derive(Default)]
pub struct Pulse {
    beats: Cell<u64>,
    heard: Cell<u64>,
    is_held: Cell<bool>,
    is_silenced: Cell<bool>,
    calls: Cell<usize>,
    wake: OnceCell<Box<dyn Fn()>>,
}

impl Pulse {
    /// A number that grows with every message, either way.
    #[must_use]
    pub fn beats(&self) -> u64 {
        self.beats.get()
    }

    /// A number that grows with every message that comes from the peer.
    #[must_use]
    pub fn heard(&self) -> u64 {
        self.heard.get()
    }

    /// Whether nothing is read from the peer, because it takes no answers or has too many calls unanswered.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.is_held.get()
    }

    /// Whether nothing is read from the peer, because those it speaks to do not listen.
    #[must_use]
    pub fn is_silenced(&self) -> bool {
        self.is_silenced.get()
    }

    /// Calls that have not been answered, either way.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.calls.get()
    }

    /// Has `wake` called before each message leaves, and when one has come. Works once.
    pub fn wake_by(&self, wake: impl Fn() + 'static) {
        let _the_first = self.wake.set(Box::new(wake));
    }

    pub(crate) fn hear(&self, calls: usize) {
        self.heard.set(self.heard.get().wrapping_add(1));
        self.beat(calls);
    }

    pub(crate) fn pause(&self, is_held: bool, is_silenced: bool) {
        self.is_held.set(is_held);
        self.is_silenced.set(is_silenced);
    }

    pub(crate) fn beat(&self, calls: usize) {
        self.beats.set(self.beats.get().wrapping_add(1));
        self.calls.set(calls);
        if let Some(wake) = self.wake.get() {
            wake();
        }
    }
}
