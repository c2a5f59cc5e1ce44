use proptest::prelude::*;
use proptest::sample::Index;

use super::craft::*;
use super::*;

/// Restores and returns the error, having made sure that nothing outside staging changed.
fn refused(zip: &[u8], limits: &Limits) -> BackupError {
    let rig = Rig::new();
    write(&rig.path("canary"), b"alive");
    let before = tree(rig.place.path());
    let error = rig.restore(zip, limits).expect_err("must be refused");
    unharmed(&rig, before);
    error
}

fn unharmed(rig: &Rig, before: Tree) {
    let staged = |name: &[u8]| name.starts_with(b"staging") || name.is_empty();
    let mut after = tree(rig.place.path());
    after.retain(|name, _| !staged(name));
    let before: Tree = before.into_iter().filter(|(name, _)| !staged(name)).collect();
    assert_eq!(before, after);
}

#[track_caller]
fn refuses(parts: &[Part], code: &str, mentions: &str) {
    let error = refused(&backup(parts), &Limits::default());
    assert_eq!(error.code(), code, "{error}");
    assert!(error.to_string().contains(mentions), "{error}");
}

#[test]
fn a_crafted_archive_that_is_sound_is_restored() {
    // Otherwise the refusals below would prove nothing.
    let rig = Rig::new();
    let zip = backup(&[
        Part::folder("data/"),
        Part::file("data/a", b"A"),
        Part::deflated("data/deep/er/b", &[b'B'; 5000]),
        Part::link("data/l", b"a"),
        Part::file("other", b"ignored"),
    ]);
    let restored = rig.restore(&zip, &Limits::default()).unwrap();
    assert_eq!((restored.info, restored.entries), (info(), 4));
    let names: Vec<_> = tree(&rig.restored())
        .into_keys()
        .map(|name| String::from_utf8(name).unwrap())
        .collect();
    assert_eq!(names, ["", "a", "deep", "deep/er", "deep/er/b", "l"]);
}

#[test]
fn names_that_lead_out_are_refused() {
    for name in [
        "/etc/passwd",
        "../evil",
        "data/../../evil",
        "data/a/../../../evil",
        "data/..",
        "data//evil",
        "data/./evil",
        "data/a\0b",
        "..",
        "./metadata",
        "",
    ] {
        refuses(&[Part::file(name, b"x")], "bad-name", "its name");
        refuses(&[Part::link(name, b"x")], "bad-name", "its name");
    }
    refuses(&[Part::folder("data/../../evil/")], "bad-name", "its name");
    refuses(
        &[Part::file(format!("data/{}", "x".repeat(256)), b"")],
        "bad-name",
        "too long",
    );
    let deep = format!("data/{}x", "d/".repeat(200));
    refuses(&[Part::file(&deep, b"")], "too-deep", "folders");
}

#[test]
fn a_better_name_in_an_extra_field_is_checked_too() {
    let extra_name = |name: &[u8]| {
        let mut part = Part::file("data/plain", b"x");
        part.extra.extend(0x7075_u16.to_le_bytes());
        part.extra.extend((5 + name.len() as u16).to_le_bytes());
        part.extra.push(1);
        part.extra.extend(crc32fast::hash(b"data/plain").to_le_bytes());
        part.extra.extend(name);
        part
    };
    refuses(&[extra_name(b"../evil")], "bad-name", "leads out");
    let rig = Rig::new();
    rig.restore(
        &backup(&[extra_name("data/größer".as_bytes())]),
        &Limits::default(),
    )
    .unwrap();
    assert!(rig.restored().join("größer").exists());
}

#[test]
fn nothing_is_written_through_links_and_files() {
    for below in ["data/way/evil", "data/way/deep/evil"] {
        for way in [
            Part::link("data/way", b".."),
            Part::link("data/way", b"/tmp"),
            Part::link("data/way", b"."),
            Part::file("data/way", b"x"),
        ] {
            refuses(
                &[way.clone(), Part::file(below, b"x")],
                "no-folder",
                "not a folder",
            );
            refuses(
                &[way.clone(), Part::folder(format!("{below}/"))],
                "no-folder",
                "not a folder",
            );
            refuses(&[way, Part::link(below, b"x")], "no-folder", "not a folder");
        }
    }
    for root in [
        Part::link("data", b"/tmp"),
        Part::file("data", b"x"),
        Part::link("metadata", b"log"),
    ] {
        refuses(&[root, Part::file("data/evil", b"x")], "special-file", "neither");
    }
}

