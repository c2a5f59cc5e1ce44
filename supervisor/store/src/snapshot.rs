//! The content of a store as it was at one moment, read in pieces while commits go on: whatever a group replaces of what is
//! still to be read is put aside first.

use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::content;
use crate::engine::{Engine, Writes};

/// Records in a piece. The writer waits while one is read.
const PIECE: usize = 256;

/// Bytes that may be put aside, with what keeping them takes. Beyond it the disk is far too slow for what is written to it,
/// and the snapshot is given up.
const ASIDE: usize = 16 * 1024 * 1024;

/// What putting a record aside takes besides its key and value, in bytes.
const OVERHEAD: usize = 128;

/// Records in the order of their keys.
pub(crate) type Piece = Vec<(Vec<u8>, Vec<u8>)>;

/// Room for one snapshot at a time.
#[derive(Default)]
pub(crate) struct Snapshot(Mutex<Option<Result<Unread, Broken>>>);

/// What is still to be read.
#[derive(Default)]
struct Unread {
    /// The last key that was read; empty before the first.
    after: Vec<u8>,
    is_over: bool,
    /// What there was at that moment under keys that were written since.
    aside: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    bytes: usize,
}

/// Why there are no more pieces.
#[derive(Debug)]
pub(crate) enum Broken {
    Engine(io::Error),
    /// More was written meanwhile than can be put aside.
    Overtaken,
    /// There is no snapshot.
    Over,
}

fn size(key: &[u8], old: Option<&Vec<u8>>) -> usize {
    OVERHEAD + key.len() + old.map_or(0, Vec::len)
}

impl Snapshot {
    /// Begins a snapshot of what the engine holds now. For the writer, between two groups.
    pub(crate) fn begin(&self) {
        *self.state() = Some(Ok(Unread::default()));
    }

    /// Ends the snapshot, if there is one.
    pub(crate) fn end(&self) {
        *self.state() = None;
    }

    /// Puts aside what `writes` are about to replace. For the writer, while no piece can be read.
    pub(crate) fn put_aside(&self, engine: &dyn Engine, writes: &Writes) {
        let mut state = self.state();
        if let Some(Ok(unread)) = state.as_mut()
            && let Err(broken) = unread.put_aside(engine, writes)
        {
            *state = Some(Err(broken));
        }
    }

    /// Reads on; `None` at the end. Nothing may be written meanwhile.
    pub(crate) fn piece(&self, engine: &dyn Engine) -> Result<Option<Piece>, Broken> {
        let mut state = self.state();
        if let Some(Ok(unread)) = state.as_mut() {
            return unread.piece(engine);
        }
        Err(state.take().and_then(Result::err).unwrap_or(Broken::Over))
    }

    fn state(&self) -> MutexGuard<'_, Option<Result<Unread, Broken>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Unread {
    fn put_aside(&mut self, engine: &dyn Engine, writes: &Writes) -> Result<(), Broken> {
        if self.is_over {
            return Ok(());
        }
        for key in writes.keys() {
            if *key > self.after && key != content::KEY && !self.aside.contains_key(key) {
                let old = engine.get(key).map_err(Broken::Engine)?;
                self.bytes += size(key, old.as_ref());
                self.aside.insert(key.clone(), old);
            }
        }
        (self.bytes <= ASIDE).then_some(()).ok_or(Broken::Overtaken)
    }

    fn piece(&mut self, engine: &dyn Engine) -> Result<Option<Piece>, Broken> {
        if self.is_over {
            return Ok(None);
        }
        let mut piece: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
        let mut last = None;
        let after = Some(self.after.as_slice());
        let read = engine.scan(b"", after, &mut |key, value| {
            if key != content::KEY {
                piece.insert(key.to_vec(), value.to_vec());
            }
            if piece.len() < PIECE {
                return ControlFlow::Continue(());
            }
            last = Some(key.to_vec());
            ControlFlow::Break(())
        });
        read.map_err(Broken::Engine)?;
        let aside = match last {
            Some(last) => {
                let later = self.aside.split_off(&last);
                let mut aside = std::mem::replace(&mut self.aside, later);
                aside.extend(self.aside.remove_entry(&last));
                self.after = last;
                aside
            }
            None => {
                self.is_over = true;
                std::mem::take(&mut self.aside)
            }
        };
        for (key, old) in aside {
            self.bytes -= size(&key, old.as_ref());
            match old {
                Some(old) => _ = piece.insert(key, old),
                None => _ = piece.remove(&key),
            }
        }
        Ok(Some(piece.into_iter().collect()))
    }
}

#[cfg(test)]
mod tests;
