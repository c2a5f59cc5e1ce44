//! Entity tags (RFC 9110 section 8.8.3).

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
