//! A call under way, which ends at once when its membrane is revoked.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker};

use super::carry::carry_error;
use super::{MembraneState, Realm, RealmState, Side};

/// A call the platform itself makes on the app. The grain is in use while it lasts.
pub struct Work(Rc<RealmState>);

impl Realm {
    /// Notes that the platform is about to ask the app something, until the result is dropped.
    #[must_use]
    pub fn work(&self) -> Work {
        self.0.pending.set(self.0.pending.get() + 1);
        self.0.touch();
        // Asked so that whoever keeps the app from answering is looked for, as with every call.
        self.0.is_overloaded();
        Work(Rc::clone(&self.0))
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.0.pending.set(self.0.pending.get() - 1);
        self.0.touch();
    }
}

impl MembraneState {
    /// Waits for `work` on an object that lives on `lives`, unless the membrane is revoked first; then the work is
    /// dropped, which cancels it on the other side.
    pub(super) fn guard<T, Work: Future<Output = capnp::Result<T>>>(
        self: &Rc<Self>,
        lives: Side,
        work: Work,
    ) -> impl Future<Output = capnp::Result<T>> + use<T, Work> {
        let mut place = Waiting::new(self, lives);
        async move {
            let result = {
                let mut work = pin!(work);
                poll_fn(|context| {
                    if let Some(error) = place.membrane.revoked.borrow().as_ref() {
                        return Poll::Ready(Err(error.clone()));
                    }
                    let result = work.as_mut().poll(context);
                    if result.is_pending() {
                        place.wake_by(context.waker());
                    }
                    result
                })
                .await
            };
            drop(place);
            result.map_err(carry_error)
        }
    }
}

/// A call's place among those to be woken on revocation, and in the count of those that keep the app awake.
struct Waiting {
    membrane: Rc<MembraneState>,
    lives: Side,
    place: Option<usize>,
}

impl Waiting {
    fn new(membrane: &Rc<MembraneState>, lives: Side) -> Self {
        if lives == Side::Inside {
            let pending = &membrane.realm.pending;
            pending.set(pending.get() + 1);
        }
        Self {
            membrane: Rc::clone(membrane),
            lives,
            place: None,
        }
    }

    fn wake_by(&mut self, waker: &Waker) {
        let mut waiting = self.membrane.waiting.borrow_mut();
        match self.place.and_then(|place| waiting.get_mut(place)) {
            Some(known) => known.clone_from(waker),
            None => self.place = Some(waiting.insert(waker.clone())),
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.lives == Side::Inside {
            let pending = &self.membrane.realm.pending;
            pending.set(pending.get() - 1);
        }
        if let Some(place) = self.place {
            // Revocation empties the table; a waker's own drop may run other code, so not under the borrow.
            let waker = self.membrane.waiting.borrow_mut().remove(place);
            drop(waker);
        }
    }
}
