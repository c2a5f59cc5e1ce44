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
use tokio::time::{Instant, timeout};

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
enum Key {
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

/// Opened by the first request; the others of that moment wait for it.
#[derive(Default)]
struct Slot {
    session: OnceCell<Rc<Session>>,
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
    let session = &waiting.slot.session;
    let opened = session
        .get_or_try_init(|| Box::pin(open(edge, way, browser)))
        .await;
    opened.cloned()
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

async fn open(edge: &Rc<Edge>, way: Way<'_>, browser: &HeaderMap) -> Result<Rc<Session>, Refusal> {
    let entered = timeout(edge.limits.open, door::enter(edge, way, browser));
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
        share: Share::new(&edge.limits),
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
mod tests {
    use capnp::Error;
    use futures::FutureExt;
    use percloud_schemas::front_capnp::front;

    use super::*;
    use crate::api::guesses::Guesses;
    use crate::{Assets, BaseUrl, Limits};

    /// A broker that never says whose session it is, or that is about to stop.
    struct Broker {
        silent: bool,
    }

    impl front::Server for Broker {
        async fn grain_session(
            self: Rc<Self>,
            _: front::GrainSessionParams,
            _: front::GrainSessionResults,
        ) -> Result<(), Error> {
            if self.silent {
                std::future::pending::<()>().await;
            }
            Err(Error::failed("stopping".to_owned()))
        }
    }

    fn edge(silent: bool) -> Rc<Edge> {
        let base = BaseUrl::new("http", "percloud.localhost:6080").unwrap();
        Rc::new(Edge {
            policy: Policy::new(&base),
            base,
            limits: Limits::default(),
            assets: Assets::new([]),
            front: capnp_rpc::new_client(Broker { silent }),
            sessions: Sessions::default(),
            guesses: Guesses::new(1, Duration::ZERO),
        })
    }

    fn stranger() -> (SessionHost, Secret) {
        let host = "ui-0123456789abcdef0123456789abcdef".parse().unwrap();
        (host, Secret::from_slice(&[1; 32]).unwrap())
    }

    fn known(edge: &Edge) -> usize {
        edge.sessions.slots.borrow().len()
    }

    /// The clock of `open` needs a runtime.
    fn run(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build();
        runtime.unwrap().block_on(test);
    }

    #[test]
    fn who_leaves_while_the_broker_is_asked_leaves_nothing_behind() {
        run(async {
            let (edge, (host, cookie), headers) = (edge(true), stranger(), HeaderMap::new());
            let mut first = Box::pin(get(&edge, Way::Page(&host, &cookie), &headers, false));
            assert!(first.as_mut().now_or_never().is_none());
            let mut second = Box::pin(get(&edge, Way::Page(&host, &cookie), &headers, false));
            assert!(second.as_mut().now_or_never().is_none());
            assert_eq!(known(&edge), 1, "both wait for the same");
            drop(first);
            assert_eq!(known(&edge), 1, "somebody still waits");
            assert!(second.as_mut().now_or_never().is_none());
            drop(second);
            assert_eq!(known(&edge), 0);
        });
    }

    #[test]
    fn who_is_refused_leaves_nothing_behind() {
        run(async {
            let (edge, (host, cookie), headers) = (edge(false), stranger(), HeaderMap::new());
            let refused = get(&edge, Way::Page(&host, &cookie), &headers, false).await;
            assert_eq!(refused.err(), Some(Refusal::Unavailable));
            assert_eq!(known(&edge), 0);
        });
    }

    #[test]
    fn what_nobody_waits_for_is_swept_away() {
        let edge = edge(true);
        let (host, cookie) = stranger();
        let slot = Rc::new(Slot::default());
        let slots = || edge.sessions.slots.borrow_mut();
        slots().insert(Way::Page(&host, &cookie).key(), slot.clone());
        edge.sessions.sweep(Duration::ZERO);
        assert_eq!(known(&edge), 1, "somebody waits");
        drop(slot);
        edge.sessions.sweep(Duration::ZERO);
        assert_eq!(known(&edge), 0);
    }
}
