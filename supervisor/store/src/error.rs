//! What can go wrong, by what the caller can do about it.

use std::io;
use std::path::PathBuf;

use crate::batch::{MAX_BATCH_BYTES, MAX_BATCH_WRITES};
use crate::record::{MAX_KEY, MAX_VALUE};

/// Why a store was not opened. Nothing on disk was changed, unless the message says so.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder that should hold the store does not exist.
    #[error("cannot open the store {}: the folder it should be in does not exist", dir.display())]
    MissingParent {
        /// The store's folder.
        dir: PathBuf,
    },
    /// The store is gone although it existed once.
    #[error(
        "cannot open the store {}: it is missing although {} shows that it existed; put it back, or allow recovery",
        dir.display(),
        trace.display()
    )]
    Missing {
        /// The store's folder.
        dir: PathBuf,
        /// An export or a damaged copy of the store.
        trace: PathBuf,
    },
    /// There is none where there must be one.
    #[error("cannot open the store {}: there is none where there was one; is its disk missing?", dir.display())]
    Gone {
        /// The store's folder.
        dir: PathBuf,
    },
    /// Something else is in its place.
    #[error("cannot open the store {}: what is there is not a store of Percloud", dir.display())]
    NotAStore {
        /// The store's folder.
        dir: PathBuf,
    },
    /// It was written by a newer Percloud.
    #[error(
        "cannot open the store {}: its format is {found}, and this Percloud knows {known} at most; use a newer one",
        dir.display()
    )]
    Newer {
        /// The store's folder.
        dir: PathBuf,
        /// Format it has.
        found: u32,
        /// Newest format known here.
        known: u32,
    },
    /// It cannot be trusted, and recovery was not allowed.
    #[error("cannot open the store {}: it is damaged: {reason}", dir.display())]
    Damaged {
        /// The store's folder.
        dir: PathBuf,
        /// What was found.
        reason: String,
    },
    /// It cannot be trusted, and there is nothing to rebuild it from.
    #[error(
        "cannot rebuild the store {}: {reason}, and {} holds no readable export; restore a backup of the data folder",
        dir.display(),
        export_dir.display()
    )]
    Unrecoverable {
        /// The store's folder.
        dir: PathBuf,
        /// Where exports were looked for.
        export_dir: PathBuf,
        /// What is wrong with the store.
        reason: String,
    },
    /// Another process has it open.
    #[error("cannot open the store {}: another process has it open", dir.display())]
    Locked {
        /// The store's folder.
        dir: PathBuf,
    },
    /// The file system refuses to let it be used.
    #[error("cannot open the store: {} may not be read and written by this user", path.display())]
    NoPermission {
        /// The file or folder.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The disk is full.
    #[error("cannot open the store: the disk that holds {} is full", path.display())]
    DiskFull {
        /// The file or folder.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// Anything else the file system said.
    #[error("cannot open the store: cannot {what} {}", path.display())]
    Io {
        /// What was attempted.
        what: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

/// Why a record was not read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The engine could not read.
    #[error("cannot read the store")]
    Engine(#[source] io::Error),
    /// A record was written by a newer Percloud.
    #[error("cannot read {key} in {table}: its version is {found}, and this Percloud knows {known} at most")]
    Newer {
        /// The table.
        table: &'static str,
        /// The key, printable.
        key: String,
        /// Version it has.
        found: u8,
        /// Newest version known here.
        known: u8,
    },
    /// A record is not of the shape its table has.
    #[error("cannot read {key} in {table}: it is not of the shape this table has")]
    Malformed {
        /// The table.
        table: &'static str,
        /// The key, printable.
        key: String,
        /// What the decoder said.
        source: Option<serde_json::Error>,
    },
}

/// Why a batch was not committed. Nothing of it was stored, except where [`CommitError::Failed`] says otherwise.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// A record could not be encoded.
    #[error("cannot encode a record for {table}")]
    Encode {
        /// The table.
        table: &'static str,
        /// What the encoder said.
        source: serde_json::Error,
    },
    /// A record is too large.
    #[error("cannot store a record of {size} bytes in {table}: {MAX_VALUE} are allowed")]
    ValueTooLarge {
        /// The table.
        table: &'static str,
        /// Encoded size in bytes.
        size: usize,
    },
    /// A key is too long.
    #[error("cannot store a record under a key of {size} bytes in {table}: {MAX_KEY} are allowed")]
    KeyTooLong {
        /// The table.
        table: &'static str,
        /// Its size in bytes.
        size: usize,
    },
    /// The batch is too large.
    #[error(
        "cannot commit a batch of {writes} writes and {bytes} bytes: {MAX_BATCH_WRITES} and {MAX_BATCH_BYTES} are allowed"
    )]
    BatchTooLarge {
        /// Number of puts, deletes and preconditions.
        writes: usize,
        /// Their size, keys included.
        bytes: usize,
    },
    /// A precondition of the batch did not hold.
    #[error("cannot commit: {key} in {table} is no longer as the batch expects")]
    Conflict {
        /// The table.
        table: &'static str,
        /// The key, printable.
        key: String,
    },
    /// The disk is nearly full. Later commits succeed once there is room again.
    #[error("cannot commit: the disk that holds the store is full")]
    DiskFull(#[source] io::Error),
    /// Too many commits wait already.
    #[error("cannot commit: too many commits are waiting for the disk")]
    Busy,
    /// Writing failed midway: whether this batch survives is known only after the store was opened anew. The store takes
    /// no commits any more.
    #[error("cannot make a commit durable; the store takes no more commits until it is opened again")]
    Failed(#[source] io::Error),
    /// An earlier commit failed.
    #[error("cannot commit: the store takes no commits since an earlier one failed")]
    ReadOnly(#[source] io::Error),
    /// The store was closed, or its writer died.
    #[error("cannot commit: the store is closed")]
    Closed,
}

/// Why no export was written. Earlier exports are untouched.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The content could not be read.
    #[error("cannot export the store: it cannot be read")]
    Read(#[source] io::Error),
    /// The content does not match its digest; an export of it would spread the damage.
    #[error("cannot export the store: its content does not match its digest")]
    Damaged,
    /// More was written while it was read than can be kept apart.
    #[error("cannot export the store: too much is written to it meanwhile")]
    Overtaken,
    /// The store was closed, or its writer died.
    #[error("cannot export the store: it is closed")]
    Closed,
    /// The file could not be written.
    #[error("cannot write the export {}", path.display())]
    Write {
        /// The export.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

/// Why an export was not turned into a store.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The export could not be read.
    #[error("cannot read the export {}", path.display())]
    Read {
        /// The export.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The export is damaged, unfinished or something else.
    #[error("cannot use the export {}: {reason}", path.display())]
    Invalid {
        /// The export.
        path: PathBuf,
        /// What was found, with the line.
        reason: String,
    },
    /// There is a store already.
    #[error("cannot import into {}: it exists already", dir.display())]
    Exists {
        /// The folder meant for the new store.
        dir: PathBuf,
    },
    /// The store could not be built.
    #[error("cannot build a store from the export")]
    Build(#[source] OpenError),
}

/// A second error like `error`, for a second waiter: [`io::Error`] cannot be cloned.
pub(crate) fn same(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}
