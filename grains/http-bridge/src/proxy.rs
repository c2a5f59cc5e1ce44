//! The HTTP proxy on loopback, through which an app without Cap'n Proto uses the capabilities it was given.
//!
//! `POST http://http-bridge/session/<id>/claim` turns what a page got from its powerbox request into a bearer token.
//! Any other request goes, whatever its host, to the `ApiSession` its bearer token stands for. Each connection
//! serves one request. Only the processes of the grain can reach it, so limits are there to keep a mistake of the
//! app's from taking the bridge with it.

mod ask;
mod claim;
mod forward;
mod respond;
mod sessions;
mod stream;

use std::borrow::Cow;
use std::io;
use std::net::SocketAddrV4;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use capnp::{Error, ErrorKind};
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::spawn_local;
use tokio::time::timeout;

use crate::bridge::Bridge;
use crate::error::RequestError;
use crate::exchange::{Body, Input};
use crate::http::body::BodyDecoder;
use crate::http::fields::Fields;
use crate::http::request::Lines;
use crate::http::request_head::{HeadError, RequestHead};
use crate::log::log;
use sessions::Sessions;

/// Requests served at once; the app's further connections wait.
const MAX_REQUESTS: usize = 256;

/// How long a head, or a claim, may take to arrive.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a client may take to close a connection that has been answered. Closing it first, while bytes are
/// under way, would reset it and take the answer along.
const FAREWELL: Duration = Duration::from_secs(5);

/// Longest token a client may present, in bytes of base64.
const MAX_BEARER: usize = 4096;

