//! Turns the app's answer into a `WebSession.Response`.

use std::borrow::Cow;
use std::rc::Rc;
use std::time::Duration;

use capnp::Error;
use percloud_schemas::util_capnp::{byte_stream, handle};
use percloud_schemas::web_session_capnp::web_session::response::{self, ClientErrorCode, SuccessCode};
use percloud_schemas::web_session_capnp::web_session::{cookie, e_tag};
use tokio::task::spawn_local;
use tokio_util::task::AbortOnDropHandle;

use crate::error::RequestError;
use crate::exchange::{Answer, Beginning, Body};
use crate::http::cookie::{Cookie, Expires};
use crate::http::disposition::attachment_name;
use crate::http::etag::ETag;
use crate::http::request::allowed;
use crate::http::response::{ResponseHead, text};
use crate::log::log;

/// Longest error page passed on, in bytes; the rest is cut off.
const MAX_ERROR_BODY: usize = 1 << 20;

/// Most of an unwanted body that is read, so that an app writing it does not see its client vanish.
const MAX_DRAINED: u64 = 1 << 20;

/// How long such a body may take.
const DRAIN_TIME: Duration = Duration::from_secs(10);

/// What a status code means to a session.
#[derive(Debug, PartialEq, Eq)]
enum Meaning {
    Content(SuccessCode),
    NoContent { reset_form: bool },
    Redirect { permanent: bool, switch_to_get: bool },
    PreconditionFailed,
    ClientError(ClientErrorCode),
    ServerError,
}

impl Meaning {
    fn of(status: u16) -> Result<Self, RequestError> {
        use ClientErrorCode as E;
        Ok(match status {
            200 => Self::Content(SuccessCode::Ok),
            201 => Self::Content(SuccessCode::Created),
            202 => Self::Content(SuccessCode::Accepted),
            204 => Self::NoContent { reset_form: false },
            205 => Self::NoContent { reset_form: true },
            206 => Self::Content(SuccessCode::PartialContent),
            207 => Self::Content(SuccessCode::MultiStatus),
            301 => Self::Redirect {
                permanent: true,
                switch_to_get: true,
            },
            // What browsers make of 302, too.
            302 | 303 => Self::Redirect {
                permanent: false,
                switch_to_get: true,
            },
            307 => Self::Redirect {
                permanent: false,
                switch_to_get: false,
            },
            308 => Self::Redirect {
                permanent: true,
                switch_to_get: false,
            },
            304 | 412 => Self::PreconditionFailed,
            403 => Self::ClientError(E::Forbidden),
            404 => Self::ClientError(E::NotFound),
            405 => Self::ClientError(E::MethodNotAllowed),
            406 => Self::ClientError(E::NotAcceptable),
            409 => Self::ClientError(E::Conflict),
            410 => Self::ClientError(E::Gone),
            413 => Self::ClientError(E::RequestEntityTooLarge),
            414 => Self::ClientError(E::RequestUriTooLong),
            415 => Self::ClientError(E::UnsupportedMediaType),
            418 => Self::ClientError(E::ImATeapot),
            422 => Self::ClientError(E::UnprocessableEntity),
            // Among them 401: who the user is, is not for the app to ask.
            400..=499 => Self::ClientError(E::BadRequest),
            500..=599 => Self::ServerError,
            _ => return Err(RequestError::Status(status)),
        })
    }
}

