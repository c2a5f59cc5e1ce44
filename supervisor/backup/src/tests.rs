//! Trees that go out and come back, and archives that must not come in.

mod craft;
mod foreign;
mod hostile;
mod packing;
mod round_trip;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::{BackupError, GrainInfo, Limits, Packed, Restored, STORAGE};

/// A grain to pack and a place to restore it, side by side.
struct Rig {
    place: tempfile::TempDir,
}

impl Rig {
    fn new() -> Self {
        let rig = Self {
            place: tempfile::tempdir().unwrap(),
        };
        fs::create_dir_all(rig.storage()).unwrap();
        rig
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    /// The storage that is packed.
    fn storage(&self) -> PathBuf {
        self.path("grain").join(STORAGE)
    }

    /// The storage that was restored.
    fn restored(&self) -> PathBuf {
        self.path("staging").join(STORAGE)
    }

    fn pack(&self, limits: &Limits) -> Result<(Packed, Vec<u8>), BackupError> {
        let mut zip = Vec::new();
        let packed = crate::pack(&self.path("grain"), &info(), limits, &mut zip, &mut |_| Ok(()))?;
        Ok((packed, zip))
    }

    fn restore(&self, zip: &[u8], limits: &Limits) -> Result<Restored, BackupError> {
        let into = self.path("staging");
        fs::create_dir(&into).unwrap();
        let mut file = tempfile::tempfile_in(self.place.path()).unwrap();
        file.write_all(zip).unwrap();
        crate::restore(file, &into, limits, &mut |_, _| Ok(()))
    }

    /// Packs, restores, and returns both trees.
    fn round_trip(&self) -> (Packed, Restored, Tree, Tree) {
        let limits = Limits::default();
        let (packed, zip) = self.pack(&limits).unwrap();
        let restored = self.restore(&zip, &limits).unwrap();
        (packed, restored, tree(&self.storage()), tree(&self.restored()))
    }
}

fn info() -> GrainInfo {
    GrainInfo {
        app_id: "vjvekechd398fn1t1kn1dgdnmaekqq9jkjv3zsgymc4a913ref2m".to_owned(),
        app_version: 7,
        title: "Müsli & Brot".to_owned(),
        owner_identity_id: "00112233".to_owned(),
        users: vec![crate::User {
            identity_id: "44556677".to_owned(),
            credential_ids: vec!["aa".to_owned(), "bb".to_owned()],
            profile: Some(crate::Profile {
                display_name: "Åsa".to_owned(),
                preferred_handle: "asa".to_owned(),
                pronouns: crate::Pronouns::Female,
            }),
        }],
        original_grain_id: String::new(),
    }
}

/// What is at a path: permissions with type, time, and content or target.
type Tree = BTreeMap<Vec<u8>, (u32, i64, Vec<u8>)>;

/// Everything below `root`, the root's own time included but not its mode, which is the server's.
fn tree(root: &Path) -> Tree {
    let mut found = Tree::new();
    let mut open = vec![root.to_owned()];
    while let Some(path) = open.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        let content = if meta.is_dir() {
            open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            Vec::new()
        } else if meta.is_symlink() {
            fs::read_link(&path).unwrap().into_os_string().into_vec()
        } else if meta.is_file() {
            fs::read(&path).unwrap()
        } else {
            b"(special)".to_vec()
        };
        let name = path.strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec();
        let mode = if name.is_empty() { 0 } else { meta.mode() };
        found.insert(name, (mode, meta.mtime(), content));
    }
    found
}

fn bytes(name: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(name))
}

/// Sets the time of anything, links included.
fn set_time(path: &Path, seconds: i64) {
    let time = rustix::fs::Timespec {
        tv_sec: seconds,
        tv_nsec: 0,
    };
    let times = rustix::fs::Timestamps {
        last_access: time,
        last_modification: time,
    };
    let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
    rustix::fs::utimensat(rustix::fs::CWD, path, &times, flags).unwrap();
}

fn write(path: &Path, content: &[u8]) {
    File::create_new(path).unwrap().write_all(content).unwrap();
}
