//! Servers on the loopback that say what a test has them say, right or wrong.

use std::future::Future;
use std::os::fd::AsFd;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufStream};
use tokio::net::{TcpListener, TcpStream};

use crate::world::soon;

pub struct Server {
    listener: TcpListener,
    pub port: u16,
}

impl Server {
    pub async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        Self { listener, port }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/{path}", self.port)
    }

    pub async fn raw(&self) -> TcpStream {
        soon(self.listener.accept()).await.unwrap().0
    }

    pub async fn accept(&self) -> Visitor<TcpStream> {
        Visitor::new(self.raw().await)
    }

    /// Answers the next request, and hangs up.
    pub async fn answer(&self, status: &str, fields: &str, body: &[u8]) -> Seen {
        let mut visitor = self.accept().await;
        let seen = visitor.request().await;
        visitor.answer(status, fields, body).await;
        seen
    }

    /// Nobody came.
    pub fn is_lonely(&self) -> bool {
        self.waiting().is_none()
    }

    /// Somebody who came and was not let in.
    pub fn waiting(&self) -> Option<std::net::TcpStream> {
        // Straight from the kernel: the runtime may not have looked yet.
        let listener = self.listener.as_fd().try_clone_to_owned().unwrap();
        match std::net::TcpListener::from(listener).accept() {
            Ok((stream, _)) => Some(stream),
            Err(error) => {
                assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
                None
            }
        }
    }
}

/// Does both, and returns what both say.
pub async fn both<A, B>(one: impl Future<Output = A>, other: impl Future<Output = B>) -> (A, B) {
    soon(async { tokio::join!(one, other) }).await
}

/// A request as it arrived.
#[derive(Debug, Default)]
pub struct Seen {
    pub line: String,
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// The body came to its end.
    pub is_complete: bool,
}

impl Seen {
    /// All values of a field.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let mut all = Vec::new();
        for (key, value) in &self.fields {
            if key == name {
                all.push(value.as_str());
            }
        }
        all
    }

    /// The only value of a field; empty when it is not there.
    pub fn field(&self, name: &str) -> &str {
        let all = self.all(name);
        assert!(all.len() < 2, "{name}: {all:?}");
        all.first().copied().unwrap_or_default()
    }
}

/// One connection.
pub struct Visitor<S>(BufStream<S>);

impl<S: AsyncRead + AsyncWrite + Unpin> Visitor<S> {
    pub fn new(stream: S) -> Self {
        Self(BufStream::new(stream))
    }

    pub async fn line(&mut self) -> Option<String> {
        let mut line = Vec::new();
        loop {
            match soon(self.0.read_u8()).await {
                Ok(b'\n') => return Some(String::from_utf8(line).unwrap().trim_end().to_owned()),
                Ok(byte) => line.push(byte),
                Err(_) => return None,
            }
        }
    }

    pub async fn head(&mut self) -> Seen {
        let mut seen = Seen {
            line: self.line().await.expect("a request"),
            ..Seen::default()
        };
        loop {
            let line = self.line().await.expect("the rest of a head");
            let Some((name, value)) = line.split_once(": ") else {
                assert_eq!(line, "");
                return seen;
            };
            seen.fields.push((name.to_owned(), value.to_owned()));
        }
    }

    pub async fn request(&mut self) -> Seen {
        let mut seen = self.head().await;
        if seen.field("transfer-encoding") == "chunked" {
            assert_eq!(seen.field("content-length"), "");
            while let Some(piece) = self.chunk().await {
                seen.is_complete = piece.is_empty();
                seen.body.extend(piece);
                if seen.is_complete {
                    break;
                }
            }
        } else {
            let length = seen.field("content-length").parse().unwrap_or(0);
            seen.body = self.take(length).await;
            seen.is_complete = seen.body.len() == length;
        }
        seen
    }

    /// One piece of a chunked body, the empty one at the end. None when it broke off.
    pub async fn chunk(&mut self) -> Option<Vec<u8>> {
        let size = usize::from_str_radix(&self.line().await?, 16).unwrap();
        let piece = self.take(size).await;
        let end = self.line().await?;
        assert_eq!(end, "");
        (piece.len() == size).then_some(piece)
    }

    /// Up to so many bytes; less when there are no more.
    pub async fn take(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        let mut filled = 0;
        while filled < count {
            match soon(self.0.read(&mut bytes[filled..])).await {
                Ok(0) | Err(_) => break,
                Ok(more) => filled += more,
            }
        }
        bytes.truncate(filled);
        bytes
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).await.unwrap();
    }

    pub async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        self.0.write_all(bytes.as_ref()).await?;
        self.0.flush().await
    }

    pub async fn answer(&mut self, status: &str, fields: &str, body: &[u8]) {
        let length = body.len();
        let head =
            format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n{fields}\r\n");
        self.send(head).await;
        // A body nobody wants may be cut.
        let _sent = self.try_send(body).await;
    }

    /// Waits for the end of what the other side says; returns how much that still was.
    pub async fn closed(&mut self) -> usize {
        let mut count = 0;
        let mut piece = vec![0; 64 << 10];
        loop {
            match soon(self.0.read(&mut piece)).await {
                Ok(0) | Err(_) => return count,
                Ok(more) => count += more,
            }
        }
    }

    /// Nobody is there any more: it takes nothing.
    pub async fn cut(&mut self) {
        self.closed().await;
        soon(async { while self.try_send([0; 4096]).await.is_ok() {} }).await;
    }

    pub async fn shut_down(&mut self) {
        self.0.shutdown().await.unwrap();
    }
}
