//! Counts connections by client, so that one alone cannot take all the room.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::rc::Rc;

/// How many connections each client holds on this thread.
#[derive(Clone, Debug, Default)]
pub(crate) struct Crowd(Rc<RefCell<HashMap<IpAddr, usize>>>);

/// A connection that is counted, until dropped.
#[derive(Debug)]
pub(crate) struct Member {
    crowd: Crowd,
    client: IpAddr,
}

impl Crowd {
    /// Counts a connection; `None` if its client has `limit` of them already.
    pub(crate) fn join(&self, peer: IpAddr, limit: usize) -> Option<Member> {
        let client = client(peer);
        let mut counts = self.0.borrow_mut();
        let count = counts.entry(client).or_default();
        if *count >= limit {
            return None;
        }
        *count += 1;
        Some(Member {
            crowd: self.clone(),
            client,
        })
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let mut counts = self.crowd.0.borrow_mut();
        if let Some(count) = counts.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.client);
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
        assert_eq!(crowd.0.borrow().len(), 1, "who left is forgotten");
    }
}
