//! After a write failed: whether it is worth opening the store anew. And what is done before any store is opened.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Advice, fadvise};
use sha2::{Digest, Sha256};

use crate::folder::{self, FORMAT, Found};
use crate::writer::RESERVE;

/// Bytes that are written at a time.
const PIECE: usize = 64 * 1024;

/// Sees that the store `dir` is in its place, that its disk takes as much as the engine may write at once and has `reserve`
/// bytes left then, and that all of the store can be read.
///
/// # Errors
///
/// What is in the way.
pub(crate) fn try_disk(dir: &Path, reserve: u64) -> io::Result<()> {
    // Where a disk is missing there is nothing, or an empty folder.
    if folder::look(dir)? != Found::Store(FORMAT) {
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            "the store is not in its place",
        ));
    }
    if folder::room(dir)? < reserve.saturating_add(RESERVE) {
        return Err(io::ErrorKind::StorageFull.into());
    }
    let probe = folder::probe(dir);
    let written = write(&probe);
    let removed = remove_probe(dir);
    written.and(removed)?;
    read_anew(dir).map_err(|(file, error)| {
        let said = format!("cannot read {}: {error}", file.display());
        io::Error::new(error.kind(), said)
    })
}

/// Removes what a trial left that was cut short.
pub(crate) fn remove_probe(dir: &Path) -> io::Result<()> {
    match fs::remove_file(folder::probe(dir)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Writes what no file system keeps in less room: what a quota or a thin volume grants shows only then.
fn write(path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    let mut piece = Vec::with_capacity(PIECE);
    let mut block = Sha256::digest("percloud");
    for _ in 0..RESERVE / PIECE as u64 {
        piece.clear();
        while piece.len() < PIECE {
            block = Sha256::digest(block);
            piece.extend_from_slice(&block);
        }
        file.write_all(&piece)?;
    }
    file.sync_all()?;
    folder::sync_parent(path)
}

/// Reads all of a store from its disk.
///
/// After a sync that failed the kernel takes what it could not write for written (fsync(2), "ERRORS"), and shows it to
/// whoever reads the file until it needs the memory; new commits behind such a hole would be lost with it. So the kernel is
/// told to forget the files first. And the engine takes what it cannot read for the end of its log, which it then clears: so
/// whatever cannot be read must be met before it is opened.
///
/// # Errors
///
/// Which file, or folder, cannot be read, and what the disk says.
pub(crate) fn read_anew(dir: &Path) -> Result<(), (PathBuf, io::Error)> {
    let files = files(dir).map_err(|error| (dir.to_owned(), error))?;
    let read = |file: &PathBuf| {
        forget(file)?;
        io::copy(&mut File::open(file)?, &mut io::sink())
    };
    files.iter().try_for_each(|file| match read(file) {
        Ok(_) => Ok(()),
        Err(error) => Err((file.clone(), error)),
    })
}

/// The files of a store: its own and the engine's. What else may lie in its folder is not looked at.
fn files(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let engine = folder::engine(dir);
    let mut files = match fs::exists(&engine)? {
        true => folder::tree(&engine)?.0,
        false => Vec::new(),
    };
    files.push(folder::head(dir));
    files.retain(|file| fs::symlink_metadata(file).is_ok_and(|found| found.is_file()));
    Ok(files)
}

fn forget(file: &Path) -> io::Result<()> {
    Ok(fadvise(File::open(file)?, 0, None, Advice::DontNeed)?)
}

#[cfg(test)]
mod tests {
    use std::io::IoSliceMut;

    use rustix::io::{Errno, ReadWriteFlags, preadv2};

    use super::*;

    fn store() -> (tempfile::TempDir, PathBuf) {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("store");
        folder::create(&dir).unwrap();
        fs::create_dir(folder::engine(&dir)).unwrap();
        fs::write(folder::engine(&dir).join("db"), [7; 1 << 20]).unwrap();
        (temp, dir)
    }

    #[test]
    fn a_disk_that_takes_writes_passes_and_keeps_nothing_of_it() {
        let (_temp, dir) = store();
        let before = folder::tree(&dir).unwrap();
        try_disk(&dir, 1).unwrap();
        assert_eq!(folder::tree(&dir).unwrap(), before);
    }

    #[test]
    fn what_is_in_the_way_is_said() {
        let (_temp, dir) = store();
        let full = try_disk(&dir, u64::MAX).unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
        // Nobody can write there, not even root.
        fs::create_dir(folder::probe(&dir)).unwrap();
        assert!(try_disk(&dir, 1).is_err());
    }

    #[test]
    fn what_is_in_the_place_of_the_store_is_not_the_store() {
        let (_temp, dir) = store();
        let away = dir.with_extension("away");
        fs::rename(&dir, &away).unwrap();
        assert!(try_disk(&dir, 1).is_err(), "there is nothing");
        fs::create_dir(&dir).unwrap();
        assert!(try_disk(&dir, 1).is_err(), "there is an empty folder");
        fs::remove_dir(&dir).unwrap();
        fs::rename(&away, &dir).unwrap();
        try_disk(&dir, 1).unwrap();
    }

    #[test]
    fn what_else_lies_there_is_in_nobodys_way() {
        let (_temp, dir) = store();
        fs::create_dir(dir.join("lost+found")).unwrap();
        for place in [dir.join("link"), folder::engine(&dir).join("link")] {
            std::os::unix::fs::symlink("nowhere", place).unwrap();
        }
        try_disk(&dir, 1).unwrap();
    }

    /// Whether the start of a file is in memory; `None` where its file system does not say (preadv2(2), `RWF_NOWAIT`).
    fn is_remembered(path: &Path) -> Option<bool> {
        let mut byte = [0];
        let read = preadv2(
            File::open(path).unwrap(),
            &mut [IoSliceMut::new(&mut byte)],
            0,
            ReadWriteFlags::NOWAIT,
        );
        match read {
            Ok(_) => Some(true),
            Err(Errno::AGAIN) => Some(false),
            Err(Errno::OPNOTSUPP) => None,
            Err(errno) => panic!("{errno}"),
        }
    }

    #[test]
    fn what_is_not_on_the_disk_is_not_read_from_memory() {
        let (_temp, dir) = store();
        let log = folder::engine(&dir).join("db");
        folder::sync(&log).unwrap();
        // tmpfs and ramfs are memory themselves.
        let is_disk = !matches!(
            rustix::fs::statfs(&dir).unwrap().f_type,
            0x0102_1994 | 0x8584_58f6
        );
        // Asking has the kernel read ahead, which a fast disk may have done before the answer: once in many is enough.
        let is_forgotten = || {
            forget(&log).unwrap();
            is_remembered(&log) != Some(true)
        };
        assert!(!is_disk || (0..100).any(|_| is_forgotten()));
        read_anew(&dir).unwrap();
        assert_ne!(is_remembered(&log), Some(false));
    }
}
