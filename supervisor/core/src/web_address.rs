//! Addresses of websites a grain may be let to, and what lies below them.

use std::fmt;

use percent_encoding::percent_decode;
use serde::{Deserialize, Serialize};
use url::{Host, Url};

/// Longest address, in bytes. It is kept in one record with a credential and conditions.
pub const LENGTH_LIMIT: usize = 1024;
/// Longest path below an address, with its query, in bytes.
pub const PATH_LIMIT: usize = 16 << 10;

/// How often a path may be percent-encoded over itself.
const ENCODINGS: usize = 8;

/// Why an address cannot be used. The sentences are for the person who typed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressProblem {
    /// No address at all.
    #[error("this is not the address of a website")]
    Malformed,
    /// Longer than [`LENGTH_LIMIT`].
    #[error("the address is too long")]
    Long,
    /// Neither `https` nor `http`.
    #[error("the address has to begin with https:// or http://")]
    Scheme,
    /// User name or password before the host.
    #[error("the address contains a user name or password; they go into fields of their own")]
    Credentials,
    /// A query or fragment behind the path.
    #[error("the address has to end with its path, without ? or #")]
    Tail,
}

/// Why a path leads nowhere below an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathProblem {
    /// Longer than [`PATH_LIMIT`].
    #[error("the path is too long")]
    Long,
    /// Characters no request may have.
    #[error("the path has characters that must be percent-encoded")]
    Characters,
    /// It leads above the address.
    #[error("the path leads out of what was granted")]
    Outside,
}

/// An `http` or `https` address without credentials, query and fragment, in normal form (RFC 3986 section 6.2): lower case,
/// ASCII host, no dot segments, no default port.
///
/// It stands for everything below it: `https://example.org/a` for itself and what begins with `https://example.org/a/`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WebAddress(Url);

impl WebAddress {
    /// Reads an address.
    ///
    /// # Errors
    /// See [`AddressProblem`].
    pub fn parse(text: &str) -> Result<Self, AddressProblem> {
        if text.len() > LENGTH_LIMIT {
            return Err(AddressProblem::Long);
        }
        let url = Url::parse(text.trim()).map_err(|_| AddressProblem::Malformed)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(AddressProblem::Scheme);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(AddressProblem::Credentials);
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(AddressProblem::Tail);
        }
        match url.host() {
            Some(Host::Domain("")) => Err(AddressProblem::Malformed),
            None => Err(AddressProblem::Malformed),
            // What the host or the path needs to be written in may be longer than what was typed.
            Some(_) if url.as_str().len() > LENGTH_LIMIT => Err(AddressProblem::Long),
            Some(_) => Ok(Self(url)),
        }
    }

    /// The address as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The host, with its port unless that is the usual one.
    #[must_use]
    pub fn authority(&self) -> &str {
        self.0.authority()
    }

    /// Whether what is sent there is encrypted on its way.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// The whole address of a path below this one, as a grain names it: no slash in front, the query included. The empty
    /// path is the address itself.
    ///
    /// # Errors
    /// See [`PathProblem`]. A path is refused when *any* server might take it to lead above the address, so also for dot
    /// segments that are percent-encoded (even several times), behind a backslash, or followed by parameters.
    pub fn below(&self, path: &str) -> Result<String, PathProblem> {
        if path.len() > PATH_LIMIT {
            return Err(PathProblem::Long);
        }
        let is_fit = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'#' | b'\\' | b'"' | b'<' | b'>');
        if !path.bytes().all(is_fit) {
            return Err(PathProblem::Characters);
        }
        let (place, query) = match path.split_once('?') {
            Some((place, query)) => (place, Some(query)),
            None => (path, None),
        };
        let decoded = decoded(place).ok_or(PathProblem::Outside)?;
        let climbs = |segment: &[u8]| {
            let name = segment.split(|byte| *byte == b';').next().unwrap_or_default();
            name == b".." || name == b"."
        };
        if decoded.split(|byte| matches!(byte, b'/' | b'\\')).any(climbs) {
            return Err(PathProblem::Outside);
        }
        let mut whole = self.as_str().to_owned();
        if !place.is_empty() {
            if !whole.ends_with('/') {
                whole.push('/');
            }
            whole.push_str(place);
        }
        if let Some(query) = query {
            whole.push('?');
            whole.push_str(query);
        }
        Ok(whole)
    }

    /// Where a redirect leads that a request for `from` was answered with: a path below this address when it leads there,
    /// else the whole address. `None` for what is no address.
    #[must_use]
    pub fn relative(&self, from: &str, location: &str) -> Option<String> {
        let target = Url::parse(from).ok()?.join(location).ok()?;
        let base = self.as_str();
        let base = base.strip_suffix('/').unwrap_or(base);
        let inside = target
            .as_str()
            .strip_prefix(base)
            .filter(|rest| rest.is_empty() || rest.starts_with(['/', '?', '#']));
        Some(match inside {
            Some(rest) => rest.strip_prefix('/').unwrap_or(rest).to_owned(),
            None => target.into(),
        })
    }
}

