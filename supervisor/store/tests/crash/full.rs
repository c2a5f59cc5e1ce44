//! No room: what cannot be written is refused, and what was written stays.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;

use percloud_store::{Batch, CommitError, OpenError, OpenOptions, Otherwise, Record, Store};
use serde::{Deserialize, Serialize};

use crate::outcome::{self, Outcome, in_mount_namespace, missing, run};
use crate::workload::{Writer, assert_whole};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Block(u64, String);

impl Record for Block {
    const TABLE: &'static str = "block";
    const VERSION: u8 = 1;
}

/// The log hits a limit midway: a real failed write below the engine.
pub fn file_size_limit() -> Outcome {
    let temp = tempfile::tempdir().expect("temporary folder");
    let dir = temp.path().join("store");
    let own = outcome::child("write", &dir);
    let mut command = Command::new("sh");
    // An ignored signal stays ignored across exec; the write then fails with EFBIG. 4096 blocks are 2 MiB.
    command
        .args(["-c", "trap '' XFSZ; ulimit -f 4096; exec \"$@\"", "sh"])
        .arg(own.get_program())
        .args(own.get_args());
    let mut writer = Writer::spawn(command);
    writer.read_all();
    let refused = writer.refused.clone().expect("the writer says why it ended");
    assert!(refused.starts_with("cannot make a commit durable"), "{refused}");
    assert!(
        writer.process.wait().expect("our own child").success(),
        "it ends in order"
    );
    let acknowledged = writer.acknowledged;
    let count = assert_whole(&dir, acknowledged);
    Outcome::Passed(format!(
        "{acknowledged} acknowledged before the limit, {count} there after it"
    ))
}

/// A disk of a few MiB of our own.
pub fn full_disk() -> Outcome {
    let temp = tempfile::tempdir().expect("temporary folder");
    in_mount_namespace(
        &["--user", "--map-root-user", "--mount"],
        "full-disk",
        temp.path(),
    )
}

fn block(number: u64) -> Batch {
    let mut batch = Batch::new();
    batch.put(
        format!("{number:06}").as_bytes(),
        &Block(number, "x".repeat(3000)),
    );
    batch
}

pub fn inside(mountpoint: &Path) {
    let path = mountpoint.to_str().expect("a plain path");
    if let Err(error) = run("mount", &["-t", "tmpfs", "-o", "size=48m", "tmpfs", path]) {
        missing(&error);
    }
    let photos = mountpoint.join("photos");
    fs::write(&photos, vec![0; 24 << 20]).expect("half of the disk");
    let dir = mountpoint.join("store");
    let options = OpenOptions {
        export_dir: mountpoint.join("export"),
        otherwise: Otherwise::Recover,
    };
    let (store, _) = Store::open(&dir, &options).expect("opens");
    let mut written = 0;
    let refused = loop {
        match store.commit_blocking(block(written)) {
            Ok(()) => written += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, CommitError::DiskFull(_)), "{refused:?}");
    let assert_there = |store: &Store, from: u64, to: u64| {
        let all = store.scan::<Block>(b"").expect("readable");
        assert!(
            all.iter().map(|(_, block)| block.0).eq(from..to),
            "{} blocks of {from}..{to}",
            all.len()
        );
    };
    assert_there(&store, 0, written);
    // Refused, not broken: deleting works on the full disk, and so does writing once there is room.
    for number in 0..10 {
        let mut batch = Batch::new();
        batch.delete::<Block>(format!("{number:06}").as_bytes());
        store
            .commit_blocking(batch)
            .expect("deleting needs the last reserve only");
    }
    assert!(matches!(
        store.commit_blocking(block(0)),
        Err(CommitError::DiskFull(_))
    ));
    fs::remove_file(&photos).expect("removes");
    store
        .commit_blocking(block(written))
        .expect("there is room again");
    assert_there(&store, 10, written + 1);

    // Somebody else takes every last byte: an export fails and leaves nothing behind, deletes are refused too.
    let filler = mountpoint.join("filler");
    fill(&filler);
    let export = store.export_now().expect_err("there is no room");
    assert!(
        export.to_string().starts_with("cannot write the export"),
        "{export}"
    );
    assert_eq!(
        fs::read_dir(mountpoint.join("export")).map_or(0, Iterator::count),
        0
    );
    let mut batch = Batch::new();
    batch.delete::<Block>(b"000010");
    assert!(matches!(
        store.commit_blocking(batch),
        Err(CommitError::DiskFull(_))
    ));
    drop(store);
    // A start on a full disk says so, or succeeds; it never takes the store for damaged, since that would replace it.
    match Store::open(&dir, &options) {
        Ok((store, opened)) => {
            assert_eq!(opened.warning(), None);
            assert_there(&store, 10, written + 1);
        }
        Err(OpenError::DiskFull { .. }) => {}
        Err(other) => panic!("{other}"),
    }
    fs::remove_file(&filler).expect("removes");
    let (store, opened) = Store::open(&dir, &options).expect("opens");
    assert_eq!(opened.warning(), None);
    assert_there(&store, 10, written + 1);
    store
        .commit_blocking(block(written + 1))
        .expect("there is room again");
    println!("refused after {written} blocks");
}

fn fill(path: &Path) {
    let mut file = File::create(path).expect("creates");
    for size in [1 << 16, 1 << 12, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
}
