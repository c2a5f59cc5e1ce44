use std::io::Write;

use capnp::message::ReaderOptions;
use capnp::serialize;
use percloud_schemas::package_capnp::archive;
use proptest::prelude::*;

use super::*;
use crate::crafted::{self, Item, file, folder, link, program, usable};

fn open_within(bytes: &[u8], limits: &Limits) -> Result<Archive, SpkError> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    Archive::open(file, bytes.len() as u64, limits)
}

/// Reads a whole archive back into items, checking that steps nest.
fn items_of(archive: &Archive) -> Result<Vec<Item>, SpkError> {
    let mut folders: Vec<(Vec<u8>, Vec<Item>)> = vec![(Vec::new(), Vec::new())];
    let mut walk = archive.walk();
    while let Some(step) = walk.step()? {
        let item = match step {
            Step::Enter { name } => {
                folders.push((name, Vec::new()));
                continue;
            }
            Step::Leave { .. } => {
                let (name, items) = folders.pop().unwrap();
                Item::Folder(name, items)
            }
            Step::Link { name, target, .. } => Item::Link(name, target),
            Step::File {
                name,
                executable,
                content,
                ..
            } => {
                let mut bytes = vec![0; content.length as usize];
                archive.read_at(&mut bytes, content.offset)?;
                if executable {
                    Item::Program(name, bytes)
                } else {
                    Item::File(name, bytes)
                }
            }
        };
        folders.last_mut().unwrap().1.push(item);
    }
    assert_eq!(folders.len(), 1, "the walk ends at the root");
    Ok(folders.pop().unwrap().1)
}

fn read_within(bytes: &[u8], limits: &Limits) -> Result<Vec<Item>, SpkError> {
    open_within(bytes, limits).and_then(|archive| items_of(&archive))
}

fn read(bytes: &[u8]) -> Result<Vec<Item>, SpkError> {
    read_within(bytes, &Limits::default())
}

#[track_caller]
fn assert_refused(items: &[Item], code: &str) {
    let error = read(&crafted::archive(items, 1024)).expect_err("it has to be refused");
    assert_eq!(error.code(), code, "{error}");
}

/// What the ordinary Cap'n Proto reader finds.
pub(crate) fn reference(bytes: &[u8]) -> capnp::Result<Vec<Item>> {
    let mut options = ReaderOptions::new();
    options
        .nesting_limit(128)
        .traversal_limit_in_words(Some(bytes.len() / 8));
    let message = serialize::read_message_from_flat_slice(&mut &bytes[..], options)?;
    let root: archive::Reader<'_> = message.get_root()?;
    reference_list(root.get_files()?)
}

fn reference_list(list: capnp::struct_list::Reader<'_, archive::file::Owned>) -> capnp::Result<Vec<Item>> {
    use archive::file::Which;
    let mut items = Vec::new();
    for entry in list {
        let name = entry.get_name()?.as_bytes().to_vec();
        items.push(match entry.which()? {
            Which::Regular(content) => Item::File(name, content?.to_vec()),
            Which::Executable(content) => Item::Program(name, content?.to_vec()),
            Which::Symlink(target) => Item::Link(name, target?.as_bytes().to_vec()),
            Which::Directory(list) => Item::Folder(name, reference_list(list?)?),
        });
    }
    Ok(items)
}

#[test]
fn an_archive_in_one_or_many_segments_reads_the_same() {
    for first_segment in [1, 2, 3, 5, 8, 13, 1024] {
        assert_eq!(
            read(&crafted::archive(&usable(), first_segment)).unwrap(),
            usable(),
            "{first_segment}"
        );
    }
}

