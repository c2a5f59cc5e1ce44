use super::*;

fn records() -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut records = vec![
        (
            engine_key("account", b"a1"),
            b"\x01{\"name\":\"Ann \xc3\xa9\"}".to_vec(),
        ),
        (
            engine_key("grain", b"with space"),
            b"\x02[1,2,{\"x\":null}]".to_vec(),
        ),
        (
            engine_key("grain", &[0, 255, 10]),
            b"\x01\"a \\\"quoted\\\" text\\n\"".to_vec(),
        ),
        (
            engine_key("grain", &[b'"'; MAX_KEY]),
            [b"\x01\"", &[b'x'; MAX_VALUE - 3][..], b"\""].concat(),
        ),
    ];
    records.sort();
    records
}

fn content(commits: u64) -> Content {
    let mut content = Content {
        commits,
        ..Content::default()
    };
    records().iter().for_each(|(key, value)| content.add(key, value));
    content
}

fn written(dir: &Path, content: &Content, records: &[(Vec<u8>, Vec<u8>)]) -> Result<Exported, ExportError> {
    let mut pieces = records.chunks(3).map(<[_]>::to_vec);
    write(dir, content, || Ok(pieces.next()))
}

#[test]
fn an_export_comes_back_as_it_was() {
    let temp = tempfile::tempdir().unwrap();
    let exported = written(&temp.path().join("export"), &content(12), &records()).unwrap();
    assert_eq!((exported.commits, exported.records), (12, 4));
    let (found, all) = read(&exported.path).unwrap();
    assert_eq!(found, content(12));
    assert_eq!(all, records());
}

#[test]
fn an_empty_store_has_an_export_too() {
    let temp = tempfile::tempdir().unwrap();
    let exported = written(temp.path(), &Content::default(), &[]).unwrap();
    assert_eq!(read(&exported.path).unwrap(), (Content::default(), vec![]));
}

#[test]
fn what_does_not_match_its_digest_is_not_exported() {
    let temp = tempfile::tempdir().unwrap();
    written(temp.path(), &content(12), &records()).unwrap();
    let before = list(temp.path()).unwrap();
    let mut changed = records();
    changed[1].1.push(b' ');
    let strange = [(engine_key("grain", b"g"), b"\x01no JSON".to_vec())];
    for records in [&changed, &records()[1..], &strange] {
        let outcome = written(temp.path(), &content(13), records);
        assert!(matches!(outcome, Err(ExportError::Damaged)), "{outcome:?}");
    }
    assert_eq!(list(temp.path()).unwrap(), before);
    assert_eq!(
        fs::read_dir(temp.path()).unwrap().count(),
        1,
        "nothing unfinished is left"
    );
}

#[test]
fn the_newest_three_are_kept() {
    let temp = tempfile::tempdir().unwrap();
    for commits in [5, 100, 20, 7, 101] {
        written(temp.path(), &content(commits), &records()).unwrap();
    }
    let kept: Vec<_> = list(temp.path())
        .unwrap()
        .iter()
        .map(|path| commits(path).unwrap())
        .collect();
    assert_eq!(kept, [101, 100, 20]);
    fs::write(temp.path().join("store-7.jsonl"), "").unwrap();
    fs::write(temp.path().join("notes.txt"), "").unwrap();
    assert_eq!(
        list(temp.path()).unwrap().len(),
        3,
        "foreign files are left alone"
    );
}

#[test]
fn no_changed_byte_goes_unnoticed() {
    let temp = tempfile::tempdir().unwrap();
    let path = written(temp.path(), &content(12), &records()).unwrap().path;
    let whole = fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        fs::write(&path, &changed).unwrap();
        assert!(
            matches!(read(&path), Err(ImportError::Invalid { .. })),
            "byte {at} of {}",
            whole.len()
        );
    }
}

#[test]
fn no_cut_or_addition_goes_unnoticed() {
    let temp = tempfile::tempdir().unwrap();
    let path = written(temp.path(), &content(12), &records()).unwrap().path;
    let whole = fs::read(&path).unwrap();
    for length in (0..whole.len()).step_by(3).chain([whole.len() - 1]) {
        fs::write(&path, &whole[..length]).unwrap();
        assert!(
            matches!(read(&path), Err(ImportError::Invalid { .. })),
            "cut to {length}"
        );
    }
    fs::write(&path, [&whole[..], b"\n"].concat()).unwrap();
    assert!(matches!(read(&path), Err(ImportError::Invalid { .. })));
    let lines: Vec<&[u8]> = whole.split_inclusive(|&byte| byte == b'\n').collect();
    let mut without = lines.clone();
    without.remove(2);
    let mut twice = lines.clone();
    twice.insert(2, lines[2]);
    let mut swapped = lines.clone();
    swapped.swap(2, 3);
    for changed in [without, twice, swapped] {
        fs::write(&path, changed.concat()).unwrap();
        assert!(matches!(read(&path), Err(ImportError::Invalid { .. })));
    }
}

#[test]
fn a_line_without_end_is_not_read_into_memory() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("endless");
    File::create(&path).unwrap().set_len(1 << 40).unwrap();
    assert!(matches!(read(&path), Err(ImportError::Invalid { .. })));
}

#[test]
fn a_newer_export_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("newer");
    fs::write(&path, "{\"percloud-export\":2,\"commits\":1}\n").unwrap();
    let Err(ImportError::Invalid { reason, .. }) = read(&path) else {
        panic!("accepted")
    };
    assert_eq!(reason, "line 1: its version is 2, and 1 is known");
}
