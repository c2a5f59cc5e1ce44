//! Reads the dates apps write into cookies, with the tolerance of RFC 6265 section 5.1.1.
//!
//! That algorithm looks for a time, a day, a month and a year in any order and so covers the forms in use:
//! RFC 1123, RFC 850 with two or four digit years, its variant with short day names, and `asctime`.

/// Returns seconds since 1970, or none if `text` is no date.
pub(crate) fn parse(text: &[u8]) -> Option<i64> {
    let (mut time, mut day, mut month, mut year) = (None, None, None, None);
    for token in text
        .split(|byte| is_delimiter(*byte))
        .filter(|token| !token.is_empty())
    {
        if time.is_none()
            && let Some(found) = time_of(token)
        {
            time = Some(found);
        } else if day.is_none()
            && let Some(found) = leading_digits(token, 1, 2)
        {
            day = Some(found);
        } else if month.is_none()
            && let Some(found) = month_of(token)
        {
            month = Some(found);
        } else if year.is_none()
            && let Some(found) = leading_digits(token, 2, 4)
        {
            year = Some(found);
        }
    }
    let ((hour, minute, second), day, month, year) = (time?, day?, month?, year?);
    let year = match year {
        70..=99 => year + 1900,
        0..=69 => year + 2000,
        _ => year,
    };
    if !(1..=31).contains(&day) || year < 1601 || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    Some(((days_since_1970(year, month, day) * 24 + hour) * 60 + minute) * 60 + second)
}

fn is_delimiter(byte: u8) -> bool {
    matches!(byte, 0x09 | 0x20..=0x2f | 0x3b..=0x40 | 0x5b..=0x60 | 0x7b..=0x7e)
}

/// Reads the digits `token` begins with, if there are `min` to `max` of them.
fn leading_digits(token: &[u8], min: usize, max: usize) -> Option<i64> {
    let count = token.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if !(min..=max).contains(&count) {
        return None;
    }
    Some(
        token
            .iter()
            .take(count)
            .fold(0, |number, digit| number * 10 + i64::from(digit - b'0')),
    )
}

fn time_of(token: &[u8]) -> Option<(i64, i64, i64)> {
    let mut parts = token.splitn(3, |byte| *byte == b':');
    let mut next = |last: bool| {
        let part = parts.next()?;
        (last || part.iter().all(u8::is_ascii_digit)).then(|| leading_digits(part, 1, 2))?
    };
    Some((next(false)?, next(false)?, next(true)?))
}

fn month_of(token: &[u8]) -> Option<i64> {
    const NAMES: &[u8; 36] = b"janfebmaraprmayjunjulaugsepoctnovdec";
    let start = token.get(..3)?;
    (1..)
        .zip(NAMES.chunks(3))
        .find(|(_, name)| start.eq_ignore_ascii_case(name))
        .map(|(month, _)| month)
}

/// Counts days from 1970-01-01 in the proleptic Gregorian calendar; `day` may exceed the month's length.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    // Years that begin in March, so that the leap day is the last one.
    let year = if month <= 2 { year - 1 } else { year };
    let month = (month + 9) % 12;
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    days - 719_468
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_form_in_use_is_read() {
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun, 06-Nov-94 08:49:37 GMT",
            "Sun, 06-Nov-1994 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "06 nov 1994 8:49:37",
        ] {
            assert_eq!(parse(text.as_bytes()), Some(784_111_777), "{text}");
        }
        assert_eq!(parse(b"Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        assert_eq!(parse(b"Thu, 01-Jan-70 00:00:01 GMT"), Some(1));
        assert_eq!(parse(b"Fri, 31 Dec 9999 23:59:59 GMT"), Some(253_402_300_799));
        assert_eq!(parse(b"Thu, 29 Feb 2024 00:00:00 GMT"), Some(1_709_164_800));
        assert_eq!(parse(b"Tue, 01 Mar 2044 00:00:00 GMT"), Some(2_340_403_200));
    }

    #[test]
    fn what_is_no_date_is_none() {
        for text in [
            "",
            "soon",
            "06 Nov 1994",
            "Nov 1994 08:49:37",
            "32 Nov 1994 08:49:37",
            "06 Nov 1994 24:00:00",
            "06 Nov 1994 08:60:00",
            "06 Nov 1500 08:49:37",
            "06 Nov 12345 08:49:37",
            "06 Nov 1994 008:49:37",
            ":::",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = parse(&bytes);
        }
    }
}
