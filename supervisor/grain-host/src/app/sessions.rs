//! Who was announced, who is in, and how each session is ended.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use capnp::Error;
use capnp::capability::Client;
use percloud_core::secret::Secret;
use percloud_schemas::grain_capnp::ui_session;
use percloud_schemas::host_capnp::admission;
use percloud_schemas::web_session_capnp::web_session;
use tokio::time::Instant;

use super::App;
use super::admission::{Admission, Kind, NotAdmitted, malformed};
use crate::membrane::{Membrane, Realm, Side, WeakMembrane};
use crate::platform::Platform;
use crate::platform::context::session_context;

/// Announced people who may wait at the door at a time.
const ANNOUNCED: usize = 1024;

struct Announced {
    admission: Admission,
    until: Instant,
}

/// The sessions of one app.
pub(crate) struct Sessions {
    app: Rc<App>,
    platform: Rc<Platform>,
    realm: Realm,
    /// By the hash of their nonces, so that how long a look-up takes says nothing about a nonce.
    announced: RefCell<HashMap<[u8; 32], Announced>>,
    /// What was opened, and may have ended since.
    opened: RefCell<Vec<WeakMembrane>>,
}

impl Sessions {
    pub(crate) fn new(app: Rc<App>, platform: Rc<Platform>, realm: Realm) -> Self {
        Self {
            app,
            platform,
            realm,
            announced: RefCell::default(),
            opened: RefCell::default(),
        }
    }

    /// Expects somebody to present `nonce` within `lifetime`.
    pub(crate) fn announce(
        &self,
        nonce: &[u8],
        admission: admission::Reader<'_>,
        lifetime: Duration,
    ) -> Result<(), Error> {
        let nonce = Secret::from_slice(nonce).ok_or_else(malformed)?;
        let admission = Admission::read(admission)?;
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

    /// Has the app open a session for somebody who was admitted, across `membrane`.
    ///
    /// # Errors
    /// In words for the person in front of the page: the app is gone, takes too long or refuses.
    pub(crate) async fn open(
        &self,
        admission: Admission,
        params: web_session::params::Reader<'_>,
        membrane: &Membrane,
    ) -> Result<ui_session::Client, Error> {
        let Admission { session, kind } = admission;
        let Kind::Session(visit) = kind else {
            return Err(Error::failed("an object is taken, not entered".to_owned()));
        };
        let _in_use = self.realm.work();
        let keeper = visit.keeper.clone();
        let context = session_context(Rc::clone(&self.platform), session, keeper, membrane);
        let limit = self.app.limits.session_timeout;
        let opened = tokio::time::timeout(limit, self.app.open(visit, context, params, membrane)).await;
        let opened = opened.unwrap_or_else(|_| {
            let text = format!(
                "the app did not open a session within {} seconds",
                limit.as_secs()
            );
            self.app.log.line(&text);
            Err(Error::failed(text))
        })?;
        if membrane.is_revoked() {
            return Err(Error::disconnected("the session was ended".to_owned()));
        }
        self.count();
        self.opened.borrow_mut().push(membrane.downgrade());
        Ok(membrane.carry(opened, Side::Inside))
    }

    /// One of the app's objects, for somebody who was admitted to it, across `membrane`.
    ///
    /// # Errors
    /// When the app does not bring it back.
    pub(crate) async fn take(&self, admission: Admission, membrane: &Membrane) -> Result<Client, Error> {
        let Kind::Object(object) = admission.kind else {
            return Err(Error::failed("a session is entered, not taken".to_owned()));
        };
        let found = self.platform.find(object.get()?.get_as()?).await?;
        if membrane.is_revoked() {
            return Err(Error::disconnected("this capability was revoked".to_owned()));
        }
        Ok(membrane.carry(found, Side::Inside))
    }

    /// Sessions that are open now.
    pub(crate) fn count(&self) -> usize {
        let mut opened = self.opened.borrow_mut();
        opened.retain(|membrane| membrane.upgrade().is_some_and(|membrane| !membrane.is_revoked()));
        opened.len()
    }

    /// Ends everything that was opened for a session, and forgets who was announced for it.
    pub(crate) fn end(&self, session: &[u8]) {
        self.announced
            .borrow_mut()
            .retain(|_, waiting| waiting.admission.session != session);
        self.platform.references.end(session);
    }

    /// A membrane for what somebody was admitted to, listed so that ending the session or reference breaks it.
    pub(crate) fn membrane(&self, admission: &Admission) -> Membrane {
        let membrane = self.realm.membrane_of(admission.session);
        let farewell = match admission.kind {
            Kind::Session(_) => "the session was ended",
            Kind::Object(_) => "this capability was revoked",
        };
        self.platform
            .references
            .list(admission.session, &membrane, farewell);
        membrane
    }
}
