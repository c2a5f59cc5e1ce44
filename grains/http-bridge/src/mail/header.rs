//! Writes header fields of a message (RFC 5322, RFC 2047).
//!
//! Every value comes from the network. None can end its field and begin another: control characters are taken out
//! before anything is written, and the only line breaks are the folds made here.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

/// Longest text in one encoded word, in bytes: with its marks, and a name in front, it stays below the 76 columns
/// RFC 2047 allows for a line.
const WORD: usize = 36;

/// Text that has no encoded form is folded at spaces beyond this column.
const COLUMN: usize = 76;

/// Appends `name: value`, with whatever is not ASCII in encoded words.
pub(super) fn unstructured(name: &str, value: &str, out: &mut String) {
    let value = one_line(value);
    out.push_str(name);
    out.push_str(": ");
    if value.is_ascii() && !value.contains("=?") && value.split(' ').all(|word| word.len() < 900) {
        let mut column = name.len() + 2;
        for (index, word) in value.split(' ').enumerate() {
            if index > 0 {
                // A fold stands for the space it begins the next line with; an empty word would leave a blank line.
                if column + word.len() > COLUMN && !word.is_empty() {
                    out.push_str("\n ");
                    column = 1;
                } else {
                    out.push(' ');
                    column += 1;
                }
            }
            out.push_str(word);
            column += word.len();
        }
    } else {
        encoded_words(&value, out);
    }
    out.push('\n');
}

/// Appends a field whose value has a grammar of its own, as it was given but for control characters.
pub(super) fn structured(name: &str, value: &str, out: &mut String) {
    out.push_str(name);
    out.push_str(": ");
    out.push_str(&one_line(value));
    out.push('\n');
}

/// Appends `name: <id> <id>`; nothing if there is no id.
pub(super) fn ids<'a>(name: &str, ids: impl Iterator<Item = &'a str>, out: &mut String) {
    let ids = ids.map(|id| id.replace(|letter: char| !is_atom(letter), ""));
    list(
        name,
        ids.filter(|id| !id.is_empty()).map(|id| format!("<{id}>")),
        "",
        out,
    );
}

/// Appends `name: address, address`; nothing if there is no address.
pub(super) fn addresses<'a>(
    name: &str,
    addresses: impl Iterator<Item = (&'a str, &'a str)>,
    out: &mut String,
) {
    let written = addresses.map(|(display, address)| mailbox(display, address));
    list(name, written.filter(|text| !text.is_empty()), ",", out);
}

/// Appends the items one to a line, which is what keeps lines short.
fn list(name: &str, items: impl Iterator<Item = String>, separator: &str, out: &mut String) {
    for (index, item) in items.enumerate() {
        if index == 0 {
            out.push_str(name);
            out.push_str(": ");
        } else {
            // Behind the item before, whose line end this removes.
            out.pop();
            out.push_str(separator);
            out.push_str("\n ");
        }
        out.push_str(&item);
        out.push('\n');
    }
}

/// Returns `Name <address>`, or as much of it as there is.
fn mailbox(display: &str, address: &str) -> String {
    let display = one_line(display);
    let display = display.trim();
    let address = addr_spec(address);
    if display.is_empty() {
        return address;
    }
    let mut text = String::new();
    if display.is_ascii() && !display.contains("=?") && display.len() < 500 {
        text.push('"');
        for letter in display.chars() {
            if matches!(letter, '"' | '\\') {
                text.push('\\');
            }
            text.push(letter);
        }
        text.push('"');
    } else {
        encoded_words(display, &mut text);
    }
    text.push_str(" <");
    text.push_str(&address);
    text.push('>');
    text
}

/// Returns an address without anything that could end it early. A quoted local part stays if it is well-formed.
fn addr_spec(address: &str) -> String {
    let address = one_line(address);
    if let Some((quoted, domain)) = split_quoted(&address) {
        return format!("{quoted}@{}", domain.replace(|letter: char| !is_atom(letter), ""));
    }
    address.replace(
        |letter: char| !is_atom(letter) || matches!(letter, '"' | '(' | ')' | ',' | ';' | '\\'),
        "",
    )
}

/// Splits `"quoted local part"@domain`.
fn split_quoted(address: &str) -> Option<(&str, &str)> {
    let mut escaped = false;
    for (at, letter) in address.char_indices().skip(1) {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => {
                let (quoted, rest) = address.split_at(at + 1);
                return quoted
                    .starts_with('"')
                    .then(|| rest.strip_prefix('@'))?
                    .map(|domain| (quoted, domain));
            }
            _ => {}
        }
    }
    None
}

