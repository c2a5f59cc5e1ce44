//! Writes a grain's backup.
//!
//! The storage belongs to an app, which may be hostile and, where it could not be stopped, still at work: each name is
//! opened below its folder without following links, what it turns out to be is asked of the open file, and what vanished
//! meanwhile is left out. A file is written up to the size it had when it was opened.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::error::{BackupError, Refusal, printable};
use crate::info::GrainInfo;
use crate::limits::Limits;
use crate::name::{DATA, LOG, METADATA};
use crate::restore::STORAGE;
use crate::zip::{Failed, Meta, TYPE_FILE, TYPE_LINK, Writer};

/// Most names told of what was left out.
const TOLD: usize = 50;
/// Permissions an archive keeps. The set-id and sticky bits above them are not for a grain to have.
const PERMISSIONS: u32 = 0o777;
const ABOVE_PERMISSIONS: u32 = 0o7000;

/// What a backup came to hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Packed {
    /// Entries of the archive.
    pub entries: u64,
    /// Bytes of the files and links in it, uncompressed.
    pub bytes: u64,
    /// What is not in it, up to fifty.
    pub skipped: Vec<Skipped>,
    /// How many are not in it.
    pub skipped_count: u64,
}

/// Something that is not in a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Skipped {
    /// Its name in the archive, fit to be shown.
    pub name: String,
    /// Why.
    pub why: Why,
}

/// Why something is not in a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// The app took its own right to read it, so that we cannot either.
    Unreadable,
    /// A socket, a pipe, a device.
    Special,
    /// Its name contains a line break (sheet 6.7).
    Name,
}

/// Writes the backup of the grain in folder `grain` to `out`: its storage `sandbox/`, its `log` and `info`.
///
/// `progress` hears how many bytes of files were read, and may stop the work. After an error `out` holds no archive.
///
/// # Errors
/// When the grain exceeds `limits`, or the system refuses to read or write.
pub fn pack<W: Write>(
    grain: &Path,
    info: &GrainInfo,
    limits: &Limits,
    out: W,
    progress: &mut dyn FnMut(u64) -> io::Result<()>,
) -> Result<Packed, BackupError> {
    let storage = open_folder(CWD, grain.join(STORAGE).as_path())
        .map_err(|errno| BackupError::system("open the grain's storage", errno))?;
    let metadata = info.encode();
    if metadata.len() as u64 > crate::info::SIZE {
        return Err(Refusal::Metadata("it is too long".to_owned()).at(METADATA));
    }
    let mut packing = Packing {
        zip: Writer::new(out),
        limits,
        progress,
        packed: Packed {
            entries: 0,
            bytes: 0,
            skipped: Vec::new(),
            skipped_count: 0,
        },
        path: Vec::new(),
        found: 0,
    };
    let modified = rustix::fs::fstat(&storage).map_or(0, |stat| stat.st_mtime);
    let plain = Meta {
        mode: TYPE_FILE | 0o644,
        modified,
    };
    packing.zip.add(METADATA, plain, &metadata).map_err(writing)?;
    packing.folder(storage)?;
    packing.log(grain)?;
    let mut packed = packing.packed;
    packed.entries = packing.zip.entries();
    packing.zip.finish().map_err(writing)?;
    Ok(packed)
}

struct Packing<'a, W> {
    zip: Writer<W>,
    limits: &'a Limits,
    progress: &'a mut dyn FnMut(u64) -> io::Result<()>,
    packed: Packed,
    /// Name in the archive of what is being written.
    path: Vec<u8>,
    /// Names found so far, written or not.
    found: u64,
}

/// A folder on the way down.
struct Level {
    folder: OwnedFd,
    names: std::vec::IntoIter<CString>,
    /// Length of its own name in [`Packing::path`], with the slash.
    length: usize,
}