#[test]
fn two_entries_of_one_name_are_refused() {
    let file = || Part::file("data/a", b"x");
    let folder = || Part::folder("data/a/");
    let link = || Part::link("data/a", b"data");
    for (one, other) in [
        (file(), file()),
        (file(), link()),
        (link(), link()),
        (link(), file()),
        (folder(), folder()),
        (folder(), file()),
        (folder(), link()),
        (Part::file("data/a/b", b""), file()),
    ] {
        refuses(&[one, other], "duplicate-name", "data/a");
    }
    refuses(&[file(), folder()], "no-folder", "data/a");
    refuses(&[Part::metadata()], "duplicate-name", "metadata");
}

#[test]
fn special_files_and_set_id_programs_are_refused() {
    for kind in [0o020_000, 0o060_000, 0o010_000, 0o140_000, 0o160_000] {
        refuses(
            &[Part::new("data/x", kind | 0o644, b"")],
            "special-file",
            "data/x",
        );
    }
    for bits in [0o4755, 0o2755, 0o6700] {
        refuses(&[Part::new("data/x", 0o100_000 | bits, b"")], "set-id", "data/x");
    }
    // On folders they grant nothing; they are dropped.
    let rig = Rig::new();
    rig.restore(
        &backup(&[Part::new("data/x/", 0o046_755, b"")]),
        &Limits::default(),
    )
    .unwrap();
    assert_eq!(
        fs::metadata(rig.restored().join("x")).unwrap().mode() & 0o7777,
        0o755
    );
}

#[test]
fn what_is_not_understood_is_refused() {
    let sound = Part::file("data/x", b"x");
    for flags in [1, 1 << 6, 1 << 13] {
        refuses(
            &[Part {
                flags,
                ..sound.clone()
            }],
            "encrypted",
            "data/x",
        );
    }
    for method in [1, 6, 9, 12, 14, 93, 95, 99] {
        refuses(
            &[Part {
                method,
                ..sound.clone()
            }],
            "compression",
            "data/x",
        );
    }
    refuses(
        &[Part {
            flags: 1 << 5,
            ..sound
        }],
        "compression",
        "data/x",
    );
}

#[test]
fn contradictions_are_refused() {
    let sound = Part::file("data/x", b"content");
    let cases = [
        Part {
            crc: 1,
            ..sound.clone()
        },
        Part {
            size: 6,
            compressed: 6,
            ..sound.clone()
        },
        Part {
            size: 6,
            ..sound.clone()
        },
        Part {
            local_name: Some(b"data/y".to_vec()),
            ..sound.clone()
        },
        Part {
            local_name: Some(b"data/xy".to_vec()),
            ..sound.clone()
        },
        Part {
            offset: Some(3),
            ..sound.clone()
        },
        Part {
            offset: Some(u32::MAX - 1),
            ..sound.clone()
        },
        Part {
            offset: Some(u32::MAX),
            ..sound.clone()
        },
        Part {
            extra: vec![1, 0, 200, 0, 1],
            ..sound.clone()
        },
        Part::new("data/x/", 0o100_644, b""),
        Part::new("data/x/", 0o040_755, b"content"),
        Part {
            size: 4999,
            ..Part::deflated("data/x", &[1; 5000])
        },
        Part {
            size: 5001,
            ..Part::deflated("data/x", &[1; 5000])
        },
        Part {
            stored: b"\xff\xff\xff\xff".to_vec(),
            compressed: 4,
            ..Part::deflated("data/x", b"x")
        },
    ];
    for part in cases {
        refuses(&[part], "damaged", "data/x");
    }
    let mut cut = Part::deflated("data/x", &[1; 5000]);
    cut.stored.pop();
    cut.compressed -= 1;
    refuses(&[cut], "damaged", "end too early");
    let mut more = Part::deflated("data/x", &[1; 5000]);
    more.stored.push(0);
    more.compressed += 1;
    refuses(&[more], "damaged", "follows");
}

#[test]
fn bombs_are_refused() {
    let zeros = Part::deflated("data/zeros", &vec![0; 30 << 20]);
    let tight = |limits: Limits| refused(&backup(std::slice::from_ref(&zeros)), &limits).code();
    let limits = Limits::default();
    assert_eq!(
        tight(Limits {
            bytes: (30 << 20) - 1,
            ..limits
        }),
        "too-large"
    );
    assert_eq!(tight(Limits { ratio: 100, ..limits }), "bomb");
    assert_eq!(tight(Limits { entries: 1, ..limits }), "too-many-entries");

    // One that says it is small, and is not.
    let liar = Part {
        size: 10,
        ..zeros.clone()
    };
    refuses(&[liar], "damaged", "longer than it says");

    // Many entries that share one content: each unfolds to all of it.
    let mut parts = vec![zeros.clone()];
    let at = archive(&[Part::metadata()]).len() - (46 + 8) - 22;
    for number in 0..50 {
        parts.push(Part {
            name: format!("data/zero{number:x}").into_bytes(),
            local_name: Some(zeros.name.clone()),
            stored: Vec::new(),
            offset: Some(at as u32),
            ..zeros.clone()
        });
    }
    refuses(&parts, "damaged", "overlap");
}

