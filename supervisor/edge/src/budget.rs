//! Bytes that lie here on behalf of somebody, counted for as long as they lie.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many bytes may lie here at once. Clones share what there is.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    room: Arc<Semaphore>,
    total: usize,
}

impl Budget {
    pub(crate) fn of(total: usize) -> Self {
        // The semaphore counts no further at once.
        let total = total.min(u32::MAX as usize).min(Semaphore::MAX_PERMITS);
        Self {
            room: Arc::new(Semaphore::new(total)),
            total,
        }
    }

    /// The most bytes there can ever be room for.
    pub(crate) fn total(&self) -> usize {
        self.total
    }

    /// A copy that counts until its last byte is let go, once there is room for it. Who asks first is served first.
    /// Waits for ever if it is more than [`Budget::total`].
    pub(crate) async fn copy(&self, bytes: &[u8]) -> Bytes {
        match self.room.clone().acquire_many_owned(count(bytes)).await {
            Ok(taken) => counted(bytes, taken),
            Err(_) => unreachable!("the semaphore is never closed"),
        }
    }

    /// A copy as of [`Budget::copy`], if there is room for it now.
    pub(crate) fn try_copy(&self, bytes: &[u8]) -> Option<Bytes> {
        let taken = self.room.clone().try_acquire_many_owned(count(bytes)).ok()?;
        Some(counted(bytes, taken))
    }
}

/// More than can be counted is more than any budget.
fn count(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

fn counted(bytes: &[u8], taken: OwnedSemaphorePermit) -> Bytes {
    if bytes.is_empty() {
        return Bytes::new();
    }
    Bytes::from_owner(Counted {
        bytes: bytes.into(),
        _taken: taken,
    })
}

struct Counted {
    bytes: Box<[u8]>,
    _taken: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn bytes_count_until_the_last_part_of_them_is_let_go() {
        let budget = Budget::of(4);
        let mut first = budget.try_copy(b"abc").unwrap();
        assert!(budget.try_copy(b"de").is_none());
        assert_eq!(budget.try_copy(b"d").unwrap(), "d");
        let part = first.split_to(1);
        drop(first);
        assert!(budget.try_copy(b"de").is_none(), "a part keeps the whole");
        drop(part);
        assert_eq!(budget.try_copy(b"defg").unwrap(), "defg");
        assert!(budget.try_copy(b"hijkl").is_none(), "more than there ever is");
    }

    #[test]
    fn who_waits_is_served_when_there_is_room() {
        let budget = Budget::of(4);
        let first = budget.try_copy(b"abcd").unwrap();
        let mut waiting = Box::pin(budget.copy(b"ef"));
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(first);
        assert_eq!(waiting.now_or_never().unwrap(), "ef");
        assert_eq!(budget.copy(b"").now_or_never().unwrap(), "");
    }
}
