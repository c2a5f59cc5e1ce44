//! Fills what a request says besides its method, path and body: the headers an app may see (sheet 5.3).

use hyper::HeaderMap;
use hyper::header::HeaderName;
use percloud_link::Shared;
use percloud_schemas::util_capnp::byte_stream;
use percloud_schemas::web_session_capnp::web_session::{self, context};

use crate::grain::etag::{self, Condition, Tag};
use crate::respond::Refusal;
use crate::said::Heard;

/// Names and, with a trailing `*`, beginnings of names that pass besides those with a field of their own.
const PASSED: [&str; 14] = [
    "x-sandstorm-app-*",
    "oc-total-length",
    "oc-chunk-size",
    "x-oc-mtime",
    "oc-fileid",
    "oc-chunked",
    "oc-checksum",
    "oc-chunk-offset",
    "oc-lazyops",
    "x-hgarg-*",
    "x-phabricator-*",
    "x-requested-with",
    "x-csrftoken",
    "x-csrf-token",
];

/// The context of a call that says nothing but what its connection said before.
///
/// # Errors
///
/// As [`fill`].
pub(super) fn shared<'h>(
    headers: &HeaderMap,
    heard: &'h Heard,
    stream: &byte_stream::Client,
) -> Result<Option<&'h Shared>, Refusal> {
    let Some(shared) = &heard.context else {
        return Ok(None);
    };
    if etag::condition(headers)? != Condition::None || headers.keys().any(is_passed) {
        return Ok(None);
    }
    let fill = |context: context::Builder<'_>| fill(context, headers, heard, stream.clone());
    let shared = shared.get_or_init(|| Shared::new::<context::Owned, _>(fill).ok().flatten());
    Ok(shared.as_ref())
}

/// Fills the context of a call. `stream` is where the app may write a long answer.
///
/// It is a live capability from the start, not a promise for one as sheet trap 13 has it: bytes written before the
/// answer wait in its window just as calls on a promise would wait, and no message is needed to break the promise
/// when, as is usual, there is nothing to stream.
///
/// # Errors
///
/// When a protecting condition cannot be read.
pub(super) fn fill(
    mut context: context::Builder<'_>,
    headers: &HeaderMap,
    heard: &Heard,
    stream: byte_stream::Client,
) -> Result<(), Refusal> {
    context.set_response_stream(stream);

    let cookies = &heard.cookies.others;
    if !cookies.is_empty() {
        let mut list = context.reborrow().init_cookies(length(cookies.len()));
        for (index, (name, value)) in (0..).zip(cookies) {
            let mut pair = list.reborrow().get(index);
            pair.set_key(name);
            pair.set_value(value);
        }
    }
    if !heard.types.is_empty() {
        let mut list = context.reborrow().init_accept(length(heard.types.len()));
        for (index, (name, weight)) in (0..).zip(&*heard.types) {
            let mut accepted = list.reborrow().get(index);
            accepted.set_mime_type(name);
            accepted.set_q_value(*weight);
        }
    }
    if !heard.codings.is_empty() {
        let mut list = context
            .reborrow()
            .init_accept_encoding(length(heard.codings.len()));
        for (index, (name, weight)) in (0..).zip(&*heard.codings) {
            let mut accepted = list.reborrow().get(index);
            accepted.set_content_coding(name);
            accepted.set_q_value(*weight);
        }
    }

    let condition = etag::condition(headers)?;
    if condition != Condition::None {
        let mut field = context.reborrow().init_e_tag_precondition();
        match condition {
            Condition::None => field.set_none(()),
            Condition::Exists => field.set_exists(()),
            Condition::DoesNotExist => field.set_doesnt_exist(()),
            Condition::MatchesOneOf(tags) => fill_tags(field.init_matches_one_of(length(tags.len())), &tags),
            Condition::MatchesNoneOf(tags) => {
                fill_tags(field.init_matches_none_of(length(tags.len())), &tags)
            }
        }
    }

    // Counted, then filled: both walk the headers, neither copies them.
    let passed = || {
        headers
            .iter()
            .filter(|(name, _)| is_passed(name))
            .filter_map(|(name, value)| {
                // Text in Cap'n Proto is UTF-8; a header that is not does not reach the app.
                Some((name.as_str(), std::str::from_utf8(value.as_bytes()).ok()?))
            })
    };
    let count = length(passed().count());
    if count > 0 {
        let mut list = context.init_additional_headers(count);
        for (index, (name, value)) in (0..).zip(passed()) {
            let mut header = list.reborrow().get(index);
            header.set_name(name);
            header.set_value(value);
        }
    }
    Ok(())
}

fn fill_tags(mut list: capnp::struct_list::Builder<'_, web_session::e_tag::Owned>, tags: &[Tag<'_>]) {
    for (index, (value, weak)) in (0..).zip(tags) {
        let mut tag = list.reborrow().get(index);
        tag.set_value(*value);
        tag.set_weak(*weak);
    }
}

fn is_passed(name: &HeaderName) -> bool {
    let name = name.as_str();
    // Most headers of a browser are sorted out by their first letter.
    if !matches!(name.as_bytes().first(), Some(b'x' | b'o')) {
        return false;
    }
    PASSED.iter().any(|passed| match passed.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == *passed,
    })
}

/// The head of a request is at most some tens of kilobytes, so no list is longer than that.
fn length(count: usize) -> u32 {
    u32::try_from(count).expect("a list within the head of a request")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_headers_is_the_schema_s() {
        let schema = web_session::context::HEADER_WHITELIST;
        let schema: Vec<String> = schema
            .get()
            .unwrap()
            .iter()
            .map(|name| name.unwrap().to_string().unwrap())
            .collect();
        assert_eq!(schema, PASSED);
    }

    #[test]
    fn only_listed_headers_pass() {
        for (name, passes) in [
            ("x-sandstorm-app-thing", true),
            ("x-csrftoken", true),
            ("oc-total-length", true),
            ("x-hgarg-1", true),
            ("x-sandstorm-user-id", false),
            ("x-real-ip", false),
            ("x-forwarded-for", false),
            ("origin", false),
            ("authorization", false),
            ("range", false),
            ("referer", false),
            ("cache-control", false),
            ("if-modified-since", false),
        ] {
            assert_eq!(is_passed(&HeaderName::from_static(name)), passes, "{name}");
        }
    }
}