impl<W: Write> Packing<'_, W> {
    /// Writes the storage: every folder before what is in it, names in order, without recursion.
    fn folder(&mut self, storage: OwnedFd) -> Result<(), BackupError> {
        self.path = DATA.to_vec();
        let mut levels = Vec::new();
        levels.extend(self.enter(storage)?);
        while !levels.is_empty() {
            let depth = levels.len();
            let level: &mut Level = levels.last_mut().expect("there is one");
            self.path.truncate(level.length);
            let Some(name) = level.names.next() else {
                levels.pop();
                continue;
            };
            self.path.extend_from_slice(name.to_bytes());
            if depth > self.limits.depth {
                return Err(Refusal::Depth(self.limits.depth).at(&self.path));
            }
            if let Some(folder) = self.entry(&level.folder, &name)? {
                levels.extend(self.enter(folder)?);
            }
        }
        Ok(())
    }

    /// Writes the entry of the folder at `path`, and lists it; `None` when it is gone or closed.
    fn enter(&mut self, folder: OwnedFd) -> Result<Option<Level>, BackupError> {
        let listed = rustix::fs::fstat(&folder).and_then(|stat| Ok((stat, self.list(&folder)?)));
        let Some((stat, names)) = self.unless_gone(listed, "list")? else {
            return Ok(None);
        };
        self.path.push(b'/');
        let meta = meta(&stat, stat.st_mode & !ABOVE_PERMISSIONS);
        self.count(names.len())?;
        self.zip.add(&self.path, meta, b"").map_err(writing)?;
        Ok(Some(Level {
            folder,
            names: names.into_iter(),
            length: self.path.len(),
        }))
    }

    /// Names in order, each once even if the folder changed while it was read. No more than may be written.
    fn list(&self, folder: &OwnedFd) -> Result<Vec<CString>, Errno> {
        let room = self.limits.entries.saturating_sub(self.found);
        let mut names = Vec::new();
        for entry in Dir::read_from(folder)? {
            let name = entry?.file_name().to_owned();
            if !matches!(name.to_bytes(), b"." | b"..") {
                names.push(name);
            }
            if names.len() as u64 > room {
                break;
            }
        }
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    fn count(&mut self, names: usize) -> Result<(), BackupError> {
        self.found += names as u64;
        // Beside them: metadata, the root and the log.
        if self.found + 3 > self.limits.entries {
            return Err(Refusal::Entries(self.limits.entries).whole());
        }
        Ok(())
    }

    /// Writes what `name` in `parent` is, or returns it when it is a folder.
    fn entry(&mut self, parent: &OwnedFd, name: &CString) -> Result<Option<OwnedFd>, BackupError> {
        if name.to_bytes().contains(&b'\n') {
            self.skip(Why::Name);
            return Ok(None);
        }
        // One more for a folder's slash; the format itself has 16 bits for the length.
        if self.path.len() >= self.limits.name.min(usize::from(u16::MAX)) {
            return Err(Refusal::Name("is too long").at(&self.path));
        }
        let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW);
        let Some(stat) = self.unless_gone(stat, "look at")? else {
            return Ok(None);
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                let opened = open_folder(parent, name.as_c_str());
                self.unless_gone(opened, "open")
            }
            FileType::RegularFile => {
                let opened = open_file(parent, name.as_c_str());
                let opened = self.unless_gone(opened, "open")?;
                opened.map_or(Ok(()), |file| self.file(file)).map(|()| None)
            }
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(parent, name, Vec::new());
                if let Some(target) = self.unless_gone(target, "read the link")? {
                    self.room_for(target.to_bytes().len() as u64)?;
                    self.packed.bytes += target.to_bytes().len() as u64;
                    let meta = meta(&stat, TYPE_LINK | PERMISSIONS);
                    self.zip
                        .add(&self.path, meta, target.to_bytes())
                        .map_err(writing)?;
                }
                Ok(None)
            }
            _ => {
                self.skip(Why::Special);
                Ok(None)
            }
        }
    }

    fn file(&mut self, file: OwnedFd) -> Result<(), BackupError> {
        let stat = rustix::fs::fstat(&file)
            .map_err(|errno| BackupError::system(format!("look at {}", self.shown()), errno))?;
        if !FileType::from_raw_mode(stat.st_mode).is_file() {
            self.skip(Why::Special);
            return Ok(());
        }
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        self.room_for(size)?;
        let meta = meta(&stat, TYPE_FILE | stat.st_mode & PERMISSIONS);
        let before = self.packed.bytes;
        let mut done = before;
        let progress = &mut *self.progress;
        let mut advance = |bytes| {
            done += bytes;
            progress(done)
        };
        if size == 0 {
            return self.zip.add(&self.path, meta, b"").map_err(writing);
        }
        let written = self
            .zip
            .add_file(&self.path, meta, size, File::from(file), &mut advance);
        self.packed.bytes = before
            + written.map_err(|failed| match failed {
                Failed::Read(error) => BackupError::system(format!("read {}", self.shown()), error),
                Failed::Write(error) => writing(error),
            })?;
        Ok(())
    }

    fn room_for(&self, size: u64) -> Result<(), BackupError> {
        if self.packed.bytes.saturating_add(size) > self.limits.bytes {
            return Err(Refusal::Bytes(self.limits.bytes).at(&self.path));
        }
        Ok(())
    }

    /// Writes the log, if the grain ever had one.
    fn log(&mut self, grain: &Path) -> Result<(), BackupError> {
        self.path = LOG.to_vec();
        let opened = open_file(CWD, grain.join("log").as_path());
        match self.unless_gone(opened, "open")? {
            Some(file) => self.file(file),
            None => Ok(()),
        }
    }

    /// Leaves out what is gone, has become something else, or may not be read.
    fn unless_gone<T>(&mut self, result: Result<T, Errno>, action: &str) -> Result<Option<T>, BackupError> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::INVAL) => Ok(None),
            Err(Errno::ACCESS | Errno::PERM) => {
                self.skip(Why::Unreadable);
                Ok(None)
            }
            // What open says of a socket, and of a device nobody drives.
            Err(Errno::NXIO | Errno::NODEV) => {
                self.skip(Why::Special);
                Ok(None)
            }
            Err(errno) => Err(BackupError::system(format!("{action} {}", self.shown()), errno)),
        }
    }

    fn skip(&mut self, why: Why) {
        self.packed.skipped_count += 1;
        if self.packed.skipped.len() < TOLD {
            self.packed.skipped.push(Skipped {
                name: printable(&self.path),
                why,
            });
        }
    }

    fn shown(&self) -> String {
        format!("\"{}\"", printable(&self.path))
    }
}

fn meta(stat: &Stat, mode: u32) -> Meta {
    Meta {
        mode,
        modified: stat.st_mtime,
    }
}

fn open_folder(at: impl AsFd, name: impl rustix::path::Arg) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(at, name, flags, Mode::empty())
}

/// Opens what was a file a moment ago; a pipe in its place would keep us waiting.
fn open_file(at: impl AsFd, name: impl rustix::path::Arg) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    rustix::fs::openat(at, name, flags, Mode::empty())
}

fn writing(error: io::Error) -> BackupError {
    BackupError::system("write the backup", error)
}
