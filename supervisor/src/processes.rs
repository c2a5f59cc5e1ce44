//! A running server: broker in this process, launcher, edge and egress beside it.

use std::error::Error;
use std::ffi::OsString;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use capnp_rpc::RpcSystem;
use capnp_rpc::rpc_twoparty_capnp::Side;
use capnp_rpc::twoparty::VatNetwork;
use percloud_broker::{Broker, Config, Layout};
use percloud_core::secret::Secret;
use percloud_sandbox::launcher::{Client, Kind};
use percloud_sandbox::process::{self, Child};
use tokio::io::unix::AsyncFd;
use tokio_util::compat::{TokioAsyncReadCompatExt, TokioAsyncWriteCompatExt};

use crate::base::Base;
use crate::edge_role::LISTENER_FD;
use crate::egress_role::{BROKER_FD, DOOR_FD};
use crate::launcher_role::{CONTROL_FD, Job};
use crate::wiring::{LauncherHandle, outside};

/// How long to wait before a dead process is started again, at first and at most.
const RESTART_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A process that lived for longer died of something new.
const SETTLED: Duration = Duration::from_secs(60);
/// A Unix socket's path has at most 107 bytes; ours are named by 22 below the runtime folder.
const RUNTIME_LIMIT: usize = 80;

/// This same program, whatever became of its file.
const SELF: &str = "/proc/self/exe";

/// How long the launcher may take to look at the machine.
const PROBE_DEADLINE: Duration = Duration::from_secs(10);

/// What a server is told.
#[derive(Debug, Clone)]
pub struct Settings {
    pub data: PathBuf,
    pub runtime: Option<PathBuf>,
    pub listen: SocketAddr,
    pub base_url: Option<String>,
    pub threads: Option<u16>,
    pub idle: Duration,
    pub rest: Duration,
    pub warm_memory: percloud_core::warm::Budget,
    pub record_refused: bool,
    pub egress: crate::cli::Egress,
}

/// A server that runs. Must be made and used on one thread, inside a `LocalSet`.
pub struct Server {
    pub broker: Rc<Broker>,
    pub base: Base,
    pub address: SocketAddr,
    /// What makes the first account; none when there is one.
    pub setup: Option<Secret>,
    listener: TcpListener,
    threads: u16,
    launcher: LauncherHandle,
    way_out: crate::cli::Egress,
    egress_door: PathBuf,
    /// Kept for its end: sockets are gone with the server.
    _runtime: Option<tempfile::TempDir>,
    edge: Child,
    egress: Child,
    launcher_process: Child,
}

impl Server {
    /// Starts launcher, broker, egress and edge, in this order.
    pub fn start(settings: &Settings) -> Result<Self, Box<dyn Error>> {
        // Before anything is started: groups for apps need a parent without processes.
        percloud_sandbox::cgroup::delegate();
        let (mut client, launcher_process) = start_launcher()?;
        let warnings = weaknesses(&mut client)?;
        let launcher = LauncherHandle::new(client, settings.idle, settings.rest);

        let listener = TcpListener::bind(settings.listen).map_err(|error| {
            format!(
                "cannot listen on {}: {error}; choose another with --listen",
                settings.listen
            )
        })?;
        let address = listener.local_addr()?;
        let base = Base::new(settings.base_url.as_deref(), address)?;
        let (runtime, kept) = runtime_folder(settings)?;
        let config = Config {
            layout: Layout::new(settings.data.clone(), runtime),
            base: (base.scheme.clone(), base.host.clone()),
            warm_memory: settings.warm_memory,
            record_refused: settings.record_refused,
            warnings,
        };
        let egress_door = config.layout.egress_door();
        let (broker, setup) = Broker::start(config, outside(launcher.clone()))?;
        let egress = start_egress(&broker, &egress_door, &settings.egress)?;
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let threads = settings
            .threads
            .unwrap_or_else(|| u16::try_from(cores.min(64)).expect("64 fits"));
        let edge = start_edge(&broker, &listener, &base, threads)?;
        Ok(Self {
            broker,
            base,
            address,
            setup,
            listener,
            threads,
            launcher,
            way_out: settings.egress.clone(),
            egress_door,
            _runtime: kept,
            edge,
            egress,
            launcher_process,
        })
    }

