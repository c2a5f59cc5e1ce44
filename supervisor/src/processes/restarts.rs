//! How long one of our processes stays down after it ended.

use std::time::Duration;

/// The pause before the first start.
const FIRST: Duration = Duration::from_millis(200);
/// The longest pause: what somebody waits for a page before they give up. A start takes some ten milliseconds, so that a
/// process that cannot live costs next to nothing even so.
pub const LONGEST: Duration = Duration::from_secs(5);
/// When the pause has grown to this, whoever runs the server is told.
const WORRYING: Duration = Duration::from_secs(2);
/// A process that lived for longer died of something new.
pub const SETTLED: Duration = Duration::from_secs(60);

/// The starts of one process, ever rarer while it does not live long.
#[derive(Debug)]
pub struct Restarts {
    next: Duration,
}

impl Restarts {
    pub const fn new() -> Self {
        Self { next: FIRST }
    }

    /// Takes down that the process ended after it had lived for so long.
    pub fn ended(&mut self, lived: Duration) {
        if lived > SETTLED {
            self.next = FIRST;
        }
    }

    /// How long to wait before the next start.
    pub fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(LONGEST);
        pause
    }

    /// Whether it ends, or fails to start, so often that somebody has to look.
    pub fn is_worrying(&self) -> bool {
        self.next >= WORRYING
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT_ONCE: Duration = Duration::from_millis(10);

    fn pauses(restarts: &mut Restarts, count: usize, lived: Duration) -> Vec<u128> {
        let mut one = || {
            restarts.ended(lived);
            restarts.pause().as_millis()
        };
        (0..count).map(|_| one()).collect()
    }

    #[test]
    fn whoever_does_not_live_long_is_started_ever_more_rarely() {
        let pauses = pauses(&mut Restarts::new(), 4, AT_ONCE);
        assert_eq!(pauses, [200, 400, 800, 1600]);
    }

    #[test]
    fn nobody_waits_for_longer_than_they_would_for_a_page() {
        let pauses = pauses(&mut Restarts::new(), 100, AT_ONCE);
        assert_eq!(pauses.iter().max(), Some(&5000));
        assert_eq!(pauses.last(), Some(&5000));
    }

    #[test]
    fn one_that_lived_is_started_at_once_again() {
        let mut restarts = Restarts::new();
        pauses(&mut restarts, 10, AT_ONCE);
        assert!(restarts.is_worrying());
        restarts.ended(SETTLED * 2);
        assert!(!restarts.is_worrying());
        assert_eq!(restarts.pause(), FIRST);
    }

    #[test]
    fn a_few_ends_worry_nobody() {
        let mut restarts = Restarts::new();
        pauses(&mut restarts, 3, AT_ONCE);
        assert!(!restarts.is_worrying());
        pauses(&mut restarts, 1, AT_ONCE);
        assert!(restarts.is_worrying());
    }
}
