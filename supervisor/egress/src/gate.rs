//! The gate: resolves a name, looks at each address, connects to that very address.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use crate::address::is_public;
use crate::holder::Holder;

/// Longest name of a host (RFC 1035 section 2.3.4).
const NAME: usize = 253;
/// Addresses of one name that are tried.
const TRIED: usize = 8;
/// Where the C library reads which servers to ask.
const RESOLVER: &str = "/etc/resolv.conf";

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// The name has no form a name can have.
    #[error("{0:?} is not the name of a host")]
    Name(String),
    /// The name could not be resolved.
    #[error("{0} cannot be found: {1}")]
    Unknown(String, io::Error),
    /// It leads nowhere else than to machines that are nobody's business.
    #[error("{0} leads to an address that is not public, and those are closed to apps")]
    NotPublic(String),
    /// Nobody there took the connection.
    #[error("{0} does not answer: {1}")]
    Unreachable(String, io::Error),
    /// Somebody did, and no encryption came of it.
    #[error("{0} cannot be spoken to in TLS: {1}")]
    Unencrypted(String, io::Error),
    /// Whoever asks has enough already.
    #[error("this app has too many connections open")]
    Crowded,
}

/// Lets connections out. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    /// Addresses that are reachable though they are not public.
    open: Arc<[IpNet]>,
    /// Until a name is resolved, and for each address that is tried.
    patience: Duration,
    /// What the C library does, but for tests.
    look_up: LookUp,
    /// Which servers to ask for names could be seen from the start.
    sees_resolver: bool,
}

type LookUp = fn(&str, u16) -> io::Result<Vec<SocketAddr>>;

impl Gate {
    pub(crate) fn new(open: &[IpNet], patience: Duration) -> Self {
        Self {
            open: open.into(),
            patience,
            look_up: |host, port| Ok((host, port).to_socket_addrs()?.collect()),
            sees_resolver: std::fs::File::open(RESOLVER).is_ok(),
        }
    }

