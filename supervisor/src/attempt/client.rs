//! As much of a browser as a try needs: one host, one cookie, one connection per request.

use std::error::Error;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::TryStreamExt;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HOST, LOCATION, ORIGIN};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio_util::io::ReaderStream;

/// Bytes of a body that are kept; the rest is counted.
const BODY_KEPT: usize = 1 << 20;
/// Characters of a body shown.
const BODY_SHOWN: usize = 2000;

type Body = BoxBody<Bytes, std::io::Error>;

/// One host as seen by one browser.
#[derive(Clone)]
pub struct Browser {
    server: SocketAddr,
    host: String,
    cookie: Option<String>,
}

/// An answer, read to its end.
pub struct Answer {
    pub status: StatusCode,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub body_bytes: u64,
    /// From the request to the head of the answer.
    pub first_byte: Duration,
    /// From the request to the end of the answer.
    pub total: Duration,
}

impl Browser {
    pub fn new(server: SocketAddr, host: &str) -> Self {
        Self {
            server,
            host: host.to_owned(),
            cookie: None,
        }
    }

    /// The same browser with the cookie an answer set.
    pub fn signed_in(&self, answer: Answer) -> Result<Self, Box<dyn Error>> {
        let cookie = answer
            .header("set-cookie")
            .and_then(|cookie| cookie.split(';').next());
        match cookie {
            Some(cookie) => Ok(Self {
                cookie: Some(cookie.to_owned()),
                ..self.clone()
            }),
            None => Err(format!(
                "{} answered {}: {}",
                self.host,
                answer.status,
                answer.text_start()
            )
            .into()),
        }
    }

    pub async fn json(&self, method: Method, path: &str, body: &Value) -> Result<Answer, Box<dyn Error>> {
        let request = self
            .request(method, path)
            .header(CONTENT_TYPE, "application/json");
        self.send(request.body(full(body.to_string()))?).await
    }

    pub async fn upload(&self, path: &str, file: &Path) -> Result<Answer, Box<dyn Error>> {
        let failed = |error: std::io::Error| format!("cannot read {}: {error}", file.display());
        let opened = tokio::fs::File::open(file).await.map_err(failed)?;
        let length = opened.metadata().await.map_err(failed)?.len();
        let chunks = ReaderStream::with_capacity(opened, 256 << 10).map_ok(Frame::data);
        let request = self
            .request(Method::POST, path)
            .header(CONTENT_TYPE, "application/octet-stream")
            .header(CONTENT_LENGTH, length)
            .header("x-upload-id", "try");
        self.send(request.body(BodyExt::boxed(StreamBody::new(chunks)))?)
            .await
    }

    /// Hands the secret of a page session to its host.
    pub async fn enter(&self, shell: &str, secret: &str) -> Result<Answer, Box<dyn Error>> {
        let request = Request::builder()
            .method(Method::POST)
            .uri("/_percloud/enter")
            .header(HOST, &self.host)
            .header(ORIGIN, shell)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        self.send(request.body(full(format!("secret={secret}")))?).await
    }

    pub async fn get(&self, path: &str) -> Result<Answer, Box<dyn Error>> {
        self.send(
            self.request(Method::GET, path)
                .header("accept", "text/html,*/*;q=0.8")
                .body(full(""))?,
        )
        .await
    }

    fn request(&self, method: Method, path: &str) -> hyper::http::request::Builder {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, &self.host)
            .header("x-percloud", "1");
        if let Some(cookie) = &self.cookie {
            request = request.header(COOKIE, cookie);
        }
        request
    }

    async fn send(&self, request: Request<Body>) -> Result<Answer, Box<dyn Error>> {
        let started = Instant::now();
        let stream = tokio::net::TcpStream::connect(self.server).await?;
        stream.set_nodelay(true)?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::task::spawn_local(connection);
        let mut response = sender.send_request(request).await?;
        let first_byte = started.elapsed();
        let (mut body, mut body_bytes) = (Vec::new(), 0);
        while let Some(frame) = response.frame().await {
            if let Ok(data) = frame?.into_data() {
                body_bytes += data.len() as u64;
                body.extend_from_slice(&data[..data.len().min(BODY_KEPT - body.len())]);
            }
        }
        connection.abort();
        let text =
            |value: &hyper::header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let headers = response
            .headers()
            .iter()
            .map(|(name, value)| (name.to_string(), text(value)))
            .collect();
        Ok(Answer {
            status: response.status(),
            headers,
            body,
            body_bytes,
            first_byte,
            total: started.elapsed(),
        })
    }
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// The JSON of an answer with the expected status; anything else as the error its body tells.
    pub fn json(&self, expected: StatusCode) -> Result<Value, Box<dyn Error>> {
        let value: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        if self.status == expected {
            return Ok(value);
        }
        let message = value["error"]["message"].as_str().map(str::to_owned);
        Err(message
            .unwrap_or_else(|| format!("the server answered {}: {}", self.status, self.text_start()))
            .into())
    }

    /// The path of a redirect that stays on this host.
    pub fn redirect(&self, host: &str) -> Option<String> {
        if !self.status.is_redirection() {
            return None;
        }
        let location = self.header(LOCATION.as_str())?;
        let local = location
            .split_once("://")
            .map_or(Some(location), |(_, rest)| rest.strip_prefix(host));
        Some(match local? {
            "" => "/".to_owned(),
            path if path.starts_with('/') => path.to_owned(),
            relative => format!("/{relative}"),
        })
    }

    /// The beginning of the body, as text.
    pub fn text_start(&self) -> String {
        String::from_utf8_lossy(&self.body)
            .chars()
            .take(BODY_SHOWN)
            .collect()
    }
}

fn full(body: impl Into<Bytes>) -> Body {
    BodyExt::boxed(Full::new(body.into()).map_err(|never| match never {}))
}