#[test]
fn links_without_a_target_are_refused() {
    refuses(&[Part::link("data/l", b"")], "bad-link", "data/l");
    refuses(&[Part::link("data/l", b"a\0b")], "bad-link", "data/l");
    refuses(&[Part::link("data/l", &[b'x'; 4096])], "bad-link", "data/l");
}

#[test]
fn a_description_is_wanted_and_must_be_one() {
    let nothing = refused(&archive(&[Part::file("data/a", b"x")]), &Limits::default());
    assert_eq!(nothing.code(), "no-metadata");
    assert_eq!(
        refused(&end(Vec::new(), b"", 0), &Limits::default()).code(),
        "no-metadata"
    );
    // Not a message; a message whose segment is not there; one that claims 512 million segments.
    for bytes in [
        b"junk".as_slice(),
        &[0, 0, 0, 0, 9, 0, 0, 0],
        &[0xff, 0xff, 0xff, 0x1f, 0, 0, 0, 0],
        b"",
    ] {
        let error = refused(&archive(&[Part::file("metadata", bytes)]), &Limits::default());
        assert_eq!(error.code(), "bad-metadata", "{error}");
    }
    let large = Part::deflated("metadata", &vec![0; 2 << 20]);
    assert_eq!(
        refused(&archive(&[large]), &Limits::default()).code(),
        "bad-metadata"
    );
    // A list of 2^29 people who take no room.
    let mut void_list = vec![0, 0, 0, 0, 8, 0, 0, 0];
    let root: u64 = 1 << 32 | 5 << 48;
    let users: u64 = 1 | (1 << 2) | 7 << 32;
    let tag: u64 = (1_u64 << 28) << 2;
    for word in [root, 0, 0, 0, 0, users, 0, tag] {
        void_list.extend(word.to_le_bytes());
    }
    let error = refused(
        &archive(&[Part::file("metadata", &void_list)]),
        &Limits::default(),
    );
    assert_eq!(error.code(), "bad-metadata", "{error}");
}

#[test]
fn an_archive_cut_anywhere_is_refused() {
    let zip = backup(&[
        Part::file("data/a", b"hello"),
        Part::deflated("data/b", &[3; 9000]),
    ]);
    for length in 0..zip.len() {
        let error = refused(&zip[..length], &Limits::default());
        let code = if length < 4 { "not-a-zip" } else { "truncated" };
        assert_eq!(error.code(), code, "{length} of {}: {error}", zip.len());
    }
    assert_eq!(
        refused(b"%PDF-1.7 and so on, long enough", &Limits::default()).code(),
        "not-a-zip"
    );
}

#[test]
fn an_archive_with_something_in_front_or_behind_is_refused() {
    let zip = backup(&[Part::file("data/a", b"hello")]);
    let shifted = [b"MZ".as_slice(), &zip].concat();
    assert_eq!(refused(&shifted, &Limits::default()).code(), "damaged");
    let longer = [zip.as_slice(), b"x"].concat();
    assert_eq!(refused(&longer, &Limits::default()).code(), "truncated");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Whatever is done to an archive, it is restored or refused: no panic, nothing outside, no more than allowed.
    #[test]
    fn damage_is_harmless(
        changes in proptest::collection::vec((any::<Index>(), any::<u8>(), 0..3_u8), 1..8),
        cut in proptest::option::of(any::<Index>()),
    ) {
        let mut zip = backup(&[
            Part::folder("data/"),
            Part::file("data/a", b"hello"),
            Part::link("data/l", b"../.."),
            Part::deflated("data/d/b", &[3; 9000]),
        ]);
        for (place, value, how) in changes {
            let at = place.index(zip.len());
            match how {
                0 => zip[at] = value,
                1 => zip[at] ^= 1 << (value % 8),
                _ => zip.insert(at, value),
            }
        }
        if let Some(cut) = cut {
            zip.truncate(cut.index(zip.len()) + 1);
        }
        let rig = Rig::new();
        write(&rig.path("canary"), b"alive");
        let before = tree(rig.place.path());
        let limits = Limits { bytes: 20_000, ..Limits::default() };
        if let Ok(restored) = rig.restore(&zip, &limits) {
            prop_assert!(restored.bytes <= limits.bytes);
        }
        unharmed(&rig, before);
    }
}
