//! One turn of a connection: the RPC system is asked again for as long as it has work at hand.
//!
//! capnp-rpc takes one message per poll and asks to be polled again. Answering that at once, instead of by way of the
//! scheduler, is cheaper; and what comes of all messages of a turn can leave together.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// Polls in one turn. More than that would keep others waiting.
const POLLS: usize = 64;

/// Nobody asked since the last turn.
const RESTING: u8 = 0;
/// A poll runs.
const POLLING: u8 = 1;
/// A poll runs, and another is wanted.
const AGAIN: u8 = 2;

/// What the RPC system of one connection is polled with.
pub(super) struct Turn {
    bell: Arc<Bell>,
    waker: Waker,
}

/// Wakes the task of the connection, unless it is up already.
struct Bell {
    state: AtomicU8,
    task: Mutex<Option<Waker>>,
}

impl Turn {
    pub(super) fn new() -> Self {
        let bell = Arc::new(Bell {
            state: AtomicU8::new(RESTING),
            task: Mutex::new(None),
        });
        Self {
            waker: Waker::from(Arc::clone(&bell)),
            bell,
        }
    }

    /// Polls until there is nothing more to do, or for long enough.
    pub(super) fn take<T>(
        &self,
        context: &mut Context<'_>,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        self.bell.answers_to(context.waker());
        for _ in 0..POLLS {
            self.bell.state.store(POLLING, Ordering::SeqCst);
            let polled = poll(&mut Context::from_waker(&self.waker));
            let asked = self.bell.state.swap(RESTING, Ordering::SeqCst) == AGAIN;
            if polled.is_ready() || !asked {
                return polled;
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Bell {
    fn answers_to(&self, waker: &Waker) {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *task {
            Some(known) => known.clone_from(waker),
            None => *task = Some(waker.clone()),
        }
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let up = self
            .state
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |state| {
                (state != RESTING).then_some(AGAIN)
            });
        if up.is_ok() {
            return;
        }
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(task) = &*task {
            task.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Default)]
    struct Counted(AtomicUsize);

    impl Wake for Counted {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn who_asks_during_a_poll_is_polled_in_the_same_turn() {
        let task = Arc::new(Counted::default());
        let waker = Waker::from(task.clone());
        let turn = Turn::new();
        let (mut polls, mut kept) = (0, None);
        let polled = turn.take(&mut Context::from_waker(&waker), |context| {
            polls += 1;
            if polls < 5 {
                context.waker().wake_by_ref();
            }
            kept = Some(context.waker().clone());
            Poll::<()>::Pending
        });
        assert!(polled.is_pending());
        assert_eq!((polls, task.0.load(Ordering::SeqCst)), (5, 0));
        kept.unwrap().wake();
        assert_eq!(
            task.0.load(Ordering::SeqCst),
            1,
            "between turns the task is woken"
        );
    }

    #[test]
    fn who_asks_for_ever_lets_others_run() {
        let task = Arc::new(Counted::default());
        let waker = Waker::from(task.clone());
        let mut polls = 0;
        let polled = Turn::new().take(&mut Context::from_waker(&waker), |context| {
            polls += 1;
            context.waker().wake_by_ref();
            Poll::<()>::Pending
        });
        assert!(polled.is_pending());
        assert_eq!((polls, task.0.load(Ordering::SeqCst)), (POLLS, 1));
    }
}
