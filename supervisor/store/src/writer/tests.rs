use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::*;
use crate::engine::Visit;
use crate::record::Record;
use crate::store::{Parts, Store};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Count(u64);

impl Record for Count {
    const TABLE: &'static str = "count";
    const VERSION: u8 = 1;
}

/// An engine in memory whose syncs can be held back or made to fail, and which can be damaged.
#[derive(Default)]
struct Memory {
    damaged: bool,
    map: Mutex<BTreeMap<Vec<u8>, Vec<u8>>>,
    fail: Arc<AtomicBool>,
    /// Each sync takes a permit, if there is a gate.
    permits: Option<Mutex<mpsc::Receiver<()>>>,
}

impl Engine for Memory {
    fn get(&self, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        if self.damaged && key != content::KEY {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a page is rotten"));
        }
        Ok(self.map.lock().unwrap().get(key).cloned())
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, visit: Visit<'_>) -> io::Result<()> {
        for (key, value) in self.map.lock().unwrap().range(prefix.to_vec()..) {
            if !key.starts_with(prefix) {
                break;
            }
            if after.is_some_and(|after| key.as_slice() <= after) {
                continue;
            }
            if let ControlFlow::Break(()) = visit(key, value) {
                break;
            }
        }
        Ok(())
    }

    fn apply(&self, writes: &Writes) -> io::Result<()> {
        let mut map = self.map.lock().unwrap();
        for (key, value) in writes {
            match value {
                Some(value) => map.insert(key.clone(), value.clone()),
                None => map.remove(key),
            };
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        if let Some(permits) = &self.permits {
            permits
                .lock()
                .unwrap()
                .recv_timeout(Duration::from_secs(30))
                .expect("the test gives permits");
        }
        match self.fail.load(Ordering::Relaxed) {
            true => Err(io::Error::from_raw_os_error(rustix::io::Errno::IO.raw_os_error())),
            false => Ok(()),
        }
    }
}

fn store(dir: &Path, engine: Memory, reserve: Reserve) -> Store {
    Store::start(parts(dir, engine), reserve).unwrap()
}

fn parts(dir: &Path, engine: Memory) -> Parts {
    engine
        .map
        .lock()
        .unwrap()
        .insert(content::KEY.to_vec(), Content::default().encode());
    Parts {
        engine: Box::new(engine),
        content: Content::default(),
        head: Head::open(&dir.join("head")).unwrap().0,
        dir: dir.to_owned(),
        export_dir: dir.join("export"),
        exported: 0,
        lock: folder::lock(&dir.join("store")).unwrap().unwrap(),
    }
}

fn reserve(ordinary: u64, last: u64) -> Reserve {
    Reserve {
        ordinary: AtomicU64::new(ordinary),
        last: AtomicU64::new(last),
    }
}

fn put(key: &str, value: u64) -> Batch {
    let mut batch = Batch::new();
    batch.put(key.as_bytes(), &Count(value));
    batch
}

#[test]
fn commits_that_wait_share_one_sync() {
    let temp = tempfile::tempdir().unwrap();
    let (permit, permits) = mpsc::channel();
    let engine = Memory {
        permits: Some(Mutex::new(permits)),
        ..Memory::default()
    };
    let store = store(temp.path(), engine, reserve(0, 0));
    // The first sync has no permit yet: everything behind it has to wait, and then goes together.
    let first = store.commit(put("first", 0));
    while store.statistics().syncs == 0 {
        std::thread::yield_now();
    }
    let count = MAX_BATCH_WRITES as u64;
    let others: Vec<_> = (0..count)
        .map(|n| store.commit(put(&format!("k{n}"), n)))
        .collect();
    permit.send(()).unwrap();
    first.wait().unwrap();
    permit.send(()).unwrap();
    for other in others {
        other.wait().unwrap();
    }
    assert_eq!(store.statistics().syncs, 2);
    assert_eq!(store.statistics().commits, count + 1);
    assert_eq!(store.scan::<Count>(b"k").unwrap().len() as u64, count);
}

#[test]
fn a_group_stays_below_what_one_segment_holds() {
    let temp = tempfile::tempdir().unwrap();
    let (permit, permits) = mpsc::channel();
    let engine = Memory {
        permits: Some(Mutex::new(permits)),
        ..Memory::default()
    };
    let store = store(temp.path(), engine, reserve(0, 0));
    let count = MAX_BATCH_WRITES * 3;
    let all: Vec<_> = (0..count)
        .map(|n| store.commit(put(&format!("k{n}"), 0)))
        .collect();
    (0..count).for_each(|_| permit.send(()).unwrap());
    for one in all {
        one.wait().unwrap();
    }
    assert!(store.statistics().syncs >= 3, "{:?}", store.statistics());
}

#[test]
fn nothing_is_acknowledged_after_a_failed_sync() {
    let temp = tempfile::tempdir().unwrap();
    let fail = Arc::new(AtomicBool::new(false));
    let engine = Memory {
        fail: fail.clone(),
        ..Memory::default()
    };
    let store = store(temp.path(), engine, reserve(0, 0));
    store.commit_blocking(put("a", 1)).unwrap();
    assert!(!store.has_failed());
    fail.store(true, Ordering::Relaxed);
    let Err(CommitError::Failed(cause)) = store.commit_blocking(put("a", 2)) else {
        panic!("acknowledged")
    };
    assert_eq!(cause.raw_os_error(), Some(rustix::io::Errno::IO.raw_os_error()));
    assert!(store.has_failed());
    // The disk works again, but a sync that failed once proves nothing when it succeeds later.
    fail.store(false, Ordering::Relaxed);
    assert!(matches!(
        store.commit_blocking(put("a", 3)),
        Err(CommitError::ReadOnly(_))
    ));
    assert!(
        matches!(store.export_now(), Err(ExportError::Read(_))),
        "an export may hold only what is durable"
    );
    assert_eq!(store.statistics().commits, 1);
    assert_eq!(Head::open(&temp.path().join("head")).unwrap().1, Some(1));
    assert!(store.get::<Count>(b"a").unwrap().is_some(), "reading goes on");
}

#[test]
fn a_full_disk_refuses_and_forgets() {
    let temp = tempfile::tempdir().unwrap();
    let store = store(temp.path(), Memory::default(), reserve(u64::MAX, 0));
    let Err(CommitError::DiskFull(cause)) = store.commit_blocking(put("a", 1)) else {
        panic!("accepted")
    };
    assert_eq!(cause.kind(), io::ErrorKind::StorageFull);
    let mut trash = put("a", 1);
    trash.frees_space();
    store.commit_blocking(trash).unwrap();
    let mut delete = Batch::new();
    delete.delete::<Count>(b"a");
    store.commit_blocking(delete).unwrap();
    assert_eq!(store.get::<Count>(b"a").unwrap(), None);
    assert!(!store.has_failed(), "a full disk is no failure of the store");
}

#[test]
fn the_next_batch_of_an_act_that_frees_space_does_so_too() {
    let temp = tempfile::tempdir().unwrap();
    let store = store(temp.path(), Memory::default(), reserve(u64::MAX, 0));
    let mut act = put("a", 1);
    act.frees_space();
    let first = act.take();
    assert!(act.is_empty());
    act.put(b"b", &Count(2));
    store.commit_blocking(first).unwrap();
    store.commit_blocking(act).unwrap();
    // What began as an ordinary act stays one.
    let mut act = put("c", 3);
    let _first = act.take();
    act.put(b"d", &Count(4));
    assert!(matches!(
        store.commit_blocking(act),
        Err(CommitError::DiskFull(_))
    ));
}

#[test]
fn a_store_whose_disk_cannot_be_looked_at_says_that_it_has_failed() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("data");
    std::fs::create_dir(&dir).unwrap();
    let store = store(&dir, Memory::default(), reserve(0, 0));
    store.commit_blocking(put("a", 1)).unwrap();
    assert!(!store.has_failed());
    std::fs::rename(&dir, temp.path().join("elsewhere")).unwrap();
    assert!(matches!(
        store.commit_blocking(put("a", 2)),
        Err(CommitError::Failed(_))
    ));
    assert!(store.has_failed());
}

