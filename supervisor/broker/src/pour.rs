//! A file, written to whoever reads it.

use std::ops::Range;
use std::os::unix::fs::FileExt;

use percloud_schemas::util_capnp::byte_stream;

/// Writes the bytes of `file` in `range` into `stream`, `chunk` bytes at a time, and says that it is done.
///
/// Where they cannot all be read the stream is let go of without a word, which is how its reader knows that what it has
/// is not the whole. A reader that is gone ends it early: there is nobody to tell.
pub(crate) async fn pour(file: &impl FileExt, stream: byte_stream::Client, range: Range<u64>, chunk: usize) {
    let mut bytes = vec![0; chunk];
    let mut offset = range.start;
    while offset < range.end {
        let left = usize::try_from(range.end - offset).unwrap_or(chunk);
        let bytes = &mut bytes[..left.min(chunk)];
        // A disk that stalls must not stall everybody: one read at a time, each a few microseconds when cached.
        if let Err(error) = file.read_exact_at(bytes, offset) {
            tracing::warn!("a file being sent broke off at byte {offset}: {error}");
            return;
        }
        let mut request = stream.write_request();
        request.get().set_data(bytes);
        if request.send().await.is_err() {
            return;
        }
        offset += bytes.len() as u64;
    }
    let _ = stream.done_request().send().promise.await;
}
