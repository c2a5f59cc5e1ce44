//! Threads, sockets and connections: from the first accept to the last good-bye.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use capnp_rpc::rpc_twoparty_capnp::Side;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use percloud_link::{Bounds, Link};
use percloud_schemas::front_capnp::front;
use rustix::net::sockopt;
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinError, JoinSet, LocalSet};

use crate::alarm::Alarm;
use crate::api::guesses::Guesses;
use crate::bodies::Bodies;
use crate::config::{Config, Limits};
use crate::edge::Edge;
use crate::grain::sessions::Sessions;
use crate::policy::Policy;
use crate::room::{Answered, Leave, Places, Room, Taken};
use crate::said::Said;
use crate::socket::Socket;
use crate::{Assets, BaseUrl, route};

/// Why the edge ended.
#[derive(Debug, thiserror::Error)]
pub enum EdgeError {
    /// There is nothing to listen on, or no broker to ask.
    #[error("starting the edge without a listening socket or without a connection to the broker")]
    NothingToServe,
    /// A socket or thread could not be had.
    #[error("starting a thread of the edge")]
    Start(#[source] io::Error),
    /// A thread ended without being told to.
    #[error("a thread of the edge panicked")]
    Panicked,
    /// The broker went away; nothing can be answered without it.
    #[error("the connection to the broker ended")]
    BrokerGone,
}

/// Serves until the broker goes away. Blocks the calling thread; makes one thread per broker connection.
///
/// # Errors
///
/// Always ends with an error: [`EdgeError::BrokerGone`] after a broker that stopped, else what went wrong.
pub fn run(config: Config) -> Result<(), EdgeError> {
    let Config {
        listeners,
        brokers,
        base,
        assets,
        limits,
    } = config;
    if listeners.is_empty() || brokers.is_empty() {
        return Err(EdgeError::NothingToServe);
    }
    let places = Places::new(&limits, room_for_connections());
    let bodies = Bodies::new(&limits);
    let (stop, stopped) = watch::channel(false);
    let stop = Arc::new(stop);
    let mut threads = Vec::with_capacity(brokers.len());
    for (index, broker) in brokers.into_iter().enumerate() {
        let listener = listeners[index % listeners.len()]
            .try_clone()
            .map_err(EdgeError::Start)?;
        let (base, assets, limits) = (base.clone(), assets.clone(), limits.clone());
        let (places, bodies) = (places.clone(), bodies.clone());
        let (stop, stopped) = (stop.clone(), stopped.clone());
        let thread = std::thread::Builder::new()
            .name(format!("edge-{index}"))
            .spawn(move || {
                let ended = worker(
                    listener, broker, base, assets, limits, places, bodies, &stop, stopped,
                );
                // One thread without the broker means all: they end together.
                stop.send_replace(true);
                ended
            });
        threads.push(thread.map_err(EdgeError::Start)?);
    }
    let mut ended = Err(EdgeError::BrokerGone);
    for thread in threads {
        match thread.join() {
            Ok(Ok(())) => {}
            Ok(Err(error)) => ended = Err(error),
            Err(_) => ended = Err(EdgeError::Panicked),
        }
    }
    ended
}

/// How many connections this process has descriptors for, after asking for all it may have. One connection of a
/// client may cost two more to a grain; a few are ours.
fn room_for_connections() -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // If more is not to be had, what there is must do.
    let _ = setrlimit(Resource::Nofile, limit);
    let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(descriptors.saturating_sub(64) / 3)
        .unwrap_or(usize::MAX)
        .clamp(1, Semaphore::MAX_PERMITS)
}

#[allow(clippy::too_many_arguments)]
fn worker(
    listener: TcpListener,
    broker: UnixStream,
    base: BaseUrl,
    assets: Assets,
    limits: Limits,
    places: Arc<Places>,
    bodies: Bodies,
    stop: &watch::Sender<bool>,
    stopped: watch::Receiver<bool>,
) -> Result<(), EdgeError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(EdgeError::Start)?;
    let local = LocalSet::new();
    local.block_on(&runtime, async {
        listener.set_nonblocking(true).map_err(EdgeError::Start)?;
        notice_who_vanishes(&listener).map_err(EdgeError::Start)?;
        broker.set_nonblocking(true).map_err(EdgeError::Start)?;
        let listener = tokio::net::TcpListener::from_std(listener).map_err(EdgeError::Start)?;
        let broker = tokio::net::UnixStream::from_std(broker).map_err(EdgeError::Start)?;
        let mut link = Link::new(broker, Side::Client, Bounds::of_ours(), None);
        let front: front::Client = link.bootstrap();
        let edge = Rc::new(Edge {
            policy: Policy::new(&base),
            sessions: Sessions::default(),
            bodies,
            guesses: Guesses::new(limits.wrong_tokens, limits.wrong_token_counts),
            base,
            limits,
            assets,
            front,
        });
        tokio::task::spawn_local(Sessions::forget_idle(Rc::downgrade(&edge)));
        let accepting = tokio::task::spawn_local(accept(edge, listener, Room::new(places), stopped.clone()));
        let mut stopped = stopped;
        tokio::select! {
            _ = link.run() => {}
            () = told(&mut stopped) => {}
        }
        stop.send_replace(true);
        accepting.await.map_err(|_| EdgeError::Panicked)
    })
}

