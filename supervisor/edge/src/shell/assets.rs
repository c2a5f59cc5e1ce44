//! The page shell's files: embedded when this was built, or a page that says how to build them.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use hyper::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue,
    IF_NONE_MATCH, VARY,
};
use hyper::{Response, StatusCode};

use crate::body::Body;
use crate::respond::Answer;

#[derive(rust_embed::RustEmbed)]
#[folder = "../../shell-ui/dist"]
struct Dist;

/// The files of the page shell. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Assets(Arc<HashMap<String, File>>);

#[derive(Debug, Default)]
struct File {
    plain: Bytes,
    gzip: Option<Bytes>,
    brotli: Option<Bytes>,
    kind: &'static str,
    tag: String,
}

const INDEX: &str = "index.html";
/// The page that apps frame to show a text of the shell's (sheet 5.6).
const OFFER: &str = "offer-template.html";

const NOT_BUILT: &str = "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Percloud</title></head>\
    <body><p>Percloud is running, but its pages were not built. Run <code>cargo xtask up</code>.</p></body></html>\n";

impl Assets {
    /// The files embedded when this was built from `shell-ui/dist`.
    #[must_use]
    pub fn embedded() -> Self {
        let files = Dist::iter().filter_map(|path| {
            let file = Dist::get(&path)?;
            let bytes = match file.data {
                Cow::Borrowed(bytes) => Bytes::from_static(bytes),
                Cow::Owned(bytes) => Bytes::from(bytes),
            };
            Some((
                path.into_owned(),
                bytes,
                percloud_core::secret::hex(&file.metadata.sha256_hash()[..16]),
            ))
        });
        Self::new(files)
    }

    /// The given files: path without leading slash, bytes, and what tells versions apart. A `.br` or `.gz` beside a
    /// file is the same file compressed.
    #[must_use]
    pub fn new(files: impl IntoIterator<Item = (String, Bytes, String)>) -> Self {
        let mut table: HashMap<String, File> = HashMap::new();
        let mut compressed = Vec::new();
        for (path, bytes, tag) in files {
            match path.rsplit_once('.') {
                Some((plain, coding @ ("br" | "gz"))) => {
                    compressed.push((plain.to_owned(), coding == "br", bytes))
                }
                _ => {
                    let kind = kind(&path);
                    table.insert(
                        path,
                        File {
                            plain: bytes,
                            gzip: None,
                            brotli: None,
                            kind,
                            tag,
                        },
                    );
                }
            }
        }
        for (path, brotli, bytes) in compressed {
            if let Some(file) = table.get_mut(&path) {
                *(if brotli { &mut file.brotli } else { &mut file.gzip }) = Some(bytes);
            }
        }
        table.entry(INDEX.to_owned()).or_insert_with(|| File {
            plain: Bytes::from_static(NOT_BUILT.as_bytes()),
            kind: kind(INDEX),
            tag: "not-built".to_owned(),
            ..File::default()
        });
        Self(Arc::new(table))
    }

    /// The file for a path; the shell's page for every other path, since pages are told apart in the browser. `None`
    /// for missing files among those whose names change with their content, and for a missing page to be framed.
    pub(crate) fn answer(&self, path: &str, asked: &HeaderMap) -> Option<Answer> {
        let name = path.trim_start_matches('/');
        let hashed = name.starts_with("assets/");
        let name = if is_offer(path) { OFFER } else { name };
        let (name, file) = match self.0.get(name) {
            Some(file) => (name, file),
            None if hashed || name == OFFER => return None,
            None => (INDEX, self.0.get(INDEX)?),
        };
        let (bytes, coding) = match (&file.brotli, &file.gzip) {
            (Some(bytes), _) if takes(asked, "br") => (bytes, Some("br")),
            (_, Some(bytes)) if takes(asked, "gzip") => (bytes, Some("gzip")),
            _ => (&file.plain, None),
        };
        let tag = format!(
            "\"{}{}\"",
            file.tag,
            coding.map(|coding| format!("-{coding}")).unwrap_or_default()
        );
        let mut answer = Response::new(Body::Empty);
        if asked
            .get(IF_NONE_MATCH)
            .is_some_and(|have| have.as_bytes() == tag.as_bytes())
        {
            *answer.status_mut() = StatusCode::NOT_MODIFIED;
        } else {
            *answer.body_mut() = Body::Whole(bytes.clone());
        }
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(file.kind));
        headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
        headers.insert(
            ETAG,
            HeaderValue::try_from(tag).expect("digits and names of codings"),
        );
        let caching = if hashed {
            "public, max-age=31536000, immutable"
        } else if name == INDEX || name == OFFER {
            // What an address means may be somebody's own business.
            "private, no-cache"
        } else {
            "no-cache"
        };
        headers.insert(CACHE_CONTROL, HeaderValue::from_static(caching));
        if let Some(coding) = coding {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding));
        }
        Some(answer)
    }
}

