//! Who was announced, who is in, and how each session is ended.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use capnp::traits::HasTypeId;
use capnp::{Error, any_pointer};
use percloud_core::secret::Secret;
use percloud_schemas::grain_capnp::ui_session;
use percloud_schemas::host_capnp::admission;
use percloud_schemas::identity_capnp::user_info;
use percloud_schemas::web_session_capnp::web_session;
use tokio::time::Instant;

use super::App;
use crate::membrane::{Membrane, Message, Realm, Side, WeakMembrane};
use crate::platform;

/// Announced people who may wait at the door at a time.
const ANNOUNCED: usize = 1024;

/// Names one browser session; shared by all doors opened for it.
type SessionId = [u8; 16];

/// Why nobody may be announced or let in. The same for all presenters: nothing is learned by trying.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotAdmitted {
    #[error("the nonce is unknown, used or expired")]
    Unknown,
    #[error("an announcement wants a nonce of 32 bytes, a session id of 16 and a tab id of 16")]
    Malformed,
    #[error("too many people are waiting at the door")]
    Crowded,
}

/// Somebody the broker announced.
pub(crate) struct Admission {
    session: SessionId,
    tab: Vec<u8>,
    is_owner: bool,
    /// A `UserInfo`, with the broker's capabilities.
    user: Message,
}

struct Announced {
    admission: Admission,
    until: Instant,
}

struct Open {
    session: SessionId,
    membrane: WeakMembrane,
}

/// The sessions of one app.
pub(crate) struct Sessions {
    app: Rc<App>,
    realm: Realm,
    /// By the hash of their nonces, so that how long a look-up takes says nothing about a nonce.
    announced: RefCell<HashMap<[u8; 32], Announced>>,
    open: RefCell<Vec<Open>>,
}

impl Sessions {
    pub(crate) fn new(app: Rc<App>, realm: Realm) -> Self {
        Self {
            app,
            realm,
            announced: RefCell::default(),
            open: RefCell::default(),
        }
    }

    /// Expects somebody to present `nonce` within `lifetime`.
    pub(crate) fn announce(
        &self,
        nonce: &[u8],
        admission: admission::Reader<'_>,
        lifetime: Duration,
    ) -> Result<(), Error> {
        let malformed = || Error::failed(NotAdmitted::Malformed.to_string());
        let nonce = Secret::from_slice(nonce).ok_or_else(malformed)?;
        let session = admission.get_session_id()?.try_into().map_err(|_| malformed())?;
        let tab = admission.get_tab_id()?.to_vec();
        if tab.len() != 16 {
            return Err(malformed());
        }
        let mut user = Message::new(64);
        user.get_mut()?.set_as(admission.get_user()?)?;
        let admission = Admission {
            session,
            tab,
            is_owner: admission.get_is_owner(),
            user,
        };
        let now = Instant::now();
        let mut announced = self.announced.borrow_mut();
        announced.retain(|_, waiting| waiting.until > now);
        if announced.len() >= ANNOUNCED {
            return Err(Error::overloaded(NotAdmitted::Crowded.to_string()));
        }
        announced.insert(
            *nonce.hash().as_bytes(),
            Announced {
                admission,
                until: now + lifetime,
            },
        );
        Ok(())
    }

    /// Whom `nonce` was made for. Each nonce works once.
    pub(crate) fn admit(&self, nonce: &[u8]) -> Result<Admission, NotAdmitted> {
        let nonce = Secret::from_slice(nonce).ok_or(NotAdmitted::Unknown)?;
        let announced = self
            .announced
            .borrow_mut()
            .remove(nonce.hash().as_bytes())
            .ok_or(NotAdmitted::Unknown)?;
        if announced.until <= Instant::now() {
            return Err(NotAdmitted::Unknown);
        }
        Ok(announced.admission)
    }

