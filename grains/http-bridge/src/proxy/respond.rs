//! Writes a `WebSession.Response` as HTTP.

use std::io;
use std::time::Duration;

use capnp::Error;
use percloud_schemas::util_capnp::handle;
use percloud_schemas::web_session_capnp::web_session::response::{
    self, ClientErrorCode, SuccessCode, content, error_body,
};
use percloud_schemas::web_session_capnp::web_session::{e_tag, options};
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::mpsc;
use tokio::time::{interval, timeout};

use super::Refusal;
use super::stream::Event;
use crate::http::etag::ETag;
use crate::http::request::{Lines, is_token};
use crate::reply::is_allowed;

/// How long the head of a streamed response waits for the size of its body, which a sender that knows it tells at
/// once.
const SIZE_TIME: Duration = Duration::from_millis(50);

/// How often the sender of a long response is told that somebody still wants it. It may be put to sleep otherwise,
/// after 90 seconds at the earliest.
const PING: Duration = Duration::from_secs(60);

/// Where a response goes, and what its request has to do with its form.
pub(super) struct Reply<'a> {
    pub(super) write: &'a mut OwnedWriteHalf,
    pub(super) is_http11: bool,
    pub(super) is_head: bool,
    /// Whether a failed condition means that the client has the newest version.
    pub(super) is_cached: bool,
}

/// Writes a response. An error means that nothing has been written yet.
pub(super) async fn response(
    reply: &mut Reply<'_>,
    response: response::Reader<'_>,
    events: mpsc::Receiver<Event>,
) -> Result<(), Refusal> {
    let answer = Answer::of(response, reply.is_cached)
        .map_err(|error| Refusal::of_call("the response cannot be read", &error))?;
    // From here on, what fails is the connection, and there is nobody to tell.
    let _ = answer.write(reply, events).await;
    Ok(())
}

/// Writes what a session says of itself.
pub(super) async fn options(reply: &mut Reply<'_>, options: options::Reader<'_>) -> Result<(), Refusal> {
    let mut answer = Answer::begin(200);
    let mut classes = Vec::new();
    for (is_there, class) in [
        (options.get_dav_class1(), "1"),
        (options.get_dav_class2(), "2"),
        (options.get_dav_class3(), "3"),
    ] {
        if is_there {
            classes.push(class.to_owned());
        }
    }
    let extensions = options.get_dav_extensions();
    for extension in extensions.iter().flat_map(|list| list.iter()).flatten() {
        classes.push(extension.to_str().unwrap_or_default().to_owned());
    }
    if !classes.is_empty() {
        answer.add("DAV", classes.join(", ").as_bytes());
    }
    let _ = answer.write(reply, mpsc::channel(1).1).await;
    Ok(())
}

/// Writes the bridge's own answer.
pub(super) async fn json(write: &mut OwnedWriteHalf, json: &str) {
    let mut answer = Answer::begin(200);
    answer.add("Content-Type", b"application/json");
    answer.body = Body::Whole(json.as_bytes());
    let mut reply = Reply {
        write,
        is_http11: true,
        is_head: false,
        is_cached: false,
    };
    let _ = answer.write(&mut reply, mpsc::channel(1).1).await;
}

/// A response ready to be written.
struct Answer<'a> {
    lines: Lines,
    body: Body<'a>,
}

enum Body<'a> {
    /// The status allows none.
    None,
    Whole(&'a [u8]),
    /// It will come through the stream, as long as this handle is held.
    Stream(handle::Client),
}

impl<'a> Answer<'a> {
    fn begin(status: u16) -> Self {
        let mut lines = Lines::response(status, reason(status));
        // Constant, so never refused.
        let _ = lines.add("Connection", "close");
        Self {
            lines,
            body: if matches!(status, 204 | 304) {
                Body::None
            } else {
                Body::Whole(b"")
            },
        }
    }

    /// Adds a header unless it is empty. One with a line break in it is left out: nothing the other side says can
    /// become two headers.
    fn add(&mut self, name: &str, value: &[u8]) {
        if !value.is_empty() {
            let _ = self.lines.add(name, value);
        }
    }

