//! Makes a server keep very many grains, without making them one by one: what the broker wrote of a few is written again
//! under other ids, through the store and in its batches, with the folders that go with them.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use percloud_core::id::GrainId;
use percloud_store::{Batch, OpenOptions, Otherwise, Record, Store};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::failure::{Attempt, Failure};

/// A record of a grain, whatever is in it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
struct Grain(BTreeMap<String, Value>);

impl Record for Grain {
    const TABLE: &'static str = "grain";
    const VERSION: u8 = 1;
}

const WORDS: [&str; 24] = [
    "garden",
    "taxes",
    "holiday",
    "recipes",
    "letters",
    "meeting",
    "budget",
    "reading",
    "family",
    "music",
    "kitchen",
    "school",
    "insurance",
    "travel",
    "birthday",
    "project",
    "photos",
    "health",
    "house",
    "car",
    "sports",
    "ideas",
    "diary",
    "wishes",
];

/// Has the stopped server in `data` keep `count` grains, where it keeps at least one.
pub fn fill(data: &Path, count: usize) -> Result<(), Failure> {
    let options = OpenOptions {
        export_dir: data.join("export"),
        otherwise: Otherwise::Create,
    };
    let (store, _) = Store::open(&data.join("store"), &options)
        .map_err(|error| Failure::new(format!("cannot open the store: {error}")))?;
    let known = store
        .scan::<Grain>(b"")
        .map_err(|error| Failure::new(format!("cannot read the store: {error}")))?;
    if known.is_empty() {
        return Err(Failure::new("there is no grain to copy"));
    }
    let mut random = fs::File::open("/dev/urandom").attempt(|| "open /dev/urandom".to_owned())?;
    let mut fresh = |bytes: &mut [u8]| random.read_exact(bytes).expect("/dev/urandom has no end");
    let mut batch = Batch::new();
    for number in known.len()..count {
        let id = GrainId::new(&mut fresh);
        let folder = data.join("grains").join(id.as_str());
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder.join("sandbox"))
            .attempt(|| format!("make {}", folder.display()))?;
        let (_, Grain(mut grain)) = known[number % known.len()].clone();
        let word = |at: usize| WORDS[at % WORDS.len()];
        let title = format!("{} {} {number}", word(number), word(number / 24 + number));
        grain.insert("title".to_owned(), json!(title));
        // Older than what is there, the later ones ever more: lists keep their first page.
        let age = number as u64 * 60_000;
        for time in ["created", "last_used"] {
            let then = grain.get(time).and_then(Value::as_u64).unwrap_or(0);
            grain.insert(time.to_owned(), json!(then.saturating_sub(age)));
        }
        batch.put(id.as_str().as_bytes(), &Grain(grain));
        if batch.is_nearly_full() {
            commit(&store, std::mem::take(&mut batch))?;
        }
    }
    commit(&store, batch)?;
    store
        .export_now()
        .map(drop)
        .map_err(|error| Failure::new(format!("cannot write the export: {error}")))
}

fn commit(store: &Store, batch: Batch) -> Result<(), Failure> {
    if batch.is_empty() {
        return Ok(());
    }
    store
        .commit_blocking(batch)
        .map_err(|error| Failure::new(format!("cannot write the store: {error}")))
}
