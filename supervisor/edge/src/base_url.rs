//! Decides which host a request means: the shell, one session of one grain, programs, a published site, or none of
//! ours.

use std::str::FromStr;

use percloud_core::host::SessionHost;

use crate::api::host::ApiHost;
use crate::site::PublicId;

/// Where people reach this server: scheme, name and port of the shell host.
///
/// Session hosts are one label below the shell host, on the same scheme and port, so that a browser counts both as
/// one site (ADR 0007).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl {
    secure: bool,
    name: String,
    port: u16,
    authority: String,
}

/// Says why text cannot be the address of the shell.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BaseUrlError {
    /// Only `http` and `https` are spoken.
    #[error("the scheme of the shell is {0:?}: http or https is expected")]
    Scheme(String),
    /// Not a name of at least two labels with an optional port.
    #[error("the host of the shell is {0:?}: a name such as percloud.localhost:6080 is expected")]
    Host(String),
}

/// What a `Host` header means.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The shell and its API.
    Shell,
    /// A plain loopback name of a development server; browsers are sent on to the shell.
    Alias,
    /// One session of one grain.
    Session(SessionHost),
    /// Programs with their tokens.
    Api(ApiHost),
    /// What a grain publishes to everybody.
    Site(PublicId),
    /// Some other name.
    Elsewhere,
    /// Not a name at all.
    Malformed,
}

impl BaseUrl {
    /// Reads an address such as `http`, `percloud.localhost:6080`.
    ///
    /// # Errors
    ///
    /// When the scheme is neither `http` nor `https`, or the host is not a name of two labels or more: an address in
    /// figures or a single label has no room for session hosts of the same site.
    pub fn new(scheme: &str, host: &str) -> Result<Self, BaseUrlError> {
        let secure = match scheme {
            "http" => false,
            "https" => true,
            _ => return Err(BaseUrlError::Scheme(scheme.to_owned())),
        };
        let wrong = || BaseUrlError::Host(host.to_owned());
        let default = if secure { 443 } else { 80 };
        let (name, port) = split_port(host, default).ok_or_else(wrong)?;
        let name = name.to_ascii_lowercase();
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        let figures = name
            .rsplit('.')
            .next()
            .is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
        // 37 bytes are left for `api-`, 32 digits and a dot.
        if !name.contains('.') || !name.split('.').all(label) || figures || name.len() > 253 - 37 {
            return Err(wrong());
        }
        let authority = if port == default {
            name.clone()
        } else {
            format!("{name}:{port}")
        };
        Ok(Self {
            secure,
            name,
            port,
            authority,
        })
    }

    /// `http` or `https`.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        if self.secure { "https" } else { "http" }
    }

    /// Name and, unless it is the scheme's own, port of the shell host.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The shell's origin, as browsers write it.
    #[must_use]
    pub fn origin(&self) -> String {
        format!("{}://{}", self.scheme(), self.authority)
    }

    /// The origin of a session.
    #[must_use]
    pub fn session_origin(&self, host: &SessionHost) -> String {
        format!("{}://{host}.{}", self.scheme(), self.authority)
    }

    /// The origin of a host for programs.
    pub(crate) fn api_origin(&self, host: &ApiHost) -> String {
        format!("{}://{host}.{}", self.scheme(), self.authority)
    }

    /// Whether browsers take cookies marked `Secure` from here: over TLS, and from names that never leave the machine.
    #[must_use]
    pub fn takes_secure_cookies(&self) -> bool {
        self.secure || self.is_loopback()
    }

    /// Whether the shell host is below `localhost` (RFC 6761 section 6.3).
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.name.ends_with(".localhost")
    }

    /// Reads a `Host` header or the authority of an absolute-form target.
    pub(crate) fn place(&self, host: &str) -> Place {
        let Some((name, port)) = split_port(host, if self.secure { 443 } else { 80 }) else {
            return Place::Malformed;
        };
        if port != self.port {
            return Place::Elsewhere;
        }
        if name.eq_ignore_ascii_case(&self.name) {
            return Place::Shell;
        }
        if self.is_loopback()
            && ["localhost", "127.0.0.1", "[::1]"]
                .iter()
                .any(|alias| name.eq_ignore_ascii_case(alias))
        {
            return Place::Alias;
        }
        let below = name
            .split_once('.')
            .filter(|(_, rest)| rest.eq_ignore_ascii_case(&self.name));
        let Some(label) = below.map(|(label, _)| label.to_ascii_lowercase()) else {
            return Place::Elsewhere;
        };
        label
            .parse()
            .map(Place::Session)
            .or_else(|_| label.parse().map(Place::Api))
            .or_else(|_| label.parse().map(Place::Site))
            .unwrap_or(Place::Elsewhere)
    }
}

impl FromStr for BaseUrl {
    type Err = BaseUrlError;

    /// Reads an address such as `http://percloud.localhost:6080`, with or without a slash at the end.
    fn from_str(url: &str) -> Result<Self, BaseUrlError> {
        let (scheme, host) = url
            .split_once("://")
            .ok_or_else(|| BaseUrlError::Scheme(url.to_owned()))?;
        Self::new(scheme, host.strip_suffix('/').unwrap_or(host))
    }
}

