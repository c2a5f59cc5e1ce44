//! Cookies: ours, which nobody else reads or sets, and reading those a browser sends.

use hyper::HeaderMap;
use hyper::header::{COOKIE, HeaderValue};
use percloud_core::secret::Secret;

use crate::BaseUrl;

/// A cookie of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ours {
    /// Signed in at the shell.
    Shell,
    /// The session of one session host.
    Page,
}

impl Ours {
    /// The name on the wire. With `__Host-` no other host can set or shadow the cookie (RFC 6265bis section 4.1.3.2).
    pub(crate) fn name(self, base: &BaseUrl) -> &'static str {
        match (self, base.takes_secure_cookies()) {
            (Self::Shell, true) => "__Host-percloud",
            (Self::Shell, false) => "percloud",
            (Self::Page, true) => "__Host-percloud-session",
            (Self::Page, false) => "percloud-session",
        }
    }

    /// The secret a browser presents; `None` unless it presents exactly one.
    pub(crate) fn read(self, base: &BaseUrl, headers: &HeaderMap) -> Option<Secret> {
        let name = self.name(base);
        let mut found = pairs(headers).filter(|(key, _)| *key == name);
        let (_, value) = found.next()?;
        if found.next().is_some() {
            return None;
        }
        Secret::from_hex(value)
    }

    /// The header that gives the secret to a browser.
    pub(crate) fn give(self, base: &BaseUrl, secret: &Secret) -> HeaderValue {
        self.header(base, &secret.expose_hex(), "")
    }

    /// The header that makes a browser forget it.
    pub(crate) fn take_back(self, base: &BaseUrl) -> HeaderValue {
        self.header(base, "", "; Max-Age=0")
    }

    /// `SameSite=Strict`: the shell and its sessions are one site, and nobody else has business here (ADR 0007).
    fn header(self, base: &BaseUrl, value: &str, rest: &str) -> HeaderValue {
        let secure = if base.takes_secure_cookies() {
            "; Secure"
        } else {
            ""
        };
        let text = format!(
            "{}={value}; Path=/; HttpOnly; SameSite=Strict{secure}{rest}",
            self.name(base)
        );
        let mut header =
            HeaderValue::try_from(text).expect("names, attributes and hexadecimal digits are visible ASCII");
        header.set_sensitive(true);
        header
    }
}

/// Whether an app must neither see nor set a cookie of this name. Prefixes are matched without regard to case, as
/// browsers do.
pub(crate) fn is_reserved(name: &str) -> bool {
    [
        "__Host-percloud",
        "percloud",
        "__Host-percloud-session",
        "percloud-session",
    ]
    .iter()
    .any(|ours| name.eq_ignore_ascii_case(ours))
}

/// What the cookies of a request say to a session host.
pub(crate) struct Cookies {
    /// Ours.
    pub page: Option<Secret>,
    /// Names and values of those that an app may see.
    pub others: Box<[(Box<str>, Box<str>)]>,
}

impl Cookies {
    pub(crate) fn read(base: &BaseUrl, headers: &HeaderMap) -> Self {
        Self {
            page: Ours::Page.read(base, headers),
            others: pairs(headers)
                .filter(|(name, _)| !is_reserved(name))
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        }
    }
}

/// Every cookie of a request, in order; what is not text or has no `=` is left out.
fn pairs(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    headers
        .get_all(COOKIE)
        .into_iter()
        .filter_map(|value| std::str::from_utf8(value.as_bytes()).ok())
        .flat_map(|text| text.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(name, _)| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        values
            .iter()
            .map(|value| (COOKIE, HeaderValue::from_str(value).unwrap()))
            .collect()
    }

    #[test]
    fn a_secret_goes_out_and_comes_back() {
        let base = BaseUrl::new("http", "percloud.localhost:6080").unwrap();
        let secret = Secret::new(|bytes| bytes.fill(7));
        let given = Ours::Page.give(&base, &secret);
        let given = given.to_str().unwrap();
        assert_eq!(
            given.split_once("; ").unwrap().1,
            "Path=/; HttpOnly; SameSite=Strict; Secure"
        );
        let sent = headers(&["a=b", &format!("x=y; {}; z", given.split(';').next().unwrap())]);
        assert!(
            Ours::Page
                .read(&base, &sent)
                .is_some_and(|back| back.hash() == secret.hash())
        );
        assert!(Ours::Shell.read(&base, &sent).is_none());
        assert_eq!(
            pairs(&sent)
                .filter(|(name, _)| !is_reserved(name))
                .collect::<Vec<_>>(),
            [("a", "b"), ("x", "y")]
        );
    }

    #[test]
    fn two_of_one_name_are_none() {
        let base = BaseUrl::new("http", "percloud.localhost:6080").unwrap();
        let one = format!("__Host-percloud={}", "0".repeat(64));
        assert!(Ours::Shell.read(&base, &headers(&[&one])).is_some());
        assert!(Ours::Shell.read(&base, &headers(&[&one, &one])).is_none());
        assert!(
            Ours::Shell
                .read(&base, &headers(&["__Host-percloud=00"]))
                .is_none()
        );
    }

    #[test]
    fn without_tls_on_a_real_name_there_is_no_prefix_to_rely_on() {
        let base = BaseUrl::new("http", "cloud.example.org").unwrap();
        let given = Ours::Shell.give(&base, &Secret::new(|bytes| bytes.fill(1)));
        assert!(given.to_str().unwrap().starts_with("percloud="));
        assert!(!given.to_str().unwrap().contains("Secure"));
    }
}