/// A path as a chain of servers might read it, each of which decodes it once more. `None` when there is no end to it.
fn decoded(place: &str) -> Option<Vec<u8>> {
    let mut bytes = place.as_bytes().to_vec();
    for _ in 0..ENCODINGS {
        let fewer: Vec<u8> = percent_decode(&bytes).collect();
        if fewer.len() == bytes.len() {
            return Some(bytes);
        }
        bytes = fewer;
    }
    None
}

impl fmt::Display for WebAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl TryFrom<String> for WebAddress {
    type Error = AddressProblem;

    fn try_from(text: String) -> Result<Self, AddressProblem> {
        Self::parse(&text)
    }
}

impl From<WebAddress> for String {
    fn from(address: WebAddress) -> Self {
        address.0.into()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn address(text: &str) -> WebAddress {
        WebAddress::parse(text).unwrap()
    }

    #[test]
    fn addresses_have_one_form() {
        for (typed, form) in [
            ("https://Example.ORG", "https://example.org/"),
            ("https://example.org:443/a/../b", "https://example.org/b"),
            ("http://example.org:8080/a/", "http://example.org:8080/a/"),
            (" https://bücher.example/ ", "https://xn--bcher-kva.example/"),
            ("https://0x7f.1/", "https://127.0.0.1/"),
            ("https://[2001:DB8::1]/x", "https://[2001:db8::1]/x"),
        ] {
            assert_eq!(address(typed).as_str(), form);
        }
    }

    #[test]
    fn what_is_no_website_is_refused() {
        use AddressProblem as P;
        let long = format!("https://example.org/{}", "a".repeat(LENGTH_LIMIT));
        let grown = format!("https://example.org/{}", "ü".repeat(300));
        for (typed, problem) in [
            ("", P::Malformed),
            ("example.org", P::Malformed),
            ("https://", P::Malformed),
            ("file:///etc/passwd", P::Scheme),
            ("javascript:alert(1)", P::Scheme),
            ("ftp://example.org/", P::Scheme),
            ("https://anna@example.org/", P::Credentials),
            ("https://anna:secret@example.org/", P::Credentials),
            ("https://example.org/?a=b", P::Tail),
            ("https://example.org/#a", P::Tail),
            (&long, P::Long),
            (&grown, P::Long),
        ] {
            assert_eq!(WebAddress::parse(typed), Err(problem), "{typed}");
        }
    }

    #[test]
    fn paths_are_put_below() {
        for (base, path, whole) in [
            ("https://h.example/a", "", "https://h.example/a"),
            ("https://h.example/a/", "", "https://h.example/a/"),
            (
                "https://h.example/a",
                "b?c=d/../e",
                "https://h.example/a/b?c=d/../e",
            ),
            ("https://h.example/a/", "b", "https://h.example/a/b"),
            ("https://h.example/a", "?q", "https://h.example/a?q"),
            ("https://h.example/", "/b", "https://h.example//b"),
            ("https://h.example/a//", "b", "https://h.example/a//b"),
            ("https://h.example/a", "100%2525", "https://h.example/a/100%2525"),
            ("https://h.example", "..b/c..", "https://h.example/..b/c.."),
        ] {
            assert_eq!(address(base).below(path).unwrap(), whole);
        }
    }

    #[test]
    fn no_path_leads_out() {
        let base = address("https://h.example/a/b");
        for path in [
            "..",
            "../c",
            "c/..",
            "c/../../d",
            ".",
            "%2e%2e/c",
            "%2E./c",
            "c%2f..%2fd",
            "..%5cc",
            "..;x/c",
            ".;/c",
            "%2e%2e%3b/c",
            "%252e%252e%252fx",
            "c/%25252e./d",
            "%25%32%65%2e",
        ] {
            assert_eq!(base.below(path), Err(PathProblem::Outside), "{path}");
        }
        let endless = format!("%{}41", "25".repeat(ENCODINGS));
        assert_eq!(base.below(&endless), Err(PathProblem::Outside));
        for path in ["a b", "a\nb", "a#b", "ü", "..\\c", "a\0"] {
            assert_eq!(base.below(path), Err(PathProblem::Characters), "{path}");
        }
        assert_eq!(base.below(&"a".repeat(PATH_LIMIT + 1)), Err(PathProblem::Long));
    }

    #[test]
    fn redirects_are_told_from_the_address_on() {
        let base = address("https://h.example/a/");
        let from = "https://h.example/a/b/c";
        for (location, told) in [
            ("d", "b/d"),
            ("/a/x?y#z", "x?y#z"),
            ("/a", ""),
            ("/other", "https://h.example/other"),
            ("/ab", "https://h.example/ab"),
            ("//evil.example/a/b", "https://evil.example/a/b"),
            ("http://h.example/a/b", "http://h.example/a/b"),
        ] {
            assert_eq!(base.relative(from, location).unwrap(), told, "{location}");
        }
        assert_eq!(base.relative(from, "http://"), None);
        let base = address("https://h.example/a//");
        for (location, told) in [("/a//b", "b"), ("/a/b", "https://h.example/a/b")] {
            assert_eq!(base.relative(from, location).unwrap(), told, "{location}");
        }
    }

    /// Where servers that decode all they can, and know parameters, may end up.
    fn reached(path: &str) -> Vec<String> {
        let mut path = path.to_owned();
        loop {
            let fewer =
                String::from_utf8_lossy(&Vec::from_iter(percent_decode(path.as_bytes()))).into_owned();
            if fewer == path {
                break;
            }
            path = fewer;
        }
        let mut place = Vec::new();
        for segment in path.split(['/', '\\']) {
            match segment.split(';').next().unwrap() {
                "" | "." => {}
                ".." => drop(place.pop()),
                name => place.push(name.to_owned()),
            }
        }
        place
    }

    proptest! {
        /// Whatever the path, clients and servers that normalise the result still find it below the address.
        #[test]
        fn below_is_below(
            base in prop::sample::select(vec!["/", "/a/b", "/a/b/", "/a//b//"]),
            path in prop::collection::vec(prop::sample::select(vec![
                ".", "..", "/", ";", "?", "%", "a", "25", "2e", "2f",
                "%2e", "%2E%2e", "%2f", "%5c", "%3b", "%252e", "%252e%252e", "%252f", "%255C", "%253b", "%25252e",
            ]), 0..8),
        ) {
            let path = path.concat();
            let base = address(&format!("https://h.example{base}"));
            if let Ok(whole) = base.below(&path) {
                prop_assert!(whole.starts_with(base.as_str()));
                let normal = Url::parse(&whole).unwrap();
                prop_assert!(normal.as_str().starts_with(base.as_str()), "{whole} is {normal}");
                let place = reached(normal.path());
                let inside = reached(base.0.path());
                prop_assert!(place.starts_with(&inside), "{whole} may be {place:?}");
            }
        }
    }
}
