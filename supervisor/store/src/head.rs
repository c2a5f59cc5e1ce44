//! The high-water mark: how many commits this store has acknowledged, kept outside the engine.
//!
//! The engine takes a torn end of its log for the end of its log. After a clean stop that hides damage: cut the log short,
//! and it opens happily in last week's state. So each acknowledged commit is also counted here, *after* it is durable and
//! without a sync of its own. The mark may lag behind the store (a crash of the machine), but is never ahead of it; a store
//! behind its mark has lost its tail.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use sha2::{Digest, Sha256};

const ENCODED: usize = 16;

/// The open mark of one store.
pub(crate) struct Head {
    file: File,
}

impl Head {
    /// Opens the mark, making it if it is missing; returns what it says, `None` if it says nothing readable.
    pub(crate) fn open(path: &Path) -> io::Result<(Self, Option<u64>)> {
        let mut options = OpenOptions::new();
        let file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)?;
        let mut bytes = [0; ENCODED];
        let said = match file.read_exact_at(&mut bytes, 0) {
            Ok(()) => decode(&bytes),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => None,
            Err(error) => return Err(error),
        };
        Ok((Self { file }, said))
    }

    /// Counts `commits` as acknowledged.
    pub(crate) fn set(&self, commits: u64) -> io::Result<()> {
        self.file.write_all_at(&encode(commits), 0)
    }
}

fn encode(commits: u64) -> [u8; ENCODED] {
    let mut bytes = [0; ENCODED];
    bytes[..8].copy_from_slice(&commits.to_le_bytes());
    bytes[8..].copy_from_slice(&check(commits));
    bytes
}

fn decode(bytes: &[u8; ENCODED]) -> Option<u64> {
    let commits = u64::from_le_bytes(*bytes.first_chunk()?);
    (check(commits) == bytes[8..]).then_some(commits)
}

fn check(commits: u64) -> [u8; 8] {
    let hash = Sha256::digest(commits.to_le_bytes());
    *hash.as_slice().first_chunk().expect("32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_kept_and_a_torn_one_says_nothing() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("head");
        let (head, said) = Head::open(&path).unwrap();
        assert_eq!(said, None);
        head.set(41).unwrap();
        head.set(42).unwrap();
        assert_eq!(Head::open(&path).unwrap().1, Some(42));
        head.file.write_all_at(&[9], 3).unwrap();
        assert_eq!(Head::open(&path).unwrap().1, None);
    }
}
