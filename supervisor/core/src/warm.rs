//! Which of the grains that are kept ready end first, when their memory is wanted.
//!
//! Keeping a grain ready is worth what it saves whoever opens it next, as likely as that is, for each byte it takes. How
//! likely is told by how often and how lately it was used: every use counts one, and half as much with each
//! [`HALF_LIFE`] that has passed, so that one number holds both.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::time::Timestamp;

/// What was used so long ago counts half.
pub const HALF_LIFE: Duration = Duration::from_secs(4 * 60 * 60);
/// Memory of a grain that has not been asked yet, in bytes.
pub const MEMORY: u64 = 64 << 20;
/// Processor time that starting one takes of which that is not known.
pub const START: Duration = Duration::from_millis(500);
/// Memory of the process beside each app, in bytes.
const HOST: u64 = 2 << 20;

/// How much something has been used of late.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Use {
    weight: f64,
    at: Timestamp,
}

impl Use {
    /// Something that was used once.
    #[must_use]
    pub fn once(at: Timestamp) -> Self {
        Self { weight: 1.0, at }
    }

    /// The same, used once more.
    #[must_use]
    pub fn again(self, now: Timestamp) -> Self {
        Self {
            weight: self.weight(now) + 1.0,
            at: now.max(self.at),
        }
    }

    /// How much that counts now; 1 is one use at this moment.
    #[must_use]
    pub fn weight(self, now: Timestamp) -> f64 {
        let passed = Duration::from_millis(now.0.saturating_sub(self.at.0));
        self.weight * (-passed.as_secs_f64() / HALF_LIFE.as_secs_f64()).exp2()
    }
}

/// A grain that runs with nobody in it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ready {
    /// How much it has been used of late.
    pub used: f64,
    /// The processor time that starting it again would take.
    pub start: Duration,
    /// Bytes of memory that come free with its app.
    pub memory: u64,
}

impl Ready {
    /// Bytes that come free when it ends.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.memory.saturating_add(HOST)
    }

    #[allow(clippy::cast_precision_loss, reason = "a figure to compare by")]
    fn value(&self) -> f64 {
        self.used * self.start.as_secs_f64() / self.bytes() as f64
    }
}

/// Which of `ready` end so that `wanted` bytes come free, by their places there, the least valuable first. All, where
/// they do not suffice; none when nothing is wanted.
#[must_use]
pub fn first_out(ready: &[Ready], wanted: u64) -> Vec<usize> {
    let mut places: Vec<usize> = (0..ready.len()).collect();
    places.sort_by(|one, other| {
        let (one, other) = (ready[*one].value(), ready[*other].value());
        one.partial_cmp(&other).unwrap_or(Ordering::Equal)
    });
    let mut freed = 0_u64;
    let needed = places.iter().take_while(|place| {
        let more = freed < wanted;
        freed = freed.saturating_add(ready[**place].bytes());
        more
    });
    let needed = needed.count();
    places.truncate(needed);
    places
}

/// How much memory grains may take that run with nobody in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Budget {
    /// So many hundredths of the machine's memory.
    Share(u8),
    /// So many bytes.
    Bytes(u64),
}

impl Budget {
    /// The same in bytes, on a machine with `total` of memory.
    #[must_use]
    pub fn bytes(self, total: u64) -> u64 {
        match self {
            Self::Share(hundredths) => total / 100 * u64::from(hundredths),
            Self::Bytes(bytes) => bytes,
        }
    }
}

impl fmt::Display for Budget {
    /// What [`Budget::from_str`] reads.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Share(hundredths) => write!(formatter, "{hundredths}%"),
            Self::Bytes(bytes) => write!(formatter, "{bytes}"),
        }
    }
}

/// Why a text is no [`Budget`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotABudget;

impl fmt::Display for NotABudget {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("expected a share of the memory such as 25%, or a size such as 512M or 4G")
    }
}

impl std::error::Error for NotABudget {}

impl FromStr for Budget {
    type Err = NotABudget;

