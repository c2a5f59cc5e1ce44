//! The one writer: gathers waiting batches into a group, makes the group durable with one sync, then acknowledges each.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Arc, PoisonError, RwLock};

use crate::ack::Acknowledge;
use crate::batch::{Batch, Expect, MAX_BATCH_BYTES, MAX_BATCH_WRITES};
use crate::content::{self, Content};
use crate::engine::{Engine, Writes};
use crate::error::{CommitError, ExportError, same};
use crate::folder;
use crate::head::Head;
use crate::open::is_of_the_world;
use crate::recent::Recent;
use crate::record::printable;
use crate::snapshot::{Piece, Snapshot};

/// Commits that may wait. Beyond it the disk is far behind, and callers are told instead of queued.
pub(crate) const MAX_WAITING: usize = 4096;

/// Free bytes on the disk below which batches are refused. The engine writes whole segments of 512 KiB, moves pages when it
/// cleans, and cannot go on after a write failed: running into a full disk midway would cost every later commit until the
/// store is opened again.
pub(crate) const RESERVE: u64 = 8 * 1024 * 1024;

/// The same for batches that lead to less data.
pub(crate) const LAST_RESERVE: u64 = 2 * 1024 * 1024;

/// What the writer is asked.
pub(crate) enum Message {
    Commit(Batch, Acknowledge),
    /// Begin a snapshot of the last durable commit.
    Snapshot(Sender<Result<Content, ExportError>>),
    /// Read on in it; `None` at its end, or where there is none.
    Piece(Sender<Result<Option<Piece>, ExportError>>),
    /// Nobody reads on in it.
    Enough,
}

/// What the writer shares with the store's handles.
pub(crate) struct Shared {
    pub engine: Box<dyn Engine>,
    pub recent: Recent,
    /// Held by readers of several records, and by the writer while it applies a group: no one sees half a batch.
    pub gate: RwLock<()>,
    pub waiting: AtomicUsize,
    pub commits: AtomicU64,
    pub records: AtomicU64,
    pub syncs: AtomicU64,
    pub reserve: Reserve,
    /// Set once and for all: nothing is committed any more.
    pub failed: AtomicBool,
    /// Set with it where what the store holds cannot be trusted, rather than its disk.
    pub damaged: AtomicBool,
}

/// Free space below which batches are refused, in bytes.
pub(crate) struct Reserve {
    pub ordinary: AtomicU64,
    pub last: AtomicU64,
}

impl Reserve {
    /// What has to be free for a batch.
    fn of(&self, batch: &Batch) -> u64 {
        let reserve = if batch.is_urgent() {
            &self.last
        } else {
            &self.ordinary
        };
        reserve.load(Ordering::Relaxed)
    }
}

impl Default for Reserve {
    fn default() -> Self {
        Self {
            ordinary: AtomicU64::new(RESERVE),
            last: AtomicU64::new(LAST_RESERVE),
        }
    }
}

/// The writer's own state; lives on its thread.
pub(crate) struct Writer {
    pub shared: Arc<Shared>,
    pub dir: PathBuf,
    pub head: Head,
    pub content: Content,
    pub snapshot: Option<Snapshot>,
    pub failed: Option<io::Error>,
}

impl Writer {
    /// Serves until every handle is gone.
    pub(crate) fn run(mut self, messages: &Receiver<Message>) {
        let mut carried = VecDeque::new();
        while let Some(message) = carried.pop_front().or_else(|| messages.recv().ok()) {
            match message {
                Message::Snapshot(reply) => {
                    // A caller who went away does not want the answer.
                    let _ = reply.send(self.begin_snapshot());
                }
                Message::Piece(reply) => _ = reply.send(self.piece()),
                Message::Enough => self.snapshot = None,
                Message::Commit(batch, acknowledge) => {
                    let mut group = vec![(batch, acknowledge)];
                    carried.extend(gather(&mut group, messages));
                    self.shared.waiting.fetch_sub(group.len(), Ordering::Relaxed);
                    self.commit(group);
                }
            }
        }
    }

    fn commit(&mut self, group: Vec<(Batch, Acknowledge)>) {
        let room = match &self.failed {
            Some(_) => Ok(0),
            None => folder::room(&self.dir),
        };
        let mut staged = Staged {
            writes: Writes::new(),
            content: self.content,
        };
        let mut waiting = Vec::with_capacity(group.len());
        for (batch, acknowledge) in group {
            let staging = match (&self.failed, &room) {
                (Some(failure), _) => Err(CommitError::ReadOnly(same(failure))),
                (None, Err(error)) => Err(CommitError::Failed(same(error))),
                (None, Ok(room)) => {
                    if *room < self.shared.reserve.of(&batch) {
                        Err(CommitError::DiskFull(io::ErrorKind::StorageFull.into()))
                    } else {
                        staged.stage(self.shared.engine.as_ref(), batch)
                    }
                }
            };
            match staging {
                Ok(()) => waiting.push(acknowledge),
                Err(error) => {
                    if let CommitError::Failed(cause) = &error {
                        self.fail(cause);
                    }
                    acknowledge.tell(Err(error));
                }
            }
        }
        if waiting.is_empty() {
            return;
        }
        let durable = self.write(staged);
        for acknowledge in waiting {
            acknowledge.tell(
                durable
                    .as_ref()
                    .copied()
                    .map_err(|error| CommitError::Failed(same(error))),
            );
        }
    }

