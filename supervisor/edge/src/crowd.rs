//! Counts connections by client, so that one alone cannot take all the room.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many connections each client holds, on all threads. Asked once for each connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Crowd(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// A connection that is counted, until dropped, unless it comes from this machine.
#[derive(Debug)]
pub(crate) struct Member(Option<(Crowd, IpAddr)>);

impl Crowd {
    /// Counts a connection; `None` if its client has `limit` of them already.
    ///
    /// What comes from this machine is not counted: that is a proxy, which brings everybody. There, those who ask for
    /// nothing give way when all places are taken, and no sooner.
    pub(crate) fn join(&self, peer: IpAddr, limit: usize) -> Option<Member> {
        if peer.to_canonical().is_loopback() {
            return Some(Member(None));
        }
        let client = client(peer);
        let mut counts = self.lock();
        let count = counts.entry(client).or_default();
        if *count >= limit {
            return None;
        }
        *count += 1;
        Some(Member(Some((self.clone(), client))))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let Some((crowd, client)) = &self.0 else { return };
        let mut counts = crowd.lock();
        if let Some(count) = counts.get_mut(client) {
            *count -= 1;
            if *count == 0 {
                counts.remove(client);
            }
        }
    }
}

/// Who a peer is to us: whoever has an IPv6 address has the 2^64 beside it too (RFC 6177).
pub(crate) fn client(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_its_share_and_gets_it_back() {
        let crowd = Crowd::default();
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let first = crowd.join(address("10.0.0.1"), 2).unwrap();
        let _second = crowd.join(address("::ffff:10.0.0.1"), 2).unwrap();
        assert!(crowd.join(address("10.0.0.1"), 2).is_none());
        assert!(
            crowd.join(address("10.0.0.2"), 2).is_some(),
            "others are not concerned"
        );
        drop(first);
        assert!(crowd.join(address("10.0.0.1"), 2).is_some());
    }

    #[test]
    fn neighbours_in_one_network_are_one_client() {
        let crowd = Crowd::default();
        let _first = crowd.join("2001:db8::1".parse().unwrap(), 1).unwrap();
        assert!(crowd.join("2001:db8::2".parse().unwrap(), 1).is_none());
        assert!(crowd.join("2001:db8:0:1::1".parse().unwrap(), 1).is_some());
        drop(crowd.join("2001:db8:0:2::1".parse().unwrap(), 1));
        assert_eq!(crowd.lock().len(), 1, "who left is forgotten");
    }
    #[test]
    fn a_client_is_one_on_all_threads() {
        let crowd = Crowd::default();
        let address: IpAddr = "10.0.0.1".parse().unwrap();
        let other = crowd.clone();
        let first = std::thread::spawn(move || other.join(address, 1)).join().unwrap();
        assert!(crowd.join(address, 1).is_none());
        drop(first);
        assert!(crowd.join(address, 1).is_some());
    }

    #[test]
    fn a_proxy_on_this_machine_brings_as_many_as_come() {
        let crowd = Crowd::default();
        for address in ["127.0.0.1", "127.0.0.66", "::1", "::ffff:127.0.0.1"] {
            let address: IpAddr = address.parse().unwrap();
            let members: Vec<_> = (0..10).map(|_| crowd.join(address, 1)).collect();
            assert!(members.iter().all(Option::is_some), "{address}");
        }
        assert!(crowd.lock().is_empty());
    }
}
