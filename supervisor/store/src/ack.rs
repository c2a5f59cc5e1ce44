//! The wait for an acknowledgement, on any async runtime or none.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use crate::error::CommitError;

type Outcome = Result<(), CommitError>;

#[derive(Default)]
struct Slot {
    outcome: Option<Outcome>,
    waker: Option<Waker>,
}

/// Resolves once the batch is durable, or will never be. Dropping it does not take the batch back.
#[must_use = "a commit is durable only once this has resolved"]
pub struct Commit {
    slot: Arc<Mutex<Slot>>,
}

/// The writer's end. Dropped unused, it answers [`CommitError::Closed`], so that no one waits for a dead writer.
pub(crate) struct Acknowledge {
    slot: Option<Arc<Mutex<Slot>>>,
}

/// Makes both ends of an acknowledgement.
pub(crate) fn pair() -> (Acknowledge, Commit) {
    let slot = Arc::new(Mutex::new(Slot::default()));
    (
        Acknowledge {
            slot: Some(slot.clone()),
        },
        Commit { slot },
    )
}

impl Acknowledge {
    /// Tells the waiter.
    pub(crate) fn tell(mut self, outcome: Outcome) {
        self.settle(outcome);
    }

    fn settle(&mut self, outcome: Outcome) {
        let Some(slot) = self.slot.take() else { return };
        let waker = {
            let mut slot = lock(&slot);
            slot.outcome = Some(outcome);
            slot.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Drop for Acknowledge {
    fn drop(&mut self) {
        self.settle(Err(CommitError::Closed));
    }
}

impl Commit {
    /// A commit that is settled already.
    pub(crate) fn settled(outcome: Outcome) -> Self {
        Self {
            slot: Arc::new(Mutex::new(Slot {
                outcome: Some(outcome),
                waker: None,
            })),
        }
    }

    /// Blocks the thread until the batch is durable, or will never be.
    pub fn wait(mut self) -> Outcome {
        struct Unpark(Thread);
        impl Wake for Unpark {
            fn wake(self: Arc<Self>) {
                self.0.unpark();
            }
        }
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut context = Context::from_waker(&waker);
        loop {
            match Pin::new(&mut self).poll(&mut context) {
                Poll::Ready(outcome) => return outcome,
                Poll::Pending => thread::park(),
            }
        }
    }
}

impl Future for Commit {
    type Output = Outcome;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome> {
        let mut slot = lock(&self.slot);
        if let Some(outcome) = slot.outcome.take() {
            return Poll::Ready(outcome);
        }
        slot.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

fn lock(slot: &Mutex<Slot>) -> MutexGuard<'_, Slot> {
    // Nothing in here can panic midway, so a poisoned slot is still a whole one.
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_waiter_on_another_thread_is_woken() {
        let (acknowledge, commit) = pair();
        let waiter = thread::spawn(move || commit.wait());
        acknowledge.tell(Ok(()));
        assert!(waiter.join().unwrap().is_ok());
    }

    #[test]
    fn a_dead_writer_leaves_no_one_waiting() {
        let (acknowledge, commit) = pair();
        drop(acknowledge);
        assert!(matches!(commit.wait(), Err(CommitError::Closed)));
    }
}
