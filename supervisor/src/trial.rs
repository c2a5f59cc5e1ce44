//! What `percloud try` and the broker of its throw-away server say to each other: a line of JSON each, over a socket of
//! their own.

use std::error::Error;
use std::io::{self, BufRead, Write};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use percloud_broker::{Broker, RefusedSyscall};
use percloud_core::id::GrainId;
use percloud_core::secret::Secret;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream as AsyncUnixStream;

use crate::base::Base;
use crate::processes::Server;

/// What the broker says first.
#[derive(Serialize, Deserialize)]
struct Introduction {
    base: String,
    address: SocketAddr,
    /// What makes the first account, where there is none.
    secret: Option<String>,
}

/// The broker's end.
pub struct Trial {
    socket: BufReader<AsyncUnixStream>,
}

impl Trial {
    /// Takes the connection; must be called inside a runtime.
    pub fn new(socket: OwnedFd) -> io::Result<Self> {
        let socket = UnixStream::from(socket);
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket: BufReader::new(AsyncUnixStream::from_std(socket)?),
        })
    }

    /// Says where the server is.
    pub async fn introduce(
        &mut self,
        server: &Server,
        address: SocketAddr,
        secret: Option<Secret>,
    ) -> io::Result<()> {
        let introduction = Introduction {
            base: server.base.url(),
            address,
            secret: secret.map(|secret| secret.expose_hex().to_string()),
        };
        self.say(&introduction).await
    }

    /// Tells which calls the app of a grain was refused, as often as it is asked; ends when nobody asks any more.
    pub async fn serve(mut self, broker: &Broker) {
        let mut line = String::new();
        while matches!(self.socket.read_line(&mut line).await, Ok(1..)) {
            let refused = match line.trim_end().parse::<GrainId>() {
                Ok(grain) => broker.refused_syscalls(&grain).await,
                Err(_) => Vec::new(),
            };
            if self.say(&refused).await.is_err() {
                return;
            }
            line.clear();
        }
    }

    async fn say(&mut self, what: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(what)?;
        line.push(b'\n');
        self.socket.get_mut().write_all(&line).await
    }
}

/// The throw-away server as `percloud try` sees it. It stops when this is dropped.
pub struct Tried {
    pub base: Base,
    pub address: SocketAddr,
    /// What makes the first account; none when there is one.
    pub setup: Option<String>,
    socket: io::BufReader<UnixStream>,
}

impl Tried {
    /// Waits until the server is ready.
    pub fn meet(socket: UnixStream) -> Result<Self, Box<dyn Error>> {
        let mut socket = io::BufReader::new(socket);
        let line = line(&mut socket)?;
        if line.is_empty() {
            return Err("the throw-away server did not start".into());
        }
        let said: Introduction = serde_json::from_str(&line)?;
        Ok(Self {
            base: Base::parse(&said.base)?,
            address: said.address,
            setup: said.secret,
            socket,
        })
    }

    /// Asks which calls the app of a grain was refused.
    pub fn refused(&mut self, grain: &GrainId) -> Result<Vec<RefusedSyscall>, Box<dyn Error>> {
        writeln!(self.socket.get_mut(), "{}", grain.as_str())?;
        Ok(serde_json::from_str(&line(&mut self.socket)?)?)
    }
}

fn line(socket: &mut io::BufReader<UnixStream>) -> io::Result<String> {
    let mut line = String::new();
    socket.read_line(&mut line)?;
    Ok(line)
}