#[test]
fn preconditions_see_the_batches_before_them() {
    let temp = tempfile::tempdir().unwrap();
    let (permit, permits) = mpsc::channel();
    let engine = Memory {
        permits: Some(Mutex::new(permits)),
        ..Memory::default()
    };
    let store = store(temp.path(), engine, reserve(0, 0));
    let blocker = store.commit(put("blocker", 0));
    let claim = |value| {
        let mut batch = put("seat", value);
        batch.put(format!("by{value}").as_bytes(), &Count(value));
        batch.expect_absent::<Count>(b"seat");
        store.commit(batch)
    };
    let (first, second) = (claim(1), claim(2));
    let mut swap = put("seat", 3);
    swap.expect_unchanged(b"seat", &Count(1));
    swap.expect_present::<Count>(b"blocker");
    let swap = store.commit(swap);
    (0..4).for_each(|_| permit.send(()).unwrap());
    blocker.wait().unwrap();
    first.wait().unwrap();
    let Err(CommitError::Conflict { table: "count", key }) = second.wait() else {
        panic!("two got one seat")
    };
    assert_eq!(key, "seat");
    swap.wait().unwrap();
    assert_eq!(store.get::<Count>(b"seat").unwrap(), Some(Count(3)));
    assert_eq!(
        store.get::<Count>(b"by2").unwrap(),
        None,
        "a refused batch leaves nothing"
    );
    assert_eq!(store.statistics().records, 3);
}