    /// Writes a group and makes it durable. After an error nothing is written ever again: what the engine holds in memory
    /// and what is on disk may differ, and a sync that failed once must not be trusted when repeated.
    fn write(&mut self, staged: Staged) -> Result<(), io::Error> {
        if let Some(failure) = &self.failed {
            return Err(same(failure));
        }
        if staged.content == self.content && staged.writes.is_empty() {
            return Ok(());
        }
        let Staged { mut writes, content } = staged;
        writes.insert(content::KEY.to_vec(), Some(content.encode()));
        let applied = {
            let _gate = self.shared.gate.write().unwrap_or_else(PoisonError::into_inner);
            let engine = self.shared.engine.as_ref();
            if let Some(snapshot) = &mut self.snapshot {
                snapshot.put_aside(engine, &writes);
            }
            self.shared.recent.during(&writes, || engine.apply(&writes))
        };
        let durable = applied.and_then(|()| {
            self.shared.syncs.fetch_add(1, Ordering::Relaxed);
            self.shared.engine.sync()
        });
        match durable {
            Ok(()) => {
                self.content = content;
                self.shared.commits.store(content.commits, Ordering::Release);
                self.shared.records.store(content.records, Ordering::Relaxed);
                if let Err(error) = self.head.set(content.commits) {
                    // The mark may lag: it only serves to notice damage.
                    tracing::warn!("cannot raise the high-water mark of the store: {error}");
                }
                Ok(())
            }
            Err(error) => {
                self.fail(&error);
                Err(error)
            }
        }
    }

    /// Takes no more commits, for good.
    fn fail(&mut self, cause: &io::Error) {
        if self.failed.is_none() {
            tracing::error!("the store takes no more commits: {cause}");
            self.failed = Some(same(cause));
            self.shared
                .damaged
                .store(!is_of_the_world(cause), Ordering::Relaxed);
            self.shared.failed.store(true, Ordering::Release);
        }
    }

    fn begin_snapshot(&mut self) -> Result<Content, ExportError> {
        if let Some(failure) = &self.failed {
            // What is in memory may never have reached the disk.
            return Err(ExportError::Read(same(failure)));
        }
        self.snapshot = Some(Snapshot::default());
        Ok(self.content)
    }

    fn piece(&mut self) -> Result<Option<Piece>, ExportError> {
        match &mut self.snapshot {
            Some(snapshot) => snapshot.piece(self.shared.engine.as_ref()),
            None => Ok(None),
        }
    }
}

/// Adds to `group` what waits already, within the bounds of one group; returns the message that ended it, if one did.
fn gather(group: &mut Vec<(Batch, Acknowledge)>, messages: &Receiver<Message>) -> Option<Message> {
    let mut writes = group[0].0.len();
    let mut bytes = group[0].0.bytes();
    while let Ok(message) = messages.try_recv() {
        let Message::Commit(batch, acknowledge) = message else {
            return Some(message);
        };
        writes += batch.len();
        bytes += batch.bytes();
        if writes > MAX_BATCH_WRITES || bytes > MAX_BATCH_BYTES {
            return Some(Message::Commit(batch, acknowledge));
        }
        group.push((batch, acknowledge));
    }
    None
}

/// A group on its way: the batches before see what the batches behind them find.
struct Staged {
    writes: Writes,
    content: Content,
}

impl Staged {
    /// Adds a batch if its preconditions hold; leaves the group as it was if not.
    fn stage(&mut self, engine: &dyn Engine, batch: Batch) -> Result<(), CommitError> {
        for precondition in &batch.preconditions {
            let found = self.read(engine, &precondition.key)?;
            let holds = match &precondition.expect {
                Expect::Absent => found.is_none(),
                Expect::Present => found.is_some(),
                Expect::Exactly(expected) => found.as_ref() == Some(expected),
            };
            if !holds {
                let key = &precondition.key[precondition.table.len() + 1..];
                return Err(CommitError::Conflict {
                    table: precondition.table,
                    key: printable(key),
                });
            }
        }
        // Whatever can fail comes first, so that the group is never left with half a batch.
        let mut before = Writes::new();
        for (key, _) in &batch.writes {
            if !before.contains_key(key) {
                before.insert(key.clone(), self.read(engine, key)?);
            }
        }
        if batch.writes.is_empty() {
            return Ok(());
        }
        for (key, value) in batch.writes {
            let old = before.insert(key.clone(), value.clone()).flatten();
            if let Some(old) = old {
                self.content.remove(&key, &old);
            }
            if let Some(new) = &value {
                self.content.add(&key, new);
            }
            self.writes.insert(key, value);
        }
        self.content.commits += 1;
        Ok(())
    }

    fn read(&self, engine: &dyn Engine, key: &[u8]) -> Result<Option<Vec<u8>>, CommitError> {
        match self.writes.get(key) {
            Some(staged) => Ok(staged.clone()),
            None => engine.get(key).map_err(CommitError::Failed),
        }
    }
}

#[cfg(test)]
mod tests;
