//! What a website answers, as a session says it.

use std::borrow::Cow;
use std::rc::Rc;

use bytes::Bytes;
use capnp::Error;
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use percloud_schemas::util_capnp::{byte_stream, handle};
use percloud_schemas::web_session_capnp::web_session::response::{self, ClientErrorCode, SuccessCode};
use percloud_schemas::web_session_capnp::web_session::{e_tag, options};
use tokio_util::task::AbortOnDropHandle;

use super::Site;
use crate::outlet::Room;

/// Longest error page passed on, in bytes; the rest is cut off.
const ERROR_PAGE: usize = 1 << 20;
/// Fields without a place of their own that are passed on, and their bytes in all.
const FIELDS: usize = 64;
const FIELD_BYTES: usize = 16 << 10;

/// Fills `out` from the answer to a request for `from`. A body that is long, or of unknown length, goes to `stream`.
pub(super) async fn deliver(
    site: &Site,
    from: &str,
    answer: Response<Incoming>,
    stream: Option<byte_stream::Client>,
    room: Room,
    mut out: response::Builder<'_>,
) -> Result<(), Error> {
    let (head, body) = answer.into_parts();
    set_additional(&head.headers, &mut out);
    let mut body = Pieces {
        site: site.clone(),
        body,
    };
    match head.status.as_u16() {
        204 | 205 => {
            let mut empty = out.init_no_content();
            empty.set_should_reset_form(head.status == StatusCode::RESET_CONTENT);
            if let Some(tag) = head.headers.get(header::ETAG) {
                set_tag(tag, empty.init_e_tag());
            }
        }
        304 | 412 => {
            let mut failed = out.init_precondition_failed();
            if let Some(tag) = head.headers.get(header::ETAG) {
                set_tag(tag, failed.reborrow().init_matching_e_tag());
            }
        }
        200..=299 => {
            let mut content = out.init_content();
            content.set_status_code(success(head.status));
            set_described(&head.headers, &mut content);
            let limit = site.0.world.limits.whole;
            match body.beginning(limit, stream).await? {
                Beginning::Whole(bytes) => content.init_body().set_bytes(&bytes),
                Beginning::More(first, stream) => {
                    let pump = site.0.outlet.spawn(async move {
                        let _room = room;
                        if let Err(error) = pump(first, body, stream).await {
                            tracing::debug!("an answer ended early: {error}");
                        }
                    });
                    content
                        .init_body()
                        .set_stream(capnp_rpc::new_client(Streaming { _pump: pump }));
                }
            }
        }
        301 | 302 | 303 | 307 | 308 => {
            let location = head.headers.get(header::LOCATION);
            let location = location.and_then(|location| location.to_str().ok());
            let told = location.and_then(|location| site.0.address.relative(from, location));
            let told = told.ok_or_else(|| Error::failed("a redirect that leads nowhere".to_owned()))?;
            let mut redirect = out.init_redirect();
            redirect.set_is_permanent(matches!(head.status.as_u16(), 301 | 308));
            redirect.set_switch_to_get(matches!(head.status.as_u16(), 301..=303));
            redirect.set_location(&told);
        }
        status @ 400..=599 => {
            let page = body.first(ERROR_PAGE).await?;
            let html = is_html(&head.headers).then(|| String::from_utf8_lossy(&page));
            let set_other = |body| set_page(&head.headers, &page, body);
            if status < 500 {
                let mut error = out.init_client_error();
                error.set_status_code(client_error(head.status));
                match html {
                    Some(html) => error.set_description_html(&*html),
                    None if page.is_empty() => {}
                    None => set_other(error.init_non_html_body()),
                }
            } else {
                let mut error = out.init_server_error();
                match html {
                    Some(html) => error.set_description_html(&*html),
                    None if page.is_empty() => {}
                    None => set_other(error.init_non_html_body()),
                }
            }
        }
        status => {
            return Err(Error::failed(format!(
                "the website answered with status {status}"
            )));
        }
    }
    Ok(())
}

/// The pieces of a body; each has to come in time.
struct Pieces {
    site: Site,
    body: Incoming,
}

enum Beginning {
    Whole(Vec<u8>),
    More(Bytes, byte_stream::Client),
}

