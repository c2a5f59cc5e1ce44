//! Sessions at hand: opened once, shared by the requests of one browser session, let go when nobody asks any more.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::time::Duration;

use hyper::HeaderMap;
use percloud_core::host::SessionHost;
use percloud_core::secret::Secret;
use percloud_link::Direct;
use percloud_schemas::web_session_capnp::web_session;
use tokio::sync::OnceCell;
use tokio::time::{Instant, timeout_at};

use crate::api::visit::Visit;
use crate::edge::Edge;
use crate::grain::door::{self, Connection};
use crate::grain::share::Share;
use crate::policy::Policy;
use crate::respond::Refusal;

/// How long a session may stay after its grain has gone.
const DEAD: Duration = Duration::from_secs(5);

/// Which session is meant, and by what right.
#[derive(Clone, Copy)]
pub(super) enum Way<'a> {
    /// The one of a page: its host, and the cookie that belongs to it.
    Page(&'a SessionHost, &'a Secret),
    /// The one of a program, by its token.
    Program(&'a Visit),
}

/// Looked up for every request without allocating. Found by keyed hash, so the time a look-up takes tells nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    /// A session host with the cookie that opens it, side by side.
    Page([u8; 67]),
    Program([u8; 32]),
}

impl Way<'_> {
    fn key(self) -> Key {
        match self {
            Self::Page(host, cookie) => {
                let mut key = [0; 67];
                key[..35].copy_from_slice(host.as_str().as_bytes());
                key[35..].copy_from_slice(cookie.expose());
                Key::Page(key)
            }
            Self::Program(visit) => Key::Program(*visit.key()),
        }
    }
}

/// The sessions one thread has at hand.
#[derive(Default)]
pub(crate) struct Sessions {
    slots: RefCell<HashMap<Key, Rc<Slot>>>,
}

/// Opened by the first request; the others of that moment wait for it, and for what comes of it.
#[derive(Default)]
struct Slot {
    session: OnceCell<Rc<Session>>,
    /// How often it could not be opened while somebody waited, and why it could not the last time.
    failures: Cell<u64>,
    failure: RefCell<Option<Refusal>>,
}

impl Slot {
    /// Opens the session, for all who wait for it, unless they have seen that fail: then they are not to wait again, each
    /// for as long, one after the other. `seen` is what had failed when this one came.
    async fn open(
        &self,
        seen: u64,
        opening: impl Future<Output = Result<Rc<Session>, Refusal>>,
    ) -> Result<Rc<Session>, Refusal> {
        if let Some(failure) = &*self.failure.borrow()
            && self.failures.get() > seen
        {
            return Err(failure.clone());
        }
        let opened = opening.await;
        if let Err(refusal) = &opened {
            self.failures.set(self.failures.get() + 1);
            self.failure.replace(Some(refusal.clone()));
        }
        opened
    }
}

/// An app's `WebSession` for one browser session, or for one program.
pub(crate) struct Session {
    pub web: web_session::Client,
    /// The same, for calls that are over when they are answered.
    pub(super) plain: Direct<web_session::Client>,
    /// The owner allowed the older page policy.
    pub relaxed: bool,
    /// The host's own origin, and the headers of every answer, which name it.
    pub origin: String,
    pub policy: HeaderMap,
    pub(super) share: Share,
    last_used: Cell<Instant>,
    connection: Connection,
}

/// The session meant, opening it if need be. With `careful`, one at hand is looked at closely first, because the
/// request cannot be repeated on another.
///
/// # Errors
///
/// When host and cookie do not belong together, or the token stands for nothing here; when the grain or its app does
/// not start in time.
pub(super) async fn get(
    edge: &Rc<Edge>,
    way: Way<'_>,
    browser: &HeaderMap,
    careful: bool,
) -> Result<Rc<Session>, Refusal> {
    let key = way.key();
    let slot = {
        let mut slots = edge.sessions.slots.borrow_mut();
        if let Some(session) = slots.get(&key).and_then(|slot| slot.session.get()) {
            if !(session.connection.is_gone() || careful && session.connection.is_closed()) {
                session.last_used.set(Instant::now());
                return Ok(session.clone());
            }
            slots.remove(&key);
        }
        slots.entry(key).or_default().clone()
    };
    let waiting = Waiting {
        sessions: &edge.sessions,
        key,
        slot,
    };
    let slot = &waiting.slot;
    let seen = slot.failures.get();
    // For all of the wait: whoever opened it may have left, and another may have begun anew.
    let due = Instant::now() + edge.limits.open;
    let opened = slot
        .session
        .get_or_try_init(|| Box::pin(slot.open(seen, open(edge, way, browser, due))));
    let opened = timeout_at(due, opened).await;
    opened.map_err(|_| Refusal::AppSilent)?.cloned()
}

