//! Messages over a stream socket: four bytes of length, little endian, that many bytes, and descriptors.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::{IoSlice, IoSliceMut};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};

use crate::sys::Errno;

/// Longest message in bytes: room for a large environment, and an end to garbage.
pub const MAX_MESSAGE: usize = 4 << 20;
/// Most descriptors one message carries.
pub const MAX_DESCRIPTORS: usize = 16;

/// Why the control socket is of no further use, or a message was not sent.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The other end closed in the middle of something.
    #[error("the control socket closed in the middle of a message")]
    Closed,
    /// What arrived is no message.
    #[error("the control socket carries something that is not a message")]
    Garbage,
    /// A message is longer than [`MAX_MESSAGE`].
    #[error("a control message of {0} bytes is too long")]
    TooLong(usize),
    /// A message has more than [`MAX_DESCRIPTORS`].
    #[error("a control message carries too many descriptors")]
    TooManyDescriptors,
    /// The socket failed.
    #[error("cannot use the control socket")]
    Socket(#[source] io::Error),
}

impl From<Errno> for WireError {
    fn from(errno: Errno) -> Self {
        Self::Socket(errno.into())
    }
}

/// Sends one message. The descriptors travel with its first byte.
pub(crate) fn send(socket: BorrowedFd<'_>, message: &[u8], fds: &[BorrowedFd<'_>]) -> Result<(), WireError> {
    if message.len() > MAX_MESSAGE {
        return Err(WireError::TooLong(message.len()));
    }
    if fds.len() > MAX_DESCRIPTORS {
        return Err(WireError::TooManyDescriptors);
    }
    let header = (message.len() as u32).to_le_bytes();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        ancillary.push(SendAncillaryMessage::ScmRights(fds));
    }
    let mut sent = 0;
    while sent < header.len() + message.len() {
        let head = &header[sent.min(header.len())..];
        let rest = &message[sent.saturating_sub(header.len())..];
        let parts = [IoSlice::new(head), IoSlice::new(rest)];
        match rustix::net::sendmsg(socket, &parts, &mut ancillary, SendFlags::NOSIGNAL) {
            Ok(bytes) => {
                sent += bytes;
                ancillary.clear();
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// The bytes and descriptors of one message.
pub(crate) type Message = (Vec<u8>, Vec<OwnedFd>);

/// Waits for one message. `None`: the other end closed between two messages.
pub(crate) fn receive(socket: BorrowedFd<'_>) -> Result<Option<Message>, WireError> {
    let mut fds = Vec::new();
    let mut header = [0; 4];
    match fill(socket, &mut header, &mut fds)? {
        0 => return Ok(None),
        4 => {}
        _ => return Err(WireError::Closed),
    }
    let length = u32::from_le_bytes(header) as usize;
    if length > MAX_MESSAGE {
        return Err(WireError::TooLong(length));
    }
    let mut message = vec![0; length];
    if fill(socket, &mut message, &mut fds)? < length {
        return Err(WireError::Closed);
    }
    Ok(Some((message, fds)))
}

/// Reads until `buffer` is full or the stream ends; returns how much was read.
fn fill(socket: BorrowedFd<'_>, buffer: &mut [u8], fds: &mut Vec<OwnedFd>) -> Result<usize, WireError> {
    let mut filled = 0;
    while filled < buffer.len() {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(&mut buffer[filled..])];
        let received = match rustix::net::recvmsg(socket, &mut parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC)
        {
            Ok(received) => received,
            Err(Errno::INTR) => continue,
            Err(errno) => return Err(errno.into()),
        };
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(received) = message {
                fds.extend(received);
            }
        }
        if received.flags.contains(ReturnFlags::CTRUNC) || fds.len() > MAX_DESCRIPTORS {
            return Err(WireError::TooManyDescriptors);
        }
        if received.bytes == 0 {
            break;
        }
        filled += received.bytes;
    }
    Ok(filled)
}
