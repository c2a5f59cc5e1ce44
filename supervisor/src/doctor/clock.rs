//! The clock, and whether the kernel has randomness to give.

use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use percloud_sandbox::probe::{self, Clock};

use super::check::{Check, Group, Subject};

const DATE: Subject = Subject::new(Group::Machine, "clock-date", "Date");
const SYNC: Subject = Subject::new(Group::Machine, "clock-sync", "Clock kept right");
const RANDOM: Subject = Subject::new(Group::Machine, "random", "Randomness");

/// Before this no Percloud was built, in seconds since 1970: 1 November 2026.
const FIRST: u64 = 1_793_491_200;
/// Seconds by which a file may be newer than the clock says: it came from another machine.
const SLACK: u64 = 24 * 3600;

pub fn checks() -> Vec<Check> {
    vec![
        date(now(), built()),
        sync(probe::clock()),
        random(probe::random_is_ready()),
    ]
}

#[expect(clippy::disallowed_methods, reason = "the clock itself is looked at")]
fn now() -> u64 {
    seconds(SystemTime::now())
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
        .as_secs()
}

/// When this program was built, as far as its file tells: installers may set that back, and never forward.
fn built() -> u64 {
    let file = std::fs::metadata("/proc/self/exe").and_then(|about| about.modified());
    file.map_or(FIRST, |time| seconds(time).max(FIRST))
}

fn date(now: u64, built: u64) -> Check {
    let found = format!("{} (UTC)", day(now));
    if now.saturating_add(SLACK) < built {
        DATE.gap(
            format!("{found}, before this Percloud was built"),
            "invitations, sessions and shares end too late or too early; what is saved gets wrong dates",
            "set the clock, and have it kept (systemd-timesyncd, chrony)",
        )
    } else {
        DATE.good(found)
    }
}

/// A day as `year-month-day`, by the rule of civil calendars: years begin in March, so that leap days come last.
fn day(seconds: u64) -> String {
    let days = seconds / 86_400 + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

fn sync(clock: io::Result<Clock>) -> Check {
    match clock {
        Ok(Clock { adjusted: true, error }) => {
            SYNC.good(format!("adjusted to others, to within {} ms", error.max(0) / 1000))
        }
        Ok(Clock { adjusted: false, .. }) => SYNC.gap(
            "nothing adjusts it to other clocks, as far as the kernel knows",
            "it wanders, by seconds a day; what ends at a time ends at another",
            "run systemd-timesyncd, chrony or another NTP client; a virtual machine may be kept by its host, unseen",
        ),
        Err(error) => SYNC.unknown(error),
    }
}

fn random(ready: io::Result<bool>) -> Check {
    match ready {
        Ok(true) => RANDOM.good("the kernel gives it without waiting"),
        Ok(false) => RANDOM.gap(
            "the kernel is still gathering it",
            "the server waits at its start until there is enough",
            "wait; give a virtual machine a virtio-rng device",
        ),
        Err(error) => RANDOM.missing(
            format!("the kernel gives none: {error}"),
            "the server does not start: keys could be guessed",
            "run Linux 3.17 or later; inside a container, let its seccomp profile pass getrandom",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::Status::*;
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01"),
            (951_782_400, "2000-02-29"),
            (951_868_800, "2000-03-01"),
            (FIRST, "2026-11-01"),
            (4_102_444_799, "2099-12-31"),
            (4_107_542_400, "2100-03-01"),
        ] {
            assert_eq!(day(seconds), text);
        }
        assert!(day(u64::MAX).len() > 10, "no overflow");
    }

    #[test]
    fn a_clock_before_the_build_is_wrong() {
        assert_eq!(date(0, FIRST).status, Gap);
        assert_eq!(date(FIRST - 2 * SLACK, FIRST).status, Gap);
        assert_eq!(date(FIRST - SLACK / 2, FIRST).status, Good);
        assert_eq!(date(u64::MAX, FIRST).status, Good);
    }

    #[test]
    fn an_unkept_clock_and_late_randomness_are_gaps() {
        assert_eq!(
            sync(Ok(Clock {
                adjusted: true,
                error: -5
            }))
            .status,
            Good
        );
        assert_eq!(
            sync(Ok(Clock {
                adjusted: false,
                error: 16_000_000
            }))
            .status,
            Gap
        );
        assert_eq!(random(Ok(false)).status, Gap);
        assert_eq!(random(Err(io::ErrorKind::Unsupported.into())).status, Missing);
    }
}