#[test]
fn empty_archives_are_fine() {
    assert_eq!(read(&crafted::archive(&[], 1024)).unwrap(), []);
    // A null root, and a root struct without pointers.
    assert_eq!(
        read(&[0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).unwrap(),
        []
    );
    assert_eq!(
        read(&[0, 0, 0, 0, 1, 0, 0, 0, 0xfc, 0xff, 0xff, 0xff, 0, 0, 0, 0]).unwrap(),
        []
    );
}

#[test]
fn unsafe_names_are_refused() {
    for name in ["", ".", "..", "a/b", "/", "a\0b"] {
        assert_refused(&[file(name, b"")], "bad-name");
        assert_refused(&[folder("f", vec![link(name, "t")])], "bad-name");
        assert_refused(&[folder(name, vec![])], "bad-name");
    }
    assert_refused(&[file(&"n".repeat(256), b"")], "too-large");
    assert_eq!(
        read(&crafted::archive(&[file(&"n".repeat(255), b"")], 64))
            .unwrap()
            .len(),
        1
    );
    // Strange, but safe.
    for name in ["...", "-", " ", "\n", "a\\b", "\u{202e}"] {
        assert!(
            read(&crafted::archive(&[file(name, b"")], 64)).is_ok(),
            "{name:?}"
        );
    }
    let not_utf8 = Item::File(vec![0xff, 0xfe], Vec::new());
    assert!(read(&crafted::archive(&[not_utf8], 64)).is_ok());
}

#[test]
fn messages_do_not_carry_control_characters() {
    let error = read(&crafted::archive(
        &[folder("\u{1b}[31m", vec![file("a/\u{202e}b", b"")])],
        64,
    ))
    .err()
    .unwrap();
    let text = error.to_string();
    assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text:?}");
}

#[test]
fn duplicate_names_are_refused_whatever_they_are() {
    assert_refused(&[file("a", b""), file("a", b"")], "duplicate-name");
    assert_refused(
        &[link("a", "/etc"), folder("a", vec![file("passwd", b"")])],
        "duplicate-name",
    );
    assert_refused(
        &[folder(
            "d",
            vec![file("a", b""), program("b", b""), link("a", "x")],
        )],
        "duplicate-name",
    );
    // The same name in different folders is ordinary.
    assert!(
        read(&crafted::archive(
            &[file("a", b""), folder("d", vec![file("a", b"")])],
            64
        ))
        .is_ok()
    );
}

#[test]
fn links_need_a_possible_target() {
    assert_refused(&[link("l", "")], "bad-name");
    assert_refused(&[link("l", "a\0b")], "bad-name");
    assert_refused(&[link("l", &"t".repeat(4096))], "too-large");
    for target in ["/etc/passwd", "../../..", "self"] {
        assert_eq!(
            read(&crafted::archive(&[link("l", target)], 64)).unwrap(),
            [link("l", target)]
        );
    }
}

#[test]
fn unknown_kinds_are_refused() {
    let mut bytes = crafted::archive(&[file("a", b"")], 64);
    // Table (1 word), root pointer, root struct, list tag, then the first element's data.
    let tag = 8 * 4;
    assert_eq!(bytes[tag..tag + 2], [0, 0]);
    bytes[tag] = 4;
    let error = read(&bytes).err().unwrap();
    assert!(
        matches!(&error, SpkError::UnknownEntry { path, tag: 4 } if path == "a"),
        "{error}"
    );
}

#[test]
fn limits_are_exact() {
    let items = [
        file("a", &[0; 10]),
        folder("b", vec![folder("c", vec![file("d", &[0; 20])])]),
    ];
    let bytes = crafted::archive(&items, 64);
    let exact = Limits {
        entries: 4,
        file: 20,
        depth: 2,
        ..Limits::default()
    };
    assert!(read_within(&bytes, &exact).is_ok());
    for tighter in [
        Limits {
            entries: 3,
            ..exact.clone()
        },
        Limits {
            file: 19,
            ..exact.clone()
        },
        Limits {
            depth: 1,
            ..exact.clone()
        },
    ] {
        assert_eq!(
            read_within(&bytes, &tighter).err().unwrap().code(),
            "too-large",
            "{tighter:?}"
        );
    }
}

fn nested(depth: usize) -> Vec<Item> {
    let mut items = vec![file("bottom", b"x")];
    for _ in 0..depth {
        items = vec![folder("d", items)];
    }
    items
}