/// Fills `response` from the app's answer. A body that is long, or of unknown length and not here yet, goes to
/// `stream` afterwards.
pub(crate) async fn deliver(
    answer: Answer,
    stream: Option<byte_stream::Client>,
    mut response: response::Builder<'_>,
) -> Result<(), Error> {
    let Answer { head, mut body } = answer;
    let meaning = Meaning::of(head.status)?;
    set_cookies(&head, &mut response)?;
    set_additional_headers(&head, &mut response);
    match meaning {
        Meaning::Content(code) => {
            let beginning = body.begin().await?;
            let mut content = response.init_content();
            content.set_status_code(code);
            set_content_headers(&head, &mut content);
            match beginning {
                Beginning::Whole(bytes) => content.init_body().set_bytes(&bytes),
                Beginning::More(first) => {
                    let stream = stream.ok_or_else(|| Error::failed("no responseStream was given".into()))?;
                    let size = body
                        .remaining()
                        .map(|left| left.saturating_add(first.len() as u64));
                    let pump = spawn_local(async move {
                        if let Err(error) = pump(first.into(), body, size, stream).await {
                            log(format_args!("response stream ended early: {error}"));
                        }
                    });
                    let handle = Streaming {
                        _pump: AbortOnDropHandle::new(pump),
                    };
                    content.init_body().set_stream(capnp_rpc::new_client(handle));
                }
            }
        }
        Meaning::NoContent { reset_form } => {
            let mut no_content = response.init_no_content();
            no_content.set_should_reset_form(reset_form);
            if let Some(tag) = etag(&head) {
                set_etag(tag, no_content.init_e_tag());
            }
            drain(body);
        }
        Meaning::Redirect {
            permanent,
            switch_to_get,
        } => {
            let location = head.first("location").ok_or(RequestError::NoLocation)?;
            let mut redirect = response.init_redirect();
            redirect.set_is_permanent(permanent);
            redirect.set_switch_to_get(switch_to_get);
            redirect.set_location(text(location).as_ref());
            drain(body);
        }
        Meaning::PreconditionFailed => {
            let mut failed = response.init_precondition_failed();
            if let Some(tag) = etag(&head) {
                set_etag(tag, failed.reborrow().init_matching_e_tag());
            }
            drain(body);
        }
        Meaning::ClientError(code) => {
            let page = ErrorPage::read(&head, &mut body).await?;
            let mut error = response.init_client_error();
            error.set_status_code(code);
            if let Some(html) = page.description() {
                error.set_description_html(html.as_ref());
            }
            if page.needs_its_type() {
                page.set(error.init_non_html_body());
            }
        }
        Meaning::ServerError => {
            let page = ErrorPage::read(&head, &mut body).await?;
            let mut error = response.init_server_error();
            if let Some(html) = page.description() {
                error.set_description_html(html.as_ref());
            }
            if page.needs_its_type() {
                page.set(error.init_non_html_body());
            }
        }
    }
    Ok(())
}

/// Copies a body into a byte stream, no faster than the stream takes it.
async fn pump(
    first: bytes::BytesMut,
    mut body: Body,
    size: Option<u64>,
    stream: byte_stream::Client,
) -> Result<(), Error> {
    // Not waited for: the bytes may follow at once, and a platform that does not care may say so.
    let _expected = size.map(|size| {
        let mut request = stream.expect_size_request();
        request.get().set_size(size);
        request.send().promise
    });
    let mut piece = Some(first);
    while let Some(bytes) = piece {
        if !bytes.is_empty() {
            let mut request = stream.write_request();
            request.get().set_data(&bytes);
            // Given back before the wait, so that the next read may reuse it.
            drop(bytes);
            request.send().await?;
        }
        piece = body.next().await?;
    }
    stream.done_request().send().promise.await?;
    Ok(())
}

/// The handle of a streamed body: dropping it ends the pump and with it the app's connection.
struct Streaming {
    _pump: AbortOnDropHandle<()>,
}

impl handle::Server for Streaming {
    async fn ping(self: Rc<Self>, _: handle::PingParams, _: handle::PingResults) -> Result<(), Error> {
        Ok(())
    }
}

/// Reads a body nobody will see, within bounds, so that the app can finish writing it in peace.
fn drain(mut body: Body) {
    if body.remaining() == Some(0) {
        return;
    }
    spawn_local(tokio::time::timeout(DRAIN_TIME, async move {
        let mut left = MAX_DRAINED;
        while let Ok(Some(piece)) = body.next().await {
            left = left.saturating_sub(piece.len() as u64);
            if left == 0 {
                return;
            }
        }
    }));
}

/// The body of an error response.
struct ErrorPage<'a> {
    head: &'a ResponseHead,
    body: Vec<u8>,
}

impl<'a> ErrorPage<'a> {
    async fn read(head: &'a ResponseHead, body: &mut Body) -> Result<Self, RequestError> {
        let (body, complete) = body.collect(MAX_ERROR_BODY).await?;
        if !complete {
            log(format_args!(
                "body of a {} response cut off at {MAX_ERROR_BODY} bytes",
                head.status
            ));
        }
        Ok(Self { head, body })
    }

    /// Returns the body as the text platforms show as HTML when they know nothing better, whatever its type.
    fn description(&self) -> Option<Cow<'_, str>> {
        (!self.body.is_empty() && !self.is_compressed()).then(|| text(&self.body))
    }

    /// Tells whether the body must travel with its type and encoding to be understood.
    fn needs_its_type(&self) -> bool {
        let kind = self.head.first("content-type").unwrap_or_default();
        let essence = kind
            .split(|byte| *byte == b';')
            .next()
            .unwrap_or_default()
            .trim_ascii();
        let html = essence.is_empty() || essence.eq_ignore_ascii_case(b"text/html");
        !self.body.is_empty() && (!html || self.is_compressed())
    }

    fn is_compressed(&self) -> bool {
        let coding = self.head.first("content-encoding").unwrap_or_default();
        !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity")
    }

    fn set(&self, mut out: response::error_body::Builder<'_>) {
        out.set_data(&self.body);
        if let Some(value) = self.head.joined("content-encoding") {
            out.set_encoding(text(&value).as_ref());
        }
        if let Some(value) = self.head.joined("content-language") {
            out.set_language(text(&value).as_ref());
        }
        if let Some(value) = self.head.first("content-type") {
            out.set_mime_type(text(value).as_ref());
        }
    }
}

