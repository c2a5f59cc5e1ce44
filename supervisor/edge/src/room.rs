//! Room for connections. When all of it is taken, whoever has asked for nothing for longest gives way to who comes: idle
//! connections cost those who hold them next to nothing, and must not cost others their way in. A request that its client
//! does not finish, or an answer it does not take, costs them as little and counts as idle after a while ([`guest`]).

mod answered;
mod guest;

pub(crate) use answered::Answered;
pub(crate) use guest::Unsent;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};

use crate::config::Limits;
use crate::crowd::{Crowd, Member};
use crate::room::guest::{Guest, Moments};

/// WebSockets last for as long as both sides like and give way to nobody, so only one place in so many may be theirs.
const FOR_SOCKETS: usize = 2;

/// How soon it is seen that somebody has been idle for long enough, while others wait.
const LOOK: Duration = Duration::from_millis(250);

/// The places of all threads, and who waits for one.
pub(crate) struct Places {
    /// How long one may keep us waiting who is asking, when others need its place.
    patience: Duration,
    per_client: usize,
    crowd: Crowd,
    free: Arc<Semaphore>,
    sockets: Arc<Semaphore>,
    waiting: AtomicUsize,
    /// Says that one more waits.
    called: watch::Sender<()>,
}

impl Places {
    /// No more than `number` places.
    pub(crate) fn new(limits: &Limits, number: usize) -> Arc<Self> {
        let number = limits.connections.min(number);
        Arc::new(Self {
            patience: limits.crowded_wait,
            per_client: limits.connections_per_client,
            crowd: Crowd::default(),
            free: Arc::new(Semaphore::new(number)),
            sockets: Arc::new(Semaphore::new(number.div_ceil(FOR_SOCKETS))),
            waiting: AtomicUsize::new(0),
            called: watch::Sender::new(()),
        })
    }

    fn is_crowded(&self) -> bool {
        self.waiting.load(Relaxed) > 0 && self.free.available_permits() == 0
    }
}

/// Somebody who has come and has no place yet.
pub(crate) struct Newcomer(Arc<Places>);

impl Drop for Newcomer {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Relaxed);
    }
}

/// The connections of one thread, among the places there are for all threads.
#[derive(Clone)]
pub(crate) struct Room(Rc<Inner>);

struct Inner {
    places: Arc<Places>,
    guests: RefCell<HashMap<u64, Rc<Guest>>>,
    moments: Moments,
    /// Somebody may give way now who could not before.
    stirred: Notify,
    is_closing: Cell<bool>,
}

impl Room {
    pub(crate) fn new(places: Arc<Places>) -> Self {
        Self(Rc::new(Inner {
            places,
            guests: RefCell::default(),
            moments: Moments::default(),
            stirred: Notify::new(),
            is_closing: Cell::new(false),
        }))
    }

    /// Counts somebody who has come. `None` for who has as many connections as one client may have.
    pub(crate) fn admit(&self, peer: IpAddr) -> Option<Member> {
        self.0.places.crowd.join(peer, self.0.places.per_client)
    }

    /// Somebody has come; all threads are to know.
    pub(crate) fn announce(&self) -> Newcomer {
        let places = &self.0.places;
        places.waiting.fetch_add(1, Relaxed);
        places.called.send_replace(());
        Newcomer(places.clone())
    }

    /// What says when to [`Room::make_room`] for those who came to other threads.
    pub(crate) fn calls(&self) -> watch::Receiver<()> {
        self.0.places.called.subscribe()
    }

    /// Returns when somebody here may have become idle while others wait.
    pub(crate) async fn stirred(&self) {
        if self.0.places.waiting.load(Relaxed) > 0 {
            // Nobody says when a client has kept us waiting for too long.
            let _ = tokio::time::timeout(LOOK, self.0.stirred.notified()).await;
        } else {
            self.0.stirred.notified().await;
        }
    }

    /// Waits for a place. Give it up at any time.
    pub(crate) async fn place(&self) -> Place {
        let permit = self.0.places.free.clone().acquire_owned().await;
        let number = self.0.moments.next();
        let guest = Rc::new(Guest::new(&self.0.moments, number));
        self.0.guests.borrow_mut().insert(number, guest.clone());
        Place {
            room: self.clone(),
            number,
            guest,
            _permit: permit.expect("the semaphore is never closed"),
        }
    }