/// Splits `name[:port]`; `None` unless both look like what they are (RFC 3986 section 3.2.2).
fn split_port(host: &str, default: u16) -> Option<(&str, u16)> {
    let (name, port) = match host.rfind(':') {
        // A colon inside brackets belongs to an IPv6 address.
        Some(colon) if !host.ends_with(']') => (&host[..colon], Some(&host[colon + 1..])),
        _ => (host, None),
    };
    let bracketed = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let valid = match bracketed {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !name.is_empty() && name.len() <= 253 && name.bytes().all(plain),
    };
    let port = match port {
        None => default,
        Some(digits) if digits.len() <= 5 && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            digits.parse().ok()?
        }
        Some(_) => return None,
    };
    valid.then_some((name, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGITS: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn each_host_has_one_meaning() {
        let base = BaseUrl::new("http", "Percloud.localhost:6080").unwrap();
        let session = format!("ui-{DIGITS}");
        let cases = [
            ("percloud.localhost:6080", Place::Shell),
            ("PERCLOUD.localhost:6080", Place::Shell),
            ("localhost:6080", Place::Alias),
            ("127.0.0.1:6080", Place::Alias),
            ("[::1]:6080", Place::Alias),
            ("percloud.localhost", Place::Elsewhere),
            ("percloud.localhost:6081", Place::Elsewhere),
            ("percloud.localhost.:6080", Place::Elsewhere),
            ("evil.example", Place::Elsewhere),
            ("percloud.localhost.evil.example:6080", Place::Elsewhere),
            ("API.percloud.localhost:6080", Place::Api("api".parse().unwrap())),
            ("x.api.percloud.localhost:6080", Place::Elsewhere),
            ("api-12.percloud.localhost:6080", Place::Elsewhere),
            (
                "abcdefghij0123456789.percloud.localhost:6080",
                Place::Site("abcdefghij0123456789".parse().unwrap()),
            ),
            ("abcdefghij012345678.percloud.localhost:6080", Place::Elsewhere),
            ("abcdefghij01234567-9.percloud.localhost:6080", Place::Elsewhere),
            ("ui-12.percloud.localhost:6080", Place::Elsewhere),
            ("", Place::Malformed),
            (":6080", Place::Malformed),
            ("a b:6080", Place::Malformed),
            ("user@percloud.localhost:6080", Place::Malformed),
            ("percloud.localhost:6080/", Place::Malformed),
            ("percloud.localhost:", Place::Malformed),
            ("percloud.localhost:99999", Place::Malformed),
            ("percloud.localhost:+6080", Place::Malformed),
            ("[::1", Place::Malformed),
            ("[nonsense]:6080", Place::Malformed),
        ];
        for (host, expected) in cases {
            assert_eq!(base.place(host), expected, "{host:?}");
        }
        let parsed: SessionHost = session.parse().unwrap();
        assert_eq!(
            base.place(&format!("{session}.percloud.localhost:6080")),
            Place::Session(parsed.clone())
        );
        assert_eq!(
            base.place(&format!("{}.percloud.localhost:6080", session.to_uppercase())),
            Place::Session(parsed)
        );
        let api = format!("api-{DIGITS}");
        assert_eq!(
            base.place(&format!("{api}.percloud.localhost:6080")),
            Place::Api(api.parse().unwrap())
        );
        assert_eq!(
            base.place(&format!("x.{session}.percloud.localhost:6080")),
            Place::Elsewhere
        );
    }

    #[test]
    fn the_port_of_the_scheme_may_be_left_out() {
        let base = BaseUrl::new("https", "cloud.example.org").unwrap();
        assert_eq!(base.origin(), "https://cloud.example.org");
        assert_eq!(base.place("cloud.example.org"), Place::Shell);
        assert_eq!(base.place("cloud.example.org:443"), Place::Shell);
        assert_eq!(base.place("localhost"), Place::Elsewhere);
        assert!(base.takes_secure_cookies());
        assert!(
            !BaseUrl::new("http", "cloud.example.org")
                .unwrap()
                .takes_secure_cookies()
        );
    }

    #[test]
    fn addresses_without_room_for_sessions_are_refused() {
        for host in [
            "localhost",
            "127.0.0.1:80",
            "[::1]:80",
            "",
            "a..b",
            "-a.b",
            "a.b/c",
            "a.b:x",
            &format!("{}b", "a.".repeat(120)),
        ] {
            assert!(BaseUrl::new("http", host).is_err(), "{host:?}");
        }
        for url in ["ftp://a.b", "a.b", "http:a.b", "http://a.b/c", "http://"] {
            assert!(url.parse::<BaseUrl>().is_err(), "{url:?}");
        }
        assert_eq!(
            "https://a.b:444/".parse::<BaseUrl>().unwrap().origin(),
            "https://a.b:444"
        );
    }
}
