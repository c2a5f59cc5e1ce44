//! Finds the file name in `Content-Disposition: attachment` (RFC 6266).

/// Returns the `filename` of an attachment, unescaped; none for `inline`, and none without a `filename`
/// parameter (`filename*` does not count).
pub(crate) fn attachment_name(value: &[u8]) -> Option<Vec<u8>> {
    let end = value.iter().position(|byte| *byte == b';').unwrap_or(value.len());
    let (kind, mut rest) = value.split_at(end);
    if !kind.trim_ascii().eq_ignore_ascii_case(b"attachment") {
        return None;
    }
    while let Some(parameter) = rest.strip_prefix(b";") {
        let equals = parameter.iter().position(|byte| matches!(byte, b'=' | b';'))?;
        let (name, after) = parameter.split_at(equals);
        let Some(after) = after.strip_prefix(b"=") else {
            rest = after;
            continue;
        };
        let (text, after) = value_of(after);
        if name.trim_ascii().eq_ignore_ascii_case(b"filename") {
            return Some(text);
        }
        rest = after;
    }
    None
}

/// Reads one parameter value, quoted or bare, and returns what follows from the next `;` on.
fn value_of(text: &[u8]) -> (Vec<u8>, &[u8]) {
    let text = text.trim_ascii_start();
    let next = |from: usize| {
        let rest = text.get(from..).unwrap_or_default();
        rest.iter()
            .position(|byte| *byte == b';')
            .map_or(&b""[..], |at| rest.get(at..).unwrap_or_default())
    };
    if text.first() != Some(&b'"') {
        let end = text.iter().position(|byte| *byte == b';').unwrap_or(text.len());
        return (
            text.get(..end).unwrap_or_default().trim_ascii_end().to_vec(),
            next(end),
        );
    }
    let mut value = Vec::new();
    let mut bytes = text.iter().enumerate().skip(1);
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => return (value, next(at + 1)),
            b'\\' => value.extend(bytes.next().map(|(_, escaped)| *escaped)),
            _ => value.push(*byte),
        }
    }
    (value, b"")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_attachments_with_a_plain_file_name_are_downloads() {
        let cases: [(&str, Option<&str>); 13] = [
            ("attachment; filename=\"a.txt\"", Some("a.txt")),
            ("Attachment;FileName=a.txt", Some("a.txt")),
            ("attachment; filename = a b.txt ; x=y", Some("a b.txt")),
            (
                r#"attachment; filename="a \"b\" \\ ;c.txt"; x=y"#,
                Some(r#"a "b" \ ;c.txt"#),
            ),
            ("attachment; x=\"filename=no;\"; filename=yes", Some("yes")),
            ("attachment; filename*=UTF-8''a; filename=b", Some("b")),
            ("attachment; flag; filename=b", Some("b")),
            ("attachment; filename=\"open", Some("open")),
            ("attachment; filename=\"open\\", Some("open")),
            ("attachment; filename*=UTF-8''a", None),
            ("attachment", None),
            ("inline; filename=a", None),
            ("", None),
        ];
        for (value, name) in cases {
            assert_eq!(
                attachment_name(value.as_bytes()).as_deref(),
                name.map(str::as_bytes),
                "{value}"
            );
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = attachment_name(&bytes);
        }
    }
}
