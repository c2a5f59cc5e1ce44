//! How much of the disk the grain takes: for every entry below its folder, the blocks it holds divided by its names
//! (sheet 3.6, trap 43).
//!
//! Counted by walking the folder on a thread aside. That is sturdier than watching every folder with inotify, of which a
//! hostile app can make more than there are watches. Walks are rare where they are dear: only while the grain is in use,
//! at most every 500 ms, and never for more than a tenth of the time.

mod walk;

use std::cell::RefCell;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::spawn_blocking;

use self::walk::walk;

/// Shortest time between two walks.
pub(crate) const PAUSE: Duration = Duration::from_millis(500);
/// A walk pauses for so many times as long as it took.
const RARITY: u32 = 10;
/// Entries any walk may look at. Where more are allowed, it looks at twice as many as that.
const ENTRIES: u64 = 2_000_000;

/// What a walk found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Bytes of the disk.
    pub(crate) bytes: u64,
    /// Files and folders.
    pub(crate) files: u64,
    /// There is more, where it cannot be counted: in folders that cannot be read, or too deep.
    pub(crate) is_hidden: bool,
    /// How long to wait before walking again.
    pub(crate) pause: Duration,
}

/// The walks through one folder.
pub(crate) struct Walks {
    folder: PathBuf,
    /// What the last walk finds.
    last: RefCell<Option<Finding>>,
}

/// What a walk finds, once it has. Whoever walks holds the other end until then.
type Finding = watch::Receiver<Option<Usage>>;

impl Walks {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            last: RefCell::default(),
        }
    }

    /// What the folder takes. Waits for a walk that is under way: a second one beside it would learn no more, and keep the
    /// disk busy for as long again. Is not sure to count everything where there are many more than `files`.
    pub(crate) async fn measure(&self, files: u64) -> Option<Usage> {
        finding(self.join_or_begin(files)).await
    }

    /// The same by a walk that begins now: for when nothing changes any more.
    pub(crate) async fn measure_anew(&self, files: u64) -> Option<Usage> {
        finding(self.begin(files)).await
    }

    /// Has whoever measures wait for as long as what is returned is kept, as a slow disk would.
    #[cfg(test)]
    pub(crate) fn hang(&self) -> impl Sized + use<> {
        let (walker, walk) = watch::channel(None);
        *self.last.borrow_mut() = Some(walk);
        walker
    }

    fn join_or_begin(&self, files: u64) -> Finding {
        let mut last = self.last.borrow_mut();
        match &*last {
            Some(walk) if walk.has_changed().is_ok() => walk.clone(),
            _ => last.insert(self.begin(files)).clone(),
        }
    }

    fn begin(&self, files: u64) -> Finding {
        let (found, finding) = watch::channel(None);
        let folder = self.folder.clone();
        spawn_blocking(move || {
            let begun = Instant::now();
            let counted = walk(&folder, files.saturating_mul(2).max(ENTRIES));
            found.send_replace(counted.ok().map(|counted| Usage {
                bytes: counted.bytes,
                files: counted.files,
                is_hidden: counted.is_hidden,
                pause: pause_after(begun.elapsed()),
            }));
        });
        finding
    }
}

async fn finding(mut walk: Finding) -> Option<Usage> {
    // An error says that the walk has ended and found nothing.
    *walk.wait_for(Option::is_some).await.ok()?
}

/// However long that is: a disk that needs a minute for a walk is not to be read for half the time.
fn pause_after(walk: Duration) -> Duration {
    walk.saturating_mul(RARITY).max(PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn walks_take_a_tenth_of_the_time_however_long_they_are() {
        for (took, pause) in [
            (1, 500),
            (49, 500),
            (60, 600),
            (30_000, 300_000),
            (600_000, 6_000_000),
        ] {
            assert_eq!(pause_after(Duration::from_millis(took)).as_millis(), pause);
        }
    }

    #[test]
    fn whoever_asks_while_a_walk_is_under_way_gets_what_that_finds() {
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .max_blocking_threads(1)
            .build()
            .unwrap();
        runtime.block_on(async {
            let (go_on, hold) = std::sync::mpsc::channel();
            // The only thread there is.
            spawn_blocking(move || hold.recv());
            let walks = Walks::new(folder.path().to_owned());
            let (first, second) = (walks.join_or_begin(10), walks.join_or_begin(10));
            assert!(first.same_channel(&second));
            let anew = walks.begin(10);
            assert!(!first.same_channel(&anew), "the last walk joins none");
            go_on.send(()).unwrap();
            assert_eq!(finding(first).await, finding(second).await);
            assert!(finding(anew).await.is_some());
        });
    }

    #[test]
    fn a_folder_that_is_gone_has_no_usage_and_the_next_walk_may_find_it() {
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path().join("top");
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let walks = Walks::new(top.clone());
            assert_eq!(walks.measure(10).await, None);
            std::fs::create_dir_all(top.join("one")).unwrap();
            assert_eq!(walks.measure_anew(10).await.unwrap().files, 1);
        });
    }
}
