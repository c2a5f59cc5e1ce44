//! The byte stream into which an API sends a long response.

use std::rc::Rc;

use capnp::Error;
use percloud_schemas::util_capnp::byte_stream;
use tokio::sync::mpsc;

/// Pieces waiting for the client to take them; the sender waits beyond that.
const WAITING: usize = 2;

/// What the sender did.
pub(super) enum Event {
    Size(u64),
    Data(Vec<u8>),
    Done,
}

/// Makes a stream and the end where its events come out.
pub(super) fn open() -> (byte_stream::Client, mpsc::Receiver<Event>) {
    let (sender, receiver) = mpsc::channel(WAITING);
    (capnp_rpc::new_client(Sender(sender)), receiver)
}

struct Sender(mpsc::Sender<Event>);

impl Sender {
    async fn send(&self, event: Event) -> Result<(), Error> {
        let sent = self.0.send(event).await;
        sent.map_err(|_| Error::disconnected("client has gone away".into()))
    }
}

impl byte_stream::Server for Sender {
    async fn write(self: Rc<Self>, params: byte_stream::WriteParams) -> Result<(), Error> {
        let data = params.get()?.get_data()?.to_vec();
        drop(params);
        self.send(Event::Data(data)).await
    }

    async fn done(
        self: Rc<Self>,
        _: byte_stream::DoneParams,
        _: byte_stream::DoneResults,
    ) -> Result<(), Error> {
        self.send(Event::Done).await
    }

    async fn expect_size(
        self: Rc<Self>,
        params: byte_stream::ExpectSizeParams,
        _: byte_stream::ExpectSizeResults,
    ) -> Result<(), Error> {
        self.send(Event::Size(params.get()?.get_size())).await
    }
}
