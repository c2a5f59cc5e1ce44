use std::os::unix::fs::FileExt;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use super::*;
use crate::{Batch, CommitError, Record, Store};

mod exports;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Entry {
    number: u64,
    padding: String,
}

impl Record for Entry {
    const TABLE: &'static str = "entry";
    const VERSION: u8 = 1;
}

const SLOTS: u64 = 40;

/// A data folder with a place for a store and its exports.
struct Place {
    temp: TempDir,
}

impl Place {
    fn new() -> Self {
        Self {
            temp: tempfile::tempdir().unwrap(),
        }
    }

    fn dir(&self) -> PathBuf {
        self.temp.path().join("store")
    }

    fn options(&self, recover: bool) -> OpenOptions {
        OpenOptions {
            export_dir: self.temp.path().join("export"),
            otherwise: if recover {
                Otherwise::Recover
            } else {
                Otherwise::Create
            },
        }
    }

    /// Opens what must be there.
    fn open_again(&self) -> Result<Store, OpenError> {
        let options = OpenOptions {
            otherwise: Otherwise::Refuse,
            ..self.options(false)
        };
        Store::open(&self.dir(), &options).map(|(store, _)| store)
    }

    fn open(&self, recover: bool) -> Result<(Store, Opened), OpenError> {
        Store::open(&self.dir(), &self.options(recover))
    }

    fn opened(&self) -> Store {
        self.open(false).unwrap().0
    }
}

fn entry(number: u64) -> Entry {
    Entry {
        number,
        padding: String::new(),
    }
}

/// Commit `number` writes its slot and the counter.
fn write(store: &Store, numbers: impl IntoIterator<Item = u64>) {
    let commits: Vec<_> = numbers
        .into_iter()
        .map(|number| {
            let entry = Entry {
                number,
                padding: "p".repeat((number * 37 % 900) as usize),
            };
            let mut batch = Batch::new();
            batch.put(format!("slot-{:02}", number % SLOTS).as_bytes(), &entry);
            batch.put(b"counter", &entry);
            store.commit(batch)
        })
        .collect();
    commits.into_iter().for_each(|commit| commit.wait().unwrap());
}

/// Asserts that the store holds exactly what the first so many commits leave; returns how many.
fn assert_whole(store: &Store) -> u64 {
    let counter = store
        .get::<Entry>(b"counter")
        .unwrap()
        .map_or(0, |entry| entry.number);
    let slots = store.scan::<Entry>(b"slot-").unwrap();
    assert_eq!(slots.len() as u64, counter.min(SLOTS));
    for (key, entry) in slots {
        let slot: u64 = std::str::from_utf8(&key[5..]).unwrap().parse().unwrap();
        let expected = (0..SLOTS)
            .map(|back| counter - back)
            .find(|number| number % SLOTS == slot)
            .unwrap();
        assert_eq!(entry.number, expected, "slot {slot} after {counter} commits");
        assert_eq!(entry.padding.len() as u64, expected * 37 % 900);
    }
    counter
}

#[test]
fn a_store_is_made_once_and_then_found() {
    let place = Place::new();
    let (store, opened) = place.open(false).unwrap();
    assert_eq!((&opened, opened.warning()), (&Opened::Created, None));
    write(&store, 1..=100);
    drop(store);
    let (store, opened) = place.open(false).unwrap();
    assert_eq!((&opened, opened.warning()), (&Opened::Clean, None));
    assert_eq!(assert_whole(&store), 100);
    assert_eq!(store.statistics().commits, 100);
    assert_eq!(store.statistics().records, SLOTS + 1);
    let blobs = fs::read_dir(folder::engine(&place.dir()).join("blobs"))
        .unwrap()
        .count();
    assert_eq!(blobs, 0, "no value may end up in a file that nobody syncs");
}

#[test]
fn the_largest_records_stay_in_the_log() {
    let place = Place::new();
    let store = place.opened();
    for round in 0..4 {
        for number in 0..320_u64 {
            let mut batch = Batch::new();
            for part in 0..5 {
                let mut key = format!("{number:03}-{part}-").into_bytes();
                key.resize(crate::MAX_KEY, b'k');
                let entry = Entry {
                    number: round,
                    padding: "p".repeat(4000),
                };
                batch.put(&key, &entry);
            }
            store.commit_blocking(batch).unwrap();
        }
    }
    drop(store);
    let store = place.opened();
    assert_eq!(store.statistics().records, 1600);
    assert!(
        store
            .scan::<Entry>(b"")
            .unwrap()
            .iter()
            .all(|(_, entry)| entry.number == 3)
    );
    assert_eq!(
        fs::read_dir(folder::engine(&place.dir()).join("blobs"))
            .unwrap()
            .count(),
        0
    );
    let size = fs::metadata(folder::engine(&place.dir()).join("db"))
        .unwrap()
        .len();
    assert!(
        size < 8 * 1600 * 4200,
        "cleaning keeps up: {size} bytes for 6.5 MB of records written four times"
    );
}

