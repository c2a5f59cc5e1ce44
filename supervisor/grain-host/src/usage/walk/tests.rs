use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};

use rustix::fs::CWD;
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};

use super::*;

const MANY: u64 = 1_000_000;

/// Walks as a host does: without a right to what belongs to others.
fn walk_without_rights(folder: &Path) -> Counted {
    std::thread::scope(|scope| {
        let walk = scope.spawn(|| {
            let held = capabilities(None).unwrap();
            let sets = CapabilitySets {
                effective: CapabilitySet::empty(),
                ..held
            };
            set_capabilities(None, sets).unwrap();
            walk(folder, MANY).unwrap()
        });
        walk.join().unwrap()
    })
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn blocks_are_shared_among_names_and_links_are_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let sandbox = dir.path().join("sandbox");
    fs::create_dir_all(sandbox.join("a/b")).unwrap();
    fs::write(sandbox.join("a/b/one"), vec![7; 100_000]).unwrap();
    fs::hard_link(sandbox.join("a/b/one"), sandbox.join("two")).unwrap();
    symlink("/usr", sandbox.join("away")).unwrap();
    fs::write(dir.path().join("log"), "words").unwrap();

    let blocks = |path: &Path| fs::symlink_metadata(path).unwrap().blocks() * 512;
    let names = |path: &Path| fs::symlink_metadata(path).unwrap().nlink();
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
    let found = walk(dir.path(), MANY).unwrap();
    assert_eq!(
        found,
        Counted {
            bytes: expected,
            files: 7,
            is_hidden: false
        }
    );
}

#[test]
fn what_an_app_closed_is_opened_and_counted() {
    for closed in [0o300, 0o000, 0o600, 0o200] {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("closed");
        fs::create_dir_all(folder.join("inner")).unwrap();
        fs::write(folder.join("inner/heap"), vec![7; 1 << 20]).unwrap();
        set_mode(&folder.join("inner"), closed);
        set_mode(&folder, closed);
        let found = walk_without_rights(dir.path());
        assert!(found.bytes >= 1 << 20, "{closed:o}: {found:?}");
        assert_eq!((found.files, found.is_hidden), (3, false), "{closed:o}");
        assert_eq!(fs::metadata(&folder).unwrap().mode() & SETTABLE, closed | LIST);
    }
}

#[test]
fn what_cannot_be_opened_is_said_to_be_hidden() {
    for (mode, files) in [(0o000, 1), (0o600, 2), (0o300, 1)] {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("closed");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("heap"), vec![7; 1 << 20]).unwrap();
        set_mode(&folder, mode);
        if chown(&folder, Some(1), Some(1)).is_err() {
            eprintln!("NOT TESTED: only root can make a folder of somebody else's");
            return;
        }
        // What others may read does not count for the owner's bits.
        let found = walk_without_rights(dir.path());
        assert!(found.is_hidden, "{mode:o}");
        assert!(found.files <= files, "{mode:o}: {found:?}");
    }
}

#[test]
fn a_link_in_the_place_of_a_closed_folder_opens_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let kept = dir.path().join("kept");
    fs::create_dir(&kept).unwrap();
    set_mode(&kept, 0o200);
    symlink(&kept, dir.path().join("link")).unwrap();
    let top = rustix::fs::open(dir.path(), listing(), Mode::empty()).unwrap();
    // It was a closed folder when it was looked at.
    let entered = enter(std::os::fd::AsFd::as_fd(&top), c"link", 0o200);
    assert!(entered.is_err());
    assert_eq!(fs::metadata(&kept).unwrap().mode() & SETTABLE, 0o200);
}

/// Makes `depth` folders inside one another, the way a hostile app would, with a file in the last.
fn nest(top: &Path, depth: usize) {
    let mut folder = rustix::fs::open(top, listing(), Mode::empty()).unwrap();
    let name = "d".repeat(200);
    for _ in 0..depth {
        rustix::fs::mkdirat(&folder, &name, Mode::RWXU).unwrap();
        folder = rustix::fs::openat(&folder, &name, listing(), Mode::empty()).unwrap();
    }
    let flags = OFlags::CREATE | OFlags::WRONLY;
    let heap = rustix::fs::openat(&folder, "heap", flags, Mode::RUSR).unwrap();
    rustix::io::write(&heap, &[7; 64 << 10]).unwrap();
}

/// Paths of what is this deep are too long to be named, even for who removes it.
fn remove(top: &Path) {
    #[expect(clippy::disallowed_methods, reason = "tests start programs")]
    let rm = std::process::Command::new("rm").arg("-rf").arg(top).status();
    assert!(rm.unwrap().success());
}

#[test]
fn what_is_beyond_the_longest_path_is_counted_or_said_to_be_hidden() {
    // The longest path is 4096 bytes: some twenty of these names.
    for (depth, is_hidden) in [(10, false), (DEPTH - 1, false), (DEPTH, true), (300, true)] {
        let dir = tempfile::tempdir().unwrap();
        nest(dir.path(), depth);
        let found = walk(dir.path(), MANY).unwrap();
        assert_eq!(found.is_hidden, is_hidden, "{depth}");
        if !is_hidden {
            assert_eq!(found.files, depth as u64 + 1, "{depth}");
            assert!(found.bytes >= 64 << 10, "{depth}: {found:?}");
        }
        remove(dir.path());
        fs::create_dir(dir.path()).unwrap();
    }
}

#[test]
fn a_walk_ends_when_there_is_more_than_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    for folder in 0..10 {
        fs::create_dir(dir.path().join(folder.to_string())).unwrap();
        for file in 0..10 {
            fs::write(dir.path().join(format!("{folder}/{file}")), "").unwrap();
        }
    }
    assert_eq!(walk(dir.path(), 110).unwrap().files, 110);
    assert_eq!(walk(dir.path(), 30).unwrap().files, 31, "more than that");
    let gone = rustix::fs::openat(CWD, dir.path().join("gone"), listing(), Mode::empty());
    assert_eq!(gone.err(), Some(Errno::NOENT));
    assert_eq!(walk(&dir.path().join("gone"), 30), Err(Errno::NOENT));
}