/// A request that waits for a session, answered or given up. Only what was opened is kept: strangers leave nothing
/// behind.
struct Waiting<'a> {
    sessions: &'a Sessions,
    key: Key,
    slot: Rc<Slot>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.sessions.remove(&self.key, |kept| {
            // One is this, one is the table's.
            Rc::ptr_eq(kept, &self.slot) && kept.session.get().is_none() && Rc::strong_count(kept) <= 2
        });
    }
}

/// Lets go of a session that turned out dead, unless it was replaced already.
pub(super) fn forget(edge: &Edge, way: Way<'_>, session: &Rc<Session>) {
    edge.sessions.remove(&way.key(), |kept| {
        kept.session.get().is_some_and(|kept| Rc::ptr_eq(kept, session))
    });
}

async fn open(
    edge: &Rc<Edge>,
    way: Way<'_>,
    browser: &HeaderMap,
    due: Instant,
) -> Result<Rc<Session>, Refusal> {
    let entered = timeout_at(due, door::enter(edge, way, browser));
    let entered = entered.await.map_err(|_| Refusal::AppSilent)??;
    let (origin, policy) = match way {
        Way::Page(host, _) => {
            let origin = edge.base.session_origin(host);
            let policy = edge.policy.of_app(&origin, entered.relaxed);
            (origin, policy)
        }
        Way::Program(visit) => (edge.base.api_origin(visit.host()), Policy::of_program()),
    };
    Ok(Rc::new(Session {
        policy,
        plain: Direct::new(entered.web.clone()),
        web: entered.web,
        relaxed: entered.relaxed,
        origin,
        share: Share::new(&edge.limits, &edge.bodies, edge.bodies.of_session(way.key())),
        last_used: Cell::new(Instant::now()),
        connection: entered.connection,
    }))
}

impl Sessions {
    /// Whether a session is at hand, so that the broker need not be asked.
    pub(super) fn has(&self, way: Way<'_>) -> bool {
        let slots = self.slots.borrow();
        let slot = slots.get(&way.key());
        slot.is_some_and(|slot| slot.session.get().is_some())
    }

    fn remove(&self, key: &Key, condition: impl FnOnce(&Rc<Slot>) -> bool) {
        let mut slots = self.slots.borrow_mut();
        if slots.get(key).is_some_and(condition) {
            slots.remove(key);
        }
    }

    /// Drops sessions nobody used for a while, for as long as the edge lives. Answers still streaming and open
    /// WebSockets are uses too.
    pub(crate) async fn forget_idle(edge: Weak<Edge>) {
        let Some(idle) = edge.upgrade().map(|edge| edge.limits.session_idle) else {
            return;
        };
        // What is dead holds a descriptor until it is dropped, so that is looked for more often than idleness needs.
        let mut beat = tokio::time::interval((idle / 4).min(DEAD));
        loop {
            beat.tick().await;
            let Some(edge) = edge.upgrade() else { return };
            edge.sessions.sweep(idle);
        }
    }

    fn sweep(&self, idle: Duration) {
        self.slots
            .borrow_mut()
            .retain(|_, slot| match slot.session.get() {
                Some(session) => {
                    let in_use = Rc::strong_count(session) > 1;
                    !session.connection.is_gone() && (in_use || session.last_used.get().elapsed() < idle)
                }
                // Somebody still waits for it to be opened.
                None => Rc::strong_count(slot) > 1,
            });
    }
}

#[cfg(test)]
mod tests;
