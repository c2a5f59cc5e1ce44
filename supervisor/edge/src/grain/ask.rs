//! Reads a browser's request as one of the things a `WebSession` can be asked.

use bytes::Bytes;
use hyper::Method;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName};
use hyper::http::request::Parts;
use percloud_schemas::web_session_capnp::web_session::PropfindDepth;

use crate::edge::Edge;
use crate::grain::sessions::Session;
use crate::intake::Intake;
use crate::respond::Refusal;
use crate::said::Heard;

const DEPTH: HeaderName = HeaderName::from_static("depth");
const DESTINATION: HeaderName = HeaderName::from_static("destination");
const OVERWRITE: HeaderName = HeaderName::from_static("overwrite");
const LOCK_TOKEN: HeaderName = HeaderName::from_static("lock-token");

/// A request, read and bounded, ready to be sent to the app, twice if need be.
pub(super) struct Ask {
    pub verb: Verb,
    pub headers: HeaderMap,
    pub heard: Heard,
    /// Everything after the first slash, as received, with the query (sheet trap 16).
    pub path: String,
    pub payload: Payload,
}

/// What is asked, with what only this method says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
    Options,
    Propfind(PropfindDepth),
    Proppatch,
    Mkcol,
    Copy(Transfer),
    Move(Transfer),
    Lock { shallow: bool },
    Unlock { token: String },
    Acl,
    Report,
}

/// Where something is copied or moved to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Transfer {
    pub destination: String,
    pub no_overwrite: bool,
    pub shallow: bool,
}

/// A body that is here.
pub(super) enum Payload {
    Nothing,
    /// UTF-8, as has been seen to.
    Xml(Bytes),
    Whole(Bytes),
}

impl Ask {
    /// Reads a request. A body that should reach the app as a stream is handed back unread.
    ///
    /// # Errors
    ///
    /// For methods nobody knows, headers that make no sense, and bodies beyond their bounds.
    pub(super) async fn read(
        edge: &Edge,
        session: &Session,
        parts: Parts,
        heard: Heard,
        mut body: Intake,
    ) -> Result<(Self, Option<Intake>), Refusal> {
        let verb = Verb::read(&parts.method, &parts.headers, &session.origin)?;
        let path = parts.uri.path_and_query().map_or("", |path| path.as_str());
        let path = path.strip_prefix('/').unwrap_or_default().to_owned();
        let limits = &edge.limits;
        let budgets = [&edge.bodies.requests, session.share.collected()];
        let mut streamed = None;
        let payload = match verb {
            Verb::Post | Verb::Put => match body.size() {
                Some(size) if size < limits.whole_body as u64 => {
                    Payload::Whole(body.whole(limits.whole_body, &budgets).await?)
                }
                _ => {
                    streamed = Some(body);
                    Payload::Nothing
                }
            },
            Verb::Patch | Verb::Mkcol | Verb::Report => {
                Payload::Whole(body.whole(limits.collected_body, &budgets).await?)
            }
            Verb::Propfind(_) | Verb::Proppatch | Verb::Lock { .. } | Verb::Acl => {
                Payload::Xml(xml(&parts.headers, body.whole(limits.xml_body, &budgets).await?)?)
            }
            _ => Payload::Nothing,
        };
        Ok((
            Self {
                verb,
                headers: parts.headers,
                heard,
                path,
                payload,
            },
            streamed,
        ))
    }

    /// Whether asking twice is the same as asking once (RFC 9110 section 9.2.2).
    pub(super) fn may_be_repeated(&self) -> bool {
        use Verb::{Delete, Get, Head, Options, Propfind, Put, Report};
        matches!(
            self.verb,
            Get | Head | Options | Put | Delete | Propfind(_) | Report
        )
    }

    /// The type of the body; what has none is taken for bytes.
    pub(super) fn mime_type(&self) -> &str {
        text(&self.headers, &CONTENT_TYPE).unwrap_or("application/octet-stream")
    }

    /// The coding of the body, empty for none.
    pub(super) fn encoding(&self) -> &str {
        text(&self.headers, &CONTENT_ENCODING).unwrap_or_default()
    }
}

