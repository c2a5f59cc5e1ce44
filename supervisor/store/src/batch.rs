//! A batch: writes and preconditions that happen together or not at all.

use crate::error::CommitError;
use crate::record::{MAX_KEY, MAX_VALUE, Record, encode, engine_key, table};

/// Most writes and preconditions in one batch.
pub const MAX_BATCH_WRITES: usize = 64;

/// Most bytes in one batch, keys and records. Together with the bound on a group of batches it keeps what is written
/// between two syncs below one segment of the engine's log, so that no segment is reused before the copy of its content
/// is durable.
pub const MAX_BATCH_BYTES: usize = 24 * 1024;

/// What must be true of a key for the batch to be carried out.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Expect {
    Absent,
    Present,
    Exactly(Vec<u8>),
}

/// One precondition.
#[derive(Debug)]
pub(crate) struct Precondition {
    pub table: &'static str,
    pub key: Vec<u8>,
    pub expect: Expect,
}

/// Writes that happen together or not at all. A later write to a key replaces an earlier one.
#[derive(Debug, Default)]
pub struct Batch {
    /// Engine keys; `None` deletes.
    pub(crate) writes: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    pub(crate) preconditions: Vec<Precondition>,
    pub(crate) frees_space: bool,
    bytes: usize,
    mistake: Option<CommitError>,
}

impl Batch {
    /// Starts an empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Stores `record` under `key`. A key or record above its limit makes the commit fail.
    pub fn put<R: Record>(&mut self, key: &[u8], record: &R) {
        match encode(record) {
            Ok(value) if value.len() > MAX_VALUE => {
                self.mistaken(CommitError::ValueTooLarge {
                    table: table::<R>(),
                    size: value.len(),
                });
            }
            Ok(value) => self.write::<R>(key, Some(value)),
            Err(source) => self.mistaken(CommitError::Encode {
                table: table::<R>(),
                source,
            }),
        }
    }

    /// Forgets what is stored under `key`, if anything.
    pub fn delete<R: Record>(&mut self, key: &[u8]) {
        self.write::<R>(key, None);
    }

    /// Lets the batch happen only if nothing is stored under `key`.
    pub fn expect_absent<R: Record>(&mut self, key: &[u8]) {
        self.expect::<R>(key, Expect::Absent);
    }

    /// Lets the batch happen only if something is stored under `key`.
    pub fn expect_present<R: Record>(&mut self, key: &[u8]) {
        self.expect::<R>(key, Expect::Present);
    }

    /// Lets the batch happen only if `record`, read before, is still what is stored under `key`. Compares encoded bytes, so
    /// a record that was migrated, or holds unordered maps, counts as changed.
    pub fn expect_unchanged<R: Record>(&mut self, key: &[u8], record: &R) {
        match encode(record) {
            Ok(value) => self.expect::<R>(key, Expect::Exactly(value)),
            Err(source) => self.mistaken(CommitError::Encode {
                table: table::<R>(),
                source,
            }),
        }
    }

    /// Says that this batch leads to less data on disk (deleting, trashing): it may use the last reserve of a full disk, so
    /// that a person can always make room. Batches that only delete need not say so.
    pub fn frees_space(&mut self) {
        self.frees_space = true;
    }

    /// Takes out what is in the batch, to be committed, and begins the next one of the same act: what frees space goes on
    /// to do so.
    #[must_use]
    pub fn take(&mut self) -> Self {
        let next = Self {
            frees_space: self.frees_space,
            ..Self::default()
        };
        std::mem::replace(self, next)
    }

    /// Whether the batch does nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.preconditions.is_empty() && self.mistake.is_none()
    }

    /// Whether it is time to commit and begin another: room is left for a few records of the largest size.
    #[must_use]
    pub fn is_nearly_full(&self) -> bool {
        self.len() + 4 >= MAX_BATCH_WRITES || self.bytes + 3 * MAX_VALUE >= MAX_BATCH_BYTES
    }

    /// Number of writes and preconditions.
    pub(crate) fn len(&self) -> usize {
        self.writes.len() + self.preconditions.len()
    }

    /// Size of all keys and records, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether it may use the last reserve of a full disk.
    pub(crate) fn is_urgent(&self) -> bool {
        self.frees_space || self.writes.iter().all(|(_, value)| value.is_none())
    }

    /// The batch if it may be committed, else the first mistake made in building it.
    pub(crate) fn checked(mut self) -> Result<Self, CommitError> {
        if let Some(mistake) = self.mistake.take() {
            return Err(mistake);
        }
        if self.len() > MAX_BATCH_WRITES || self.bytes > MAX_BATCH_BYTES {
            return Err(CommitError::BatchTooLarge {
                writes: self.len(),
                bytes: self.bytes,
            });
        }
        Ok(self)
    }

    fn write<R: Record>(&mut self, key: &[u8], value: Option<Vec<u8>>) {
        if let Some(key) = self.key::<R>(key) {
            self.bytes += key.len() + value.as_ref().map_or(0, Vec::len);
            self.writes.push((key, value));
        }
    }

    fn expect<R: Record>(&mut self, key: &[u8], expect: Expect) {
        if let Some(key) = self.key::<R>(key) {
            self.bytes += key.len();
            self.preconditions.push(Precondition {
                table: table::<R>(),
                key,
                expect,
            });
        }
    }

    fn key<R: Record>(&mut self, key: &[u8]) -> Option<Vec<u8>> {
        if key.len() > MAX_KEY {
            self.mistaken(CommitError::KeyTooLong {
                table: table::<R>(),
                size: key.len(),
            });
            return None;
        }
        Some(engine_key(table::<R>(), key))
    }

    fn mistaken(&mut self, mistake: CommitError) {
        self.mistake.get_or_insert(mistake);
    }
}
