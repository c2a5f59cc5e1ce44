//! The alarm of a connection: set with every request, and hardly ever left to go off.
//!
//! A timer of tokio costs a thousand instructions to be set and as many to be taken down, and each request needs two.
//! One that stays set costs next to nothing: only when it goes off, it is seen whether anybody wanted that.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// Set by several who wait one after the other, all of them in one task, which it wakes.
#[derive(Clone, Default)]
pub(crate) struct Alarm(Arc<Mutex<Option<Pin<Box<Sleep>>>>>);

/// It took longer than it may.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Late;

impl Alarm {
    /// Ready from `due` on.
    fn at(&self, due: Instant) -> Set {
        let alarm = self.clone();
        Set { alarm, due }
    }

    /// What `future` comes to, if it does within `time`.
    ///
    /// # Errors
    ///
    /// [`Late`] if it does not; then it is given up.
    pub(crate) async fn within<F: Future>(&self, time: Duration, future: F) -> Result<F::Output, Late> {
        let mut late = self.at(Instant::now() + time);
        let mut future = pin!(future);
        poll_fn(|context| match future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Ok(output)),
            Poll::Pending => Pin::new(&mut late).poll(context).map(|()| Err(Late)),
        })
        .await
    }
}

/// An alarm that is set.
struct Set {
    alarm: Alarm,
    due: Instant,
}

impl Future for Set {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut sleep = self.alarm.0.lock().unwrap_or_else(PoisonError::into_inner);
        let sleep = sleep.get_or_insert_with(|| Box::pin(sleep_until(self.due)));
        if sleep.deadline() > self.due {
            // Whoever set it before could wait longer.
            sleep.as_mut().reset(self.due);
        }
        loop {
            ready!(sleep.as_mut().poll(context));
            if sleep.deadline() >= self.due {
                return Poll::Ready(());
            }
            // Nobody has waited for that moment.
            sleep.as_mut().reset(self.due);
        }
    }
}

impl hyper::rt::Sleep for Set {}

impl hyper::rt::Timer for Alarm {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn hyper::rt::Sleep>> {
        Box::pin(self.at(Instant::now() + duration))
    }

    fn sleep_until(&self, deadline: std::time::Instant) -> Pin<Box<dyn hyper::rt::Sleep>> {
        Box::pin(self.at(deadline.into()))
    }

    fn now(&self) -> std::time::Instant {
        Instant::now().into()
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use hyper::rt::Timer;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn it_goes_off_when_it_is_due_whatever_it_was_set_for_before() {
        let alarm = Alarm::default();
        for seconds in [5, 1, 9, 9, 2] {
            let (start, time) = (Instant::now(), SECOND * seconds);
            assert_eq!(alarm.within(time, pending::<()>()).await, Err(Late));
            assert_eq!(start.elapsed().as_secs(), u64::from(seconds));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_set_and_not_waited_for_disturbs_nobody() {
        let alarm = Alarm::default();
        // Set for ten seconds and for one, and both times in vain.
        for seconds in [10, 1] {
            let mut asked = false;
            let soon = poll_fn(|context| {
                context.waker().wake_by_ref();
                match std::mem::replace(&mut asked, true) {
                    true => Poll::Ready(()),
                    false => Poll::Pending,
                }
            });
            assert_eq!(alarm.within(SECOND * seconds, soon).await, Ok(()));
        }
        let start = Instant::now();
        alarm.sleep(SECOND * 4).await;
        assert_eq!(start.elapsed().as_secs(), 4);
        assert_eq!(alarm.within(SECOND, ready(7)).await, Ok(7));
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_more_and_who_waits_for_less_are_both_woken() {
        let (alarm, start) = (Alarm::default(), Instant::now());
        let after = |count: u32| {
            let set = alarm.sleep(SECOND * count);
            async move {
                set.await;
                start.elapsed().as_secs()
            }
        };
        let woken = tokio::join!(after(7), after(2), after(9), after(2));
        assert_eq!(woken, (7, 2, 9, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn what_ends_in_time_is_not_late() {
        let alarm = Alarm::default();
        let in_time = alarm.within(SECOND * 3, tokio::time::sleep(SECOND * 2)).await;
        assert_eq!(in_time, Ok(()));
        let late = alarm.within(SECOND * 2, tokio::time::sleep(SECOND * 3)).await;
        assert_eq!(late, Err(Late));
    }
}
