//! The capabilities behind bearer tokens, restored once and kept.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use capnp::ErrorKind;
use percloud_schemas::web_session_capnp::web_session;

use super::Refusal;
use crate::bridge::Bridge;

/// Most capabilities kept; beyond that, the one that was used longest ago goes.
const MAX_KEPT: usize = 64;

/// A restored capability.
#[derive(Clone)]
pub(super) struct Session {
    pub(super) client: web_session::Client,
    /// Tells this restoring of the token from a later one.
    number: u64,
}

struct Kept {
    session: Session,
    used: u64,
}

/// Restored capabilities by token.
#[derive(Default)]
pub(super) struct Sessions {
    kept: RefCell<HashMap<Vec<u8>, Kept>>,
    clock: Cell<u64>,
}

impl Sessions {
    /// Returns the capability `token` stands for.
    pub(super) async fn get(&self, token: &[u8], bridge: &Bridge) -> Result<Session, Refusal> {
        if let Some(kept) = self.kept.borrow_mut().get_mut(token) {
            kept.used = self.tick();
            return Ok(kept.session.clone());
        }
        let unrestored =
            |error: capnp::Error| match Refusal::of_call("could not restore the capability", &error) {
                // Not, or no longer, this grain's.
                refusal if matches!(error.kind, ErrorKind::Failed | ErrorKind::Unimplemented) => Refusal {
                    status: 404,
                    ..refusal
                },
                refusal => refusal,
            };
        let mut request = bridge.platform().map_err(unrestored)?.restore_request();
        request.get().set_token(token);
        let answer = request.send().promise.await.map_err(unrestored)?;
        let client = answer
            .get()
            .and_then(|answer| answer.get_cap().get_as_capability());
        let session = Session {
            client: client.map_err(unrestored)?,
            number: self.tick(),
        };
        self.keep(token, session.clone());
        Ok(session)
    }

    /// Forgets a capability that no longer works, unless the token has been restored anew since.
    pub(super) fn forget(&self, token: &[u8], session: &Session) {
        let mut kept = self.kept.borrow_mut();
        let is_same = kept
            .get(token)
            .is_some_and(|kept| kept.session.number == session.number);
        // Bound, so that the capability is dropped after the borrow.
        let gone = if is_same { kept.remove(token) } else { None };
        drop(kept);
        drop(gone);
    }

    fn keep(&self, token: &[u8], session: Session) {
        let mut kept = self.kept.borrow_mut();
        let mut gone = None;
        if kept.len() >= MAX_KEPT && !kept.contains_key(token) {
            let oldest = kept.iter().min_by_key(|(_, kept)| kept.used);
            let oldest = oldest.map(|(token, _)| token.clone());
            gone = oldest.and_then(|oldest| kept.remove(&oldest));
        }
        let used = self.tick();
        let replaced = kept.insert(token.to_vec(), Kept { session, used });
        drop(kept);
        drop((gone, replaced));
    }

    fn tick(&self) -> u64 {
        self.clock.set(self.clock.get() + 1);
        self.clock.get()
    }
}

#[cfg(test)]
mod tests {
    use capnp::capability::FromClientHook;

    use super::*;

    fn session(number: u64) -> Session {
        let client = capnp_rpc::new_broken_cap(capnp::Error::failed("test".into()));
        Session {
            client: client.cast_to(),
            number,
        }
    }

    #[test]
    fn the_one_used_longest_ago_makes_room() {
        let sessions = Sessions::default();
        let token = |index: usize| index.to_string().into_bytes();
        for index in 0..MAX_KEPT {
            sessions.keep(&token(index), session(index as u64));
        }
        if let Some(kept) = sessions.kept.borrow_mut().get_mut(&token(0)) {
            kept.used = sessions.tick();
        }
        sessions.keep(b"new", session(1000));
        let kept = sessions.kept.borrow();
        assert_eq!(kept.len(), MAX_KEPT);
        assert!(
            kept.contains_key(&token(0)) && kept.contains_key(&b"new"[..]) && !kept.contains_key(&token(1))
        );
    }

    #[test]
    fn only_the_capability_that_failed_is_forgotten() {
        let sessions = Sessions::default();
        sessions.keep(b"token", session(1));
        sessions.forget(b"token", &session(2));
        assert_eq!(sessions.kept.borrow().len(), 1);
        sessions.forget(b"token", &session(1));
        assert!(sessions.kept.borrow().is_empty());
    }
}
