//! Entity tags (RFC 9110 section 8.8.3), as read from conditions and written to answers.

use hyper::HeaderMap;
use hyper::header::{HeaderValue, IF_MATCH, IF_NONE_MATCH};
use percloud_schemas::web_session_capnp::web_session;

use crate::respond::Refusal;

/// More tags than this in one condition are refused or ignored.
const TAGS: usize = 256;

/// One tag: its text without quotes, and whether it is weak.
pub(super) type Tag<'a> = (&'a str, bool);

/// What must hold of the resource for the request to be carried out.
#[derive(Debug, PartialEq)]
pub(super) enum Condition<'a> {
    None,
    Exists,
    DoesNotExist,
    MatchesOneOf(Vec<Tag<'a>>),
    MatchesNoneOf(Vec<Tag<'a>>),
}

/// Reads the condition of a request. There is room for one: `If-Match` goes before `If-None-Match`, as it does in
/// RFC 9110 section 13.2.2.
///
/// # Errors
///
/// When an `If-Match` cannot be read: carrying out the request as if it were not there could destroy something.
/// `If-None-Match` only saves work and is then ignored.
pub(super) fn condition(headers: &HeaderMap) -> Result<Condition<'_>, Refusal> {
    if let Some(value) = headers.get(IF_MATCH) {
        let value = value.to_str().unwrap_or_default().trim();
        if value == "*" {
            return Ok(Condition::Exists);
        }
        let tags = list(value).ok_or(Refusal::BadRequest("The condition If-Match cannot be read."))?;
        return Ok(Condition::MatchesOneOf(tags));
    }
    let Some(value) = headers.get(IF_NONE_MATCH) else {
        return Ok(Condition::None);
    };
    let value = value.to_str().unwrap_or_default().trim();
    if value == "*" {
        return Ok(Condition::DoesNotExist);
    }
    Ok(list(value).map_or(Condition::None, Condition::MatchesNoneOf))
}

/// Reads `"a", W/"b"`. Commas may be inside the quotes.
fn list(mut text: &str) -> Option<Vec<Tag<'_>>> {
    let mut tags = Vec::new();
    loop {
        text = text.trim_start_matches([' ', '\t', ',']);
        if text.is_empty() {
            return (!tags.is_empty()).then_some(tags);
        }
        let (tag, rest) = one(text)?;
        let rest = rest.trim_start();
        if tags.len() == TAGS || !(rest.is_empty() || rest.starts_with(',')) {
            return None;
        }
        tags.push(tag);
        text = rest;
    }
}

fn one(text: &str) -> Option<(Tag<'_>, &str)> {
    let (weak, text) = text.strip_prefix("W/").map_or((false, text), |rest| (true, rest));
    let (value, rest) = text.strip_prefix('"')?.split_once('"')?;
    Some(((value, weak), rest))
}

/// Reads a single tag, as `If-Range` has it.
pub(super) fn single(text: &str) -> Option<Tag<'_>> {
    one(text.trim())
        .filter(|(_, rest)| rest.is_empty())
        .map(|(tag, _)| tag)
}

/// Writes an app's tag; `None` for what cannot be one.
pub(super) fn header(tag: web_session::e_tag::Reader<'_>) -> Option<HeaderValue> {
    let value = tag.get_value().ok()?.to_str().ok()?;
    let allowed = |byte: u8| byte == 0x21 || (0x23..=0x7e).contains(&byte);
    if value.len() > 1024 || !value.bytes().all(allowed) {
        return None;
    }
    HeaderValue::try_from(format!("{}\"{value}\"", if tag.get_weak() { "W/" } else { "" })).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: hyper::header::HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn conditions_are_read_in_order_of_precedence() {
        assert_eq!(condition(&HeaderMap::new()), Ok(Condition::None));
        assert_eq!(condition(&read(IF_MATCH, "*")), Ok(Condition::Exists));
        assert_eq!(condition(&read(IF_NONE_MATCH, "*")), Ok(Condition::DoesNotExist));
        let tags = vec![("a,b", false), ("c", true)];
        assert_eq!(
            condition(&read(IF_MATCH, "\"a,b\" , W/\"c\"")),
            Ok(Condition::MatchesOneOf(tags))
        );
        assert_eq!(
            condition(&read(IF_NONE_MATCH, "\"x\"")),
            Ok(Condition::MatchesNoneOf(vec![("x", false)]))
        );
        let mut both = read(IF_NONE_MATCH, "*");
        both.extend(read(IF_MATCH, "\"x\""));
        assert_eq!(condition(&both), Ok(Condition::MatchesOneOf(vec![("x", false)])));
    }

    #[test]
    fn a_damaged_condition_is_never_taken_for_none_where_it_protects() {
        for damaged in ["", "x", "\"a", "\"a\" \"b\"", "W/", "\"a\", b"] {
            assert!(condition(&read(IF_MATCH, damaged)).is_err(), "{damaged}");
            assert_eq!(
                condition(&read(IF_NONE_MATCH, damaged)),
                Ok(Condition::None),
                "{damaged}"
            );
        }
    }
}
