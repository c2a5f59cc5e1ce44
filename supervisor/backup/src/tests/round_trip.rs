use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn permit(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_tree_comes_back_as_it_was() {
    let rig = Rig::new();
    let root = rig.storage();
    for folder in ["empty", "full", "full/inner", "closed"] {
        fs::create_dir(root.join(folder)).unwrap();
    }
    let odd: [&[u8]; 8] = [
        b"caf\xc3\xa9",
        b"\xff\xfe\x80",
        b"a\\b",
        b" ",
        b"-rf",
        b"...",
        b"tab\tand\x01control",
        b"C:",
    ];
    for name in odd {
        write(&root.join("full").join(bytes(name)), name);
    }
    write(&root.join("full/inner/nothing"), b"");
    let noise: Vec<u8> = (0..300_000_u32)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).rotate_left(9).to_le_bytes())
        .collect();
    write(&root.join("noise"), &noise);
    write(&root.join("text"), "Hello, world. ".repeat(40_000).as_bytes());
    write(&root.join("program"), b"#!/bin/sh\n");
    write(&root.join(bytes(&[b'n'; 255])), b"long");
    permit(&root.join("program"), 0o755);
    permit(&root.join("text"), 0o440);
    symlink("/etc/passwd", root.join("absolute")).unwrap();
    symlink("../../..", root.join("full/up")).unwrap();
    symlink("t".repeat(4095), root.join("long-link")).unwrap();
    symlink("absolute", root.join(bytes(b"link\xff"))).unwrap();
    write(&root.join("closed/inside"), b"x");
    for (path, seconds) in [
        ("full/inner/nothing", 0),
        ("program", 1_700_000_001),
        ("text", -3),
        ("noise", 4_000_000_000),
        ("absolute", 1_234_567_891),
        ("full/inner", 1_500_000_003),
        ("empty", 1_400_000_005),
        ("full", 1_300_000_007),
        ("closed", 86_399),
        (".", 1_600_000_009),
    ] {
        set_time(&root.join(path), seconds);
    }
    permit(&root.join("closed"), 0o500);
    permit(&root.join("empty"), 0o711);

    let (packed, restored, before, after) = rig.round_trip();
    permit(&root.join("closed"), 0o700);
    permit(&rig.restored().join("closed"), 0o700);
    assert_eq!(before, after);
    assert_eq!(restored.info, info());
    assert_eq!(packed.skipped_count, 0);
    // Beside them is only the description, for this grain has no log.
    assert_eq!(packed.entries, restored.entries + 1);
    assert_eq!(restored.entries, before.len() as u64);
}

#[test]
fn the_restored_storage_is_made_like_a_new_grain_s() {
    let rig = Rig::new();
    write(&rig.storage().join("file"), b"x");
    permit(&rig.storage(), 0o777);
    let (_, zip) = rig.pack(&Limits::default()).unwrap();
    rig.restore(&zip, &Limits::default()).unwrap();
    let meta = fs::metadata(rig.restored()).unwrap();
    assert_eq!(meta.mode() & 0o7777, 0o700);
    for path in [rig.restored(), rig.restored().join("file")] {
        // Owned by the server: the sandbox's mount translates that into the app's user.
        let meta = fs::metadata(path).unwrap();
        assert_eq!(meta.uid(), rustix::process::geteuid().as_raw());
        assert_eq!(meta.gid(), rustix::process::getegid().as_raw());
    }
}

#[test]
fn zeros_take_no_room() {
    let rig = Rig::new();
    let file = File::create_new(rig.storage().join("sparse")).unwrap();
    file.set_len(64 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"in the middle", 33_333_333).unwrap();
    let (_, _, before, after) = rig.round_trip();
    assert!(before == after);
    let blocks = fs::metadata(rig.restored().join("sparse")).unwrap().blocks();
    assert!(blocks * 512 < 1 << 20, "{blocks} blocks");
}

