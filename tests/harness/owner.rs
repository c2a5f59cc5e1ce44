//! What the owner of a server does, through the same calls as the browser shell.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::http::{Exchange, Request, Response};
use crate::server::Server;
use crate::wait;

/// The handle of the account that [`Owner::set_up`] makes.
pub const HANDLE: &str = "ada";
/// Its password.
pub const PASSWORD: &str = "correct horse battery staple";

/// How much of a log the server shows unless it is asked for more, in bytes.
const BACKLOG: usize = 64 << 10;

/// A signed-in owner.
#[derive(Debug, Clone)]
pub struct Owner {
    address: SocketAddr,
    host: String,
    cookies: Vec<String>,
}

impl Owner {
    /// Sets up a fresh server with its one-time secret.
    pub fn set_up(server: &Server) -> Self {
        let account = json!({"secret": server.secret(), "name": "Ada Lovelace", "handle": HANDLE, "password": PASSWORD});
        let answer = server.send(&change("POST", "/api/setup").body("application/json", account.to_string()));
        assert_eq!(answer.status, 201, "{}", answer.text());
        Owner::from_answer(server, &answer)
    }

    /// Signs in to a server set up before.
    pub fn sign_in(server: &Server) -> Self {
        let credentials = json!({"handle": HANDLE, "password": PASSWORD});
        let answer =
            server.send(&change("POST", "/api/session").body("application/json", credentials.to_string()));
        assert_eq!(answer.status, 200, "{}", answer.text());
        Owner::from_answer(server, &answer)
    }

    /// Somebody else with an account, who came by an invitation of this owner's.
    pub fn invite(&self, server: &Server, name: &str) -> Self {
        let invited = self.expect("POST", "/api/invitations", Some(json!({})));
        let url = text(&invited["url"]);
        let (_, secret) = url.split_once('#').expect("the secret is behind the #");
        let account =
            json!({"secret": secret, "name": name, "handle": name.to_lowercase(), "password": PASSWORD});
        let answer = server.send(&change("POST", "/api/join").body("application/json", account.to_string()));
        assert_eq!(answer.status, 201, "{}", answer.text());
        Owner::from_answer(server, &answer)
    }

    /// Makes a sharing link; returns its way and its token.
    pub fn link(&self, grain: &str, role: Value) -> (String, String) {
        let body = json!({"to": {"link": true}, "role": role});
        let made = self.expect("POST", &format!("/api/grains/{grain}/shares"), Some(body));
        let url = text(&made["url"]);
        let (_, token) = url.split_once('#').expect("the token is behind the #");
        (text(&made["way"]["id"]), token.to_owned())
    }

    fn from_answer(server: &Server, answer: &Response) -> Self {
        let cookies = answer.cookies();
        assert!(!cookies.is_empty(), "signing in sets a cookie");
        Owner {
            address: server.address(),
            host: server.host().to_owned(),
            cookies,
        }
    }

    /// The value of the `Cookie` header that makes a request the owner's.
    pub fn cookie(&self) -> String {
        self.cookies.join("; ")
    }

    /// Sends any request with the owner's cookie.
    pub fn send(&self, request: Request) -> Response {
        self.attempt(request).expect("the server answers")
    }

    /// The same, while the server may be gone; `None` when it is.
    pub fn attempt(&self, request: Request) -> Option<Response> {
        let request = request.header("Cookie", self.cookie());
        request.send(self.address, &self.host).ok()
    }

    /// Asks for something and expects JSON with status 200.
    pub fn get(&self, path: &str) -> Value {
        let answer = self.send(Request::new("GET", path));
        assert_eq!(answer.status, 200, "GET {path}: {}", answer.text());
        answer.json()
    }

    /// Changes something; returns whatever the server says.
    pub fn change(&self, method: &str, path: &str, body: Option<Value>) -> Response {
        let request = change(method, path);
        self.send(match body {
            Some(body) => request.body("application/json", body.to_string()),
            None => request,
        })
    }

