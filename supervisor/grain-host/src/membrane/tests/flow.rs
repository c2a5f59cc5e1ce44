//! How much crosses at a time.

use std::rc::Rc;

use capnp::capability::FromClientHook;
use capnp::{Error, ErrorKind};
use capnp_rpc::new_client;
use futures::StreamExt;
use futures::channel::mpsc;
use percloud_schemas::util_capnp::byte_stream;
use tokio::task::spawn_local;

use super::{restore, with_rig};

#[test]
fn a_busy_app_is_not_given_more() {
    with_rig(|rig| async move {
        rig.realm.refuse_when(|| true);
        let error = restore(&rig.api, "it").await.err().unwrap();
        assert_eq!(error.kind, ErrorKind::Overloaded);
    });
}

/// Takes writes, and acknowledges each only when the test allows it.
struct Sink {
    taken: mpsc::UnboundedSender<Vec<u8>>,
    allowed: Rc<tokio::sync::Semaphore>,
}

impl byte_stream::Server for Sink {
    async fn write(self: Rc<Self>, params: byte_stream::WriteParams) -> Result<(), Error> {
        let data = params.get()?.get_data()?.to_vec();
        self.taken
            .unbounded_send(data)
            .map_err(|error| Error::failed(error.to_string()))?;
        self.allowed
            .acquire()
            .await
            .map_err(|error| Error::failed(error.to_string()))?
            .forget();
        Ok(())
    }

    async fn done(
        self: Rc<Self>,
        _: byte_stream::DoneParams,
        _: byte_stream::DoneResults,
    ) -> Result<(), Error> {
        Ok(())
    }
}

#[test]
fn a_slow_reader_inside_slows_a_writer_outside() {
    const CHUNK: usize = 16 << 10;
    const CHUNKS: u64 = 200;
    with_rig(|rig| async move {
        let (taken, mut arrived) = mpsc::unbounded();
        let allowed = Rc::new(tokio::sync::Semaphore::new(0));
        rig.app.offer_cap(
            "sink",
            new_client::<byte_stream::Client, _>(Sink {
                taken,
                allowed: Rc::clone(&allowed),
            }),
        );
        let stream: byte_stream::Client = restore(&rig.api, "sink").await.unwrap().cast_to();
        let sent = Rc::new(std::cell::Cell::new(0_u64));
        let writer = spawn_local({
            let sent = Rc::clone(&sent);
            async move {
                for number in 0..CHUNKS {
                    let mut request = stream.write_request();
                    request.get().init_data(CHUNK as u32).fill(number as u8);
                    sent.set(sent.get() + 1);
                    request.send().await.unwrap();
                }
                stream.done_request().send().promise.await.unwrap();
            }
        });
        // The first write is there and not acknowledged: the writer may fill its window, 64 KiB and a message, no more.
        let first = arrived.next().await.unwrap();
        assert_eq!(first, [0; CHUNK]);
        for _ in 0..10_000 {
            tokio::task::yield_now().await;
        }
        assert!(
            sent.get() < 10,
            "{} chunks left without being acknowledged",
            sent.get()
        );
        allowed.add_permits(CHUNKS as usize);
        let mut expected = 1;
        while expected < CHUNKS {
            assert_eq!(
                arrived.next().await.unwrap()[0],
                expected as u8,
                "writes arrive in order"
            );
            expected += 1;
        }
        writer.await.unwrap();
    });
}

#[test]
fn a_failed_write_fails_the_stream() {
    with_rig(|rig| async move {
        let (taken, arrived) = mpsc::unbounded();
        drop(arrived);
        let allowed = Rc::new(tokio::sync::Semaphore::new(1000));
        rig.app.offer_cap(
            "sink",
            new_client::<byte_stream::Client, _>(Sink { taken, allowed }),
        );
        let stream: byte_stream::Client = restore(&rig.api, "sink").await.unwrap().cast_to();
        let mut failed = false;
        for _ in 0..1000 {
            let mut request = stream.write_request();
            request.get().init_data(1 << 10);
            if request.send().await.is_err() {
                failed = true;
                break;
            }
        }
        assert!(failed, "the writer hears of it");
    });
}

#[test]
fn large_messages_cross_whole() {
    with_rig(|rig| async move {
        let (taken, mut arrived) = mpsc::unbounded();
        let allowed = Rc::new(tokio::sync::Semaphore::new(1));
        rig.app.offer_cap(
            "sink",
            new_client::<byte_stream::Client, _>(Sink { taken, allowed }),
        );
        let stream: byte_stream::Client = restore(&rig.api, "sink").await.unwrap().cast_to();
        let data: Vec<u8> = (0..20 << 20_u32)
            .map(|index: u32| (index ^ (index >> 8)) as u8)
            .collect();
        let mut request = stream.write_request();
        request.get().set_data(&data);
        request.send().await.unwrap();
        assert!(
            arrived.next().await.unwrap() == data,
            "20 MiB arrive as they were"
        );
    });
}
