//! SHA-256 of files and of folders.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::failure::{Attempt, Failure};

/// Returns the SHA-256 of a file in lower-case hex.
pub fn of_file(path: &Path) -> Result<String, Failure> {
    let mut hasher = Sha256::new();
    let mut read = || -> io::Result<()> {
        let mut file = File::open(path)?;
        let mut buffer = vec![0; 1 << 16];
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(()),
                count => hasher.update(&buffer[..count]),
            }
        }
    };
    read().attempt(|| format!("cannot read {}", path.display()))?;
    Ok(hex(hasher))
}

/// Returns one SHA-256 for everything in `paths`: names, executable bits, link targets and contents.
///
/// Folders are walked in name order; `skip` leaves entries out by file name. A path that does not exist counts as such.
pub fn of_tree(paths: &[PathBuf], skip: &[&str]) -> Result<String, Failure> {
    let mut hasher = Sha256::new();
    let mut pending: Vec<PathBuf> = paths.iter().rev().cloned().collect();
    while let Some(path) = pending.pop() {
        hasher.update(path.as_os_str().as_encoded_bytes());
        hasher.update([0]);
        let Ok(metadata) = fs::symlink_metadata(&path) else {
            hasher.update("absent");
            continue;
        };
        if metadata.is_dir() {
            let mut entries: Vec<PathBuf> = fs::read_dir(&path)
                .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect())
                .attempt(|| format!("cannot list {}", path.display()))?;
            entries.retain(|entry| {
                !skip
                    .iter()
                    .any(|name| entry.file_name().is_some_and(|own| own == *name))
            });
            entries.sort();
            pending.extend(entries.into_iter().rev());
        } else if metadata.is_symlink() {
            let target =
                fs::read_link(&path).attempt(|| format!("cannot read the link {}", path.display()))?;
            hasher.update(target.as_os_str().as_encoded_bytes());
        } else {
            hasher.update([u8::from(metadata.permissions().mode() & 0o100 != 0)]);
            hasher.update(of_file(&path)?);
        }
        hasher.update([0]);
    }
    Ok(hex(hasher))
}

fn hex(hasher: Sha256) -> String {
    hasher
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_file_has_its_known_digest() {
        let path = std::env::temp_dir().join(format!("percloud-digest-{}", std::process::id()));
        fs::write(&path, "foo\n").unwrap();
        let digest = of_file(&path).unwrap();
        fs::remove_file(&path).unwrap();
        assert_eq!(
            digest,
            "b5bb9d8014a0f9b1d61e21e796d78dccdf1352f23cd32812f4850b878ae4944c"
        );
    }
}
