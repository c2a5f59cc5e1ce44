//! The store's handle: reads at once, commits through the writer.

use std::fmt;
use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::ack::{self, Commit};
use crate::batch::Batch;
use crate::content::Content;
use crate::engine::Engine;
use crate::error::{CommitError, ExportError, ImportError, OpenError, ReadError};
use crate::export::{self, Exported};
use crate::head::Head;
use crate::open::{self, OpenOptions, Opened};
use crate::recent::Recent;
use crate::record::{Record, decode, engine_key, table};
use crate::retry;
use crate::writer::{MAX_WAITING, Message, Reserve, Shared, Writer};

/// An open store. Clones are handles on the same one; it is closed, and its lock released, when the last is dropped.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

/// What a store has done since it was opened, and what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statistics {
    /// Commits since the store was first made.
    pub commits: u64,
    /// Records in all tables.
    pub records: u64,
    /// Times the disk was asked to make a group durable, since the store was opened.
    pub syncs: u64,
}

struct Inner {
    shared: Arc<Shared>,
    messages: Option<Sender<Message>>,
    writer: Option<JoinHandle<()>>,
    dir: PathBuf,
    export_dir: PathBuf,
    last_export: Mutex<LastExport>,
    // Dropped last: whoever gets the lock finds the engine closed.
    _lock: File,
}

struct LastExport {
    commits: u64,
    at: Instant,
    /// Attempts in vain since then, and when the last of them ended.
    failed: Option<(u32, Instant)>,
}

impl LastExport {
    /// Whether a failure was so short a time ago that the next attempt would most likely fail like it, having read everything
    /// for nothing: a minute or so at first where `age` is an hour, twice as long each time, `age` at most.
    fn rests(&self, age: Duration) -> bool {
        self.failed.is_some_and(|(times, when)| {
            let pause = (age / 64).saturating_mul(1 << (times - 1).min(6)).min(age);
            when.elapsed() < pause
        })
    }
}

/// The parts of a store that was just opened, before its writer runs.
pub(crate) struct Parts {
    pub engine: Box<dyn Engine>,
    pub content: Content,
    pub head: Head,
    pub dir: PathBuf,
    pub export_dir: PathBuf,
    /// Commits the newest export holds.
    pub exported: u64,
    pub lock: File,
}

impl Store {
    /// Opens the store in the folder `dir`, making it if neither it nor a trace of it exists. Verifies everything it holds.
    ///
    /// A store that cannot be trusted is an error, or, if `options` allow it, is rebuilt from the newest state that can:
    /// what is left of it, or the newest export. The damaged folder is kept beside it.
    pub fn open(dir: &Path, options: &OpenOptions) -> Result<(Self, Opened), OpenError> {
        let (parts, opened) = open::open(dir, options)?;
        Ok((Self::start(parts, Reserve::default())?, opened))
    }

    /// Makes a new store in `dir`, which must not exist, from an export.
    pub fn import(export: &Path, dir: &Path) -> Result<Exported, ImportError> {
        open::import(export, dir)
    }

