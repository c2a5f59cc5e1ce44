//! What a browser does, with clocks where they matter.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use percloud_tests::Server;
use serde_json::{Value, json};

use super::grain::Visit;
use crate::failure::{Attempt, Failure};

/// Nothing here takes longer unless something is broken.
const PATIENCE: Duration = Duration::from_secs(60);

const PASSWORD: &str = "as fast as one can be 42";

/// One kept HTTP/1.1 connection.
pub struct Connection {
    reader: BufReader<TcpStream>,
    host: String,
    cookie: String,
}

/// An answer whose head was read; its body is still to come.
pub struct Head {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    /// When its first byte was there.
    pub first_byte: Instant,
}

impl Head {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(own, _)| own == name)
            .map(|(_, value)| value.as_str())
    }

    /// The cookies it sets, ready to be sent back.
    pub fn cookies(&self) -> String {
        let set = self.headers.iter().filter(|(name, _)| name == "set-cookie");
        let pairs: Vec<&str> = set
            .filter_map(|(_, value)| value.split(';').next())
            .map(str::trim)
            .collect();
        pairs.join("; ")
    }
}

impl Connection {
    /// Connects to `address`, speaking to `host` with `cookie`.
    pub fn open(address: SocketAddr, host: &str, cookie: &str) -> Result<Self, Failure> {
        let connect = || {
            let stream = TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            Ok(stream)
        };
        let stream: TcpStream = connect().attempt(|| format!("connect to {host}"))?;
        let reader = BufReader::with_capacity(256 << 10, stream);
        Ok(Self {
            reader,
            host: host.to_owned(),
            cookie: cookie.to_owned(),
        })
    }

    /// Sends a request with a body of `length` bytes that `body` writes, and reads the head of the answer.
    pub fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        length: u64,
        body: impl FnOnce(&mut TcpStream) -> std::io::Result<()>,
    ) -> Result<Head, Failure> {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", self.host);
        if !self.cookie.is_empty() {
            head.push_str(&format!("Cookie: {}\r\n", self.cookie));
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if length > 0 || method != "GET" {
            head.push_str(&format!("Content-Length: {length}\r\n"));
        }
        head.push_str("\r\n");
        let stream = self.reader.get_mut();
        let sent = stream.write_all(head.as_bytes()).and_then(|()| body(stream));
        let head = self.head();
        // An early refusal says more than the broken pipe it leaves.
        let what = || format!("{method} {path} on {}", self.host);
        if head.is_err() {
            sent.attempt(what)?;
        }
        head.attempt(what)
    }

    /// Asks for `path` and reads the whole answer; anything but `200` is a failure.
    pub fn get(&mut self, path: &str) -> Result<Head, Failure> {
        let head = self.send("GET", path, &[], 0, |_| Ok(()))?;
        let body = self.body(&head)?;
        expect(&head, 200, path, &body)?;
        Ok(head)
    }

    fn head(&mut self) -> std::io::Result<Head> {
        let unexpected = |what: &str| std::io::Error::new(std::io::ErrorKind::InvalidData, what.to_owned());
        if self.reader.fill_buf()?.is_empty() {
            return Err(unexpected("the connection was closed instead of an answer"));
        }
        let first_byte = Instant::now();
        let status = self.line()?;
        let status = status.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| unexpected("no status line"))?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(Head {
                    status,
                    headers,
                    first_byte,
                });
            }
            let (name, value) = line.split_once(':').ok_or_else(|| unexpected("no header"))?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    /// Reads the body into memory; for small ones.
    pub fn body(&mut self, head: &Head) -> Result<Vec<u8>, Failure> {
        let mut all = Vec::new();
        self.pieces(head, |piece| all.extend_from_slice(piece))?;
        Ok(all)
    }

    /// Reads the body and counts it.
    pub fn count(&mut self, head: &Head) -> Result<u64, Failure> {
        let mut count = 0;
        self.pieces(head, |piece| count += piece.len() as u64)?;
        Ok(count)
    }

    fn pieces(&mut self, head: &Head, mut take: impl FnMut(&[u8])) -> Result<(), Failure> {
        let mut read = || {
            if matches!(head.status, 204 | 304) {
                return Ok(());
            }
            if head
                .header("transfer-encoding")
                .is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"))
            {
                loop {
                    let line = self.line()?;
                    let size = u64::from_str_radix(line.split(';').next().unwrap_or_default().trim(), 16);
                    let size =
                        size.map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidData, error))?;
                    self.exactly(size, &mut take)?;
                    self.line()?;
                    if size == 0 {
                        return Ok(());
                    }
                }
            }
            let length = head
                .header("content-length")
                .and_then(|length| length.parse().ok())
                .unwrap_or(0);
            self.exactly(length, &mut take)
        };
        read().attempt(|| format!("read an answer of {}", self.host))
    }

    fn exactly(&mut self, mut left: u64, take: &mut impl FnMut(&[u8])) -> std::io::Result<()> {
        while left > 0 {
            let there = self.reader.fill_buf()?;
            if there.is_empty() {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            let count = there.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            take(&there[..count]);
            self.reader.consume(count);
            left -= count as u64;
        }
        Ok(())
    }

    fn line(&mut self) -> std::io::Result<String> {
        let mut line = String::new();
        self.reader.by_ref().take(1 << 16).read_line(&mut line)?;
        line.strip_suffix("\r\n")
            .map(str::to_owned)
            .ok_or_else(|| std::io::ErrorKind::UnexpectedEof.into())
    }
}

