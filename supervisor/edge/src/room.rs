//! Room for connections. When all of it is taken, whoever has asked for nothing for longest gives way to who comes: idle
//! connections cost those who hold them next to nothing, and must not cost others their way in.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};

use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};

use crate::crowd::Member;

/// WebSockets last for as long as both sides like and give way to nobody, so only one place in so many may be theirs.
const FOR_SOCKETS: usize = 2;

/// The places of all threads, and who waits for one.
pub(crate) struct Places {
    free: Arc<Semaphore>,
    sockets: Arc<Semaphore>,
    waiting: AtomicUsize,
    /// Says that one more waits.
    called: watch::Sender<()>,
}

impl Places {
    pub(crate) fn new(number: usize) -> Arc<Self> {
        Arc::new(Self {
            free: Arc::new(Semaphore::new(number)),
            sockets: Arc::new(Semaphore::new(number.div_ceil(FOR_SOCKETS))),
            waiting: AtomicUsize::new(0),
            called: watch::Sender::new(()),
        })
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
    /// Counts the moments at which somebody came, or had an answer to its end.
    moments: Cell<u64>,
    /// Somebody may give way now who could not before.
    stirred: Notify,
    is_closing: Cell<bool>,
}

/// One connection.
struct Guest {
    /// Requests whose answers are not at their end.
    asking: Cell<usize>,
    /// The moment from which it has asked for nothing.
    since: Cell<u64>,
    told: Cell<bool>,
    leave: Notify,
}

impl Room {
    pub(crate) fn new(places: Arc<Places>) -> Self {
        Self(Rc::new(Inner {
            places,
            guests: RefCell::default(),
            moments: Cell::new(0),
            stirred: Notify::new(),
            is_closing: Cell::new(false),
        }))
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

    /// Returns when somebody here has become idle while others wait.
    pub(crate) async fn stirred(&self) {
        self.0.stirred.notified().await;
    }

    /// Waits for a place. Give it up at any time.
    pub(crate) async fn place(&self) -> Place {
        let permit = self.0.places.free.clone().acquire_owned().await;
        let number = self.0.moment();
        let guest = Rc::new(Guest {
            asking: Cell::new(0),
            since: Cell::new(number),
            told: Cell::new(false),
            leave: Notify::new(),
        });
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

    /// Tells whoever has asked for nothing for longest to leave, if somebody waits and no place is free. When all are
    /// asking, nobody has to.
    pub(crate) fn make_room(&self) {
        let waiting = self.0.places.waiting.load(Relaxed);
        if waiting == 0 || self.0.places.free.available_permits() > 0 {
            return;
        }
        let guests = self.0.guests.borrow();
        if guests.values().filter(|guest| guest.told.get()).count() >= waiting {
            return;
        }
        let idle = guests
            .values()
            .filter(|guest| guest.asking.get() == 0 && !guest.told.get());
        if let Some(guest) = idle.min_by_key(|guest| guest.since.get()) {
            guest.told.set(true);
            guest.leave.notify_one();
        }
    }
}

impl Inner {
    fn moment(&self) -> u64 {
        self.moments.set(self.moments.get() + 1);
        self.moments.get()
    }
}

/// Why a connection is told to leave.
pub(crate) enum Leave {
    /// It has asked for nothing, and another needs the place more.
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
            if self.guest.asking.get() == 0 {
                return Leave::Crowded;
            }
            // A request was on its way: somebody else is to go.
            self.guest.told.set(false);
            self.room.0.stirred.notify_one();
        }
    }

    /// A request has come: the place is kept until what this returns is dropped.
    pub(crate) fn asks(&self) -> Asking {
        self.guest.asking.set(self.guest.asking.get() + 1);
        Asking {
            room: self.room.clone(),
            guest: self.guest.clone(),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.room.0.guests.borrow_mut().remove(&self.number);
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
        Some(ForASocket {
            _permit: sockets.clone().try_acquire_owned().ok()?,
            _asking: self.place.asks(),
            _taken: Rc::clone(self),
        })
    }
}

/// Held as long as a WebSocket is open.
pub(crate) struct ForASocket {
    _permit: OwnedSemaphorePermit,
    _asking: Asking,
    _taken: Rc<Taken>,
}

/// A request that is being answered.
pub(crate) struct Asking {
    room: Room,
    guest: Rc<Guest>,
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.guest.asking.set(self.guest.asking.get() - 1);
        self.guest.since.set(self.room.0.moment());
        if self.room.0.places.waiting.load(Relaxed) > 0 {
            self.room.0.stirred.notify_one();
        }
    }
}

/// The body of an answer, with which the request ends.
pub(crate) struct Answered<B> {
    pub(crate) body: B,
    #[expect(dead_code, reason = "held, and dropped with the body")]
    pub(crate) asking: Asking,
}

impl<B: Body + Unpin> Body for Answered<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
