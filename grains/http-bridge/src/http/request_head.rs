//! Reads the head of a request that an app sends to the proxy.

use super::fields::Fields;

/// Longest head accepted, in bytes.
const MAX_HEAD: usize = 64 << 10;

/// Most header fields accepted in one head.
const MAX_FIELDS: usize = 128;

/// A request without its body.
#[derive(Debug)]
pub(crate) struct RequestHead {
    pub(crate) method: String,
    /// As it stands in the request line: an address, a path, or whatever the method wants.
    pub(crate) target: String,
    /// Whether the client understands chunks.
    pub(crate) is_http11: bool,
    pub(crate) fields: Fields,
}

/// Why a head cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum HeadError {
    TooLarge,
    Malformed,
}

impl RequestHead {
    /// Reads the head at the start of `bytes` and returns its length with it, if it is complete.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, HeadError> {
        let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
        let mut request = httparse::Request::new(&mut fields);
        match request.parse(bytes) {
            Ok(httparse::Status::Complete(length)) if length <= MAX_HEAD => {
                let head = Self {
                    method: request.method.unwrap_or_default().to_owned(),
                    target: request.path.unwrap_or_default().to_owned(),
                    is_http11: request.version == Some(1),
                    fields: Fields::new(request.headers),
                };
                Ok(Some((head, length)))
            }
            Ok(httparse::Status::Partial) if bytes.len() < MAX_HEAD => Ok(None),
            Ok(_) | Err(httparse::Error::TooManyHeaders) => Err(HeadError::TooLarge),
            Err(_) => Err(HeadError::Malformed),
        }
    }

    /// Returns the host the request is for, and its path with the query but without the slash in front. The host
    /// is none for a path alone without `Host`.
    pub(crate) fn host_and_path(&self) -> Option<(Option<&str>, &str)> {
        let target = self.target.split('#').next()?;
        if let Some(path) = target.strip_prefix('/') {
            let host = self.fields.first("host");
            return Some((host.and_then(|host| std::str::from_utf8(host).ok()), path));
        }
        let rest = ["http://", "https://"].iter().find_map(|scheme| {
            let start = target.get(..scheme.len())?;
            start
                .eq_ignore_ascii_case(scheme)
                .then(|| target.get(scheme.len()..))?
        })?;
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let host = authority.rsplit('@').next()?;
        Some((Some(host), path.strip_prefix('/').unwrap_or(path)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn head(line: &str) -> RequestHead {
        let text = format!("{line} HTTP/1.1\r\nHost: from-header\r\n\r\nbody");
        let (head, length) = RequestHead::parse(text.as_bytes()).unwrap().unwrap();
        assert_eq!(length, text.len() - 4);
        head
    }

    #[test]
    fn targets_are_addresses_or_paths() {
        for (target, host, path) in [
            (
                "http://http-bridge/session/0/claim",
                "http-bridge",
                "session/0/claim",
            ),
            ("HTTPS://user:p@x.example:8/a/b?c=d#e", "x.example:8", "a/b?c=d"),
            ("http://x.example", "x.example", ""),
            ("http://x.example?q", "x.example", "?q"),
            ("http://x.example//a", "x.example", "/a"),
            ("/a?b", "from-header", "a?b"),
        ] {
            let head = head(&format!("GET {target}"));
            assert_eq!(head.host_and_path(), Some((Some(host), path)), "{target}");
        }
        for target in ["*", "x.example:443", "ftp://x/", "httpX"] {
            assert_eq!(head(&format!("GET {target}")).host_and_path(), None, "{target}");
        }
    }

    #[test]
    fn size_is_bounded() {
        let mut long = b"GET / HTTP/1.1\r\nA: ".to_vec();
        assert!(RequestHead::parse(&long).unwrap().is_none());
        long.resize(MAX_HEAD, b'x');
        assert_eq!(RequestHead::parse(&long).unwrap_err(), HeadError::TooLarge);
        long.extend(b"\r\n\r\n");
        assert_eq!(RequestHead::parse(&long).unwrap_err(), HeadError::TooLarge);
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(MAX_FIELDS + 1));
        assert_eq!(
            RequestHead::parse(many.as_bytes()).unwrap_err(),
            HeadError::TooLarge
        );
        assert_eq!(
            RequestHead::parse(b"\x16\x03\x01").unwrap_err(),
            HeadError::Malformed
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), target in "[!-~]{1,40}") {
            let _ = RequestHead::parse(&bytes);
            let text = format!("GET {target} HTTP/1.1\r\n\r\n");
            if let Ok(Some((head, _))) = RequestHead::parse(text.as_bytes()) {
                let _ = head.host_and_path();
            }
        }
    }
}