/// Listens on `address`.
pub(crate) async fn bind(address: SocketAddrV4) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Answers every request, for ever.
pub(crate) async fn serve(listener: TcpListener, bridge: Rc<Bridge>) {
    let permits = Arc::new(Semaphore::new(MAX_REQUESTS));
    let sessions = Rc::new(Sessions::default());
    loop {
        let Ok(permit) = permits.clone().acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((socket, _)) => {
                let (bridge, sessions) = (bridge.clone(), sessions.clone());
                spawn_local(async move {
                    // A client that is slow or gone concerns nobody else.
                    let _ = serve_one(socket, &bridge, &sessions).await;
                    drop(permit);
                });
            }
            Err(error) => {
                log(format_args!(
                    "could not accept a connection on the proxy port: {error}"
                ));
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Why a request is not carried out, in HTTP.
struct Refusal {
    status: u16,
    text: Cow<'static, str>,
}

impl Refusal {
    const fn new(status: u16, text: &'static str) -> Self {
        Self {
            status,
            text: Cow::Borrowed(text),
        }
    }

    /// Translates what came of a call: `attempt` did not work because of `error`.
    fn of_call(attempt: &str, error: &Error) -> Self {
        let status = match error.kind {
            ErrorKind::Overloaded => 503,
            ErrorKind::Unimplemented => 501,
            _ => 502,
        };
        Self {
            status,
            text: Cow::Owned(format!("{attempt}: {}", error.extra)),
        }
    }
}

async fn serve_one(socket: TcpStream, bridge: &Bridge, sessions: &Sessions) -> io::Result<()> {
    let _ = socket.set_nodelay(true);
    let (read, mut write) = socket.into_split();
    let mut input = Input::new(read);
    let head = match timeout(PATIENCE, read_head(&mut input)).await {
        Ok(Some(Ok(head))) => head,
        Ok(Some(Err(refusal))) => {
            let mut body = Body::of_request(input, BodyDecoder::default());
            return say_no(&refusal, &mut body, &mut write).await;
        }
        // Nothing was asked.
        Ok(None) | Err(_) => return Ok(()),
    };
    let (mut body, framing) = match BodyDecoder::of_request(&head.fields) {
        Ok(decoder) => (Body::of_request(input, decoder), None),
        Err(error) => (
            Body::of_request(input, BodyDecoder::default()),
            Some(malformed(&error)),
        ),
    };
    let served = match framing {
        Some(refusal) => Err(refusal),
        None => dispatch(&head, &mut body, &mut write, bridge, sessions).await,
    };
    match served {
        Ok(()) => say_goodbye(&mut body, &mut write).await,
        Err(refusal) => say_no(&refusal, &mut body, &mut write).await,
    }
}

/// Reads a head; none if the client closes before there is one.
async fn read_head(input: &mut Input) -> Option<Result<RequestHead, Refusal>> {
    loop {
        match RequestHead::parse(&input.buffer) {
            Ok(Some((head, length))) => {
                let _ = input.buffer.split_to(length);
                return Some(Ok(head));
            }
            Ok(None) => {}
            Err(HeadError::TooLarge) => return Some(Err(Refusal::new(431, "request head too large"))),
            Err(HeadError::Malformed) => return Some(Err(Refusal::new(400, "not an HTTP request"))),
        }
        if !input.more().await.unwrap_or(false) {
            return None;
        }
    }
}

/// Finds out what is wanted and does it. An error means that nothing has been written yet.
async fn dispatch(
    head: &RequestHead,
    body: &mut Body,
    write: &mut OwnedWriteHalf,
    bridge: &Bridge,
    sessions: &Sessions,
) -> Result<(), Refusal> {
    if head.method == "CONNECT" {
        return Err(Refusal::new(
            501,
            "this proxy opens no tunnels: put the https address itself into the request line",
        ));
    }
    let (host, path) = head
        .host_and_path()
        .ok_or(Refusal::new(400, "this is neither an address nor a path"))?;
    if head.method == "POST"
        && host.is_some_and(|host| host.eq_ignore_ascii_case("http-bridge"))
        && let Some(id) = claim::session_of(path)
    {
        permit_body(head, body, write).await;
        respond::json(write, &claim::answer(id, body, bridge).await?).await;
        return Ok(());
    }
    let token = bearer(&head.fields).ok_or(Refusal::new(
        404,
        "no capability was presented: a valid bearer token is needed",
    ))?;
    forward::forward(head, path, &token, body, write, bridge, sessions).await
}

/// Lets a client go on that waits to be told so (RFC 9110 section 10.1.1).
async fn permit_body(head: &RequestHead, body: &Body, write: &mut OwnedWriteHalf) {
    let expects = head.fields.first("expect");
    if head.is_http11
        && body.remaining() != Some(0)
        && expects.is_some_and(|value| value.eq_ignore_ascii_case(b"100-continue"))
    {
        // A client that is gone will be noticed when its body does not come.
        let _ = write.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await;
    }
}

/// Returns the token that `Authorization: Bearer` presents, out of either base64 alphabet, padded or not.
fn bearer(fields: &Fields) -> Option<Vec<u8>> {
    const LENIENT: GeneralPurposeConfig =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
    const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);
    let value = fields.first("authorization")?;
    let (scheme, text) = value.split_at_checked(7)?;
    let text = text.trim_ascii();
    if !scheme.eq_ignore_ascii_case(b"bearer ") || text.is_empty() || text.len() > MAX_BEARER {
        return None;
    }
    STANDARD.decode(text).or_else(|_| URL_SAFE.decode(text)).ok()
}

fn malformed(error: &RequestError) -> Refusal {
    Refusal::new(
        400,
        match error {
            RequestError::Malformed(what) => what,
            _ => "not an HTTP request",
        },
    )
}

async fn say_no(refusal: &Refusal, body: &mut Body, write: &mut OwnedWriteHalf) -> io::Result<()> {
    let text = format!("{}\n", refusal.text);
    let mut lines = Lines::response(refusal.status, respond::reason(refusal.status));
    for (name, value) in [
        ("Connection", "close"),
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Content-Length", &text.len().to_string()),
    ] {
        lines.add(name, value).map_err(io::Error::other)?;
    }
    let mut bytes = lines.finish();
    bytes.extend_from_slice(text.as_bytes());
    write.write_all(&bytes).await?;
    say_goodbye(body, write).await
}

/// Closes our half and gives the client a moment to close its own.
async fn say_goodbye(body: &mut Body, write: &mut OwnedWriteHalf) -> io::Result<()> {
    write.shutdown().await?;
    let _ = timeout(FAREWELL, body.until_closed()).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bearer_tokens_come_in_every_spelling_of_base64() {
        let read = |value: &str| {
            let text = format!("GET / HTTP/1.1\r\nAuthorization: {value}\r\n\r\n");
            let (head, _) = RequestHead::parse(text.as_bytes()).unwrap().unwrap();
            bearer(&head.fields)
        };
        let token = Some(vec![0xfb, 0xff, 0xfe, 0x01]);
        for value in [
            "Bearer +//+AQ==",
            "bearer  +//+AQ",
            "BEARER -__-AQ",
            "Bearer -__-AQ==",
        ] {
            assert_eq!(read(value), token, "{value}");
        }
        for value in [
            "",
            "Bearer",
            "Bearer ",
            "Bearer a b",
            "Basic +//+AQ==",
            "Bearer +_",
            "Bearer *",
        ] {
            assert_eq!(read(value), None, "{value}");
        }
        assert_eq!(read(&format!("Bearer {}", "A".repeat(MAX_BEARER + 4))), None);
    }
}
