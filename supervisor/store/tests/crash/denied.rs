//! A store that belongs to another user.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;

use percloud_store::{OpenOptions, Otherwise, Store};

use crate::outcome::{Outcome, child};

/// Any ordinary user.
const NOBODY: u32 = 65534;

/// The error names the path that is denied, and the store is left as it was.
pub fn of_somebody_else() -> Outcome {
    let temp = tempfile::tempdir().expect("temporary folder");
    let root = rustix::process::geteuid().is_root();
    // Root may read everything: the child becomes somebody else. Anybody else takes their own rights away.
    fs::set_permissions(temp.path(), Permissions::from_mode(0o755)).expect("our own folder");
    let dir = temp.path().join("store");
    let options = OpenOptions {
        export_dir: temp.path().join("export"),
        otherwise: Otherwise::Recover,
    };
    drop(Store::open(&dir, &options).expect("opens"));
    if !root {
        fs::set_permissions(temp.path().join("store.lock"), Permissions::from_mode(0o0))
            .expect("our own file");
    }
    let mut command = child("denied", &dir);
    if root {
        command.uid(NOBODY).gid(NOBODY);
    }
    let output = match command.output() {
        Ok(output) => output,
        Err(error) => return Outcome::Unavailable(format!("running this program as another user: {error}")),
    };
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let lock = temp.path().join("store.lock");
    let expected = format!(
        "cannot open the store: {} may not be read and written by this user",
        lock.display()
    );
    assert_eq!(said, expected, "{}", String::from_utf8_lossy(&output.stderr));
    if !root {
        fs::set_permissions(&lock, Permissions::from_mode(0o600)).expect("our own file");
    }
    let (_, opened) = Store::open(&dir, &options).expect("opens");
    assert_eq!(opened.warning(), None);
    Outcome::Passed("refused".to_owned())
}

pub fn inside(dir: &Path) {
    let options = OpenOptions {
        export_dir: dir.with_file_name("export"),
        otherwise: Otherwise::Recover,
    };
    match Store::open(dir, &options) {
        Ok(_) => println!("opened"),
        Err(error) => println!("{error}"),
    }
}