/// Tells whether `letter` can stand between angle brackets.
fn is_atom(letter: char) -> bool {
    !letter.is_control() && !letter.is_whitespace() && !matches!(letter, '<' | '>')
}

/// Replaces what would break the line by spaces, one for each run.
fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    let mut pending = false;
    for letter in text.chars() {
        // The two separators end lines for some readers.
        if letter.is_control() || matches!(letter, '\u{2028}' | '\u{2029}') {
            pending = true;
            continue;
        }
        if std::mem::take(&mut pending) && !line.is_empty() && letter != ' ' && !line.ends_with(' ') {
            line.push(' ');
        }
        line.push(letter);
    }
    line
}

/// Appends `text` as encoded words, one to a line.
fn encoded_words(text: &str, out: &mut String) {
    let mut rest = text;
    while !rest.is_empty() {
        let mut end = rest.len().min(WORD);
        while !rest.is_char_boundary(end) {
            end -= 1;
        }
        let (word, after) = rest.split_at(end);
        out.push_str("=?UTF-8?B?");
        BASE64_STANDARD.encode_string(word, out);
        out.push_str("?=");
        rest = after;
        if !rest.is_empty() {
            out.push_str("\n ");
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn field(write: impl FnOnce(&mut String)) -> String {
        let mut out = String::new();
        write(&mut out);
        out
    }

    #[test]
    fn plain_text_stays_readable_and_other_text_is_encoded() {
        assert_eq!(
            field(|out| unstructured("Subject", "Plans", out)),
            "Subject: Plans\n"
        );
        assert_eq!(field(|out| unstructured("Subject", "", out)), "Subject: \n");
        assert_eq!(
            field(|out| unstructured("Subject", "Grüße", out)),
            "Subject: =?UTF-8?B?R3LDvMOfZQ==?=\n"
        );
        // What already looks encoded would be decoded by the reader.
        assert!(
            field(|out| unstructured("Subject", "=?UTF-8?Q?a?=", out)).starts_with("Subject: =?UTF-8?B?")
        );
        let long = field(|out| unstructured("Subject", &"word ".repeat(60), out));
        assert!(long.lines().all(|line| line.len() <= 80), "{long}");
        let long = field(|out| unstructured("Subject", &"ä".repeat(100), out));
        assert!(long.lines().all(|line| line.len() <= 76), "{long}");
    }

    #[test]
    fn addresses_keep_their_names_and_cannot_become_two() {
        let write = |pairs: &[(&str, &str)]| field(|out| addresses("To", pairs.iter().copied(), out));
        assert_eq!(write(&[]), "");
        assert_eq!(write(&[("", "")]), "");
        assert_eq!(write(&[("", "a@b.example")]), "To: a@b.example\n");
        assert_eq!(
            write(&[("Ada \"L\" \\", "a@b.example"), ("Zoë", "z@b.example")]),
            "To: \"Ada \\\"L\\\" \\\\\" <a@b.example>,\n =?UTF-8?B?Wm/Dqw==?= <z@b.example>\n"
        );
        assert_eq!(write(&[("", "\"a b\"@c.example")]), "To: \"a b\"@c.example\n");
        assert_eq!(write(&[("", "a@b, <evil@c>")]), "To: a@bevil@c\n");
        assert_eq!(write(&[("x", "a@b>\nBcc: c@d")]), "To: \"x\" <a@bBcc:c@d>\n");
    }

    #[test]
    fn ids_are_set_in_brackets() {
        assert_eq!(
            field(|out| ids("References", ["a@b", "", "c>\nX: <d"].into_iter(), out)),
            "References: <a@b>\n <cX:d>\n"
        );
        assert_eq!(field(|out| ids("References", ["<>"].into_iter(), out)), "");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn whatever_comes_in_makes_one_field(one in ".{0,200}|[\\r\\n <>,\";a=?\u{85}]{0,60}", two in "[\\r\\n\\PC]{0,80}") {
            for out in [
                field(|out| unstructured("X", &one, out)),
                field(|out| structured("X", &one, out)),
                field(|out| addresses("X", [(&*one, &*two), (&*two, &*one)].into_iter(), out)),
                field(|out| ids("X", [&*one, &*two].into_iter(), out)),
            ] {
                prop_assert!(out.is_empty() || (out.starts_with("X: ") && out.ends_with('\n')));
                prop_assert!(!out.contains('\r'));
                for (index, line) in out.lines().enumerate() {
                    prop_assert!(index == 0 || (line.starts_with(' ') && !line.trim().is_empty()), "{:?}", out);
                }
            }
        }
    }
}
