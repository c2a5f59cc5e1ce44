//! How much one peer may make us hold.

use std::rc::Rc;

use super::{Gauge, Pulse};

/// What one peer may make us hold.
#[derive(Clone)]
pub struct Bounds {
    /// Longest message, in words of 8 bytes.
    pub message_words: usize,
    /// Words of calls that may be unanswered before no more are read.
    pub call_words: usize,
    /// Calls that may be unanswered before no more are read.
    pub calls: usize,
    /// Whether a call runs to its end though the peer let go of the answer. Peers in C++ count on it: there a call is
    /// not canceled unless the object called allows it.
    pub calls_run_to_their_end: bool,
    /// Calls it may have given up before they were answered, ever. capnp-rpc keeps about 150 bytes of each; one more ends
    /// the connection.
    pub canceled: usize,
    /// Capabilities it may have handed over and not got back. More end the connection.
    pub capabilities: usize,
    /// Nothing is read while more bytes than this wait to be sent to this peer, or on `pressure`.
    pub queued_bytes: usize,
    /// Counts the bytes waiting to be sent to this peer.
    pub gauge: Rc<Gauge>,
    /// Where this peer's words go: bytes waiting there stop us from reading more of them.
    pub pressure: Option<Rc<Gauge>>,
    /// Told of every message, either way.
    pub pulse: Option<Rc<Pulse>>,
}

impl Bounds {
    /// What suits a process of ours that works for everybody: how much it has under way depends on how many come, and
    /// giving up calls is its daily work. It may be in the wrong hands all the same.
    #[must_use]
    pub fn of_ours() -> Self {
        Self {
            call_words: 64 << 20,
            calls: 64 << 10,
            canceled: usize::MAX,
            capabilities: 256 << 10,
            ..Self::default()
        }
    }

    /// What suits one that passes on the calls of a peer with the usual bounds, and has to be heard above that.
    #[must_use]
    pub fn of_a_host() -> Self {
        let usual = Self::default();
        Self {
            call_words: 4 * usual.call_words,
            calls: 4 * usual.calls,
            capabilities: 4 * usual.capabilities,
            ..usual
        }
    }
}

impl Default for Bounds {
    /// What suits a peer that may be hostile and has no business being large: the sheet's figures (3.1) where it has any.
    fn default() -> Self {
        Self {
            message_words: 8 << 20,
            call_words: 1 << 20,
            calls: 4096,
            calls_run_to_their_end: false,
            canceled: 256 << 10,
            capabilities: 16 << 10,
            queued_bytes: 32 << 20,
            gauge: Rc::default(),
            pressure: None,
            pulse: None,
        }
    }
}
