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

/// Bytes that may be put aside. Beyond it the disk is far too slow for what is written to it, and the snapshot is given up.
const ASIDE: usize = 16 * 1024 * 1024;

/// Records in the order of their keys.
pub(crate) type Piece = Vec<(Vec<u8>, Vec<u8>)>;

/// Room for one snapshot at a time.
#[derive(Default)]
pub(crate) struct Snapshot(Mutex<Option<Unread>>);

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

/// Why there is no piece.
#[derive(Debug)]
pub(crate) enum Broken {
    Engine(io::Error),
    /// More was written meanwhile than can be put aside.
    Overtaken,
}

impl Snapshot {
    /// Begins a snapshot of what the engine holds now. For the writer, between two groups.
    pub(crate) fn begin(&self) {
        *self.unread() = Some(Unread::default());
    }

    /// Ends the snapshot, if there is one.
    pub(crate) fn end(&self) {
        *self.unread() = None;
    }

    /// Puts aside what `writes` are about to replace. For the writer, while no piece can be read.
    pub(crate) fn put_aside(&self, engine: &dyn Engine, writes: &Writes) -> io::Result<()> {
        let mut snapshot = self.unread();
        let Some(unread) = snapshot.as_mut().filter(|unread| !unread.is_over) else {
            return Ok(());
        };
        for key in writes.keys() {
            if *key > unread.after && key != content::KEY && !unread.aside.contains_key(key) {
                let old = engine.get(key)?;
                unread.bytes += key.len() + old.as_ref().map_or(0, Vec::len);
                unread.aside.insert(key.clone(), old);
            }
        }
        if unread.bytes > ASIDE {
            *snapshot = None;
        }
        Ok(())
    }

    /// Reads on; `None` at the end. Nothing may be written meanwhile.
    pub(crate) fn piece(&self, engine: &dyn Engine) -> Result<Option<Piece>, Broken> {
        let mut snapshot = self.unread();
        let unread = snapshot.as_mut().ok_or(Broken::Overtaken)?;
        if unread.is_over {
            return Ok(None);
        }
        let mut piece: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
        let mut last = None;
        let after = Some(unread.after.as_slice());
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
                let later = unread.aside.split_off(&last);
                let mut aside = std::mem::replace(&mut unread.aside, later);
                aside.extend(unread.aside.remove_entry(&last));
                unread.after = last;
                aside
            }
            None => {
                unread.is_over = true;
                std::mem::take(&mut unread.aside)
            }
        };
        for (key, old) in aside {
            unread.bytes -= key.len() + old.as_ref().map_or(0, Vec::len);
            match old {
                Some(old) => _ = piece.insert(key, old),
                None => _ = piece.remove(&key),
            }
        }
        Ok(Some(piece.into_iter().collect()))
    }

    fn unread(&self) -> MutexGuard<'_, Option<Unread>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
