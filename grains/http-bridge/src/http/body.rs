//! Finds where a body begins and ends (RFC 9112 section 6) and removes its framing.

use bytes::{Buf, BytesMut};

use super::fields::Fields;
use super::response::ResponseHead;
use crate::error::RequestError;

/// Longest line that may announce a chunk, extensions included, in bytes.
const MAX_CHUNK_LINE: usize = 4096;

/// Most bytes of trailer fields after the last chunk; they are read and dropped.
const MAX_TRAILERS: usize = 64 << 10;

/// Decodes one body, whatever pieces its bytes arrive in.
#[derive(Debug)]
pub(crate) struct BodyDecoder(State);

#[derive(Debug)]
enum State {
    /// So many bytes are still to come.
    Length(u64),
    /// Everything until the connection closes.
    UntilClose,
    /// The line with the size of the next chunk.
    ChunkSize,
    /// The rest of a chunk.
    ChunkData(u64),
    /// The line end after a chunk.
    ChunkEnd,
    /// Lines after the last chunk, of which so many bytes have been seen.
    Trailers(usize),
    End,
}

/// No body.
impl Default for BodyDecoder {
    fn default() -> Self {
        Self(State::End)
    }
}

impl BodyDecoder {
    /// Chooses the framing by the response's head and by whether its request allows a body at all.
    pub(crate) fn new(head: &ResponseHead, is_head_request: bool) -> Result<Self, RequestError> {
        let length = content_length(head)?;
        let state = if is_head_request || matches!(head.status, 100..=199 | 204 | 304) {
            State::End
        } else if let Some(coding) = transfer_coding(head)? {
            // Overrides Content-Length (RFC 9112 section 6.3).
            coding
        } else {
            match length {
                Some(0) => State::End,
                Some(length) => State::Length(length),
                None => State::UntilClose,
            }
        };
        Ok(Self(state))
    }

    /// Chooses the framing of a request's body, which has one only if it says how long it is.
    pub(crate) fn of_request(fields: &Fields) -> Result<Self, RequestError> {
        let length = content_length(fields)?;
        let state = match (transfer_coding(fields)?, length) {
            // One of them lies, and whoever believes the other one reads another request (RFC 9112 section 6.1).
            (Some(_), Some(_)) => return Err(RequestError::Malformed("both a length and chunks")),
            (Some(coding), None) => coding,
            (None, None | Some(0)) => State::End,
            (None, Some(length)) => State::Length(length),
        };
        Ok(Self(state))
    }

    /// Returns how many bytes are still to come, if the framing tells.
    pub(crate) fn remaining(&self) -> Option<u64> {
        match self.0 {
            State::Length(length) => Some(length),
            State::End => Some(0),
            _ => None,
        }
    }

    /// Tells whether the body is complete.
    pub(crate) fn ended(&self) -> bool {
        matches!(self.0, State::End)
    }

    /// Moves body bytes from `input` to `output` until `output` holds `limit` bytes, or `input` has no more to
    /// give, or the body has ended. What follows the end stays in `input`.
    pub(crate) fn decode(
        &mut self,
        input: &mut BytesMut,
        output: &mut BytesMut,
        limit: usize,
    ) -> Result<(), RequestError> {
        loop {
            match &mut self.0 {
                State::End => return Ok(()),
                State::UntilClose => {
                    let mut unbounded = u64::MAX;
                    transfer(input, output, limit, &mut unbounded);
                    return Ok(());
                }
                State::Length(left) => {
                    transfer(input, output, limit, left);
                    if *left > 0 {
                        return Ok(());
                    }
                    self.0 = State::End;
                }
                State::ChunkData(left) => {
                    transfer(input, output, limit, left);
                    if *left > 0 {
                        return Ok(());
                    }
                    self.0 = State::ChunkEnd;
                }
                State::ChunkSize => {
                    let Some(line) = take_line(input, MAX_CHUNK_LINE)? else {
                        return Ok(());
                    };
                    self.0 = match chunk_size(&line)? {
                        0 => State::Trailers(0),
                        size => State::ChunkData(size),
                    };
                }
                State::ChunkEnd => {
                    let Some(line) = take_line(input, 2)? else {
                        return Ok(());
                    };
                    if !line.is_empty() {
                        return Err(RequestError::Malformed("chunk longer than its size"));
                    }
                    self.0 = State::ChunkSize;
                }
                State::Trailers(seen) => {
                    let Some(line) = take_line(input, MAX_TRAILERS - *seen)? else {
                        return Ok(());
                    };
                    if line.is_empty() {
                        self.0 = State::End;
                    } else {
                        *seen = (*seen + line.len()).min(MAX_TRAILERS);
                    }
                }
            }
        }
    }

