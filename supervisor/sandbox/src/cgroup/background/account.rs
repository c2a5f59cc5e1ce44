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

/// What is known of an app.
#[derive(Debug, Default)]
pub(super) struct Account {
    /// Processor time it took so far.
    used: Duration,
    /// Processor time it owes.
    owed: Duration,
    is_in_background: bool,
    /// What its group weighed before it went to the background.
    pub(super) weight: Option<String>,
}

/// Where an app has to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    ToBackground,
    ToForeground,
}

impl Account {
    /// The account of an app found in the background.
    pub(super) fn in_background() -> Self {
        Self {
            owed: MOST,
            is_in_background: true,
            ..Self::default()
        }
    }

    /// Enters what the app took so far, the last entry being `passed` ago.
    pub(super) fn enter(&mut self, used: Duration, passed: Duration) -> Option<Change> {
        let taken = used.saturating_sub(self.used);
        self.used = used;
        self.owed = (self.owed + taken).saturating_sub(passed / STEADY).min(MOST);
        let change = match self.is_in_background {
            false if self.owed > BURST => Change::ToBackground,
            true if self.owed.is_zero() => Change::ToForeground,
            _ => return None,
        };
        self.is_in_background = change == Change::ToBackground;
        Some(change)
    }

    pub(super) fn is_in_background(&self) -> bool {
        self.is_in_background
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

    /// Has an app take `part` of a processor (in hundredths) for `time`; returns when it first had to go where.
    fn run(account: &mut Account, part: u32, time: Duration) -> Option<(Change, Duration)> {
        let mut first = None;
        let mut gone = Duration::ZERO;
        while gone < time {
            gone += LOOK;
            if let Some(change) = account.enter(account.used + LOOK * part / 100, LOOK) {
                first.get_or_insert((change, gone));
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
        let (change, when) = run(&mut account, 100, seconds(60.0)).unwrap();
        assert_eq!(change, Change::ToBackground);
        assert!(when > seconds(1.0) && when < seconds(2.0), "{when:?}");
        assert_eq!(run(&mut account, 0, seconds(9.5)), None, "not yet");
        let back = run(&mut account, 0, seconds(1.0));
        assert!(matches!(back, Some((Change::ToForeground, _))), "{back:?}");
        assert!(account.is_even());
    }

    #[test]
    fn one_that_takes_all_processors_goes_sooner() {
        let (_, two) = run(&mut Account::default(), 200, seconds(9.0)).unwrap();
        let (_, sixteen) = run(&mut Account::default(), 1600, seconds(9.0)).unwrap();
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
        assert_eq!(account.enter(seconds(1000.0), Duration::MAX), None);
        assert!(account.is_even());
        assert_eq!(account.enter(seconds(1000.0), LOOK), None);
    }
}