#[test]
fn pages_follow_one_another() {
    let place = Place::new();
    let store = place.opened();
    write(&store, 1..=SLOTS);
    let mut seen = Vec::new();
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = store.page::<Entry>(b"slot-", after.as_deref(), 7).unwrap();
        let Some((last, _)) = page.last() else { break };
        assert!(page.len() <= 7);
        after = Some(last.clone());
        seen.extend(page.into_iter().map(|(key, _)| key));
    }
    let all: Vec<_> = store
        .scan::<Entry>(b"slot-")
        .unwrap()
        .into_iter()
        .map(|(key, _)| key)
        .collect();
    assert_eq!(seen, all);
    assert!(all.is_sorted() && all.len() as u64 == SLOTS);
    assert!(store.page::<Entry>(b"slot-", None, 0).unwrap().is_empty());
    assert!(store.scan::<Entry>(b"nothing").unwrap().is_empty());
}

#[test]
fn a_store_is_open_once() {
    let place = Place::new();
    let store = place.opened();
    assert!(matches!(place.open(true), Err(OpenError::Locked { .. })));
    let second_handle = store.clone();
    drop(store);
    assert!(matches!(place.open(true), Err(OpenError::Locked { .. })));
    drop(second_handle);
    place.opened();
}

#[test]
fn each_wrong_place_has_its_own_error() {
    let place = Place::new();
    let deep = place.temp.path().join("missing/store");
    assert!(matches!(
        Store::open(&deep, &place.options(true)),
        Err(OpenError::MissingParent { .. })
    ));
    assert!(!deep.parent().unwrap().exists());

    let photos = place.temp.path().join("photos");
    fs::create_dir(&photos).unwrap();
    fs::write(photos.join("beach.jpg"), "sand").unwrap();
    assert!(matches!(
        Store::open(&photos, &place.options(true)),
        Err(OpenError::NotAStore { .. })
    ));
    assert_eq!(fs::read(photos.join("beach.jpg")).unwrap(), b"sand");

    let file = place.temp.path().join("file");
    fs::write(&file, "x").unwrap();
    assert!(matches!(
        Store::open(&file, &place.options(true)),
        Err(OpenError::NotAStore { .. })
    ));
    assert!(matches!(
        Store::open(Path::new("/"), &place.options(true)),
        Err(OpenError::NotAStore { .. })
    ));

    drop(place.opened());
    fs::write(place.dir().join("format"), "percloud-store 2\n").unwrap();
    let newer = place.open(true).unwrap_err();
    assert!(
        matches!(
            newer,
            OpenError::Newer {
                found: 2,
                known: 1,
                ..
            }
        ),
        "{newer}"
    );
    assert!(newer.to_string().contains("use a newer one"));
}

#[test]
fn an_empty_folder_becomes_a_store() {
    let place = Place::new();
    fs::create_dir(place.dir()).unwrap();
    assert_eq!(place.open(false).unwrap().1, Opened::Created);
}

#[test]
fn a_vanished_store_is_never_replaced_by_an_empty_one() {
    let place = Place::new();
    let store = place.opened();
    write(&store, 1..=50);
    store.export_now().unwrap();
    write(&store, 51..=60);
    drop(store);
    fs::remove_dir_all(place.dir()).unwrap();
    assert!(matches!(place.open(false), Err(OpenError::Missing { .. })));
    let (store, opened) = place.open(true).unwrap();
    assert!(matches!(
        &opened,
        Opened::Rebuilt {
            from: RebuiltFrom::Export(_),
            lost: None,
            kept: None,
            ..
        }
    ));
    assert!(
        opened
            .warning()
            .unwrap()
            .contains("it was missing; recent changes may be missing")
    );
    assert_eq!(assert_whole(&store), 50);
    drop(store);
    fs::remove_dir_all(place.dir()).unwrap();
    fs::remove_dir_all(place.options(true).export_dir).unwrap();
    fs::create_dir(place.temp.path().join("store.damaged-1")).unwrap();
    assert!(matches!(place.open(false), Err(OpenError::Missing { .. })));
    assert!(matches!(place.open(true), Err(OpenError::Unrecoverable { .. })));
    assert!(!place.dir().exists());
}

