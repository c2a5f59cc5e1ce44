//! Writes heads, and refuses values that would become more than one header line.

use crate::error::RequestError;

/// Header lines, each complete with its line end.
#[derive(Clone, Default)]
pub(crate) struct Lines(Vec<u8>);

impl Lines {
    /// Begins a request: `METHOD <root><path> HTTP/1.1`.
    ///
    /// `path` comes from outside, without its leading slash; what would end the request line early is refused.
    pub(crate) fn request(method: &str, root: &[u8], path: &[u8]) -> Result<Self, RequestError> {
        if root.iter().chain(path).any(|byte| *byte <= b' ' || *byte == 0x7f) {
            return Err(RequestError::Path);
        }
        let mut lines = Self(Vec::with_capacity(1024));
        for part in [method.as_bytes(), b" ", root, path, b" HTTP/1.1\r\n"] {
            lines.0.extend_from_slice(part);
        }
        Ok(lines)
    }

    /// Begins a response.
    pub(crate) fn response(status: u16, reason: &str) -> Self {
        Self(format!("HTTP/1.1 {status} {reason}\r\n").into_bytes())
    }

    /// Adds `name: value`.
    pub(crate) fn add(&mut self, name: &str, value: impl AsRef<[u8]>) -> Result<(), RequestError> {
        let value = value.as_ref();
        if value.iter().any(|byte| matches!(byte, b'\n' | b'\r' | 0)) {
            return Err(RequestError::LineBreak(name.to_owned()));
        }
        for part in [name.as_bytes(), b": ", value, b"\r\n"] {
            self.0.extend_from_slice(part);
        }
        Ok(())
    }

    /// Adds `name: value` unless the value is empty.
    pub(crate) fn add_unless_empty(&mut self, name: &str, value: &[u8]) -> Result<(), RequestError> {
        if value.is_empty() {
            Ok(())
        } else {
            self.add(name, value)
        }
    }

    /// Adds lines that were checked before.
    pub(crate) fn append(&mut self, lines: &Self) {
        self.0.extend_from_slice(&lines.0);
    }

    /// Ends the head with its empty line and returns its bytes.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.0.extend_from_slice(b"\r\n");
        self.0
    }
}

/// Appends `bytes` to `out` with everything percent-encoded that JavaScript's `encodeURIComponent` encodes.
pub(crate) fn percent_encode(bytes: &[u8], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-_.!~*'()".contains(&byte) {
            out.push(byte);
        } else {
            out.extend([b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }
}

/// Undoes [`percent_encode`]; none if a `%` is not followed by two hexadecimal digits.
pub(crate) fn percent_decode(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut bytes = bytes.iter();
    while let Some(&byte) = bytes.next() {
        if byte == b'%' {
            let mut digit = || char::from(*bytes.next()?).to_digit(16);
            let value = digit()? << 4 | digit()?;
            out.push(u8::try_from(value).ok()?);
        } else {
            out.push(byte);
        }
    }
    Some(out)
}

/// Appends `bytes` to `out` as lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    for &byte in bytes {
        out.extend([HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
    }
}

/// Tells whether `name` can stand before the colon of a header line (RFC 9110 section 5.6.2).
pub(crate) fn is_token(name: &[u8]) -> bool {
    !name.is_empty()
        && name
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

/// Tells whether `name` is on an allow-list; an entry ending in `*` is a prefix, and case does not matter.
pub(crate) fn allowed<'a>(name: &[u8], mut list: impl Iterator<Item = &'a [u8]>) -> bool {
    list.any(|entry| match entry.strip_suffix(b"*") {
        Some(prefix) => name
            .get(..prefix.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(prefix)),
        None => name.eq_ignore_ascii_case(entry),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_never_becomes_two_lines() {
        for value in ["a\nb", "a\r\nX-Sandstorm-User-Id: 0", "\r", "\0"] {
            let mut lines = Lines::default();
            assert!(lines.add("Cookie", value).is_err());
            assert!(lines.0.is_empty());
        }
    }

    #[test]
    fn a_path_never_leaves_the_request_line() {
        for path in ["a b", "x HTTP/1.1\r\nHost: y", "\t", "\u{7f}"] {
            assert!(Lines::request("GET", b"/", path.as_bytes()).is_err(), "{path:?}");
        }
        let head = Lines::request("GET", b"/", b"a%20b/../c?d=%0A").unwrap().finish();
        assert_eq!(head, b"GET /a%20b/../c?d=%0A HTTP/1.1\r\n\r\n");
    }

    #[test]
    fn names_are_percent_encoded_as_browsers_do() {
        let mut out = Vec::new();
        percent_encode("Zoë O'Neil (a_b-c.d!~*)/%".as_bytes(), &mut out);
        assert_eq!(out, b"Zo%C3%AB%20O'Neil%20(a_b-c.d!~*)%2F%25");
    }

    #[test]
    fn percent_encoding_is_undone() {
        let bytes: Vec<u8> = (0..=255).collect();
        let mut out = Vec::new();
        percent_encode(&bytes, &mut out);
        assert_eq!(percent_decode(&out).unwrap(), bytes);
        for text in ["%", "%2", "%g0", "a%0x"] {
            assert_eq!(percent_decode(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn allow_list_entries_are_names_or_prefixes() {
        let list = || [&b"x-app-*"[..], b"oc-lazyops"].into_iter();
        for name in ["x-app-", "X-App-Foo", "OC-LazyOps"] {
            assert!(allowed(name.as_bytes(), list()), "{name}");
        }
        for name in ["x-app", "oc-lazyops2", "oc-lazy", "", "*"] {
            assert!(!allowed(name.as_bytes(), list()), "{name}");
        }
    }
}