    /// Changes something and expects it to work.
    pub fn expect(&self, method: &str, path: &str, body: Option<Value>) -> Value {
        let answer = self.change(method, path, body);
        assert!(
            (200..300).contains(&answer.status),
            "{method} {path}: {} {}",
            answer.status,
            answer.text()
        );
        if answer.body.is_empty() {
            Value::Null
        } else {
            answer.json()
        }
    }

    /// Uploads a package; returns whatever the server says.
    pub fn upload(&self, package: &[u8]) -> Response {
        self.send(
            change("POST", "/api/packages")
                .header("X-Upload-Id", "test")
                .body("application/octet-stream", package),
        )
    }

    /// Uploads and installs a package; returns the app.
    pub fn install(&self, package: &Path) -> Value {
        let bytes = std::fs::read(package).expect("the package can be read");
        let answer = self.upload(&bytes);
        assert_eq!(answer.status, 201, "{}", answer.text());
        let id = text(&answer.json()["packageId"]);
        self.expect("POST", &format!("/api/packages/{id}/install"), None)
    }

    /// Creates a grain with the app's first action; returns its id.
    pub fn create(&self, app: &Value) -> String {
        let grain = self.expect(
            "POST",
            "/api/grains",
            Some(json!({"packageId": app["packageId"], "action": 0})),
        );
        text(&grain["id"])
    }

    /// Installs a package and creates a grain of it; returns the grain's id.
    pub fn grain_of(&self, package: &Path) -> String {
        let app = self.install(package);
        self.create(&app)
    }

    /// A grain as the server shows it.
    pub fn grain(&self, id: &str) -> Value {
        self.get(&format!("/api/grains/{id}"))
    }

    /// Waits until a grain is in `state`.
    pub fn await_state(&self, id: &str, state: &str) -> Value {
        wait::until(&format!("grain {id} to be {state}"), || {
            Some(self.grain(id)).filter(|grain| grain["state"] == state)
        })
    }

    /// Asks for a grain to be opened at `path`; returns whatever the server says.
    pub fn try_open(&self, id: &str, path: &str) -> Response {
        self.change(
            "POST",
            &format!("/api/grains/{id}/open"),
            Some(json!({"path": path})),
        )
    }

    /// Opens a grain and enters its host as the browser's frame does.
    pub fn open(&self, id: &str) -> Visit {
        let answer = self.try_open(id, "/");
        assert_eq!(answer.status, 200, "{}", answer.text());
        self.visit(&answer.json())
    }

    /// Enters a host as the browser's frame does, with what the shell was handed.
    pub fn visit(&self, opened: &Value) -> Visit {
        let host = text(&opened["host"]).trim_start_matches("http://").to_owned();
        let entered = self
            .enter(&host, &text(&opened["secret"]))
            .expect("the grain's host answers");
        assert_eq!(entered.status, 303, "{}", entered.text());
        Visit {
            address: self.address,
            host,
            cookies: entered.cookies(),
        }
    }

    /// Opens a grain where any step may fail; `None` when one does.
    pub fn attempt_visit(&self, id: &str) -> Option<Visit> {
        let body = json!({"path": "/"}).to_string();
        let request = change("POST", &format!("/api/grains/{id}/open"));
        let opened = self.attempt(request.body("application/json", body))?;
        if opened.status != 200 {
            return None;
        }
        let opened: Value = serde_json::from_slice(&opened.body).ok()?;
        let host = opened["host"].as_str()?.trim_start_matches("http://").to_owned();
        let entered = self.enter(&host, opened["secret"].as_str()?).ok()?;
        (entered.status == 303).then(|| Visit {
            address: self.address,
            host,
            cookies: entered.cookies(),
        })
    }

    fn enter(&self, host: &str, secret: &str) -> std::io::Result<Response> {
        let enter =
            Request::new("POST", "/_percloud/enter").header("Origin", format!("http://{}", self.host));
        enter
            .body("application/x-www-form-urlencoded", format!("secret={secret}"))
            .send(self.address, host)
    }

