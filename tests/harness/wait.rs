//! Waits for something to become true, with a deadline.

use std::time::{Duration, Instant};

/// How long anything in these tests may take before it counts as never happening. Generous: machines are slow at times.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Calls `check` until it returns something; panics with `what` when the deadline passes.
pub fn until<T>(what: &str, check: impl FnMut() -> Option<T>) -> T {
    within(DEADLINE, check).unwrap_or_else(|| panic!("gave up after {DEADLINE:?} waiting for {what}"))
}

/// Calls `check` until it returns something or `limit` has passed.
pub fn within<T>(limit: Duration, mut check: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(found) = check() {
            return Some(found);
        }
        if Instant::now() >= end {
            return None;
        }
        // The pace of asking, not a guess at when the answer is there.
        std::thread::sleep(Duration::from_millis(5));
    }
}
