//! How much of the disk's attention one grain may ask for at a time.
//!
//! Commits happen in the order in which they were asked for, so a grain that asks for thousands at once would have
//! everybody else wait behind them.

use tokio::sync::{Semaphore, SemaphorePermit};

/// Commits that are made for one grain at a time. They go to the disk together with those of others, a group at a time, so
/// that an app which saves much loses little.
pub(crate) const AT_ONCE: usize = 8;

/// The turns of one grain; who waits for one holds up nobody but that grain.
pub(crate) struct Turns(Semaphore);

impl Default for Turns {
    fn default() -> Self {
        Self(Semaphore::new(AT_ONCE))
    }
}

impl Turns {
    /// Waits until something may be made durable, which it may for as long as the answer is kept.
    pub(crate) async fn one(&self) -> SemaphorePermit<'_> {
        self.0.acquire().await.expect("the semaphore is never closed")
    }
}
