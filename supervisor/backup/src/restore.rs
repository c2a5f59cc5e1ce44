//! Checks an uploaded backup and unpacks it into an empty folder.
//!
//! The whole directory is checked before the first file is made. Every entry is then created by its single name below
//! the open folder it belongs to, with exclusive creation and without following links: no path is ever resolved, so
//! nothing outside the folder can be touched, whatever the archive says.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, Timespec, Timestamps};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::error::{BackupError, Refusal, printable};
use crate::info::{self, GrainInfo};
use crate::limits::Limits;
use crate::name::{METADATA, Place, place};
use crate::zip::{Archive, Entry, Inflate, Shape};

/// Folder of a grain's storage, inside the grain's own: the app's `/var`.
pub const STORAGE: &str = "sandbox";

/// Longest target of a link on Linux.
const TARGET: u64 = 4095;
const SET_ID: u32 = 0o6000;
const PERMISSIONS: u32 = 0o777;
/// Below this size an archive may be compressed as well as it likes.
const RATIO_FREE: u64 = 1 << 20;
/// Zeros of this length, where a file system's block may begin, become a hole.
const BLOCK: usize = 4096;

/// What was restored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Restored {
    /// What the backup says of itself.
    pub info: GrainInfo,
    /// Files, links and folders in the storage.
    pub entries: u64,
    /// Bytes of its files.
    pub bytes: u64,
}

/// Checks the backup `zip` and unpacks it below `into`, an empty folder that the caller made for this.
///
/// Creates `into/sandbox/` with the grain's storage, owned by this process's user as every grain's is, and all on the
/// disk when this returns. `log` and whatever else the archive holds is not restored. `progress` hears how many bytes of
/// files are written of how many, and may stop the work. After an error, what was written is rubbish in `into`.
///
/// # Errors
/// Whatever is wrong with the archive, or with the disk.
pub fn restore(
    zip: File,
    into: &Path,
    limits: &Limits,
    progress: &mut dyn FnMut(u64, u64) -> io::Result<()>,
) -> Result<Restored, BackupError> {
    let archive = Archive::open(zip)?;
    let checked = check(&archive, limits)?;
    let mut inflate = Inflate::new();
    let info = read_metadata(&archive, &checked.metadata, &mut inflate)?;
    let root = create_storage(into).map_err(|errno| BackupError::system("create the storage", errno))?;
    let mut restoring = Restoring {
        limits,
        archive: &archive,
        inflate,
        root,
        open: Vec::new(),
        folders: HashMap::new(),
        done: 0,
        total: checked.bytes,
        progress,
    };
    let mut entries = 0;
    for entry in archive.entries() {
        let entry = entry?;
        // Checked above; the file is ours, but this is read from it a second time.
        let placed = place(&entry.name, limits).map_err(|reason| reason.at(&entry.name))?;
        if let Place::Storage(path) = placed {
            restoring.entry(&entry, path)?;
            entries += 1;
        }
    }
    restoring.settle_folders()?;
    let bytes = restoring.done;
    rustix::fs::syncfs(&restoring.root)
        .map_err(|errno| BackupError::system("wait for the files to reach the disk", errno))?;
    Ok(Restored { info, entries, bytes })
}

struct Checked {
    metadata: Entry,
    bytes: u64,
}

/// Reads the whole directory and refuses what must not be unpacked.
fn check(archive: &Archive, limits: &Limits) -> Result<Checked, BackupError> {
    if archive.len() > limits.entries {
        return Err(Refusal::Entries(limits.entries).whole());
    }
    let (mut metadata, mut bytes, mut occupied) = (None, 0_u64, 0_u64);
    for entry in archive.entries() {
        let entry = entry?;
        let refused = |reason: Refusal| Err(reason.at(&entry.name));
        let place = match place(&entry.name, limits) {
            Ok(place) => place,
            Err(reason) => return refused(reason),
        };
        // Entries that share their bytes can unfold to any size. Each has a place of its own in an honest archive.
        occupied = occupied.saturating_add(entry.occupies());
        if occupied > archive.room() {
            return refused(Refusal::Damaged("its entries overlap"));
        }
        if place == Place::Elsewhere {
            continue;
        }
        if place != Place::Metadata {
            bytes = bytes.saturating_add(entry.size);
        }
        if bytes > limits.bytes {
            return refused(Refusal::Bytes(limits.bytes));
        }
        match (place, entry.shape) {
            (Place::Metadata, Shape::File) if metadata.is_some() => return refused(Refusal::Duplicate),
            (Place::Metadata, Shape::File) => metadata = Some(entry),
            (Place::Metadata, _) | (Place::Storage(b""), Shape::Link | Shape::File) => {
                return refused(Refusal::Special);
            }
            (_, Shape::File) if entry.mode.is_some_and(|mode| mode & SET_ID != 0) => {
                return refused(Refusal::SetId);
            }
            (_, Shape::Link) if !(1..=TARGET).contains(&entry.size) => return refused(Refusal::Link),
            _ => {}
        }
    }
    let allowed = RATIO_FREE.max(archive.room().saturating_mul(limits.ratio));
    if bytes > allowed {
        return Err(Refusal::Ratio(limits.ratio).whole());
    }
    Ok(Checked {
        metadata: metadata.ok_or(Refusal::NoMetadata.whole())?,
        bytes,
    })
}

