//! A client's connection that gives up on clients who stop reading.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

use crate::intake::{owed, patience};
use crate::room::Unsent;

/// A TCP stream whose writes fail once the other side has taken nothing for too long, or so little that it comes to the same.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: TcpStream,
    patience: Duration,
    /// For how long writes have waited, and what was taken, in bytes.
    waited: Duration,
    written: u64,
    /// Runs while a write is waiting, which began then.
    stalled: Option<(Pin<Box<Sleep>>, Instant)>,
    unsent: Unsent,
}

impl Socket {
    /// `unsent` is told when bytes wait for the other side.
    pub(crate) fn new(stream: TcpStream, patience: Duration, unsent: Unsent) -> Self {
        Self {
            stream,
            patience,
            waited: Duration::ZERO,
            written: 0,
            stalled: None,
            unsent,
        }
    }

    fn watch(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(outcome) = &written {
            if let Some((_, since)) = self.stalled.take() {
                self.waited += since.elapsed();
                self.unsent.end();
            }
            self.written += *outcome.as_ref().unwrap_or(&0) as u64;
            return written;
        }
        let patience = patience(self.patience, self.waited, self.written);
        let (stalled, _) = self.stalled.get_or_insert_with(|| {
            self.unsent.begin(owed(self.waited, self.written));
            (Box::pin(sleep(patience)), Instant::now())
        });
        match stalled.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watch(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.watch(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
