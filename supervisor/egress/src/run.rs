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
use rustix::process::{Resource, getrlimit, setrlimit};
use rustls::{ClientConfig, RootCertStore};
use tokio::sync::Semaphore;

use crate::door::{self, Door};
use crate::gate::Gate;
use crate::tls;

/// Descriptors that are left for everything else: each look-up of a name needs one or two for a moment.
const SPARE: usize = 1024;

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
    /// Connections one holder has at a time, through all its outlets.
    pub connections: usize,
    /// Connections of all holders. There are never more than this process has descriptors for.
    pub in_all: usize,
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
            in_all: usize::MAX,
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
    ask_for_descriptors();
    let ended = tokio::task::LocalSet::new().block_on(&runtime, serve(config));
    // Whoever still looks for a name is not waited for.
    runtime.shutdown_background();
    ended
}

/// Asks for all descriptors this process may have. If more is not to be had, what there is must do.
fn ask_for_descriptors() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
}

/// How many connections this process has descriptors for, beside those of grain hosts and some to look for names.
fn room_for_connections(hosts: usize) -> usize {
    let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let descriptors = usize::try_from(descriptors)
        .unwrap_or(usize::MAX)
        .min(Semaphore::MAX_PERMITS);
    descriptors.saturating_sub(hosts + SPARE).max(descriptors / 2)
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
        mut limits,
    } = config;
    limits.in_all = limits.in_all.min(room_for_connections(limits.hosts));
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
