//! Turns what an app answers into HTTP: only what we know, each value checked, nothing a browser could misread.

mod values;

pub(crate) use values::disposition;

use std::fmt::Write;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{
    ACCEPT_RANGES, ALLOW, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_RANGE,
    CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH, LOCATION,
};
use hyper::{Response, StatusCode};
use percloud_schemas::util_capnp::handle;
use percloud_schemas::web_session_capnp::web_session;
use percloud_schemas::web_session_capnp::web_session::response::{
    self, ClientErrorCode, SuccessCode, content,
};
use tokio::task::AbortHandle;
use tokio::time::{interval, timeout};

use crate::body::{Body, Stream};
use crate::edge::Edge;
use crate::grain::ask::{Ask, Verb};
use crate::grain::range::{self, Part};
use crate::grain::reply::values::{additional, checked, cookies, is_printable, is_token, tag};
use crate::grain::sessions::Session;
use crate::grain::share::{Seat, Share};
use crate::pipe::Reader;
use crate::respond::{Answer, Refusal};

/// Longest value of one header, in bytes.
const VALUE: usize = 8 << 10;
/// How long the head waits for an app to say how long its stream is; after that it is sent without.
const FIRST_WORD: Duration = Duration::from_millis(50);

const DAV: HeaderName = HeaderName::from_static("dav");
pub(crate) const METHODS: HeaderValue = HeaderValue::from_static(
    "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, PROPFIND, PROPPATCH, MKCOL, COPY, MOVE, LOCK, UNLOCK, ACL, REPORT",
);

/// Makes the answer to a request out of the app's. `reader` is where the app writes a long body.
///
/// # Errors
///
/// When the app's answer cannot be expressed in HTTP.
pub(super) async fn compose(
    edge: &Rc<Edge>,
    session: &Rc<Session>,
    ask: &Ask,
    replied: &capnp::capability::Response<response::Owned>,
    mut reader: Reader,
) -> Result<Answer, Refusal> {
    // What was done already is not to be done again for want of room for the answer.
    let for_good = |refusal| match refusal {
        Refusal::Crowded(_) if !ask.may_be_repeated() => Refusal::AnswerLost,
        other => other,
    };
    let (mut answer, handle) = {
        let reply = replied.get().map_err(|_| UNREADABLE)?;
        head(ask, reply, session).map_err(for_good)?
    };
    if let Some(handle) = handle {
        let seat = session.share.stream().map_err(for_good)?;
        let _ = timeout(FIRST_WORD, reader.first_word()).await;
        let held = Held {
            pinging: ping(handle, edge.limits.ping),
            _session: session.clone(),
            _seat: seat,
        };
        *answer.body_mut() = Body::Stream(Stream::new(reader, Box::new(held)));
    }
    if ask.verb == Verb::Get && answer.status() == StatusCode::OK {
        cut(&ask.headers, &mut answer);
    }
    Ok(answer)
}

/// Answers OPTIONS: the classes of WebDAV an app says it has (RFC 4918 section 10.1).
pub(super) fn options(
    session: &Session,
    replied: Result<capnp::capability::Response<web_session::options::Owned>, capnp::Error>,
) -> Result<Answer, capnp::Error> {
    let mut answer = bare(session);
    match replied {
        Ok(replied) => {
            let value = replied.get().and_then(classes)?;
            if let Some(value) = value
                .filter(|value| !value.is_empty())
                .and_then(|value| HeaderValue::try_from(value).ok())
            {
                answer.headers_mut().insert(DAV, value);
            }
        }
        // An app that has nothing to say about WebDAV has none.
        Err(error) if error.kind == capnp::ErrorKind::Unimplemented => {}
        Err(error) => return Err(error),
    }
    answer.headers_mut().insert(ALLOW, METHODS);
    Ok(answer)
}

fn classes(options: web_session::options::Reader<'_>) -> Result<Option<String>, capnp::Error> {
    let mut value = String::new();
    let mut add = |class: &str| {
        let separator = if value.is_empty() { "" } else { ", " };
        let _ = write!(value, "{separator}{class}");
    };
    for (has, class) in [
        (options.get_dav_class1(), "1"),
        (options.get_dav_class2(), "2"),
        (options.get_dav_class3(), "3"),
    ] {
        if has {
            add(class);
        }
    }
    for extension in options.get_dav_extensions()?.iter().take(32) {
        add(extension?.to_str()?);
    }
    Ok((value.len() <= VALUE).then_some(value))
}

const UNREADABLE: Refusal = Refusal::AppAnswer("it cannot be read");

/// An answer that says what all of the session do. None of it is among the headers that an app may set.
fn bare(session: &Session) -> Answer {
    let mut answer = Response::new(Body::Empty);
    *answer.headers_mut() = session.policy.clone();
    answer
}

