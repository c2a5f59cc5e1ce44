//! Plays the app: a server that shows requests byte by byte and answers with whatever it is told.

use std::net::Ipv4Addr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub struct App {
    listener: TcpListener,
}

/// One connection, of which the head has been read.
pub struct Request {
    pub socket: TcpStream,
    /// The head, its empty line included.
    pub head: String,
    /// What was read beyond the head.
    buffer: Vec<u8>,
}

impl App {
    pub async fn listen() -> Self {
        Self {
            listener: TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap(),
        }
    }

    pub fn on(listener: TcpListener) -> Self {
        Self { listener }
    }

    pub fn port(&self) -> u16 {
        self.listener.local_addr().unwrap().port()
    }

    /// Waits for the next request; connections that only knock are passed over.
    pub async fn request(&self) -> Request {
        loop {
            let (mut socket, _) = self.listener.accept().await.unwrap();
            let mut buffer = Vec::new();
            let end = loop {
                if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                    break Some(end + 4);
                }
                if socket.read_buf(&mut buffer).await.unwrap() == 0 {
                    assert!(
                        buffer.is_empty(),
                        "half a head: {:?}",
                        String::from_utf8_lossy(&buffer)
                    );
                    break None;
                }
            };
            if let Some(end) = end {
                let rest = buffer.split_off(end);
                return Request {
                    socket,
                    head: String::from_utf8(buffer).unwrap(),
                    buffer: rest,
                };
            }
        }
    }

    /// Answers the next request and returns its head, once the bridge has hung up.
    pub async fn answer(&self, response: impl AsRef<[u8]>) -> String {
        let mut request = self.request().await;
        request.reply(response).await;
        request.head
    }
}

impl Request {
    /// Reads exactly `count` bytes of the body.
    pub async fn body(&mut self, count: usize) -> Vec<u8> {
        while self.buffer.len() < count {
            assert_ne!(
                self.socket.read_buf(&mut self.buffer).await.unwrap(),
                0,
                "body ended early"
            );
        }
        let rest = self.buffer.split_off(count);
        std::mem::replace(&mut self.buffer, rest)
    }

    /// Reads chunks that make `count` bytes together.
    pub async fn chunked_body(&mut self, count: usize) {
        let mut seen = 0;
        while seen < count {
            let mut line = Vec::new();
            while !line.ends_with(b"\r\n") {
                line.extend(self.body(1).await);
            }
            let size = std::str::from_utf8(&line).unwrap().trim();
            let size = usize::from_str_radix(size, 16).unwrap();
            assert!(size > 0, "body ended early");
            self.body(size + 2).await;
            seen += size;
        }
        assert_eq!(seen, count);
    }

    /// Reads until the bridge stops sending.
    pub async fn rest(&mut self) -> Vec<u8> {
        let mut all = std::mem::take(&mut self.buffer);
        // A reset is as much an end as a close.
        let _ = self.socket.read_to_end(&mut all).await;
        all
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.socket.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Sends the whole response and closes.
    pub async fn reply(&mut self, response: impl AsRef<[u8]>) {
        self.send(response).await;
        self.socket.shutdown().await.unwrap();
    }
}
