//! Where the data would be, and a folder to try things in that is gone afterwards.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::sys::signal::{SigSet, Signal};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

/// The data folder, and the nearest folder on the way to it that exists.
pub struct Target {
    pub data: PathBuf,
    /// The data folder, or the nearest one above it; without symbolic links in its name.
    pub nearest: PathBuf,
}

impl Target {
    /// Fails only where the name is empty or there is no current folder.
    pub fn find(data: &Path) -> io::Result<Self> {
        let data = std::path::absolute(data)?;
        let real = |folder: &Path| fs::canonicalize(folder).ok().filter(|real| real.is_dir());
        let nearest = data
            .ancestors()
            .find_map(real)
            .unwrap_or_else(|| PathBuf::from("/"));
        Ok(Self { data, nearest })
    }
}

/// A folder in the nearest existing one; removed when this is dropped. Until then the signals by which people end a
/// program wait, or it would be left behind.
///
/// The folder around it may be somebody else's, who then may rename this one and put something in its place. So it is only
/// ever reached by its descriptor, and nobody else may enter it.
pub struct Workplace {
    folder: Option<Folder>,
    held: Option<SigSet>,
}

struct Folder {
    above: OwnedFd,
    name: String,
    inside: OwnedFd,
}

/// What is made in it, in this order.
const FOLDERS: [&str; 7] = [
    "package",
    "package/var",
    "package/tmp",
    "package/dev",
    "package/proc",
    "var",
    "files",
];
/// Names tried before giving up.
const NAMES: u32 = 100;

impl Workplace {
    /// Makes it, if that is allowed.
    pub fn make(target: &Target) -> io::Result<Self> {
        let mut made = Self {
            folder: None,
            held: hold(),
        };
        made.folder = Some(Folder::make(&target.nearest)?);
        for name in FOLDERS {
            fs::create_dir(made.path(name))?;
        }
        File::create_new(made.path("package/proc/cpuinfo"))?;
        Ok(made)
    }

    /// A path in it, for this process.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder
            .as_ref()
            .map_or_else(PathBuf::new, |folder| folder.path(name))
    }

    /// A path in it as it is called now: for who only looks, for somebody may have put another thing under that name.
    pub fn name(&self, name: &str) -> PathBuf {
        let path = self.path("");
        fs::read_link(&path).unwrap_or(path).join(name)
    }
}

impl Folder {
    fn make(above: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let above = rustix::fs::open(above, flags, Mode::empty())?;
        for number in 0..NAMES {
            let name = format!(".percloud-doctor-{}-{number}", std::process::id());
            match rustix::fs::mkdirat(&above, &name, Mode::RWXU) {
                Ok(()) => {}
                Err(Errno::EXIST) => continue,
                Err(errno) => return Err(errno.into()),
            }
            return match entered(&above, &name) {
                Ok(inside) => Ok(Self { above, name, inside }),
                Err(error) => {
                    let _ = rustix::fs::unlinkat(&above, &name, AtFlags::REMOVEDIR);
                    Err(error)
                }
            };
        }
        Err(Errno::EXIST.into())
    }

    fn path(&self, name: &str) -> PathBuf {
        let mut path = PathBuf::from(format!("/proc/self/fd/{}", self.inside.as_raw_fd()));
        if !name.is_empty() {
            path.push(name);
        }
        path
    }
}

/// Opens the folder just made, if it is that: ours, and ours alone to enter. Another's in its place is not touched.
fn entered(above: &OwnedFd, name: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let inside = rustix::fs::openat(above, name, flags, Mode::empty())?;
    let about = rustix::fs::fstat(&inside)?;
    if about.st_uid == rustix::process::geteuid().as_raw() && about.st_mode & 0o7777 & !0o2000 == 0o700 {
        Ok(inside)
    } else {
        Err(io::Error::other("a folder made there is not its maker's alone"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        for name in FOLDERS {
            let _ = fs::remove_dir_all(self.path(name));
        }
        // Removes an empty folder or nothing.
        let _ = rustix::fs::unlinkat(&self.above, &self.name, AtFlags::REMOVEDIR);
    }
}

impl Drop for Workplace {
    fn drop(&mut self) {
        // First the folder, then whatever signal has waited.
        drop(self.folder.take());
        if let Some(held) = self.held.take() {
            let _ = held.thread_unblock();
        }
    }
}

/// Has the signals wait that were not waiting already, and returns those.
fn hold() -> Option<SigSet> {
    let before = SigSet::thread_get_mask().ok()?;
    let mut held = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT] {
        if !before.contains(signal) {
            held.add(signal);
        }
    }
    held.thread_block().ok()?;
    Some(held)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_folder_is_found_through_links_and_files() {
        let place = tempfile::tempdir().unwrap();
        let real = fs::canonicalize(place.path()).unwrap();
        fs::write(real.join("file"), b"").unwrap();
        std::os::unix::fs::symlink(&real, real.join("link")).unwrap();
        let find = |name: &str| Target::find(&real.join(name)).unwrap();
        fs::create_dir(real.join("folder")).unwrap();
        for name in ["", "link", "a/b/c", "link/a", "file", "file/a"] {
            assert_eq!(find(name).nearest, real, "{name}");
        }
        assert_eq!(find("folder").nearest, real.join("folder"));
        assert_eq!(find("link/folder/a").nearest, real.join("folder"));
    }

    #[test]
    fn a_workplace_leaves_nothing() {
        let place = tempfile::tempdir().unwrap();
        let target = Target::find(&place.path().join("not/yet")).unwrap();
        let workplace = Workplace::make(&target).unwrap();
        assert!(workplace.path("package/dev").is_dir());
        drop(workplace);
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_workplace_that_is_moved_away_is_not_followed_by_name() {
        let place = tempfile::tempdir().unwrap();
        let (around, elsewhere) = (place.path().join("around"), place.path().join("elsewhere"));
        fs::create_dir(&around).unwrap();
        fs::create_dir(&elsewhere).unwrap();
        fs::create_dir(elsewhere.join("files")).unwrap();
        fs::write(elsewhere.join("files/kept"), b"").unwrap();
        let workplace = Workplace::make(&Target::find(&around).unwrap()).unwrap();
        // What the owner of the folder around it may do.
        let made = fs::read_dir(&around).unwrap().next().unwrap().unwrap().path();
        fs::rename(&made, around.join("moved")).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &made).unwrap();
        fs::write(workplace.path("files/written"), b"").unwrap();
        drop(workplace);
        assert_eq!(
            fs::read_dir(elsewhere.join("files")).unwrap().count(),
            1,
            "neither written to nor emptied"
        );
        assert_eq!(fs::read_dir(around.join("moved")).unwrap().count(), 0);
    }

    #[test]
    fn what_took_the_place_of_the_folder_is_not_entered() {
        let place = tempfile::tempdir().unwrap();
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let above = rustix::fs::open(place.path(), flags, Mode::empty()).unwrap();
        std::os::unix::fs::symlink("/tmp", place.path().join("link")).unwrap();
        fs::create_dir(place.path().join("open")).unwrap();
        for name in ["link", "open", "nothing"] {
            assert!(entered(&above, name).is_err(), "{name}");
        }
    }
}
