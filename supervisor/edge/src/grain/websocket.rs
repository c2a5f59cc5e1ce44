//! WebSockets: we shake hands with the browser, the app does with itself, and frames pass unread (sheet 4.5, trap 20).

use std::rc::Rc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use capnp::Error;
use hyper::body::Incoming;
use hyper::header::{
    CONNECTION, HeaderMap, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use hyper::upgrade::Upgraded;
use hyper::{Method, Request, Response, StatusCode, Version};
use hyper_util::rt::TokioIo;
use percloud_schemas::web_session_capnp::web_session::web_socket_stream;
use sha1::{Digest, Sha1};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::body::Body;
use crate::budget::Budget;
use crate::edge::Edge;
use crate::grain::context;
use crate::grain::sessions::Session;
use crate::pipe::{Reader, Writer, pipe};
use crate::respond::{Answer, Refusal};
use crate::said::Heard;

/// RFC 6455 section 1.3.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// Sub-protocols offered beyond this many are left out.
const PROTOCOLS: usize = 32;
/// Bytes passed to the app at once.
const PIECE: usize = 64 << 10;
/// How long an app that takes nothing more may go on talking.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Whether a request wants to become a WebSocket.
pub(crate) fn is_asked_for(headers: &HeaderMap) -> bool {
    let names = |name, word: &str| {
        headers
            .get_all(name)
            .into_iter()
            .filter_map(|value: &HeaderValue| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(|value| value.trim().eq_ignore_ascii_case(word))
    };
    names(UPGRADE, "websocket") && names(CONNECTION, "upgrade")
}

/// Opens the app's end, answers 101, and passes frames until either side has had enough.
pub(super) async fn answer(
    edge: &Rc<Edge>,
    session: Rc<Session>,
    heard: &Heard,
    mut request: Request<Incoming>,
) -> Result<Answer, Refusal> {
    let headers = request.headers();
    let key = headers
        .get(SEC_WEBSOCKET_KEY)
        .filter(|key| STANDARD.decode(key).is_ok_and(|key| key.len() == 16))
        .ok_or(Refusal::BadRequest("The WebSocket handshake has no valid key."))?;
    if request.method() != Method::GET || request.version() != Version::HTTP_11 {
        return Err(Refusal::BadRequest("A WebSocket begins with GET in HTTP/1.1."));
    }
    if headers
        .get(SEC_WEBSOCKET_VERSION)
        .is_none_or(|version| version != "13")
    {
        let mut answer = Response::new(Body::Empty);
        *answer.status_mut() = StatusCode::UPGRADE_REQUIRED;
        answer
            .headers_mut()
            .insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        return Ok(answer);
    }
    let accept = STANDARD.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize());
    let offered = protocols(headers);
    let path = request.uri().path_and_query().map_or("", |path| path.as_str());

    let seat = session.share.socket()?;
    let place = match &heard.taken {
        Some(taken) => Some(taken.for_a_socket().ok_or(Refusal::NoRoomForSockets)?),
        None => None,
    };
    let (writer, from_app) = pipe(edge.limits.window, session.share.streamed());
    let mut call = session.web.open_web_socket_request();
    let mut params = call.get();
    params.set_path(path.strip_prefix('/').unwrap_or_default());
    params.set_client_stream(capnp_rpc::new_client(writer));
    // An app has no business streaming an answer here, but must find a capability in its place.
    let (unused, _nobody) = pipe(0, Budget::of(0));
    context::fill(
        params.reborrow().init_context(),
        headers,
        heard,
        capnp_rpc::new_client(unused),
    )?;
    let mut list = params.init_protocol(u32::try_from(offered.len()).expect("at most 32"));
    for (index, name) in (0..).zip(&offered) {
        list.set(index, *name);
    }
    let opened = timeout(edge.limits.answer, call.send().promise)
        .await
        .map_err(|_| Refusal::AppSilent)?;
    let opened = opened.and_then(|opened| {
        let opened = opened.get()?;
        // One of those offered, or none (RFC 6455 section 4.2.2).
        let mut chosen = None;
        for name in opened.get_protocol()?.iter().take(PROTOCOLS) {
            let name = name?.to_str()?;
            chosen = chosen.or_else(|| offered.iter().find(|offered| **offered == name).copied());
        }
        Ok((opened.get_server_stream()?, chosen))
    });
    let (to_app, chosen) = opened.map_err(|error| Refusal::from_app(&error))?;

    let mut answer = Response::new(Body::Empty);
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let answered = answer.headers_mut();
    answered.insert(UPGRADE, HeaderValue::from_static("websocket"));
    answered.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    answered.insert(
        SEC_WEBSOCKET_ACCEPT,
        HeaderValue::try_from(accept).expect("base64 is visible ASCII"),
    );
    if let Some(chosen) = chosen {
        let chosen = HeaderValue::try_from(chosen).expect("it came from a header");
        answered.insert(SEC_WEBSOCKET_PROTOCOL, chosen);
    }
    let upgrade = hyper::upgrade::on(&mut request);
    let patience = edge.limits.answer;
    tokio::task::spawn_local(async move {
        if let Ok(upgraded) = upgrade.await {
            relay(upgraded, from_app, to_app, patience).await;
        }
        // Held as long as frames may pass.
        drop((session, seat, place));
    });
    Ok(answer)
}

fn protocols(headers: &HeaderMap) -> Vec<&str> {
    headers
        .get_all(SEC_WEBSOCKET_PROTOCOL)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .take(PROTOCOLS)
        .collect()
}

/// Who stopped taking or giving bytes.
#[derive(PartialEq, Eq)]
enum Ended {
    Browser,
    App,
}

/// Passes bytes both ways, each at the pace of its reader. When one side ends, so does the other. So it does when the app
/// takes nothing for as long as `patience`: until then nobody looks whether the browser is still there.
async fn relay(
    upgraded: Upgraded,
    mut from_app: Reader,
    to_app: web_socket_stream::Client,
    patience: Duration,
) {
    let (mut reader, mut writer) = tokio::io::split(TokioIo::new(upgraded));
    let down = async {
        while let Some(Ok(bytes)) = from_app.next().await {
            if writer.write_all(&bytes).await.is_err() {
                return;
            }
            if writer.flush().await.is_err() {
                return;
            }
        }
    };
    let up = async {
        let mut buffer = vec![0; PIECE];
        loop {
            let Ok(read @ 1..) = reader.read(&mut buffer).await else {
                return Ended::Browser;
            };
            let mut request = to_app.send_bytes_request();
            request.get().set_message(&buffer[..read]);
            if !matches!(timeout(patience, request.send()).await, Ok(Ok(()))) {
                return Ended::App;
            }
        }
    };
    {
        let mut down = std::pin::pin!(down);
        let ended = tokio::select! {
            () = &mut down => Ended::Browser,
            ended = up => ended,
        };
        if ended == Ended::App {
            // What the app said before it stopped listening, such as why it closes, still goes out.
            let _ = timeout(LAST_WORDS, down).await;
        }
    }
    drop(to_app);
    let _ = writer.shutdown().await;
}

impl web_socket_stream::Server for Writer {
    async fn send_bytes(self: Rc<Self>, params: web_socket_stream::SendBytesParams) -> Result<(), Error> {
        self.copy(params.get()?.get_message()?).await?;
        // The message is not held for as long as a slow reader reads.
        drop(params);
        self.room().await
    }
}
