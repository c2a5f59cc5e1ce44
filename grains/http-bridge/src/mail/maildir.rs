//! Delivers into a Maildir: written under `tmp`, on disk, and only then visible under `new`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tokio::sync::{Mutex, MutexGuard};

use crate::random;

/// The app's mailbox, `/var/mail`. The app makes its folders; without them it takes no mail.
pub(crate) struct Maildir {
    path: PathBuf,
    turn: Mutex<()>,
}

impl Maildir {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self {
            path,
            turn: Mutex::new(()),
        }
    }

    /// Waits until nobody else is delivering.
    pub(super) async fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    pub(super) fn path(&self) -> impl std::fmt::Display {
        self.path.display()
    }

    /// Adds a message; when this returns, it will survive a loss of power.
    pub(super) async fn deliver(&self, message: Vec<u8>) -> io::Result<()> {
        let path = self.path.clone();
        // Waits for the disk, which requests need not.
        tokio::task::spawn_blocking(move || deliver(&path, &message))
            .await
            .map_err(io::Error::other)?
    }
}

fn deliver(path: &Path, message: &[u8]) -> io::Result<()> {
    let name = format!("_{}", random::name()?);
    let draft = path.join("tmp").join(&name);
    let new = path.join("new");
    let written = write(&draft, message).and_then(|()| fs::rename(&draft, new.join(&name)));
    if let Err(error) = written {
        let _ = fs::remove_file(&draft);
        return Err(error);
    }
    File::open(&new)?.sync_all()
}

fn write(path: &Path, message: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    file.write_all(message)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_under_new_or_nowhere() {
        let directory = tempfile::tempdir().unwrap();
        let names = |folder: &str| -> Vec<String> {
            let entries = fs::read_dir(directory.path().join(folder)).unwrap();
            entries
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect()
        };
        assert!(deliver(directory.path(), b"x").is_err());
        fs::create_dir(directory.path().join("tmp")).unwrap();
        // No place to go to: the draft must not stay behind either.
        assert!(deliver(directory.path(), b"x").is_err());
        assert!(names("tmp").is_empty());

        fs::create_dir(directory.path().join("new")).unwrap();
        deliver(directory.path(), b"one").unwrap();
        deliver(directory.path(), b"two").unwrap();
        assert!(names("tmp").is_empty());
        let new = names("new");
        assert_eq!(new.len(), 2);
        for name in new {
            assert_eq!(name.len(), 23);
            let (first, rest) = name.split_at(1);
            assert_eq!(first, "_");
            assert!(
                rest.bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
            );
        }
    }
}
