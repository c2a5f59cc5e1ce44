//! One session's share of the edge: how much an app and its page may have under way at once.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::bodies::{Bodies, Part};
use crate::budget::Budget;
use crate::config::Limits;
use crate::respond::Refusal;

/// Answers of more bytes count towards what all sessions may have, too; a connection costs as much by itself.
const SMALL: usize = 16 << 10;

/// What a session may take, and what of it is left.
pub(crate) struct Share {
    sockets: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    uploads: Arc<Semaphore>,
    collected: Budget,
    whole: Budget,
    all_whole: Budget,
    streamed: Budget,
}

/// A WebSocket or a streamed body that is counted, until dropped.
pub(super) struct Seat(
    #[expect(dead_code, reason = "held for what its drop gives back")] OwnedSemaphorePermit,
);

impl Share {
    pub(super) fn new(limits: &Limits, bodies: &Bodies, part: Part) -> Self {
        let seats = |count: usize| Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS)));
        Self {
            sockets: seats(limits.sockets_per_session),
            streams: seats(limits.streams_per_session),
            uploads: seats(limits.uploads_per_session),
            collected: part.requests,
            all_whole: bodies.answers.clone(),
            whole: part.answers,
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

    /// Counts a body on its way to the app.
    ///
    /// # Errors
    ///
    /// When the session has all it may have.
    pub(super) fn upload(&self) -> Result<Seat, Refusal> {
        seat(&self.uploads, "it has as many uploads under way as it may have")
    }

    /// What of its requests may be collected at once.
    pub(super) fn collected(&self) -> &Budget {
        &self.collected
    }

    /// Copies an answer that is here whole. One that would have to wait is refused instead: the message it is in
    /// would wait too.
    ///
    /// # Errors
    ///
    /// When too much of the session, or of all sessions, waits for slow clients already.
    pub(super) fn whole(&self, bytes: &[u8]) -> Result<Bytes, Refusal> {
        if bytes.len() <= SMALL {
            // A connection costs as much by itself.
            return Ok(Bytes::copy_from_slice(bytes));
        }
        let copy = self.whole.try_copy_within(&self.all_whole, bytes);
        copy.ok_or(Refusal::Crowded(
            "too many bytes of it or of others wait to be taken",
        ))
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