    fn of(response: response::Reader<'a>, is_cached: bool) -> Result<Self, Error> {
        let mut answer = match response.which()? {
            response::Content(content) => Self::of_content(content)?,
            response::NoContent(empty) => {
                let mut answer = Self::begin(if empty.get_should_reset_form() { 205 } else { 204 });
                if empty.has_e_tag() {
                    answer.tag(empty.get_e_tag()?)?;
                }
                answer
            }
            response::PreconditionFailed(failed) => {
                let mut answer = Self::begin(if is_cached { 304 } else { 412 });
                if failed.has_matching_e_tag() {
                    answer.tag(failed.get_matching_e_tag()?)?;
                }
                answer
            }
            response::Redirect(redirect) => {
                let mut answer = Self::begin(
                    match (redirect.get_is_permanent(), redirect.get_switch_to_get()) {
                        (true, true) => 301,
                        (false, true) => 303,
                        (false, false) => 307,
                        (true, false) => 308,
                    },
                );
                answer.add("Location", redirect.get_location()?.as_bytes());
                answer
            }
            response::ClientError(error) => {
                let mut answer = Self::begin(error.get_status_code().map_or(400, error_status));
                let other = error
                    .has_non_html_body()
                    .then(|| error.get_non_html_body())
                    .transpose()?;
                answer.error_page(error.get_description_html()?.as_bytes(), other)?;
                answer
            }
            response::ServerError(error) => {
                let mut answer = Self::begin(500);
                let other = error
                    .has_non_html_body()
                    .then(|| error.get_non_html_body())
                    .transpose()?;
                answer.error_page(error.get_description_html()?.as_bytes(), other)?;
                answer
            }
        };
        for header in response.get_additional_headers()? {
            let name = header.get_name()?.to_str()?;
            if is_token(name.as_bytes()) && is_allowed(name) {
                answer.add(name, header.get_value()?.as_bytes());
            }
        }
        Ok(answer)
    }

    fn of_content(content: content::Reader<'a>) -> Result<Self, Error> {
        let mut answer = Self::begin(match content.get_status_code() {
            Ok(SuccessCode::Created) => 201,
            Ok(SuccessCode::Accepted) => 202,
            Ok(SuccessCode::NoContent) => 204,
            Ok(SuccessCode::PartialContent) => 206,
            Ok(SuccessCode::MultiStatus) => 207,
            Ok(SuccessCode::NotModified) => 304,
            // Also what a newer session may say and this bridge cannot name: it is a success.
            Ok(SuccessCode::Ok) | Err(_) => 200,
        });
        answer.add("Content-Type", content.get_mime_type()?.as_bytes());
        answer.add("Content-Encoding", content.get_encoding()?.as_bytes());
        answer.add("Content-Language", content.get_language()?.as_bytes());
        if content.has_e_tag() {
            answer.tag(content.get_e_tag()?)?;
        }
        if let content::disposition::Download(name) = content.get_disposition().which()? {
            let name = name?.to_str()?.replace('\\', "\\\\").replace('"', "\\\"");
            answer.add(
                "Content-Disposition",
                format!("attachment; filename=\"{name}\"").as_bytes(),
            );
        }
        if !matches!(answer.body, Body::None) {
            answer.body = match content.get_body().which()? {
                content::body::Bytes(bytes) => Body::Whole(bytes?),
                content::body::Stream(handle) => Body::Stream(handle?),
            };
        }
        Ok(answer)
    }

    fn tag(&mut self, tag: e_tag::Reader<'_>) -> Result<(), Error> {
        let mut value = Vec::new();
        let tag = ETag {
            value: tag.get_value()?.as_bytes(),
            weak: tag.get_weak(),
        };
        if tag.write(&mut value).is_some() {
            self.add("ETag", &value);
        }
        Ok(())
    }

    fn error_page(&mut self, html: &'a [u8], other: Option<error_body::Reader<'a>>) -> Result<(), Error> {
        if let Some(other) = other {
            self.add("Content-Type", other.get_mime_type()?.as_bytes());
            self.add("Content-Encoding", other.get_encoding()?.as_bytes());
            self.add("Content-Language", other.get_language()?.as_bytes());
            self.body = Body::Whole(other.get_data()?);
        } else if !html.is_empty() {
            self.add("Content-Type", b"text/html; charset=UTF-8");
            self.body = Body::Whole(html);
        }
        Ok(())
    }

