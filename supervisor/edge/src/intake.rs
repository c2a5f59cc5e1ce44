//! Reads bodies of requests within bounds of size and patience.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::Request;
use hyper::body::{Body as _, Incoming};
use hyper::header::EXPECT;
use std::future::poll_fn;
use std::pin::Pin;

use tokio::time::Instant;

use crate::respond::Refusal;

/// Largest body read only to be thrown away, in bytes.
const DISCARDED: usize = 64 << 10;
/// How long that may take altogether.
const DISCARDING: Duration = Duration::from_secs(5);

/// Reads what is left of a request that is refused, if that is little, before the refusal is sent.
///
/// Where a body is still on its way, the connection is closed with the answer; a client that is in the middle of writing
/// then finds it broken and never reads why. Who waits to be asked for the body (`Expect`) reads first, and is not asked.
pub(crate) async fn discard(request: Request<Incoming>) {
    if request.headers().contains_key(EXPECT) {
        return;
    }
    let mut body = Intake::new(request.into_body(), DISCARDING);
    // Whatever comes of it: the refusal is what counts.
    let _ = tokio::time::timeout(DISCARDING, body.whole(DISCARDED)).await;
}

/// Bytes a second a client has to send, or to take, in the long run. The slowest lines carry some thousands; less is one
/// who wants to hold a connection for as long as it can.
pub(crate) const PACE: u64 = 1024;

/// How much longer one may be waited for who may pause for so long at a time, was waited for so long already, and has
/// moved so many bytes.
pub(crate) fn patience(pause: Duration, waited: Duration, moved: u64) -> Duration {
    let earned = Duration::from_millis(moved.saturating_mul(1000) / PACE);
    pause.min((pause + earned).saturating_sub(waited))
}

/// A client's body, frame by frame.
pub(crate) struct Intake {
    body: Incoming,
    pause: Duration,
    /// For how long we have waited for the client, and what came of it, in bytes.
    waited: Duration,
    received: u64,
}

impl Intake {
    /// `pause` is how long the client may take between two frames.
    pub(crate) fn new(body: Incoming, pause: Duration) -> Self {
        Self {
            body,
            pause,
            waited: Duration::ZERO,
            received: 0,
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
            let frame = tokio::time::timeout(patience, frame).await;
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

    /// Everything, if it is no more than `limit` bytes.
    ///
    /// # Errors
    ///
    /// As [`Intake::next`], and when there is more.
    pub(crate) async fn whole(&mut self, limit: usize) -> Result<Bytes, Refusal> {
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
        let Some(second) = self.next().await? else {
            return Ok(first);
        };
        let mut whole = BytesMut::with_capacity(first.len() + second.len());
        whole.extend_from_slice(&first);
        let mut next = Some(second);
        while let Some(bytes) = next {
            if whole.len() + bytes.len() > limit {
                return Err(too_large);
            }
            whole.extend_from_slice(&bytes);
            next = self.next().await?;
        }
        Ok(whole.freeze())
    }
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
}
