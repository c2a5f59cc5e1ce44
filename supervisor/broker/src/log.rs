//! A grain's log for its owner: what is on disk, then whatever its host writes.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::rc::Rc;

use percloud_core::id::GrainId;
use percloud_schemas::util_capnp::byte_stream;
use tokio::task::AbortHandle;

use crate::account::SignedIn;
use crate::broker::Broker;

/// Most bytes replayed: both halves of the ring a grain host keeps.
const BACKLOG_LIMIT: u64 = 1 << 20;
/// Bytes per write towards the reader.
const CHUNK: usize = 64 << 10;

impl Broker {
    /// Sends a grain's log to `stream` until the returned task is ended or the stream breaks.
    pub(crate) fn follow_log(
        self: &Rc<Self>,
        who: &SignedIn,
        id: &GrainId,
        backlog: u64,
        stream: byte_stream::Client,
    ) -> AbortHandle {
        let (broker, who, id) = (self.clone(), who.clone(), id.clone());
        let task = tokio::task::spawn_local(async move {
            let sending = broker.send_log(&who, &id, backlog.min(BACKLOG_LIMIT), &stream);
            tokio::select! {
                sent = sending => {
                    if let Err(error) = sent {
                        tracing::debug!(grain = %id, "a log reader is gone: {error}");
                    }
                }
                () = broker.signed_out(&who) => {}
            }
            let _ = stream.done_request().send().promise.await;
        });
        task.abort_handle()
    }

    async fn send_log(
        &self,
        who: &SignedIn,
        id: &GrainId,
        mut backlog: u64,
        stream: &byte_stream::Client,
    ) -> Result<(), capnp::Error> {
        let slot = self.slot(id);
        let mut changes = slot.changed.subscribe();
        // While the grain sleeps the files say it all; each time it runs, its host says what is new.
        loop {
            changes.mark_unchanged();
            if self.own_grain(who, id).is_err() {
                return Ok(());
            }
            if let Some(running) = slot.running() {
                let mut request = running.host.watch_log_request();
                request.get().set_backlog(backlog);
                request.get().set_stream(stream.clone());
                if let Ok(response) = request.send().promise.await {
                    let _handle = response.get()?.get_handle()?;
                    backlog = 0;
                    while slot.running().is_some_and(|now| Rc::ptr_eq(&now, &running)) {
                        if changes.changed().await.is_err() {
                            return Ok(());
                        }
                    }
                    continue;
                }
            } else if backlog > 0 {
                let folder = self.config.layout.grain(id);
                let wanted = std::mem::take(&mut backlog);
                let read = tokio::task::spawn_blocking(move || tail(&folder, wanted)).await;
                let bytes = read
                    .map_err(io::Error::other)
                    .and_then(|bytes| bytes)
                    .unwrap_or_default();
                for chunk in bytes.chunks(CHUNK) {
                    let mut request = stream.write_request();
                    request.get().set_data(chunk);
                    request.send().await?;
                }
            }
            if changes.changed().await.is_err() {
                return Ok(());
            }
        }
    }
}

/// The last `wanted` bytes of a grain's log, reaching back into its older half.
pub fn tail(folder: &Path, wanted: u64) -> io::Result<Vec<u8>> {
    let newer = tail_of(&folder.join("log"), wanted)?;
    let mut all = tail_of(&folder.join("log.1"), wanted - newer.len() as u64)?;
    all.extend_from_slice(&newer);
    Ok(all)
}

fn tail_of(path: &Path, wanted: u64) -> io::Result<Vec<u8>> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        opened => opened?,
    };
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(wanted)))?;
    let mut bytes = Vec::new();
    file.take(wanted).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_reaches_into_the_older_half() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(tail(folder.path(), 10).unwrap(), b"");
        std::fs::write(folder.path().join("log.1"), "older").unwrap();
        std::fs::write(folder.path().join("log"), "newer").unwrap();
        assert_eq!(tail(folder.path(), 100).unwrap(), b"oldernewer");
        assert_eq!(tail(folder.path(), 7).unwrap(), b"ernewer");
        assert_eq!(tail(folder.path(), 3).unwrap(), b"wer");
    }
}
