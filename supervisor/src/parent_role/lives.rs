//! Whether and when a server begins anew: docs/adr/0020-begin-anew.md.

use std::time::Duration;

use crate::processes::restarts::Restarts;

/// After so many starts in vain, with pauses of ten seconds to half a minute, a server that did serve ends: a person, or a
/// service manager, may know better.
pub const IN_VAIN: u32 = 6;

/// Who began anew for its store's sake again before this had passed, was not helped by it.
const HELPED: Duration = Duration::from_secs(600);

/// A server's lives: each as long as its broker's.
pub struct Lives {
    restarts: Restarts,
    /// Whether one of them served anybody.
    pub served: bool,
    /// How many in a row did not.
    in_vain: u32,
}

impl Lives {
    pub const fn new() -> Self {
        Self {
            restarts: Restarts::new(),
            served: false,
            in_vain: 0,
        }
    }

    /// Takes down how the last one was, and whether it ended to begin anew; whether there is to be another. Where there
    /// never was one that served, what is wrong is best told at once; where there was, most likely it passes.
    pub fn goes_on(&mut self, served: bool, lived: Duration, anew: bool) -> bool {
        let in_vain = anew && lived < HELPED;
        self.restarts.ended(if in_vain { Duration::ZERO } else { lived });
        self.served |= served;
        self.in_vain = if served { 0 } else { self.in_vain + 1 };
        self.served && self.in_vain < IN_VAIN
    }

    /// How long to wait before the next.
    pub fn pause(&mut self) -> Duration {
        self.restarts.pause()
    }

    pub fn is_worrying(&self) -> bool {
        self.restarts.is_worrying()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(10);

    #[test]
    fn a_server_that_never_served_is_not_started_again() {
        assert!(!Lives::new().goes_on(false, SHORT, false));
    }

    #[test]
    fn one_that_did_is_until_it_has_failed_for_a_while() {
        let mut lives = Lives::new();
        let mut waited = Duration::ZERO;
        for _ in 0..100 {
            assert!(lives.goes_on(true, SHORT, false));
            lives.pause();
        }
        assert!(lives.is_worrying());
        assert!(lives.goes_on(true, Duration::from_secs(3600), false));
        assert!(!lives.is_worrying());
        assert!(lives.goes_on(true, SHORT, false));
        waited += lives.pause();
        while lives.goes_on(false, SHORT, false) {
            waited += lives.pause();
        }
        assert!((10..30).contains(&waited.as_secs()), "{waited:?}");
    }

    #[test]
    fn a_disk_that_fails_every_few_minutes_is_worrying() {
        let mut lives = Lives::new();
        for _ in 0..4 {
            assert!(lives.goes_on(true, Duration::from_secs(130), true));
            lives.pause();
        }
        assert!(lives.is_worrying());
        assert!(lives.goes_on(true, Duration::from_secs(3600), true));
        assert!(!lives.is_worrying());
    }
}
