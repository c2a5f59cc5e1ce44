//! A running server: broker in this process, launcher, edge and egress beside it, started by the parent.

pub mod restarts;

use std::error::Error;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use capnp_rpc::rpc_twoparty_capnp::Side;
use percloud_broker::{Broker, Config, Layout, Part};
use percloud_core::secret::Secret;
use percloud_link::{Bounds, Link};
use percloud_sandbox::launcher::{Client, Kind};
use percloud_sandbox::parent;
use percloud_sandbox::process::Child;
use tokio::io::AsyncReadExt;
use tokio::io::unix::AsyncFd;

use crate::base::Base;
use crate::launcher_role::Job;
use crate::parent_role::{EDGE, EGRESS, LAUNCHER};
use crate::processes::restarts::{Restarts, SETTLED};
use crate::wiring::{LauncherHandle, Machine, outside};

/// How long the launcher may take to look at the machine, and bytes of what it says of it.
const PROBE_DEADLINE: Duration = Duration::from_secs(10);
const MOST_SAID: u64 = 64 << 10;

/// What a server is made of.
#[derive(Debug)]
pub struct Settings {
    pub layout: Layout,
    /// Whether another broker served from there a moment ago.
    pub again: bool,
    pub base: Base,
    pub threads: u16,
    pub idle: Duration,
    pub rest: Duration,
    pub warm_memory: percloud_core::warm::Budget,
    pub record_refused: bool,
    pub machine: Machine,
    /// Who starts processes.
    pub parent: parent::Client,
}

/// A server that runs. Must be made and used on one thread, inside a `LocalSet`.
pub struct Server {
    pub broker: Rc<Broker>,
    pub base: Base,
    /// What makes the first account; none when there is one.
    pub setup: Option<Secret>,
    threads: u16,
    launcher: LauncherHandle,
    egress_door: PathBuf,
    parent: parent::Client,
    edge: Child,
    egress: Child,
    launcher_process: Child,
}

impl Server {
    /// Starts launcher, broker, egress and edge, in this order.
    pub fn start(settings: Settings) -> Result<Self, Box<dyn Error>> {
        let Settings {
            layout,
            again,
            base,
            threads,
            idle,
            rest,
            warm_memory,
            record_refused,
            machine,
            parent,
        } = settings;
        let (mut client, launcher_process) = start_launcher(&parent)?;
        let weaknesses = weaknesses(&mut client)?;
        let launcher = LauncherHandle::new(client, idle, rest);
        let egress_door = layout.egress_door();
        let config = Config {
            layout,
            again,
            base: (base.scheme.clone(), base.host.clone()),
            warm_memory,
            record_refused,
        };
        let (broker, setup) = Broker::start(config, outside(launcher.clone(), machine))?;
        broker.set_weaknesses(weaknesses);
        let egress = start_egress(&parent, &broker, &egress_door)?;
        let edge = start_edge(&parent, &broker, threads)?;
        Ok(Self {
            broker,
            base,
            setup,
            threads,
            launcher,
            egress_door,
            parent,
            edge,
            egress,
            launcher_process,
        })
    }

    /// Has a dead edge, egress or launcher started again, for as long as it is awaited; it never returns.
    pub async fn keep_alive(&mut self) {
        let Self {
            broker,
            threads,
            launcher,
            egress_door,
            parent,
            edge,
            egress,
            launcher_process,
            ..
        } = self;
        let parent = &*parent;
        futures::join!(
            keep(broker, Part::Edge, edge, || start_edge(parent, broker, *threads)),
            keep(broker, Part::Egress, egress, || start_egress(
                parent,
                broker,
                egress_door
            )),
            keep(broker, Part::Launcher, launcher_process, || {
                let (client, process) = start_launcher(parent)?;
                launcher.replace(client);
                tokio::task::spawn_local(look_again(broker.clone(), launcher.clone()));
                Ok(process)
            }),
        );
    }

    /// Ends grains, then the processes beside this one, which the parent collects. The launcher ends by itself, for it has
    /// control groups to remove: with this process, or when this is dropped.
    pub async fn stop(self) {
        let _ = self.edge.kill();
        let _ = self.egress.kill();
        self.broker.stop().await;
    }
}