/// Whether a path is that of the page to be framed by apps, which has a policy of its own.
pub(super) fn is_offer(path: &str) -> bool {
    matches!(path, "/offer-template" | "/offer-template.html")
}

/// Whether a browser takes a coding; one it weighs with nothing it does not take.
fn takes(asked: &HeaderMap, coding: &str) -> bool {
    asked
        .get_all(ACCEPT_ENCODING)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|entry| {
            let (name, weight) = entry.split_once(';').unwrap_or((entry, ""));
            let refused = weight
                .trim()
                .strip_prefix("q=")
                .is_some_and(|weight| weight.parse() == Ok(0.0));
            name.trim().eq_ignore_ascii_case(coding) && !refused
        })
}

/// Types of the files a build yields. Everything else is bytes.
fn kind(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, extension)| extension) {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("ico") => "image/x-icon",
        Some("json" | "map") => "application/json",
        Some("webmanifest") => "application/manifest+json",
        Some("woff2") => "font/woff2",
        Some("txt") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assets() -> Assets {
        let file = |path: &str, text: &'static str| {
            (
                path.to_owned(),
                Bytes::from_static(text.as_bytes()),
                "v1".to_owned(),
            )
        };
        Assets::new([
            file("assets/app-1a2b.js.br", "brotli"),
            file("index.html", "page"),
            file("assets/app-1a2b.js", "plain"),
            file("assets/app-1a2b.js.gz", "gzip"),
        ])
    }

    fn get(path: &str, coding: &'static str) -> Option<(String, HeaderMap)> {
        let asked = HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static(coding))]);
        let (parts, body) = assets().answer(path, &asked)?.into_parts();
        let Body::Whole(bytes) = body else {
            panic!("files are at hand")
        };
        Some((String::from_utf8(bytes.into()).unwrap(), parts.headers))
    }

    #[test]
    fn hashed_files_are_kept_for_ever_and_pages_are_asked_for_again() {
        let (text, headers) = get("/assets/app-1a2b.js", "identity").unwrap();
        assert_eq!(
            (text.as_str(), &headers[CACHE_CONTROL]),
            (
                "plain",
                &HeaderValue::from_static("public, max-age=31536000, immutable")
            )
        );
        assert_eq!(headers[CONTENT_TYPE], "text/javascript; charset=utf-8");
        for path in [
            "/",
            "/index.html",
            "/grain/abc",
            "/shared",
            "/join",
            "/../../etc/passwd",
        ] {
            let (text, headers) = get(path, "").unwrap();
            assert_eq!(
                (text.as_str(), &headers[CACHE_CONTROL]),
                ("page", &HeaderValue::from_static("private, no-cache")),
                "{path}"
            );
        }
        assert!(get("/assets/app-0000.js", "").is_none());
    }

    #[test]
    fn compressed_files_go_to_those_who_take_them() {
        for (asked, expected) in [
            ("gzip, deflate, br", "brotli"),
            ("gzip;q=0.5", "gzip"),
            ("br;q=0, gzip", "gzip"),
            ("deflate", "plain"),
        ] {
            assert_eq!(get("/assets/app-1a2b.js", asked).unwrap().0, expected, "{asked}");
        }
    }

    #[test]
    fn an_unchanged_page_is_not_sent_again() {
        let tag = get("/", "").unwrap().1[ETAG].clone();
        let answer = assets()
            .answer("/", &HeaderMap::from_iter([(IF_NONE_MATCH, tag)]))
            .unwrap();
        assert_eq!(answer.status(), StatusCode::NOT_MODIFIED);
    }
}