/// Status, headers and any body at hand; and the handle of a body to come.
fn head(
    ask: &Ask,
    reply: response::Reader<'_>,
    session: &Session,
) -> Result<(Answer, Option<handle::Client>), Refusal> {
    let unreadable = |_| UNREADABLE;
    let mut answer = bare(session);
    let mut stream = None;
    match reply.which().map_err(|_| UNREADABLE)? {
        response::Content(content) => {
            let status = success(content.get_status_code().map_err(|_| UNREADABLE)?);
            *answer.status_mut() = status;
            let headers = answer.headers_mut();
            checked(
                headers,
                CONTENT_ENCODING,
                content.get_encoding().map_err(unreadable)?,
                is_token,
            );
            checked(
                headers,
                CONTENT_LANGUAGE,
                content.get_language().map_err(unreadable)?,
                is_printable,
            );
            checked(
                headers,
                CONTENT_TYPE,
                content.get_mime_type().map_err(unreadable)?,
                is_printable,
            );
            if content.has_e_tag() {
                tag(headers, content.get_e_tag().map_err(unreadable)?);
            }
            if let content::disposition::Download(name) =
                content.get_disposition().which().map_err(|_| UNREADABLE)?
            {
                let name = name.map_err(unreadable)?.to_str().map_err(|_| UNREADABLE)?;
                headers.insert(CONTENT_DISPOSITION, disposition(name)?);
            }
            let bodiless = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
            match content.get_body().which().map_err(|_| UNREADABLE)? {
                content::body::Bytes(bytes) => {
                    let bytes = bytes.map_err(unreadable)?;
                    if !bodiless {
                        *answer.body_mut() = Body::Whole(session.share.whole(bytes)?);
                    }
                }
                // Dropping the handle tells the app that nobody wants the rest.
                content::body::Stream(handle) => {
                    let handle = handle.map_err(unreadable)?;
                    if !bodiless && ask.verb != Verb::Head {
                        stream = Some(handle);
                    }
                }
            }
        }
        response::NoContent(empty) => {
            *answer.status_mut() = if empty.get_should_reset_form() {
                StatusCode::RESET_CONTENT
            } else {
                StatusCode::NO_CONTENT
            };
            if empty.has_e_tag() {
                tag(answer.headers_mut(), empty.get_e_tag().map_err(unreadable)?);
            }
        }
        response::PreconditionFailed(failed) => {
            // 304 says "you have it already", which only a reading request can hear (RFC 9110 section 13.1.2).
            let reading = matches!(ask.verb, Verb::Get | Verb::Head);
            let cached = ask.headers.contains_key(IF_NONE_MATCH) && !ask.headers.contains_key(IF_MATCH);
            *answer.status_mut() = if reading && cached {
                StatusCode::NOT_MODIFIED
            } else {
                StatusCode::PRECONDITION_FAILED
            };
            if failed.has_matching_e_tag() {
                tag(
                    answer.headers_mut(),
                    failed.get_matching_e_tag().map_err(unreadable)?,
                );
            }
        }
        response::Redirect(redirect) => {
            *answer.status_mut() = match (redirect.get_is_permanent(), redirect.get_switch_to_get()) {
                (true, true) => StatusCode::MOVED_PERMANENTLY,
                (false, true) => StatusCode::SEE_OTHER,
                (true, false) => StatusCode::PERMANENT_REDIRECT,
                (false, false) => StatusCode::TEMPORARY_REDIRECT,
            };
            let location = redirect.get_location().map_err(unreadable)?;
            let location = Some(location.as_bytes())
                .filter(|location| !location.is_empty() && location.len() <= VALUE)
                .and_then(|location| HeaderValue::from_bytes(location).ok())
                .ok_or(Refusal::AppAnswer("it redirects to an address that is none"))?;
            answer.headers_mut().insert(LOCATION, location);
        }
        response::ClientError(error) => {
            *answer.status_mut() = client_error(error.get_status_code().map_err(|_| UNREADABLE)?);
            let body = if error.has_non_html_body() {
                Some(error.get_non_html_body().map_err(unreadable)?)
            } else {
                None
            };
            error_body(
                &mut answer,
                body,
                error.get_description_html().map_err(unreadable)?,
                &session.share,
            )?;
        }
        response::ServerError(error) => {
            *answer.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            let body = if error.has_non_html_body() {
                Some(error.get_non_html_body().map_err(unreadable)?)
            } else {
                None
            };
            error_body(
                &mut answer,
                body,
                error.get_description_html().map_err(unreadable)?,
                &session.share,
            )?;
        }
    }
    if reply.has_set_cookies() {
        cookies(
            answer.headers_mut(),
            reply.get_set_cookies().map_err(unreadable)?,
            session.origin.starts_with("https:"),
        )?;
    }
    if reply.has_additional_headers() {
        additional(
            answer.headers_mut(),
            reply.get_additional_headers().map_err(unreadable)?,
        )?;
    }
    Ok((answer, stream))
}