fn expect(head: &Head, status: u16, path: &str, body: &[u8]) -> Result<(), Failure> {
    if head.status == status {
        return Ok(());
    }
    let said: String = String::from_utf8_lossy(body).chars().take(300).collect();
    Err(Failure::new(format!(
        "{path} answered {} instead of {status}: {said}",
        head.status
    )))
}

/// The shell of a server, signed in.
pub struct Shell {
    address: SocketAddr,
    host: String,
    cookie: String,
}

impl Shell {
    /// Makes the owner's account.
    pub fn set_up(server: &Server) -> Result<Self, Failure> {
        Self::join(server, "/api/setup", server.secret(), "bench")
    }

    /// Makes one more person's account, by an invitation of this one's.
    pub fn invite(&self, server: &Server, handle: &str) -> Result<Self, Failure> {
        let url = text(&self.change("/api/invitations", Some(&json!({})), 201)?, "url")?;
        let (_, secret) = url
            .split_once('#')
            .ok_or_else(|| Failure::new(format!("no secret in the invitation {url}")))?;
        Self::join(server, "/api/join", secret, handle)
    }

    fn join(server: &Server, path: &str, secret: &str, handle: &str) -> Result<Self, Failure> {
        let account = json!({"secret": secret, "name": handle, "handle": handle, "password": PASSWORD});
        Self::from_answer(server, path, &account, 201)
    }

    /// Signs in to a server that [`Shell::set_up`] has set up.
    pub fn sign_in(server: &Server) -> Result<Self, Failure> {
        let credentials = json!({"handle": "bench", "password": PASSWORD});
        Self::from_answer(server, "/api/session", &credentials, 200)
    }

    fn from_answer(server: &Server, path: &str, wanted: &Value, status: u16) -> Result<Self, Failure> {
        let mut shell = Self {
            address: server.address(),
            host: server.host().to_owned(),
            cookie: String::new(),
        };
        let (head, _) = shell.call(&mut shell.connect()?, "POST", path, Some(wanted), status)?;
        shell.cookie = head.cookies();
        Ok(shell)
    }

    /// Gives a grain another title.
    pub fn rename(&self, grain: &str, title: &str) -> Result<(), Failure> {
        let path = format!("/api/grains/{grain}");
        let wanted = json!({"title": title});
        self.call(&mut self.connect()?, "PATCH", &path, Some(&wanted), 200)
            .map(drop)
    }

