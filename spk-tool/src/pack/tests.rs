use std::fs;
use std::io::Read;

use lzma_rust2::XzReader;

use super::layout::DEEPEST;
use super::*;
use crate::crafted::*;
use crate::source::{Wanted, collect};
use crate::unpack::{Access, unpack};
use crate::verify::verify;

/// A source folder with a bit of everything, and what to pack of it.
fn source() -> (tempfile::TempDir, Wanted) {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    fs::create_dir_all(root.join("lib/empty")).unwrap();
    fs::write(root.join("run"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(root.join("run"), fs::Permissions::from_mode(0o755)).unwrap();
    for length in [0, 1, 7, 8, 9, 100_000] {
        fs::write(root.join(format!("lib/{length}")), vec![b'x'; length]).unwrap();
    }
    std::os::unix::fs::symlink("../run", root.join("lib/link")).unwrap();
    let wanted = Wanted {
        search_path: vec![crate::source::Mapping {
            at: "".parse().unwrap(),
            from: root,
            hide: vec![],
        }],
        always_include: vec!["".parse().unwrap()],
        manifest: manifest_starting("/run"),
        ..Wanted::default()
    };
    (folder, wanted)
}

fn packed(folder: &Path, wanted: &Wanted, name: &str, options: Options) -> (PathBuf, Packed) {
    let output = folder.join(name);
    let collection = collect(wanted, &Limits::default()).unwrap();
    let packed = pack(&collection, &key(), &output, options, &mut |_| {}).unwrap();
    (output, packed)
}

/// The archive inside a package.
fn archive_of(spk: &[u8]) -> Vec<u8> {
    let mut payload = Vec::new();
    XzReader::new(&spk[8..], false).read_to_end(&mut payload).unwrap();
    let words = u32::from_le_bytes(payload[4..8].try_into().unwrap()) as usize;
    payload.split_off(8 + 8 * words)
}

#[test]
fn what_is_packed_is_verified_and_unpacks_the_same() {
    let (folder, wanted) = source();
    let (output, packed) = packed(folder.path(), &wanted, "a.spk", Options::default());
    let bytes = fs::read(&output).unwrap();
    assert_eq!(packed.size, bytes.len() as u64);
    let spk = verify(&bytes[..], folder.path(), &Limits::default(), &mut |_| {}).unwrap();
    assert_eq!(
        (spk.package_id(), spk.signer()),
        (packed.package_id, packed.signer)
    );
    crate::install::describe(&spk).unwrap();
    let out = folder.path().join("out");
    unpack(&spk, &out, Access::Umask, &mut |_| {}).unwrap();
    let root = folder.path().join("root");
    for name in ["run", "lib/0", "lib/1", "lib/7", "lib/8", "lib/9", "lib/100000"] {
        assert_eq!(
            fs::read(out.join(name)).unwrap(),
            fs::read(root.join(name)).unwrap(),
            "{name}"
        );
        let metadata = |folder: &Path| fs::metadata(folder.join(name)).unwrap();
        assert_eq!(
            metadata(&out).modified().unwrap(),
            metadata(&root).modified().unwrap(),
            "{name}"
        );
        assert_eq!(
            metadata(&out).permissions(),
            metadata(&root).permissions(),
            "{name}"
        );
    }
    assert_eq!(fs::read_link(out.join("lib/link")).unwrap(), Path::new("../run"));
    assert!(out.join("lib/empty").is_dir() && out.join("var").is_dir() && out.join("proc/cpuinfo").is_file());
}

#[test]
fn an_ordinary_reader_understands_the_archive() {
    let (folder, wanted) = source();
    let (output, _) = packed(folder.path(), &wanted, "a.spk", Options::default());
    let items = crate::archive::reference_items(&archive_of(&fs::read(output).unwrap())).unwrap();
    let Some(Item::Folder(_, lib)) = items
        .iter()
        .find(|item| matches!(item, Item::Folder(name, _) if name == b"lib"))
    else {
        panic!("{items:?}")
    };
    let expected = [
        file("0", b""),
        file("1", b"x"),
        file("100000", &[b'x'; 100_000]),
        file("7", &[b'x'; 7]),
        file("8", &[b'x'; 8]),
        file("9", &[b'x'; 9]),
        folder_item("empty"),
        link("link", "../run"),
    ];
    assert_eq!(lib[..], expected);
}

fn folder_item(name: &str) -> Item {
    crate::crafted::folder(name, vec![])
}

#[test]
fn the_same_files_give_the_same_package_with_any_number_of_threads() {
    let (folder, wanted) = source();
    let mut first = None;
    for threads in [1, 2, 3] {
        let options = Options { level: 1, threads };
        let (output, packed) = packed(folder.path(), &wanted, &format!("{threads}.spk"), options);
        let bytes = fs::read(output).unwrap();
        assert_eq!(first.get_or_insert((bytes.clone(), packed)), &(bytes, packed));
    }
}

#[test]
fn any_level_is_read_back() {
    let (folder, wanted) = source();
    for level in 0..=9 {
        let (output, _) = packed(
            folder.path(),
            &wanted,
            &format!("{level}.spk"),
            Options { level, threads: 1 },
        );
        verify(
            &fs::read(output).unwrap()[..],
            folder.path(),
            &Limits::default(),
            &mut |_| {},
        )
        .unwrap();
    }
}

#[test]
fn files_that_change_are_noticed_and_nothing_is_written() {
    type Change = fn(&Path);
    let longer: Change = |file| fs::write(file, vec![b'x'; 100_001]).unwrap();
    let shorter: Change = |file| fs::write(file, vec![b'x'; 99_999]).unwrap();
    let other: Change = |file| fs::write(file, vec![b'y'; 100_000]).unwrap();
    let gone: Change = |file| fs::remove_file(file).unwrap();
    for (change, expected) in [
        (longer, "Changed"),
        (shorter, "Changed"),
        (other, "ContentsChanged"),
        (gone, "Read"),
    ] {
        let (folder, wanted) = source();
        let output = folder.path().join("a.spk");
        let file = folder.path().join("root/lib/100000");
        let collection = collect(&wanted, &Limits::default()).unwrap();
        let mut changed = false;
        let error = pack(
            &collection,
            &key(),
            &output,
            Options::default(),
            &mut |progress| {
                // Between the two passes.
                if !changed && matches!(progress, Progress::Hash(done, total) if done == total) {
                    change(&file);
                    changed = true;
                }
            },
        );
        let error = error.err().unwrap();
        assert!(format!("{error:?}").starts_with(expected), "{error:?}");
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            1,
            "only the source is there"
        );
    }
}

#[test]
fn trees_are_packed_as_deep_as_an_ordinary_reader_follows() {
    let pack_depth = |depth: usize| {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        let path: PathBuf = std::iter::repeat_n("d", depth).collect();
        fs::create_dir_all(root.join(&path)).unwrap();
        fs::write(root.join(&path).join("bottom"), "x").unwrap();
        let wanted = Wanted {
            search_path: vec![crate::source::Mapping {
                at: "".parse().unwrap(),
                from: root,
                hide: vec![],
            }],
            always_include: vec!["".parse().unwrap()],
            manifest: manifest_starting("/run"),
            ..Wanted::default()
        };
        let collection = collect(&wanted, &Limits::default()).unwrap();
        let output = folder.path().join("a.spk");
        pack(&collection, &key(), &output, Options::default(), &mut |_| {}).map(|_| fs::read(output).unwrap())
    };
    let deepest = pack_depth(DEEPEST).unwrap();
    crate::archive::reference_items(&archive_of(&deepest)).expect("the nesting limit of 128 suffices");
    let error = pack_depth(DEEPEST + 1).err().unwrap();
    assert!(matches!(error, PackError::TooLarge { .. }), "{error}");
}

#[test]
fn an_unwritable_place_is_reported_with_its_name() {
    let (_folder, wanted) = source();
    let collection = collect(&wanted, &Limits::default()).unwrap();
    let output = Path::new("/nonexistent/a.spk");
    let error = pack(&collection, &key(), output, Options::default(), &mut |_| {})
        .err()
        .unwrap();
    assert!(error.to_string().contains("/nonexistent/a.spk"), "{error}");
}