/// Has the kernel end connections whose client is gone without a word, in two minutes: a WebSocket on which nothing is
/// said would be kept for ever. Connections have this from the socket that accepts them (tcp(7)).
fn notice_who_vanishes(listener: &TcpListener) -> std::io::Result<()> {
    sockopt::set_tcp_keepidle(listener, Duration::from_secs(60))?;
    sockopt::set_tcp_keepintvl(listener, Duration::from_secs(15))?;
    sockopt::set_tcp_keepcnt(listener, 4)?;
    Ok(sockopt::set_socket_keepalive(listener, true)?)
}

/// Waits until told to stop. The word is not held on to: as long as one holds it, who passes it on is blocked, and
/// with the thread everything on it.
async fn told(stopped: &mut watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

/// Accepts until told to stop, then waits for the connections it made.
async fn accept(
    edge: Rc<Edge>,
    listener: tokio::net::TcpListener,
    room: Room,
    mut stopped: watch::Receiver<bool>,
) {
    let mut tasks = JoinSet::new();
    let mut calls = room.calls();
    let mut newcomer = None;
    loop {
        room.make_room();
        let accepted = tokio::select! {
            accepted = listener.accept(), if newcomer.is_none() => accepted,
            place = room.place(), if newcomer.is_some() => {
                if let Some((stream, peer, member, _)) = newcomer.take() {
                    let taken = Rc::new(Taken { place, member });
                    tasks.spawn_local(connection(edge.clone(), stream, peer, taken));
                }
                continue;
            }
            Some(ended) = tasks.join_next() => {
                log_panic(ended);
                continue;
            }
            Ok(()) = calls.changed() => continue,
            () = room.stirred() => continue,
            () = told(&mut stopped) => break,
        };
        match accepted {
            // Who has many already is not let in, whatever room there is.
            Ok((stream, peer)) => {
                newcomer = room
                    .admit(peer.ip())
                    .map(|member| (stream, peer.ip(), member, room.announce()));
            }
            // A client that left before it was accepted is nothing; without descriptors, let some be closed first.
            Err(error) => {
                tracing::warn!(%error, "accepting a connection");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
    drop(listener);
    room.close();
    while let Some(ended) = tasks.join_next().await {
        log_panic(ended);
    }
}

/// A panic ends one connection, never the thread.
fn log_panic(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "serving a connection");
    }
}

async fn connection(edge: Rc<Edge>, stream: TcpStream, peer: IpAddr, taken: Rc<Taken>) {
    // Small answers must not wait for the acknowledgement of earlier ones.
    let _ = stream.set_nodelay(true);
    let socket = Socket::new(stream, edge.limits.write_stall, taken.place.unsent());
    let alarm = Alarm::default();
    let said = Rc::new(Said::on(taken.clone(), alarm.clone()));
    let service = service_fn(|request| {
        let (edge, said, asking) = (edge.clone(), said.clone(), taken.place.asks());
        async move {
            let answer = route::answer(edge, &said, peer, request).await;
            asking.answered();
            Ok::<_, Infallible>(answer.map(|body| Answered { body, asking }))
        }
    });
    let mut http = http1::Builder::new();
    http.timer(alarm)
        .header_read_timeout(edge.limits.header_timeout)
        .max_header_size(edge.limits.header_bytes)
        .keep_alive(true);
    let mut connection = std::pin::pin!(
        http.serve_connection(TokioIo::new(socket), service)
            .with_upgrades()
    );
    let ended = tokio::select! {
        // Who has said something is heard before being told to leave.
        biased;
        ended = connection.as_mut() => ended,
        leave = taken.place.told_to_leave() => match leave {
            Leave::Crowded => return,
            Leave::Closing => {
                connection.as_mut().graceful_shutdown();
                match tokio::time::timeout(edge.limits.drain, connection).await {
                    Ok(ended) => ended,
                    Err(_) => return,
                }
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended");
    }
}
