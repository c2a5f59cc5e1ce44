//! Decides when another attempt at a secret may be made.

use std::collections::HashMap;

use crate::time::Timestamp;

/// Failures that cost nothing; people mistype.
const FREE_FAILURES: u32 = 4;
/// The first wait, in seconds; doubled with every further failure.
const FIRST_WAIT: u64 = 2;
/// The longest wait, in seconds.
const LONGEST_WAIT: u64 = 15 * 60;
/// How long failures are remembered, in seconds.
const MEMORY: u64 = 60 * 60;
/// How many keys are remembered; an attacker who uses up more gains nothing but oblivion of the oldest.
const KEYS: usize = 10_000;

#[derive(Debug, Clone, Copy)]
struct Failures {
    count: u32,
    last: Timestamp,
}

/// Counts failed attempts per key (a handle, an address) and slows down those that go on.
#[derive(Debug, Default)]
pub struct Throttle {
    failures: HashMap<String, Failures>,
}

impl Throttle {
    /// Seconds to wait before the next attempt under `key`; 0 when it may be made now.
    #[must_use]
    pub fn wait(&self, key: &str, now: Timestamp) -> u64 {
        self.wait_at_most(LONGEST_WAIT, key, now)
    }

    /// The same where no wait may be longer than `longest` seconds: for keys that strangers can run up.
    #[must_use]
    pub fn wait_at_most(&self, longest: u64, key: &str, now: Timestamp) -> u64 {
        let Some(failures) = self.failures.get(key) else {
            return 0;
        };
        let Some(beyond) = failures.count.checked_sub(FREE_FAILURES) else {
            return 0;
        };
        if beyond == 0 {
            return 0;
        }
        let wait = FIRST_WAIT.saturating_mul(1 << (beyond - 1).min(16)).min(longest);
        now.seconds_until(failures.last.plus_seconds(wait))
    }

    /// Remembers a failed attempt.
    pub fn failed(&mut self, key: &str, now: Timestamp) {
        if self.failures.len() >= KEYS && !self.failures.contains_key(key) {
            self.forget_old(now);
        }
        let entry = self
            .failures
            .entry(key.to_owned())
            .or_insert(Failures { count: 0, last: now });
        if now > entry.last.plus_seconds(MEMORY) {
            entry.count = 0;
        }
        entry.count = entry.count.saturating_add(1);
        entry.last = now;
    }

    /// Forgets the failures under `key` after a success.
    pub fn succeeded(&mut self, key: &str) {
        self.failures.remove(key);
    }

    fn forget_old(&mut self, now: Timestamp) {
        self.failures
            .retain(|_, failures| now <= failures.last.plus_seconds(MEMORY));
        if self.failures.len() >= KEYS {
            let oldest = self.failures.iter().min_by_key(|(_, failures)| failures.last);
            if let Some(key) = oldest.map(|(key, _)| key.clone()) {
                self.failures.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_end() {
        let mut throttle = Throttle::default();
        let mut now = Timestamp(1_000_000);
        for _ in 0..FREE_FAILURES {
            assert_eq!(throttle.wait("anna", now), 0);
            throttle.failed("anna", now);
        }
        throttle.failed("anna", now);
        assert_eq!(throttle.wait("anna", now), 2);
        assert_eq!(throttle.wait("bela", now), 0);
        now = now.plus_seconds(2);
        assert_eq!(throttle.wait("anna", now), 0);
        throttle.failed("anna", now);
        assert_eq!(throttle.wait("anna", now), 4);
        for _ in 0..40 {
            throttle.failed("anna", now);
        }
        assert_eq!(throttle.wait("anna", now), LONGEST_WAIT);
        assert_eq!(throttle.wait_at_most(5, "anna", now.plus_seconds(3)), 2);
        assert_eq!(throttle.wait_at_most(5, "anna", now.plus_seconds(5)), 0);
        throttle.succeeded("anna");
        assert_eq!(throttle.wait("anna", now), 0);
    }

    #[test]
    fn memory_is_bounded() {
        let mut throttle = Throttle::default();
        for key in 0..KEYS + 50 {
            throttle.failed(&key.to_string(), Timestamp(key as u64));
        }
        assert!(throttle.failures.len() <= KEYS);
    }
}