#[test]
fn deep_trees_are_read_and_deeper_ones_refused() {
    assert!(read(&crafted::archive(&nested(128), 1024)).is_ok());
    assert_refused(&nested(129), "too-large");
    assert_refused(&nested(400), "too-large");
}

#[test]
fn pointers_to_one_place_cannot_multiply_it() {
    // One list that is its own child: a folder containing itself twice over.
    let mut bytes = crafted::archive(&[folder("a", vec![]), folder("b", vec![])], 64);
    let words =
        |bytes: &[u8], index: usize| u64::from_le_bytes(bytes[index * 8..index * 8 + 8].try_into().unwrap());
    // Words: table, root pointer, list pointer, tag, then 4 for each of two elements.
    for element in [4, 8] {
        let pointer = element + 3;
        // List of 8 words whose tag is at word 3: the offset counts from the word after the pointer.
        let offset = (3 - (pointer as i64 + 1)) as u64 & 0x3fff_ffff;
        let word: u64 = 1 | offset << 2 | 7 << 32 | 8 << 35;
        bytes[pointer * 8..pointer * 8 + 8].copy_from_slice(&word.to_le_bytes());
    }
    assert_eq!(words(&bytes, 3) as u32 >> 2, 2, "the tag counts two elements");
    let error = read(&bytes).err().unwrap();
    assert!(matches!(error.code(), "bad-archive" | "too-large"), "{error}");
}

#[test]
fn lists_of_nothing_cannot_claim_many_entries() {
    // Composite list, no words, 2^29 elements of size zero.
    let root: u64 = 1 << 48;
    let list: u64 = 1 | 7 << 32;
    let tag: u64 = ((1 << 29) - 1) << 2;
    let mut bytes = vec![0, 0, 0, 0, 3, 0, 0, 0];
    for word in [root, list, tag] {
        bytes.extend(word.to_le_bytes());
    }
    assert_eq!(read(&bytes).err().unwrap().code(), "bad-name");
}

#[test]
fn segment_tables_cannot_claim_what_is_not_there() {
    for bytes in [
        &[][..],
        &[0, 0, 0],
        &[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0],
        &[0xff, 0xff, 0, 0, 0, 0, 0, 0],
        &[0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff],
        &[0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    ] {
        let error = read(bytes).err().unwrap();
        assert!(matches!(error.code(), "truncated" | "too-large"), "{error}");
    }
    assert_eq!(
        read(&[0, 0, 0, 0, 0, 0, 0, 0]).err().unwrap().code(),
        "bad-archive"
    );
}

/// Sandstorm's packer keeps each file in a segment of its own, without room for a landing pad.
#[test]
fn contents_in_foreign_segments_are_reached_over_two_hops() {
    let words: [u64; 10] = [
        1 << 48,                        // 0: root: no data, one pointer, right behind
        1 | 7 << 32 | 4 << 35,          // 1: list of one struct of four words
        1 << 2 | 2 << 32 | 2 << 48,     // 2: its tag
        0,                              // 3: a regular file
        0,                              // 4: of 1970
        1 | 3 << 2 | 2 << 32 | 2 << 35, // 5: name, two bytes at word 9
        2 | 1 << 2 | 7 << 3,            // 6: contents: two hops, over word 7 of this segment
        2 | 1 << 32,                    // 7: to the start of segment 1
        1 | 2 << 32 | 11 << 35,         // 8: where eleven bytes are
        u64::from(b'a'),                // 9
    ];
    let mut bytes = Vec::new();
    for entry in [1u32, 10, 2, 0] {
        bytes.extend(entry.to_le_bytes());
    }
    bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
    bytes.extend(b"hello world\0\0\0\0\0");
    assert_eq!(
        reference(&bytes).unwrap(),
        [file("a", b"hello world")],
        "the test itself is right"
    );
    assert_eq!(read(&bytes).unwrap(), [file("a", b"hello world")]);
    // Neither hop may lead elsewhere.
    for (word, value) in [
        (7, 2 | 2 << 32),
        (7, 2 | 1 << 32 | 2 << 3),
        (7, 1 << 32),
        (8, 1 | 2 << 32 | 17 << 35),
        (8, 2),
    ] {
        let mut bad = bytes.clone();
        let place = 16 + word * 8;
        bad[place..place + 8].copy_from_slice(&u64::to_le_bytes(value));
        assert_eq!(
            read(&bad).err().unwrap().code(),
            "bad-archive",
            "{word} {value:x}"
        );
    }
}

#[test]
fn lookups_find_what_the_walk_finds() {
    let archive = open_within(&crafted::archive(&usable(), 3), &Limits::default()).unwrap();
    let manifest = archive
        .read_root_file(b"sandstorm-manifest", "manifest", 1 << 20)
        .unwrap()
        .unwrap();
    assert_eq!(manifest, crafted::manifest_starting("/run"));
    assert!(
        archive
            .read_root_file(b"run", "manifest", 1 << 20)
            .unwrap()
            .is_none(),
        "a program is no plain file"
    );
    assert!(
        archive
            .read_root_file(b"lib", "manifest", 1 << 20)
            .unwrap()
            .is_none()
    );
    assert!(
        archive
            .read_root_file(b"none", "manifest", 1 << 20)
            .unwrap()
            .is_none()
    );
    let error = archive
        .read_root_file(b"sandstorm-manifest", "manifest", 8)
        .err()
        .unwrap();
    assert_eq!(error.code(), "too-large");
}

fn any_name() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(1..=255u8, 1..20).prop_map(|mut name| {
        name.iter_mut()
            .filter(|byte| **byte == b'/')
            .for_each(|byte| *byte = b'_');
        if name == b"." || name == b".." {
            b"dots".to_vec()
        } else {
            name
        }
    })
}

