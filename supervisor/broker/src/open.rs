//! From a click to a page: session hosts, the hand-over secret, the nonce at a grain's door.

use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use percloud_core::host::SessionHost;
use percloud_core::id::{AccountId, GrainId};
use percloud_core::secret::{Secret, SecretHash};
use percloud_core::time::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::account::{SignedIn, parse};
use crate::broker::Broker;
use crate::problem::Problem;
use crate::record::{Grain, grain_key};

/// How long a hand-over secret waits to be used, in seconds.
const HAND_OVER: u64 = 60;
/// How long a page lives after it was last used, in seconds.
const PAGE_LIFE: u64 = 24 * 60 * 60;
/// How long a host may take to confirm that a session is broken.
const END_DEADLINE: Duration = Duration::from_secs(1);
/// Pages one account may have open at a time; the least recently used goes first.
const PAGES: usize = 500;

/// One browser session of one grain, on a host of its own. Lives in memory: after a restart the shell asks anew.
pub(crate) struct PageSession {
    pub grain: GrainId,
    pub account: AccountId,
    /// The shell session that opened it; signing out there ends it.
    pub shell: Option<SecretHash>,
    hand_over: Option<(SecretHash, Timestamp)>,
    cookie: Option<SecretHash>,
    path: String,
    session_id: [u8; 16],
    tab_id: [u8; 16],
    expires: Timestamp,
}

impl PageSession {
    pub(crate) fn has_expired(&self, now: Timestamp) -> bool {
        now >= self.expires
    }
}

/// Where and how a page's session is to be had.
#[derive(Debug)]
pub struct Opened {
    /// The socket the grain host listens on.
    pub door: PathBuf,
    /// Good for one knock.
    pub nonce: Secret,
    /// Whether the owner allowed the looser page policy.
    pub relaxed_policy: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Open {
    #[serde(default)]
    path: Option<String>,
}

impl Broker {
    /// Makes a session host for a grain and the secret that hands it to a browser.
    pub(crate) fn open(self: &Rc<Self>, who: &SignedIn, id: &GrainId, body: &str) -> Result<Value, Problem> {
        let request: Open = parse(if body.trim().is_empty() { "{}" } else { body })?;
        let path = request.path.unwrap_or_else(|| "/".to_owned());
        if !path.starts_with('/')
            || path.starts_with("//")
            || path.len() > 4096
            || path.chars().any(char::is_control)
        {
            return Err(Problem::BadRequest(
                "the path must start with one slash".to_owned(),
            ));
        }
        if self.own_grain(who, id)?.trashed.is_some() {
            return Err(Problem::InTrash);
        }
        let now = self.outside.now();
        let host = SessionHost::new(|bytes| (self.outside.random)(bytes));
        let secret = self.outside.secret();
        let mut ids = [[0; 16]; 2];
        ids.iter_mut().for_each(|bytes| (self.outside.random)(bytes));
        let page = PageSession {
            grain: id.clone(),
            account: who.account.clone(),
            shell: who.cookie.as_ref().map(Secret::hash),
            hand_over: Some((secret.hash(), now.plus_seconds(HAND_OVER))),
            cookie: None,
            path,
            session_id: ids[0],
            tab_id: ids[1],
            expires: now.plus_seconds(HAND_OVER),
        };
        self.make_room(&who.account);
        self.pages.borrow_mut().insert(host.clone(), page);

        // The person has clicked: start now, not when the browser has come back. Failure shows on the page.
        let (broker, id) = (self.clone(), id.clone());
        tokio::task::spawn_local(async move {
            let _ = broker.wake(&id).await;
            let _ = broker.update_grain(&id, |grain| grain.last_used = now).await;
        });
        let (scheme, shell) = &self.config.base;
        Ok(json!({"host": format!("{scheme}://{host}.{shell}"), "secret": secret.expose_hex()}))
    }

    /// Trades a hand-over secret for the cookie of its host and the path to show first.
    pub(crate) fn enter(&self, host: &str, secret: &[u8]) -> Option<(Secret, String)> {
        let host: SessionHost = host.parse().ok()?;
        let secret = Secret::from_slice(secret)?;
        let now = self.outside.now();
        let mut pages = self.pages.borrow_mut();
        let page = pages.get_mut(&host)?;
        let (expected, expires) = page.hand_over?;
        if !expected.matches(&secret) || now >= expires {
            return None;
        }
        page.hand_over = None;
        let cookie = self.outside.secret();
        page.cookie = Some(cookie.hash());
        page.expires = now.plus_seconds(PAGE_LIFE);
        Some((cookie, page.path.clone()))
    }

