//! Capabilities for apps that speak only HTTP: claims and requests through the proxy.

mod bodies;
mod claims;
mod http;
mod old_api;

use std::rc::Rc;

use capnp::capability::FromClientHook;
use percloud_schemas::web_session_capnp::web_session;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::app::App;
use crate::harness::{Bridge, two_permissions};
use crate::world::{Context, World};

/// The proxy of one bridge.
pub struct Proxy(String);

impl Proxy {
    pub fn of(bridge: &Bridge) -> Self {
        let [high, low] = bridge.port.to_be_bytes();
        Self(format!("127.15.{high}.{low}:15239"))
    }

    pub async fn open(&self, request: impl AsRef<[u8]>) -> TcpStream {
        let mut socket = TcpStream::connect(&self.0).await.unwrap();
        socket.write_all(request.as_ref()).await.unwrap();
        socket
    }

    /// Sends a request and returns everything that comes back.
    pub async fn ask(&self, request: impl AsRef<[u8]>) -> String {
        String::from_utf8(rest(self.open(request).await).await).unwrap()
    }
}

async fn rest(mut socket: TcpStream) -> Vec<u8> {
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await.unwrap();
    answer
}

fn claim_request(session: &str, json: &str) -> String {
    let length = json.len();
    format!(
        "POST http://http-bridge/session/{session}/claim HTTP/1.1\r\nContent-Length: {length}\r\n\r\n{json}"
    )
}

/// Claims a request in session 0 of `bridge` and returns the bearer token, or else the whole answer.
pub async fn claim(bridge: &Bridge, token: &str) -> Result<String, String> {
    let json = format!(
        r#"{{"requestToken":"{token}","requiredPermissions":["admin"],"label":{{"defaultText":"for tests"}}}}"#
    );
    let answer = Proxy::of(bridge).ask(claim_request("0", &json)).await;
    if !answer.starts_with("HTTP/1.1 200 OK\r\n") {
        return Err(answer);
    }
    assert!(answer.contains("\r\nContent-Type: application/json\r\n"));
    let cap = answer
        .split("{\"cap\":\"")
        .nth(1)
        .and_then(|rest| rest.strip_suffix("\"}"));
    Ok(cap.unwrap().to_owned())
}

/// A grain that has claimed the API of another one.
struct Claimed {
    /// The app behind the API.
    app: App,
    _provider: Bridge,
    bridge: Bridge,
    cap: String,
    context: Rc<Context>,
    _own_app: App,
    _session: web_session::Client,
}

impl Claimed {
    async fn start() -> Self {
        let world = Rc::<World>::default();
        let directory = || Rc::new(tempfile::tempdir().unwrap());
        let (app, own_app) = (App::listen().await, App::listen().await);
        let provider = Bridge::start_in(&world, 0, directory(), app.port(), &["cat"], |mut config| {
            config.set_api_path("/api/");
            two_permissions(config);
        });
        let api = provider.api(None).await.unwrap();
        let bridge = Bridge::start_in(&world, 1, directory(), own_app.port(), &["cat"], two_permissions);
        let context = Context::new(&world, 1, "");
        let session = bridge
            .open(|mut params| params.set_context(context.client()))
            .await;
        let api: capnp::capability::Client = api.cast_to();
        world.fix(api.clone());
        world.choose("request", api).await;
        let cap = claim(&bridge, "request").await.unwrap();
        Self {
            app,
            _provider: provider,
            bridge,
            cap,
            context,
            _own_app: own_app,
            _session: session,
        }
    }

    /// Begins a request with the capability.
    fn head(&self, line: &str, headers: &str) -> String {
        format!(
            "{line} HTTP/1.1\r\nHost: x.example\r\nAuthorization: Bearer {}\r\n{headers}\r\n",
            self.cap
        )
    }

    /// Makes a request and answers it; returns what the app saw, and what came back.
    async fn exchange(&self, request: impl AsRef<[u8]>, response: &str) -> (String, String) {
        let proxy = Proxy::of(&self.bridge);
        let (answer, seen) = tokio::join!(proxy.ask(request), async {
            let mut seen = self.app.request().await;
            let length = seen
                .head
                .split("Content-Length: ")
                .nth(1)
                .map_or(0, |rest| rest.split('\r').next().unwrap().parse().unwrap());
            let body = seen.body(length).await;
            seen.reply(response).await;
            seen.head + std::str::from_utf8(&body).unwrap()
        });
        (seen, answer)
    }
}
