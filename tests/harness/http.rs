//! A blocking HTTP/1.1 client for tests: one connection per request, nothing added behind the caller's back.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::wait::DEADLINE;

/// The largest answer kept.
const LARGEST_BODY: u64 = 256 << 20;

/// A request about to be sent. `Host` and `Connection: close` are the only headers it has by itself.
#[derive(Debug, Clone)]
pub struct Request {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

/// An answer, read to its end.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Names in lower case, in the order received.
    pub headers: Vec<(String, String)>,
    /// The body, without transfer coding.
    pub body: Vec<u8>,
}

impl Request {
    /// A request without body.
    pub fn new(method: &str, path: &str) -> Self {
        Request {
            method: method.to_owned(),
            path: path.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Sets the body; `Content-Length` goes with it.
    #[must_use]
    pub fn body(mut self, kind: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self.header("Content-Type", kind)
    }

    /// Sends it to `address` as a request for `host` and reads the whole answer.
    pub fn send(&self, address: SocketAddr, host: &str) -> io::Result<Response> {
        self.start(address, host)?.finish()
    }

    /// Sends it and returns once the head of the answer is there.
    pub fn start(&self, address: SocketAddr, host: &str) -> io::Result<Exchange> {
        let (stream, sent) = self.ask(address, host)?;
        match Exchange::read_head(stream, self.method == "HEAD") {
            Ok(exchange) => Ok(exchange),
            Err(error) => Err(sent.err().unwrap_or(error)),
        }
    }

    /// Sends it and waits for nothing; says whether all of the body went out.
    pub(crate) fn ask(&self, address: SocketAddr, host: &str) -> io::Result<(TcpStream, io::Result<()>)> {
        let mut head = format!(
            "{} {} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n",
            self.method, self.path
        );
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if !self.body.is_empty() || matches!(self.method.as_str(), "POST" | "PUT" | "PATCH") {
            head.push_str(&format!("Content-Length: {}\r\n", self.body.len()));
        }
        head.push_str("\r\n");
        let mut stream = connect(address)?;
        stream.write_all(head.as_bytes())?;
        // A server that refuses early may close while the body is on its way; its answer still counts.
        let sent = stream.write_all(&self.body);
        Ok((stream, sent))
    }
}

/// Sends `bytes` as they are and reads until the other side closes.
pub fn raw(address: SocketAddr, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = connect(address)?;
    // What it answers before it stops listening is the point.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    match stream.take(LARGEST_BODY).read_to_end(&mut answer) {
        Err(error) if answer.is_empty() => Err(error),
        _ => Ok(answer),
    }
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, DEADLINE)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.set_write_timeout(Some(DEADLINE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// An answer whose head has arrived.
#[derive(Debug)]
pub struct Exchange {
    reader: BufReader<TcpStream>,
    /// Status and headers; the body is empty.
    pub head: Response,
    framing: Framing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Empty,
    Length(u64),
    Chunked,
    UntilClose,
}

impl Exchange {
    fn read_head(stream: TcpStream, no_body: bool) -> io::Result<Self> {
        let mut reader = BufReader::new(stream);
        loop {
            let line = read_line(&mut reader)?;
            let status = line.split(' ').nth(1).and_then(|code| code.parse::<u16>().ok());
            let status = status.ok_or_else(|| invalid(format!("`{line}` is no status line")))?;
            let mut headers = Vec::new();
            loop {
                let line = read_line(&mut reader)?;
                if line.is_empty() {
                    break;
                }
                let (name, value) = line
                    .split_once(':')
                    .ok_or_else(|| invalid(format!("`{line}` is no header")))?;
                headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
            }
            if (100..200).contains(&status) && status != 101 {
                continue;
            }
            let head = Response {
                status,
                headers,
                body: Vec::new(),
            };
            let length = head.header("content-length").and_then(|value| value.parse().ok());
            let framing = match length {
                _ if no_body || matches!(status, 101 | 204 | 304) => Framing::Empty,
                _ if head
                    .header("transfer-encoding")
                    .is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) =>
                {
                    Framing::Chunked
                }
                Some(length) => Framing::Length(length),
                None => Framing::UntilClose,
            };
            return Ok(Exchange {
                reader,
                head,
                framing,
            });
        }
    }

    /// Reads the body and returns the whole answer. A body cut short is an error.
    pub fn finish(mut self) -> io::Result<Response> {
        let mut body = Vec::new();
        while let Some(piece) = self.piece()? {
            body.extend_from_slice(&piece);
        }
        Ok(Response { body, ..self.head })
    }

    /// Reads some more of the body; `None` at its end.
    pub fn piece(&mut self) -> io::Result<Option<Vec<u8>>> {
        match self.framing {
            Framing::Empty | Framing::Length(0) => Ok(None),
            Framing::Length(left) => {
                let piece = self.some(left)?;
                if piece.is_empty() {
                    return Err(io::Error::new(
                        io::ErrorKind::UnexpectedEof,
                        format!("the body ended {left} bytes early"),
                    ));
                }
                self.framing = Framing::Length(left - piece.len() as u64);
                Ok(Some(piece))
            }
            Framing::UntilClose => {
                let piece = self.some(1 << 16)?;
                Ok((!piece.is_empty()).then_some(piece))
            }
            Framing::Chunked => {
                let line = read_line(&mut self.reader)?;
                let size = line
                    .split(';')
                    .next()
                    .and_then(|size| u64::from_str_radix(size.trim(), 16).ok());
                let size = size
                    .filter(|size| *size <= LARGEST_BODY)
                    .ok_or_else(|| invalid(format!("`{line}` is no chunk size")))?;
                if size == 0 {
                    while !read_line(&mut self.reader)?.is_empty() {}
                    self.framing = Framing::Empty;
                    return Ok(None);
                }
                let mut piece = vec![0; size as usize];
                self.reader.read_exact(&mut piece)?;
                read_line(&mut self.reader)?;
                Ok(Some(piece))
            }
        }
    }

    /// Gives the wait for the next piece its own limit.
    pub fn patience(&self, limit: Duration) -> io::Result<()> {
        self.reader.get_ref().set_read_timeout(Some(limit))
    }

    fn some(&mut self, most: u64) -> io::Result<Vec<u8>> {
        let mut piece = vec![0; most.min(1 << 16) as usize];
        let count = self.reader.read(&mut piece)?;
        piece.truncate(count);
        Ok(piece)
    }
}

impl Response {
    /// The first header of this name, in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(own, _)| own == name)
            .map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: status {}, {}", self.status, self.text()))
    }

    /// The cookies it sets, as `name=value`, ready to be sent back.
    pub fn cookies(&self) -> Vec<String> {
        let set = self.headers.iter().filter(|(name, _)| name == "set-cookie");
        set.filter_map(|(_, value)| value.split(';').next().map(|pair| pair.trim().to_owned()))
            .collect()
    }
}

fn read_line(reader: &mut impl BufRead) -> io::Result<String> {
    let mut line = Vec::new();
    reader.take(1 << 16).read_until(b'\n', &mut line)?;
    if line.pop() != Some(b'\n') {
        return Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "the connection ended inside a line",
        ));
    }
    Ok(String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned())
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}
