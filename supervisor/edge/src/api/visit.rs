//! A program with a token: by what its session is found again, and how the broker is asked for one.

use std::net::IpAddr;

use hyper::header::{HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use percloud_schemas::front_capnp::front;
use sha2::{Digest, Sha256};

use crate::api::host::ApiHost;
use crate::api::token::Token;
use crate::client;
use crate::grain::door::Access;
use crate::respond::Refusal;

const PASSTHROUGH: HeaderName = HeaderName::from_static("x-sandstorm-passthrough");
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// Who comes with which token to which host, and what of that the app is told.
pub(crate) struct Visit {
    host: ApiHost,
    token: Token,
    /// Where the client is.
    peer: IpAddr,
    agent: Option<HeaderValue>,
    /// The same, if the client wants the app to know.
    told: Option<IpAddr>,
    key: [u8; 32],
}

impl Visit {
    pub(super) fn new(host: ApiHost, token: Token, peer: IpAddr, headers: &HeaderMap) -> Self {
        let told = wants_to_be_told(headers).then_some(peer);
        let mut digest = Sha256::new();
        // None of the parts can hold a slash, so no two visits are one by accident.
        digest.update(host.as_str());
        digest.update("/");
        digest.update(token.expose());
        if let Some(told) = told {
            digest.update("/");
            digest.update(told.to_string());
        }
        Self {
            host,
            token,
            peer,
            agent: headers.get(USER_AGENT).cloned(),
            told,
            key: digest.finalize().into(),
        }
    }

    pub(crate) fn host(&self) -> &ApiHost {
        &self.host
    }

    /// What tells sessions apart: the token and the host it was brought to, and what the app was told.
    pub(crate) fn key(&self) -> &[u8; 32] {
        &self.key
    }

    /// Asks the broker for the grain behind the token.
    ///
    /// # Errors
    ///
    /// [`Refusal::NoSuchToken`] when the token is unknown, revoked, expired or for another host, which are the same.
    pub(crate) async fn ask(&self, front: &front::Client) -> Result<Access, Refusal> {
        let broken = |error| Refusal::from_broker(&error);
        let mut request = front.api_access_request();
        let mut params = request.get();
        params.set_host_id(self.host.as_str());
        params.set_token(self.token.expose());
        if let Some(told) = self.told {
            params.set_remote_address(told.to_string());
        }
        let headers = HeaderMap::from_iter(self.agent.clone().map(|agent| (USER_AGENT, agent)));
        client::fill(params.init_client(), self.peer, &headers);
        let reply = request.send().promise.await.map_err(broken)?;
        let reply = reply.get().map_err(broken)?;
        if !reply.has_access() {
            return Err(Refusal::NoSuchToken);
        }
        Access::read(reply.get_access().map_err(broken)?)
    }

    /// Lets a token that expires when unused live on for a while.
    ///
    /// # Errors
    ///
    /// [`Refusal::NoSuchToken`] as above.
    pub(super) async fn keep_alive(&self, front: &front::Client, milliseconds: u32) -> Result<(), Refusal> {
        let broken = |error| Refusal::from_broker(&error);
        let mut request = front.keep_api_token_request();
        request.get().set_token(self.token.expose());
        request.get().set_milliseconds(milliseconds);
        let reply = request.send().promise.await.map_err(broken)?;
        if reply.get().map_err(broken)?.get_known() {
            Ok(())
        } else {
            Err(Refusal::NoSuchToken)
        }
    }
}

fn wants_to_be_told(headers: &HeaderMap) -> bool {
    headers
        .get_all(PASSTHROUGH)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|value| value.trim().eq_ignore_ascii_case("address"))
}

/// Where a client is: what apps are told that want to know, and whom wrong tokens are counted against.
///
/// Only a server on this very machine is believed when it says that it speaks for somebody else: neighbours in a
/// private network (whom sheet 5.1 would believe as well) are clients like any other here.
pub(super) fn address(peer: IpAddr, headers: &HeaderMap) -> IpAddr {
    let peer = peer.to_canonical();
    let said = || headers.get(REAL_IP)?.to_str().ok()?.trim().parse::<IpAddr>().ok();
    if peer.is_loopback() {
        said().map_or(peer, |said| said.to_canonical())
    } else {
        peer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_machine_may_speak_for_others() {
        let headers = HeaderMap::from_iter([(REAL_IP, HeaderValue::from_static("192.0.2.9"))]);
        let seen = |peer: &str, headers: &HeaderMap| address(peer.parse().unwrap(), headers).to_string();
        assert_eq!(seen("127.0.0.1", &headers), "192.0.2.9");
        assert_eq!(seen("::ffff:127.0.0.1", &headers), "192.0.2.9");
        assert_eq!(seen("10.0.0.1", &headers), "10.0.0.1");
        assert_eq!(seen("127.0.0.1", &HeaderMap::new()), "127.0.0.1");
        let nonsense = HeaderMap::from_iter([(REAL_IP, HeaderValue::from_static("x"))]);
        assert_eq!(seen("127.0.0.1", &nonsense), "127.0.0.1");
    }

    #[test]
    fn wishes_are_read_from_a_list() {
        for (value, expected) in [
            ("address", true),
            ("x, Address", true),
            ("addresses", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(PASSTHROUGH, HeaderValue::from_static(value))]);
            assert_eq!(wants_to_be_told(&headers), expected, "{value}");
        }
    }
}
