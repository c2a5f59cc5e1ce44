//! Values of headers that an app may set: each checked, none taken as it is.

use std::fmt::Write;
use std::time::{Duration, SystemTime};

use hyper::header::{CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, SET_COOKIE};
use percloud_schemas::web_session_capnp::web_session::response;
use percloud_schemas::web_session_capnp::web_session::{self, cookie};

use crate::cookie::is_reserved;
use crate::grain::etag;
use crate::grain::reply::{UNREADABLE, VALUE};
use crate::respond::Refusal;

/// Bounds on the head of an answer: cookies and further headers.
const COOKIES: u32 = 64;
const HEADERS: u32 = 64;

/// Sets a header to what an app says if it says something that the header can hold.
pub(super) fn checked(
    headers: &mut HeaderMap,
    name: HeaderName,
    value: capnp::text::Reader<'_>,
    valid: fn(&[u8]) -> bool,
) {
    let value = value.as_bytes();
    if value.is_empty() {
        return;
    }
    if let Some(value) = Some(value)
        .filter(|value| valid(value))
        .and_then(|value| HeaderValue::from_bytes(value).ok())
    {
        headers.insert(name, value);
    } else if name == CONTENT_TYPE {
        // Never without a type where the app meant one: the browser must not guess.
        headers.insert(name, HeaderValue::from_static("application/octet-stream"));
    }
}

pub(super) fn is_printable(value: &[u8]) -> bool {
    value.len() <= 1024 && value.iter().all(|byte| (0x20..=0x7e).contains(byte))
}

pub(super) fn is_token(value: &[u8]) -> bool {
    value.len() <= 64
        && value
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~, ".contains(byte))
}

pub(super) fn tag(headers: &mut HeaderMap, tag: web_session::e_tag::Reader<'_>) {
    if let Some(value) = etag::header(tag) {
        headers.insert(ETAG, value);
    }
}

/// `attachment` with a name that every browser reads: quoted ASCII, and beside it the whole (RFC 6266).
pub(crate) fn disposition(name: &str) -> Result<HeaderValue, Refusal> {
    let mut text = "attachment; filename=\"".to_owned();
    for character in name.chars().take(255) {
        match character {
            '"' | '\\' => text.extend(['\\', character]),
            ' '..='~' => text.push(character),
            _ => text.push('_'),
        }
    }
    text.push('"');
    if !name.is_ascii() {
        text.push_str("; filename*=UTF-8''");
        for byte in name.chars().take(255).collect::<String>().bytes() {
            if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) {
                text.push(char::from(byte));
            } else {
                let _ = write!(text, "%{byte:02X}");
            }
        }
    }
    HeaderValue::try_from(text).map_err(|_| UNREADABLE)
}

/// Cookies an app sets. They live on a throw-away host and are never sent anywhere else; those with characters that
/// would end a name or value are left out (sheet 5.3), as are those named like ours.
pub(super) fn cookies(
    headers: &mut HeaderMap,
    list: capnp::struct_list::Reader<'_, cookie::Owned>,
    secure: bool,
) -> Result<(), Refusal> {
    if list.len() > COOKIES {
        return Err(Refusal::AppAnswer("it sets too many cookies"));
    }
    for cookie in list {
        if let Some(header) = set_cookie(cookie, secure) {
            headers.append(SET_COOKIE, header);
        }
    }
    Ok(())
}

fn set_cookie(cookie: cookie::Reader<'_>, secure: bool) -> Option<HeaderValue> {
    let clean = |text: &str| {
        text.bytes()
            .all(|byte| (0x20..=0x7e).contains(&byte) && byte != b';' && byte != b',')
    };
    let name = cookie.get_name().ok()?.to_str().ok()?;
    let value = cookie.get_value().ok()?.to_str().ok()?;
    let path = cookie.get_path().ok()?.to_str().ok()?;
    if name.is_empty() || name.contains(['=', ' ']) || is_reserved(name) || name.len() + value.len() > 4096 {
        return None;
    }
    if ![name, value, path].into_iter().all(clean) || path.len() > 1024 {
        return None;
    }
    let mut text = format!("{name}={value}");
    match cookie.get_expires().which().ok()? {
        cookie::expires::None(()) => {}
        cookie::expires::Absolute(seconds) => {
            // The year 9999 ends then; before 1970 everything has expired alike.
            let seconds = u64::try_from(seconds).unwrap_or(0).min(253_402_300_799);
            let date = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
            let _ = write!(text, "; Expires={date}");
        }
        cookie::expires::Relative(seconds) => {
            let _ = write!(text, "; Max-Age={seconds}");
        }
    }
    if !path.is_empty() {
        let _ = write!(text, "; Path={path}");
    }
    if cookie.get_http_only() {
        text.push_str("; HttpOnly");
    }
    if secure {
        text.push_str("; Secure");
    }
    text.push_str("; SameSite=Strict");
    HeaderValue::try_from(text).ok()
}

