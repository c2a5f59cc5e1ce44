//! After a write failed: whether it is worth opening the store anew.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{Advice, fadvise};

use crate::folder::{self, FORMAT, Found};
use crate::writer::RESERVE;

/// Bytes that are written at a time.
const PIECE: usize = 64 * 1024;

/// Sees that the store `dir` is in its place, that its disk has `reserve` bytes left and takes as much as the engine may
/// write at once, and that all of the store can be read.
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
    if folder::room(dir)? < reserve {
        return Err(io::ErrorKind::StorageFull.into());
    }
    let probe = folder::probe(dir);
    let written = write(&probe);
    let removed = remove(dir);
    written.and(removed)?;
    forget(dir)?;
    let (files, _) = folder::tree(dir)?;
    files.iter().try_for_each(|file| {
        io::copy(&mut File::open(file)?, &mut io::sink())?;
        Ok(())
    })
}

/// Removes what a trial left that was cut short.
pub(crate) fn remove(dir: &Path) -> io::Result<()> {
    match fs::remove_file(folder::probe(dir)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// What a file system grants beyond its quota or promise shows only when it is written.
fn write(path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    for _ in 0..RESERVE / PIECE as u64 {
        file.write_all(&[0xa5; PIECE])?;
    }
    file.sync_all()?;
    folder::sync_parent(path)
}

/// Has the kernel forget what it remembers of the store's files. After a sync that failed it takes what it could not write
/// for written (fsync(2), "ERRORS"), and shows it to whoever reads the file until it needs the memory; but who opens the
/// store must see what is on the disk, lest new commits follow a hole.
pub(crate) fn forget(dir: &Path) -> io::Result<()> {
    let (files, _) = folder::tree(dir)?;
    files
        .iter()
        .try_for_each(|file| Ok(fadvise(File::open(file)?, 0, None, Advice::DontNeed)?))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::process::Command;

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
        assert_eq!(
            fs::read(folder::engine(&dir).join("db")).unwrap(),
            vec![7; 1 << 20]
        );
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
    fn a_store_that_cannot_be_read_is_not_opened_anew() {
        let (_temp, dir) = store();
        std::os::unix::fs::symlink("nowhere", folder::engine(&dir).join("snap")).unwrap();
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

    /// How much of a file is in memory, in bytes (fincore(1) of util-linux).
    #[allow(
        clippy::disallowed_methods,
        reason = "asking the kernel itself takes code that is unsafe"
    )]
    fn remembered(path: &Path) -> u64 {
        let asked = Command::new("fincore")
            .args(["--bytes", "--noheadings", "--output", "RES"])
            .arg(path)
            .output()
            .unwrap();
        let said = String::from_utf8(asked.stdout).unwrap();
        said.trim().parse().unwrap_or_else(|_| panic!("{said}"))
    }

    #[test]
    fn what_is_not_on_the_disk_is_not_read_from_memory() {
        let (_temp, dir) = store();
        let log = folder::engine(&dir).join("db");
        folder::sync(&log).unwrap();
        let before = remembered(&log);
        forget(&dir).unwrap();
        // A file system that lies in memory cannot forget.
        let is_disk = !matches!(
            rustix::fs::statfs(&dir).unwrap().f_type,
            0x0102_1994 | 0x8584_58f6
        );
        if is_disk {
            assert_eq!((before, remembered(&log)), (1 << 20, 0));
        }
    }
}
