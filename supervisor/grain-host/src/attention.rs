//! Notices an app that says nothing while somebody waits for it.
//!
//! It may be at work, so after a while it is asked what no app knows: whoever listens refuses at once. One that makes
//! calls and takes no answers is not read from any more, and falls silent by that.

use std::time::{Duration, Instant};

use crate::config::Limit;

/// How long an app may be silent before it is asked whether it listens.
const DOUBT: Duration = Duration::from_secs(20);
/// How long before its owner is told: less than anybody waits in vain for a session.
const PATIENCE: Duration = Duration::from_secs(45);

/// How the app is now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    /// Somebody waits for it.
    pub(crate) is_waited_for: bool,
    /// Grows with everything it says.
    pub(crate) heard: u64,
    /// Nothing is read from it, for its own calls.
    pub(crate) is_held: bool,
    /// Nothing is read from it, because those it speaks to do not listen.
    pub(crate) is_silenced: bool,
    /// Others hold it still, as for a backup: it cannot say anything.
    pub(crate) is_frozen: bool,
}

impl Seen {
    /// Whether its silence would be its own.
    fn counts(self) -> bool {
        self.is_waited_for && !self.is_silenced && !self.is_frozen
    }
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Nothing,
    /// Ask it whether it listens.
    Ask,
    /// Tell its owner.
    Tell(Limit),
}

/// The app's silence.
#[derive(Default)]
pub(crate) struct Attention {
    /// What had been heard when it fell silent, and when that was.
    silent: Option<(u64, Instant)>,
    asked: Option<Instant>,
}

impl Attention {
    pub(crate) fn look(&mut self, seen: Seen, now: Instant) -> Step {
        let since = match self.silent {
            Some((heard, since)) if seen.counts() && heard == seen.heard => since,
            _ => {
                self.silent = seen.is_waited_for.then_some((seen.heard, now));
                self.asked = None;
                return Step::Nothing;
            }
        };
        let silence = now.duration_since(since);
        if seen.is_held && silence >= PATIENCE {
            return Step::Tell(Limit::Calls);
        }
        match self.asked {
            Some(asked) if now.duration_since(asked) >= PATIENCE - DOUBT => Step::Tell(Limit::Answers),
            // What is not read cannot answer.
            None if !seen.is_held && silence >= DOUBT => {
                self.asked = Some(now);
                Step::Ask
            }
            _ => Step::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the looks of an hour, one each five seconds, come to: the seconds at which something is to be done.
    fn hour(seen: impl Fn(u64) -> Seen) -> Vec<(u64, Step)> {
        let begun = Instant::now();
        let mut attention = Attention::default();
        let looks = (0..3600).step_by(5);
        looks
            .map(|second| {
                (
                    second,
                    attention.look(seen(second), begun + Duration::from_secs(second)),
                )
            })
            .filter(|(_, step)| *step != Step::Nothing)
            .collect()
    }

    const SILENT: Seen = Seen {
        is_waited_for: true,
        heard: 7,
        is_held: false,
        is_silenced: false,
        is_frozen: false,
    };

    #[test]
    fn one_that_says_nothing_is_asked_and_then_told_of() {
        let steps = hour(|_| SILENT);
        assert_eq!(steps[..2], [(20, Step::Ask), (45, Step::Tell(Limit::Answers))]);
        assert_eq!(steps.iter().filter(|(_, step)| *step == Step::Ask).count(), 1);
    }

    #[test]
    fn one_that_works_for_an_hour_and_listens_is_only_asked() {
        // It answers within ten seconds of being asked.
        let steps = hour(|second| Seen {
            heard: second / 30,
            ..SILENT
        });
        assert!(steps.len() > 50, "{steps:?}");
        assert!(steps.iter().all(|(_, step)| *step == Step::Ask), "{steps:?}");
    }

    #[test]
    fn one_nobody_waits_for_may_be_silent() {
        let idle = |_| Seen {
            is_waited_for: false,
            ..SILENT
        };
        assert_eq!(hour(idle), []);
        // Silence counts from when somebody waits.
        let late = hour(|second| Seen {
            is_waited_for: second >= 600,
            ..SILENT
        });
        assert_eq!(late[..2], [(620, Step::Ask), (645, Step::Tell(Limit::Answers))]);
    }

    #[test]
    fn a_late_look_leaves_it_time_to_answer() {
        let begun = Instant::now();
        let mut attention = Attention::default();
        let mut look = |second| attention.look(SILENT, begun + Duration::from_secs(second));
        assert_eq!(look(0), Step::Nothing);
        // The machine stood still meanwhile.
        assert_eq!(look(600), Step::Ask);
        assert_eq!(look(601), Step::Nothing);
        assert_eq!(look(625), Step::Tell(Limit::Answers));
    }

    #[test]
    fn one_whose_listeners_do_not_listen_is_left_alone() {
        let silenced = |_| Seen {
            is_silenced: true,
            ..SILENT
        };
        assert_eq!(hour(silenced), []);
    }

    #[test]
    fn one_others_hold_still_is_left_alone_and_has_all_its_time_afterwards() {
        let frozen = Seen {
            is_frozen: true,
            ..SILENT
        };
        assert_eq!(hour(|_| frozen), []);
        // Nor is it told of for the calls it made before.
        let held = Seen {
            is_held: true,
            ..frozen
        };
        assert_eq!(hour(|_| held), []);
        let after = hour(|second| Seen {
            is_frozen: (15..600).contains(&second),
            ..SILENT
        });
        assert_eq!(after[..2], [(615, Step::Ask), (640, Step::Tell(Limit::Answers))]);
    }

    #[test]
    fn one_that_is_not_read_is_told_of_for_its_calls() {
        let held = hour(|_| Seen {
            is_held: true,
            ..SILENT
        });
        assert_eq!(held[0], (45, Step::Tell(Limit::Calls)));
        // Now and then is how it should be.
        let often = hour(|second| Seen {
            heard: second / 20,
            is_held: second % 20 > 0,
            ..SILENT
        });
        assert_eq!(often, []);
    }
}