    /// Has the app open a session for somebody who was admitted.
    ///
    /// # Errors
    /// In words for the person in front of the page: the app is gone, takes too long or refuses.
    pub(crate) async fn open(
        &self,
        admission: Admission,
        params: web_session::params::Reader<'_>,
    ) -> Result<(ui_session::Client, Membrane), Error> {
        let Admission {
            session,
            tab,
            is_owner,
            mut user,
        } = admission;
        let membrane = self.realm.membrane();
        self.list(session, &membrane);
        self.realm.touch();
        let mut request = self.app.new_session();
        {
            let mut call = request.get();
            user.carry_all(&membrane, Side::Outside);
            call.set_user_info(user.get()?.get_as::<user_info::Reader<'_>>()?)?;
            call.set_context(membrane.carry(platform::session_context(), Side::Outside));
            call.set_session_type(web_session::Client::TYPE_ID);
            call.reborrow().get_session_params().set_as(params)?;
            call.set_tab_id(&tab);
        }
        let limit = self.app.limits.session_timeout;
        let opened = tokio::time::timeout(limit, async {
            // Not an optimisation to skip for others: asked once, an app that is slow to say so delays nobody twice.
            let described = self.app.describe().await?;
            let call = request.get();
            fill_permissions(call.get_user_info()?, is_owner.then(|| described.permissions()))?;
            request.send().promise.await
        })
        .await;
        let answer = match opened {
            Ok(answer) => answer?,
            Err(_) => {
                let text = format!(
                    "the app did not open a session within {} seconds",
                    limit.as_secs()
                );
                self.app.log.line(&text);
                return Err(Error::failed(text));
            }
        };
        let opened: any_pointer::Reader<'_> = answer.hook.get()?;
        let opened =
            opened.get_as::<percloud_schemas::grain_capnp::ui_view::new_session_results::Reader<'_>>()?;
        if !opened.has_session() {
            return Err(Error::failed("the app answered without a session".to_owned()));
        }
        if membrane.is_revoked() {
            return Err(Error::disconnected("the session was ended".to_owned()));
        }
        Ok((membrane.carry(opened.get_session()?, Side::Inside), membrane))
    }

    /// Ends everything that was opened for a session, and forgets who was announced for it.
    pub(crate) fn end(&self, session: &[u8]) {
        self.announced
            .borrow_mut()
            .retain(|_, waiting| waiting.admission.session != session);
        let open = std::mem::take(&mut *self.open.borrow_mut());
        let (ended, others): (Vec<_>, _) = open.into_iter().partition(|open| open.session == session);
        self.open.borrow_mut().extend(others);
        for membrane in ended.iter().filter_map(|open| open.membrane.upgrade()) {
            membrane.revoke("the session was ended");
        }
    }

    fn list(&self, session: SessionId, membrane: &Membrane) {
        let mut open = self.open.borrow_mut();
        open.retain(|open| open.membrane.upgrade().is_some());
        open.push(Open {
            session,
            membrane: membrane.downgrade(),
        });
    }
}

/// Writes the permissions, all of them for an owner who has `all`, and their old form as bits (sheet section 2).
fn fill_permissions(mut user: user_info::Builder<'_>, all: Option<u32>) -> Result<(), Error> {
    if let Some(count) = all {
        let mut permissions = user.reborrow().init_permissions(count);
        (0..count).for_each(|index| permissions.set(index, true));
    }
    let permissions = user.reborrow().into_reader().get_permissions()?;
    let mut blob = vec![0; permissions.len().div_ceil(8) as usize];
    for (index, permitted) in permissions.iter().enumerate() {
        blob[index / 8] |= u8::from(permitted) << (index % 8);
    }
    user.set_deprecated_permissions_blob(&blob);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_are_packed_lowest_bit_first() {
        let mut message = capnp::message::Builder::new_default();
        let mut user = message.init_root::<user_info::Builder<'_>>();
        {
            let mut permissions = user.reborrow().init_permissions(10);
            [0, 3, 9]
                .into_iter()
                .for_each(|index| permissions.set(index, true));
        }
        fill_permissions(user.reborrow(), None).unwrap();
        assert_eq!(
            user.reborrow()
                .into_reader()
                .get_deprecated_permissions_blob()
                .unwrap(),
            [0b1001, 0b10]
        );

        fill_permissions(user.reborrow(), Some(9)).unwrap();
        let user = user.into_reader();
        assert!(user.get_permissions().unwrap().iter().eq([true; 9]));
        assert_eq!(user.get_deprecated_permissions_blob().unwrap(), [0xff, 1]);
    }
}
