//! The process: a connection to the broker, a door for grain hosts.

use std::io;
use std::net::IpAddr;
use std::os::unix::net::{UnixListener, UnixStream};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use capnp_rpc::rpc_twoparty_capnp::Side;
use ipnet::IpNet;
use percloud_link::{Bounds, Link};
use percloud_schemas::egress_capnp::{egress, egress_keeper};
use rustls::{ClientConfig, RootCertStore};

use crate::door::{self, Door};
use crate::gate::Gate;
use crate::tls;

/// What an egress is told; nothing here has a default but the limits.
pub struct Config {
    /// The connection to the broker.
    pub broker: UnixStream,
    /// Where grain hosts knock.
    pub door: UnixListener,
    /// Addresses apps may reach though they are not public.
    pub open: Vec<IpNet>,
    /// On which address apps listen that were given ports of this machine.
    pub listen: IpAddr,
    /// Whose word counts for who a server is.
    pub roots: RootCertStore,
    /// How much of everything.
    pub limits: Limits,
}

/// How much of everything.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Grain hosts at the door at a time.
    pub hosts: usize,
    /// Connections one outlet has at a time.
    pub connections: usize,
    /// How long another machine may take to be found, to take a connection, to greet.
    pub patience: Duration,
    /// How long a website may take to begin an answer, and between two pieces of it; also to take a piece of a question.
    pub answer: Duration,
    /// Longest answer handed over in one piece, in bytes. What is longer goes to the caller's stream.
    pub whole: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            hosts: 4096,
            connections: 64,
            patience: Duration::from_secs(10),
            answer: Duration::from_secs(120),
            whole: 256 << 10,
        }
    }
}

/// Why the egress could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A socket or the runtime.
    #[error("cannot start the egress")]
    Io(#[from] io::Error),
    /// Encryption is not as we need it.
    #[error("cannot set up encryption")]
    Tls(#[from] rustls::Error),
}

/// What all outlets share.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) gate: Gate,
    pub(crate) tls: Arc<ClientConfig>,
    pub(crate) listen: IpAddr,
    pub(crate) limits: Rc<Limits>,
}

/// Serves outlets until the broker hangs up, on this thread alone.
///
/// # Errors
/// When it cannot start.
pub fn run(config: Config) -> Result<(), StartError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    tokio::task::LocalSet::new().block_on(&runtime, serve(config))
}

/// The same inside a `LocalSet` that exists.
///
/// # Errors
/// When it cannot start.
pub async fn serve(config: Config) -> Result<(), StartError> {
    let Config {
        broker,
        door,
        open,
        listen,
        roots,
        limits,
    } = config;
    broker.set_nonblocking(true)?;
    door.set_nonblocking(true)?;
    let broker = tokio::net::UnixStream::from_std(broker)?;
    let listener = tokio::net::UnixListener::from_std(door)?;
    let world = World {
        gate: Gate::new(&open, limits.patience),
        tls: Arc::new(tls::client(roots)?),
        listen,
        limits: Rc::new(limits),
    };
    let hosts = world.limits.hosts;
    let door = Rc::new(Door::new(world));
    let ours: egress::Client = capnp_rpc::new_client_from_rc(Rc::clone(&door));
    let mut link = Link::new(broker, Side::Client, Bounds::default(), Some(ours.client));
    door.know(link.bootstrap::<egress_keeper::Client>());
    tokio::select! {
        _hung_up = link.run() => Ok(()),
        () = door::keep(listener, door, hosts) => unreachable!("a door is kept for good"),
    }
}
