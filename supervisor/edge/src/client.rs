//! What the broker is told of whoever knocks: for throttling and the audit log, never for authority.

use std::net::IpAddr;

use hyper::header::{HeaderMap, USER_AGENT};
use percloud_schemas::front_capnp::client;

use crate::crowd;

/// Longest user agent told, in bytes.
const AGENT: usize = 512;

/// Fills in who is knocking.
pub(crate) fn fill(mut client: client::Builder<'_>, peer: IpAddr, headers: &HeaderMap) {
    // What the broker counts attempts by must not be cheap to change.
    client.set_address(crowd::client(peer).to_string());
    let agent = headers
        .get(USER_AGENT)
        .and_then(|agent| agent.to_str().ok())
        .unwrap_or_default();
    client.set_user_agent(agent.get(..agent.len().min(AGENT)).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(peer: &str) -> String {
        let mut message = capnp::message::Builder::new_default();
        let mut client = message.init_root::<client::Builder<'_>>();
        fill(client.reborrow(), peer.parse().unwrap(), &HeaderMap::new());
        client.into_reader().get_address().unwrap().to_string().unwrap()
    }

    #[test]
    fn the_broker_counts_networks_and_not_the_addresses_within() {
        assert_eq!(told("2001:db8:1:2:3:4:5:6"), told("2001:db8:1:2::1"));
        assert_eq!(told("2001:db8:1:2::1"), "2001:db8:1:2::");
        assert_ne!(told("2001:db8:1:3::1"), told("2001:db8:1:2::1"));
    }

    #[test]
    fn an_old_address_is_told_whole_and_in_one_way() {
        assert_eq!(told("192.0.2.7"), "192.0.2.7");
        assert_eq!(told("::ffff:192.0.2.7"), "192.0.2.7");
    }
}