impl Verb {
    fn read(method: &Method, headers: &HeaderMap, origin: &str) -> Result<Self, Refusal> {
        let shallow = || text(headers, &DEPTH) == Some("0");
        let transfer = || -> Result<Transfer, Refusal> {
            Ok(Transfer {
                destination: destination(headers, origin)?,
                no_overwrite: text(headers, &OVERWRITE).is_some_and(|value| value.eq_ignore_ascii_case("f")),
                shallow: shallow(),
            })
        };
        Ok(match method.as_str() {
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "POST" => Self::Post,
            "PUT" => Self::Put,
            "PATCH" => Self::Patch,
            "DELETE" => Self::Delete,
            "OPTIONS" => Self::Options,
            "PROPFIND" => Self::Propfind(match text(headers, &DEPTH) {
                Some("0") => PropfindDepth::Zero,
                Some("1") => PropfindDepth::One,
                None => PropfindDepth::Infinity,
                Some(depth) if depth.eq_ignore_ascii_case("infinity") => PropfindDepth::Infinity,
                Some(_) => {
                    return Err(Refusal::BadRequest(
                        "The header Depth is none of 0, 1 and infinity.",
                    ));
                }
            }),
            "PROPPATCH" => Self::Proppatch,
            "MKCOL" => Self::Mkcol,
            "COPY" => Self::Copy(transfer()?),
            "MOVE" => Self::Move(transfer()?),
            "LOCK" => Self::Lock { shallow: shallow() },
            "UNLOCK" => Self::Unlock {
                token: text(headers, &LOCK_TOKEN)
                    .ok_or(Refusal::BadRequest("The header Lock-Token is missing."))?
                    .to_owned(),
            },
            "ACL" => Self::Acl,
            "REPORT" => Self::Report,
            other => return Err(Refusal::UnknownMethod(other.chars().take(32).collect())),
        })
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// The path a `Destination` means, without host and first slash. It must be on the same session host.
fn destination(headers: &HeaderMap, origin: &str) -> Result<String, Refusal> {
    let url = text(headers, &DESTINATION).ok_or(Refusal::BadRequest("The header Destination is missing."))?;
    let path = match url.get(..origin.len()) {
        Some(start) if start.eq_ignore_ascii_case(origin) => &url[origin.len()..],
        _ => url,
    };
    // Anything else that has no leading slash is another host, or a longer name that only begins like ours.
    match path.strip_prefix('/') {
        Some(path) if !path.starts_with('/') && !path.contains('#') => Ok(path.to_owned()),
        _ => Err(Refusal::ForeignDestination),
    }
}

/// An XML document of WebDAV: of a type ending in `/xml` (sheet 5.3), UTF-8, or nothing at all. Browsers call what a
/// script sends without saying what it is `text/plain`, which is how some apps' own pages speak WebDAV.
fn xml(headers: &HeaderMap, body: Bytes) -> Result<Bytes, Refusal> {
    if body.is_empty() {
        return Ok(body);
    }
    let kind = text(headers, &CONTENT_TYPE)
        .and_then(|kind| kind.split(';').next())
        .unwrap_or_default()
        .trim();
    let coded = headers
        .get(CONTENT_ENCODING)
        .is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"));
    let kind = kind.to_ascii_lowercase();
    if coded || !(kind.is_empty() || kind.ends_with("/xml") || kind == "text/plain") {
        return Err(Refusal::NotXml);
    }
    match std::str::from_utf8(&body) {
        Ok(_) => Ok(body),
        Err(_) => Err(Refusal::BadRequest("The XML document is not UTF-8.")),
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    const ORIGIN: &str = "http://ui-00.percloud.localhost:6080";

    #[test]
    fn a_destination_stays_on_its_host() {
        let cases = [
            ("/a/b", Some("a/b")),
            ("http://ui-00.percloud.localhost:6080/a%20b?x", Some("a%20b?x")),
            ("HTTP://UI-00.percloud.localhost:6080/", Some("")),
            ("http://ui-00.percloud.localhost:60801/a", None),
            ("http://ui-00.percloud.localhost:6080", None),
            ("http://evil.example/a", None),
            ("//evil.example/a", None),
            ("a/b", None),
        ];
        for (url, expected) in cases {
            let headers = HeaderMap::from_iter([(DESTINATION, HeaderValue::from_static(url))]);
            assert_eq!(destination(&headers, ORIGIN).ok().as_deref(), expected, "{url}");
        }
    }

    #[test]
    fn methods_say_what_their_headers_mean() {
        let headers = HeaderMap::from_iter([
            (DEPTH, HeaderValue::from_static("0")),
            (DESTINATION, HeaderValue::from_static("/x")),
            (OVERWRITE, HeaderValue::from_static("F")),
            (LOCK_TOKEN, HeaderValue::from_static("<urn:x>")),
        ]);
        let read =
            |method: &str| Verb::read(&Method::from_bytes(method.as_bytes()).unwrap(), &headers, ORIGIN);
        let transfer = || Transfer {
            destination: "x".to_owned(),
            no_overwrite: true,
            shallow: true,
        };
        assert_eq!(read("COPY"), Ok(Verb::Copy(transfer())));
        assert_eq!(read("MOVE"), Ok(Verb::Move(transfer())));
        assert_eq!(read("LOCK"), Ok(Verb::Lock { shallow: true }));
        assert_eq!(
            read("UNLOCK"),
            Ok(Verb::Unlock {
                token: "<urn:x>".to_owned()
            })
        );
        assert_eq!(read("PROPFIND"), Ok(Verb::Propfind(PropfindDepth::Zero)));
        for unknown in ["BREW", "CONNECT", "TRACE", "get"] {
            assert!(
                matches!(read(unknown), Err(Refusal::UnknownMethod(_))),
                "{unknown}"
            );
        }
        assert!(Verb::read(&Method::from_bytes(b"UNLOCK").unwrap(), &HeaderMap::new(), ORIGIN).is_err());
    }

    #[test]
    fn xml_is_xml() {
        let of = |kind: &'static str| HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))]);
        assert_eq!(
            xml(&of("text/xml; charset=utf-8"), Bytes::from_static(b"<a/>")),
            Ok(Bytes::from_static(b"<a/>"))
        );
        assert_eq!(xml(&HeaderMap::new(), Bytes::new()), Ok(Bytes::new()));
        assert_eq!(
            xml(&of("text/plain;charset=UTF-8"), Bytes::from_static(b"<a/>")),
            Ok(Bytes::from_static(b"<a/>"))
        );
        assert_eq!(
            xml(&of("application/json"), Bytes::from_static(b"<a/>")),
            Err(Refusal::NotXml)
        );
        assert!(xml(&of("application/xml"), Bytes::from_static(b"\xff")).is_err());
    }
}
