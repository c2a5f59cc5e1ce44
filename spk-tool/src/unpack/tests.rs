use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use super::*;
use crate::crafted::*;
use crate::limits::Limits;
use crate::verify::verify;

fn verified(items: &[Item]) -> VerifiedSpk {
    verify(
        &spk_with(items)[..],
        &std::env::temp_dir(),
        &Limits::default(),
        &mut |_| {},
    )
    .unwrap()
}

/// Reads a folder back into items, in the order of names.
pub(crate) fn read_folder(path: &Path) -> Vec<Item> {
    let mut entries: Vec<_> = fs::read_dir(path).unwrap().map(Result::unwrap).collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    let read = |entry: &fs::DirEntry| {
        let (name, path) = (entry.file_name().as_bytes().to_vec(), entry.path());
        let metadata = path.symlink_metadata().unwrap();
        if metadata.is_dir() {
            Item::Folder(name, read_folder(&path))
        } else if metadata.is_symlink() {
            Item::Link(
                name,
                fs::read_link(&path).unwrap().as_os_str().as_bytes().to_vec(),
            )
        } else if metadata.permissions().mode() & 0o100 != 0 {
            Item::Program(name, fs::read(&path).unwrap())
        } else {
            Item::File(name, fs::read(&path).unwrap())
        }
    };
    entries.iter().map(read).collect()
}

fn sorted(mut items: Vec<Item>) -> Vec<Item> {
    items.sort_by_key(|item| match item {
        Item::File(name, _) | Item::Program(name, _) | Item::Link(name, _) | Item::Folder(name, _) => {
            name.clone()
        }
    });
    let sort_inner = |item| match item {
        Item::Folder(name, items) => Item::Folder(name, sorted(items)),
        other => other,
    };
    items.into_iter().map(sort_inner).collect()
}

fn strange() -> Vec<Item> {
    let mut items = usable();
    items.push(Item::File(vec![0xff, b' ', b'\n'], vec![7; 3 << 20]));
    items.push(Item::Link(b"absolute".to_vec(), b"/nowhere/../\xff".to_vec()));
    items.push(folder("a", vec![folder("b", vec![program("c", &[1; 70_000])])]));
    items
}

#[test]
fn the_tree_comes_out_as_it_went_in() {
    let folder = tempfile::tempdir().unwrap();
    let destination = folder.path().join("out");
    let spk = verified(&strange());
    let mut last = 0;
    unpack(&spk, &destination, Access::Umask, &mut |done| {
        assert!(done >= last);
        last = done;
    })
    .unwrap();
    assert_eq!(last, spk.contents().bytes);
    assert_eq!(read_folder(&destination), sorted(strange()));
}

#[test]
fn times_are_kept_even_before_1970_and_of_links() {
    let folder = tempfile::tempdir().unwrap();
    let destination = folder.path().join("out");
    unpack(&verified(&strange()), &destination, Access::Umask, &mut |_| {}).unwrap();
    for name in [
        "run",
        "lib",
        "lib/data",
        "lib/out",
        "lib/empty",
        "absolute",
        "a/b/c",
    ] {
        let metadata = destination.join(name).symlink_metadata().unwrap();
        // −1.500000001 s: the second before, and what is missing to it.
        assert_eq!(
            (metadata.mtime(), metadata.mtime_nsec()),
            (-2, 499_999_999),
            "{name}"
        );
    }
}

#[test]
fn shared_packages_are_readable_by_all_and_writable_by_their_owner() {
    let folder = tempfile::tempdir().unwrap();
    let destination = folder.path().join("out");
    unpack(&verified(&usable()), &destination, Access::Shared, &mut |_| {}).unwrap();
    let mode = |name: &str| fs::metadata(destination.join(name)).unwrap().permissions().mode() & 0o7777;
    assert_eq!(
        (mode(""), mode("lib"), mode("lib/data"), mode("run")),
        (0o755, 0o755, 0o644, 0o755)
    );
}

#[test]
fn nothing_that_exists_is_touched() {
    let folder = tempfile::tempdir().unwrap();
    let existing = folder.path().join("existing");
    fs::create_dir(&existing).unwrap();
    fs::write(existing.join("mine"), "mine").unwrap();
    let dangling = folder.path().join("dangling");
    std::os::unix::fs::symlink(folder.path().join("elsewhere"), &dangling).unwrap();
    for destination in [&existing, &dangling, &existing.join("mine")] {
        let error = unpack(&verified(&usable()), destination, Access::Umask, &mut |_| {})
            .err()
            .unwrap();
        assert_eq!(error.code(), "exists", "{error}");
    }
    assert_eq!(read_folder(&existing), [file("mine", b"mine")]);
    assert!(!folder.path().join("elsewhere").exists());
}

#[test]
fn failing_half_way_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let destination = folder.path().join("out");
    let spk = verified(&[file("a", b"a"), file("b", b"b"), file("z", b"z")]);
    // Someone puts a file where one is about to be created.
    let error = unpack(&spk, &destination, Access::Umask, &mut |done| {
        if done == 1 {
            fs::write(destination.join("b"), "intruder").unwrap();
        }
    })
    .err()
    .unwrap();
    assert_eq!(error.code(), "io", "{error}");
    assert!(error.to_string().contains("out/b"), "{error}");
    assert!(!destination.exists());
}

#[test]
fn a_planted_link_is_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    let (destination, outside) = (folder.path().join("out"), folder.path().join("outside"));
    fs::create_dir(&outside).unwrap();
    let spk = verified(&[
        file("a", b"a"),
        crate::crafted::folder("b", vec![file("c", b"c")]),
    ]);
    let error = unpack(&spk, &destination, Access::Umask, &mut |done| {
        if done == 1 {
            std::os::unix::fs::symlink(&outside, destination.join("b")).unwrap();
        }
    });
    assert_eq!(error.err().unwrap().code(), "io");
    assert_eq!(read_folder(&outside), []);
}

#[test]
fn a_full_disk_has_its_own_word() {
    for error in [Errno::NOSPC, Errno::DQUOT] {
        assert_eq!(SpkError::io("write", error.into()).code(), "disk-full");
    }
    assert_eq!(SpkError::io("write", Errno::ACCESS.into()).code(), "io");
}
