//! After a write failed: whether the disk takes writes again, so that it is worth opening the store anew.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{Advice, fadvise};

use crate::folder;

/// Bytes written to try the disk: more than a file system keeps beside a file's own entry.
const PROBE: usize = 64 * 1024;

/// A folder on a disk: another one of the same name is not it, as where a disk is missing for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity(u64, u64);

impl Identity {
    pub(crate) fn of(dir: &Path) -> io::Result<Self> {
        let found = fs::metadata(dir)?;
        Ok(Self(found.dev(), found.ino()))
    }
}

/// Sees that the store `dir` is where it was and its disk takes a write and a sync, with `reserve` bytes left; then has the
/// kernel forget what it remembers of the store's files.
///
/// # Errors
///
/// What is in the way.
pub(crate) fn try_disk(dir: &Path, identity: Identity, reserve: u64) -> io::Result<()> {
    if Identity::of(dir)? != identity {
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            "another folder is in the place of the store",
        ));
    }
    if folder::room(dir)? < reserve {
        return Err(io::ErrorKind::StorageFull.into());
    }
    let probe = folder::probe(dir);
    let written = write(&probe);
    let removed = fs::remove_file(&probe);
    written.and(removed)?;
    forget(dir)
}

fn write(path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(&[0xa5; PROBE])?;
    file.sync_all()
}

/// After a sync that failed the kernel takes what it could not write for written (fsync(2), "ERRORS"), and shows it to
/// whoever reads the file until it needs the memory. Who opens the store next is to see what is on the disk.
fn forget(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder::engine(dir))? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            fadvise(File::open(entry.path())?, 0, None, Advice::DontNeed)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, std::path::PathBuf, Identity) {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("store");
        fs::create_dir_all(folder::engine(&dir)).unwrap();
        let identity = Identity::of(&dir).unwrap();
        (temp, dir, identity)
    }

    #[test]
    fn a_disk_that_takes_writes_passes_and_keeps_nothing_of_it() {
        let (_temp, dir, identity) = store();
        fs::write(folder::engine(&dir).join("db"), "content").unwrap();
        try_disk(&dir, identity, 1).unwrap();
        let left: Vec<_> = fs::read_dir(&dir).unwrap().collect();
        assert_eq!(left.len(), 1, "{left:?}");
        assert_eq!(fs::read(folder::engine(&dir).join("db")).unwrap(), b"content");
    }

    #[test]
    fn what_is_in_the_way_is_said() {
        let (_temp, dir, identity) = store();
        let full = try_disk(&dir, identity, u64::MAX).unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
        // Nobody can write there, not even root.
        fs::create_dir(folder::probe(&dir)).unwrap();
        assert!(try_disk(&dir, identity, 1).is_err());
    }

    #[test]
    fn another_folder_in_its_place_is_not_the_store() {
        let (_temp, dir, identity) = store();
        let away = dir.with_extension("away");
        fs::rename(&dir, &away).unwrap();
        assert!(try_disk(&dir, identity, 1).is_err(), "there is none");
        fs::create_dir_all(folder::engine(&dir)).unwrap();
        assert!(try_disk(&dir, identity, 1).is_err(), "there is another");
        fs::remove_dir_all(&dir).unwrap();
        fs::rename(&away, &dir).unwrap();
        try_disk(&dir, identity, 1).unwrap();
    }
}
