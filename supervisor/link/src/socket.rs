//! The socket of a connection, watched only for what is waited for.
//!
//! A Unix socket tells whoever watches it for room to write each time the peer has read something, wanted or not. A
//! process that watches for both, as tokio's own stream does, is therefore woken once more for every message it sends.

use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::task::{Context, Poll, ready};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Writes without waiting after which nobody watches for room any more.
const CALM: u8 = 32;

pub(super) struct Socket {
    stream: AsyncFd<UnixStream>,
    /// The same socket watched for room, while writes have to wait now and then.
    room: RefCell<Option<AsyncFd<UnixStream>>>,
    calm: Cell<u8>,
}

impl Socket {
    pub(super) fn new(stream: tokio::net::UnixStream) -> io::Result<Self> {
        let stream = stream.into_std()?;
        Ok(Self {
            stream: watched(stream, Interest::READABLE)?,
            room: RefCell::new(None),
            calm: Cell::new(0),
        })
    }

    pub(super) fn poll_read(&self, place: &mut [u8], context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = ready!(self.stream.poll_read_ready(context))?;
            match self.stream.get_ref().read(place) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => guard.clear_ready(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => {
                    // A read that does not fill its place has emptied the socket; what comes later is an event.
                    if read.as_ref().is_ok_and(|count| (1..place.len()).contains(count)) {
                        guard.clear_ready();
                    }
                    return Poll::Ready(read);
                }
            }
        }
    }

    pub(super) fn poll_write(
        &self,
        slices: &[IoSlice<'_>],
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        loop {
            match self.stream.get_ref().write_vectored(slices) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    ready!(self.poll_room(context))?;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                written => {
                    self.calm_down();
                    return Poll::Ready(written);
                }
            }
        }
    }

    /// Ready when there may be room to write.
    fn poll_room(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.calm.set(0);
        let mut room = self.room.borrow_mut();
        let room = match &mut *room {
            Some(room) => room,
            none => {
                let stream = self.stream.get_ref().try_clone()?;
                none.insert(watched(stream, Interest::WRITABLE)?)
            }
        };
        ready!(room.poll_write_ready(context))?.clear_ready();
        Poll::Ready(Ok(()))
    }

    fn calm_down(&self) {
        let calm = self.calm.get();
        if calm < CALM {
            self.calm.set(calm + 1);
        } else if let Some(room) = self.room.take() {
            drop(room);
        }
    }

    /// Ends the connection for the peer, whoever else holds the socket.
    pub(super) fn shut_down(&self) {
        // It fails only when the peer has closed the connection already.
        let _closed = self.stream.get_ref().shutdown(Shutdown::Both);
    }
}

#[expect(
    deprecated,
    reason = "the name in its place is unsafe for the sake of types that lose their descriptor; this one owns it"
)]
fn watched(stream: UnixStream, interest: Interest) -> io::Result<AsyncFd<UnixStream>> {
    AsyncFd::with_interest(stream, interest)
}