fn set_content_headers(head: &ResponseHead, content: &mut response::content::Builder<'_>) {
    if let Some(value) = head.joined("content-encoding") {
        content.set_encoding(text(&value).as_ref());
    }
    if let Some(value) = head.joined("content-language") {
        content.set_language(text(&value).as_ref());
    }
    // None stays none: a type made up here would be trusted.
    if let Some(value) = head.first("content-type") {
        content.set_mime_type(text(value).as_ref());
    }
    if let Some(tag) = etag(head) {
        set_etag(tag, content.reborrow().init_e_tag());
    }
    if let Some(name) = head.first("content-disposition").and_then(attachment_name) {
        content
            .reborrow()
            .init_disposition()
            .set_download(text(&name).as_ref());
    }
}

fn etag(head: &ResponseHead) -> Option<ETag<'_>> {
    head.first("etag").and_then(ETag::parse)
}

fn set_etag(tag: ETag<'_>, mut out: e_tag::Builder<'_>) {
    out.set_value(text(tag.value).as_ref());
    out.set_weak(tag.weak);
}

fn set_cookies(head: &ResponseHead, response: &mut response::Builder<'_>) -> Result<(), RequestError> {
    let cookies = head
        .all("set-cookie")
        .map(Cookie::parse)
        .collect::<Result<Vec<_>, _>>()?;
    if cookies.is_empty() {
        return Ok(());
    }
    let count = u32::try_from(cookies.len()).map_err(|_| RequestError::Malformed("too many cookies"))?;
    let mut list = response.reborrow().init_set_cookies(count);
    for (index, cookie) in (0..).zip(cookies) {
        set_cookie(&cookie, list.reborrow().get(index));
    }
    Ok(())
}

fn set_cookie(cookie: &Cookie<'_>, mut out: cookie::Builder<'_>) {
    out.set_name(text(cookie.name).as_ref());
    out.set_value(text(cookie.value).as_ref());
    out.set_http_only(cookie.http_only);
    if !cookie.path.is_empty() {
        out.set_path(text(cookie.path).as_ref());
    }
    let mut expires = out.init_expires();
    match cookie.expires {
        Expires::None => expires.set_none(()),
        Expires::Absolute(seconds) => expires.set_absolute(seconds),
        Expires::Relative(seconds) => expires.set_relative(seconds),
    }
}

/// Copies the allow-listed headers; each name once, with its values joined.
fn set_additional_headers(head: &ResponseHead, response: &mut response::Builder<'_>) {
    let found = head.allowed(is_allowed);
    let Ok(count @ 1..) = u32::try_from(found.len()) else {
        return;
    };
    let mut list = response.reborrow().init_additional_headers(count);
    for (index, (name, value)) in (0..).zip(found) {
        let mut header = list.reborrow().get(index);
        header.set_name(name);
        header.set_value(text(&value).as_ref());
    }
}

/// Tells whether a response header may pass.
pub(crate) fn is_allowed(name: &str) -> bool {
    // A constant of the schema; were it ever unreadable, nothing would be allowed.
    let list = response::HEADER_WHITELIST.get();
    list.is_ok_and(|list| {
        allowed(
            name.as_bytes(),
            list.iter().flatten().map(|entry| entry.as_bytes()),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_without_a_place_in_a_session_fail() {
        for status in [100, 199, 203, 208, 226, 299, 300, 305, 306, 309, 399, 600, 999, 0] {
            assert!(matches!(Meaning::of(status), Err(RequestError::Status(found)) if found == status));
        }
    }

    #[test]
    fn unlisted_client_errors_become_bad_request() {
        for status in [400, 401, 402, 407, 408, 411, 416, 417, 423, 429, 451, 499] {
            assert_eq!(
                Meaning::of(status).unwrap(),
                Meaning::ClientError(ClientErrorCode::BadRequest)
            );
        }
        for status in [500, 501, 503, 599] {
            assert_eq!(Meaning::of(status).unwrap(), Meaning::ServerError);
        }
    }
}
