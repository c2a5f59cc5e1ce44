//! Entity tags (RFC 9110 section 8.8.3).

/// Most tags in one condition.
const MAX_TAGS: usize = 256;

/// A tag as a session carries it: without its quotes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ETag<'a> {
    pub(crate) value: &'a [u8],
    pub(crate) weak: bool,
}

impl<'a> ETag<'a> {
    /// Reads `"value"` or `W/"value"`; anything else is no tag.
    pub(crate) fn parse(text: &'a [u8]) -> Option<Self> {
        let text = text.trim_ascii();
        let (text, weak) = match text.strip_prefix(b"W/") {
            Some(rest) => (rest, true),
            None => (text, false),
        };
        let value = text.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
        (!value.contains(&b'"')).then_some(Self { value, weak })
    }

    /// Reads `"a", W/"b"`, at most 256 of them; none if anything else is in between. Commas may be inside quotes.
    pub(crate) fn list(mut text: &'a [u8]) -> Option<Vec<Self>> {
        let mut tags = Vec::new();
        loop {
            text = text.trim_ascii();
            let quote = text.iter().position(|byte| *byte == b'"')?;
            let length = text.get(quote + 1..)?.iter().position(|byte| *byte == b'"')?;
            let (tag, rest) = text.split_at_checked(quote + length + 2)?;
            tags.push(Self::parse(tag)?);
            match rest.trim_ascii() {
                b"" => return Some(tags),
                rest => text = rest.strip_prefix(b",")?,
            }
            if tags.len() == MAX_TAGS {
                return None;
            }
        }
    }

    /// Appends the tag to `out` as it stands in a header; none if its value cannot be quoted.
    pub(crate) fn write(&self, out: &mut Vec<u8>) -> Option<()> {
        if self.value.contains(&b'"') {
            return None;
        }
        out.extend_from_slice(if self.weak { b"W/\"" } else { b"\"" });
        out.extend_from_slice(self.value);
        out.push(b'"');
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_quoted_values_are_tags() {
        assert_eq!(
            ETag::parse(b" \"a b\" "),
            Some(ETag {
                value: b"a b",
                weak: false
            })
        );
        assert_eq!(
            ETag::parse(b"W/\"\""),
            Some(ETag {
                value: b"",
                weak: true
            })
        );
        for text in ["abc", "\"abc", "abc\"", "\"", "w/\"a\"", "\"a\"b\"", "", "W/a"] {
            assert_eq!(ETag::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn lists_are_read_whole_or_not_at_all() {
        let read = |text: &'static str| {
            let tags = ETag::list(text.as_bytes())?;
            Some(tags.iter().map(|tag| (tag.value, tag.weak)).collect::<Vec<_>>())
        };
        assert_eq!(read("\"a\""), Some(vec![(&b"a"[..], false)]));
        assert_eq!(
            read(" \"a,b\" , W/\"\""),
            Some(vec![(&b"a,b"[..], false), (&b""[..], true)])
        );
        for text in ["", "*", "a", "\"a", "\"a\" \"b\"", "\"a\",", "\"a\", b"] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn a_quote_cannot_end_the_tag_early() {
        assert_eq!(
            ETag {
                value: b"a\", \"b",
                weak: false
            }
            .write(&mut Vec::new()),
            None
        );
        let mut out = Vec::new();
        ETag {
            value: b"x",
            weak: true,
        }
        .write(&mut out)
        .unwrap();
        assert_eq!(out, b"W/\"x\"");
    }
}
