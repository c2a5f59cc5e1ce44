use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;

use super::*;
use crate::Why;
use crate::zip::Archive;

fn names(zip: &[u8]) -> Vec<String> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(zip).unwrap();
    let archive = Archive::open(file).unwrap();
    let names = archive.entries().map(|entry| entry.unwrap().name);
    names.map(|name| String::from_utf8(name).unwrap()).collect()
}

#[test]
fn what_is_no_file_is_left_out_and_named() {
    let rig = Rig::new();
    let root = rig.storage();
    let _socket = UnixListener::bind(root.join("socket")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        root.join("pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RWXU,
        0,
    )
    .unwrap();
    write(&root.join("two\nlines"), b"x");
    fs::create_dir(root.join("also\ntwo")).unwrap();
    write(&root.join("also\ntwo/inside"), b"x");
    write(&root.join("file"), b"x");
    let (packed, zip) = rig.pack(&Limits::default()).unwrap();
    assert_eq!(names(&zip), ["metadata", "data/", "data/file"]);
    let skipped: Vec<_> = packed
        .skipped
        .iter()
        .map(|skipped| (skipped.name.as_str(), skipped.why))
        .collect();
    assert_eq!(
        skipped,
        [
            ("data/also\\ntwo", Why::Name),
            ("data/pipe", Why::Special),
            ("data/socket", Why::Special),
            ("data/two\\nlines", Why::Name),
        ]
    );
    assert_eq!(packed.skipped_count, 4);
}

#[test]
fn what_may_not_be_read_is_left_out_and_named() {
    if rustix::process::geteuid().is_root() {
        // Nothing is closed to root; the worker, which has no capabilities, is tested with the executable.
        return;
    }
    let rig = Rig::new();
    write(&rig.storage().join("closed"), b"x");
    fs::set_permissions(rig.storage().join("closed"), fs::Permissions::from_mode(0o000)).unwrap();
    let (packed, _) = rig.pack(&Limits::default()).unwrap();
    assert_eq!(packed.skipped[0].why, Why::Unreadable);
}

#[test]
fn links_are_stored_and_never_followed() {
    let rig = Rig::new();
    fs::create_dir(rig.path("outside")).unwrap();
    write(&rig.path("outside/secret"), b"secret");
    symlink(rig.path("outside"), rig.storage().join("folder")).unwrap();
    symlink(rig.path("outside/secret"), rig.storage().join("file")).unwrap();
    symlink(rig.path("outside/secret"), rig.path("grain/log")).unwrap();
    let (_, zip) = rig.pack(&Limits::default()).unwrap();
    assert_eq!(names(&zip), ["metadata", "data/", "data/file", "data/folder"]);

    rig.restore(&zip, &Limits::default()).unwrap();
    assert!(
        fs::symlink_metadata(rig.restored().join("file"))
            .unwrap()
            .is_symlink()
    );

    // Nor is the storage itself, were it replaced.
    fs::rename(rig.storage(), rig.path("moved")).unwrap();
    symlink(rig.path("outside"), rig.storage()).unwrap();
    assert_eq!(rig.pack(&Limits::default()).unwrap_err().code(), "system");
}

#[test]
fn set_id_bits_do_not_go_out() {
    let rig = Rig::new();
    write(&rig.storage().join("program"), b"x");
    fs::create_dir(rig.storage().join("folder")).unwrap();
    for name in ["program", "folder"] {
        fs::set_permissions(rig.storage().join(name), fs::Permissions::from_mode(0o7755)).unwrap();
    }
    let (_, zip) = rig.pack(&Limits::default()).unwrap();
    rig.restore(&zip, &Limits::default()).unwrap();
    for name in ["program", "folder"] {
        let mode = fs::metadata(rig.restored().join(name)).unwrap().mode();
        assert_eq!(mode & 0o7777, 0o755);
    }
}

#[test]
fn what_could_not_be_read_again_is_not_written() {
    let rig = Rig::new();
    let root = rig.storage();
    fs::create_dir_all(root.join("a/b/c")).unwrap();
    write(&root.join("a/b/c/file"), &[7; 990]);
    symlink("ten bytes.", root.join("a/b/c/link")).unwrap();
    let generous = Limits::default();
    // Each bound as tight as it can be: the same archive is written and read, one less and it is not written.
    let exact = Limits {
        bytes: 1000,
        entries: 8,
        depth: 4,
        name: 16,
        ..generous
    };
    let (packed, zip) = rig.pack(&exact).unwrap();
    assert_eq!((packed.entries, packed.bytes), (7, 1000));
    rig.restore(&zip, &exact).unwrap();
    for (limits, code) in [
        (Limits { bytes: 999, ..exact }, "too-large"),
        (Limits { entries: 7, ..exact }, "too-many-entries"),
        (Limits { depth: 3, ..exact }, "too-deep"),
        (Limits { name: 15, ..exact }, "bad-name"),
    ] {
        assert_eq!(rig.pack(&limits).unwrap_err().code(), code);
    }
}

#[test]
fn a_storage_that_changes_meanwhile_yields_a_sound_archive() {
    let rig = Rig::new();
    let root = rig.storage();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let rounds = std::sync::atomic::AtomicU64::new(0);
    for folder in 0..4 {
        fs::create_dir(root.join(format!("folder-{folder}"))).unwrap();
    }
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut round = 0_u64;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                round += 1;
                let folder = root.join(format!("folder-{}", round % 4));
                let file = folder.join(format!("file-{}", round % 7));
                match round % 5 {
                    0 => drop(fs::remove_file(&file)),
                    1 => drop(fs::write(&file, vec![round as u8; (round % 50_000) as usize])),
                    2 => drop(File::options().write(true).open(&file).map(|f| f.set_len(3))),
                    3 => {
                        drop(fs::remove_file(&file));
                        drop(symlink("/etc/passwd", &file));
                    }
                    _ => {
                        drop(fs::remove_file(&file));
                        drop(fs::rename(&folder, root.join("away")));
                        drop(fs::rename(root.join("away"), &folder));
                    }
                }
                rounds.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
        });
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..200 {
                let (_, zip) = rig.pack(&Limits::default()).unwrap();
                rig.restore(&zip, &Limits::default()).unwrap();
                fs::remove_dir_all(rig.path("staging")).unwrap();
            }
        }));
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        outcome.unwrap();
    });
    assert!(rounds.into_inner() > 200, "nothing changed meanwhile");
}

#[test]
fn a_full_disk_leaves_no_archive() {
    let rig = Rig::new();
    write(&rig.storage().join("file"), &[0x5a; 100_000]);
    let full = File::options().write(true).open("/dev/full").unwrap();
    let failed = crate::pack(&rig.path("grain"), &info(), &Limits::default(), full, &mut |_| {
        Ok(())
    });
    assert_eq!(failed.unwrap_err().code(), "disk-full");
}
