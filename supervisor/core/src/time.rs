//! Points in time, as the store and the shell API write them.

use serde::{Deserialize, Serialize};

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The moment `seconds` later; saturates at the end of time.
    #[must_use]
    pub fn plus_seconds(self, seconds: u64) -> Self {
        Self(self.0.saturating_add(seconds.saturating_mul(1000)))
    }

    /// Whole seconds from `self` until `later`, rounded up; 0 when `later` has passed.
    #[must_use]
    pub fn seconds_until(self, later: Self) -> u64 {
        later.0.saturating_sub(self.0).div_ceil(1000)
    }
}