#[test]
fn what_a_crash_left_of_a_rebuild_is_rubbish() {
    let place = Place::new();
    let store = place.opened();
    write(&store, 1..=10);
    store.export_now().unwrap();
    drop(store);
    // Died after moving the damaged store aside, before the new one got its name.
    fs::rename(place.dir(), place.temp.path().join("store.damaged-1")).unwrap();
    fs::create_dir(place.temp.path().join("store.building")).unwrap();
    fs::write(place.temp.path().join("store.building/format"), "percl").unwrap();
    let (store, opened) = place.open(true).unwrap();
    assert!(matches!(opened, Opened::Rebuilt { kept: None, .. }));
    assert_eq!(assert_whole(&store), 10);
    assert!(!place.temp.path().join("store.building").exists());
}

#[test]
fn what_a_crash_left_of_a_snapshot_is_removed() {
    let place = Place::new();
    let store = place.opened();
    write(&store, 1..=10);
    drop(store);
    let leftover = folder::engine(&place.dir()).join("snap.00000000000FFFFF.generating");
    fs::write(&leftover, "half").unwrap();
    assert_eq!(assert_whole(&place.opened()), 10);
    assert!(!leftover.exists());
}

#[test]
fn a_lost_tail_is_noticed_and_what_is_left_is_kept() {
    let place = Place::new();
    let store = place.opened();
    write(&store, 1..=200);
    store.export_now().unwrap();
    write(&store, 201..=300);
    drop(store);
    // What an engine that forgot its tail looks like: whole, but behind its own mark.
    Head::open(&folder::head(&place.dir()))
        .unwrap()
        .0
        .set(310)
        .unwrap();
    let damaged = place.open(false).unwrap_err();
    assert!(matches!(damaged, OpenError::Damaged { .. }), "{damaged}");
    let (store, opened) = place.open(true).unwrap();
    let Opened::Rebuilt {
        from: RebuiltFrom::Itself,
        lost: Some(10),
        kept: Some(kept),
        ..
    } = &opened
    else {
        panic!("{opened:?}")
    };
    assert!(kept.join("sled/db").exists());
    assert!(
        opened
            .warning()
            .unwrap()
            .contains("the last 10 changes before that are missing")
    );
    assert_eq!(assert_whole(&store), 300);
    assert_eq!(store.statistics().commits, 311, "no number is used twice");
    drop(store);
    assert_eq!(place.open(false).unwrap().1, Opened::Clean);
}

#[test]
fn a_record_changed_behind_our_back_is_noticed() {
    let place = Place::new();
    let store = place.opened();
    write(&store, 1..=20);
    drop(store);
    for change in [Some(&b"\x01{\"number\":1,\"padding\":\"\"}"[..]), None] {
        let engine = Sled::open(&folder::engine(&place.dir())).unwrap();
        let key = crate::record::engine_key("entry", b"slot-07");
        engine
            .apply(&Writes::from([(key, change.map(<[u8]>::to_vec))]))
            .unwrap();
        drop(engine);
        let found = place.open(false).unwrap_err();
        assert!(
            matches!(&found, OpenError::Damaged { reason, .. } if reason.contains("should hold")),
            "{found}"
        );
    }
    assert!(
        matches!(place.open(true), Err(OpenError::Unrecoverable { .. })),
        "there is no export"
    );
    assert!(place.dir().exists());
}

#[test]
fn readers_see_whole_batches_only() {
    let place = Place::new();
    let store = place.opened();
    write(&store, 1..=SLOTS);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let store = store.clone();
                scope.spawn(move || {
                    let mut last = 0;
                    while last < 600 {
                        let all = store.scan::<Entry>(b"").unwrap();
                        let counter = all.iter().find(|(key, _)| key == b"counter").unwrap().1.number;
                        let newest = all
                            .iter()
                            .filter(|(key, _)| key != b"counter")
                            .map(|(_, e)| e.number)
                            .max();
                        assert_eq!(newest, Some(counter), "half a batch was visible");
                        assert!(counter >= last, "time went backwards");
                        last = counter;
                    }
                })
            })
            .collect();
        write(&store, SLOTS + 1..=600);
        readers.into_iter().for_each(|reader| reader.join().unwrap());
    });
}

