//! Kill -9 at any moment: the page cache survives, the process does not.

use std::time::{Duration, Instant};

use percloud_store::{OpenOptions, Otherwise, Store};
use rand::Rng;

use crate::outcome::Outcome;
use crate::workload::{Writer, assert_whole};

const TIME: Duration = Duration::from_secs(10);

/// One store, killed and opened again, over and over.
pub fn killed_at_random() -> Outcome {
    let temp = tempfile::tempdir().expect("temporary folder");
    let dir = temp.path().join("store");
    let since = Instant::now();
    let mut random = rand::rng();
    let (mut rounds, mut count) = (0, 0);
    while since.elapsed() < TIME && rounds < 150 {
        let mut writer = Writer::start("write", &dir);
        // Some die while they open, most while they write; where exactly is up to the scheduler.
        let lines = random.random_range(0..200);
        for _ in 0..lines {
            assert!(writer.read(), "the writer died by itself: {:?}", writer.refused);
        }
        let acknowledged = writer.kill().max(count);
        count = assert_whole(&dir, acknowledged);
        rounds += 1;
    }
    assert!(rounds >= 10, "only {rounds} rounds in {TIME:?}");
    Outcome::Passed(format!("{rounds} kills, {count} commits"))
}

/// A rebuild that is killed leaves a store that the next start rebuilds, never an empty one.
pub fn killed_while_rebuilding() -> Outcome {
    let temp = tempfile::tempdir().expect("temporary folder");
    let dir = temp.path().join("store");
    let options = OpenOptions {
        export_dir: temp.path().join("export"),
        otherwise: Otherwise::Recover,
    };
    let mut writer = Writer::start("write", &dir);
    while writer.acknowledged < 500 {
        assert!(writer.read());
    }
    writer.kill();
    let (store, _) = Store::open(&dir, &options).expect("opens");
    let exported = store.export_now().expect("exports");
    drop(store);
    let since = Instant::now();
    let mut random = rand::rng();
    let mut rounds = 0;
    while since.elapsed() < Duration::from_secs(5) && rounds < 40 {
        // The log is gone: every start has to rebuild.
        let _ = std::fs::remove_file(dir.join("sled/db"));
        let mut rebuilder = crate::outcome::child("rebuild", &dir).spawn().expect("starts");
        std::thread::sleep(Duration::from_micros(random.random_range(0..30_000)));
        rebuilder.kill().expect("our own child");
        rebuilder.wait().expect("our own child");
        rounds += 1;
    }
    let (store, _) = Store::open(&dir, &options).expect("opens whatever was left");
    assert_eq!(store.statistics().records, exported.records);
    drop(store);
    // Numbers of commits moved on with every rebuild; the records did not.
    Outcome::Passed(format!("{rounds} kills"))
}

/// The child of [`killed_while_rebuilding`].
pub fn rebuild(dir: &std::path::Path) {
    let options = OpenOptions {
        export_dir: dir.with_file_name("export"),
        otherwise: Otherwise::Recover,
    };
    let opened = Store::open(dir, &options);
    assert!(opened.is_ok(), "{opened:?}");
}
