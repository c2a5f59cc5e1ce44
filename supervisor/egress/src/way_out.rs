//! The way out of a connection: closed with its outlet, whoever still holds it.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;
use tokio_util::task::AbortOnDropHandle;

use crate::outlet::Outlet;

/// A connection's writing half.
pub(crate) struct WayOut<W> {
    half: Rc<RefCell<Option<W>>>,
    _closing: AbortOnDropHandle<()>,
}

/// Lets go of the half, though others still hold the way.
struct Closing<W>(Rc<RefCell<Option<W>>>);

impl<W> Drop for Closing<W> {
    fn drop(&mut self) {
        drop(self.0.take());
    }
}

impl<W: AsyncWrite + Unpin + 'static> WayOut<W> {
    pub(crate) fn new(outlet: &Rc<Outlet>, half: W) -> Self {
        let half = Rc::new(RefCell::new(Some(half)));
        let closing = Closing(Rc::clone(&half));
        let closing = outlet.spawn(async move {
            let _closing = closing;
            std::future::pending::<()>().await;
        });
        Self {
            half,
            _closing: closing,
        }
    }

    /// Sends all of `bytes`.
    pub(crate) async fn write(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let count = self.poll(|half, context| half.poll_write(context, bytes)).await?;
            if count == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            bytes = &bytes[count..];
        }
        self.poll(|half, context| half.poll_flush(context)).await
    }

    /// Says that nothing more comes.
    pub(crate) async fn finish(&self) -> io::Result<()> {
        self.poll(|half, context| half.poll_shutdown(context)).await
    }

    async fn poll<T>(
        &self,
        mut act: impl FnMut(Pin<&mut W>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> io::Result<T> {
        poll_fn(|context| match &mut *self.half.borrow_mut() {
            Some(half) => act(Pin::new(half), context),
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        })
        .await
    }
}