    /// Starts a dead edge, egress or launcher again, for as long as it is awaited; it never returns.
    pub async fn keep_alive(&mut self) {
        let Self {
            broker,
            base,
            listener,
            threads,
            launcher,
            way_out,
            egress_door,
            edge,
            egress,
            launcher_process,
            ..
        } = self;
        futures::join!(
            keep(edge, "edge", || start_edge(broker, listener, base, *threads)),
            keep(egress, "egress", || start_egress(broker, egress_door, way_out)),
            keep(
                launcher_process,
                "launcher, and with it every running grain,",
                || {
                    let (client, process) = start_launcher()?;
                    launcher.replace(client);
                    Ok(process)
                }
            ),
        );
    }

    /// Ends grains, then the processes beside this one.
    pub async fn stop(self) {
        end(&self.edge);
        end(&self.egress);
        self.broker.stop().await;
        end(&self.launcher_process);
    }
}

/// Starts a process again whenever it ends. One that never lives long is started ever more rarely.
async fn keep(child: &mut Child, what: &str, start: impl Fn() -> Result<Child, Box<dyn Error>>) {
    let mut pause = RESTART_PAUSE;
    loop {
        let since = Instant::now();
        match watch(child) {
            Ok(process) => drop(process.readable().await),
            Err(error) => {
                tracing::error!("cannot watch the {what}: {error}");
                tokio::time::sleep(LONGEST_PAUSE).await;
                continue;
            }
        }
        let _ = child.wait();
        tracing::error!("the {what} ended; starting it again");
        if since.elapsed() > SETTLED {
            pause = RESTART_PAUSE;
        }
        loop {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
            match start() {
                Ok(next) => {
                    *child = next;
                    break;
                }
                Err(error) => tracing::error!("cannot start the {what} again: {error}"),
            }
        }
    }
}

/// Watches a process by its descriptor, which the watcher owns.
#[allow(
    deprecated,
    reason = "the replacement is for types that may not own their descriptor; OwnedFd does"
)]
fn watch(child: &Child) -> std::io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::new(child.pidfd.try_clone()?)
}

fn end(child: &Child) {
    let _ = child.kill();
    let _ = child.wait();
}

/// What a role inherits of our environment: how to log.
#[allow(
    clippy::disallowed_methods,
    reason = "the wiring decides what a role's environment is"
)]
fn environment() -> Vec<(OsString, OsString)> {
    let kept = ["PERCLOUD_LOG", "RUST_BACKTRACE"];
    kept.iter()
        .filter_map(|name| Some((OsString::from(name), std::env::var_os(name)?)))
        .collect()
}

/// Asks the launcher what is weaker on this machine than it should be, and says so; the shell shows it to the owner.
fn weaknesses(client: &mut Client) -> Result<Vec<(String, String)>, Box<dyn Error>> {
    let (ours, theirs) = UnixStream::pair()?;
    let job = serde_json::to_value(Job::Weaknesses)?;
    client.request(&Kind::Worker { job }, &[theirs.as_fd()])?;
    drop(theirs);
    ours.set_read_timeout(Some(PROBE_DEADLINE))?;
    let found: Vec<String> = serde_json::from_reader(ours)?;
    for weakness in &found {
        tracing::warn!("{weakness}");
    }
    Ok(found
        .into_iter()
        .map(|weakness| ("weaker-sandbox".to_owned(), weakness))
        .collect())
}

fn start_launcher() -> Result<(Client, Child), Box<dyn Error>> {
    let (ours, theirs) = UnixStream::pair()?;
    let child = process::spawn_role(
        Path::new(SELF),
        &["launcher".into()],
        &environment(),
        vec![(theirs.into(), CONTROL_FD)],
    )?;
    Ok((Client::new(ours.into()), child))
}

