//! From a click to a page: session hosts, the hand-over secret, the cookie.

use std::rc::Rc;

use percloud_core::host::SessionHost;
use percloud_core::id::{AccountId, GrainId};
use percloud_core::secret::{Secret, SecretHash};
use percloud_core::time::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::account::{SignedIn, parse};
use crate::broker::Broker;
use crate::problem::Problem;
use crate::visit::{Opened, Purpose, Visit, Visitor};

/// How long a hand-over secret waits to be used, in seconds.
const HAND_OVER: u64 = 60;
/// How long a page lives after it was last used, in seconds.
const PAGE_LIFE: u64 = 24 * 60 * 60;
/// Pages one person, or one link, may have open at a time; the least recently used goes first.
const PAGES: usize = 500;

/// One browser session of one grain, on a host of its own. Lives in memory: after a restart the shell asks anew.
pub(crate) struct PageSession {
    pub visit: Rc<Visit>,
    hand_over: Option<(SecretHash, Timestamp)>,
    cookie: Option<SecretHash>,
    path: String,
    expires: Timestamp,
}

impl PageSession {
    pub(crate) fn has_expired(&self, now: Timestamp) -> bool {
        now >= self.expires
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Open {
    #[serde(default)]
    path: Option<String>,
}

/// Whether a page may begin there: a place on its own host and nowhere else.
pub(crate) fn check_path(path: Option<&str>) -> Result<(), Problem> {
    let Some(path) = path else { return Ok(()) };
    if !path.starts_with('/')
        || path.starts_with("//")
        || path.len() > 4096
        || path.chars().any(char::is_control)
    {
        return Err(Problem::BadRequest(
            "the path must start with one slash".to_owned(),
        ));
    }
    Ok(())
}

impl Broker {
    /// Opens a grain for a person who is signed in.
    pub(crate) fn open(self: &Rc<Self>, who: &SignedIn, id: &GrainId, body: &str) -> Result<Value, Problem> {
        let request: Open = parse(if body.trim().is_empty() { "{}" } else { body })?;
        if self.reachable(who, id)?.trashed.is_some() {
            return Err(Problem::InTrash);
        }
        self.open_for(Visitor::person(who), id, request.path)
    }

    pub(crate) fn open_for(
        self: &Rc<Self>,
        visitor: Visitor,
        id: &GrainId,
        path: Option<String>,
    ) -> Result<Value, Problem> {
        let (opened, _) = self.open_page(visitor, id, path, Purpose::Page)?;
        Ok(opened)
    }

    /// Makes a session host for a grain and the secret that hands it to a browser.
    pub(crate) fn open_page(
        self: &Rc<Self>,
        visitor: Visitor,
        id: &GrainId,
        path: Option<String>,
        purpose: Purpose,
    ) -> Result<(Value, Rc<Visit>), Problem> {
        check_path(path.as_deref())?;
        let path = path.unwrap_or_else(|| "/".to_owned());
        self.access(id, &visitor.holder).ok_or(Problem::NotFound)?;
        let now = self.outside.now();
        let host = SessionHost::new(|bytes| (self.outside.random)(bytes));
        let secret = self.outside.secret();
        self.make_room(&visitor);
        let is_owner = self.is_owner(&visitor, id);
        let visit = self.begin_visit(id, visitor, purpose);
        let page = PageSession {
            visit: visit.clone(),
            hand_over: Some((secret.hash(), now.plus_seconds(HAND_OVER))),
            cookie: None,
            path,
            expires: now.plus_seconds(HAND_OVER),
        };
        self.pages.borrow_mut().insert(host.clone(), page);

        // The person has clicked: start now, not when the browser has come back. Failure shows on the page.
        let person = visit.visitor.person.clone();
        let (broker, id) = (self.clone(), id.clone());
        tokio::task::spawn_local(async move {
            let _ = broker.wake(&id).await;
            if let Some(person) = person {
                let _ = broker.seen(&person, &id).await;
                if !is_owner {
                    let _ = broker.mark_came(&person, &id).await;
                }
            }
            if is_owner {
                broker.note_used(&id, now).await;
            }
        });
        let (scheme, shell) = &self.config.base;
        let opened = json!({"host": format!("{scheme}://{host}.{shell}"), "secret": secret.expose_hex()});
        Ok((opened, visit))
    }

    fn is_owner(&self, visitor: &Visitor, id: &GrainId) -> bool {
        self.access(id, &visitor.holder)
            .is_some_and(|access| access.is_owner)
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
        let visit = {
            let mut pages = self.pages.borrow_mut();
            let page = pages.get_mut(&host)?;
            if !page.cookie?.matches(&cookie) || now >= page.expires {
                return None;
            }
            page.expires = now.plus_seconds(PAGE_LIFE);
            page.visit.clone()
        };
        let admitted = self.admit(&visit).await;
        // Closed while the grain woke up: nobody told its host, so we do.
        if !self.is_visiting(&visit.id) {
            self.end_sessions(vec![(visit.grain.clone(), visit.id)]).await;
            return None;
        }
        Some(admitted)
    }

    /// Ends pages and every capability made through them.
    pub(crate) async fn close_pages(self: &Rc<Self>, which: impl Fn(&PageSession) -> bool) {
        let closed: Vec<Rc<Visit>> = {
            let pages = self.pages.borrow();
            let closed = pages.values().filter(|page| which(page));
            closed.map(|page| page.visit.clone()).collect()
        };
        let ended = self.forget_visits(&closed);
        self.end_sessions(ended).await;
    }

    /// Closes the page used least recently when somebody has too many.
    fn make_room(self: &Rc<Self>, visitor: &Visitor) {
        let oldest = {
            let pages = self.pages.borrow();
            // Nobody has more than there are.
            if pages.len() < PAGES {
                return;
            }
            let own = pages
                .values()
                .filter(|page| page.visit.visitor.holder == visitor.holder);
            let full = own.clone().count() >= PAGES;
            own.min_by_key(|page| page.expires)
                .filter(|_| full)
                .map(|page| page.visit.id)
        };
        if let Some(session_id) = oldest {
            let broker = self.clone();
            tokio::task::spawn_local(
                async move { broker.close_pages(|page| page.visit.id == session_id).await },
            );
        }
    }

    /// The page with this session host, if it is one of this person's and shows this grain.
    pub(crate) fn page_of(&self, who: &AccountId, grain: &GrainId, host: &str) -> Option<Rc<Visit>> {
        let host: SessionHost = host.parse().ok()?;
        let pages = self.pages.borrow();
        let visit = &pages.get(&host)?.visit;
        (visit.visitor.person.as_ref() == Some(who) && visit.grain == *grain).then(|| visit.clone())
    }
}