/// Further headers an app may set; the rest of what it tries is left out.
pub(super) fn additional(
    headers: &mut HeaderMap,
    list: capnp::struct_list::Reader<'_, response::header::Owned>,
) -> Result<(), Refusal> {
    if list.len() > HEADERS {
        return Err(Refusal::AppAnswer("it has too many headers"));
    }
    for header in list {
        let (Ok(name), Ok(value)) = (header.get_name(), header.get_value()) else {
            continue;
        };
        let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else {
            continue;
        };
        if !(name.as_str().starts_with("x-sandstorm-app-") || name.as_str() == "x-oc-mtime") {
            continue;
        }
        if value.len() <= VALUE
            && let Ok(value) = HeaderValue::from_bytes(value.as_bytes())
        {
            headers.append(name, value);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cookie(name: &str, value: &str, fill: impl FnOnce(&mut cookie::Builder<'_>)) -> Option<String> {
        let mut message = capnp::message::Builder::new_default();
        let mut builder = message.init_root::<cookie::Builder<'_>>();
        builder.set_name(name);
        builder.set_value(value);
        fill(&mut builder);
        set_cookie(builder.into_reader(), false).map(|header| header.to_str().unwrap().to_owned())
    }

    #[test]
    fn cookies_are_rebuilt_and_cannot_smuggle_attributes() {
        assert_eq!(cookie("a", "b", |_| {}).unwrap(), "a=b; SameSite=Strict");
        let full = cookie("a", "b", |cookie| {
            cookie.set_path("/x");
            cookie.set_http_only(true);
            cookie.reborrow().init_expires().set_absolute(784_111_777);
        });
        assert_eq!(
            full.unwrap(),
            "a=b; Expires=Sun, 06 Nov 1994 08:49:37 GMT; Path=/x; HttpOnly; SameSite=Strict"
        );
        let aged = cookie("a", "b", |cookie| {
            cookie.reborrow().init_expires().set_relative(60)
        });
        assert_eq!(aged.unwrap(), "a=b; Max-Age=60; SameSite=Strict");
        for absolute in [i64::MIN, i64::MAX] {
            assert!(
                cookie("a", "b", |cookie| cookie
                    .reborrow()
                    .init_expires()
                    .set_absolute(absolute))
                .is_some()
            );
        }
        for (name, value) in [
            ("", "b"),
            ("a=b", "c"),
            ("a", "b; Domain=localhost"),
            ("a;", "b"),
            ("a", "b\r\nX: y"),
            ("a", "b,c"),
            ("a\0", "b"),
            ("__Host-percloud-session", "x"),
            ("__HOST-PERCLOUD", "x"),
            ("percloud", "x"),
        ] {
            assert_eq!(cookie(name, value, |_| {}), None, "{name:?}={value:?}");
        }
        assert_eq!(
            cookie("a", "b", |cookie| cookie.set_path("/; Domain=localhost")),
            None
        );
        assert_eq!(cookie("a", &"b".repeat(5000), |_| {}), None);
    }

    #[test]
    fn file_names_stay_within_their_quotes() {
        assert_eq!(
            disposition("a b.txt").unwrap(),
            "attachment; filename=\"a b.txt\""
        );
        assert_eq!(
            disposition("a\"; x=\\\r\n").unwrap(),
            "attachment; filename=\"a\\\"; x=\\\\__\""
        );
        assert_eq!(
            disposition("Grüße.txt").unwrap(),
            "attachment; filename=\"Gr__e.txt\"; filename*=UTF-8''Gr%C3%BC%C3%9Fe.txt"
        );
    }
}
