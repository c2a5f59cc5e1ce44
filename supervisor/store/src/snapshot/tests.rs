use std::collections::BTreeMap;
use std::path::Path;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::engine::sled::Sled;

type Records = BTreeMap<Vec<u8>, Vec<u8>>;

fn key(number: u32) -> Vec<u8> {
    format!("count\0{number:05}").into_bytes()
}

fn engine(dir: &Path, records: &Records) -> Sled {
    let engine = Sled::open(dir).unwrap();
    let writes: Writes = records
        .iter()
        .map(|(key, value)| (key.clone(), Some(value.clone())))
        .collect();
    engine.apply(&writes).unwrap();
    engine
}

/// What the writer does with a group.
fn write(snapshot: &mut Snapshot, engine: &Sled, writes: &Writes) {
    snapshot.put_aside(engine, writes);
    engine.apply(writes).unwrap();
}

#[test]
fn whatever_is_written_meanwhile_it_is_as_it_was() {
    for seed in 0..20 {
        let mut random = StdRng::seed_from_u64(seed);
        let temp = tempfile::tempdir().unwrap();
        let before: Records = (0..2000)
            .filter(|_| random.random_bool(0.5))
            .map(|number| (key(number), b"before".to_vec()))
            .collect();
        let engine = engine(temp.path(), &before);
        let mut snapshot = Snapshot::default();
        let mut read = Vec::new();
        while let Some(piece) = snapshot.piece(&engine).unwrap() {
            read.extend(piece);
            for _ in 0..3 {
                let mut writes: Writes = (0..50)
                    .map(|_| {
                        let value = random.random_bool(0.5).then(|| b"since".to_vec());
                        (key(random.random_range(0..2000)), value)
                    })
                    .collect();
                writes.insert(content::KEY.to_vec(), Some(b"summary".to_vec()));
                write(&mut snapshot, &engine, &writes);
            }
        }
        let expected: Vec<_> = before.into_iter().collect();
        assert!(read == expected, "seed {seed}");
        assert_eq!(
            (snapshot.bytes, snapshot.aside.len()),
            (0, 0),
            "nothing is kept that was read"
        );
    }
}

#[test]
fn an_empty_one_ends_at_once() {
    let temp = tempfile::tempdir().unwrap();
    let engine = engine(temp.path(), &Records::new());
    let mut snapshot = Snapshot::default();
    write(&mut snapshot, &engine, &Writes::from([(key(1), Some(vec![1]))]));
    assert_eq!(snapshot.piece(&engine).unwrap(), Some(Vec::new()));
    assert_eq!(snapshot.piece(&engine).unwrap(), None);
}

#[test]
fn one_that_is_overtaken_says_so_and_keeps_nothing() {
    let temp = tempfile::tempdir().unwrap();
    let long = vec![7; 4096];
    let before: Records = (0..5000).map(|number| (key(number), long.clone())).collect();
    let engine = engine(temp.path(), &before);
    let mut snapshot = Snapshot::default();
    snapshot.piece(&engine).unwrap();
    for number in 0..5000 {
        let writes = Writes::from([(key(number), Some(vec![1]))]);
        snapshot.put_aside(&engine, &writes);
    }
    assert!(snapshot.aside.is_empty());
    assert!(matches!(snapshot.piece(&engine), Err(ExportError::Overtaken)));
    assert_eq!(snapshot.piece(&engine).unwrap(), None);
}
