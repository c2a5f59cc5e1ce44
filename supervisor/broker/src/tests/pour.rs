//! Files on their way to a reader: whole, or seen to be broken off.

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::mem;
use std::os::unix::fs::FileExt;
use std::rc::Rc;

use percloud_schemas::util_capnp::byte_stream;
use tokio::sync::oneshot;

use super::{World, run};
use crate::pour::pour;

/// What came, and whether that was said to be all.
#[derive(Debug, Default, PartialEq, Eq)]
struct Received {
    bytes: Vec<u8>,
    done: bool,
}

/// Takes so many bytes, and tells what it received once nobody can write to it any more.
struct Reader {
    takes: usize,
    received: RefCell<Received>,
    over: Option<oneshot::Sender<Received>>,
}

fn reader(takes: usize) -> (byte_stream::Client, oneshot::Receiver<Received>) {
    let (over, received) = oneshot::channel();
    let reader = Reader {
        takes,
        received: RefCell::default(),
        over: Some(over),
    };
    (capnp_rpc::new_client(reader), received)
}

impl byte_stream::Server for Reader {
    async fn write(self: Rc<Self>, params: byte_stream::WriteParams) -> Result<(), capnp::Error> {
        let mut received = self.received.borrow_mut();
        received.bytes.extend_from_slice(params.get()?.get_data()?);
        if received.bytes.len() > self.takes {
            return Err(capnp::Error::failed("enough".to_owned()));
        }
        Ok(())
    }

    async fn done(
        self: Rc<Self>,
        _: byte_stream::DoneParams,
        _: byte_stream::DoneResults,
    ) -> Result<(), capnp::Error> {
        self.received.borrow_mut().done = true;
        Ok(())
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let over = self.over.take().expect("a reader is dropped once");
        let _ = over.send(mem::take(self.received.get_mut()));
    }
}

/// Ten bytes, of which those from `fails` on cannot be read.
struct Disk {
    fails: u64,
}

impl FileExt for Disk {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        if offset >= self.fails {
            return Err(io::Error::other("a bad sector"));
        }
        let end = self.fails.min(10);
        let read = bytes.len().min(usize::try_from(end - offset).unwrap());
        bytes[..read].copy_from_slice(&b"0123456789"[usize::try_from(offset).unwrap()..][..read]);
        Ok(read)
    }

    fn write_at(&self, _: &[u8], _: u64) -> io::Result<usize> {
        Err(io::Error::other("not played"))
    }
}

#[test]
fn only_what_was_read_whole_is_said_to_be_done() {
    run(async {
        for (fails, start, end, takes, bytes, done) in [
            (99, 0, 10, 99, "0123456789", true),
            (99, 4, 10, 99, "456789", true),
            (99, 0, 6, 99, "012345", true),
            (99, 10, 10, 99, "", true),
            (99, 7, 3, 99, "", true),
            // The source fails: at once, between two pieces, within one.
            (0, 0, 10, 99, "", false),
            (4, 0, 10, 99, "0123", false),
            (6, 0, 10, 99, "0123", false),
            // The reader does.
            (99, 0, 10, 5, "01234567", false),
        ] {
            let (stream, received) = reader(takes);
            pour(&Disk { fails }, stream, start..end, 4).await;
            let expected = Received {
                bytes: bytes.into(),
                done,
            };
            assert_eq!(
                received.await.unwrap(),
                expected,
                "{start} to {end}, failing at {fails}"
            );
        }
    });
}

#[test]
fn a_file_that_shrinks_below_its_announced_size_breaks_off() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    run(async {
        for (now, bytes, done) in [(10, 10, true), (13, 10, true), (9, 8, false), (0, 0, false)] {
            std::fs::write(&path, [b'a'; 10]).unwrap();
            let file = File::open(&path).unwrap();
            let announced = file.metadata().unwrap().len();
            File::options()
                .write(true)
                .open(&path)
                .unwrap()
                .set_len(now)
                .unwrap();
            let (stream, received) = reader(99);
            pour(&file, stream, 0..announced, 4).await;
            let expected = Received {
                bytes: vec![b'a'; bytes],
                done,
            };
            assert_eq!(received.await.unwrap(), expected, "10 bytes that became {now}");
        }
    });
}

#[test]
fn a_published_file_that_was_cut_meanwhile_breaks_off() {
    run(async {
        let world = World::new();
        let anna = world.owner().await;
        world.app(&anna).await;
        let id = world.grain(&anna).await;
        let site = world.broker.public_id(&id).await.unwrap();
        let www = world.broker.config.layout.grain(&id).join("sandbox/www");
        std::fs::create_dir(&www).unwrap();
        let page = www.join("page");
        std::fs::write(&page, "a whole page").unwrap();

        let mut request = world.broker.front().published_site_request();
        request.get().set_public_id(&site);
        request.get().set_path("page");
        let answer = request.send().promise.await.unwrap();
        let found = answer.get().unwrap().get_file().unwrap().which().unwrap();
        let percloud_schemas::front_capnp::published_file::File(file) = found else {
            panic!("the page is there");
        };
        let blob = file.get_read().unwrap();
        let read = async || {
            let (stream, received) = reader(99);
            let mut request = blob.write_to_request();
            request.get().set_stream(stream);
            request.get().set_start_at_offset(2);
            let answer = request.send();
            let handle = answer.pipeline.get_handle();
            drop(answer.promise.await.unwrap());
            let received = received.await.unwrap();
            drop(handle);
            (String::from_utf8(received.bytes).unwrap(), received.done)
        };
        assert_eq!(read().await, ("whole page".into(), true));
        File::options()
            .write(true)
            .open(&page)
            .unwrap()
            .set_len(7)
            .unwrap();
        assert_eq!(read().await, (String::new(), false));
        world.broker.stop().await;
    });
}
