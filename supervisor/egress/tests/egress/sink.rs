//! What a grain receives: bytes, one after the other, and how they ended.

use std::cell::RefCell;
use std::rc::Rc;

use capnp::Error;
use percloud_schemas::util_capnp::byte_stream;
use percloud_schemas::web_session_capnp::web_session::web_socket_stream;
use tokio::sync::watch;

use crate::world::soon;

#[derive(Debug, Default)]
pub struct Facts {
    pub bytes: Vec<u8>,
    pub expected: Option<u64>,
    pub is_done: bool,
    pub is_dropped: bool,
}

/// Where they arrive.
#[derive(Clone, Default)]
pub struct Sink(Rc<Inner>);

#[derive(Default)]
struct Inner {
    facts: RefCell<Facts>,
    changed: watch::Sender<()>,
    is_held: watch::Sender<bool>,
}

impl Sink {
    /// One that takes nothing until it is let go.
    pub fn held() -> Self {
        let sink = Self::default();
        sink.0.is_held.send_replace(true);
        sink
    }

    pub fn release(&self) {
        self.0.is_held.send_replace(false);
    }

    pub fn bytes(&self) -> byte_stream::Client {
        capnp_rpc::new_client(Receiver(self.clone()))
    }

    pub fn frames(&self) -> web_socket_stream::Client {
        capnp_rpc::new_client(Receiver(self.clone()))
    }

    pub fn read<T>(&self, look: impl FnOnce(&Facts) -> T) -> T {
        look(&self.0.facts.borrow())
    }

    fn update(&self, change: impl FnOnce(&mut Facts)) {
        change(&mut self.0.facts.borrow_mut());
        self.0.changed.send_replace(());
    }

    /// Waits until something is so.
    pub async fn until(&self, mut is_so: impl FnMut(&Facts) -> bool) {
        let mut changed = self.0.changed.subscribe();
        soon(async {
            while !self.read(&mut is_so) {
                changed.changed().await.unwrap();
            }
        })
        .await;
    }

    async fn take(&self, bytes: &[u8]) {
        let mut is_held = self.0.is_held.subscribe();
        is_held.wait_for(|is_held| !is_held).await.unwrap();
        self.update(|facts| facts.bytes.extend_from_slice(bytes));
    }
}

struct Receiver(Sink);

impl Drop for Receiver {
    fn drop(&mut self) {
        self.0.update(|facts| facts.is_dropped = true);
    }
}

impl byte_stream::Server for Receiver {
    async fn write(self: Rc<Self>, params: byte_stream::WriteParams) -> Result<(), Error> {
        self.0.take(params.get()?.get_data()?).await;
        Ok(())
    }

    async fn done(
        self: Rc<Self>,
        _: byte_stream::DoneParams,
        _: byte_stream::DoneResults,
    ) -> Result<(), Error> {
        self.0.update(|facts| facts.is_done = true);
        Ok(())
    }

    async fn expect_size(
        self: Rc<Self>,
        params: byte_stream::ExpectSizeParams,
        _: byte_stream::ExpectSizeResults,
    ) -> Result<(), Error> {
        let size = params.get()?.get_size();
        self.0.update(|facts| facts.expected = Some(size));
        Ok(())
    }
}

impl web_socket_stream::Server for Receiver {
    async fn send_bytes(self: Rc<Self>, params: web_socket_stream::SendBytesParams) -> Result<(), Error> {
        self.0.take(params.get()?.get_message()?).await;
        Ok(())
    }
}

/// Writes into a stream of the egress.
pub async fn write(stream: &byte_stream::Client, bytes: &[u8]) -> Result<(), Error> {
    let mut request = stream.write_request();
    request.get().set_data(bytes);
    request.send().await
}

/// Writes until that fails: what is written may be on its way for a while.
pub async fn fails(stream: &byte_stream::Client) -> String {
    soon(async {
        loop {
            if let Err(error) = write(stream, b"more").await {
                return error.to_string();
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

pub async fn done(stream: &byte_stream::Client) -> Result<(), Error> {
    stream.done_request().send().promise.await.map(drop)
}
