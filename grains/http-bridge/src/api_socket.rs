//! The Unix socket through which the app itself reaches the platform's capabilities.

use std::cell::Cell;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use capnp::message::ReaderOptions;
use capnp::{Error, any_pointer};
use capnp_rpc::rpc_twoparty_capnp::Side;
use capnp_rpc::{RpcSystem, twoparty};
use futures::io::{BufReader, BufWriter};
use percloud_schemas::sandstorm_http_bridge_capnp::{app_hooks, sandstorm_http_bridge};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::spawn_local;
use tokio_util::compat::{TokioAsyncReadCompatExt, TokioAsyncWriteCompatExt};

use crate::bridge::Bridge;
use crate::identity::UserId;
use crate::log::log;
use crate::membrane::Side as MembraneSide;
use crate::session::{Detail, Entry};

/// Runs the RPC protocol on `socket` until it ends.
pub(crate) fn rpc_system(
    socket: UnixStream,
    side: Side,
    bootstrap: capnp::capability::Client,
    window: usize,
) -> RpcSystem<Side> {
    let (read, write) = socket.into_split();
    let mut network = twoparty::VatNetwork::new(
        BufReader::new(read.compat()),
        BufWriter::new(write.compat_write()),
        side,
        ReaderOptions::new(),
    );
    network.set_window_size(window);
    RpcSystem::new(Box::new(network), Some(bootstrap))
}

/// Connections served at once; the app's further ones wait.
const MAX_CONNECTIONS: usize = 64;

/// The object the app exports on its first connection, if its package says so.
pub(crate) struct Hooks {
    current: watch::Sender<Option<app_hooks::Client<any_pointer::Owned>>>,
    /// Whether a connection that is still there has had its chance.
    claimed: Rc<Cell<bool>>,
}

impl Hooks {
    pub(crate) fn new() -> Self {
        Self {
            current: watch::Sender::new(None),
            claimed: Rc::default(),
        }
    }

    /// Returns the hooks. Waits for the app to connect for the first time, without limit; once its connection has
    /// ended, they fail as disconnected until it connects again.
    pub(crate) async fn get(&self) -> Result<app_hooks::Client<any_pointer::Owned>, Error> {
        let mut receiver = self.current.subscribe();
        let hooks = receiver.wait_for(Option::is_some).await;
        let hooks = hooks.ok().and_then(|hooks| hooks.clone());
        hooks.ok_or_else(|| Error::disconnected("bridge is ending".into()))
    }

    /// Makes the calling connection the one with the hooks, unless there is one already.
    fn claim(&self) -> Option<Claim> {
        (!self.claimed.replace(true)).then(|| Claim(self.claimed.clone()))
    }
}

/// Lets the next connection bring the hooks once this one is gone.
struct Claim(Rc<Cell<bool>>);

impl Drop for Claim {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

/// Opens the socket at `path`, replacing one that an earlier process left.
pub(crate) fn bind(path: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => UnixListener::bind(path),
    }
}

/// Serves every connection, for ever.
pub(crate) async fn serve(listener: UnixListener, bridge: Rc<Bridge>) {
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(permit) = permits.clone().acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((socket, _)) => {
                let api: sandstorm_http_bridge::Client = capnp_rpc::new_client(Api {
                    bridge: bridge.clone(),
                });
                let api = bridge.membrane.carry(api, MembraneSide::Platform);
                let mut system = rpc_system(socket, Side::Server, api.client, 64 << 10);
                let claim = bridge.hooks.as_ref().and_then(|hooks| {
                    let claim = hooks.claim()?;
                    let theirs = system.bootstrap(Side::Client);
                    let theirs = bridge.membrane.carry(theirs, MembraneSide::App);
                    hooks.current.send_replace(Some(theirs));
                    Some(claim)
                });
                spawn_local(async move {
                    // How it ended is the app's own affair.
                    let _ = system.await;
                    drop(claim);
                    drop(permit);
                });
            }
            Err(error) => {
                log(format_args!(
                    "could not accept a connection on the API socket: {error}"
                ));
                // Out of descriptors, most likely: trying again at once would only fill the log.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// What the app finds on the socket.
struct Api {
    bridge: Rc<Bridge>,
}

impl Api {
    fn find(&self, id: capnp::text::Reader<'_>) -> Result<Entry, Error> {
        self.bridge
            .sessions
            .find(id.as_bytes())
            .ok_or_else(|| Error::failed("no session with this id is open".into()))
    }

    fn require_saving(&self) -> Result<(), Error> {
        if self.bridge.config.save_identities {
            Ok(())
        } else {
            Err(Error::failed(
                "this package does not set saveIdentityCaps in its BridgeConfig".into(),
            ))
        }
    }
}

impl sandstorm_http_bridge::Server for Api {
    async fn get_sandstorm_api(
        self: Rc<Self>,
        _: sandstorm_http_bridge::GetSandstormApiParams,
        mut results: sandstorm_http_bridge::GetSandstormApiResults,
    ) -> Result<(), Error> {
        results.get().set_api(self.bridge.platform()?);
        Ok(())
    }

    async fn get_session_context(
        self: Rc<Self>,
        params: sandstorm_http_bridge::GetSessionContextParams,
        mut results: sandstorm_http_bridge::GetSessionContextResults,
    ) -> Result<(), Error> {
        results
            .get()
            .set_context(self.find(params.get()?.get_id()?)?.context);
        Ok(())
    }

    async fn get_saved_identity(
        self: Rc<Self>,
        params: sandstorm_http_bridge::GetSavedIdentityParams,
        mut results: sandstorm_http_bridge::GetSavedIdentityResults,
    ) -> Result<(), Error> {
        self.require_saving()?;
        let id = UserId::parse(params.get()?.get_identity_id()?.as_bytes())
            .ok_or_else(|| Error::failed("an identity's id is 32 hexadecimal digits".into()))?;
        let identity = self.bridge.identities()?.find(id).await?;
        results.get().set_identity(identity);
        Ok(())
    }

    async fn save_identity(
        self: Rc<Self>,
        params: sandstorm_http_bridge::SaveIdentityParams,
        _: sandstorm_http_bridge::SaveIdentityResults,
    ) -> Result<(), Error> {
        self.require_saving()?;
        let identity = params.get()?.get_identity()?;
        self.bridge.identities()?.adopt(identity).await
    }

    async fn get_session_request(
        self: Rc<Self>,
        params: sandstorm_http_bridge::GetSessionRequestParams,
        mut results: sandstorm_http_bridge::GetSessionRequestResults,
    ) -> Result<(), Error> {
        match self.find(params.get()?.get_id()?)?.detail {
            Detail::Request(message) => results.set(message.get_root_as_reader()?),
            Detail::Normal | Detail::Offer { .. } => {
                Err(Error::failed("session is not a powerbox request".into()))
            }
        }
    }

    async fn get_session_offer(
        self: Rc<Self>,
        params: sandstorm_http_bridge::GetSessionOfferParams,
        mut results: sandstorm_http_bridge::GetSessionOfferResults,
    ) -> Result<(), Error> {
        match self.find(params.get()?.get_id()?)?.detail {
            Detail::Offer { offer, message } => {
                results.set(message.get_root_as_reader()?)?;
                results.get().init_offer().set_as_capability(offer.hook);
                Ok(())
            }
            Detail::Normal | Detail::Request(_) => {
                Err(Error::failed("session is not a powerbox offer".into()))
            }
        }
    }
}
