//! One request and one response on a TCP connection of their own.

use std::any::Any;
use std::future::pending;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio::task::spawn_local;
use tokio_util::task::AbortOnDropHandle;

use crate::error::RequestError;
use crate::http::body::BodyDecoder;
use crate::http::response::ResponseHead;

/// How much is read from the app at a time, in bytes; also the largest piece of a streamed body.
pub(crate) const PIECE: usize = 128 << 10;

/// A body that is no longer than this, in bytes, travels inside the response instead of as a stream.
const INLINE: usize = 8 << 10;

/// Most interim (1xx) responses before the real one.
const MAX_INTERIM: usize = 32;

/// The app's answer: its head, its body to come, and what must live until the body has come.
pub(crate) struct Answer {
    pub(crate) head: ResponseHead,
    pub(crate) body: Body,
}

/// Sends a complete request and returns the answer as soon as its head is here, even if the app has not read
/// all of the request yet.
///
/// Dropping the future, or the answer, closes the connection.
pub(crate) async fn exchange(
    socket: TcpStream,
    request: Vec<u8>,
    is_head_request: bool,
) -> Result<Answer, RequestError> {
    let (read, mut write) = socket.into_split();
    // Beside the reading, since an app may answer before it has read everything. An app that stops reading is
    // free to: its answer decides, or its hanging up without one.
    let sending = AbortOnDropHandle::new(spawn_local(async move {
        let _ = write.write_all(&request).await;
        drop(request);
        // Half a close would look to many servers as if the client had gone away.
        pending::<()>().await;
        drop(write);
    }));
    receive(read, is_head_request, Box::new(sending)).await
}

/// Waits for the answer on `read`. `request` is whatever keeps the sending half open.
pub(crate) async fn receive(
    read: OwnedReadHalf,
    is_head_request: bool,
    request: Box<dyn Any>,
) -> Result<Answer, RequestError> {
    let mut input = Input::new(read);
    for _ in 0..MAX_INTERIM {
        let head = input.head().await?;
        match head.status {
            101 => return Err(RequestError::Status(101)),
            100..=199 => {}
            _ => {
                let decoder = BodyDecoder::new(&head, is_head_request)?;
                return Ok(Answer {
                    head,
                    body: Body {
                        input,
                        decoder,
                        _request: request,
                    },
                });
            }
        }
    }
    Err(RequestError::Malformed("no end of interim responses"))
}

/// What the app sends, with what was read of it but not used yet.
pub(crate) struct Input {
    socket: OwnedReadHalf,
    pub(crate) buffer: BytesMut,
}

impl Input {
    pub(crate) fn new(socket: OwnedReadHalf) -> Self {
        Self {
            socket,
            buffer: BytesMut::new(),
        }
    }

    /// Reads one complete head and takes it out of the buffer.
    pub(crate) async fn head(&mut self) -> Result<ResponseHead, RequestError> {
        let mut seen = 0;
        loop {
            if let Some(length) = ResponseHead::length(&self.buffer, seen)? {
                return ResponseHead::parse(&self.buffer.split_to(length));
            }
            seen = self.buffer.len();
            if !self.fill(INLINE).await? {
                return Err(if seen == 0 {
                    RequestError::NoAnswer
                } else {
                    RequestError::Truncated
                });
            }
        }
    }

    /// Reads a little more into the buffer; false when there is no more.
    pub(crate) async fn more(&mut self) -> Result<bool, RequestError> {
        self.fill(INLINE).await
    }

    /// Reads what is there, up to `size` bytes, waiting for at least one; false when there is no more.
    async fn fill(&mut self, size: usize) -> Result<bool, RequestError> {
        self.buffer.reserve(size);
        Ok(self
            .socket
            .read_buf(&mut self.buffer)
            .await
            .map_err(RequestError::Read)?
            > 0)
    }

    /// Reads what has already arrived, without waiting; none if nothing has.
    fn try_fill(&mut self) -> Result<Option<bool>, RequestError> {
        self.buffer.reserve(INLINE);
        match self.socket.try_read_buf(&mut self.buffer) {
            Ok(count) => Ok(Some(count > 0)),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(RequestError::Read(error)),
        }
    }

    /// Waits for the next raw bytes, at most [`PIECE`]; none when there are no more.
    pub(crate) async fn raw(&mut self) -> Result<Option<Bytes>, RequestError> {
        if self.buffer.is_empty() && !self.fill(16 << 10).await? {
            return Ok(None);
        }
        let length = self.buffer.len().min(PIECE);
        Ok(Some(self.buffer.split_to(length).freeze()))
    }
}

/// A response body on its way.
pub(crate) struct Body {
    input: Input,
    decoder: BodyDecoder,
    _request: Box<dyn Any>,
}

/// How a body begins.
pub(crate) enum Beginning {
    /// This is all of it.
    Whole(Bytes),
    /// More is to come, after these first bytes.
    More(Bytes),
}

impl Body {
    /// Returns the body of a request whose head has been taken out of `input`.
    pub(crate) fn of_request(input: Input, decoder: BodyDecoder) -> Self {
        Self {
            input,
            decoder,
            _request: Box::new(()),
        }
    }

    /// Waits until the other side has closed the connection. What it sends meanwhile is thrown away.
    pub(crate) async fn until_closed(&mut self) {
        while let Ok(Some(_)) = self.input.raw().await {}
    }

    /// Returns the number of body bytes still to come, where the app told.
    pub(crate) fn remaining(&self) -> Option<u64> {
        self.decoder.remaining()
    }

    /// Returns the whole body if it is short and here already, or known to be short; otherwise as much of it
    /// as has arrived, so that a body without end does not delay its head.
    pub(crate) async fn begin(&mut self) -> Result<Beginning, RequestError> {
        let mut output = BytesMut::new();
        loop {
            self.decoder.decode(&mut self.input.buffer, &mut output, INLINE)?;
            if self.decoder.ended() {
                return Ok(Beginning::Whole(output.freeze()));
            }
            if output.len() >= INLINE {
                return Ok(Beginning::More(output.freeze()));
            }
            let expected = self
                .remaining()
                .map(|left| left.saturating_add(output.len() as u64));
            let open = if expected.is_some_and(|length| length <= INLINE as u64) {
                self.input.fill(INLINE).await?
            } else {
                match self.input.try_fill()? {
                    None => return Ok(Beginning::More(output.freeze())),
                    Some(open) => open,
                }
            };
            if !open {
                self.decoder.close()?;
            }
        }
    }

    /// Returns the next piece, at most [`PIECE`] bytes; none at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<BytesMut>, RequestError> {
        let mut output = BytesMut::new();
        loop {
            self.decoder.decode(&mut self.input.buffer, &mut output, PIECE)?;
            if !output.is_empty() {
                return Ok(Some(output));
            }
            if self.decoder.ended() {
                return Ok(None);
            }
            if !self.input.fill(PIECE).await? {
                self.decoder.close()?;
            }
        }
    }

    /// Reads to the end and keeps the first `limit` bytes; the flag tells whether that was everything.
    pub(crate) async fn collect(&mut self, limit: usize) -> Result<(Vec<u8>, bool), RequestError> {
        let mut all = Vec::new();
        while let Some(piece) = self.next().await? {
            let room = limit - all.len();
            all.extend_from_slice(&piece[..piece.len().min(room)]);
            if piece.len() > room {
                return Ok((all, false));
            }
        }
        Ok((all, true))
    }
}