    /// Reads a share (`0%` to `100%`) or a size: digits, and `K`, `M`, `G` or `T` for powers of 1024.
    fn from_str(text: &str) -> Result<Self, NotABudget> {
        let number = |digits: &str| {
            let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            is_number
                .then(|| digits.parse::<u64>().ok())
                .flatten()
                .ok_or(NotABudget)
        };
        if let Some(share) = text.strip_suffix('%') {
            let share = u8::try_from(number(share)?).map_err(|_| NotABudget)?;
            return if share <= 100 {
                Ok(Self::Share(share))
            } else {
                Err(NotABudget)
            };
        }
        let units = [('K', 10), ('M', 20), ('G', 30), ('T', 40)];
        let unit = units
            .into_iter()
            .find(|(letter, _)| text.ends_with([*letter, letter.to_ascii_lowercase()]));
        let (digits, bits) = unit.map_or((text, 0), |(_, bits)| (&text[..text.len() - 1], bits));
        number(digits)?
            .checked_mul(1 << bits)
            .map(Self::Bytes)
            .ok_or(NotABudget)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000;

    fn ready(used: f64, milliseconds: u64, mebibytes: u64) -> Ready {
        Ready {
            used,
            start: Duration::from_millis(milliseconds),
            memory: mebibytes << 20,
        }
    }

    #[test]
    fn often_and_lately_both_count() {
        let now = Timestamp(100 * HOUR);
        let ago = |hours: u64| Use::once(Timestamp(now.0 - hours * HOUR)).weight(now);
        assert_eq!((ago(0), ago(4), ago(8)), (1.0, 0.5, 0.25));
        let thrice = Use::once(Timestamp(90 * HOUR))
            .again(Timestamp(91 * HOUR))
            .again(Timestamp(92 * HOUR));
        assert!(thrice.weight(now) > ago(8), "often beats once at the same time");
        assert!(thrice.weight(now) < ago(1), "lately beats often long ago");
        let set_back = Use::once(now).again(Timestamp(now.0 - HOUR));
        assert_eq!(
            set_back.weight(now),
            2.0,
            "a clock that was set back loses nothing"
        );
    }

    #[test]
    fn the_least_valuable_end_first_and_no_more_than_needed() {
        let slow = ready(0.5, 900, 98);
        let cases: [(&[Ready], u64, &[usize], &str); 8] = [
            (&[slow, slow], 0, &[], "nothing is wanted"),
            (&[], 1, &[], "there is nothing"),
            (&[slow, ready(0.2, 900, 98)], 1, &[1], "the longer unused"),
            (&[slow, ready(0.5, 10, 98)], 1, &[1], "the quicker to start again"),
            (&[slow, ready(0.5, 900, 498)], 1, &[1], "the larger"),
            (
                &[ready(0.1, 900, 98), ready(1.0, 10, 1)],
                1,
                &[0],
                "a small quick one that is used much stays",
            ),
            (
                &[slow, ready(0.1, 900, 98), ready(0.2, 900, 98)],
                101 << 20,
                &[1, 2],
                "as many as it takes",
            ),
            (&[slow, slow], u64::MAX, &[0, 1], "all, where that is not enough"),
        ];
        for (ready, wanted, expected, why) in cases {
            assert_eq!(first_out(ready, wanted), expected, "{why}");
        }
    }

    #[test]
    fn a_budget_is_a_share_or_a_size() {
        let read = str::parse::<Budget>;
        assert_eq!(read("25%"), Ok(Budget::Share(25)));
        assert_eq!(read("512m"), Ok(Budget::Bytes(512 << 20)));
        assert_eq!(read("4G"), Ok(Budget::Bytes(4 << 30)));
        assert_eq!(read("0"), Ok(Budget::Bytes(0)));
        for budget in [Budget::Share(25), Budget::Bytes(512 << 20)] {
            assert_eq!(read(&budget.to_string()), Ok(budget));
        }
        for wrong in [
            "",
            "%",
            "G",
            "101%",
            "300%",
            "-1",
            "+1",
            "1.5G",
            "4 G",
            "4GB",
            "999999999T",
            "١G",
        ] {
            assert_eq!(read(wrong), Err(NotABudget), "{wrong}");
        }
        assert_eq!(Budget::Share(25).bytes(1000), 250);
    }
}
