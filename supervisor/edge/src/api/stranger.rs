//! What an API host says to those who bring no token: what the token's holder registered for them, and nothing else.

use bytes::Bytes;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION,
};
use hyper::{Method, Response, StatusCode};
use percloud_schemas::front_capnp::front;

use crate::api::host::ApiHost;
use crate::body::Body;
use crate::edge::Edge;
use crate::grain::METHODS;
use crate::respond::{Answer, Refusal};

const DAV: HeaderName = HeaderName::from_static("dav");
/// Classes of WebDAV, bytes of a resource and of a path beyond these are not registered.
const CLASSES: u32 = 32;
const RESOURCE: usize = 64 << 10;
const PATH: usize = 1024;

/// What is registered for a path, as far as it can be said in HTTP.
#[derive(Debug, Default, PartialEq, Eq)]
struct Registered {
    dav: Vec<String>,
    resource: Option<Resource>,
}

#[derive(Debug, PartialEq, Eq)]
struct Resource {
    kind: HeaderValue,
    language: Option<HeaderValue>,
    encoding: Option<HeaderValue>,
    body: Bytes,
}

/// Answers a request without a token.
///
/// # Errors
///
/// [`Refusal::TokenMissing`] unless something is registered for it.
pub(super) async fn answer(
    edge: &Edge,
    host: &ApiHost,
    method: &Method,
    path: &str,
) -> Result<Answer, Refusal> {
    match *method {
        Method::OPTIONS => {
            let registered = registered(edge, host, path).await?;
            let mut answer = Response::new(Body::Empty);
            let headers = answer.headers_mut();
            headers.insert(ALLOW, METHODS);
            if let Ok(classes) = HeaderValue::try_from(registered.dav.join(", "))
                && !classes.is_empty()
            {
                headers.insert(DAV, classes);
            }
            Ok(answer)
        }
        Method::GET | Method::HEAD => {
            let registered = registered(edge, host, path).await?;
            registered.resource.map(show).ok_or(Refusal::TokenMissing)
        }
        _ => Err(Refusal::TokenMissing),
    }
}

/// Where a client looking for calendars or address books should go (RFC 6764 section 5), if the token's holder
/// registered a place: a resource at the well-known path whose text is a path.
///
/// # Errors
///
/// When the broker does not answer.
pub(super) async fn well_known(
    edge: &Edge,
    host: &ApiHost,
    method: &Method,
    path: &str,
) -> Result<Option<Answer>, Refusal> {
    let looks = matches!(method.as_str(), "GET" | "HEAD" | "PROPFIND");
    let path = path.strip_suffix('/').unwrap_or(path);
    if host.is_generic() || !looks || !matches!(path, "/.well-known/caldav" | "/.well-known/carddav") {
        return Ok(None);
    }
    let resource = registered(edge, host, path).await?.resource;
    let Some(location) = resource.and_then(|resource| place(&resource.body)) else {
        return Ok(None);
    };
    let mut answer = Response::new(Body::Empty);
    *answer.status_mut() = StatusCode::MOVED_PERMANENTLY;
    let headers = answer.headers_mut();
    headers.insert(LOCATION, location);
    // Tokens come and go, and what they registered with them.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(Some(answer))
}

/// A path on the same host. Two slashes, or a slash and what browsers take for one, would be another host.
fn place(body: &[u8]) -> Option<HeaderValue> {
    let text = std::str::from_utf8(body).ok()?.trim();
    let local = text.starts_with('/') && !text.starts_with("//") && !text.contains('\\');
    let clean = text.len() <= PATH && text.bytes().all(|byte| (0x21..=0x7e).contains(&byte));
    (local && clean).then(|| HeaderValue::try_from(text).ok())?
}

async fn registered(edge: &Edge, host: &ApiHost, path: &str) -> Result<Registered, Refusal> {
    if host.is_generic() {
        return Ok(Registered::default());
    }
    let mut request = edge.front.api_host_request();
    request.get().set_host_id(host.as_str());
    request.get().set_path(path);
    let reply = request.send().promise.await;
    reply
        .and_then(|reply| read(reply.get()?))
        .map_err(|error| Refusal::from_broker(&error))
}

fn read(reply: front::api_host_results::Reader<'_>) -> Result<Registered, capnp::Error> {
    if !reply.get_known() {
        return Ok(Registered::default());
    }
    // Tokens (RFC 9110), and addresses in angle brackets (RFC 4918 section 10.1).
    let is_class = |text: &str| {
        !text.is_empty()
            && text.len() <= 128
            && text
                .bytes()
                .all(|byte| (0x21..=0x7e).contains(&byte) && byte != b',')
    };
    let mut dav = Vec::new();
    let classes = reply.get_dav()?;
    for index in 0..classes.len().min(CLASSES) {
        let class = classes.get(index)?.to_str()?;
        if is_class(class) {
            dav.push(class.to_owned());
        }
    }
    let mut resource = None;
    if reply.has_resource() {
        let found = reply.get_resource()?;
        let body = found.get_body()?;
        if body.len() <= RESOURCE {
            let text = |value: capnp::text::Reader<'_>| {
                let value = value.as_bytes();
                let fits =
                    (1..=256).contains(&value.len()) && value.iter().all(|byte| (0x20..=0x7e).contains(byte));
                fits.then(|| HeaderValue::from_bytes(value).ok())?
            };
            resource = Some(Resource {
                kind: text(found.get_mime_type()?)
                    .unwrap_or(HeaderValue::from_static("text/plain; charset=utf-8")),
                language: text(found.get_language()?),
                encoding: text(found.get_encoding()?),
                body: Bytes::copy_from_slice(body),
            });
        }
    }
    Ok(Registered { dav, resource })
}

fn show(resource: Resource) -> Answer {
    let mut answer = Response::new(Body::Whole(resource.body));
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, resource.kind);
    if let Some(language) = resource.language {
        headers.insert(CONTENT_LANGUAGE, language);
    }
    if let Some(encoding) = resource.encoding {
        headers.insert(CONTENT_ENCODING, encoding);
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registered_place_is_on_the_same_host() {
        for (body, expected) in [
            ("/dav/calendars/", Some("/dav/calendars/")),
            (" /dav\n", Some("/dav")),
            ("//evil.example/", None),
            ("/\\evil.example/", None),
            ("https://evil.example/", None),
            ("dav", None),
            ("/a b", None),
            ("/a\r\nSet-Cookie: x", None),
            ("", None),
            ("<p>hello", None),
        ] {
            let found = place(body.as_bytes());
            assert_eq!(
                found.as_ref().map(|found| found.to_str().unwrap()),
                expected,
                "{body:?}"
            );
        }
        assert_eq!(place(b"/\xff"), None);
        assert_eq!(place(format!("/{}", "a".repeat(PATH)).as_bytes()), None);
    }
}
