//! Between Unix seconds and the dates of DOS, which know neither zones nor odd seconds. Taken as UTC.

/// The DOS time and date of `seconds`, at the nearest one it can say: 1980 to 2107.
pub(super) fn to_dos(seconds: i64) -> (u16, u16) {
    let seconds = seconds.clamp(315_532_800, 4_354_819_198);
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let time = (rest / 3600) << 11 | (rest / 60 % 60) << 5 | (rest % 60 / 2);
    let date = (year - 1980) << 9 | month << 5 | day;
    (time as u16, date as u16)
}

/// Unix seconds of a DOS time and date; `None` for a date that does not exist.
pub(super) fn from_dos(time: u16, date: u16) -> Option<i64> {
    let (time, date) = (i64::from(time), i64::from(date));
    let (hour, minute, second) = (time >> 11, time >> 5 & 63, (time & 31) * 2);
    let (year, month, day) = ((date >> 9) + 1980, date >> 5 & 15, date & 31);
    let exists =
        (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second < 60;
    exists.then(|| days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second)
}

/// Days since 1970 of a date of the proleptic Gregorian calendar, counted in years that begin in March, so that the
/// leap day is the last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The other way round.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = (shifted + 2) % 12 + 1;
    (year + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_survive_dos() {
        // 2024-02-29 12:34:56, a leap day.
        assert_eq!(
            to_dos(1_709_210_096),
            (12 << 11 | 34 << 5 | 28, 44 << 9 | 2 << 5 | 29)
        );
        for seconds in (315_532_800..4_354_819_198).step_by(7_777_778) {
            let (time, date) = to_dos(seconds);
            assert_eq!(from_dos(time, date), Some(seconds - seconds % 2), "{seconds}");
        }
        assert_eq!(to_dos(-5), to_dos(315_532_800));
        assert_eq!(from_dos(0, 0), None);
        assert_eq!(from_dos(0xffff, 0xffff), None);
    }
}
