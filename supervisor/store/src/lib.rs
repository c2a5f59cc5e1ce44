//! Keeps what must survive: records in tables, committed in atomic batches.
//!
//! *Acknowledged means on disk.* A commit resolves only after its records were written, flushed and `fdatasync`ed; a crash
//! at any instruction, of the process or of the machine, keeps every acknowledged commit whole and leaves no commit
//! half-done. After a failed write or sync the store stops acknowledging and says so; it never guesses.
//!
//! The engine below is sled, named in one private module and in no public signature. It is not durable by itself, and it
//! drops what it cannot read without a word; [`docs/adr/0004-durable-store.md`] says what is added here and why:
//! group commit with a sync of our own, a digest of the whole content that is verified at every open, a high-water mark
//! beside the engine that betrays a lost tail, and checksummed exports from which a store is rebuilt.
//!
//! Left out on purpose: who is allowed what, time, secondary indexes, values above [`MAX_VALUE`] bytes (files belong in
//! folders), nested or interactive transactions (there is one logical writer; preconditions of a batch cover races).
//!
//! [`docs/adr/0004-durable-store.md`]: https://percloud.example/source/docs/adr/0004-durable-store.md

#![forbid(unsafe_code)]

mod ack;
mod batch;
mod content;
mod engine;
mod error;
mod export;
mod folder;
mod head;
mod open;
mod recent;
mod record;
mod retry;
mod snapshot;
mod store;
mod writer;

pub use ack::Commit;
pub use batch::{Batch, MAX_BATCH_BYTES, MAX_BATCH_WRITES};
pub use error::{CommitError, ExportError, ImportError, OpenError, ReadError};
pub use export::Exported;
pub use folder::in_use;
pub use open::{OpenOptions, Opened, Otherwise, RebuiltFrom};
pub use record::{MAX_KEY, MAX_VALUE, Record};
pub use store::{Statistics, Store};
