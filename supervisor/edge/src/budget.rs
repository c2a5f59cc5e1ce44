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

    /// Whether somebody else holds this, or bytes that it counts.
    pub(crate) fn is_shared(&self) -> bool {
        Arc::strong_count(&self.room) > 1
    }

    /// A copy that counts until its last byte is let go, once there is room for it. Who asks first is served first.
    /// Waits for ever if it is more than [`Budget::total`].
    pub(crate) async fn copy(&self, bytes: &[u8]) -> Bytes {
        match self.room.clone().acquire_many_owned(count(bytes)).await {
            Ok(taken) => counted(bytes, taken),
            Err(_) => unreachable!("the semaphore is never closed"),
        }
    }

    /// A copy as of [`Budget::copy`] that counts towards another budget too, if there is room for it now. One of more than
    /// [`Budget::total`] counts as all there is: who has nothing lying here may always have one. Of the other it counts as
    /// half at most: nobody alone leaves others without.
    pub(crate) fn try_copy_within(&self, other: &Budget, bytes: &[u8]) -> Option<Bytes> {
        let part = |most: usize| count(bytes).min(u32::try_from(most).unwrap_or(u32::MAX));
        let taken = self.room.clone().try_acquire_many_owned(part(self.total)).ok()?;
        let more = part(other.total / 2);
        let more = other.room.clone().try_acquire_many_owned(more).ok()?;
        Some(counted(bytes, (taken, more)))
    }
}

/// More than can be counted is more than any budget.
fn count(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

fn counted(bytes: &[u8], taken: impl Send + 'static) -> Bytes {
    if bytes.is_empty() {
        return Bytes::new();
    }
    Bytes::from_owner(Owner {
        bytes: Box::<[u8]>::from(bytes),
        _counted: taken,
    })
}

/// Bytes, and what is held as long as they are.
struct Owner<B, C> {
    bytes: B,
    _counted: C,
}

impl<B: AsRef<[u8]>, C> AsRef<[u8]> for Owner<B, C> {
    fn as_ref(&self) -> &[u8] {
        self.bytes.as_ref()
    }
}

/// Room taken from several budgets for something that grows.
#[derive(Debug, Default)]
pub(crate) struct Counted {
    length: usize,
    taken: Vec<OwnedSemaphorePermit>,
}

impl Counted {
    /// Counts `length` bytes in all from now on. `None` where a budget has no room for the rest; then it counts as before.
    pub(crate) fn grow(&mut self, length: usize, budgets: &[&Budget]) -> Option<()> {
        let more = u32::try_from(length.saturating_sub(self.length)).ok()?;
        let taken = budgets
            .iter()
            .map(|budget| budget.room.clone().try_acquire_many_owned(more).ok())
            .collect::<Option<Vec<_>>>()?;
        self.length = self.length.max(length);
        if self.taken.is_empty() {
            self.taken = taken;
        } else {
            let both = self.taken.iter_mut().zip(taken);
            both.for_each(|(all, more)| all.merge(more));
        }
        Some(())
    }

    /// Bytes that count until the last part of them is let go.
    pub(crate) fn bytes(self, bytes: Bytes) -> Bytes {
        if self.taken.is_empty() {
            return bytes;
        }
        Bytes::from_owner(Owner {
            bytes,
            _counted: self,
        })
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn bytes_count_until_the_last_part_of_them_is_let_go() {
        let budget = Budget::of(4);
        let mut first = budget.copy(b"abc").now_or_never().unwrap();
        assert!(budget.copy(b"de").now_or_never().is_none());
        assert_eq!(budget.copy(b"d").now_or_never().unwrap(), "d");
        let part = first.split_to(1);
        drop(first);
        assert!(
            budget.copy(b"de").now_or_never().is_none(),
            "a part keeps the whole"
        );
        drop(part);
        assert_eq!(budget.copy(b"defg").now_or_never().unwrap(), "defg");
        assert!(
            budget.copy(b"hijkl").now_or_never().is_none(),
            "more than there ever is"
        );
    }

    #[test]
    fn who_has_nothing_here_may_have_one_that_is_larger_than_its_part() {
        let (all, part) = (Budget::of(10), Budget::of(4));
        let large = part.try_copy_within(&all, b"abcdefgh").unwrap();
        assert!(part.try_copy_within(&all, b"i").is_none(), "but no more");
        let another = Budget::of(4).try_copy_within(&all, b"ijk").unwrap();
        assert_eq!(another, "ijk", "the large one has half of it all");
        assert!(
            Budget::of(4).try_copy_within(&all, b"lmn").is_none(),
            "nor more than there is of all"
        );
        assert_eq!(Budget::of(4).try_copy_within(&all, b"lm").unwrap(), "lm");
        drop(large);
        assert_eq!(part.try_copy_within(&all, b"i").unwrap(), "i");
    }

    #[test]
    fn who_waits_is_served_when_there_is_room() {
        let budget = Budget::of(4);
        let first = budget.copy(b"abcd").now_or_never().unwrap();
        let mut waiting = Box::pin(budget.copy(b"ef"));
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(first);
        assert_eq!(waiting.now_or_never().unwrap(), "ef");
        assert_eq!(budget.copy(b"").now_or_never().unwrap(), "");
    }

    #[test]
    fn what_grows_takes_of_all_budgets_or_of_none() {
        let (process, session) = (Budget::of(10), Budget::of(4));
        let both = [&process, &session];
        let mut counted = Counted::default();
        counted.grow(2, &both).unwrap();
        counted.grow(4, &both).unwrap();
        assert!(counted.grow(5, &both).is_none(), "the session has no more");
        assert_eq!(
            process.room.available_permits(),
            6,
            "and takes no more of the whole"
        );
        let mut other = Counted::default();
        other.grow(6, &[&process]).unwrap();
        assert!(other.grow(7, &[&process]).is_none());
        let mut bytes = counted.bytes(Bytes::from_static(b"abcd"));
        let part = bytes.split_to(1);
        drop(bytes);
        assert_eq!(session.room.available_permits(), 0, "a part keeps the whole");
        drop(part);
        assert_eq!(session.room.available_permits(), 4);
        other.grow(10, &[&process]).unwrap();
        drop(other);
        assert_eq!(process.room.available_permits(), 10);
    }
}