    /// Listens to what the server tells; what happens from now on is heard.
    pub fn events(&self) -> Events {
        let request = Request::new("GET", "/api/events").header("Cookie", self.cookie());
        let exchange = request
            .start(self.address, &self.host)
            .expect("the server answers");
        assert_eq!(exchange.head.status, 200);
        exchange
            .patience(wait::DEADLINE)
            .expect("a time limit can be set");
        let mut events = Events {
            exchange,
            unread: String::new(),
        };
        events.next("hello");
        events
    }

    /// The end of a grain's log, up to 64 KiB.
    pub fn log(&self, id: &str) -> String {
        let request = Request::new("GET", &format!("/api/grains/{id}/log")).header("Cookie", self.cookie());
        let mut exchange = request
            .start(self.address, &self.host)
            .expect("the server answers");
        assert_eq!(exchange.head.status, 200);
        exchange
            .patience(Duration::from_millis(300))
            .expect("a time limit can be set");
        let mut log = Vec::new();
        // The log never ends; what is there comes at once, and more of it than was asked for is news.
        while log.len() < BACKLOG
            && let Ok(Some(piece)) = exchange.piece()
        {
            log.extend_from_slice(&piece);
        }
        String::from_utf8_lossy(&log).into_owned()
    }

    /// Waits until a grain's log holds `what`.
    pub fn await_log(&self, id: &str, what: &str) -> String {
        wait::until(&format!("`{what}` in the log of grain {id}"), || {
            Some(self.log(id)).filter(|log| log.contains(what))
        })
    }
}

/// What the server tells a shell as it happens.
#[derive(Debug)]
pub struct Events {
    exchange: Exchange,
    unread: String,
}

impl Events {
    /// Waits for an event of this type.
    pub fn next(&mut self, kind: &str) -> Value {
        loop {
            while let Some((event, rest)) = self.unread.split_once("\n\n") {
                let event = event
                    .lines()
                    .find_map(|line| line.strip_prefix("data:").map(str::to_owned));
                self.unread = rest.to_owned();
                if let Some(event) = event {
                    let event: Value = serde_json::from_str(event.trim()).expect("events are JSON");
                    if event["type"] == kind {
                        return event;
                    }
                }
            }
            let piece = self.exchange.piece().expect("events keep coming");
            let piece = piece.unwrap_or_else(|| panic!("the events ended before `{kind}`"));
            self.unread.push_str(&String::from_utf8_lossy(&piece));
        }
    }
}

/// An open grain: its own host, with the cookie of this visit.
#[derive(Debug, Clone)]
pub struct Visit {
    address: SocketAddr,
    /// The host of this session, with its port.
    pub host: String,
    cookies: Vec<String>,
}

impl Visit {
    /// Sends any request to the grain.
    pub fn send(&self, request: Request) -> Response {
        self.try_send(request).expect("the grain's host answers")
    }

    /// Sends a request that may be cut off.
    pub fn try_send(&self, request: Request) -> std::io::Result<Response> {
        request
            .header("Cookie", self.cookies.join("; "))
            .send(self.address, &self.host)
    }

    /// Sends a request and returns once the head of the answer is there.
    pub fn start(&self, request: Request) -> std::io::Result<Exchange> {
        request
            .header("Cookie", self.cookies.join("; "))
            .start(self.address, &self.host)
    }

    /// Asks for a page and does not listen. Whoever drops the connection has gone away.
    pub fn ask(&self, path: &str) -> TcpStream {
        let request = Request::new("GET", path).header("Cookie", self.cookies.join("; "));
        let (asked, _no_body) = request
            .ask(self.address, &self.host)
            .expect("the grain's host listens");
        asked
    }

    /// Asks for a page.
    pub fn get(&self, path: &str) -> Response {
        self.send(Request::new("GET", path))
    }

    /// Sends a form as the grain's own page would.
    pub fn post_form(&self, path: &str, form: &str) -> Response {
        let origin = format!("http://{}", self.host);
        self.send(
            Request::new("POST", path)
                .header("Origin", origin)
                .body("application/x-www-form-urlencoded", form),
        )
    }
}

/// A request that changes something, marked as the shell's own.
pub fn change(method: &str, path: &str) -> Request {
    Request::new(method, path).header("X-Percloud", "1")
}

/// A JSON value that must be text.
pub fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("{value} should be text"))
        .to_owned()
}