fn read_metadata(archive: &Archive, entry: &Entry, inflate: &mut Inflate) -> Result<GrainInfo, BackupError> {
    if entry.size > info::SIZE {
        return Err(Refusal::Metadata("it is too long".to_owned()).at(METADATA));
    }
    let mut bytes = Vec::new();
    archive.read(entry, inflate, &mut |piece| {
        bytes.extend_from_slice(piece);
        Ok(())
    })?;
    GrainInfo::decode(&bytes).map_err(|reason| reason.at(METADATA))
}

fn create_storage(into: &Path) -> Result<OwnedFd, Errno> {
    let into = open_folder(CWD, into)?;
    rustix::fs::mkdirat(&into, STORAGE, Mode::RWXU)?;
    open_folder(&into, STORAGE)
}

struct Restoring<'a> {
    limits: &'a Limits,
    archive: &'a Archive,
    inflate: Inflate,
    root: OwnedFd,
    /// The folders from the root to where the last entry went; the next is most often beside it.
    open: Vec<(Vec<u8>, OwnedFd)>,
    /// Folders with an entry of their own, which get its mode and time when all is in them.
    folders: HashMap<Vec<u8>, Settings>,
    done: u64,
    total: u64,
    progress: &'a mut dyn FnMut(u64, u64) -> io::Result<()>,
}

#[derive(Clone, Copy)]
struct Settings {
    mode: Option<u32>,
    modified: Option<i64>,
}