impl Pieces {
    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        let limit = self.site.0.world.limits.answer;
        loop {
            let frame = tokio::time::timeout(limit, self.body.frame()).await;
            let frame = frame
                .map_err(|_| Error::failed("the website stopped in the middle of an answer".to_owned()))?;
            let Some(frame) = frame else { return Ok(None) };
            let frame = frame.map_err(|error| {
                Error::failed(format!("the answer broke off: {}", super::innermost(&error)))
            })?;
            // What is no data are trailers, which have no place in a session.
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
    }

    /// All of the body when that is short, else its first piece for `stream`. How short it is may not be known from the
    /// start; without a stream the end is waited for.
    async fn beginning(
        &mut self,
        limit: usize,
        stream: Option<byte_stream::Client>,
    ) -> Result<Beginning, Error> {
        let too_long = || {
            Error::failed(format!(
                "the answer is longer than {limit} bytes, and no responseStream was given"
            ))
        };
        let announced = self.body.size_hint();
        let is_short = announced.upper().is_some_and(|most| most <= limit as u64);
        if stream.is_none() && announced.lower() > limit as u64 {
            return Err(too_long());
        }
        let Some(first) = self.next().await? else {
            return Ok(Beginning::Whole(Vec::new()));
        };
        let is_whole = self.body.is_end_stream() && first.len() <= limit;
        if let Some(stream) = stream
            && !is_short
            && !is_whole
        {
            return Ok(Beginning::More(first, stream));
        }
        let mut whole = Vec::new();
        let mut piece = Some(first);
        while let Some(bytes) = piece {
            if whole.len() + bytes.len() > limit {
                return Err(too_long());
            }
            whole.extend_from_slice(&bytes);
            piece = self.next().await?;
        }
        Ok(Beginning::Whole(whole))
    }

    /// As much of the body as fits.
    async fn first(&mut self, limit: usize) -> Result<Vec<u8>, Error> {
        let mut page = Vec::new();
        while let Some(piece) = self.next().await? {
            let fits = piece.len().min(limit - page.len());
            page.extend_from_slice(&piece[..fits]);
            if page.len() == limit {
                break;
            }
        }
        Ok(page)
    }

    fn remaining(&self) -> Option<u64> {
        self.body.size_hint().exact()
    }
}

/// Copies a body into a byte stream, no faster than that takes it.
async fn pump(first: Bytes, mut body: Pieces, stream: byte_stream::Client) -> Result<(), Error> {
    // Not waited for: the bytes may follow at once, and whoever does not care may say so.
    let _expected = body.remaining().map(|left| {
        let mut request = stream.expect_size_request();
        request.get().set_size(left + first.len() as u64);
        request.send().promise
    });
    let mut piece = Some(first);
    while let Some(bytes) = piece {
        let mut request = stream.write_request();
        request.get().set_data(&bytes);
        request.send().await?;
        piece = body.next().await?;
    }
    stream.done_request().send().promise.await?;
    Ok(())
}

/// The handle of a streamed body: dropping it ends the pump and with it the connection.
struct Streaming {
    _pump: AbortOnDropHandle<()>,
}

impl handle::Server for Streaming {
    async fn ping(self: Rc<Self>, _: handle::PingParams, _: handle::PingResults) -> Result<(), Error> {
        Ok(())
    }
}

fn success(status: StatusCode) -> SuccessCode {
    match status.as_u16() {
        201 => SuccessCode::Created,
        202 => SuccessCode::Accepted,
        206 => SuccessCode::PartialContent,
        207 => SuccessCode::MultiStatus,
        _ => SuccessCode::Ok,
    }
}

fn client_error(status: StatusCode) -> ClientErrorCode {
    use ClientErrorCode as E;
    match status.as_u16() {
        403 => E::Forbidden,
        404 => E::NotFound,
        405 => E::MethodNotAllowed,
        406 => E::NotAcceptable,
        409 => E::Conflict,
        410 => E::Gone,
        413 => E::RequestEntityTooLarge,
        414 => E::RequestUriTooLong,
        415 => E::UnsupportedMediaType,
        418 => E::ImATeapot,
        422 => E::UnprocessableEntity,
        // Among them 401: the credentials are the platform's, and the app can do nothing about them.
        _ => E::BadRequest,
    }
}

