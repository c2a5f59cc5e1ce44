//! Bodies of answers: nothing, bytes at hand, or a pipe that an app or the broker still writes to.

use std::any::Any;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};

use crate::pipe::{CutOff, Reader};

/// What follows the head of an answer.
pub(crate) enum Body {
    /// Nothing, or all that was to be said is said.
    Empty,
    /// Bytes at hand.
    Whole(Bytes),
    /// Bytes to come.
    Stream(Stream),
}

/// A body that is still being written.
pub(crate) struct Stream {
    reader: Reader,
    /// Bytes to leave out before the first one sent.
    skip: u64,
    /// Bytes still to send, where their number is known.
    left: Option<u64>,
    partial: bool,
    /// Whatever must live as long as somebody reads: handles, sessions, tasks.
    _held: Box<dyn Any>,
}

impl Stream {
    /// Everything the reader yields. `held` is dropped with the body.
    pub(crate) fn new(reader: Reader, held: Box<dyn Any>) -> Self {
        let left = reader.size();
        Self {
            reader,
            skip: 0,
            left,
            partial: false,
            _held: held,
        }
    }

    /// Everything the reader yields, for as long as both sides live: a cut is how it ends.
    pub(crate) fn endless(reader: Reader, held: Box<dyn Any>) -> Self {
        Self {
            reader,
            skip: 0,
            left: None,
            partial: false,
            _held: held,
        }
    }

    /// Only `length` bytes from `start` on.
    #[must_use]
    pub(crate) fn part(mut self, start: u64, length: u64) -> Self {
        self.skip = start;
        self.left = Some(length);
        self.partial = true;
        self
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Self::Whole(Bytes::from_static(text.as_bytes()))
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Self::Whole(text.into())
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = CutOff;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CutOff>>> {
        let this = self.get_mut();
        let stream = match this {
            Self::Empty => return Poll::Ready(None),
            Self::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                *this = Self::Empty;
                return Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))));
            }
            Self::Stream(stream) => stream,
        };
        loop {
            if stream.partial && stream.left == Some(0) {
                // The part asked for is sent: let go, so that the writer need not write the rest.
                *this = Self::Empty;
                return Poll::Ready(None);
            }
            let mut bytes = match std::task::ready!(stream.reader.poll_next(context)) {
                Some(Ok(bytes)) => bytes,
                Some(Err(cut_off)) => return Poll::Ready(Some(Err(cut_off))),
                None => return Poll::Ready(None),
            };
            let skipped = stream.skip.min(bytes.len() as u64);
            stream.skip -= skipped;
            let _ =
                bytes.split_to(usize::try_from(skipped).expect("no more than the length of bytes in memory"));
            if let Some(left) = &mut stream.left {
                bytes.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= bytes.len() as u64;
            }
            if !bytes.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Stream(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Stream(stream) => stream.left.map_or_else(SizeHint::new, SizeHint::with_exact),
        }
    }
}
