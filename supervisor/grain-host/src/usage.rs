//! How much of the disk the grain takes: for every entry below its folder, the blocks it holds divided by its names
//! (sheet 3.6, trap 43).
//!
//! Counted by walking the folder on a thread aside. That is sturdier than watching every folder with inotify, of which a
//! hostile app can make more than there are watches. Walks are rare where they are dear: only while the grain is in use,
//! at most every 500 ms, and never for more than a tenth of the time.

use std::collections::VecDeque;
use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// Shortest time between two walks.
pub(crate) const PAUSE: Duration = Duration::from_millis(500);
/// Longest time between two walks while the grain is in use.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A walk pauses for so many times as long as it took.
const RARITY: u32 = 10;
/// Entries one walk looks at. A grain with more is reported as what was counted until then.
const ENTRIES: u64 = 2_000_000;
/// Folders a walk remembers to visit.
const FOLDERS: usize = 100_000;

/// What a walk found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Bytes of the disk.
    pub(crate) bytes: u64,
    /// Files and folders.
    pub(crate) files: u64,
    /// How long to wait before walking again.
    pub(crate) pause: Duration,
}

/// Walks `folder` on a thread aside.
pub(crate) async fn measure(folder: PathBuf) -> Option<Usage> {
    tokio::task::spawn_blocking(move || walk(&folder).ok())
        .await
        .ok()
        .flatten()
}

fn walk(folder: &Path) -> rustix::io::Result<Usage> {
    let begun = Instant::now();
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let top = rustix::fs::open(folder, flags | OFlags::RDONLY, Mode::empty())?;
    let mut folders = VecDeque::from([CString::from(c".")]);
    let (mut bytes, mut entries) = (0_u64, 0_u64);
    while let Some(path) = folders.pop_back() {
        // Beneath the top and through no link, whatever the app exchanges while we walk.
        let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        let opened = rustix::fs::openat2(&top, &*path, flags | OFlags::RDONLY, Mode::empty(), beneath);
        // Gone meanwhile, or deeper than a path may be long.
        let Ok(opened) = opened else { continue };
        let Ok(counted) = count(&opened, &path, &mut folders, ENTRIES - entries) else {
            continue;
        };
        bytes = bytes.saturating_add(counted.0);
        entries += counted.1;
        if entries >= ENTRIES {
            break;
        }
    }
    let pause = (begun.elapsed() * RARITY).clamp(PAUSE, LONGEST_PAUSE);
    Ok(Usage {
        bytes,
        files: entries,
        pause,
    })
}

/// Bytes and number of the entries of one folder; remembers the folders among them.
fn count(
    folder: &OwnedFd,
    path: &CString,
    folders: &mut VecDeque<CString>,
    most: u64,
) -> rustix::io::Result<(u64, u64)> {
    let (mut bytes, mut entries) = (0_u64, 0_u64);
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        if entries >= most {
            break;
        }
        entries += 1;
        let stat = match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => continue,
            Err(error) => return Err(error),
        };
        let blocks = u64::try_from(stat.st_blocks).unwrap_or(0);
        bytes = bytes.saturating_add(blocks.saturating_mul(512) / u64::from(stat.st_nlink.max(1) as u32));
        let is_folder = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        if is_folder && folders.len() < FOLDERS {
            let below = [path.as_bytes(), b"/", name.to_bytes()].concat();
            folders.push_back(CString::new(below).expect("names of entries contain no NUL"));
        }
    }
    Ok((bytes, entries))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;

    #[test]
    fn blocks_are_shared_among_names_and_links_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let sandbox = dir.path().join("sandbox");
        std::fs::create_dir_all(sandbox.join("a/b")).unwrap();
        std::fs::write(sandbox.join("a/b/one"), vec![7; 100_000]).unwrap();
        std::fs::hard_link(sandbox.join("a/b/one"), sandbox.join("two")).unwrap();
        symlink("/usr", sandbox.join("away")).unwrap();
        std::fs::write(dir.path().join("log"), "words").unwrap();

        let blocks = |path: &Path| std::fs::symlink_metadata(path).unwrap().blocks() * 512;
        let names = |path: &Path| std::fs::symlink_metadata(path).unwrap().nlink();
        let expected: u64 = [
            sandbox.clone(),
            sandbox.join("a"),
            sandbox.join("a/b"),
            sandbox.join("a/b/one"),
            sandbox.join("two"),
            sandbox.join("away"),
            dir.path().join("log"),
        ]
        .iter()
        .map(|path| blocks(path) / names(path))
        .sum();
        assert!(expected > 100_000);
        let found = walk(dir.path()).unwrap();
        assert_eq!(found.bytes, expected);
        assert_eq!(found.files, 7);
    }
}