/// Copies the files of a store.
fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn damage_is_noticed_and_recovered_from() {
    const COMMITS: u64 = 400;
    const EXPORTED: u64 = 150;
    let original = Place::new();
    let store = original.opened();
    write(&store, 1..=EXPORTED);
    store.export_now().unwrap();
    write(&store, EXPORTED + 1..=COMMITS);
    drop(store);
    let mut random = StdRng::seed_from_u64(0x9e37_79b9);
    let (mut clean, mut rebuilt) = (0, 0);
    for round in 0..60 {
        let place = Place::new();
        copy(&original.dir(), &place.dir());
        copy(
            &original.options(true).export_dir,
            &place.options(true).export_dir,
        );
        let engine = folder::engine(&place.dir());
        let mut files: Vec<_> = fs::read_dir(&engine)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        files.retain(|path| path.is_file());
        files.sort();
        let file = match round % 3 {
            0 => files[random.random_range(0..files.len())].clone(),
            _ => engine.join("db"),
        };
        let length = fs::metadata(&file).unwrap().len();
        let handle = File::options().read(true).write(true).open(&file).unwrap();
        let what = match round % 4 {
            0 => {
                let length = random.random_range(0..length);
                handle.set_len(length).unwrap();
                format!("cut to {length}")
            }
            1 => {
                let at = random.random_range(0..length);
                let zeros = vec![0; random.random_range(1..20_000).min((length - at) as usize)];
                handle.write_all_at(&zeros, at).unwrap();
                format!("{} zeros at {at}", zeros.len())
            }
            _ => {
                let at = random.random_range(0..length);
                let mut byte = [0];
                handle.read_exact_at(&mut byte, at).unwrap();
                byte[0] ^= 1 << random.random_range(0..8);
                handle.write_all_at(&byte, at).unwrap();
                format!("a bit flipped at {at}")
            }
        };
        let context = format!("round {round}: {} of {length} bytes, {what}", file.display());
        match place.open(false) {
            Ok((store, opened)) => {
                assert_eq!(opened, Opened::Clean, "{context}");
                assert_eq!(assert_whole(&store), COMMITS, "{context}");
                clean += 1;
            }
            Err(OpenError::Damaged { .. }) => {
                let (store, opened) = place.open(true).expect(&context);
                let Opened::Rebuilt {
                    kept: Some(kept),
                    lost: Some(lost),
                    ..
                } = &opened
                else {
                    panic!("{context}: {opened:?}")
                };
                let found = assert_whole(&store);
                assert!(found >= EXPORTED, "{context}: older than the export");
                assert_eq!(found + lost, COMMITS, "{context}: the loss is told as it is");
                assert!(kept.exists(), "{context}");
                write(&store, found + 1..=found + 5);
                assert_eq!(assert_whole(&store), found + 5, "{context}");
                rebuilt += 1;
            }
            Err(other) => panic!("{context}: {other:?}"),
        }
    }
    assert!(
        clean > 0 && rebuilt > 5,
        "{clean} rounds found nothing to notice, {rebuilt} rebuilt"
    );
}

#[test]
fn a_closed_store_is_closed_for_waiting_commits_too() {
    let place = Place::new();
    let store = place.opened();
    let commits: Vec<_> = (0..50)
        .map(|number| {
            let mut batch = Batch::new();
            batch.put(
                b"k",
                &Entry {
                    number,
                    padding: String::new(),
                },
            );
            store.commit(batch)
        })
        .collect();
    drop(store);
    for commit in commits {
        assert!(matches!(commit.wait(), Ok(()) | Err(CommitError::Closed)));
    }
    let counter = place.opened().get::<Entry>(b"k").unwrap().unwrap().number;
    assert_eq!(counter, 49, "what was handed over before closing is written");
}

#[test]
fn a_store_that_was_there_a_moment_ago_is_neither_made_nor_rebuilt() {
    let place = Place::new();
    assert!(matches!(place.open_again(), Err(OpenError::Gone { .. })));
    assert!(!place.dir().exists());
    let store = place.opened();
    write(&store, [1]);
    store.export_now().unwrap();
    drop(store);
    std::fs::write(folder::probe(&place.dir()), "rubbish").unwrap();
    drop(place.open_again().unwrap());
    assert!(!folder::probe(&place.dir()).exists());

    let away = place.dir().with_extension("away");
    std::fs::rename(place.dir(), &away).unwrap();
    for _ in 0..2 {
        assert!(matches!(place.open_again(), Err(OpenError::Gone { .. })));
        // As where a disk is not mounted.
        let _made = std::fs::create_dir(place.dir());
    }
    std::fs::remove_dir(place.dir()).unwrap();
    std::fs::rename(&away, place.dir()).unwrap();
    std::fs::remove_file(folder::engine(&place.dir()).join("db")).unwrap();
    assert!(matches!(place.open_again(), Err(OpenError::Damaged { .. })));
    assert!(folder::any_set_aside(&place.dir()).is_none());
}
