//! The store's folder: its format mark, its lock, and making its entries durable.
//!
//! ```text
//! <store>/format          what this is, and in which format
//! <store>/head            the high-water mark (see `head`)
//! <store>/sled/           the engine's own files
//! <store>/probe           while a disk that failed is tried (see `retry`); rubbish after a crash
//! <store>.lock            held while the store is open; beside the folder, since recovery replaces the folder
//! <store>.building        a store on its way; rubbish after a crash
//! <store>.damaged-<n>     what recovery replaced
//! ```

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Format of everything in the folder, raised when an older Percloud must not touch it.
pub(crate) const FORMAT: u32 = 1;

const FORMAT_FILE: &str = "format";
const FORMAT_MARK: &str = "percloud-store ";

/// What is in the place of the store.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Nothing, or an empty folder.
    Nothing,
    /// A store of this format.
    Store(u32),
    /// Something else.
    Other,
}

/// The engine's folder in the store `dir`.
pub(crate) fn engine(dir: &Path) -> PathBuf {
    dir.join("sled")
}

/// The high-water mark of the store `dir`.
pub(crate) fn head(dir: &Path) -> PathBuf {
    dir.join("head")
}

/// What is written to try the disk of the store `dir`; in it, for its folder may be a link to another disk.
pub(crate) fn probe(dir: &Path) -> PathBuf {
    dir.join("probe")
}

/// A path beside `dir`, its name extended by `suffix`.
pub(crate) fn beside(dir: &Path, suffix: &str) -> PathBuf {
    let mut name = dir.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    dir.with_file_name(name)
}

/// Looks at what is in the place of the store.
pub(crate) fn look(dir: &Path) -> io::Result<Found> {
    let mut entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Ok(Found::Other),
        Err(error) => return Err(error),
    };
    if entries.next().transpose()?.is_none() {
        return Ok(Found::Nothing);
    }
    let mut mark = String::new();
    match File::open(dir.join(FORMAT_FILE)) {
        Ok(file) => match file.take(64).read_to_string(&mut mark) {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => return Ok(Found::Other),
            read => read?,
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Other),
        Err(error) => return Err(error),
    };
    let format = mark
        .strip_prefix(FORMAT_MARK)
        .and_then(|rest| rest.trim_end().parse().ok());
    Ok(format.map_or(Found::Other, Found::Store))
}

/// Makes a folder for a store, with its mark.
pub(crate) fn create(dir: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(dir)?;
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(dir.join(FORMAT_FILE))?;
    writeln!(file, "{FORMAT_MARK}{FORMAT}")
}

/// Takes the lock of the store `dir`; `None` if another process, or another store of this one, has it. Released when the
/// file is closed, also by a crash.
pub(crate) fn lock(dir: &Path) -> io::Result<Option<File>> {
    let path = beside(dir, ".lock");
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Whether a process has the store `dir` open. Makes no file; where none has it open its lock is held for a moment, shared.
///
/// # Errors
///
/// When the lock cannot be looked at.
pub fn in_use(dir: &Path) -> io::Result<bool> {
    let file = match File::open(beside(dir, ".lock")) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(false),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// Moves a damaged store aside and returns where it is now.
pub(crate) fn set_aside(dir: &Path) -> io::Result<PathBuf> {
    let mut number = 1_u32;
    loop {
        let aside = beside(dir, &format!(".damaged-{number}"));
        if !aside.try_exists()? {
            fs::rename(dir, &aside)?;
            sync_parent(dir)?;
            return Ok(aside);
        }
        number += 1;
    }
}

/// The first damaged copy that was set aside, if any.
pub(crate) fn any_set_aside(dir: &Path) -> Option<PathBuf> {
    let aside = beside(dir, ".damaged-1");
    aside.exists().then_some(aside)
}

/// Makes the content of a file, or the entries of a folder, durable.
pub(crate) fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Makes the entry of `path` in its folder durable.
pub(crate) fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync(parent),
        _ => sync(Path::new(".")),
    }
}

/// All files in a store's folder, and all folders from itself downwards.
pub(crate) fn tree(dir: &Path) -> io::Result<(Vec<PathBuf>, Vec<PathBuf>)> {
    let mut files = Vec::new();
    let mut folders = vec![dir.to_owned()];
    let mut next = 0;
    while let Some(folder) = folders.get(next) {
        next += 1;
        for entry in fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()? {
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else {
                files.push(entry.path());
            }
        }
    }
    Ok((files, folders))
}

/// Makes everything in a store's folder durable: files, folders, entries.
pub(crate) fn sync_tree(dir: &Path) -> io::Result<()> {
    let (files, folders) = tree(dir)?;
    files.iter().chain(&folders).try_for_each(|path| sync(path))
}

/// Bytes that an ordinary user may still write to the file system of `dir`.
pub(crate) fn room(dir: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(dir)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_tells_what_it_is() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("store");
        assert_eq!(look(&dir).unwrap(), Found::Nothing);
        fs::create_dir(&dir).unwrap();
        assert_eq!(look(&dir).unwrap(), Found::Nothing);
        fs::write(dir.join("letter.txt"), "hello").unwrap();
        assert_eq!(look(&dir).unwrap(), Found::Other);
        for (mark, found) in [
            (&b"percloud-store 1\n"[..], Found::Store(1)),
            (b"percloud-store 99\n", Found::Store(99)),
            (b"percloud-store", Found::Other),
            (b"\xff\xfe", Found::Other),
            (b"", Found::Other),
        ] {
            fs::write(dir.join("format"), mark).unwrap();
            assert_eq!(look(&dir).unwrap(), found, "{mark:?}");
        }
        assert_eq!(look(&dir.join("format")).unwrap(), Found::Other);
    }

    #[test]
    fn a_lock_is_held_by_one() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("store");
        assert!(!in_use(&dir).unwrap());
        assert!(!beside(&dir, ".lock").exists(), "asking makes no file");
        let held = lock(&dir).unwrap();
        assert!(held.is_some());
        assert!(in_use(&dir).unwrap());
        assert!(lock(&dir).unwrap().is_none());
        drop(held);
        assert!(!in_use(&dir).unwrap());
        assert!(lock(&dir).unwrap().is_some());
    }

    #[test]
    fn damaged_copies_never_replace_each_other() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("store");
        for number in 1..=3 {
            fs::create_dir(&dir).unwrap();
            fs::write(dir.join("n"), number.to_string()).unwrap();
            let aside = set_aside(&dir).unwrap();
            assert_eq!(aside, temp.path().join(format!("store.damaged-{number}")));
        }
        assert_eq!(
            fs::read_to_string(temp.path().join("store.damaged-1/n")).unwrap(),
            "1"
        );
        assert!(any_set_aside(&dir).is_some());
    }
}
