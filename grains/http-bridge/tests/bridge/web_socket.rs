//! WebSocket handshakes, and bytes both ways.

use std::cell::RefCell;
use std::rc::Rc;

use capnp::Error;
use percloud_schemas::web_session_capnp::web_session::{self, web_socket_stream};
use tokio::sync::Notify;

use crate::app::Request;
use crate::harness::{Bridge, run};

#[derive(Default)]
struct Received {
    bytes: RefCell<Vec<u8>>,
    closed: RefCell<bool>,
    changed: Notify,
}

struct Client(Rc<Received>);

impl Drop for Client {
    fn drop(&mut self) {
        *self.0.closed.borrow_mut() = true;
        self.0.changed.notify_waiters();
    }
}

impl web_socket_stream::Server for Client {
    async fn send_bytes(self: Rc<Self>, params: web_socket_stream::SendBytesParams) -> Result<(), Error> {
        self.0
            .bytes
            .borrow_mut()
            .extend_from_slice(params.get()?.get_message()?);
        self.0.changed.notify_waiters();
        Ok(())
    }
}

impl Received {
    async fn until(&self, mut test: impl FnMut(&Self) -> bool) {
        while !test(self) {
            self.changed.notified().await;
        }
    }
}

type Opened = (Vec<String>, web_socket_stream::Client);

/// Opens a WebSocket that the app answers with `reply`.
async fn open(
    session: &web_session::Client,
    app: &crate::app::App,
    received: &Rc<Received>,
    reply: &[u8],
) -> (Result<Opened, Error>, Request) {
    let mut request = session.open_web_socket_request();
    let mut params = request.get();
    params.set_path("chat?x");
    params.set_client_stream(capnp_rpc::new_client(Client(received.clone())));
    let mut protocols = params.reborrow().init_protocol(2);
    protocols.set(0, "v1");
    protocols.set(1, "v2");
    let mut cookie = params.init_context().init_cookies(1).get(0);
    cookie.set_key("a");
    cookie.set_value("b");
    let app = async {
        let mut request = app.request().await;
        request.send(reply).await;
        request
    };
    let (response, request) = tokio::join!(request.send().promise, app);
    let opened = response.and_then(|response| {
        let response = response.get()?;
        let mut protocols = Vec::new();
        for protocol in response.get_protocol()? {
            protocols.push(protocol?.to_string()?);
        }
        Ok((protocols, response.get_server_stream()?))
    });
    (opened, request)
}

async fn send(stream: &web_socket_stream::Client, bytes: &[u8]) -> Result<(), Error> {
    let mut request = stream.send_bytes_request();
    request.get().set_message(bytes);
    request.send().await
}

const ACCEPTED: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: v2\r\n\r\n\x81\x05early";

#[test]
fn the_handshake_is_exactly_this_and_bytes_pass_unread() {
    run(async {
        let (bridge, app) = Bridge::simple().await;
        let session = bridge.alice().await;
        let received = Rc::<Received>::default();
        let (opened, mut request) = open(&session, &app, &received, ACCEPTED).await;
        let (protocols, stream) = opened.unwrap();
        assert_eq!(protocols, ["v2"]);
        assert_eq!(
            request.head,
            "GET /chat?x HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: c2FuZHN0b3JtLWJyaWRnZQ==\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Protocol: v1, v2\r\n\
             User-Agent: Test/1\r\n\
             X-Sandstorm-Tab-Id: abababababababababababababababab\r\n\
             X-Sandstorm-Username: Alice%20%C3%84rger\r\n\
             X-Sandstorm-User-Id: 000102030405060708090a0b0c0d0e0f\r\n\
             X-Sandstorm-Preferred-Handle: alice\r\n\
             X-Sandstorm-User-Picture: https://pictures.example/alice\r\n\
             X-Sandstorm-User-Pronouns: female\r\n\
             X-Sandstorm-Session-Type: normal\r\n\
             X-Sandstorm-Permissions: view,admin\r\n\
             X-Sandstorm-Base-Path: http://ui-1.localhost:6080\r\n\
             Host: ui-1.localhost:6080\r\n\
             X-Forwarded-Proto: http\r\n\
             X-Sandstorm-Session-Id: 0\r\n\
             Cookie: a=b\r\n\
             Accept: */*\r\n\r\n"
        );
        received
            .until(|received| received.bytes.borrow().len() == 7)
            .await;
        // An echo of something larger than any buffer on the way.
        let message: Vec<u8> = (0..3_000_000_u32)
            .map(|byte| (byte % 251).to_le_bytes()[0])
            .collect();
        let client = async {
            for piece in message.chunks(50_000) {
                send(&stream, piece).await.unwrap();
            }
        };
        let server = async {
            let mut left = message.len();
            while left > 0 {
                let bytes = request.body(left.min(10_000)).await;
                left -= bytes.len();
                request.send(&bytes).await;
            }
        };
        let both = received.until(|received| received.bytes.borrow().len() == 7 + message.len());
        tokio::join!(client, server, both);
        assert_eq!(received.bytes.borrow()[7..], message);
    });
}

#[test]
fn either_side_may_close() {
    run(async {
        let (bridge, app) = Bridge::simple().await;
        let session = bridge.alice().await;

        let received = Rc::<Received>::default();
        let (opened, mut request) = open(&session, &app, &received, ACCEPTED).await;
        let (_, stream) = opened.unwrap();
        send(&stream, b"bye").await.unwrap();
        drop(stream);
        // The app reads everything, then the end, and may still answer.
        assert_eq!(request.rest().await, b"bye");
        request.reply("farewell").await;
        received.until(|received| *received.closed.borrow()).await;
        assert_eq!(*received.bytes.borrow(), b"\x81\x05earlyfarewell");

        let received = Rc::<Received>::default();
        let (opened, request) = open(&session, &app, &received, ACCEPTED).await;
        let (_, stream) = opened.unwrap();
        drop(request);
        received.until(|received| *received.closed.borrow()).await;
        // What is sent now has nowhere to go and soon says so.
        while send(&stream, b"hello?").await.is_ok() {
            tokio::task::yield_now().await;
        }
    });
}

#[test]
fn a_refused_upgrade_fails() {
    run(async {
        let (bridge, app) = Bridge::simple().await;
        let session = bridge.alice().await;
        for reply in ["HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 403 No\r\n\r\n", "garbage"] {
            let received = Rc::<Received>::default();
            let (opened, _request) = open(&session, &app, &received, reply.as_bytes()).await;
            assert!(opened.is_err(), "{reply}");
            received.until(|received| *received.closed.borrow()).await;
        }
    });
}
