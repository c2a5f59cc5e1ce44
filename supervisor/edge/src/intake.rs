//! Reads bodies of requests within bounds of size and patience.

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::Request;
use hyper::body::{Body as _, Incoming};
use hyper::header::EXPECT;
use tokio::time::Instant;

use crate::budget::{Budget, Counted};
use crate::respond::Refusal;
use crate::room::Taken;

/// Largest body read only to be thrown away, in bytes.
const DISCARDED: u64 = 64 << 10;
/// How long that may take altogether.
const DISCARDING: Duration = Duration::from_secs(5);
/// Bodies up to this many bytes are collected without counting: a connection costs as much by itself. Who signs in is let
/// in whatever others have under way.
const FREE: usize = 16 << 10;

/// Reads what is left of a request that is refused, if that is little, before the refusal is sent.
///
/// Where a body is still on its way, the connection is closed with the answer; a client that is in the middle of writing
/// then finds it broken and never reads why. Who waits to be asked for the body (`Expect`) reads first, and is not asked.
pub(crate) async fn discard(request: Request<Incoming>, taken: Option<&Rc<Taken>>) {
    if request.headers().contains_key(EXPECT) {
        return;
    }
    let mut body = Intake::new(request.into_body(), DISCARDING, taken);
    if body.size().is_some_and(|size| size > DISCARDED) {
        return;
    }
    // Whatever comes of it: the refusal is what counts.
    let _ = tokio::time::timeout(DISCARDING, async {
        while body.received <= DISCARDED && matches!(body.next().await, Ok(Some(_))) {}
    })
    .await;
}

/// Bytes a second a client has to send, or to take, in the long run. The slowest lines carry some thousands; less is one
/// who wants to hold a connection for as long as it can.
pub(crate) const PACE: u64 = 1024;

/// How much longer one may be waited for who may pause for so long at a time, was waited for so long already, and has
/// moved so many bytes.
pub(crate) fn patience(pause: Duration, waited: Duration, moved: u64) -> Duration {
    pause.min((pause + earned(moved)).saturating_sub(waited))
}

/// For how long one was waited for beyond what so many bytes are worth.
pub(crate) fn owed(waited: Duration, moved: u64) -> Duration {
    waited.saturating_sub(earned(moved))
}

fn earned(moved: u64) -> Duration {
    Duration::from_millis(moved.saturating_mul(1000) / PACE)
}

/// A client's body, frame by frame.
pub(crate) struct Intake {
    body: Incoming,
    pause: Duration,
    /// For how long we have waited for the client, and what came of it, in bytes.
    waited: Duration,
    received: u64,
    /// Told that we wait: the connection may have to give way. A body that outlives it does not keep its place.
    taken: Option<Weak<Taken>>,
}

impl Intake {
    /// `pause` is how long the client may take between two frames, `taken` what the connection takes over which they come.
    pub(crate) fn new(body: Incoming, pause: Duration, taken: Option<&Rc<Taken>>) -> Self {
        Self {
            body,
            pause,
            waited: Duration::ZERO,
            received: 0,
            taken: taken.map(Rc::downgrade),
        }
    }

    /// The size the client announced, in bytes.
    pub(crate) fn size(&self) -> Option<u64> {
        self.body.size_hint().exact()
    }

    /// The next bytes; `None` at the end. Trailers are left out.
    ///
    /// # Errors
    ///
    /// When the client breaks off, pauses for too long, or sends so slowly that it might as well.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Refusal> {
        loop {
            // Not left to the frame that says so: after an early answer hyper holds that back until the next request.
            if self.body.is_end_stream() {
                return Ok(None);
            }
            let patience = patience(self.pause, self.waited, self.received);
            let body = &mut self.body;
            let frame = poll_fn(|context| Pin::new(&mut *body).poll_frame(context));
            let begun = Instant::now();
            let frame = {
                let owed = owed(self.waited, self.received);
                let taken = self.taken.as_ref().and_then(Weak::upgrade);
                let _sending = taken.as_ref().map(|taken| taken.place.sends(owed));
                tokio::time::timeout(patience, frame).await
            };
            self.waited += begun.elapsed();
            match frame {
                Err(_) => return Err(Refusal::TooSlow),
                Ok(None) => return Ok(None),
                Ok(Some(Err(_))) => return Err(Refusal::Aborted),
                Ok(Some(Ok(frame))) => {
                    if let Ok(bytes) = frame.into_data()
                        && !bytes.is_empty()
                    {
                        self.received += bytes.len() as u64;
                        return Ok(Some(bytes));
                    }
                }
            }
        }
    }

    /// Everything, if it is no more than `limit` bytes. What lies here counts towards all of `budgets` until the last of
    /// it is let go: as it comes, so that who announces much and sends nothing takes nothing from others.
    ///
    /// # Errors
    ///
    /// As [`Intake::next`], when there is more, and when a budget has no room for it.
    pub(crate) async fn whole(&mut self, limit: usize, budgets: &[&Budget]) -> Result<Bytes, Refusal> {
        let too_large = Refusal::TooLarge(limit as u64);
        if self.size().is_some_and(|size| size > limit as u64) {
            return Err(too_large);
        }
        let Some(first) = self.next().await? else {
            return Ok(Bytes::new());
        };
        if first.len() > limit {
            return Err(too_large);
        }
        let mut counted = Counted::default();
        if !is_counted(&mut counted, first.len(), budgets) {
            drop(first);
            return Err(self.no_room(limit).await);
        }
        let Some(second) = self.next().await? else {
            return Ok(counted.bytes(first));
        };
        let mut whole = BytesMut::new();
        whole.extend_from_slice(&first);
        drop(first);
        let mut next = Some(second);
        while let Some(bytes) = next {
            let length = whole.len() + bytes.len();
            if length > limit {
                return Err(too_large);
            }
            if !is_counted(&mut counted, length, budgets) {
                drop((whole, bytes, counted));
                return Err(self.no_room(limit).await);
            }
            whole.extend_from_slice(&bytes);
            next = self.next().await?;
        }
        Ok(counted.bytes(whole.freeze()))
    }

    /// Says that there is no room, after the rest: who is still writing when the connection is closed never reads why.
    async fn no_room(&mut self, limit: usize) -> Refusal {
        while self.received <= limit as u64 && matches!(self.next().await, Ok(Some(_))) {}
        Refusal::NoRoomForBodies
    }
}

/// Makes `counted` count `length` bytes in all, if there is room for them.
fn is_counted(counted: &mut Counted, length: usize, budgets: &[&Budget]) -> bool {
    length <= FREE || counted.grow(length, budgets).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_moves_something_is_waited_for_and_who_dribbles_is_not() {
        let seconds = Duration::from_secs;
        assert_eq!(patience(seconds(60), seconds(0), 0), seconds(60));
        assert_eq!(patience(seconds(60), seconds(59), 1), seconds(1));
        assert_eq!(patience(seconds(60), seconds(61), 1), seconds(0));
        // A slow line, for an hour.
        assert_eq!(patience(seconds(60), seconds(3600), 3600 * 2 * PACE), seconds(60));
        assert_eq!(patience(seconds(60), seconds(3600), u64::MAX), seconds(60));
    }

    #[test]
    fn who_dribbles_owes_and_who_sends_does_not() {
        let seconds = Duration::from_secs;
        assert_eq!(owed(seconds(4), 0), seconds(4));
        assert_eq!(owed(seconds(4), PACE), seconds(3));
        assert_eq!(owed(seconds(4), 5 * PACE), Duration::ZERO);
        assert_eq!(owed(seconds(4), u64::MAX), Duration::ZERO);
    }
}
