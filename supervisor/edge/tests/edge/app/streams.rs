//! What streams between the app and a client: responses, uploads, sockets.

use std::cell::RefCell;
use std::rc::Rc;

use capnp::Error;
use percloud_schemas::util_capnp::{byte_stream, handle};
use percloud_schemas::web_session_capnp::web_session::{request_stream, response, web_socket_stream};

use super::{Done, broken, ended, pattern};
use crate::world::Shared;

/// Counts when a call is given up.
pub(super) struct Cancelled(pub(super) Shared);

impl Drop for Cancelled {
    fn drop(&mut self) {
        self.0.update(|facts| facts.cancelled += 1);
    }
}

pub(super) struct Handle(pub(super) Shared);

impl handle::Server for Handle {
    async fn ping(self: Rc<Self>, _: handle::PingParams, _: handle::PingResults) -> Done {
        self.0.update(|facts| facts.pings += 1);
        Ok(())
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.update(|facts| facts.handles_dropped += 1);
    }
}

/// Writes `size` bytes (for ever if there is no size), counting what was taken; then says `done` unless told to stop
/// short.
pub(super) async fn write(facts: Shared, stream: byte_stream::Client, size: Option<u64>, finish: bool) {
    let mut at = 0;
    while size.is_none_or(|size| at < size) {
        let length = size.map_or(64 << 10, |size| {
            usize::try_from((size - at).min(64 << 10)).unwrap()
        });
        let mut write = stream.write_request();
        write.get().set_data(&pattern(at, length));
        if let Err(error) = write.send().await {
            facts.update(|facts| facts.write_error = Some(error.to_string()));
            return;
        }
        at += length as u64;
        facts.update(|facts| facts.written = at);
    }
    if finish {
        let _ = stream.done_request().send().promise.await;
    }
}

pub(super) async fn expect(stream: &byte_stream::Client, size: u64) {
    let mut expect = stream.expect_size_request();
    expect.get().set_size(size);
    let _ = expect.send().promise.await;
}

/// Sends back what comes.
pub(super) struct Echo {
    pub(super) facts: Shared,
    pub(super) to: Rc<RefCell<Option<web_socket_stream::Client>>>,
}

impl web_socket_stream::Server for Echo {
    async fn send_bytes(self: Rc<Self>, params: web_socket_stream::SendBytesParams) -> Done {
        let message = params.get()?.get_message()?;
        self.facts.update(|facts| facts.received += message.len() as u64);
        self.facts.until(|facts| !facts.hold).await;
        let to = self.to.borrow().clone();
        if let Some(to) = to {
            let mut back = to.send_bytes_request();
            back.get().set_message(message);
            back.send().await?;
        }
        Ok(())
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.facts.update(|facts| facts.sockets_closed += 1);
    }
}

/// Takes a body and says how much it was.
pub(super) struct Upload {
    pub(super) facts: Shared,
    pub(super) session: usize,
    /// Answers before the body has ended.
    pub(super) early: bool,
    /// Takes nothing.
    pub(super) refuse: bool,
}

impl byte_stream::Server for Upload {
    async fn write(self: Rc<Self>, params: byte_stream::WriteParams) -> Done {
        if self.refuse {
            return Err(Error::failed("no more".to_owned()));
        }
        if self.facts.read(|facts| facts.broken >= self.session) {
            return Err(ended());
        }
        let data = params.get()?.get_data()?;
        let from = self.facts.read(|facts| facts.received);
        if data != pattern(from, data.len()) {
            return Err(Error::failed("these are not the bytes that were sent".to_owned()));
        }
        self.facts.update(|facts| facts.received += data.len() as u64);
        self.facts.until(|facts| !facts.hold).await;
        Ok(())
    }

    async fn done(self: Rc<Self>, _: byte_stream::DoneParams, _: byte_stream::DoneResults) -> Done {
        self.facts.until(|facts| !facts.hold).await;
        self.facts.update(|facts| facts.done = true);
        Ok(())
    }

    async fn expect_size(
        self: Rc<Self>,
        params: byte_stream::ExpectSizeParams,
        _: byte_stream::ExpectSizeResults,
    ) -> Done {
        let size = params.get()?.get_size();
        self.facts.update(|facts| {
            assert_eq!(facts.received, 0, "the size comes before the first byte");
            facts.expected = Some(size);
        });
        Ok(())
    }
}

impl request_stream::Server for Upload {
    async fn get_response(
        self: Rc<Self>,
        _: request_stream::GetResponseParams,
        mut results: request_stream::GetResponseResults,
    ) -> Done {
        tokio::select! {
            () = broken(&self.facts, self.session) => return Err(ended()),
            () = self.facts.until(|facts| self.early || self.refuse || facts.done) => {}
        }
        if self.refuse {
            let mut error = results.get().init_client_error();
            error.set_status_code(response::ClientErrorCode::RequestEntityTooLarge);
            return Ok(());
        }
        let text = if self.early {
            "early".to_owned()
        } else {
            self.facts.read(|facts| facts.received.to_string())
        };
        results
            .get()
            .init_content()
            .init_body()
            .set_bytes(text.as_bytes());
        Ok(())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.facts.update(|facts| facts.upload_dropped = true);
    }
}
