//! The HTTP proxy on loopback, through which an app without Cap'n Proto will use capabilities it was given.
//!
//! Claiming and using them is not built yet: whoever asks is told so, in HTTP.

use std::io;
use std::net::SocketAddrV4;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::spawn_local;

use crate::log::log;

/// Longest request head read, in bytes.
const MAX_HEAD: usize = 64 << 10;

/// Most bytes of an unwanted request body read before the connection is closed.
const MAX_BODY: u64 = 1 << 20;

/// Requests served at once; the app's further connections wait.
const MAX_REQUESTS: usize = 64;

/// How long one request may take to arrive.
const PATIENCE: Duration = Duration::from_secs(30);

/// Listens on `address`.
pub(crate) async fn bind(address: SocketAddrV4) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Answers every request, for ever.
pub(crate) async fn serve(listener: TcpListener, _bridge: std::rc::Rc<crate::bridge::Bridge>) {
    let permits = Arc::new(Semaphore::new(MAX_REQUESTS));
    loop {
        let Ok(permit) = permits.clone().acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((socket, _)) => {
                spawn_local(async move {
                    // A client that is slow or gone concerns nobody else.
                    let _ = tokio::time::timeout(PATIENCE, answer(socket)).await;
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

async fn answer(mut socket: TcpStream) -> io::Result<()> {
    let mut head = Vec::new();
    let (status, text) = loop {
        let mut fields = [httparse::EMPTY_HEADER; 128];
        let mut request = httparse::Request::new(&mut fields);
        match request.parse(&head) {
            Ok(httparse::Status::Complete(_)) => {
                break choose(
                    request.method.unwrap_or_default(),
                    request.path.unwrap_or_default(),
                );
            }
            Ok(httparse::Status::Partial) if head.len() < MAX_HEAD => {}
            Ok(httparse::Status::Partial) => {
                break ("431 Request Header Fields Too Large", "request head too large\n");
            }
            Err(_) => break ("400 Bad Request", "not an HTTP request\n"),
        }
        if socket.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    };
    let length = text.len();
    let response = format!(
        "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Length: {length}\r\n\r\n{text}"
    );
    socket.write_all(response.as_bytes()).await?;
    socket.shutdown().await?;
    // Closing while bytes are unread would reset the connection, and the answer with it.
    tokio::io::copy(&mut socket.take(MAX_BODY), &mut tokio::io::sink()).await?;
    Ok(())
}

/// Chooses the answer to a request for `target`, which is absolute-form as proxies receive it, or a path.
fn choose(method: &str, target: &str) -> (&'static str, &'static str) {
    let local = target
        .strip_prefix("http://http-bridge")
        .filter(|rest| rest.starts_with('/'));
    let claim = local
        .and_then(|path| path.strip_prefix("/session/"))
        .and_then(|path| path.strip_suffix("/claim"))
        .is_some_and(|id| !id.is_empty() && !id.contains('/'));
    match method {
        "CONNECT" => ("501 Not Implemented", "this proxy cannot open tunnels\n"),
        "POST" if claim => (
            "501 Not Implemented",
            "this bridge cannot claim powerbox requests yet\n",
        ),
        _ => (
            "404 Not Found",
            "no capability was presented: a valid bearer token is needed\n",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_claim_is_more_than_not_found() {
        for (method, target, status) in [
            ("POST", "http://http-bridge/session/0/claim", "501"),
            ("GET", "http://http-bridge/session/0/claim", "404"),
            ("POST", "http://http-bridge/session//claim", "404"),
            ("POST", "http://http-bridge/session/0/x/claim", "404"),
            ("POST", "http://http-bridge.example/session/0/claim", "404"),
            ("GET", "http://example.com/", "404"),
            ("GET", "/", "404"),
            ("CONNECT", "example.com:443", "501"),
        ] {
            assert!(choose(method, target).0.starts_with(status), "{method} {target}");
        }
    }
}