impl Restoring<'_> {
    fn entry(&mut self, entry: &Entry, path: &[u8]) -> Result<(), BackupError> {
        let (parent, name) = match path.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => (&path[..slash], &path[slash + 1..]),
            None => (b"".as_slice(), path),
        };
        match entry.shape {
            Shape::Folder => {
                self.enter(path).map_err(|errno| failed(errno, entry))?;
                // Set-id and sticky bits of folders are dropped: they grant nothing, and honest backups have them.
                let settings = Settings {
                    mode: entry.mode.map(|mode| mode & PERMISSIONS),
                    modified: entry.modified,
                };
                if self.folders.insert(path.to_vec(), settings).is_some() {
                    return Err(Refusal::Duplicate.at(&entry.name));
                }
                Ok(())
            }
            Shape::File => {
                self.enter(parent).map_err(|errno| failed(errno, entry))?;
                let flags =
                    OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let created = rustix::fs::openat(self.current(), name, flags, Mode::RUSR | Mode::WUSR);
                let file = File::from(created.map_err(|errno| failed(errno, entry))?);
                self.content(entry, &file)?;
                // A backup of another system says nothing of permissions.
                let mode = Mode::from_raw_mode(entry.mode.unwrap_or(0o644) & PERMISSIONS);
                rustix::fs::fchmod(&file, mode)
                    .and_then(|()| times(entry.modified, |times| rustix::fs::futimens(&file, times)))
                    .map_err(|errno| failed(errno, entry))
            }
            Shape::Link => {
                let target = self.target(entry)?;
                self.enter(parent).map_err(|errno| failed(errno, entry))?;
                let folder = self.current();
                rustix::fs::symlinkat(target.as_slice(), folder, name)
                    .and_then(|()| {
                        times(entry.modified, |times| {
                            rustix::fs::utimensat(folder, name, times, AtFlags::SYMLINK_NOFOLLOW)
                        })
                    })
                    .map_err(|errno| failed(errno, entry))
            }
        }
    }

    fn content(&mut self, entry: &Entry, file: &File) -> Result<(), BackupError> {
        let (limits, total, done) = (self.limits, self.total, &mut self.done);
        let progress = &mut *self.progress;
        let mut position = 0;
        let writing = |error| BackupError::system(format!("write \"{}\"", printable(&entry.name)), error);
        self.archive.read(entry, &mut self.inflate, &mut |piece| {
            *done += piece.len() as u64;
            if *done > limits.bytes {
                return Err(Refusal::Bytes(limits.bytes).at(&entry.name));
            }
            for (at, run) in runs(piece) {
                file.write_all_at(run, position + at).map_err(writing)?;
            }
            position += piece.len() as u64;
            progress(*done, total).map_err(|error| BackupError::system("tell the progress", error))
        })?;
        file.set_len(entry.size).map_err(writing)
    }

    fn target(&mut self, entry: &Entry) -> Result<Vec<u8>, BackupError> {
        let mut target = Vec::new();
        self.archive.read(entry, &mut self.inflate, &mut |piece| {
            target.extend_from_slice(piece);
            Ok(())
        })?;
        if target.contains(&0) {
            return Err(Refusal::Link.at(&entry.name));
        }
        self.done += entry.size;
        Ok(target)
    }

    /// Opens the folder `path` below the root and all above it, making those that are missing.
    fn enter(&mut self, path: &[u8]) -> Result<(), Errno> {
        let mut components: Vec<&[u8]> = Vec::new();
        if !path.is_empty() {
            components.extend(path.split(|byte| *byte == b'/'));
        }
        let known = self
            .open
            .iter()
            .zip(&components)
            .take_while(|((open, _), wanted)| open == *wanted)
            .count();
        self.open.truncate(known);
        for component in &components[known..] {
            let parent = self.current();
            match rustix::fs::mkdirat(parent, *component, Mode::RWXU) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno),
            }
            let folder = match open_folder(parent, *component) {
                // Opened as a folder: anything else in its place, links included, says this.
                Err(Errno::LOOP) => Err(Errno::NOTDIR),
                opened => opened,
            }?;
            self.open.push((component.to_vec(), folder));
        }
        Ok(())
    }

    fn current(&self) -> BorrowedFd<'_> {
        self.open
            .last()
            .map_or(self.root.as_fd(), |(_, folder)| folder.as_fd())
    }

    /// Gives folders their modes and times, those inside before those around them: a folder may be closed even to us.
    fn settle_folders(&mut self) -> Result<(), BackupError> {
        let mut folders: Vec<_> = std::mem::take(&mut self.folders).into_iter().collect();
        folders.sort_unstable_by(|(one, _), (other, _)| other.cmp(one));
        for (path, settings) in folders {
            self.enter(&path)
                .and_then(|()| {
                    let folder = self.current();
                    // The storage itself is the server's, and closed to others like every grain's.
                    if let (Some(mode), false) = (settings.mode, path.is_empty()) {
                        rustix::fs::fchmod(folder, Mode::from_raw_mode(mode))?;
                    }
                    times(settings.modified, |times| rustix::fs::futimens(folder, times))
                })
                .map_err(|errno| {
                    BackupError::system(format!("finish \"data/{}\"", printable(&path)), errno)
                })?;
        }
        Ok(())
    }
}

/// The parts of `piece` that are not blocks of zeros, and where they are. What is never written reads as zeros and takes
/// no room: preallocated files stay cheap, and so does an archive that is nothing but zeros.
fn runs(piece: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    let zeros = |block: &[u8]| block.iter().all(|byte| *byte == 0);
    let mut at = 0;
    std::iter::from_fn(move || {
        for block in piece[at..].chunks(BLOCK).take_while(|block| zeros(block)) {
            at += block.len();
        }
        let start = at;
        for block in piece[at..].chunks(BLOCK).take_while(|block| !zeros(block)) {
            at += block.len();
        }
        (start < at).then(|| (start as u64, &piece[start..at]))
    })
}

fn open_folder(at: impl AsFd, name: impl rustix::path::Arg) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(at, name, flags, Mode::empty())
}

/// Sets the time of modification, and of access with it.
fn times(modified: Option<i64>, set: impl FnOnce(&Timestamps) -> Result<(), Errno>) -> Result<(), Errno> {
    let Some(tv_sec) = modified else { return Ok(()) };
    let time = Timespec { tv_sec, tv_nsec: 0 };
    set(&Timestamps {
        last_access: time,
        last_modification: time,
    })
}

/// What the system's answer to making an entry means for the archive.
fn failed(errno: Errno, entry: &Entry) -> BackupError {
    match errno {
        Errno::EXIST | Errno::ISDIR => Refusal::Duplicate.at(&entry.name),
        Errno::NOTDIR => Refusal::NoFolder.at(&entry.name),
        errno => BackupError::system(format!("create \"{}\"", printable(&entry.name)), errno),
    }
}