    /// Connects to `host`, a name or an address.
    pub(crate) async fn connect(
        &self,
        holder: &Arc<Holder>,
        host: &str,
        port: u16,
    ) -> Result<TcpStream, Refusal> {
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in self.resolve(holder, host, port).await? {
            match timeout(self.patience, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    // Small pieces leave at once; whoever has much to say says it in large ones.
                    let _without = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Ok(Err(error)) => last = error,
                Err(_) => last = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(Refusal::Unreachable(host.to_owned(), last))
    }

    /// A socket that sends datagrams to `host`, and receives those of nobody else.
    pub(crate) async fn datagrams(
        &self,
        holder: &Arc<Holder>,
        host: &str,
        port: u16,
    ) -> Result<UdpSocket, Refusal> {
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in self.resolve(holder, host, port).await? {
            match Self::connected(address).await {
                Ok(socket) => return Ok(socket),
                Err(error) => last = error,
            }
        }
        Err(Refusal::Unreachable(host.to_owned(), last))
    }

    async fn connected(address: SocketAddr) -> io::Result<UdpSocket> {
        let socket = UdpSocket::bind((any(address), 0)).await?;
        socket.connect(address).await?;
        Ok(socket)
    }

    /// The addresses of a host that may be reached; not none.
    async fn resolve(&self, holder: &Arc<Holder>, host: &str, port: u16) -> Result<Vec<SocketAddr>, Refusal> {
        let all: Vec<SocketAddr> = if let Ok(address) = bare(host).parse::<IpAddr>() {
            vec![(address, port).into()]
        } else {
            let fits =
                !host.is_empty() && host.len() <= NAME && host.bytes().all(|byte| byte.is_ascii_graphic());
            if !fits {
                return Err(Refusal::Name(host.chars().take(NAME).collect()));
            }
            if self.sees_resolver {
                look_for_the_resolver();
            }
            let found = timeout(self.patience, self.find(holder, host, port)).await;
            let found = found.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
            found.map_err(|error| Refusal::Unknown(host.to_owned(), error))?
        };
        let (mut allowed, mut unreachable) = (Vec::new(), None);
        for address in all {
            match self.allows(address) {
                Ok(true) => allowed.push(address),
                Ok(false) => {}
                Err(error) => unreachable = Some(error),
            }
            if allowed.len() == TRIED {
                break;
            }
        }
        match unreachable {
            _ if !allowed.is_empty() => Ok(allowed),
            Some(error) => Err(Refusal::Unreachable(host.to_owned(), error)),
            None => Err(Refusal::NotPublic(host.to_owned())),
        }
    }

    /// What a name stands for. A look-up cannot be given up: whoever stops waiting leaves it its share of the bounds.
    async fn find(&self, holder: &Arc<Holder>, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let share = holder.wait_for_lookup().await;
        let (look_up, host) = (self.look_up, host.to_owned());
        let found = tokio::task::spawn_blocking(move || {
            let _share = share;
            look_up(&host, port)
        });
        found.await.map_err(io::Error::other)?
    }

    /// Whether an address may be reached; an error when it cannot be.
    fn allows(&self, address: SocketAddr) -> io::Result<bool> {
        let target = SocketAddr::new(address.ip().to_canonical(), address.port());
        if self.open.iter().any(|open| open.contains(&target.ip())) {
            return Ok(true);
        }
        Ok(is_public(target.ip()) && !is_beside(target.ip(), seen_from(target)?))
    }
}

/// The address of this machine that a target would see. Nothing is sent.
fn seen_from(target: SocketAddr) -> io::Result<IpAddr> {
    let socket = std::net::UdpSocket::bind((any(target), 0))?;
    socket.connect(target)?;
    Ok(socket.local_addr()?.ip())
}

/// Whether a machine is this one, or one of its neighbours, as far as that can be told from the address this one has towards
/// it: networks of version 6 have 64 bits, the size of others is unknown.
fn is_beside(target: IpAddr, ours: IpAddr) -> bool {
    match (target, ours) {
        (IpAddr::V6(target), IpAddr::V6(ours)) => target.segments()[..4] == ours.segments()[..4],
        _ => target == ours,
    }
}

/// No address of the same version.
fn any(like: SocketAddr) -> IpAddr {
    match like {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// A host without the brackets that addresses of version 6 may have.
pub(crate) fn bare(host: &str) -> &str {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    bare.unwrap_or(host)
}

/// Ends this process where it can no longer see which servers to ask for names: the file was replaced, and what was
/// allowed was the old one. Whoever started this process starts another, which may read the new one.
fn look_for_the_resolver() {
    if let Err(error) = std::fs::File::open(RESOLVER)
        && error.kind() == io::ErrorKind::PermissionDenied
    {
        tracing::warn!("{RESOLVER} was replaced; the egress ends to be started again");
        std::process::exit(0);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use super::*;
    use crate::holder::Holders;

    fn holder(name: &str) -> Arc<Holder> {
        Holders::new(64, 64).get(name)
    }

    fn gate(open: &[&str]) -> Gate {
        let open: Vec<IpNet> = open.iter().map(|range| range.parse().unwrap()).collect();
        Gate::new(&open, Duration::from_secs(5))
    }

    #[tokio::test]
    async fn this_machine_is_closed_under_all_its_names() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        for host in [
            "127.0.0.1",
            "localhost",
            "0.0.0.0",
            "[::ffff:127.0.0.1]",
            "::1",
            "127.1",
        ] {
            let refused = gate(&[]).connect(&holder("a"), host, port).await.unwrap_err();
            assert!(matches!(refused, Refusal::NotPublic(_)), "{host}: {refused}");
            let refused = gate(&[]).datagrams(&holder("a"), host, port).await.unwrap_err();
            assert!(matches!(refused, Refusal::NotPublic(_)), "{host}: {refused}");
        }
        gate(&["127.0.0.0/8"])
            .connect(&holder("a"), "localhost", port)
            .await
            .unwrap();
        gate(&["127.0.0.1/32"])
            .connect(&holder("a"), "[::ffff:127.0.0.1]", port)
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn what_is_no_name_is_not_asked_for() {
        let long = "a.".repeat(200);
        for host in ["", "a b", "a\0b", "ü", &long] {
            let refused = gate(&[]).connect(&holder("a"), host, 80).await.unwrap_err();
            assert!(matches!(refused, Refusal::Name(_)), "{host}: {refused}");
        }
    }

    #[test]
    fn neighbours_are_known_by_their_addresses() {
        for (target, ours, is_so) in [
            ("1.1.1.1", "1.1.1.1", true),
            ("1.1.1.2", "1.1.1.1", false),
            ("1.1.1.1", "192.168.0.2", false),
            ("2606:4700::1", "2606:4700::1", true),
            ("2606:4700::1", "2606:4700::ffff:0:0:2", true),
            ("2606:4700:0:1::1", "2606:4700:0:2::1", false),
            ("1.1.1.1", "2606:4700::1", false),
            ("2606:4700::1", "1.1.1.1", false),
        ] {
            let (target, ours) = (target.parse().unwrap(), ours.parse().unwrap());
            assert_eq!(is_beside(target, ours), is_so, "{target} {ours}");
        }
    }

    #[test]
    fn this_machine_sees_itself() {
        let itself: SocketAddr = "127.0.0.1:9".parse().unwrap();
        assert!(is_beside(itself.ip(), seen_from(itself).unwrap()));
    }

    static LOOKING: AtomicUsize = AtomicUsize::new(0);
    static IS_OVER: AtomicBool = AtomicBool::new(false);

    /// Knows one name, and thinks about others.
    fn slow(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        if host != "known" {
            LOOKING.fetch_add(1, Ordering::SeqCst);
            while !IS_OVER.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        Ok(vec![([127, 0, 0, 1], port).into()])
    }

    #[tokio::test]
    async fn names_that_take_long_hold_nobody_else_up() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut gate = gate(&["127.0.0.0/8"]);
        gate.look_up = slow;
        gate.patience = Duration::from_millis(100);
        let holders = Holders::new(64, 64);
        let (one, other) = (holders.get("one"), holders.get("other"));
        for _ in 0..3 {
            let asked = (0..10).map(|_| gate.connect(&one, "slow", port));
            for refused in futures::future::join_all(asked).await {
                assert!(matches!(refused, Err(Refusal::Unknown(..))));
            }
        }
        assert_eq!(LOOKING.load(Ordering::SeqCst), 4);
        gate.connect(&one, "known", port).await.unwrap_err();
        gate.connect(&one, "127.0.0.1", port).await.unwrap();
        gate.connect(&other, "known", port).await.unwrap();
        IS_OVER.store(true, Ordering::SeqCst);
        gate.patience = Duration::from_secs(5);
        gate.connect(&one, "known", port).await.unwrap();
    }
}