fn shown(value: &HeaderValue) -> Cow<'_, str> {
    String::from_utf8_lossy(value.as_bytes())
}

fn set_tag(value: &HeaderValue, mut tag: e_tag::Builder<'_>) {
    let text = shown(value);
    let (weak, quoted) = match text.strip_prefix("W/") {
        Some(rest) => (true, rest),
        None => (false, &*text),
    };
    tag.set_weak(weak);
    tag.set_value(quoted.trim_matches('"'));
}

fn set_described(fields: &HeaderMap, content: &mut response::content::Builder<'_>) {
    if let Some(encoding) = fields.get(header::CONTENT_ENCODING) {
        content.set_encoding(shown(encoding).as_ref());
    }
    if let Some(language) = fields.get(header::CONTENT_LANGUAGE) {
        content.set_language(shown(language).as_ref());
    }
    if let Some(kind) = fields.get(header::CONTENT_TYPE) {
        content.set_mime_type(shown(kind).as_ref());
    }
    if let Some(tag) = fields.get(header::ETAG) {
        set_tag(tag, content.reborrow().init_e_tag());
    }
}

fn set_page(fields: &HeaderMap, page: &[u8], mut body: response::error_body::Builder<'_>) {
    body.set_data(page);
    if let Some(encoding) = fields.get(header::CONTENT_ENCODING) {
        body.set_encoding(shown(encoding).as_ref());
    }
    if let Some(language) = fields.get(header::CONTENT_LANGUAGE) {
        body.set_language(shown(language).as_ref());
    }
    if let Some(kind) = fields.get(header::CONTENT_TYPE) {
        body.set_mime_type(shown(kind).as_ref());
    }
}

fn is_html(fields: &HeaderMap) -> bool {
    let kind = fields.get(header::CONTENT_TYPE).map(shown).unwrap_or_default();
    let is_plain = !fields.contains_key(header::CONTENT_ENCODING);
    is_plain && kind.trim_start().to_ascii_lowercase().starts_with("text/html")
}

/// Passes on what has no place of its own and is said to whoever asked. Nobody's page is shown with these, so they need no
/// list of what is harmless; whoever hands them on has one.
fn set_additional(fields: &HeaderMap, out: &mut response::Builder<'_>) {
    let mut bytes = 0;
    let passed: Vec<(&HeaderName, &HeaderValue)> = fields
        .iter()
        .filter(|(name, _)| is_passed(name))
        .take(FIELDS)
        .take_while(|(name, value)| {
            bytes += name.as_str().len() + value.len();
            bytes <= FIELD_BYTES
        })
        .collect();
    let mut list = out
        .reborrow()
        .init_additional_headers(u32::try_from(passed.len()).expect("there are few"));
    for (index, (name, value)) in (0..).zip(passed) {
        let mut field = list.reborrow().get(index);
        field.set_name(name.as_str());
        field.set_value(shown(value).as_ref());
    }
}

/// Not what says how the message travelled, keeps a state with the site, or has a place of its own.
fn is_passed(name: &HeaderName) -> bool {
    const LEFT: [&str; 16] = [
        "connection",
        "content-encoding",
        "content-language",
        "content-length",
        "content-type",
        "etag",
        "keep-alive",
        "location",
        "proxy-authenticate",
        "set-cookie",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "www-authenticate",
        "alt-svc",
    ];
    !LEFT.contains(&name.as_str())
}

/// What WebDAV a site speaks (RFC 4918 section 10.1).
pub(super) fn set_options(fields: &HeaderMap, mut out: options::Builder<'_>) {
    let mut extensions = Vec::new();
    for value in fields
        .get_all("dav")
        .iter()
        .filter_map(|value| value.to_str().ok())
    {
        for token in value.split(',').map(str::trim).take(FIELDS) {
            match token {
                "1" => out.set_dav_class1(true),
                "2" => out.set_dav_class2(true),
                "3" => out.set_dav_class3(true),
                "" => {}
                other => extensions.push(other),
            }
        }
    }
    extensions.truncate(FIELDS);
    let mut list = out.init_dav_extensions(u32::try_from(extensions.len()).expect("there are few"));
    for (index, extension) in (0..).zip(extensions) {
        list.set(index, extension);
    }
}