    pub(crate) fn start(parts: Parts, reserve: Reserve) -> Result<Self, OpenError> {
        let Parts {
            engine,
            content,
            head,
            dir,
            export_dir,
            exported,
            lock,
        } = parts;
        let shared = Arc::new(Shared {
            engine,
            recent: Recent::default(),
            gate: RwLock::new(()),
            waiting: AtomicUsize::new(0),
            commits: AtomicU64::new(content.commits),
            records: AtomicU64::new(content.records),
            syncs: AtomicU64::new(0),
            reserve,
            failed: AtomicBool::new(false),
            damaged: AtomicBool::new(false),
        });
        let (messages, received) = mpsc::channel();
        let writer = Writer {
            shared: shared.clone(),
            dir: dir.clone(),
            head,
            content,
            snapshot: None,
            failed: None,
        };
        let writer = thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || writer.run(&received))
            .map_err(|source| OpenError::Io {
                what: "start the writer of",
                path: dir.clone(),
                source,
            })?;
        let last_export = LastExport {
            commits: exported,
            at: Instant::now(),
            failed: None,
        };
        Ok(Self {
            inner: Arc::new(Inner {
                shared,
                messages: Some(messages),
                writer: Some(writer),
                dir,
                export_dir,
                last_export: Mutex::new(last_export),
                _lock: lock,
            }),
        })
    }

    /// Reads the record under `key`.
    ///
    /// Sees every acknowledged commit, and possibly one that is about to be.
    pub fn get<R: Record>(&self, key: &[u8]) -> Result<Option<R>, ReadError> {
        let shared = &self.inner.shared;
        let full = engine_key(table::<R>(), key);
        let found = shared.recent.get(&full, || shared.engine.get(&full));
        let found = found.map_err(ReadError::Engine)?;
        found.map(|bytes| decode(key, &bytes)).transpose()
    }

    /// Reads every record whose key begins with `prefix`, in the order of keys.
    ///
    /// Sees whole batches only. All of it is held in memory; tables that may grow are read with [`Store::page`].
    pub fn scan<R: Record>(&self, prefix: &[u8]) -> Result<Vec<(Vec<u8>, R)>, ReadError> {
        self.read_range(prefix, None, usize::MAX)
    }

    /// Reads up to `limit` records whose keys begin with `prefix` and are greater than `after`, in the order of keys.
    pub fn page<R: Record>(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, R)>, ReadError> {
        self.read_range(prefix, after, limit)
    }

    /// Hands a batch to the writer, at once; the commit resolves when the batch is durable. Batches of one thread happen in
    /// the order in which they were handed over.
    pub fn commit(&self, batch: Batch) -> Commit {
        let batch = match batch.checked() {
            Ok(batch) => batch,
            Err(mistake) => return Commit::settled(Err(mistake)),
        };
        let waiting = &self.inner.shared.waiting;
        if waiting.fetch_add(1, Ordering::Relaxed) >= MAX_WAITING {
            waiting.fetch_sub(1, Ordering::Relaxed);
            return Commit::settled(Err(CommitError::Busy));
        }
        let (acknowledge, commit) = ack::pair();
        // A writer that died drops the message, and with it the acknowledgement, which then says so.
        let _ = self.messages().send(Message::Commit(batch, acknowledge));
        commit
    }

    /// Commits a batch and blocks until it is durable. Not for async code; use [`Store::commit`].
    pub fn commit_blocking(&self, batch: Batch) -> Result<(), CommitError> {
        self.commit(batch).wait()
    }

    /// Writes an export of the last durable state, and removes exports beyond the newest three.
    ///
    /// Blocks for as long as reading everything takes. Commits go on meanwhile, and are not in it.
    pub fn export_now(&self) -> Result<Exported, ExportError> {
        self.export(&mut self.last_export())
    }

    /// Writes an export if it is due: there were commits since the last one, and either the last one was written (or the store
    /// opened) at least `age` ago, or these are at least `commits`, and as many as a quarter of the records, all of which an
    /// export reads. After a failure it waits before it tries again. Call it now and then, off any thread that must not block.
    pub fn maybe_export(&self, commits: u64, age: Duration) -> Result<Option<Exported>, ExportError> {
        let mut last = self.last_export();
        let now = self.statistics();
        let new = now.commits.saturating_sub(last.commits);
        let many = commits.max(now.records / 4);
        let is_due = new > 0 && (new >= many || last.at.elapsed() >= age) && !last.rests(age);
        is_due.then(|| self.export(&mut last)).transpose()
    }

    /// What the store has done and holds.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        let shared = &self.inner.shared;
        Statistics {
            commits: shared.commits.load(Ordering::Acquire),
            records: shared.records.load(Ordering::Relaxed),
            syncs: shared.syncs.load(Ordering::Relaxed),
        }
    }

    /// Whether a commit failed midway. Reading goes on, but nothing is committed until the store is opened again.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.inner.shared.failed.load(Ordering::Acquire)
    }

    /// Whether it failed because what it holds cannot be trusted, rather than for its disk.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        self.inner.shared.damaged.load(Ordering::Relaxed)
    }

    /// After a failure: sees that the store is in its place and can be read, and that its disk takes writes again, so that
    /// it can be opened anew, by another process or once this one is closed. Blocks for as long as reading it all takes.
    ///
    /// # Errors
    ///
    /// What is in the way.
    pub fn try_disk(&self) -> io::Result<()> {
        let shared = &self.inner.shared;
        if self.is_damaged() {
            // What can be read still is; opened anew it could not be, until somebody has it rebuilt.
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the store itself is damaged; the next start by hand rebuilds it",
            ));
        }
        let reserve = shared.reserve.ordinary.load(Ordering::Relaxed);
        retry::try_disk(&self.inner.dir, reserve)
    }

    /// Changes what has to be free on the disk, in bytes: for a batch, and for one that frees space. For tests, whose disk
    /// has as much room as it has.
    #[doc(hidden)]
    pub fn keep_free(&self, ordinary: u64, last: u64) {
        let reserve = &self.inner.shared.reserve;
        reserve.ordinary.store(ordinary, Ordering::Relaxed);
        reserve.last.store(last, Ordering::Relaxed);
    }

    fn read_range<R: Record>(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, R)>, ReadError> {
        let table = table::<R>();
        let full_prefix = engine_key(table, prefix);
        let after = after.map(|after| engine_key(table, after));
        let mut found: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        if limit == 0 {
            return Ok(Vec::new());
        }
        {
            let shared = &self.inner.shared;
            let _gate = shared.gate.read().unwrap_or_else(PoisonError::into_inner);
            shared
                .engine
                .scan(&full_prefix, after.as_deref(), &mut |key, value| {
                    found.push((key[table.len() + 1..].to_vec(), value.to_vec()));
                    if found.len() < limit {
                        ControlFlow::Continue(())
                    } else {
                        ControlFlow::Break(())
                    }
                })
                .map_err(ReadError::Engine)?;
        }
        // Decoded after the gate is open again: the writer does not wait for it.
        found
            .into_iter()
            .map(|(key, value)| {
                let record = decode(&key, &value)?;
                Ok((key, record))
            })
            .collect()
    }

    /// Writes an export; only one at a time can.
    fn export(&self, last: &mut LastExport) -> Result<Exported, ExportError> {
        let outcome = self.attempt_export(last);
        if outcome.is_err() {
            let times = last.failed.map_or(0, |(times, _)| times);
            last.failed = Some((times.saturating_add(1), Instant::now()));
        }
        outcome
    }

    fn attempt_export(&self, last: &mut LastExport) -> Result<Exported, ExportError> {
        let _enough = Enough(self.messages());
        let content = self.ask(Message::Snapshot)?;
        let exported = export::write(&self.inner.export_dir, &content, || self.ask(Message::Piece))?;
        *last = LastExport {
            commits: content.commits,
            at: Instant::now(),
            failed: None,
        };
        Ok(exported)
    }

    /// Asks the writer, and waits for what it says.
    fn ask<T>(
        &self,
        question: impl FnOnce(Sender<Result<T, ExportError>>) -> Message,
    ) -> Result<T, ExportError> {
        let (reply, answer) = mpsc::channel();
        self.messages()
            .send(question(reply))
            .map_err(|_| ExportError::Closed)?;
        answer.recv().map_err(|_| ExportError::Closed)?
    }

    fn messages(&self) -> &Sender<Message> {
        self.inner
            .messages
            .as_ref()
            .expect("taken only when the last handle is dropped")
    }

    fn last_export(&self) -> std::sync::MutexGuard<'_, LastExport> {
        self.inner
            .last_export
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends a snapshot, however its reader ends.
struct Enough<'a>(&'a Sender<Message>);

impl Drop for Enough<'_> {
    fn drop(&mut self) {
        // A writer that is gone keeps none.
        let _ = self.0.send(Message::Enough);
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("statistics", &self.statistics())
            .finish_non_exhaustive()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // The writer ends when nobody can send to it any more, after it has served what waits.
        drop(self.messages.take());
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the writer of the store died");
        }
    }
}
