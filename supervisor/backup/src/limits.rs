//! How much a backup may hold.

use serde::{Deserialize, Serialize};

/// Upper bounds of one backup. What exceeds them is neither written nor read, so that whatever was written can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Bytes of all files together, uncompressed.
    pub bytes: u64,
    /// Entries of the archive: files, links and folders. Memory grows with them, by some 200 bytes each.
    pub entries: u64,
    /// Folders inside one another, `data` included.
    pub depth: usize,
    /// Length of an entry's whole name, in bytes.
    pub name: usize,
    /// Bytes that may come out of each byte of the archive, past the first mebibyte. Deflate cannot do better than
    /// 1032, and does so for a database's preallocated zeros; more means that entries share their bytes.
    pub ratio: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes: 64 << 30,
            entries: 1_000_000,
            depth: 128,
            name: 4096,
            ratio: 1100,
        }
    }
}
