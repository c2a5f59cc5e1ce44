//! What a store takes does not grow with what it holds. Alone in its process: others would be measured with it.

use std::path::Path;
use std::sync::Barrier;

use percloud_store::{Batch, OpenOptions, Otherwise, Record, Store};
use serde::{Deserialize, Serialize};

/// As in the broker.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// As long as an entry of the audit log.
#[derive(Serialize, Deserialize)]
struct Entry(String);

impl Record for Entry {
    const TABLE: &'static str = "entry";
    const VERSION: u8 = 1;
}

const ENTRIES: u64 = 120_000;
const LENGTH: usize = 320;
const EXPORTERS: usize = 6;

fn open(dir: &Path) -> Store {
    let options = OpenOptions {
        export_dir: dir.join("export"),
        otherwise: Otherwise::Create,
    };
    Store::open(&dir.join("store"), &options).unwrap().0
}

/// Anonymous memory of this process, in bytes.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
fn reading_all_of_it_keeps_little_of_it() {
    let temp = tempfile::tempdir().unwrap();
    let store = open(temp.path());
    let before = memory();
    let mut last = None;
    for number in 0..ENTRIES {
        let mut batch = Batch::new();
        batch.put(&number.to_be_bytes(), &Entry("x".repeat(LENGTH)));
        last = Some(store.commit(batch));
        if number % 2000 == 1999 {
            last.take().unwrap().wait().unwrap();
        }
    }
    drop(last);
    let all = ENTRIES * LENGTH as u64;
    let check = |what: &str, memory: u64| {
        let taken = memory.saturating_sub(before);
        println!(
            "{what}: {} KB, where all there is are {} KB",
            taken >> 10,
            all >> 10
        );
        assert!(taken < all, "{what}: {taken} of {all}");
    };
    check("written", memory());
    // Threads that live on keep what they freed, each for itself.
    let (exported, seen) = (Barrier::new(EXPORTERS + 1), Barrier::new(EXPORTERS + 1));
    let export = || {
        let outcome = store.export_now();
        exported.wait();
        seen.wait();
        outcome.unwrap();
    };
    let taken = std::thread::scope(|scope| {
        for _ in 0..EXPORTERS {
            scope.spawn(export);
        }
        exported.wait();
        let taken = memory();
        seen.wait();
        taken
    });
    check("exported", taken);
    drop(store);
    let store = open(temp.path());
    check("opened again", memory());
    assert_eq!(store.statistics().records, ENTRIES);
}
