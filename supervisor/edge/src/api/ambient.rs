//! Refuses requests to which a browser may have added a password it remembers, on behalf of another site.
//!
//! A token in `Bearer` or in the path was put there by whoever asks. One in `Basic` may be the browser's doing: it asks
//! a person once and then sends the password with everything that goes to this host, whoever wrote the page it comes
//! from. What scripts of other sites cannot send without asking first is safe: no answer to that question allows
//! credentials. What they can read is not: they read nothing but WebSockets, which no script can give a password.

use hyper::header::{CONTENT_TYPE, HeaderMap, ORIGIN};
use hyper::{Method, Request};

use crate::grain::{FETCH_SITE, is_socket};
use crate::respond::Refusal;

/// Refuses a request with `Basic` that another site may have caused. `own` is the origin of the host it came to.
///
/// # Errors
///
/// [`Refusal::CrossSite`].
pub(super) fn refuse<B>(own: &str, request: &Request<B>) -> Result<(), Refusal> {
    let headers = request.headers();
    let acts = is_socket(headers) || (request.method() == Method::POST && goes_unasked(headers));
    if acts && is_foreign(own, headers) {
        return Err(Refusal::CrossSite);
    }
    Ok(())
}

/// Programs that are no browsers say neither.
fn is_foreign(own: &str, headers: &HeaderMap) -> bool {
    match headers.get(ORIGIN) {
        Some(origin) => origin.as_bytes() != own.as_bytes(),
        None => headers
            .get(FETCH_SITE)
            .is_some_and(|site| !matches!(site.as_bytes(), b"same-origin" | b"none")),
    }
}

/// Whether a browser sends a body of this type without asking first (Fetch standard, "CORS-safelisted request-header").
fn goes_unasked(headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(CONTENT_TYPE) else {
        return true;
    };
    let kind = kind.to_str().unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    [
        "",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "text/plain",
    ]
    .iter()
    .any(|simple| kind.eq_ignore_ascii_case(simple))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "http://api-00.percloud.localhost:6080";

    #[test]
    fn what_another_site_could_have_sent_is_refused() {
        let foreign = ("origin", "https://evil.example");
        let socket = [("upgrade", "websocket"), ("connection", "Upgrade")];
        let json = ("content-type", "application/json");
        for (method, headers, refused) in [
            ("POST", vec![foreign], true),
            ("POST", vec![("origin", "null")], true),
            (
                "POST",
                vec![foreign, ("content-type", "Text/Plain; charset=utf-8")],
                true,
            ),
            ("POST", vec![foreign, json], false),
            ("POST", vec![("sec-fetch-site", "cross-site")], true),
            ("POST", vec![("sec-fetch-site", "same-site")], true),
            ("POST", vec![("sec-fetch-site", "same-origin")], false),
            ("POST", vec![("origin", OWN)], false),
            ("POST", vec![], false),
            ("GET", vec![foreign], false),
            ("PUT", vec![foreign], false),
            ("GET", vec![socket[0], socket[1], foreign], true),
            ("GET", vec![socket[0], socket[1], ("origin", OWN)], false),
            ("GET", vec![socket[0], socket[1]], false),
        ] {
            let mut request = Request::builder().method(method);
            for (name, value) in &headers {
                request = request.header(*name, *value);
            }
            let request = request.body(()).unwrap();
            assert_eq!(refuse(OWN, &request).is_err(), refused, "{method} {headers:?}");
        }
    }
}
