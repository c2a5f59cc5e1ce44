//! What the crashing writer writes, and what must be found afterwards.
//!
//! Commit `n` writes `n` into two records of slot `n mod 64`, deletes the pair of another slot every so often, and counts
//! itself. Commits are handed over in order and in bursts, so that groups form. Since they happen in order, a store that was
//! cut off after commit `n` holds exactly what the commits 1 to `n` leave: anything else is a commit lost, torn or invented.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Stdio};

use percloud_store::{Batch, OpenOptions, Opened, Otherwise, Record, Store};
use serde::{Deserialize, Serialize};

use crate::outcome::child;

const SLOTS: u64 = 64;
const BURST: usize = 12;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Half {
    number: u64,
    padding: String,
}

impl Record for Half {
    const TABLE: &'static str = "half";
    const VERSION: u8 = 1;
}

fn options(dir: &Path) -> OpenOptions {
    OpenOptions {
        export_dir: dir.with_file_name("export"),
        otherwise: Otherwise::Create,
    }
}

fn half(number: u64) -> Half {
    Half {
        number,
        padding: "x".repeat((number * 41 % 700) as usize),
    }
}

fn batch(number: u64) -> Batch {
    let slot = number % SLOTS;
    let mut batch = Batch::new();
    for side in ["a", "b"] {
        batch.put(format!("{side}{slot:02}").as_bytes(), &half(number));
        if number.is_multiple_of(5) {
            batch.delete::<Half>(format!("{side}{:02}", (slot + 7) % SLOTS).as_bytes());
        }
    }
    batch.put(b"count", &half(number));
    batch
}

/// What the commits 1 to `count` leave.
fn expected(count: u64) -> BTreeMap<Vec<u8>, u64> {
    let mut all = BTreeMap::new();
    // Older commits are all overwritten or deleted by these.
    for number in count.saturating_sub(2 * SLOTS * 5) + 1..=count {
        let slot = number % SLOTS;
        for side in ["a", "b"] {
            all.insert(format!("{side}{slot:02}").into_bytes(), number);
            if number.is_multiple_of(5) {
                all.remove(format!("{side}{:02}", (slot + 7) % SLOTS).as_bytes());
            }
        }
    }
    if count > 0 {
        all.insert(b"count".to_vec(), count);
    }
    all
}

/// Asserts that the store at `dir` holds at least the first `acknowledged` commits, and nothing half-done; returns how many
/// commits it holds.
pub fn assert_whole(dir: &Path, acknowledged: u64) -> u64 {
    let (store, opened) = Store::open(dir, &options(dir)).expect("a crash never makes a store unopenable");
    assert!(matches!(opened, Opened::Clean | Opened::Created), "{opened:?}");
    let found = store.scan::<Half>(b"").expect("readable");
    let count = found
        .iter()
        .find(|(key, _)| key == b"count")
        .map_or(0, |(_, half)| half.number);
    assert!(
        count >= acknowledged,
        "{acknowledged} commits were acknowledged, and {count} are left"
    );
    let found: BTreeMap<_, _> = found
        .into_iter()
        .map(|(key, found)| {
            assert_eq!(found, half(found.number));
            (key, found.number)
        })
        .collect();
    assert_eq!(found, expected(count), "not what the first {count} commits leave");
    assert_eq!(store.statistics().commits, count);
    count
}

/// Goes on where the store at `dir` ends, printing `ack n` for each commit once it is acknowledged, until it is killed or a
/// commit fails (`refused …`).
pub fn write_for_ever(dir: &Path) {
    let (store, _) = Store::open(dir, &options(dir)).expect("opens");
    let mut number = store
        .get::<Half>(b"count")
        .expect("readable")
        .map_or(0, |half| half.number);
    let mut out = std::io::stdout().lock();
    writeln!(out, "open").expect("the parent reads");
    let mut waiting = VecDeque::new();
    loop {
        while waiting.len() < BURST {
            number += 1;
            waiting.push_back((number, store.commit(batch(number))));
        }
        let (number, commit) = waiting.pop_front().expect("just filled");
        match commit.wait() {
            Ok(()) => writeln!(out, "ack {number}").expect("the parent reads"),
            Err(error) => {
                writeln!(out, "refused {error}").expect("the parent reads");
                return;
            }
        }
    }
}

/// The control: acknowledges lines of a file that it never syncs.
pub fn write_unsynced_for_ever(path: &Path) {
    let mut file = File::create(path).expect("creates");
    let mut out = std::io::stdout().lock();
    writeln!(out, "open").expect("the parent reads");
    for number in 1_u64.. {
        writeln!(file, "{number}").expect("writes");
        writeln!(out, "ack {number}").expect("the parent reads");
    }
}

/// A writer that runs, and what it acknowledged.
pub struct Writer {
    pub process: Child,
    out: BufReader<ChildStdout>,
    pub acknowledged: u64,
    pub refused: Option<String>,
}

impl Writer {
    /// Starts the writer in `role` on `path`.
    pub fn start(role: &str, path: &Path) -> Self {
        Self::spawn(child(role, path))
    }

    pub fn spawn(mut command: std::process::Command) -> Self {
        let mut process = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("starts");
        let out = BufReader::new(process.stdout.take().expect("piped"));
        Self {
            process,
            out,
            acknowledged: 0,
            refused: None,
        }
    }

    /// Reads one line; false at the end.
    pub fn read(&mut self) -> bool {
        let mut line = String::new();
        self.out.read_line(&mut line).expect("text");
        // A line that was cut off by the kill was not said.
        let Some(line) = line.strip_suffix('\n') else {
            return false;
        };
        if let Some(number) = line.strip_prefix("ack ") {
            self.acknowledged = number.parse().expect("a number");
        } else if let Some(reason) = line.strip_prefix("refused ") {
            self.refused = Some(reason.to_owned());
        }
        true
    }

    /// Reads until the end.
    pub fn read_all(&mut self) {
        while self.read() {}
    }

    /// Kills it with -9 and reads what it said before.
    pub fn kill(mut self) -> u64 {
        self.process.kill().expect("our own child");
        self.read_all();
        self.process.wait().expect("our own child");
        self.acknowledged
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // After a failed assertion, nobody else would.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