    /// Tells all to leave. Nobody may come any more.
    pub(crate) fn close(&self) {
        self.0.is_closing.set(true);
        for guest in self.0.guests.borrow().values() {
            guest.leave.notify_one();
        }
    }

    /// Tells whoever has asked for nothing, or kept us waiting, for longest to leave, if somebody waits and no place is
    /// free. When all are being answered, nobody has to.
    pub(crate) fn make_room(&self) {
        let places = &self.0.places;
        if !places.is_crowded() {
            return;
        }
        let guests = self.0.guests.borrow();
        if guests.values().filter(|guest| guest.told.get()).count() >= places.waiting.load(Relaxed) {
            return;
        }
        let idle = guests
            .values()
            .filter(|guest| !guest.told.get())
            .filter_map(|guest| Some((guest.gives_way(places.patience)?, guest)));
        if let Some((_, guest)) = idle.min_by_key(|(since, _)| *since) {
            guest.told.set(true);
            guest.leave.notify_one();
        }
    }
}

/// Why a connection is told to leave.
pub(crate) enum Leave {
    /// It has asked for nothing or kept us waiting, and another needs the place more.
    Crowded,
    /// All are, once they have been answered.
    Closing,
}

/// A connection's place, free again when dropped.
pub(crate) struct Place {
    room: Room,
    number: u64,
    guest: Rc<Guest>,
    _permit: OwnedSemaphorePermit,
}

impl Place {
    /// Returns once it is told to.
    pub(crate) async fn told_to_leave(&self) -> Leave {
        loop {
            self.guest.leave.notified().await;
            if self.room.0.is_closing.get() {
                return Leave::Closing;
            }
            if self.guest.gives_way(self.room.0.places.patience).is_some() {
                return Leave::Crowded;
            }
            // Something was on its way: somebody else is to go.
            self.guest.told.set(false);
            self.room.0.stirred.notify_one();
        }
    }

    /// A request has come: the place is kept until what this returns is dropped.
    pub(crate) fn asks(&self) -> Asking {
        self.guest.asks();
        Asking {
            room: self.room.clone(),
            guest: self.guest.clone(),
        }
    }

    /// We wait for a part of a request until what this returns is dropped. `owed` is what the client made us wait before,
    /// less what it has moved since.
    pub(crate) fn sends(&self, owed: Duration) -> Sending<'_> {
        self.guest.sends(Some(owed));
        Sending(&self.guest)
    }

    /// What the socket has to tell of its bytes.
    pub(crate) fn unsent(&self) -> Unsent {
        self.guest.takes()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.room.0.guests.borrow_mut().remove(&self.number);
    }
}

/// We wait for a part of a request, until dropped.
pub(crate) struct Sending<'guest>(&'guest Guest);

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        self.0.sends(None);
    }
}

/// What a connection takes: its place, and a part of what its client may have.
pub(crate) struct Taken {
    pub(crate) place: Place,
    #[expect(dead_code, reason = "held, and counted until dropped")]
    pub(crate) member: Member,
}

impl Taken {
    /// Keeps all of it for a connection that becomes a WebSocket, which HTTP then knows nothing of any more. `None` when
    /// there are too many.
    pub(crate) fn for_a_socket(self: &Rc<Self>) -> Option<ForASocket> {
        let sockets = &self.place.room.0.places.sockets;
        let permit = sockets.clone().try_acquire_owned().ok()?;
        self.place.guest.becomes_socket(true);
        Some(ForASocket {
            _permit: permit,
            _asking: self.place.asks(),
            taken: Rc::clone(self),
        })
    }
}

/// Held as long as a WebSocket is open.
pub(crate) struct ForASocket {
    _permit: OwnedSemaphorePermit,
    _asking: Asking,
    taken: Rc<Taken>,
}

impl Drop for ForASocket {
    fn drop(&mut self) {
        self.taken.place.guest.becomes_socket(false);
    }
}

/// A request that is being answered.
pub(crate) struct Asking {
    room: Room,
    guest: Rc<Guest>,
}

impl Asking {
    /// It has an answer; what is left is to send that.
    pub(crate) fn answered(&self) {
        self.guest.answered();
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.guest.finishes();
        if self.room.0.places.waiting.load(Relaxed) > 0 {
            self.room.0.stirred.notify_one();
        }
    }
}
