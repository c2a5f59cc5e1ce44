//! Reads the head of a response, within bounds and with the tolerance old apps need.

use std::borrow::Cow;
use std::ops::Deref;

use super::fields::Fields;
use crate::error::RequestError;

/// Longest head accepted, in bytes.
pub(crate) const MAX_HEAD: usize = 64 << 10;

/// Most header fields accepted in one head.
const MAX_FIELDS: usize = 256;

/// Status and header fields.
#[derive(Debug)]
pub(crate) struct ResponseHead {
    pub(crate) status: u16,
    fields: Fields,
}

impl Deref for ResponseHead {
    type Target = Fields;

    fn deref(&self) -> &Fields {
        &self.fields
    }
}

impl ResponseHead {
    /// Returns the length of the head at the start of `bytes`, its empty line included, if it is complete.
    ///
    /// `seen` is how many bytes an earlier look found to hold no end.
    pub(crate) fn length(bytes: &[u8], seen: usize) -> Result<Option<usize>, RequestError> {
        const START: &[u8] = b"HTTP/";
        if !START.starts_with(&bytes[..bytes.len().min(START.len())]) {
            return Err(RequestError::Malformed("it does not begin with HTTP/"));
        }
        // The end may straddle what was seen: up to three of its bytes.
        let from = seen.saturating_sub(3);
        for (at, byte) in bytes.iter().enumerate().skip(from) {
            if *byte == b'\n' {
                match bytes.get(at + 1..) {
                    Some([b'\n', ..]) => return bounded(at + 2),
                    Some([b'\r', b'\n', ..]) => return bounded(at + 3),
                    _ => {}
                }
            }
        }
        bounded(bytes.len()).map(|_| None)
    }

    /// Reads a complete head.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, RequestError> {
        let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
        let mut response = httparse::Response::new(&mut fields);
        let parsed = httparse::ParserConfig::default()
            .allow_obsolete_multiline_headers_in_responses(true)
            .allow_spaces_after_header_name_in_responses(true)
            .allow_multiple_spaces_in_response_status_delimiters(true)
            .parse_response(&mut response, bytes);
        match parsed {
            Ok(httparse::Status::Complete(_)) => {}
            Ok(httparse::Status::Partial) => return Err(RequestError::Malformed("head is not complete")),
            Err(httparse::Error::TooManyHeaders) => {
                return Err(RequestError::Malformed("more than 256 header fields"));
            }
            Err(_) => return Err(RequestError::Malformed("head cannot be read")),
        }
        Ok(Self {
            status: response.code.unwrap_or_default(),
            fields: Fields::new(response.headers),
        })
    }
}

/// Reads header bytes as text: UTF-8 if they are, Latin-1 (which every byte is) otherwise.
pub(crate) fn text(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(bytes.iter().map(|byte| char::from(*byte)).collect()),
    }
}

fn bounded(length: usize) -> Result<Option<usize>, RequestError> {
    if length > MAX_HEAD {
        Err(RequestError::Malformed("head larger than 64 KiB"))
    } else {
        Ok(Some(length))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_end_is_found_wherever_the_pieces_break() {
        for wire in [
            "HTTP/1.1 200 OK\r\nA: b\r\n\r\nbody\r\n\r\n",
            "HTTP/1.0 200 OK\nA: b\n\nbody",
        ] {
            let end = wire.find("body").unwrap();
            for seen in 0..end - 1 {
                for length in seen..wire.len() {
                    let found = ResponseHead::length(&wire.as_bytes()[..length], seen).unwrap();
                    assert_eq!(found, (length >= end).then_some(end), "{seen} {length}");
                }
            }
        }
    }

    #[test]
    fn garbage_is_recognised_at_once_and_size_is_bounded() {
        assert!(ResponseHead::length(b"X", 0).is_err());
        assert!(ResponseHead::length(b"\x16\x03\x01", 0).is_err());
        assert!(ResponseHead::length(b"HTTQ", 0).is_err());
        assert_eq!(ResponseHead::length(b"", 0).unwrap(), None);
        let mut long = b"HTTP/1.1 200 OK\r\nA: ".to_vec();
        long.resize(MAX_HEAD + 1, b'x');
        assert!(ResponseHead::length(&long, 0).is_err());
        long.truncate(MAX_HEAD);
        assert_eq!(ResponseHead::length(&long, 0).unwrap(), None);
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(MAX_FIELDS + 1));
        assert!(ResponseHead::parse(many.as_bytes()).is_err());
    }

    #[test]
    fn fields_keep_order_and_repeat() {
        let head = ResponseHead::parse(
            b"HTTP/1.1 200\r\nSet-Cookie: a=1\r\nX-A :  b \r\nset-cookie: b=2\r\nFolded: a\r\n b\r\n\r\n",
        )
        .unwrap();
        assert_eq!(head.status, 200);
        assert_eq!(head.all("set-cookie").collect::<Vec<_>>(), [b"a=1", b"b=2"]);
        assert_eq!(head.joined("set-cookie").unwrap().as_ref(), b"a=1, b=2");
        assert_eq!(head.first("x-a"), Some(&b"b"[..]));
        assert_eq!(head.iter().count(), 4);
        assert_eq!(head.joined("none"), None);
        assert_eq!(text(b"caf\xe9"), "café");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut wire = b"HTTP/1.1 200 OK\r\n".to_vec();
            wire.extend(bytes);
            let _ = ResponseHead::length(&wire, 0);
            let _ = ResponseHead::parse(&wire);
        }
    }
}