#[test]
fn the_log_goes_out_and_does_not_come_in() {
    let rig = Rig::new();
    write(&rig.path("grain/log"), b"words");
    write(&rig.path("grain/log.1"), b"older words");
    let (packed, zip) = rig.pack(&Limits::default()).unwrap();
    assert_eq!(packed.entries, 3);
    let restored = rig.restore(&zip, &Limits::default()).unwrap();
    assert_eq!(restored.entries, 1);
    let names: Vec<_> = fs::read_dir(rig.path("staging"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, [STORAGE]);
}

#[test]
fn progress_reaches_its_total_and_can_stop_the_work() {
    let rig = Rig::new();
    write(&rig.storage().join("one"), &[1; 100_000]);
    write(&rig.storage().join("two"), &[2; 200_000]);
    let mut heard = Vec::new();
    let mut zip = Vec::new();
    let limits = Limits::default();
    let grain = rig.path("grain");
    crate::pack(&grain, &info(), &limits, &mut zip, &mut |done| {
        heard.push(done);
        Ok(())
    })
    .unwrap();
    assert!(heard.is_sorted());
    assert_eq!(heard.last(), Some(&300_000));

    let stopped = crate::pack(&grain, &info(), &limits, &mut Vec::new(), &mut |_| {
        Err(std::io::ErrorKind::BrokenPipe.into())
    });
    assert_eq!(stopped.unwrap_err().code(), "system");

    let zip_file = rig.path("backup.zip");
    write(&zip_file, &zip);
    fs::create_dir(rig.path("staging")).unwrap();
    let mut heard = Vec::new();
    let file = File::open(&zip_file).unwrap();
    crate::restore(file, &rig.path("staging"), &limits, &mut |done, total| {
        heard.push((done, total));
        Ok(())
    })
    .unwrap();
    assert_eq!(heard.last(), Some(&(300_000, 300_000)));

    fs::create_dir(rig.path("other")).unwrap();
    let file = File::open(&zip_file).unwrap();
    let stopped = crate::restore(file, &rig.path("other"), &limits, &mut |_, _| {
        Err(std::io::ErrorKind::BrokenPipe.into())
    });
    assert_eq!(stopped.unwrap_err().code(), "system");
}

/// One thing to make; the path may turn out to lead through something that is no folder.
#[derive(Clone, Debug)]
enum Thing {
    Folder(u32),
    File(u32, Vec<u8>),
    Link(Vec<u8>),
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        4 => proptest::char::range('a', 'c').prop_map(|letter| letter as u8),
        1 => any::<u8>(),
    ];
    vec(byte, 1..4).prop_filter("a name", |name| {
        !name.contains(&0)
            && !name.contains(&b'/')
            && !name.contains(&b'\n')
            && !matches!(name.as_slice(), b"." | b"..")
    })
}

fn thing() -> impl Strategy<Value = Thing> {
    let content = prop_oneof![
        vec(any::<u8>(), 0..200),
        (any::<u8>(), 0..200_000_usize).prop_map(|(byte, length)| vec![byte; length]),
    ];
    prop_oneof![
        (0..0o100_u32).prop_map(|mode| Thing::Folder(mode | 0o700)),
        (0..0o400_u32, content).prop_map(|(mode, content)| Thing::File(mode | 0o400, content)),
        vec(1..=255_u8, 1..40).prop_map(Thing::Link),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn any_tree_comes_back(things in vec((vec(name(), 1..5), thing(), 0..2_000_000_000_i64), 0..25)) {
        let rig = Rig::new();
        let mut made = Vec::new();
        for (path, thing, time) in things {
            let (last, folders) = path.split_last().unwrap();
            let mut at = rig.storage();
            at.extend(folders.iter().map(|folder| bytes(folder)));
            // Where a link or a file is in the way, nothing is made.
            let top = rig.storage().canonicalize().unwrap();
            let is_inside = fs::create_dir_all(&at).is_ok() && at.canonicalize().unwrap().starts_with(top);
            let at = at.join(bytes(last));
            if !is_inside || fs::symlink_metadata(&at).is_ok() {
                continue;
            }
            match thing {
                Thing::Folder(mode) => {
                    fs::create_dir(&at).unwrap();
                    permit(&at, mode);
                }
                Thing::File(mode, content) => {
                    write(&at, &content);
                    permit(&at, mode);
                }
                Thing::Link(target) => symlink(bytes(&target), &at).unwrap(),
            }
            made.push((at, time));
        }
        for (path, time) in made {
            set_time(&path, time);
        }
        let (packed, _, before, after) = rig.round_trip();
        prop_assert_eq!(packed.skipped_count, 0);
        prop_assert_eq!(before, after);
    }
}
