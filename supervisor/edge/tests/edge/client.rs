//! A client that says exactly what it is told, and reads what comes back.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

pub fn request(method: &str, path: &str, host: &str, rest: &str) -> String {
    let rest = if rest.contains("\r\n\r\n") {
        rest.to_owned()
    } else {
        format!("{rest}\r\n")
    };
    format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n{rest}")
}

pub fn get(path: &str, host: &str, rest: &str) -> String {
    request("GET", path, host, rest)
}

pub struct Client {
    pub stream: TcpStream,
    buffer: Vec<u8>,
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// The body ended as it should.
    pub complete: bool,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    pub fn all(&self, name: &str) -> Vec<&str> {
        let matching = self
            .headers
            .iter()
            .filter(|(key, _)| key.eq_ignore_ascii_case(name));
        matching.map(|(_, value)| value.as_str()).collect()
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

impl Client {
    pub fn new(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        // Else the kernel takes as much for a client that does not read as the machine is set to: some take 32 MiB.
        rustix::net::sockopt::set_socket_recv_buffer_size(&stream, 256 << 10).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
        Self {
            stream,
            buffer: Vec::new(),
        }
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Reads more; false at the end.
    fn more(&mut self) -> bool {
        let mut chunk = [0; 64 << 10];
        match self.stream.read(&mut chunk) {
            Ok(0) => false,
            Ok(read) => {
                self.buffer.extend_from_slice(&chunk[..read]);
                true
            }
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => false,
            Err(error) => panic!(
                "reading an answer: {error}; so far {:?}",
                String::from_utf8_lossy(&self.buffer)
            ),
        }
    }

    /// Reads up to a mark and takes it off.
    fn until(&mut self, mark: &[u8]) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = self.buffer.windows(mark.len()).position(|window| window == mark) {
                let taken = self.buffer.drain(..at + mark.len()).collect::<Vec<_>>();
                return Some(taken[..at].to_vec());
            }
            if !self.more() {
                return None;
            }
        }
    }

    /// Exactly so many bytes, or what there was before the end.
    pub fn take(&mut self, count: usize) -> Vec<u8> {
        while self.buffer.len() < count && self.more() {}
        let count = count.min(self.buffer.len());
        self.buffer.drain(..count).collect()
    }

    /// Whether the other side closes without saying more.
    pub fn is_closed(&mut self) -> bool {
        while self.more() {}
        self.buffer.is_empty()
    }

    /// The head of an answer.
    pub fn head(&mut self) -> Option<Answer> {
        let head = String::from_utf8(self.until(b"\r\n\r\n")?).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines
            .map(|line| line.split_once(':').unwrap())
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect();
        Some(Answer {
            status,
            headers,
            body: Vec::new(),
            complete: true,
        })
    }

    /// One chunk of a chunked body; `None` at its end or when it is cut off, and whether it ended well.
    pub fn chunk(&mut self) -> Result<Option<Vec<u8>>, ()> {
        let size = self.until(b"\r\n").ok_or(())?;
        let size = usize::from_str_radix(std::str::from_utf8(&size).unwrap(), 16).unwrap();
        let chunk = self.take(size);
        if chunk.len() < size || self.take(2) != b"\r\n" {
            return Err(());
        }
        Ok((size > 0).then_some(chunk))
    }

    /// A whole answer.
    pub fn answer(&mut self) -> Answer {
        let mut answer = self.head().expect("an answer");
        self.body(&mut answer);
        answer
    }

    /// The body after a head.
    pub fn body(&mut self, answer: &mut Answer) {
        if matches!(answer.status, 101 | 204 | 304) {
            return;
        }
        if answer.header("transfer-encoding") == Some("chunked") {
            loop {
                match self.chunk() {
                    Ok(Some(chunk)) => answer.body.extend(chunk),
                    Ok(None) => return,
                    Err(()) => {
                        answer.complete = false;
                        return;
                    }
                }
            }
        }
        if let Some(length) = answer.header("content-length") {
            let length = length.parse().unwrap();
            answer.body = self.take(length);
            answer.complete = answer.body.len() == length;
        }
    }
}