    async fn write(mut self, reply: &mut Reply<'_>, events: mpsc::Receiver<Event>) -> io::Result<()> {
        match self.body {
            Body::None => reply.write.write_all(&self.lines.finish()).await,
            Body::Whole(body) => {
                if !reply.is_head {
                    self.add("Content-Length", body.len().to_string().as_bytes());
                }
                let mut bytes = self.lines.finish();
                if !reply.is_head {
                    bytes.extend_from_slice(body);
                }
                reply.write.write_all(&bytes).await
            }
            Body::Stream(_) if reply.is_head => reply.write.write_all(&self.lines.finish()).await,
            Body::Stream(handle) => write_stream(self.lines, &handle, reply, events).await,
        }
    }
}

/// Writes a streamed body as it comes. One that ends without `done` ends the connection in the middle, so that the
/// client will not take it for the whole.
async fn write_stream(
    mut lines: Lines,
    handle: &handle::Client,
    reply: &mut Reply<'_>,
    mut events: mpsc::Receiver<Event>,
) -> io::Result<()> {
    let mut first = timeout(SIZE_TIME, events.recv()).await.ok();
    let framing = match first {
        Some(Some(Event::Size(size))) => {
            first = None;
            let _ = lines.add("Content-Length", size.to_string());
            Framing::Length(size)
        }
        Some(Some(Event::Done)) => {
            let _ = lines.add("Content-Length", "0");
            Framing::Length(0)
        }
        _ if reply.is_http11 => {
            let _ = lines.add("Transfer-Encoding", "chunked");
            Framing::Chunks
        }
        _ => Framing::UntilClose,
    };
    reply.write.write_all(&lines.finish()).await?;

    let mut left = match framing {
        Framing::Length(size) => size,
        _ => u64::MAX,
    };
    let mut ping = interval(PING);
    // The first tick is now.
    ping.tick().await;
    let mut pinging = None;
    loop {
        let event = match first.take() {
            Some(event) => event,
            None => tokio::select! {
                event = events.recv() => event,
                _ = ping.tick() => {
                    // Held until the next one: dropping it would take the call back.
                    pinging = Some(handle.ping_request().send().promise);
                    continue;
                }
            },
        };
        match event {
            // Too late, or said before.
            Some(Event::Size(_)) => {}
            Some(Event::Data(data)) => {
                let count = usize::try_from(left).unwrap_or(usize::MAX).min(data.len());
                left -= count as u64;
                match (framing, data.get(..count)) {
                    (_, None | Some([])) => {}
                    (Framing::Chunks, Some(data)) => {
                        let mut chunk = format!("{:x}\r\n", data.len()).into_bytes();
                        chunk.extend_from_slice(data);
                        chunk.extend_from_slice(b"\r\n");
                        reply.write.write_all(&chunk).await?;
                    }
                    (_, Some(data)) => reply.write.write_all(data).await?,
                }
            }
            Some(Event::Done) => {
                if matches!(framing, Framing::Chunks) {
                    reply.write.write_all(b"0\r\n\r\n").await?;
                }
                drop(pinging);
                return Ok(());
            }
            None => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

#[derive(Clone, Copy)]
enum Framing {
    Length(u64),
    Chunks,
    UntilClose,
}

fn error_status(code: ClientErrorCode) -> u16 {
    match code {
        ClientErrorCode::BadRequest => 400,
        ClientErrorCode::Forbidden => 403,
        ClientErrorCode::NotFound => 404,
        ClientErrorCode::MethodNotAllowed => 405,
        ClientErrorCode::NotAcceptable => 406,
        ClientErrorCode::Conflict => 409,
        ClientErrorCode::Gone => 410,
        ClientErrorCode::PreconditionFailed => 412,
        ClientErrorCode::RequestEntityTooLarge => 413,
        ClientErrorCode::RequestUriTooLong => 414,
        ClientErrorCode::UnsupportedMediaType => 415,
        ClientErrorCode::ImATeapot => 418,
        ClientErrorCode::UnprocessableEntity => 422,
    }
}

/// Returns the words that go with a status.
pub(super) fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        205 => "Reset Content",
        206 => "Partial Content",
        207 => "Multi-Status",
        301 => "Moved Permanently",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        418 => "I'm a teapot",
        422 => "Unprocessable Content",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        _ => "Unknown",
    }
}