/// Sends only the part of a body that was asked for, where the size of the whole is known.
fn cut(asked: &HeaderMap, answer: &mut Answer) {
    let size = hyper::body::Body::size_hint(answer.body()).exact();
    let Some(size) = size.filter(|_| asked.contains_key(hyper::header::RANGE)) else {
        return;
    };
    let part = range::part(asked, answer.headers().get(ETAG), size);
    let written = match part {
        Part::Whole => return,
        Part::Slice { start, length } => {
            *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
            let body = std::mem::replace(answer.body_mut(), Body::Empty);
            *answer.body_mut() = match body {
                Body::Empty => Body::Empty,
                Body::Whole(bytes) => {
                    let index = |at: u64| usize::try_from(at).expect("within bytes in memory");
                    Body::Whole(bytes.slice(index(start)..index(start + length)))
                }
                Body::Stream(stream) => Body::Stream(stream.part(start, length)),
            };
            format!("bytes {start}-{}/{size}", start + length - 1)
        }
        Part::Beyond => {
            *answer.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
            *answer.body_mut() = Body::Empty;
            format!("bytes */{size}")
        }
    };
    let headers = answer.headers_mut();
    headers.insert(
        CONTENT_RANGE,
        HeaderValue::try_from(written).expect("figures are visible ASCII"),
    );
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
}

fn success(code: SuccessCode) -> StatusCode {
    match code {
        SuccessCode::Ok => StatusCode::OK,
        SuccessCode::Created => StatusCode::CREATED,
        SuccessCode::Accepted => StatusCode::ACCEPTED,
        SuccessCode::NoContent => StatusCode::NO_CONTENT,
        SuccessCode::PartialContent => StatusCode::PARTIAL_CONTENT,
        SuccessCode::MultiStatus => StatusCode::MULTI_STATUS,
        SuccessCode::NotModified => StatusCode::NOT_MODIFIED,
    }
}

fn client_error(code: ClientErrorCode) -> StatusCode {
    match code {
        ClientErrorCode::BadRequest => StatusCode::BAD_REQUEST,
        ClientErrorCode::Forbidden => StatusCode::FORBIDDEN,
        ClientErrorCode::NotFound => StatusCode::NOT_FOUND,
        ClientErrorCode::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        ClientErrorCode::NotAcceptable => StatusCode::NOT_ACCEPTABLE,
        ClientErrorCode::Conflict => StatusCode::CONFLICT,
        ClientErrorCode::Gone => StatusCode::GONE,
        ClientErrorCode::RequestEntityTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ClientErrorCode::RequestUriTooLong => StatusCode::URI_TOO_LONG,
        ClientErrorCode::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ClientErrorCode::ImATeapot => StatusCode::IM_A_TEAPOT,
        ClientErrorCode::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
        ClientErrorCode::UnprocessableEntity => StatusCode::UNPROCESSABLE_ENTITY,
    }
}

/// A body that is not HTML goes before a description that is.
fn error_body(
    answer: &mut Answer,
    body: Option<response::error_body::Reader<'_>>,
    html: capnp::text::Reader<'_>,
    share: &Share,
) -> Result<(), Refusal> {
    let bytes = match body {
        Some(body) => {
            let headers = answer.headers_mut();
            checked(
                headers,
                CONTENT_ENCODING,
                body.get_encoding().map_err(|_| UNREADABLE)?,
                is_token,
            );
            checked(
                headers,
                CONTENT_LANGUAGE,
                body.get_language().map_err(|_| UNREADABLE)?,
                is_printable,
            );
            checked(
                headers,
                CONTENT_TYPE,
                body.get_mime_type().map_err(|_| UNREADABLE)?,
                is_printable,
            );
            share.whole(body.get_data().map_err(|_| UNREADABLE)?)?
        }
        None if html.is_empty() => {
            answer.headers_mut().insert(
                CONTENT_TYPE,
                HeaderValue::from_static("text/plain; charset=utf-8"),
            );
            let reason = answer.status().canonical_reason().unwrap_or("Error");
            Bytes::from(format!("The app answers: {reason}.\n"))
        }
        None => {
            answer
                .headers_mut()
                .insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=UTF-8"));
            share.whole(html.as_bytes())?
        }
    };
    *answer.body_mut() = Body::Whole(bytes);
    Ok(())
}

/// What lives as long as a body streams.
struct Held {
    pinging: AbortHandle,
    _session: Rc<Session>,
    _seat: Seat,
}

impl Drop for Held {
    fn drop(&mut self) {
        // Drops the handle with the task, and so tells the app to stop.
        self.pinging.abort();
    }
}

/// Tells the app now and then that somebody still reads (sheet trap 14).
fn ping(handle: handle::Client, every: Duration) -> AbortHandle {
    let pinging = tokio::task::spawn_local(async move {
        let mut beat = interval(every);
        beat.tick().await;
        loop {
            beat.tick().await;
            // The stream itself shows when the app is gone.
            let _ = handle.ping_request().send().promise.await;
        }
    });
    pinging.abort_handle()
}