fn any_items() -> impl Strategy<Value = Vec<Item>> {
    let content = || proptest::collection::vec(any::<u8>(), 0..100);
    let leaf = prop_oneof![
        (any_name(), content()).prop_map(|(name, content)| Item::File(name, content)),
        (any_name(), content()).prop_map(|(name, content)| Item::Program(name, content)),
        (any_name(), any_name()).prop_map(|(name, target)| Item::Link(name, target)),
    ];
    let item = leaf.prop_recursive(5, 40, 6, |inner| {
        (any_name(), proptest::collection::vec(inner, 0..6))
            .prop_map(|(name, items)| Item::Folder(name, unique(items)))
    });
    proptest::collection::vec(item, 0..6).prop_map(unique)
}

fn unique(items: Vec<Item>) -> Vec<Item> {
    let mut names = std::collections::HashSet::new();
    let name = |item: &Item| match item {
        Item::File(name, _) | Item::Program(name, _) | Item::Link(name, _) | Item::Folder(name, _) => {
            name.clone()
        }
    };
    items
        .into_iter()
        .filter(|item| names.insert(name(item)))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_tree_reads_as_it_was_written(items in any_items(), first_segment in 1..200u32) {
        let bytes = crafted::archive(&items, first_segment);
        prop_assert_eq!(read(&bytes).unwrap(), items);
    }

    /// Whatever the bytes: no panic, an end, and never anything else than the ordinary reader finds.
    #[test]
    fn damaged_archives_never_read_as_something_else(
        items in any_items(),
        first_segment in 1..50u32,
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = crafted::archive(&items, first_segment);
        for (place, value) in changes {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        if let (Ok(ours), Ok(theirs)) = (read(&bytes), reference(&bytes)) {
            prop_assert_eq!(ours, theirs);
        }
    }

    #[test]
    fn any_bytes_are_survived(mut bytes in proptest::collection::vec(prop_oneof![Just(0u8), Just(1), Just(4), any::<u8>()], 0..400)) {
        bytes.splice(0..0, [0, 0, 0, 0]);
        let words = (bytes.len() + 4) / 8;
        bytes.splice(4..4, u32::try_from(words - 1).unwrap().to_le_bytes());
        bytes.truncate(words * 8);
        let _ = read(&bytes);
    }
}
