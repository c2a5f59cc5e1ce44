//! What a store holds as a whole, in forty bytes: how many commits, how many records, and a digest of them.
//!
//! The digest is a sum of hashes, one per record, so a commit updates it from the records it changes alone. It is stored
//! in the same atomic batch as the records. At every open all records are read and summed again: a record that the engine
//! dropped, kept in an old state or invented is noticed, instead of being served.

use std::io;
use std::ops::ControlFlow;

use sha2::{Digest, Sha256};

use crate::engine::Engine;
use crate::record::split;

/// Engine key of the stored summary. No table can hold it: table names begin with a letter.
pub(crate) const KEY: &[u8] = b"\0content";

const ENCODED: usize = 32;

/// Summary of everything a store holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Content {
    /// Commits since the store was made; grows by one with each, and survives rebuilding.
    pub commits: u64,
    /// Records in all tables.
    pub records: u64,
    /// Sum of [`hash`] of each record.
    pub digest: u128,
}

impl Content {
    /// Counts a record in.
    pub(crate) fn add(&mut self, key: &[u8], value: &[u8]) {
        self.records += 1;
        self.digest = self.digest.wrapping_add(hash(key, value));
    }

    /// Counts a record out.
    pub(crate) fn remove(&mut self, key: &[u8], value: &[u8]) {
        self.records -= 1;
        self.digest = self.digest.wrapping_sub(hash(key, value));
    }

    /// The bytes kept under [`KEY`].
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(ENCODED);
        bytes.extend_from_slice(&self.commits.to_le_bytes());
        bytes.extend_from_slice(&self.records.to_le_bytes());
        bytes.extend_from_slice(&self.digest.to_le_bytes());
        bytes
    }

    /// Reads what [`Content::encode`] wrote.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (commits, rest) = bytes.split_first_chunk()?;
        let (records, rest) = rest.split_first_chunk()?;
        Some(Self {
            commits: u64::from_le_bytes(*commits),
            records: u64::from_le_bytes(*records),
            digest: u128::from_le_bytes(rest.try_into().ok()?),
        })
    }
}

/// A hash of one record. Lengths are hashed too, so no two records share the bytes of one.
pub(crate) fn hash(key: &[u8], value: &[u8]) -> u128 {
    let mut hasher = Sha256::new();
    hasher.update((key.len() as u64).to_le_bytes());
    hasher.update(key);
    hasher.update(value);
    let (first, _) = hasher
        .finalize()
        .as_slice()
        .split_first_chunk()
        .map(|(a, b)| (*a, b.len()))
        .expect("32 bytes");
    u128::from_le_bytes(first)
}

/// Content of a store at one moment: summary, and every record by engine key, in order.
pub(crate) type Everything = (Content, Vec<(Vec<u8>, Vec<u8>)>);

/// Why the content of an engine cannot be trusted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Untrusted {
    #[error("{0}")]
    Engine(io::Error),
    #[error("its summary is missing")]
    NoSummary,
    #[error("its summary cannot be read")]
    BadSummary,
    #[error("it holds a key that no table has")]
    StrangeKey,
    #[error("it should hold {expected} records and holds {found}, or some of them in an older state")]
    Mismatch { expected: u64, found: u64 },
}

/// Reads everything and compares it with the stored summary; calls `visit` with each record on the way.
pub(crate) fn verify(engine: &dyn Engine, visit: &mut dyn FnMut(&[u8], &[u8])) -> Result<Content, Untrusted> {
    let mut found = Content::default();
    let mut stored = None;
    let mut strange = false;
    engine
        .scan(b"", None, &mut |key, value| {
            if key == KEY {
                stored = Some(value.to_vec());
            } else if split(key).is_none() {
                strange = true;
                return ControlFlow::Break(());
            } else {
                found.add(key, value);
                visit(key, value);
            }
            ControlFlow::Continue(())
        })
        .map_err(Untrusted::Engine)?;
    if strange {
        return Err(Untrusted::StrangeKey);
    }
    let stored = Content::decode(&stored.ok_or(Untrusted::NoSummary)?).ok_or(Untrusted::BadSummary)?;
    found.commits = stored.commits;
    if found != stored {
        return Err(Untrusted::Mismatch {
            expected: stored.records,
            found: found.records,
        });
    }
    Ok(stored)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_forgets_what_is_removed_and_ignores_order() {
        let mut a = Content::default();
        a.add(b"x", b"1");
        a.add(b"y", b"2");
        let mut b = Content::default();
        b.add(b"y", b"2");
        b.add(b"z", b"3");
        b.add(b"x", b"1");
        b.remove(b"z", b"3");
        assert_eq!(a, b);
        b.remove(b"x", b"1");
        b.add(b"x", b"2");
        assert_ne!(a, b);
        assert_ne!(hash(b"ab", b"c"), hash(b"a", b"bc"));
    }

    #[test]
    fn a_summary_comes_back_as_it_was() {
        let content = Content {
            commits: 7,
            records: u64::MAX,
            digest: u128::MAX - 3,
        };
        assert_eq!(Content::decode(&content.encode()), Some(content));
        assert_eq!(Content::decode(&content.encode()[1..]), None);
        assert_eq!(Content::decode(&[0; 33]), None);
    }
}