/// Starts a process again whenever it ends. One that never lives long is started ever more rarely.
async fn keep(
    broker: &Broker,
    part: Part,
    child: &mut Child,
    start: impl Fn() -> Result<Child, Box<dyn Error>>,
) {
    let what = match part {
        Part::Broker => "broker",
        Part::Edge => "edge",
        Part::Egress => "egress",
        Part::Launcher => "launcher, and with it every running grain,",
    };
    let settled = async || {
        tokio::time::sleep(SETTLED).await;
        broker.part_fails(part, false);
        std::future::pending().await
    };
    let mut restarts = Restarts::new();
    loop {
        let since = Instant::now();
        match watch(child) {
            Ok(process) => tokio::select! {
                _ended = process.readable() => {}
                () = settled() => {}
            },
            Err(error) => {
                tracing::error!("cannot watch the {what}: {error}");
                tokio::time::sleep(restarts.pause()).await;
                continue;
            }
        }
        tracing::error!("the {what} ended; starting it again");
        restarts.ended(since.elapsed());
        loop {
            if restarts.is_worrying() {
                broker.part_fails(part, true);
            }
            tokio::time::sleep(restarts.pause()).await;
            match start() {
                Ok(next) => {
                    *child = next;
                    break;
                }
                Err(error) => {
                    tracing::error!("cannot start the {what} again: {error}");
                }
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

/// Asks the launcher what is weaker on this machine than it should be, and says so; the shell shows it to the owner.
fn weaknesses(client: &mut Client) -> Result<Vec<String>, Box<dyn Error>> {
    let (ours, theirs) = UnixStream::pair()?;
    let job = serde_json::to_value(Job::Weaknesses)?;
    client.request(&Kind::Worker { job }, &[theirs.as_fd()])?;
    drop(theirs);
    ours.set_read_timeout(Some(PROBE_DEADLINE))?;
    Ok(said(serde_json::from_reader(ours)?))
}

/// Asks the next launcher the same: it may have got less of the machine than the one before, as when memory is short.
async fn look_again(broker: Rc<Broker>, launcher: LauncherHandle) {
    let look = async || -> Result<Vec<String>, Box<dyn Error>> {
        let (ours, theirs) = UnixStream::pair()?;
        launcher.work(&Job::Weaknesses, vec![theirs.into()]).await?;
        let mut text = Vec::new();
        stream(ours)?.take(MOST_SAID).read_to_end(&mut text).await?;
        Ok(serde_json::from_slice(&text)?)
    };
    match tokio::time::timeout(PROBE_DEADLINE, look()).await {
        Ok(Ok(found)) => broker.set_weaknesses(said(found)),
        Ok(Err(error)) => tracing::error!("the new launcher did not look at the machine: {error}"),
        Err(_) => tracing::error!("the new launcher took too long to look at the machine"),
    }
}

fn said(weaknesses: Vec<String>) -> Vec<String> {
    weaknesses
        .iter()
        .for_each(|weakness| tracing::warn!("{weakness}"));
    weaknesses
}

fn start_launcher(parent: &parent::Client) -> Result<(Client, Child), Box<dyn Error>> {
    let (ours, theirs) = UnixStream::pair()?;
    let child = parent.start(LAUNCHER, &[theirs.as_fd()])?;
    Ok((Client::new(ours.into()), child))
}

fn start_edge(parent: &parent::Client, broker: &Rc<Broker>, threads: u16) -> Result<Child, Box<dyn Error>> {
    let mut ends = Vec::new();
    for _ in 0..threads {
        let (ours, theirs) = UnixStream::pair()?;
        ends.push(theirs);
        serve_edge(broker, ours)?;
    }
    let ends: Vec<_> = ends.iter().map(AsFd::as_fd).collect();
    Ok(parent.start(EDGE, &ends)?)
}

/// Starts the egress and introduces it to the broker.
fn start_egress(parent: &parent::Client, broker: &Rc<Broker>, door: &Path) -> Result<Child, Box<dyn Error>> {
    let (ours, theirs) = UnixStream::pair()?;
    match std::fs::remove_file(door) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let listener = UnixListener::bind(door)?;
    let child = parent.start(EGRESS, &[theirs.as_fd(), listener.as_fd()])?;
    drop(theirs);
    let mut link = Link::new(
        stream(ours)?,
        Side::Server,
        Bounds::of_ours(),
        Some(broker.egress_keeper().client),
    );
    let process = child.pidfd.try_clone()?;
    let end = move || {
        let _gone_already = rustix::process::pidfd_send_signal(&process, rustix::process::Signal::KILL);
    };
    broker.use_egress(link.bootstrap(), door.to_owned(), Rc::new(end));
    run(link, "egress");
    Ok(child)
}

/// Our end of a connection to one of our processes.
fn stream(socket: UnixStream) -> std::io::Result<tokio::net::UnixStream> {
    socket.set_nonblocking(true)?;
    tokio::net::UnixStream::from_std(socket)
}

/// Offers the broker's front to one thread of the edge until it hangs up.
fn serve_edge(broker: &Rc<Broker>, socket: UnixStream) -> Result<(), Box<dyn Error>> {
    let link = Link::new(
        stream(socket)?,
        Side::Server,
        Bounds::of_ours(),
        Some(broker.front().client),
    );
    run(link, "edge");
    Ok(())
}

fn run(link: Link, role: &'static str) {
    tokio::task::spawn_local(async move {
        if let Err(error) = link.run().await {
            tracing::error!("the {role} broke the rules of its connection: {}", error.extra);
        }
    });
}
