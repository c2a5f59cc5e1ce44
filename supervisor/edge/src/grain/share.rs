//! One session's share of the edge: how much an app and its page may have under way at once.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::budget::Budget;
use crate::config::Limits;
use crate::respond::Refusal;

/// What a session may take, and what of it is left.
pub(crate) struct Share {
    sockets: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    whole: Budget,
    streamed: Budget,
}

/// A WebSocket or a streamed answer that is counted, until dropped.
pub(super) struct Seat(
    #[expect(dead_code, reason = "held for what its drop gives back")] OwnedSemaphorePermit,
);

impl Share {
    pub(super) fn new(limits: &Limits) -> Self {
        let seats = |count: usize| Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS)));
        Self {
            sockets: seats(limits.sockets_per_session),
            streams: seats(limits.streams_per_session),
            whole: Budget::of(limits.bytes_per_session),
            streamed: Budget::of(limits.bytes_per_session),
        }
    }

    /// Counts a WebSocket.
    ///
    /// # Errors
    ///
    /// When the session has all it may have.
    pub(super) fn socket(&self) -> Result<Seat, Refusal> {
        seat(&self.sockets, "it has as many WebSockets open as it may have")
    }

    /// Counts a streamed answer.
    ///
    /// # Errors
    ///
    /// When the session has all it may have.
    pub(super) fn stream(&self) -> Result<Seat, Refusal> {
        seat(&self.streams, "it has as many answers streaming as it may have")
    }

    /// Copies an answer that is here whole. One that would have to wait is refused instead: the message it is in
    /// would wait too.
    ///
    /// # Errors
    ///
    /// When too much of the session waits for slow clients already.
    pub(super) fn whole(&self, bytes: &[u8]) -> Result<Bytes, Refusal> {
        let copy = self.whole.try_copy(bytes);
        copy.ok_or(Refusal::Crowded("too many bytes of it wait to be taken"))
    }

    /// What streams and WebSockets of the session may hold together.
    pub(super) fn streamed(&self) -> Budget {
        self.streamed.clone()
    }
}

fn seat(seats: &Arc<Semaphore>, full: &'static str) -> Result<Seat, Refusal> {
    let seat = seats.clone().try_acquire_owned();
    seat.map(Seat).map_err(|_| Refusal::Crowded(full))
}
