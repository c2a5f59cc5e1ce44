//! How a website is connected to: each connection counts for as long as it is open, and being greeted takes no longer than
//! it may. The client may go on connecting after the request it did that for was answered on another connection.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::Uri;
use hyper::http::uri::Scheme;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

use crate::gate::{Gate, Refusal};
use crate::holder::{Holder, Share};
use crate::run::World;
use crate::tls;

/// Connects for one holder.
#[derive(Clone)]
pub(super) struct Connector {
    holder: Arc<Holder>,
    gate: Gate,
    tls: Arc<ClientConfig>,
    patience: Duration,
}

impl Connector {
    pub(super) fn new(holder: &Arc<Holder>, world: &World) -> Self {
        Self {
            holder: Arc::clone(holder),
            gate: world.gate.clone(),
            tls: Arc::clone(&world.tls),
            patience: world.limits.patience,
        }
    }

    async fn connect(&self, to: &Uri) -> Result<Held, Refusal> {
        let host = to.host().unwrap_or_default();
        let is_encrypted = to.scheme() == Some(&Scheme::HTTPS);
        let port = to.port_u16().unwrap_or(if is_encrypted { 443 } else { 80 });
        let share = self.holder.wait_for_socket(self.patience).await;
        let share = share.ok_or(Refusal::Crowded)?;
        let connecting = async {
            let stream = self.gate.connect(&self.holder, host, port).await?;
            if !is_encrypted {
                return Ok(Either::Left(stream));
            }
            let encrypted = tls::encrypt(&self.tls, host, stream, self.patience).await;
            let told = |error| Refusal::Unencrypted(host.to_owned(), error);
            encrypted.map(Either::Right).map_err(told)
        };
        // Once for the connection, once for the greeting.
        let stream = timeout(self.patience * 2, connecting).await;
        let late = |_| Refusal::Unreachable(host.to_owned(), io::ErrorKind::TimedOut.into());
        Ok(Held {
            stream: stream.map_err(late)??,
            _share: share,
        })
    }
}

impl tower_service::Service<Uri> for Connector {
    type Response = TokioIo<Held>;
    type Error = Refusal;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let this = self.clone();
        Box::pin(async move { this.connect(&to).await.map(TokioIo::new) })
    }
}

/// A connection, and its share of the bounds.
pub(super) struct Held {
    stream: Either<TcpStream, TlsStream<TcpStream>>,
    _share: Share,
}

impl Connection for Held {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for Held {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Held {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
