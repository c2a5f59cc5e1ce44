//! Two files that together never grow beyond twice a limit: `log`, and `log.1`, which it becomes when full.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

pub(super) struct Ring {
    path: PathBuf,
    older: PathBuf,
    file: File,
    length: u64,
    limit: u64,
    ends_a_line: bool,
}

impl Ring {
    /// Opens or makes the files in `dir`, each of at most `limit` bytes.
    pub(super) fn open(dir: &Path, limit: u64) -> io::Result<Self> {
        let path = dir.join("log");
        let file = append_to(&path)?;
        let length = file.metadata()?.len();
        let older = dir.join("log.1");
        Ok(Self {
            path,
            older,
            file,
            length,
            limit: limit.max(1),
            ends_a_line: true,
        })
    }

    /// Whether the next byte begins a line, as far as this run knows.
    pub(super) fn ends_a_line(&self) -> bool {
        self.ends_a_line
    }

    /// Adds bytes at the end. Words the disk does not take are lost: a log must not stop a grain.
    pub(super) fn append(&mut self, bytes: &[u8]) {
        if let Some(last) = bytes.last() {
            self.ends_a_line = *last == b'\n';
        }
        let most = usize::try_from(self.limit).unwrap_or(usize::MAX);
        for piece in bytes.chunks(most) {
            if self.length + piece.len() as u64 > self.limit {
                self.turn();
            }
            if self.length + piece.len() as u64 <= self.limit && self.file.write_all(piece).is_ok() {
                self.length += piece.len() as u64;
            } else {
                // What was written of the piece counts too.
                self.length = self.file.metadata().map_or(self.limit, |data| data.len());
            }
        }
    }

    /// The last `count` bytes, at most.
    pub(super) fn tail(&self, count: u64) -> Vec<u8> {
        let newer = count.min(self.length);
        let mut bytes = Vec::new();
        if count > newer {
            read_tail(&self.older, count - newer, self.limit, &mut bytes);
        }
        read_tail(&self.path, newer, self.limit, &mut bytes);
        bytes
    }

    fn turn(&mut self) {
        let turned = std::fs::rename(&self.path, &self.older).and_then(|()| append_to(&self.path));
        match turned {
            Ok(file) => {
                self.file = file;
                self.length = 0;
            }
            // The disk may be full of other things: start over in place rather than grow.
            Err(_) => {
                if self.file.set_len(0).is_ok() {
                    self.length = 0;
                }
            }
        }
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    let nofollow = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
    OpenOptions::new()
        .create(true)
        .append(true)
        .read(true)
        .mode(0o600)
        .custom_flags(nofollow)
        .open(path)
}

fn read_tail(path: &Path, count: u64, limit: u64, bytes: &mut Vec<u8>) {
    // A file that is not there, or cannot be read, has nothing to replay.
    let Ok(mut file) = File::open(path) else { return };
    let Ok(length) = file.metadata().map(|data| data.len()) else {
        return;
    };
    if file.seek(SeekFrom::Start(length.saturating_sub(count))).is_ok() {
        let _rest = file.take(count.min(limit)).read_to_end(bytes);
    }
}
