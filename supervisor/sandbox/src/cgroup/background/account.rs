//! Who goes to the background, and when they come back: an account of processor time for each app.
//!
//! What an app takes beyond a steady part of a processor it owes. So one that starts, or answers somebody, has a whole
//! processor to itself for a while, and one that pauses now and then to look harmless has not.

use std::time::Duration;

/// Every app may have one part in so many of a processor, for good.
pub(super) const STEADY: u32 = 8;
/// What it may owe before it goes to the background: a slow app has started by then.
const BURST: Duration = Duration::from_secs(1);
/// No more is held against it, so that it is back ten seconds after it has become quiet.
const MOST: Duration = Duration::from_millis(1250);

/// Whatever an app owed is forgiven after as long a time without taking anything.
pub(super) const FORGIVEN: Duration = MOST.saturating_mul(STEADY);

/// What is known of an app.
#[derive(Debug, Default)]
pub(super) struct Account {
    /// Processor time it took so far.
    used: Duration,
    /// Processor time it owes.
    owed: Duration,
    pub(super) is_in_background: bool,
    /// What its group weighed before it went to the background.
    pub(super) weight: Option<String>,
}

impl Account {
    /// The account of an app that has taken `used` before anybody looked.
    pub(super) fn found(used: Duration, is_in_background: bool) -> Self {
        Self {
            used,
            owed: if is_in_background { MOST } else { Duration::ZERO },
            is_in_background,
            weight: None,
        }
    }

    /// Enters what the app took so far, the last entry being `passed` ago.
    pub(super) fn enter(&mut self, used: Duration, passed: Duration) {
        let taken = used.saturating_sub(self.used);
        self.used = used;
        self.owed = (self.owed + taken).saturating_sub(passed / STEADY).min(MOST);
    }

    /// Whether it owes too much; or, being in the background, anything yet.
    pub(super) fn belongs_in_background(&self) -> bool {
        if self.is_in_background {
            !self.owed.is_zero()
        } else {
            self.owed > BURST
        }
    }

    /// Whether it owes nothing and is where every app is.
    pub(super) fn is_even(&self) -> bool {
        self.owed.is_zero() && !self.is_in_background
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOK: Duration = Duration::from_millis(250);

    /// Has an app take `part` of a processor (in hundredths) for `time`; returns when it first had to go to the background,
    /// or come back.
    fn run(account: &mut Account, part: u32, time: Duration) -> Option<Duration> {
        let mut first = None;
        let mut gone = Duration::ZERO;
        while gone < time {
            gone += LOOK;
            account.enter(account.used + LOOK * part / 100, LOOK);
            let belongs = account.belongs_in_background();
            if belongs != account.is_in_background {
                account.is_in_background = belongs;
                first.get_or_insert(gone);
            }
        }
        first
    }

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    #[test]
    fn an_app_that_starts_for_a_second_is_left_alone() {
        let mut account = Account::default();
        assert_eq!(run(&mut account, 100, seconds(1.0)), None);
        assert_eq!(run(&mut account, 0, seconds(8.0)), None);
        assert!(account.is_even());
    }

    #[test]
    fn one_that_takes_a_processor_for_long_goes_and_comes_back_when_it_has_been_quiet() {
        let mut account = Account::default();
        let when = run(&mut account, 100, seconds(60.0)).unwrap();
        assert!(account.is_in_background);
        assert!(when > seconds(1.0) && when < seconds(2.0), "{when:?}");
        assert_eq!(run(&mut account, 0, seconds(9.5)), None, "not yet");
        assert!(run(&mut account, 0, seconds(1.0)).is_some());
        assert!(account.is_even());
    }

    #[test]
    fn one_that_takes_all_processors_goes_sooner() {
        let two = run(&mut Account::default(), 200, seconds(9.0)).unwrap();
        let sixteen = run(&mut Account::default(), 1600, seconds(9.0)).unwrap();
        assert!(two < seconds(1.0), "{two:?}");
        assert_eq!(sixteen, LOOK);
    }

    #[test]
    fn pauses_do_not_help() {
        let mut account = Account::default();
        let went = (0..20).any(|_| {
            run(&mut account, 100, seconds(0.75)).is_some() | run(&mut account, 0, seconds(0.75)).is_some()
        });
        assert!(went);
        // In the background with every second half-second off it stays there.
        for _ in 0..20 {
            assert_eq!(run(&mut account, 100, seconds(0.5)), None);
            assert_eq!(run(&mut account, 0, seconds(0.5)), None);
        }
    }

    #[test]
    fn a_steady_eighth_is_never_too_much() {
        assert_eq!(run(&mut Account::default(), 12, seconds(3600.0)), None);
    }

    #[test]
    fn what_was_taken_while_nobody_looked_does_not_count() {
        let mut account = Account::default();
        account.enter(seconds(1000.0), Duration::MAX);
        assert!(account.is_even());
        account.enter(seconds(1000.0), LOOK);
        assert!(account.is_even());
    }

    #[test]
    fn one_that_is_found_in_the_background_stays_there_until_it_has_been_quiet() {
        let mut account = Account::found(seconds(1000.0), true);
        assert_eq!(run(&mut account, 0, seconds(9.5)), None);
        assert!(run(&mut account, 0, seconds(1.0)).is_some());
    }
}
