//! Walks through folders a hostile program fills while it is done.
//!
//! Each folder is opened below the one it is in, so a step costs the same however deep it is. The folders down to the one
//! being read are open, and nothing else is remembered: memory is bounded by the depth. What is seen and cannot be counted
//! is said to be so, and never taken for nothing.
//!
//! Not seen are what the app moves, while this runs, from where it was not looked at yet to where it was, and a file without
//! a name that the app holds open.

use std::ffi::CStr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

use nix::sys::stat::{FchmodatFlags, fchmodat};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// Most folders inside one another, the top included: at least as many as fit into a backup, and few for a process that
/// has a thousand descriptors.
pub(super) const DEPTH: usize = 130;
/// What the owner of a folder needs to list it and look at what is in it.
const LIST: u32 = 0o500;
/// The bits of a mode that can be set.
const SETTABLE: u32 = 0o7777;

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counted {
    pub(super) bytes: u64,
    pub(super) files: u64,
    /// Whether there is, or may be, more that cannot be counted.
    pub(super) is_hidden: bool,
}

/// Counts what is below `folder`, and stops when that is more than `most` entries.
///
/// # Errors
///
/// When the folder cannot be opened, or the machine is short of memory or descriptors, which is no fault of the app.
pub(super) fn walk(folder: &Path, most: u64) -> Result<Counted, Errno> {
    let top = rustix::fs::open(folder, listing(), Mode::empty())?;
    let mut counted = Counted::default();
    let mut open = vec![Dir::new(top)?];
    while let Some(folder) = open.last_mut() {
        let entry = match folder.read() {
            Some(Ok(entry)) => entry,
            Some(Err(error)) if is_shortage(error) => return Err(error),
            // A disk that cannot be read is not the app's doing.
            Some(Err(_)) | None => {
                open.pop();
                continue;
            }
        };
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        counted.files += 1;
        if counted.files > most {
            break;
        }
        let Some(mode) = counted.add(folder.fd()?, name)? else {
            continue;
        };
        let below = enter(folder.fd()?, name, mode);
        match below {
            Ok(_) if open.len() == DEPTH => counted.is_hidden = true,
            Ok(below) => open.push(Dir::new(below)?),
            Err(error) => counted.miss(error)?,
        }
    }
    Ok(counted)
}

impl Counted {
    /// Adds an entry. Returns the mode of one that is a folder.
    fn add(&mut self, folder: BorrowedFd<'_>, name: &CStr) -> Result<Option<u32>, Errno> {
        let stat = match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(error) => return self.miss(error).map(|()| None),
        };
        let blocks = u64::try_from(stat.st_blocks).unwrap_or(0);
        let share = blocks.saturating_mul(512) / u64::from(stat.st_nlink.max(1) as u32);
        self.bytes = self.bytes.saturating_add(share);
        let is_folder = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        Ok(is_folder.then_some(stat.st_mode))
    }

    /// Goes on without what could not be looked at.
    fn miss(&mut self, error: Errno) -> Result<(), Errno> {
        match error {
            Errno::ACCESS | Errno::PERM => self.is_hidden = true,
            error if is_shortage(error) => return Err(error),
            // Gone or something else meanwhile, somebody's mount, or a disk that cannot be read.
            _ => {}
        }
        Ok(())
    }
}

/// Opens a folder to be listed, whatever mode the app left it with.
fn enter(parent: BorrowedFd<'_>, name: &CStr, mode: u32) -> Result<OwnedFd, Errno> {
    if mode & LIST != LIST {
        // What an app makes belongs to the server's own user, which is who this is. Through no link, which the app may put in
        // the folder's place: Landlock does not bound this call. If it is refused, opening or looking says so.
        let wider = nix::sys::stat::Mode::from_bits_truncate(mode & SETTABLE | LIST);
        let _refused = fchmodat(parent, name, wider, FchmodatFlags::NoFollowSymlink);
    }
    // Through no link and into no mount, whatever the app exchanges while we walk.
    let within = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    rustix::fs::openat2(parent, name, listing(), Mode::empty(), within)
}

fn listing() -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC
}

fn is_shortage(error: Errno) -> bool {
    matches!(error, Errno::MFILE | Errno::NFILE | Errno::NOMEM)
}

#[cfg(test)]
mod tests;