fn start_edge(
    broker: &Rc<Broker>,
    listener: &TcpListener,
    base: &Base,
    threads: u16,
) -> Result<Child, Box<dyn Error>> {
    let mut fds: Vec<(OwnedFd, i32)> = vec![(listener.try_clone()?.into(), LISTENER_FD)];
    for thread in 0..threads {
        let (ours, theirs) = UnixStream::pair()?;
        fds.push((theirs.into(), LISTENER_FD + 1 + i32::from(thread)));
        serve_edge(broker, ours)?;
    }
    let arguments = ["edge", "--base", &base.url(), "--threads", &threads.to_string()].map(OsString::from);
    Ok(process::spawn_role(
        Path::new(SELF),
        &arguments,
        &environment(),
        fds,
    )?)
}

/// Starts the egress and introduces it to the broker.
fn start_egress(
    broker: &Rc<Broker>,
    door: &Path,
    options: &crate::cli::Egress,
) -> Result<Child, Box<dyn Error>> {
    let (ours, theirs) = UnixStream::pair()?;
    match std::fs::remove_file(door) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let listener = UnixListener::bind(door)?;
    let mut arguments = vec![
        OsString::from("egress"),
        "--app-listen".into(),
        options.app_listen.to_string().into(),
    ];
    for range in &options.open {
        arguments.extend(["--open-address".into(), range.to_string().into()]);
    }
    let fds = vec![(theirs.into(), BROKER_FD), (listener.into(), DOOR_FD)];
    let child = process::spawn_role(Path::new(SELF), &arguments, &environment(), fds)?;
    let (network, peer) = (network(ours)?, Side::Client);
    let mut system = RpcSystem::new(Box::new(network), Some(broker.egress_keeper().client));
    let process = child.pidfd.try_clone()?;
    let end = move || {
        let _gone_already = rustix::process::pidfd_send_signal(&process, rustix::process::Signal::KILL);
    };
    broker.use_egress(system.bootstrap(peer), door.to_owned(), Rc::new(end));
    tokio::task::spawn_local(async move {
        if let Err(error) = system.await {
            tracing::debug!("the connection to the egress ended: {error}");
        }
    });
    Ok(child)
}

/// Our end of a connection to one of our processes.
fn network(socket: UnixStream) -> Result<VatNetwork<impl futures::AsyncRead + Unpin>, Box<dyn Error>> {
    socket.set_nonblocking(true)?;
    let (reader, writer) = tokio::net::UnixStream::from_std(socket)?.into_split();
    Ok(VatNetwork::new(
        reader.compat(),
        writer.compat_write(),
        Side::Server,
        Default::default(),
    ))
}

/// Offers the broker's front to one thread of the edge until it hangs up.
fn serve_edge(broker: &Rc<Broker>, socket: UnixStream) -> Result<(), Box<dyn Error>> {
    let system = RpcSystem::new(Box::new(network(socket)?), Some(broker.front().client));
    tokio::task::spawn_local(async move {
        if let Err(error) = system.await {
            tracing::debug!("the connection to the edge ended: {error}");
        }
    });
    Ok(())
}

/// The folder for sockets: as asked, else inside the data folder, else, where that name is too long, a temporary one.
fn runtime_folder(settings: &Settings) -> Result<(PathBuf, Option<tempfile::TempDir>), Box<dyn Error>> {
    if let Some(asked) = &settings.runtime {
        if asked.as_os_str().len() > RUNTIME_LIMIT {
            return Err(format!(
                "the runtime folder's name is longer than {RUNTIME_LIMIT} bytes: {}",
                asked.display()
            )
            .into());
        }
        return Ok((std::path::absolute(asked)?, None));
    }
    let inside = std::path::absolute(settings.data.join("run"))?;
    if inside.as_os_str().len() <= RUNTIME_LIMIT {
        return Ok((inside, None));
    }
    let kept = tempfile::Builder::new().prefix("percloud-").tempdir()?;
    Ok((kept.path().join("run"), Some(kept)))
}
