//! A request whose body arrives piece by piece.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;

use capnp::Error;
use percloud_schemas::util_capnp::byte_stream;
use percloud_schemas::web_session_capnp::web_session::request_stream;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Mutex;

use crate::error::RequestError;
use crate::exchange::receive;
use crate::http::request::Lines;
use crate::reply::deliver;

/// The capability through which the platform sends the body and, at any time and once, asks for the response.
///
/// Calls of `write` arrive one after the other: the RPC system holds back every later call until a streaming
/// call has returned, which is also what slows the sender down to the app's pace.
pub(crate) struct Upload {
    sender: Rc<Mutex<Sender>>,
    read: RefCell<Option<OwnedReadHalf>>,
    response_stream: Option<byte_stream::Client>,
}

impl Upload {
    /// Prepares a request on a fresh connection. Nothing is sent before the first byte of the body, since only
    /// then it is clear whether its size is known; that line goes between `before` and `after`.
    pub(crate) fn new(
        socket: TcpStream,
        before: Lines,
        after: Lines,
        response_stream: Option<byte_stream::Client>,
    ) -> Self {
        let (read, write) = socket.into_split();
        let sender = Sender {
            write: Some(write),
            head: Some((before, after)),
            size: None,
            sent: 0,
            done: false,
            busy: false,
        };
        Self {
            sender: Rc::new(Mutex::new(sender)),
            read: RefCell::new(Some(read)),
            response_stream,
        }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        // An upload given up half-way: the app must not take what it has for the whole. (Running calls keep the
        // object alive, so nobody else is sending now; `getResponse` may still be waiting.)
        if let Ok(mut sender) = self.sender.try_lock()
            && !sender.done
        {
            sender.write = None;
        }
    }
}

impl byte_stream::Server for Upload {
    async fn write(self: Rc<Self>, params: byte_stream::WriteParams) -> Result<(), Error> {
        Ok(self.sender.lock().await.write(params.get()?.get_data()?).await?)
    }

    async fn done(
        self: Rc<Self>,
        _: byte_stream::DoneParams,
        _: byte_stream::DoneResults,
    ) -> Result<(), Error> {
        Ok(self.sender.lock().await.finish().await?)
    }

    async fn expect_size(
        self: Rc<Self>,
        params: byte_stream::ExpectSizeParams,
        _: byte_stream::ExpectSizeResults,
    ) -> Result<(), Error> {
        let size = params.get()?.get_size();
        let mut sender = self.sender.lock().await;
        // Too late when the head is out; then the size is only a hint nobody needs.
        if sender.head.is_some() {
            sender.size = Some(size);
        }
        Ok(())
    }
}

impl request_stream::Server for Upload {
    fn get_response(
        self: Rc<Self>,
        _: request_stream::GetResponseParams,
        mut results: request_stream::GetResponseResults,
    ) -> impl Future<Output = Result<(), Error>> + 'static {
        let read = self.read.take();
        let stream = self.response_stream.clone();
        let sender = self.sender.clone();
        // Waits without holding `self`, so that dropping the stream is noticed meanwhile.
        drop(self);
        async move {
            let read = read.ok_or_else(|| Error::failed("getResponse may be called only once".into()))?;
            let answer = receive(read, false, Box::new(sender)).await?;
            deliver(answer, stream, results.get()).await
        }
    }
}

/// The sending half.
struct Sender {
    /// None when the app has hung up or the upload was given up.
    write: Option<OwnedWriteHalf>,
    /// The head around its framing line, until it is sent.
    head: Option<(Lines, Lines)>,
    /// The announced size of the body; without one it is sent in chunks.
    size: Option<u64>,
    sent: u64,
    done: bool,
    /// Set while bytes are under way; found set, it tells that a call was cancelled in the middle of them.
    busy: bool,
}

impl Sender {
    async fn write(&mut self, data: &[u8]) -> Result<(), RequestError> {
        if self.done {
            return Err(RequestError::Unwritable("write after done"));
        }
        // As a chunk it would be the end of the body.
        if data.is_empty() {
            return Ok(());
        }
        let sent = self.sent.saturating_add(data.len() as u64);
        let mut bytes = Vec::with_capacity(data.len() + 32);
        self.take_head(&mut bytes)?;
        match self.size {
            Some(size) if sent > size => {
                self.write = None;
                return Err(RequestError::Unwritable("body is longer than the announced size"));
            }
            Some(_) => bytes.extend_from_slice(data),
            None => {
                bytes.extend_from_slice(format!("{:x}\r\n", data.len()).as_bytes());
                bytes.extend_from_slice(data);
                bytes.extend_from_slice(b"\r\n");
            }
        }
        self.sent = sent;
        self.send(&bytes).await
    }

    async fn finish(&mut self) -> Result<(), RequestError> {
        if self.done {
            return Err(RequestError::Unwritable("done was called before"));
        }
        let mut bytes = Vec::new();
        self.take_head(&mut bytes)?;
        match self.size {
            Some(size) if self.sent < size => {
                self.write = None;
                return Err(RequestError::Unwritable(
                    "body is shorter than the announced size",
                ));
            }
            Some(_) => {}
            None => bytes.extend_from_slice(b"0\r\n\r\n"),
        }
        self.done = true;
        self.send(&bytes).await
    }

    /// Moves the head into `bytes` if it is still to be sent.
    fn take_head(&mut self, bytes: &mut Vec<u8>) -> Result<(), RequestError> {
        let Some((mut lines, after)) = self.head.take() else {
            return Ok(());
        };
        match self.size {
            Some(size) => lines.add("Content-Length", size.to_string())?,
            None => lines.add("Transfer-Encoding", "chunked")?,
        }
        lines.append(&after);
        *bytes = lines.finish();
        Ok(())
    }

    /// Sends `bytes`, waiting until the app makes room for them.
    async fn send(&mut self, bytes: &[u8]) -> Result<(), RequestError> {
        if std::mem::replace(&mut self.busy, true) {
            self.write = None;
            return Err(RequestError::Unwritable(
                "an earlier part of the body was cancelled",
            ));
        }
        let result = match &mut self.write {
            Some(write) => write.write_all(bytes).await,
            None => Ok(()),
        };
        self.busy = false;
        match result {
            // The app does not want the rest. Its answer, if there is one, is what counts.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
                ) =>
            {
                self.write = None;
                Ok(())
            }
            result => result.map_err(RequestError::Send),
        }
    }
}