    /// Uploads and installs a package; returns its id.
    pub fn install(&self, package: &Path) -> Result<String, Failure> {
        let bytes = fs::read(package).attempt(|| format!("read {}", package.display()))?;
        let headers = [
            ("X-Percloud", "1"),
            ("X-Upload-Id", "bench"),
            ("Content-Type", "application/octet-stream"),
        ];
        let mut connection = self.connect()?;
        let head = connection.send("POST", "/api/packages", &headers, bytes.len() as u64, |stream| {
            stream.write_all(&bytes)
        })?;
        let body = connection.body(&head)?;
        expect(&head, 201, "/api/packages", &body)?;
        let id = text(&json_of(&body)?, "packageId")?;
        self.change(&format!("/api/packages/{id}/install"), None, 200)?;
        Ok(id)
    }

    /// Creates a grain of a package's first action; returns its id.
    pub fn create(&self, package: &str) -> Result<String, Failure> {
        let wanted = json!({"packageId": package, "action": 0});
        text(&self.change("/api/grains", Some(&wanted), 201)?, "id")
    }

    /// Puts a grain to sleep: what is trashed is stopped, and what is restored is not started.
    pub fn put_to_sleep(&self, grain: &str) -> Result<(), Failure> {
        self.change(&format!("/api/grains/{grain}/trash"), None, 200)?;
        let restored = self.change(&format!("/api/grains/{grain}/restore"), None, 200)?;
        match text(&restored, "state")?.as_str() {
            "asleep" => Ok(()),
            other => Err(Failure::new(format!(
                "a restored grain is {other} instead of asleep"
            ))),
        }
    }

    /// Opens a grain and enters its host.
    pub fn open(&self, grain: &str) -> Result<Visit, Failure> {
        self.open_on(&mut self.connect()?, grain)
    }

    /// The same on a connection the browser has open already.
    pub fn open_on(&self, connection: &mut Connection, grain: &str) -> Result<Visit, Failure> {
        let path = format!("/api/grains/{grain}/open");
        let (_, opened) = self.call(connection, "POST", &path, Some(&json!({"path": "/small"})), 200)?;
        let host = text(&opened, "host")?.trim_start_matches("http://").to_owned();
        let form = format!("secret={}", text(&opened, "secret")?);
        let mut visit = Connection::open(self.address, &host, "")?;
        let origin = format!("http://{}", self.host);
        let headers = [
            ("Origin", origin.as_str()),
            ("Content-Type", "application/x-www-form-urlencoded"),
        ];
        let head = visit.send(
            "POST",
            "/_percloud/enter",
            &headers,
            form.len() as u64,
            |stream| stream.write_all(form.as_bytes()),
        )?;
        let body = visit.body(&head)?;
        expect(&head, 303, "/_percloud/enter", &body)?;
        visit.cookie = head.cookies();
        Ok(Visit {
            address: self.address,
            connection: visit,
        })
    }

    /// A new connection to the shell's host.
    pub fn connect(&self) -> Result<Connection, Failure> {
        Connection::open(self.address, &self.host, &self.cookie)
    }

    pub fn change(&self, path: &str, body: Option<&Value>, status: u16) -> Result<Value, Failure> {
        Ok(self.call(&mut self.connect()?, "POST", path, body, status)?.1)
    }

    fn call(
        &self,
        connection: &mut Connection,
        method: &str,
        path: &str,
        body: Option<&Value>,
        status: u16,
    ) -> Result<(Head, Value), Failure> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let headers = [("X-Percloud", "1"), ("Content-Type", "application/json")];
        let head = connection.send(method, path, &headers, body.len() as u64, |stream| {
            stream.write_all(body.as_bytes())
        })?;
        let said = connection.body(&head)?;
        expect(&head, status, path, &said)?;
        Ok((head, json_of(&said)?))
    }
}

impl Connection {
    pub fn host(&self) -> &str {
        &self.host
    }

    pub fn cookie(&self) -> &str {
        &self.cookie
    }
}

fn json_of(body: &[u8]) -> Result<Value, Failure> {
    serde_json::from_slice(body).map_err(|error| Failure::new(format!("an answer is not JSON: {error}")))
}

fn text(value: &Value, field: &str) -> Result<String, Failure> {
    value[field]
        .as_str()
        .map(str::to_owned)
        .ok_or_else(|| Failure::new(format!("{value} has no text in `{field}`")))
}
