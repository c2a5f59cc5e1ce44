//! The saved tokens on disk: symbolic links whose targets are the tokens.
//!
//! Every step leaves each token either in use under `identities/` or waiting in `trash/` to be given back; so a
//! crash costs a person's token at worst, never one that nobody can drop.

use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::UserId;
use crate::http::request::{percent_decode, percent_encode};
use crate::log::log;
use crate::random;

/// Most abandoned tokens one process gives back; the next ones go on.
const MAX_DISCARDED: usize = 1000;

/// The folder `/var/.sandstorm-http-bridge`.
#[derive(Clone)]
pub(super) struct Store {
    identities: PathBuf,
    trash: PathBuf,
}

/// A token that is out of use and not yet dropped.
pub(super) struct Discarded {
    pub(super) token: Vec<u8>,
    path: PathBuf,
}

impl Store {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self {
            identities: directory.join("identities"),
            trash: directory.join("trash"),
        }
    }

    /// Returns the token kept for `id`.
    pub(super) fn read(&self, id: UserId) -> io::Result<Option<Vec<u8>>> {
        match read_token(&self.identities.join(id.name())) {
            Ok(token) => Ok(Some(token)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Keeps `token` for `id`, on disk when this returns, and returns the one it replaces.
    pub(super) async fn replace(&self, id: UserId, token: &[u8]) -> io::Result<Option<Discarded>> {
        let mut target = Vec::new();
        percent_encode(token, &mut target);
        let this = self.clone();
        // Waits for the disk, which requests need not.
        tokio::task::spawn_blocking(move || this.replace_now(id, &target))
            .await
            .map_err(io::Error::other)?
    }

    fn replace_now(&self, id: UserId, target: &[u8]) -> io::Result<Option<Discarded>> {
        fs::create_dir_all(&self.identities)?;
        fs::create_dir_all(&self.trash)?;
        let place = self.identities.join(id.name());
        // Begun in the trash, where it will be found if this process ends before the last step.
        let fresh = self.trash.join(random::name()?);
        symlink(Path::new(std::ffi::OsStr::from_bytes(target)), &fresh)?;
        let old = self.trash.join(random::name()?);
        let old = match fs::rename(&place, &old) {
            Ok(()) => Some(old),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                let _ = fs::remove_file(&fresh);
                return Err(error);
            }
        };
        if let Err(error) = fs::rename(&fresh, &place) {
            let _ = fs::remove_file(&fresh);
            return Err(error);
        }
        for folder in [&self.trash, &self.identities] {
            File::open(folder)?.sync_all()?;
        }
        Ok(old.and_then(|path| {
            let token = read_token(&path).inspect_err(|_| remove(&path)).ok()?;
            Some(Discarded { token, path })
        }))
    }

    /// Lists what earlier processes left in the trash.
    pub(super) fn discarded(&self) -> Vec<Discarded> {
        let Ok(entries) = fs::read_dir(&self.trash) else {
            return Vec::new();
        };
        let paths = entries.flatten().map(|entry| entry.path());
        let tokens = paths.filter_map(|path| {
            let token = read_token(&path).ok()?;
            Some(Discarded { token, path })
        });
        tokens.take(MAX_DISCARDED).collect()
    }

    /// Removes the trace of a token that has been dropped.
    pub(super) fn forget(&self, discarded: &Discarded) {
        remove(&discarded.path);
    }
}

fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path) {
        log(format_args!("could not remove {}: {error}", path.display()));
    }
}

fn read_token(path: &Path) -> io::Result<Vec<u8>> {
    let target = fs::read_link(path)?;
    percent_decode(target.as_os_str().as_bytes())
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not a percent-encoded token"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_token_waits_in_the_trash_until_it_is_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::new(directory.path().join("new"));
        let id = UserId::parse(&[b'a'; 32]).unwrap();
        assert_eq!(store.read(id).unwrap(), None);
        assert!(store.discarded().is_empty());
        assert!(store.replace_now(id, b"one%2F%00").unwrap().is_none());
        assert_eq!(store.read(id).unwrap().unwrap(), b"one/\0");
        assert!(store.discarded().is_empty());

        let old = store.replace_now(id, b"two").unwrap().unwrap();
        assert_eq!(old.token, b"one/\0");
        assert_eq!(store.read(id).unwrap().unwrap(), b"two");
        let left = store.discarded();
        assert_eq!(left.len(), 1);
        assert_eq!(left[0].token, b"one/\0");
        store.forget(&left[0]);
        assert!(store.discarded().is_empty());
    }

    #[test]
    fn what_is_no_link_is_no_token_and_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::new(directory.path().to_owned());
        let id = UserId::parse(&[b'b'; 32]).unwrap();
        fs::create_dir(directory.path().join("identities")).unwrap();
        fs::write(directory.path().join("identities").join(id.name()), b"x").unwrap();
        assert!(store.read(id).is_err());
        assert!(store.replace_now(id, b"token").unwrap().is_none());
        assert_eq!(store.read(id).unwrap().unwrap(), b"token");
        assert!(store.discarded().is_empty());
    }
}
