//! Reads bodies of requests within bounds of size and patience.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::Request;
use hyper::body::{Body as _, Incoming};
use hyper::header::EXPECT;
use std::future::poll_fn;
use std::pin::Pin;

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

/// A client's body, frame by frame.
pub(crate) struct Intake {
    body: Incoming,
    pause: Duration,
}

impl Intake {
    /// `pause` is how long the client may take between two frames.
    pub(crate) fn new(body: Incoming, pause: Duration) -> Self {
        Self { body, pause }
    }

    /// The size the client announced, in bytes.
    pub(crate) fn size(&self) -> Option<u64> {
        self.body.size_hint().exact()
    }

    /// The next bytes; `None` at the end. Trailers are left out.
    ///
    /// # Errors
    ///
    /// When the client breaks off, or pauses for too long.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Refusal> {
        loop {
            // Not left to the frame that says so: after an early answer hyper holds that back until the next request.
            if self.body.is_end_stream() {
                return Ok(None);
            }
            let body = &mut self.body;
            let frame = poll_fn(|context| Pin::new(&mut *body).poll_frame(context));
            match tokio::time::timeout(self.pause, frame).await {
                Err(_) => return Err(Refusal::TooSlow),
                Ok(None) => return Ok(None),
                Ok(Some(Err(_))) => return Err(Refusal::Aborted),
                Ok(Some(Ok(frame))) => {
                    if let Ok(bytes) = frame.into_data()
                        && !bytes.is_empty()
                    {
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
