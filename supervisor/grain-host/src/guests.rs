//! Who is at the door. When all places are taken, whoever has been quiet for longest gives way to who comes: a page that
//! nobody looks at costs its visitor nothing, and is let in again when it asks for something.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use crate::link::Pulse;

/// Who has not said a word for so long is idle. Before that the first one is on its way.
pub(crate) const FIRST_WORD: Duration = Duration::from_secs(1);
/// How often somebody idle is looked for while all are busy.
const LOOK: Duration = Duration::from_millis(100);
/// After so many looks one that is busy, and was quiet all the time, has to go.
const LOOKS: u32 = 50;

/// Everybody who has a connection to the door.
#[derive(Default)]
pub(crate) struct Guests {
    all: RefCell<Vec<Rc<Guest>>>,
    /// Counts what is said by anybody, either way.
    moments: Rc<Cell<u64>>,
}

/// One connection.
pub(crate) struct Guest {
    pub(crate) pulse: Rc<Pulse>,
    /// The moment at which something was said last.
    last: Rc<Cell<u64>>,
    /// Others hold what came by this one; it does not give way.
    stays: Cell<bool>,
    since: Instant,
    told: Cell<bool>,
    leave: Notify,
}

impl Guests {
    /// Somebody has come. They are here until [`Guests::left`].
    pub(crate) fn join(&self) -> Rc<Guest> {
        let pulse = Rc::<Pulse>::default();
        let last = Rc::new(Cell::new(self.moments.get()));
        pulse.wake_by({
            let (last, moments) = (Rc::clone(&last), Rc::clone(&self.moments));
            move || {
                moments.set(moments.get() + 1);
                last.set(moments.get());
            }
        });
        let guest = Rc::new(Guest {
            pulse,
            last,
            stays: Cell::new(false),
            since: Instant::now(),
            told: Cell::new(false),
            leave: Notify::new(),
        });
        self.all.borrow_mut().push(Rc::clone(&guest));
        guest
    }

    /// One has gone.
    pub(crate) fn left(&self, guest: &Rc<Guest>) {
        self.all.borrow_mut().retain(|known| !Rc::ptr_eq(known, guest));
    }

    /// Tells one to leave: who is idle, else who is busy and has been quiet for some seconds. Returns when nobody was idle
    /// for so long; begin again then. Drop it when somebody has left.
    pub(crate) async fn make_room(&self) {
        let begun = self.moments.get();
        for _ in 0..LOOKS {
            if self.tell(Guest::is_idle) {
                return std::future::pending().await;
            }
            sleep(LOOK).await;
        }
        self.tell(|guest| guest.last.get() <= begun);
    }

    /// Tells whoever has been quiet for longest, of those who fit. Whether somebody is on their way out.
    fn tell(&self, fits: impl Fn(&Guest) -> bool) -> bool {
        let all = self.all.borrow();
        if all.iter().any(|guest| guest.told.get()) {
            return true;
        }
        let may_go = all.iter().filter(|guest| !guest.stays.get() && fits(guest));
        let Some(quiet) = may_go.min_by_key(|guest| guest.last.get()) else {
            return false;
        };
        quiet.told.set(true);
        quiet.leave.notify_one();
        true
    }
}

impl Guest {
    fn is_idle(&self) -> bool {
        self.pulse.calls() == 0 && (self.pulse.heard() > 0 || self.since.elapsed() >= FIRST_WORD)
    }

    /// Returns once another needs the place more.
    pub(crate) async fn told_to_leave(&self) {
        self.leave.notified().await;
    }

    /// This one does not give way from now on.
    pub(crate) fn stay(&self) {
        self.stays.set(true);
    }
}
