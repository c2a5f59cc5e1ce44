//! Messages on their way in: Cap'n Proto stream framing, read without trusting a length.

use std::io::ErrorKind;
use std::task::{Context, Poll, ready};

use capnp::Error;
use capnp::message::{Reader, ReaderOptions};
use capnp::serialize::{OwnedSegments, SegmentLengthsBuilder};

use super::socket::Socket;

/// Bytes read ahead. Longer messages are read straight to their place.
const BUFFER: usize = 16 << 10;
/// Most segments a message may have; capnp's own limit.
const SEGMENTS: usize = 512;
/// How often each word of a message may be visited: to be measured, copied and looked at.
const VISITS: usize = 4;
/// Levels of pointers a message may have; capnp's own limit.
const NESTING: i32 = 64;

/// Reads a message with bounds on how often and how deep.
pub(super) fn reader(segments: OwnedSegments) -> Reader<OwnedSegments> {
    let words = segments.len() / 8;
    let mut options = ReaderOptions::new();
    options.traversal_limit_in_words(Some(words.saturating_mul(VISITS).saturating_add(1024)));
    options.nesting_limit(NESTING);
    Reader::new(segments, options)
}

/// What has been read and not handed on.
#[derive(Default)]
pub(super) struct Inbox {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    long: Option<Long>,
}

/// A message longer than the buffer, half read.
struct Long {
    segments: OwnedSegments,
    read: usize,
}

impl Inbox {
    /// Reads the next message, of at most `limit` words. `None` when the peer closed the connection between two.
    pub(super) fn poll_message(
        &mut self,
        socket: &Socket,
        limit: usize,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<OwnedSegments>, Error>> {
        loop {
            if let Some(message) = self.buffered(limit)? {
                return Poll::Ready(Ok(Some(message)));
            }
            match ready!(self.poll_read(socket, context)) {
                Ok(0) => return Poll::Ready(self.ended()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Poll::Ready(Ok(None)),
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }

    /// The next message, if all of it has been read.
    pub(super) fn buffered(&mut self, limit: usize) -> Result<Option<OwnedSegments>, Error> {
        if self.long.is_none() && !self.begin(limit)? {
            return Ok(None);
        }
        let Some(long) = self.long.take_if(|long| long.read == long.segments.len()) else {
            return Ok(None);
        };
        Ok(Some(long.segments))
    }

    /// Takes memory for the next message and moves to it what is there; says whether its length is known yet.
    fn begin(&mut self, limit: usize) -> Result<bool, Error> {
        let bytes = &self.buffer[self.start..self.end];
        let Some(first) = bytes.first_chunk::<4>() else {
            return Ok(false);
        };
        let segments = u32::from_le_bytes(*first) as usize;
        if segments >= SEGMENTS - 1 {
            return Err(Error::failed(format!(
                "a message claims to have {} segments",
                segments as u64 + 1
            )));
        }
        let segments = segments + 1;
        let table = (4 + 4 * segments).next_multiple_of(8);
        let Some(lengths) = bytes.get(4..table) else {
            return Ok(false);
        };
        let mut builder = SegmentLengthsBuilder::with_capacity(segments);
        for length in lengths.as_chunks::<4>().0.iter().take(segments) {
            builder.try_push_segment(u32::from_le_bytes(*length) as usize)?;
            if builder.total_words() > limit {
                return Err(Error::failed(format!("a message is longer than {limit} words")));
            }
        }
        // Untouched memory of a long message is not taken from the machine until it is written to.
        let mut segments = builder.into_owned_segments();
        let there = bytes.len() - table;
        let read = there.min(segments.len());
        segments[..read].copy_from_slice(&bytes[table..table + read]);
        self.start += table + read;
        self.long = Some(Long { segments, read });
        Ok(true)
    }

    /// Reads more, to wherever it belongs.
    fn poll_read(&mut self, socket: &Socket, context: &mut Context<'_>) -> Poll<std::io::Result<usize>> {
        if let Some(long) = &mut self.long
            && long.segments.len() - long.read >= BUFFER
        {
            let count = ready!(socket.poll_read(&mut long.segments[long.read..], context))?;
            long.read += count;
            return Poll::Ready(Ok(count));
        }
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        self.buffer.resize(BUFFER, 0);
        let count = ready!(socket.poll_read(&mut self.buffer[self.end..], context))?;
        self.end += count;
        if let Some(long) = &mut self.long {
            let there = self.end.min(long.segments.len() - long.read);
            long.segments[long.read..long.read + there].copy_from_slice(&self.buffer[..there]);
            long.read += there;
            self.start = there;
        }
        Poll::Ready(Ok(count))
    }

    fn ended(&self) -> Result<Option<OwnedSegments>, Error> {
        if self.long.is_some() || self.start < self.end {
            return Err(Error::failed(
                "the connection ended in the middle of a message".to_owned(),
            ));
        }
        Ok(None)
    }
}
