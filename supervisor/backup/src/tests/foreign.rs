//! Archives of and for Info-ZIP's programs, which Sandstorm uses.

#![allow(clippy::disallowed_methods, reason = "tests start programs")]

use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

use super::*;

/// Whether the program is there; where it is not, that is said and the test proves nothing.
fn has(program: &str) -> bool {
    let found = Command::new(program).arg("-v").output().is_ok();
    if !found {
        eprintln!("NOT TESTED: {program} is not installed (Debian packages zip and unzip)");
    }
    found
}

fn sample(root: &Path) {
    fs::create_dir_all(root.join("folder/empty")).unwrap();
    write(&root.join("folder/text"), "some words ".repeat(5000).as_bytes());
    write(&root.join(bytes(b"caf\xc3\xa9")), b"coffee");
    write(&root.join(bytes(b"\xff\xfe")), b"odd");
    write(&root.join("program"), b"#!/bin/sh\n");
    write(&root.join("nothing"), b"");
    fs::set_permissions(root.join("program"), fs::Permissions::from_mode(0o755)).unwrap();
    symlink("folder/text", root.join("link")).unwrap();
    for path in ["folder/text", "program", "nothing", "folder/empty", "folder", "."] {
        set_time(&root.join(path), 1_700_000_001);
    }
}

#[test]
fn an_archive_of_info_zip_is_restored() {
    if !has("zip") {
        return;
    }
    for locale in ["C", "C.UTF-8"] {
        // To a file, and to a pipe, where sizes follow the bytes; it cannot write links to a pipe.
        for to_file in [true, false] {
            let rig = Rig::new();
            fs::create_dir_all(rig.path("work/data")).unwrap();
            sample(&rig.path("work/data"));
            write(&rig.path("work/metadata"), &info().encode());
            write(&rig.path("work/log"), b"words");
            if !to_file {
                fs::remove_file(rig.path("work/data/link")).unwrap();
                set_time(&rig.path("work/data"), 1_700_000_001);
            }
            let output = Command::new("zip")
                .args(["-yrq", if to_file { "../file.zip" } else { "-" }])
                .args(["data", "log", "metadata"])
                .current_dir(rig.path("work"))
                .env("LC_ALL", locale)
                .output()
                .unwrap();
            assert!(
                output.status.success(),
                "{}",
                String::from_utf8_lossy(&output.stderr)
            );
            let zip = if to_file {
                fs::read(rig.path("file.zip")).unwrap()
            } else {
                output.stdout
            };
            let restored = rig.restore(&zip, &Limits::default()).unwrap();
            assert_eq!(restored.info, info());
            let (before, after) = (tree(&rig.path("work/data")), tree(&rig.restored()));
            assert_eq!(before, after, "{locale}, {to_file}");
        }
    }
}

#[test]
fn info_zip_accepts_and_unpacks_our_archive() {
    if !has("unzip") {
        return;
    }
    let rig = Rig::new();
    sample(&rig.storage());
    write(&rig.path("grain/log"), b"words");
    let (_, zip) = rig.pack(&Limits::default()).unwrap();
    write(&rig.path("backup.zip"), &zip);
    let unzip = |arguments: &[&str]| {
        let output = Command::new("unzip")
            .args(arguments)
            .current_dir(rig.place.path())
            .env("LC_ALL", "C.UTF-8")
            .env("TZ", "UTC")
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let tested = unzip(&["-t", "backup.zip"]);
    assert!(tested.contains("No errors detected"), "{tested}");
    // What Sandstorm extracts of it.
    unzip(&["-q", "backup.zip", "data/*", "metadata", "-d", "out"]);
    let (mut before, mut after) = (tree(&rig.storage()), tree(&rig.path("out/data")));
    for tree in [&mut before, &mut after] {
        // unzip leaves links as new as they are.
        tree.get_mut(b"link".as_slice()).unwrap().1 = 0;
    }
    for name in [b"caf\xc3\xa9".as_slice(), b"\xff\xfe"] {
        // How it shows the second depends on its locale; both are there.
        let content = before.remove(name).unwrap().2;
        assert!(after.values().any(|(_, _, found)| *found == content), "{name:?}");
    }
    after.retain(|name, _| before.contains_key(name));
    assert_eq!(before, after);
    assert_eq!(fs::read(rig.path("out/metadata")).unwrap(), info().encode());
}