    /// Wakes the grain behind a page and announces the edge at its door.
    pub(crate) async fn page_session(
        self: &Rc<Self>,
        host: &str,
        cookie: &[u8],
    ) -> Option<Result<Opened, Problem>> {
        let host: SessionHost = host.parse().ok()?;
        let cookie = Secret::from_slice(cookie)?;
        let now = self.outside.now();
        let (grain, account, session_id, tab_id) = {
            let mut pages = self.pages.borrow_mut();
            let page = pages.get_mut(&host)?;
            if !page.cookie?.matches(&cookie) || now >= page.expires {
                return None;
            }
            page.expires = now.plus_seconds(PAGE_LIFE);
            (
                page.grain.clone(),
                page.account.clone(),
                page.session_id,
                page.tab_id,
            )
        };
        let admitted = self.admit(&grain, &account, session_id, tab_id).await;
        // Closed while the grain woke up: nobody told its host, so we do.
        let closed = self
            .pages
            .borrow()
            .get(&host)
            .is_none_or(|page| page.session_id != session_id);
        if closed {
            self.end_sessions(vec![(grain, session_id)]).await;
            return None;
        }
        Some(admitted)
    }

    async fn admit(
        self: &Rc<Self>,
        id: &GrainId,
        account: &AccountId,
        session_id: [u8; 16],
        tab_id: [u8; 16],
    ) -> Result<Opened, Problem> {
        let record: Grain = self.read(grain_key(id))?.ok_or(Problem::NotFound)?;
        if record.trashed.is_some() {
            return Err(Problem::InTrash);
        }
        let nonce = self.outside.secret();
        // A grain may fall asleep between waking and the knock; then it is woken once more.
        let mut attempts = 0;
        let running = loop {
            let running = self.wake(id).await?;
            let mut request = running.host.admit_request();
            request.get().set_nonce(nonce.expose());
            self.describe_visitor(
                request.get().init_session(),
                id,
                &record,
                account,
                session_id,
                tab_id,
            )?;
            match request.send().promise.await {
                Ok(_) => break running,
                Err(error) if attempts > 0 => {
                    tracing::warn!(grain = %id, "a grain host does not admit a session: {error}");
                    return Err(Problem::GrainFailed(
                        "the app stopped while it was being opened".to_owned(),
                    ));
                }
                Err(_) => {
                    // A host that admits nobody is on its way out.
                    attempts += 1;
                    self.stop_grain(id).await;
                }
            }
        };
        Ok(Opened {
            door: running.door.clone(),
            nonce,
            relaxed_policy: record.relaxed_policy,
        })
    }

    fn describe_visitor(
        &self,
        mut admission: percloud_schemas::host_capnp::admission::Builder<'_>,
        id: &GrainId,
        grain: &Grain,
        account: &AccountId,
        session_id: [u8; 16],
        tab_id: [u8; 16],
    ) -> Result<(), Problem> {
        let accounts = self.accounts.borrow();
        let person = accounts.get(account).ok_or(Problem::NotFound)?;
        admission.set_session_id(&session_id);
        admission.set_tab_id(&tab_id);
        admission.set_is_owner(grain.owner == *account);
        let mut user = admission.init_user();
        user.reborrow().init_display_name().set_default_text(&person.name);
        user.set_preferred_handle(&person.handle);
        user.set_identity_id(&identity(account, id));
        Ok(())
    }

    /// Ends pages and every capability made through them.
    pub(crate) async fn close_pages(self: &Rc<Self>, which: impl Fn(&PageSession) -> bool) {
        let mut closed = Vec::new();
        self.pages.borrow_mut().retain(|_, page| {
            let close = which(page);
            if close {
                closed.push((page.grain.clone(), page.session_id));
            }
            !close
        });
        self.end_sessions(closed).await;
    }

    /// Has hosts break what was made through these sessions, all at once. A host that does not confirm in time is ended:
    /// revocation does not wait for anybody's good will.
    async fn end_sessions(self: &Rc<Self>, sessions: Vec<(GrainId, [u8; 16])>) {
        let endings = sessions.into_iter().map(async |(grain, session_id)| {
            let running = self.slots.borrow().get(&grain).and_then(|slot| slot.running());
            let Some(running) = running else { return };
            let mut request = running.host.end_session_request();
            request.get().set_session_id(&session_id);
            let confirmed = tokio::time::timeout(END_DEADLINE, request.send().promise).await;
            if !matches!(confirmed, Ok(Ok(_))) {
                self.stop_grain(&grain).await;
                self.tell_grain(&grain);
            }
        });
        futures::future::join_all(endings).await;
    }

    /// Closes the page used least recently when somebody has too many.
    fn make_room(self: &Rc<Self>, account: &AccountId) {
        let oldest = {
            let pages = self.pages.borrow();
            let own = pages.iter().filter(|(_, page)| page.account == *account);
            let full = own.clone().count() >= PAGES;
            own.min_by_key(|(_, page)| page.expires)
                .filter(|_| full)
                .map(|(_, page)| page.session_id)
        };
        if let Some(session_id) = oldest {
            let broker = self.clone();
            tokio::task::spawn_local(async move {
                broker.close_pages(|page| page.session_id == session_id).await
            });
        }
    }
}

/// The 32 bytes by which an app knows a person: stable within a grain, unlinkable across grains (ADR 0003).
fn identity(account: &AccountId, grain: &GrainId) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(b"percloud identity\0");
    hash.update(account.as_str());
    hash.update(b"\0");
    hash.update(grain.as_str());
    hash.finalize().into()
}
