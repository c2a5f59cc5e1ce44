//! The Unix socket through which the app itself reaches the platform's capabilities.

use std::cell::Cell;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use capnp::message::ReaderOptions;
use capnp::{Error, any_pointer};
use capnp_rpc::rpc_twoparty_capnp::Side;
use capnp_rpc::{RpcSystem, twoparty};
use futures::io::{BufReader, BufWriter};
use percloud_schemas::sandstorm_http_bridge_capnp::{app_hooks, sandstorm_http_bridge};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::spawn_local;
use tokio_util::compat::{TokioAsyncReadCompatExt, TokioAsyncWriteCompatExt};

use crate::bridge::Bridge;
use crate::log::log;
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

/// The object the app exports on its first connection, if its package says so.
pub(crate) struct Hooks(watch::Sender<Option<app_hooks::Client<any_pointer::Owned>>>);

impl Hooks {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(None))
    }

    /// Waits for the app to connect, without limit.
    pub(crate) async fn get(&self) -> Result<app_hooks::Client<any_pointer::Owned>, Error> {
        let mut receiver = self.0.subscribe();
        let hooks = receiver.wait_for(Option::is_some).await;
        let hooks = hooks.ok().and_then(|hooks| hooks.clone());
        hooks.ok_or_else(|| Error::disconnected("bridge is ending".into()))
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
    let first = Cell::new(true);
    loop {
        match listener.accept().await {
            Ok((socket, _)) => {
                let api: sandstorm_http_bridge::Client = capnp_rpc::new_client(Api {
                    bridge: bridge.clone(),
                });
                let mut system = rpc_system(socket, Side::Server, api.client, 64 << 10);
                if first.replace(false)
                    && let Some(hooks) = &bridge.hooks
                {
                    hooks.0.send_replace(Some(system.bootstrap(Side::Client)));
                }
                spawn_local(system);
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
