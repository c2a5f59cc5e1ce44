//! Reads `Set-Cookie` (RFC 6265 section 5.2), as far as a session carries it.

use super::date;
use crate::error::RequestError;

/// When the browser forgets the cookie.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub(crate) enum Expires {
    /// With the session.
    None,
    /// At this many seconds since 1970.
    Absolute(i64),
    /// After this many seconds.
    Relative(u64),
}

/// One cookie. `Domain`, `Secure` and `SameSite` are for the platform to decide and are left out.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Cookie<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) value: &'a [u8],
    pub(crate) expires: Expires,
    pub(crate) http_only: bool,
    pub(crate) path: &'a [u8],
}

impl<'a> Cookie<'a> {
    /// Reads one header value. `Max-Age` wins over `Expires`; attributes that make no sense are ignored.
    pub(crate) fn parse(text: &'a [u8]) -> Result<Self, RequestError> {
        let mut parts = text.split(|byte| *byte == b';');
        let (name, value) = parts.next().and_then(split_pair).ok_or(RequestError::Cookie)?;
        let mut cookie = Self {
            name,
            value,
            expires: Expires::None,
            http_only: false,
            path: b"",
        };
        for part in parts {
            let (name, value) = split_pair(part).unwrap_or((part.trim_ascii(), b""));
            if name.eq_ignore_ascii_case(b"expires") {
                if let (Some(date), Expires::None | Expires::Absolute(_)) =
                    (date::parse(value), cookie.expires)
                {
                    cookie.expires = Expires::Absolute(date);
                }
            } else if name.eq_ignore_ascii_case(b"max-age") {
                if let Some(seconds) = seconds(value) {
                    cookie.expires = Expires::Relative(seconds);
                }
            } else if name.eq_ignore_ascii_case(b"path") {
                cookie.path = value;
            } else if name.eq_ignore_ascii_case(b"httponly") {
                cookie.http_only = true;
            }
        }
        Ok(cookie)
    }
}

fn split_pair(part: &[u8]) -> Option<(&[u8], &[u8])> {
    let equals = part.iter().position(|byte| *byte == b'=')?;
    let (name, value) = part.split_at(equals);
    Some((name.trim_ascii(), value.get(1..)?.trim_ascii()))
}

/// Reads a number of seconds; a negative one means "already over", one that is too large "never".
fn seconds(value: &[u8]) -> Option<u64> {
    let (negative, digits) = match value.strip_prefix(b"-") {
        Some(digits) => (true, digits),
        None => (false, value),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    if negative {
        return Some(0);
    }
    let number = digits.iter().fold(0_u64, |number, digit| {
        number.saturating_mul(10).saturating_add(u64::from(digit - b'0'))
    });
    // Stays a signed 64-bit number for platforms that count that way.
    Some(number.min(u64::MAX >> 1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Cookie<'_> {
        Cookie::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn attributes_are_read_and_those_of_the_platform_dropped() {
        assert_eq!(
            parse(
                "sid = a=b c ; Path=/x; HttpOnly; Secure; SameSite=Lax; Domain=e.com; \
                 Expires=Sun, 06 Nov 1994 08:49:37 GMT"
            ),
            Cookie {
                name: b"sid",
                value: b"a=b c",
                expires: Expires::Absolute(784_111_777),
                http_only: true,
                path: b"/x",
            }
        );
        let bare = parse("a=");
        assert_eq!(
            (bare.value, bare.expires, bare.http_only, bare.path),
            (&b""[..], Expires::None, false, &b""[..])
        );
    }

    #[test]
    fn max_age_wins_in_either_order() {
        let date = "Expires=Sun, 06 Nov 1994 08:49:37 GMT";
        assert_eq!(
            parse(&format!("a=b; Max-Age=60; {date}")).expires,
            Expires::Relative(60)
        );
        assert_eq!(
            parse(&format!("a=b; {date}; max-age=60")).expires,
            Expires::Relative(60)
        );
        assert_eq!(
            parse(&format!("a=b; {date}; max-age=x")).expires,
            Expires::Absolute(784_111_777)
        );
        assert_eq!(parse("a=b; max-age=-1").expires, Expires::Relative(0));
        assert_eq!(
            parse("a=b; max-age=99999999999999999999999").expires,
            Expires::Relative(u64::MAX >> 1)
        );
        assert_eq!(parse("a=b; expires=whenever").expires, Expires::None);
    }

    #[test]
    fn a_cookie_without_an_equals_sign_is_refused() {
        for text in ["", "a", "a; b=c", ";"] {
            assert!(Cookie::parse(text.as_bytes()).is_err(), "{text:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = Cookie::parse(&bytes);
        }
    }
}
