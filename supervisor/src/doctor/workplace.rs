//! Where the data would be, and a folder to try things in that is gone afterwards.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use nix::sys::signal::{SigSet, Signal};

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
pub struct Workplace {
    folder: Option<tempfile::TempDir>,
    held: Option<SigSet>,
}

impl Workplace {
    /// Makes it, if that is allowed.
    pub fn make(target: &Target) -> io::Result<Self> {
        let mut made = Self {
            folder: None,
            held: hold(),
        };
        let folder = tempfile::Builder::new()
            .prefix(".percloud-doctor-")
            .tempdir_in(&target.nearest)?;
        let path = folder.path().to_owned();
        made.folder = Some(folder);
        for name in [
            "package",
            "package/var",
            "package/tmp",
            "package/dev",
            "package/proc",
            "var",
            "files",
        ] {
            DirBuilder::new().mode(0o755).create(path.join(name))?;
        }
        fs::write(path.join("package/proc/cpuinfo"), b"")?;
        Ok(made)
    }

    /// A path in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder
            .as_ref()
            .map_or_else(PathBuf::new, |folder| folder.path().join(name))
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
}
