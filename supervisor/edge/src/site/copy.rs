//! A published file on its way to whoever asked, no faster than they read.

use percloud_schemas::util_capnp::blob;
use tokio::task::AbortHandle;

use crate::body::{Body, Stream};
use crate::budget::Budget;
use crate::pipe::{Writer, pipe};

/// Bytes asked for at once; no more than these are held for one reader.
const SLICE: u32 = 64 << 10;

/// `length` bytes of a blob from `start` on.
pub(super) fn body(read: blob::Client, start: u64, length: u64) -> Body {
    if length == 0 {
        return Body::Empty;
    }
    // With no window at all, the next slice is asked for when the last one was taken.
    let (writer, reader) = pipe(0, Budget::of(SLICE as usize));
    writer.expect(length);
    let copying = tokio::task::spawn_local(copy(read, writer, start, length));
    Body::Stream(Stream::new(reader, Box::new(Copying(copying.abort_handle()))))
}

/// Ends with the one who reads.
struct Copying(AbortHandle);

impl Drop for Copying {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Dropping the writer before its end shows that the rest could not be had.
async fn copy(read: blob::Client, writer: Writer, start: u64, length: u64) {
    let mut done = 0;
    while done < length {
        let wanted = SLICE.min(u32::try_from(length - done).unwrap_or(SLICE));
        let mut request = read.get_slice_request();
        request.get().set_offset(start + done);
        request.get().set_size(wanted);
        let Ok(reply) = request.send().promise.await else {
            return;
        };
        let Ok(data) = reply.get().and_then(|reply| reply.get_data()) else {
            return;
        };
        if data.is_empty() || data.len() > wanted as usize || writer.copy(data).await.is_err() {
            return;
        }
        done += data.len() as u64;
        drop(reply);
        if writer.room().await.is_err() {
            return;
        }
    }
    writer.finish();
}
