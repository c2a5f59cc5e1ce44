//! Wires the bridge together and runs it until the app or the platform is gone.

use std::cell::OnceCell;
use std::ffi::OsString;
use std::io;
use std::net::SocketAddrV4;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;

use capnp::{Error, any_pointer};
use capnp_rpc::rpc_twoparty_capnp::Side;
use percloud_schemas::grain_capnp::{main_view, sandstorm_api};
use tokio::net::UnixStream;
use tokio::task::{LocalSet, spawn_local};

use crate::api_socket::{self, Hooks, rpc_system};
use crate::app::AppServer;
use crate::child::Child;
use crate::config::{AppConfig, ConfigError};
use crate::identity::Identities;
use crate::log::log;
use crate::mail::Maildir;
use crate::main_view::MainView;
use crate::membrane::Membrane;
use crate::proxy;
use crate::session::SessionTable;

/// Bytes of one stream that may be on their way to the platform unacknowledged: enough to keep both sides busy
/// with the largest pieces, little enough that a slow browser costs this process almost nothing.
const WINDOW: usize = 256 << 10;

/// Where things are. Every package expects the same places; tests choose their own.
#[derive(Debug)]
pub struct Config {
    /// The packed `BridgeConfig` message.
    pub bridge_config: PathBuf,
    /// Where to listen for the app's own Cap'n Proto connections.
    pub api_socket: PathBuf,
    /// Where to listen as an HTTP proxy.
    pub proxy: SocketAddrV4,
    /// The grain's storage: saved identities and mail go there.
    pub storage: PathBuf,
    /// Loopback port on which the app will listen.
    pub app_port: u16,
    /// The app's command and its arguments; not empty.
    pub command: Vec<OsString>,
}

/// Why the bridge could not begin to serve.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error("could not read {path}")]
    Config { path: PathBuf, source: ConfigError },
    #[error("could not start the event loop")]
    Runtime(#[source] io::Error),
    #[error("could not start {command:?}")]
    Command { command: OsString, source: io::Error },
}

/// What all parts of the bridge share.
pub(crate) struct Bridge {
    pub(crate) config: AppConfig,
    pub(crate) app: AppServer,
    pub(crate) sessions: Rc<SessionTable>,
    /// Present if the package says that its app exports hooks.
    pub(crate) hooks: Option<Hooks>,
    /// What stands between the app's connections and everything else.
    pub(crate) membrane: Membrane,
    pub(crate) mail: Maildir,
    platform: OnceCell<Platform>,
}

/// What there is once the platform is connected.
struct Platform {
    api: sandstorm_api::Client<any_pointer::Owned>,
    identities: Rc<Identities>,
}

impl Bridge {
    /// Returns the platform's API.
    pub(crate) fn platform(&self) -> Result<sandstorm_api::Client<any_pointer::Owned>, Error> {
        Ok(self.connected()?.api.clone())
    }

    /// Returns the identities saved so far.
    pub(crate) fn identities(&self) -> Result<&Rc<Identities>, Error> {
        Ok(&self.connected()?.identities)
    }

    fn connected(&self) -> Result<&Platform, Error> {
        self.platform
            .get()
            .ok_or_else(|| Error::disconnected("platform is not connected".into()))
    }
}

/// Runs the bridge until the app exits or `platform` closes, and returns the status to exit with: the app's own,
/// 128 plus its signal, or 1 where the bridge or its connection failed. Failures are written to the log.
pub fn run(config: Config, platform: StdUnixStream) -> ExitCode {
    match start(config, platform) {
        Ok(code) => code,
        Err(error) => {
            let mut text = error.to_string();
            let mut source = std::error::Error::source(&error);
            while let Some(cause) = source {
                text.push_str(&format!(": {cause}"));
                source = cause.source();
            }
            log(text);
            ExitCode::FAILURE
        }
    }
}

fn start(config: Config, platform: StdUnixStream) -> Result<ExitCode, StartError> {
    let app_config = AppConfig::read(&config.bridge_config).map_err(|source| StartError::Config {
        path: config.bridge_config.clone(),
        source,
    })?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(StartError::Runtime)?;
    let code = LocalSet::new().block_on(&runtime, serve(config, app_config, platform));
    // Not waiting for anything that is still open: the process ends now.
    runtime.shutdown_background();
    code
}

async fn serve(
    config: Config,
    app_config: AppConfig,
    platform: StdUnixStream,
) -> Result<ExitCode, StartError> {
    platform.set_nonblocking(true).map_err(StartError::Runtime)?;
    let platform = UnixStream::from_std(platform).map_err(StartError::Runtime)?;
    let bridge = Rc::new(Bridge {
        hooks: app_config.expect_app_hooks.then(Hooks::new),
        config: app_config,
        app: AppServer::new(config.app_port),
        sessions: Rc::default(),
        membrane: Membrane::default(),
        mail: Maildir::new(config.storage.join("mail")),
        platform: OnceCell::new(),
    });

    // Both doors stand open before the app could knock. A package without /tmp can do without them.
    match api_socket::bind(&config.api_socket) {
        Ok(listener) => drop(spawn_local(api_socket::serve(listener, bridge.clone()))),
        Err(error) => log(format_args!(
            "no API socket at {}: {error}",
            config.api_socket.display()
        )),
    }
    match proxy::bind(config.proxy).await {
        Ok(listener) => drop(spawn_local(proxy::serve(listener, bridge.clone()))),
        Err(error) => log(format_args!("no proxy at {}: {error}", config.proxy)),
    }

    let mut child = Child::start(&config.command, config.proxy).map_err(|source| {
        let command = config.command.first().cloned().unwrap_or_default();
        StartError::Command { command, source }
    })?;

    let view: main_view::Client<any_pointer::Owned> = capnp_rpc::new_client(MainView {
        bridge: bridge.clone(),
    });
    let mut system = rpc_system(platform, Side::Client, view.client, WINDOW);
    // Asked for once, whether or not the app will ever use it.
    let api: sandstorm_api::Client<any_pointer::Owned> = system.bootstrap(Side::Server);
    let connection = spawn_local(system);
    let identities = Identities::open(config.storage.join(".sandstorm-http-bridge"), api.clone());
    let _ = bridge.platform.set(Platform { api, identities });
    spawn_local({
        let bridge = bridge.clone();
        async move { bridge.app.watch_for_start().await }
    });

    tokio::select! {
        code = child.wait() => Ok(code),
        ended = connection => {
            match ended {
                Ok(Ok(())) => log("platform has closed the connection"),
                Ok(Err(error)) => log(format_args!("connection to the platform failed: {error}")),
                Err(error) => log(format_args!("connection to the platform failed: {error}")),
            }
            child.kill();
            Ok(ExitCode::FAILURE)
        }
    }
}
