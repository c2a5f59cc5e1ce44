//! The app's HTTP server: when it is up, and how to reach it.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::error::RequestError;
use crate::log::log;

/// Longest pause between two attempts to reach a server that is not up yet.
const POLL: Duration = Duration::from_millis(10);

/// After this long without a server, the log says once that something may be wrong.
const PATIENCE: Duration = Duration::from_secs(30);

/// The server the package's command starts on loopback.
pub(crate) struct AppServer {
    address: SocketAddrV4,
    ready: watch::Sender<bool>,
}

impl AppServer {
    pub(crate) fn new(port: u16) -> Self {
        // The literal address: there is no resolver and often no /etc/hosts in the sandbox.
        Self {
            address: SocketAddrV4::new(Ipv4Addr::LOCALHOST, port),
            ready: watch::Sender::new(false),
        }
    }

    /// Tries to connect until it succeeds, however long that takes, then releases everyone in [`Self::ready`].
    pub(crate) async fn watch_for_start(&self) {
        let begin = Instant::now();
        let mut warned = false;
        let mut pause = Duration::from_millis(1);
        while TcpStream::connect(self.address).await.is_err() {
            if !warned && begin.elapsed() >= PATIENCE {
                warned = true;
                log(format_args!(
                    "app still not listening on {} after 30 seconds; waiting",
                    self.address
                ));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(POLL);
        }
        self.ready.send_replace(true);
    }

    /// Waits until the server has accepted its first connection. Never times out.
    pub(crate) async fn ready(&self) {
        // Cannot fail: the sender is a field of `self`.
        let _ = self.ready.subscribe().wait_for(|ready| *ready).await;
    }

    /// Opens the connection for one request.
    pub(crate) async fn connect(&self) -> Result<TcpStream, RequestError> {
        let address = self.address;
        let socket = TcpStream::connect(address)
            .await
            .map_err(|source| RequestError::Connect { address, source })?;
        // Heads and small chunks must not wait for an acknowledgement.
        let _ = socket.set_nodelay(true);
        Ok(socket)
    }
}
