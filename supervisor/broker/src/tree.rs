//! Removes folders that hostile programs filled: however deep, with a handful of descriptors and no recursion.

use std::ffi::CString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

/// Removes `folder` and everything below it; a folder that is not there is no error. Never follows a link.
///
/// Folders found below are moved up beside one another before they are emptied, so that depth costs nothing.
pub(crate) fn remove(folder: &Path) -> io::Result<()> {
    match open(CWD, folder) {
        Err(Errno::NOENT) => return Ok(()),
        opened => empty_opened(&opened?)?,
    }
    Ok(rustix::fs::unlinkat(CWD, folder, AtFlags::REMOVEDIR)?)
}

/// Removes everything below `folder`. Never follows a link.
pub(crate) fn empty(folder: &Path) -> io::Result<()> {
    Ok(empty_opened(&open(CWD, folder)?)?)
}

fn empty_opened(top: &OwnedFd) -> Result<(), Errno> {
    let mut moved = 0_u64;
    loop {
        let names = names(top)?;
        if names.is_empty() {
            return Ok(());
        }
        for name in names {
            if unlink(top, &name)? {
                continue;
            }
            let inner = open(top, name.as_c_str())?;
            for child in self::names(&inner)? {
                if !unlink(&inner, &child)? {
                    move_up(&inner, &child, top, &mut moved)?;
                }
            }
            rustix::fs::unlinkat(top, &name, AtFlags::REMOVEDIR)?;
        }
    }
}

/// Removes a folder without keeping the caller waiting. What cannot be removed is said in the log.
pub(crate) fn remove_in_background(folder: PathBuf) {
    let work = move || {
        if let Err(error) = remove(&folder) {
            tracing::warn!("cannot remove {}: {error}", folder.display());
        }
    };
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => drop(runtime.spawn_blocking(work)),
        Err(_) => work(),
    }
}

/// Removes anything but a folder; says whether it did.
fn unlink(folder: &OwnedFd, name: &CString) -> Result<bool, Errno> {
    match rustix::fs::unlinkat(folder, name, AtFlags::empty()) {
        Ok(()) => Ok(true),
        Err(Errno::ISDIR | Errno::PERM) => Ok(false),
        Err(errno) => Err(errno),
    }
}

fn move_up(from: &OwnedFd, name: &CString, top: &OwnedFd, moved: &mut u64) -> Result<(), Errno> {
    loop {
        let to = format!(".removing-{moved}");
        *moved += 1;
        match rustix::fs::renameat_with(from, name, top, to, RenameFlags::NOREPLACE) {
            // Somebody used such a name; there are others.
            Err(Errno::EXIST) => {}
            done => return done,
        }
    }
}

/// Opens a folder so that it can be emptied, whatever mode it was left with.
fn open(at: impl std::os::fd::AsFd + Copy, name: impl rustix::path::Arg + Copy) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = rustix::fs::openat(at, name, flags, Mode::empty());
    let folder = match opened {
        Err(Errno::ACCESS) => {
            rustix::fs::chmodat(at, name, Mode::RWXU, AtFlags::empty())?;
            rustix::fs::openat(at, name, flags, Mode::empty())?
        }
        opened => opened?,
    };
    // Listing needs less than changing does.
    rustix::fs::fchmod(&folder, Mode::RWXU)?;
    Ok(folder)
}

fn names(folder: &OwnedFd) -> Result<Vec<CString>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let name = entry?.file_name().to_owned();
        if !matches!(name.to_bytes(), b"." | b"..") {
            names.push(name);
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn depth_costs_nothing() {
        let place = tempfile::tempdir().unwrap();
        let top = place.path().join("top");
        fs::create_dir(&top).unwrap();
        // Deeper than any path and any descriptor table; made the way a hostile app would.
        let mut folder = open(CWD, &top).unwrap();
        for _ in 0..6000 {
            rustix::fs::mkdirat(&folder, "d", Mode::RWXU).unwrap();
            rustix::fs::openat(&folder, "f", OFlags::CREATE | OFlags::WRONLY, Mode::RUSR).unwrap();
            folder = open(&folder, c"d").unwrap();
        }
        remove(&top).unwrap();
        assert!(!top.exists());
    }

    #[test]
    fn links_are_removed_and_not_followed() {
        let place = tempfile::tempdir().unwrap();
        let kept = place.path().join("kept");
        fs::create_dir(&kept).unwrap();
        fs::write(kept.join("file"), "data").unwrap();
        let top = place.path().join("top");
        fs::create_dir_all(top.join("a/b")).unwrap();
        symlink(&kept, top.join("link")).unwrap();
        symlink(&kept, top.join("a/b/link")).unwrap();
        fs::write(top.join(".removing-0"), "in the way").unwrap();
        fs::create_dir(top.join("closed")).unwrap();
        fs::write(top.join("closed/inside"), "").unwrap();
        fs::set_permissions(top.join("closed"), fs::Permissions::from_mode(0o000)).unwrap();
        remove(&top).unwrap();
        assert!(!top.exists());
        assert_eq!(fs::read(kept.join("file")).unwrap(), b"data");
        remove(&top).unwrap();
    }
}
