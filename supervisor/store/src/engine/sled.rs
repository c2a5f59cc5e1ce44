//! sled 0.34 as the engine, with what it lacks added.
//!
//! - `flush` of sled writes with `sync_file_range`, which flushes neither file metadata nor the cache of the drive;
//!   [`Engine::sync`] adds an `fdatasync` on a handle of our own.
//! - sled's background thread is off: it would rewrite pages between our syncs. Its cleaning happens on writes as well.
//! - sled panics on some damaged files; every call is guarded and a panic becomes an error.
//! - A crash while it writes its snapshot of the page table leaves a file that it cannot read later; such leftovers are
//!   removed before it looks.

use std::fs::{self, File};
use std::io;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::{Engine, Visit, Writes};
use crate::folder;

/// Bytes of pages kept in memory. Records that are used all the time are at hand anyway (`recent`), and the kernel keeps
/// the file.
const CACHE: u64 = 1024 * 1024;

/// Records of a scan from which on each is looked up once more. sled lets go what was not used for long, but looks at a 256th
/// of its cache only with every 64th use of a page in it: of a scan, which uses each page once, it would keep everything.
const LONG: usize = 64;

/// How long threads of a store that was just closed in this process may take to let go of its file.
const LET_GO: Duration = Duration::from_secs(5);

/// A folder of sled's, open.
pub(crate) struct Sled {
    db: ::sled::Db,
    /// Our own handle on its log, for [`Engine::sync`].
    log: File,
}

impl Sled {
    /// Opens the engine in `dir`, creating it if the folder is missing.
    pub(crate) fn open(dir: &Path) -> io::Result<Self> {
        remove_unfinished_snapshots(dir)?;
        let since = Instant::now();
        let db = loop {
            let opened = guard("open", || {
                ::sled::Config::new()
                    .path(dir)
                    .cache_capacity(CACHE)
                    .flush_every_ms(None)
                    .open()
            });
            match opened {
                // Our own lock on the store is held, so this can only be a thread of a closed store in this process.
                Err(error) if is_locked(&error) && since.elapsed() < LET_GO => {
                    thread::sleep(Duration::from_millis(2));
                }
                other => break other?,
            }
        };
        let log = File::open(dir.join("db"))?;
        // Recovery has written: what follows must not be acknowledged on top of something that is not durable itself.
        log.sync_all()?;
        folder::sync(dir)?;
        folder::sync(&dir.join("blobs"))?;
        Ok(Self { db, log })
    }
}

impl Engine for Sled {
    fn get(&self, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        guard("read", || Ok(self.db.get(key)?.map(|value| value.to_vec())))
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, visit: Visit<'_>) -> io::Result<()> {
        use std::ops::Bound;
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after.to_vec()),
            _ => Bound::Included(prefix.to_vec()),
        };
        let mut entries = self.db.range::<Vec<u8>, _>((from, Bound::Unbounded));
        for count in 0.. {
            let Some((key, value)) = guard("read", || entries.next().transpose())? else {
                return Ok(());
            };
            if !key.starts_with(prefix) {
                return Ok(());
            }
            if let ControlFlow::Break(()) = visit(&key, &value) {
                return Ok(());
            }
            if count >= LONG {
                guard("read", || self.db.get(&key))?;
            }
        }
        Ok(())
    }

    fn apply(&self, writes: &Writes) -> io::Result<()> {
        let mut batch = ::sled::Batch::default();
        for (key, value) in writes {
            match value {
                Some(value) => batch.insert(key.as_slice(), value.as_slice()),
                None => batch.remove(key.as_slice()),
            }
        }
        guard("write", || self.db.apply_batch(batch))
    }

    fn sync(&self) -> io::Result<()> {
        guard("flush", || self.db.flush())?;
        self.log.sync_data()
    }
}

/// Calls sled, turning a panic into an error.
fn guard<T>(what: &str, call: impl FnOnce() -> ::sled::Result<T>) -> io::Result<T> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error @ ::sled::Error::Corruption { .. })) => {
            Err(io::Error::new(io::ErrorKind::InvalidData, error.to_string()))
        }
        Ok(Err(error)) => Err(error.into()),
        Err(panic) => {
            let said = panic.downcast_ref::<String>().map(String::as_str);
            let said = said
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("no message");
            let said: String = said.chars().take(200).collect();
            Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("the engine could not {what} and panicked: {said}"),
            ))
        }
    }
}

fn is_locked(error: &io::Error) -> bool {
    error.to_string().contains("could not acquire lock")
}

/// Removes what a crash left of a snapshot being written. The snapshot it should have replaced is still there, since sled
/// removes that one last.
fn remove_unfinished_snapshots(dir: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for entry in entries {
        let name = entry?.file_name();
        if name
            .to_str()
            .is_some_and(|name| name.starts_with("snap.") && name.ends_with(".generating"))
        {
            fs::remove_file(dir.join(name))?;
        }
    }
    Ok(())
}