#[test]
fn the_summary_follows_every_kind_of_write() {
    let temp = tempfile::tempdir().unwrap();
    let store = store(temp.path(), Memory::default(), reserve(0, 0));
    let mut batch = put("a", 1);
    batch.put(b"a", &Count(2));
    batch.put(b"b", &Count(3));
    batch.delete::<Count>(b"b");
    batch.delete::<Count>(b"never");
    store.commit_blocking(batch).unwrap();
    store.commit_blocking(Batch::new()).unwrap();
    let exported = store
        .export_now()
        .expect("verifies the summary against the content");
    assert_eq!((exported.commits, exported.records), (1, 1));
}

#[test]
fn mistakes_are_told_when_the_batch_is_committed() {
    let temp = tempfile::tempdir().unwrap();
    let store = store(temp.path(), Memory::default(), reserve(0, 0));

    #[derive(Serialize, Deserialize)]
    struct Text(String);
    impl Record for Text {
        const TABLE: &'static str = "text";
        const VERSION: u8 = 1;
    }

    // One byte of version and two quotes around the text.
    let fits = Text("x".repeat(crate::MAX_VALUE - 3));
    let mut batch = Batch::new();
    batch.put(&[b'k'; crate::MAX_KEY], &fits);
    store.commit_blocking(batch).unwrap();

    let mut batch = put("fine", 1);
    batch.put(b"k", &Text("x".repeat(crate::MAX_VALUE - 2)));
    let refused = store.commit_blocking(batch);
    assert!(
        matches!(refused, Err(CommitError::ValueTooLarge { table: "text", size }) if size == crate::MAX_VALUE + 1)
    );
    assert_eq!(store.get::<Count>(b"fine").unwrap(), None);

    let mut batch = Batch::new();
    batch.delete::<Text>(&[b'k'; crate::MAX_KEY + 1]);
    assert!(matches!(
        store.commit_blocking(batch),
        Err(CommitError::KeyTooLong { .. })
    ));

    let mut batch = Batch::new();
    (0..=MAX_BATCH_WRITES).for_each(|n| batch.delete::<Text>(n.to_string().as_bytes()));
    assert!(matches!(
        store.commit_blocking(batch),
        Err(CommitError::BatchTooLarge { .. })
    ));

    let mut batch = Batch::new();
    (0..20).for_each(|n: i32| batch.put(n.to_string().as_bytes(), &fits));
    assert!(matches!(
        store.commit_blocking(batch),
        Err(CommitError::BatchTooLarge { .. })
    ));
}

#[test]
fn a_queue_that_only_grows_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    let (permit, permits) = mpsc::channel();
    let engine = Memory {
        permits: Some(Mutex::new(permits)),
        ..Memory::default()
    };
    let store = store(temp.path(), engine, reserve(0, 0));
    // The writer takes at most one group off the queue while its sync is held back.
    let queued: Vec<_> = (0..MAX_WAITING + 2 * MAX_BATCH_WRITES)
        .map(|n| store.commit(put("k", n as u64)))
        .collect();
    (0..queued.len()).for_each(|_| permit.send(()).unwrap());
    let outcomes: Vec<_> = queued.into_iter().map(|commit| commit.wait()).collect();
    let busy = outcomes
        .iter()
        .filter(|outcome| matches!(outcome, Err(CommitError::Busy)))
        .count();
    assert!(busy > 0 && outcomes[0].is_ok());
    assert_eq!(
        outcomes.iter().filter(|outcome| outcome.is_ok()).count() + busy,
        outcomes.len()
    );
}

#[test]
fn a_damaged_store_is_not_opened_anew_however_well_its_disk_is() {
    let disk_says = |engine| {
        let temp = tempfile::tempdir().unwrap();
        folder::create(&temp.path().join("store")).unwrap();
        let mut parts = parts(temp.path(), engine);
        parts.dir = temp.path().join("store");
        let store = Store::start(parts, reserve(0, 0)).unwrap();
        let refused = store.commit_blocking(put("a", 1)).unwrap_err();
        assert!(matches!(refused, CommitError::Failed(_)), "{refused}");
        store.try_disk().map_err(|error| error.kind())
    };
    let of_the_disk = Memory {
        fail: Arc::new(AtomicBool::new(true)),
        ..Memory::default()
    };
    assert_eq!(disk_says(of_the_disk), Ok(()));
    // As the engine tells what one of its threads met.
    let device = io::Error::from_raw_os_error(rustix::io::Errno::IO.raw_os_error());
    assert!(is_of_the_world(&io::Error::new(device.kind(), "an I/O error")));
    let damaged = Memory {
        damaged: true,
        ..Memory::default()
    };
    assert_eq!(disk_says(damaged), Err(io::ErrorKind::InvalidData));
}
