//! Serves a part of what an app gave whole (RFC 9110 section 14).
//!
//! Apps never see `Range` (sheet 5.3). A part may still be cut here out of a complete answer of known size, which is
//! what players need to seek; an app that answers 206 by itself is left alone.

use hyper::HeaderMap;
use hyper::header::{HeaderValue, IF_RANGE, RANGE};

use crate::grain::etag;

/// What to send of a whole of known size.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// All of it.
    Whole,
    /// Some of it: `start`, and how many bytes.
    Slice { start: u64, length: u64 },
    /// The part asked for does not exist.
    Beyond,
}

/// Reads which part a GET asks for. Several parts, unknown units and damaged headers mean the whole.
pub(crate) fn part(headers: &HeaderMap, tag: Option<&HeaderValue>, size: u64) -> Part {
    let Some(range) = headers.get(RANGE).and_then(|range| range.to_str().ok()) else {
        return Part::Whole;
    };
    if let Some(condition) = headers.get(IF_RANGE) {
        // Only a strong tag can prove that the part belongs to what the client already has. Dates cannot.
        let strong = condition
            .to_str()
            .ok()
            .and_then(etag::single)
            .is_some_and(|(_, weak)| !weak);
        if !strong || Some(condition) != tag {
            return Part::Whole;
        }
    }
    slice(range, size).unwrap_or(Part::Whole)
}

fn slice(range: &str, size: u64) -> Option<Part> {
    let (first, last) = range.trim().strip_prefix("bytes=")?.trim().split_once('-')?;
    let number = |digits: &str| -> Option<u64> {
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        // More digits than fit are more than anything has.
        Some(digits.parse().unwrap_or(u64::MAX))
    };
    if first.is_empty() {
        let length = number(last)?.min(size);
        return Some(if length == 0 {
            Part::Beyond
        } else {
            Part::Slice {
                start: size - length,
                length,
            }
        });
    }
    let start = number(first)?;
    let last = if last.is_empty() { u64::MAX } else { number(last)? };
    if last < start {
        return None;
    }
    if start >= size {
        return Some(Part::Beyond);
    }
    Some(Part::Slice {
        start,
        length: last.min(size - 1) - start + 1,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_cut_as_asked() {
        let slice = |start, length| Part::Slice { start, length };
        for (range, expected) in [
            ("bytes=0-0", slice(0, 1)),
            ("bytes=0-", slice(0, 10)),
            ("bytes=3-5", slice(3, 3)),
            ("bytes=9-99999999999999999999999", slice(9, 1)),
            ("bytes=-3", slice(7, 3)),
            ("bytes=-30", slice(0, 10)),
            ("bytes=10-", Part::Beyond),
            ("bytes=-0", Part::Beyond),
            ("bytes=5-3", Part::Whole),
            ("bytes=1-2,4-5", Part::Whole),
            ("lines=1-2", Part::Whole),
            ("bytes=a-b", Part::Whole),
            ("bytes=-", Part::Whole),
            ("bytes=+1-2", Part::Whole),
        ] {
            let headers = HeaderMap::from_iter([(RANGE, HeaderValue::from_static(range))]);
            assert_eq!(part(&headers, None, 10), expected, "{range}");
        }
        assert_eq!(part(&HeaderMap::new(), None, 10), Part::Whole);
    }

    #[test]
    fn a_part_is_only_added_to_the_very_same_whole() {
        let tag = HeaderValue::from_static("\"a\"");
        for (condition, expected) in [
            ("\"a\"", true),
            ("\"b\"", false),
            ("W/\"a\"", false),
            ("Tue, 01 Jan 2030 00:00:00 GMT", false),
        ] {
            let headers = HeaderMap::from_iter([
                (RANGE, HeaderValue::from_static("bytes=1-")),
                (IF_RANGE, HeaderValue::from_static(condition)),
            ]);
            assert_eq!(
                part(&headers, Some(&tag), 10) != Part::Whole,
                expected,
                "{condition}"
            );
        }
    }
}
