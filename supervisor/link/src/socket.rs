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

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Wake, Waker};

    use super::*;

    #[derive(Default)]
    struct Counted(AtomicUsize);

    impl Wake for Counted {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn run(test: impl AsyncFnOnce(Socket, UnixStream)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
        runtime.unwrap().block_on(async {
            let (near, far) = tokio::net::UnixStream::pair().unwrap();
            let far = far.into_std().unwrap();
            test(Socket::new(near).unwrap(), far).await;
        });
    }

    /// Lets the runtime hear of what has happened.
    async fn hear() {
        for _ in 0..8 {
            tokio::task::yield_now().await;
        }
    }

    async fn write(socket: &Socket, bytes: &[u8]) -> io::Result<usize> {
        poll_fn(|context| socket.poll_write(&[IoSlice::new(bytes)], context)).await
    }

    #[test]
    fn a_peer_that_reads_wakes_nobody_and_one_that_writes_does() {
        run(async |socket, mut far| {
            let woken = Arc::new(Counted::default());
            let waker = Waker::from(woken.clone());
            let mut place = [0; 8];
            assert_eq!(write(&socket, b"question").await.unwrap(), 8);
            let mut context = Context::from_waker(&waker);
            // Once for what happened before it was watched.
            let _unread = socket.poll_read(&mut place, &mut context);
            hear().await;
            assert!(socket.poll_read(&mut place, &mut context).is_pending());
            let before = woken.0.load(Ordering::SeqCst);
            far.read_exact(&mut [0; 8]).unwrap();
            hear().await;
            assert_eq!(woken.0.load(Ordering::SeqCst), before);
            far.write_all(b"yes").unwrap();
            hear().await;
            assert_eq!(woken.0.load(Ordering::SeqCst), before + 1);
            let Poll::Ready(Ok(3)) = socket.poll_read(&mut place, &mut context) else {
                panic!("three bytes are there");
            };
            drop(far);
            hear().await;
            let ended = poll_fn(|context| socket.poll_read(&mut place, context)).await;
            assert_eq!(ended.unwrap(), 0);
        });
    }

    #[test]
    fn a_full_socket_is_written_to_as_soon_as_there_is_room_and_forgotten_when_all_is_calm() {
        run(async |socket, mut far| {
            let piece = vec![7; 64 << 10];
            let mut written = 0;
            while let Poll::Ready(count) = {
                let mut context = Context::from_waker(Waker::noop());
                socket.poll_write(&[IoSlice::new(&piece)], &mut context)
            } {
                written += count.unwrap();
            }
            assert!(socket.room.borrow().is_some());
            let reading = std::thread::spawn(move || {
                far.set_nonblocking(false).unwrap();
                let mut all = vec![0; written + 3];
                far.read_exact(&mut all).unwrap();
                (all, far)
            });
            assert_eq!(write(&socket, b"end").await.unwrap(), 3);
            let (all, mut far) = reading.join().unwrap();
            assert_eq!(all[written..], *b"end");
            for _ in 0..=CALM {
                write(&socket, b".").await.unwrap();
                far.read_exact(&mut [0]).unwrap();
            }
            assert!(socket.room.borrow().is_none());
            drop(far);
            assert!(write(&socket, b"nobody").await.is_err());
        });
    }
}