    /// Takes note that the app has closed the connection; only some framings may end like that.
    pub(crate) fn close(&mut self) -> Result<(), RequestError> {
        match self.0 {
            State::UntilClose | State::End => {
                self.0 = State::End;
                Ok(())
            }
            _ => Err(RequestError::Truncated),
        }
    }
}

/// Returns the state a transfer coding begins with; none if there is none, which old apps call `identity`.
fn transfer_coding(head: &Fields) -> Result<Option<State>, RequestError> {
    let mut codings = head.all("transfer-encoding");
    match (codings.next(), codings.next()) {
        (None, _) => Ok(None),
        (Some(coding), None) if coding.eq_ignore_ascii_case(b"chunked") => Ok(Some(State::ChunkSize)),
        (Some(coding), None) if coding.eq_ignore_ascii_case(b"identity") => Ok(None),
        // No other was asked for.
        _ => Err(RequestError::Malformed("transfer coding other than chunked")),
    }
}

/// Returns the one length the head names.
fn content_length(head: &Fields) -> Result<Option<u64>, RequestError> {
    let mut found = None;
    // A list of equal numbers is one number (RFC 9110 section 8.6).
    for value in head
        .all("content-length")
        .flat_map(|value| value.split(|byte| *byte == b','))
    {
        let digits = value.trim_ascii();
        let number = std::str::from_utf8(digits)
            .ok()
            .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|text| text.parse::<u64>().ok())
            .ok_or(RequestError::Malformed("Content-Length is not a number"))?;
        if found.is_some_and(|found| found != number) {
            return Err(RequestError::Malformed("two different lengths"));
        }
        found = Some(number);
    }
    Ok(found)
}

fn transfer(input: &mut BytesMut, output: &mut BytesMut, limit: usize, left: &mut u64) {
    let count = input
        .len()
        .min(limit.saturating_sub(output.len()))
        .min(usize::try_from(*left).unwrap_or(usize::MAX));
    *left -= count as u64;
    // Shares the buffer when `output` is empty or its bytes lie right before these; copies otherwise.
    output.unsplit(input.split_to(count));
}

/// Takes one line without its end from `input`; none if it is not complete yet.
fn take_line(input: &mut BytesMut, max: usize) -> Result<Option<BytesMut>, RequestError> {
    let Some(end) = input
        .iter()
        .take(max.saturating_add(2))
        .position(|byte| *byte == b'\n')
    else {
        if input.len() > max {
            return Err(RequestError::Malformed("overlong line between chunks"));
        }
        return Ok(None);
    };
    let mut line = input.split_to(end);
    input.advance(1);
    if line.last() == Some(&b'\r') {
        line.truncate(line.len() - 1);
    }
    Ok(Some(line))
}

fn chunk_size(line: &[u8]) -> Result<u64, RequestError> {
    let size = line
        .split(|byte| *byte == b';')
        .next()
        .unwrap_or_default()
        .trim_ascii();
    let text = std::str::from_utf8(size)
        .ok()
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()));
    text.and_then(|text| u64::from_str_radix(text, 16).ok())
        .ok_or(RequestError::Malformed("chunk without a size"))
}

#[cfg(test)]
mod tests;
