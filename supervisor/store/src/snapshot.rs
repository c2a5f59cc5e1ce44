//! The content of a store as it was at one moment, read in pieces while commits go on: whatever a group replaces of what is
//! still to be read is put aside first. All of it on the writer's thread: if others read everything, each would keep
//! memory for it.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use crate::content;
use crate::engine::{Engine, Writes};
use crate::error::ExportError;

/// Records in a piece. Commits wait while one is read.
const PIECE: usize = 256;

/// Bytes that may be put aside, with what keeping them takes. Beyond it the disk is far too slow for what is written to it,
/// and the snapshot is given up.
const ASIDE: usize = 16 * 1024 * 1024;

/// What putting a record aside takes besides its key and value, in bytes.
const OVERHEAD: usize = 128;

/// Records in the order of their keys.
pub(crate) type Piece = Vec<(Vec<u8>, Vec<u8>)>;

/// What is still to be read.
#[derive(Default)]
pub(crate) struct Snapshot {
    /// The last key that was read; empty before the first.
    after: Vec<u8>,
    is_over: bool,
    /// What there was at that moment under keys that were written since.
    aside: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    bytes: usize,
    /// Why it cannot be read on.
    broken: Option<ExportError>,
}

fn size(key: &[u8], old: Option<&Vec<u8>>) -> usize {
    OVERHEAD + key.len() + old.map_or(0, Vec::len)
}

impl Snapshot {
    /// Puts aside what `writes` are about to replace.
    pub(crate) fn put_aside(&mut self, engine: &dyn Engine, writes: &Writes) {
        if !self.is_over
            && self.broken.is_none()
            && let Err(broken) = self.try_to_put_aside(engine, writes)
        {
            self.aside.clear();
            self.broken = Some(broken);
        }
    }

    fn try_to_put_aside(&mut self, engine: &dyn Engine, writes: &Writes) -> Result<(), ExportError> {
        for key in writes.keys() {
            if *key > self.after && key != content::KEY && !self.aside.contains_key(key) {
                let old = engine.get(key).map_err(ExportError::Read)?;
                self.bytes += size(key, old.as_ref());
                self.aside.insert(key.clone(), old);
            }
        }
        (self.bytes <= ASIDE).then_some(()).ok_or(ExportError::Overtaken)
    }

    /// Reads on; `None` at the end, and after what broke it was told.
    pub(crate) fn piece(&mut self, engine: &dyn Engine) -> Result<Option<Piece>, ExportError> {
        if let Some(broken) = self.broken.take() {
            self.is_over = true;
            return Err(broken);
        }
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
        read.map_err(ExportError::Read)?;
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
