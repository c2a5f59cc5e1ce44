//! A file, written to whoever reads it.

use std::fs::File;
use std::os::unix::fs::FileExt;

use percloud_schemas::util_capnp::byte_stream;

/// Writes `file` from byte `offset` to its end into `stream`, `chunk` bytes at a time, and says that it is done.
///
/// A reader that is gone ends it early: there is nobody to tell.
pub(crate) async fn pour(file: &File, stream: &byte_stream::Client, mut offset: u64, chunk: usize) {
    let mut bytes = vec![0; chunk];
    // A disk that stalls must not stall everybody: one read at a time, each a few microseconds when cached.
    while let Ok(read @ 1..) = file.read_at(&mut bytes, offset) {
        let mut request = stream.write_request();
        request.get().set_data(&bytes[..read]);
        if request.send().await.is_err() {
            return;
        }
        offset += read as u64;
    }
    let _ = stream.done_request().send().promise.await;
}
