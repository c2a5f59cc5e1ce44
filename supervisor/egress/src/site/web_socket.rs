//! A WebSocket to a website: the greeting is ours, the frames are the grain's (RFC 6455).

use std::rc::Rc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use capnp::{Error, text_list};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::{Response, StatusCode};
use hyper_util::rt::TokioIo;
use percloud_schemas::web_session_capnp::web_session::{OpenWebSocketResults, web_socket_stream};
use sha1::{Digest, Sha1};
use tokio::io::{AsyncReadExt, ReadHalf, WriteHalf};
use tokio_util::task::AbortOnDropHandle;

use super::Site;
use super::request::Asked;
use crate::outlet::{Outlet, Room};
use crate::way_out::WayOut;

/// What a server adds to the key (RFC 6455 section 1.3).
const MAGIC: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// Protocols one may offer.
const PROTOCOLS: u32 = 32;
/// Bytes that are read at a time.
const PIECE: usize = 64 << 10;

type Socket = TokioIo<hyper::upgrade::Upgraded>;

/// Opens a WebSocket and joins it with the grain's.
pub(super) async fn open(
    site: &Site,
    asked: Asked,
    protocols: text_list::Reader<'_>,
    client: web_socket_stream::Client,
    results: &mut OpenWebSocketResults,
) -> Result<(), Error> {
    let outlet = Rc::clone(&site.0.outlet);
    outlet
        .while_alive(async {
            let room = outlet.room()?;
            let mut nonce = [0; 16];
            getrandom::fill(&mut nonce).map_err(|error| Error::failed(format!("no randomness: {error}")))?;
            let key = STANDARD.encode(nonce);
            let asked = greeting(asked, &key, protocols)?;
            let request = asked.with(Empty::new().map_err(|never| match never {}).boxed_unsync())?;
            let mut answer = site.send(request).await?;
            let accepted = STANDARD.encode(Sha1::new().chain_update(&key).chain_update(MAGIC).finalize());
            if !is_greeted(&answer, &accepted, protocols)? {
                return Err(Error::failed(format!(
                    "the website opens no WebSocket here (status {})",
                    answer.status().as_u16()
                )));
            }
            if let Some(chosen) = answer.headers().get(header::SEC_WEBSOCKET_PROTOCOL) {
                results
                    .get()
                    .init_protocol(1)
                    .set(0, String::from_utf8_lossy(chosen.as_bytes()).as_ref());
            }
            let upgraded = hyper::upgrade::on(&mut answer).await;
            let upgraded =
                upgraded.map_err(|error| Error::failed(format!("the WebSocket broke: {error}")))?;
            let (reading, writing) = tokio::io::split(TokioIo::new(upgraded));
            let reader = outlet.spawn(async move {
                if let Err(error) = copy(reading, client).await {
                    tracing::debug!("a WebSocket ended: {error}");
                }
            });
            results.get().set_server_stream(capnp_rpc::new_client(ToSite {
                outlet: Rc::clone(&outlet),
                writing: WayOut::new(&outlet, writing),
                _reader: reader,
                _room: room,
            }));
            Ok(())
        })
        .await
}

/// Whether the site agreed to what was proposed, and to nothing else (RFC 6455 section 4.1).
fn is_greeted(
    answer: &Response<Incoming>,
    accepted: &str,
    protocols: text_list::Reader<'_>,
) -> Result<bool, Error> {
    let fields = answer.headers();
    let is_accepted = fields
        .get(header::SEC_WEBSOCKET_ACCEPT)
        .is_some_and(|theirs| theirs.as_bytes() == accepted.as_bytes());
    let mut is_offered = true;
    if let Some(chosen) = fields.get(header::SEC_WEBSOCKET_PROTOCOL) {
        is_offered = false;
        for protocol in protocols {
            is_offered |= protocol?.as_bytes() == chosen.as_bytes();
        }
    }
    Ok(answer.status() == StatusCode::SWITCHING_PROTOCOLS
        && is_accepted
        && is_offered
        && !fields.contains_key(header::SEC_WEBSOCKET_EXTENSIONS))
}

fn greeting(asked: Asked, key: &str, protocols: text_list::Reader<'_>) -> Result<Asked, Error> {
    let odd = || Error::failed("protocols that fit in no header".to_owned());
    if protocols.len() > PROTOCOLS {
        return Err(odd());
    }
    let mut offered = Vec::new();
    for protocol in protocols {
        offered.push(protocol?.to_str()?);
    }
    let asked = asked
        .field("connection", HeaderValue::from_static("Upgrade"))
        .field("upgrade", HeaderValue::from_static("websocket"))
        .field("sec-websocket-version", HeaderValue::from_static("13"))
        .field(
            "sec-websocket-key",
            HeaderValue::from_str(key).map_err(|_| odd())?,
        );
    if offered.is_empty() {
        return Ok(asked);
    }
    let offered = HeaderValue::from_str(&offered.join(", ")).map_err(|_| odd())?;
    Ok(asked.field("sec-websocket-protocol", offered))
}

async fn copy(mut from: ReadHalf<Socket>, to: web_socket_stream::Client) -> Result<(), Error> {
    let mut piece = vec![0; PIECE];
    loop {
        let count = from.read(&mut piece).await?;
        if count == 0 {
            return Ok(());
        }
        let mut request = to.send_bytes_request();
        request.get().set_message(&piece[..count]);
        request.send().await?;
    }
}

/// The grain's words, on their way to the site.
struct ToSite {
    outlet: Rc<Outlet>,
    writing: WayOut<WriteHalf<Socket>>,
    _reader: AbortOnDropHandle<()>,
    _room: Room,
}

impl web_socket_stream::Server for ToSite {
    async fn send_bytes(self: Rc<Self>, params: web_socket_stream::SendBytesParams) -> Result<(), Error> {
        self.outlet
            .while_alive(async {
                self.writing.write(params.get()?.get_message()?).await?;
                Ok(())
            })
            .await
    }
}
