//! Joins a connection with the two byte streams of a grain.

use std::cell::Cell;
use std::rc::Rc;

use capnp::Error;
use percloud_schemas::util_capnp::byte_stream;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, WriteHalf};
use tokio_util::task::AbortOnDropHandle;

use crate::outlet::{Outlet, Room};
use crate::way_out::WayOut;

/// Bytes that are read at a time.
const PIECE: usize = 64 << 10;

/// Copies what comes into `downstream`; what is written to the returned stream goes out. Dropping that ends the connection;
/// after `done` it only ends one direction.
pub(super) fn join(
    outlet: &Rc<Outlet>,
    connection: impl AsyncRead + AsyncWrite + 'static,
    downstream: byte_stream::Client,
    room: Room,
) -> byte_stream::Client {
    let (mut reading, writing) = tokio::io::split(connection);
    let held = Rc::clone(&room);
    let reader = outlet.spawn(async move {
        let _held = held;
        let mut piece = vec![0; PIECE];
        loop {
            match reading.read(&mut piece).await {
                Ok(0) => break,
                Ok(count) => {
                    let mut request = downstream.write_request();
                    request.get().set_data(&piece[..count]);
                    if request.send().await.is_err() {
                        return;
                    }
                }
                // Let go of without `done`: broken, not ended.
                Err(_) => return,
            }
        }
        let _heard = downstream.done_request().send().promise.await;
    });
    capnp_rpc::new_client(Upstream {
        outlet: Rc::clone(outlet),
        writing: WayOut::new(outlet, writing),
        reader: Cell::new(Some(reader)),
        _room: room,
    })
}

/// The way out.
struct Upstream<T> {
    outlet: Rc<Outlet>,
    writing: WayOut<WriteHalf<T>>,
    /// Ended with the way out, unless that was ended properly.
    reader: Cell<Option<AbortOnDropHandle<()>>>,
    _room: Room,
}

impl<T: AsyncWrite + 'static> byte_stream::Server for Upstream<T> {
    async fn write(self: Rc<Self>, params: byte_stream::WriteParams) -> Result<(), Error> {
        self.outlet
            .while_alive(async {
                self.writing.write(params.get()?.get_data()?).await?;
                Ok(())
            })
            .await
    }

    async fn done(
        self: Rc<Self>,
        _: byte_stream::DoneParams,
        _: byte_stream::DoneResults,
    ) -> Result<(), Error> {
        self.outlet
            .while_alive(async { Ok(self.writing.finish().await?) })
            .await?;
        if let Some(reader) = self.reader.take() {
            reader.detach();
        }
        Ok(())
    }

    async fn expect_size(
        self: Rc<Self>,
        _: byte_stream::ExpectSizeParams,
        _: byte_stream::ExpectSizeResults,
    ) -> Result<(), Error> {
        Ok(())
    }
}
