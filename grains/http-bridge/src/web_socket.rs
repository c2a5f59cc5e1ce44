//! WebSocket connections: after the handshake, bytes pass both ways unread.

use std::rc::Rc;
use std::time::Duration;

use capnp::Error;
use percloud_schemas::web_session_capnp::web_session::web_socket_stream;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::{Mutex, oneshot};
use tokio::task::spawn_local;

use crate::error::RequestError;
use crate::exchange::Input;
use crate::http::request::Lines;
use crate::http::response::ResponseHead;

/// The nonce of every handshake. It only has to be 16 bytes in base64: the browser's own handshake ends at the
/// platform, which does the proving.
const KEY: &str = "c2FuZHN0b3JtLWJyaWRnZQ==";

/// How long the app may go on sending after the browser has left.
const FAREWELL: Duration = Duration::from_secs(30);

/// Adds the lines that ask for the upgrade.
pub(crate) fn add_upgrade(lines: &mut Lines, protocols: &[&[u8]]) -> Result<(), RequestError> {
    lines.add("Upgrade", "websocket")?;
    lines.add("Connection", "Upgrade")?;
    lines.add("Sec-WebSocket-Key", KEY)?;
    lines.add("Sec-WebSocket-Version", "13")?;
    lines.add_unless_empty("Sec-WebSocket-Protocol", &protocols.join(&b", "[..]))
}

/// A connection on which the app has agreed to speak WebSocket.
pub(crate) struct Upgraded {
    input: Input,
    write: OwnedWriteHalf,
    head: ResponseHead,
}

/// Sends the handshake and waits for the app to accept it.
pub(crate) async fn upgrade(socket: TcpStream, request: &[u8]) -> Result<Upgraded, RequestError> {
    let (read, mut write) = socket.into_split();
    // A handshake is small; it fits into the socket's buffer.
    write.write_all(request).await.map_err(RequestError::Send)?;
    let mut input = Input::new(read);
    let head = input.head().await?;
    if head.status != 101 {
        return Err(RequestError::NoUpgrade(head.status));
    }
    Ok(Upgraded { input, write, head })
}

impl Upgraded {
    /// Returns the protocols the app has chosen.
    pub(crate) fn protocols(&self) -> Vec<Vec<u8>> {
        self.head
            .all("sec-websocket-protocol")
            .flat_map(|value| value.split(|byte| *byte == b','))
            .map(|name| name.trim_ascii().to_vec())
            .filter(|name| !name.is_empty())
            .collect()
    }

    /// Begins to pass what the app sends to `client`, and returns the way to the app.
    ///
    /// When the app closes, `client` is dropped. When the returned capability is dropped, the app sees the end
    /// of its input.
    pub(crate) fn start(self, client: web_socket_stream::Client) -> web_socket_stream::Client {
        let Self { mut input, write, .. } = self;
        let (open, closed) = oneshot::channel::<()>();
        spawn_local(async move {
            let incoming = async move {
                // An end or error on either side ends both; there is nobody left to tell.
                while let Ok(Some(bytes)) = input.raw().await {
                    let mut request = client.send_bytes_request();
                    request.get().set_message(&bytes);
                    if request.send().await.is_err() {
                        return;
                    }
                }
            };
            let farewell = async move {
                let _ = closed.await;
                tokio::time::sleep(FAREWELL).await;
            };
            tokio::select! {
                () = incoming => {}
                () = farewell => {}
            }
        });
        capnp_rpc::new_client(ToApp {
            writing: Mutex::new(Writing { write, busy: false }),
            _open: open,
        })
    }
}

/// What the browser sends.
struct ToApp {
    writing: Mutex<Writing>,
    _open: oneshot::Sender<()>,
}

struct Writing {
    write: OwnedWriteHalf,
    /// Found set, it tells that a call was cancelled in the middle of its bytes.
    busy: bool,
}

impl web_socket_stream::Server for ToApp {
    async fn send_bytes(self: Rc<Self>, params: web_socket_stream::SendBytesParams) -> Result<(), Error> {
        let mut writing = self.writing.lock().await;
        if std::mem::replace(&mut writing.busy, true) {
            return Err(RequestError::Unwritable("an earlier part of the stream was cancelled").into());
        }
        writing
            .write
            .write_all(params.get()?.get_message()?)
            .await
            .map_err(RequestError::Send)?;
        writing.busy = false;
        Ok(())
    }
}
