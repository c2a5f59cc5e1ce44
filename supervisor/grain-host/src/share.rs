//! Looks after what the app takes: what it met is told to the broker, and an app whose storage has grown beyond its limit is
//! ended.
//!
//! Memory, processes and processor are bounded by the kernel; here it is only noticed that they were met. Storage is bounded
//! by walking it ([`crate::usage`]), so an app can be above its limit between two walks. Walks are frequent while the app is
//! used or works by itself, and as good as none while it sleeps: an idle grain is to cost nothing.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use percloud_schemas::host_capnp::{self as host, host_keeper};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use crate::app::Exit;
use crate::attention::{Attention, Seen, Step};
use crate::config::{Ended, Group, Limit, Reading, Storage};
use crate::log::Log;
use crate::rest::Concerned;
use crate::usage::{self, Usage};

/// Between two looks at an app that does something.
const BUSY: Duration = Duration::from_secs(1);
/// Longest time between two looks at one that does nothing.
const QUIET: Duration = Duration::from_secs(60);
/// Processor time between two looks that says an app does something by itself.
const STIRS: Duration = Duration::from_millis(10);
/// How long the broker may take to hear of something.
const HEARD: Duration = Duration::from_secs(5);
/// How long an app may keep a processor busy before its owner is told.
const PATIENCE: Duration = Duration::from_secs(60);
/// Percent of a processor that count as keeping it busy. Who wants all of it gets no more than that where others are served
/// first.
const SPINS: u32 = 25;
/// Percent below which it has made a break.
const PAUSES: u32 = 2;
/// Percent of its limits a full grain must be below before it may write again.
const ROOM: u64 = 95;

/// What is known of the app's share.
pub(crate) struct Share {
    folder: PathBuf,
    group: Option<Group>,
    storage: Cell<Storage>,
    log: Log,
    /// What the broker was told; once for each life of the app.
    told: RefCell<HashSet<Limit>>,
    /// Marked when the broker wants to know at once.
    asked: Notify,
}

impl Share {
    pub(crate) fn new(folder: PathBuf, group: Option<Group>, storage: Storage, log: Log) -> Self {
        Self {
            folder,
            group,
            storage: Cell::new(storage),
            log,
            told: RefCell::default(),
            asked: Notify::new(),
        }
    }

    /// What the kernel counts.
    pub(crate) fn read(&self) -> Reading {
        self.group
            .as_ref()
            .map(|group| (group.read)())
            .unwrap_or_default()
    }

    /// Measures the storage, and has the limits looked at if it is above them.
    pub(crate) async fn measure(&self) -> Option<Usage> {
        let usage = usage::measure(self.folder.clone()).await?;
        if exceeded(self.storage.get(), usage).is_some() {
            self.asked.notify_one();
        }
        Some(usage)
    }

    /// Bounds the storage from now on.
    pub(crate) fn limit_storage(&self, bytes: u64, files: u64) {
        let is_full = self.storage.get().is_full;
        self.storage.set(Storage {
            bytes,
            files,
            is_full,
        });
        self.asked.notify_one();
    }

    /// Looks for as long as the app may live; returns why it may no longer.
    pub(crate) async fn keep(&self, concerned: &Concerned, keeper: &host_keeper::Client) -> Ended {
        let Concerned {
            app, realm, pulse, ..
        } = concerned;
        let mut attention = Attention::default();
        let mut had_all_files = false;
        let mut reported = None;
        let mut quiet = BUSY;
        let mut busy = Busy::default();
        let mut kills = 0;
        let alarm = self.alarm();
        loop {
            let touches = realm.touches();
            let reading = self.read();
            if busy.stirs(reading.processor) {
                quiet = BUSY;
            }
            if busy.look(reading.processor, Instant::now()) {
                self.tell(keeper, Limit::Processor).await;
            }
            if reading.processes_refused > Some(0) {
                self.tell(keeper, Limit::Processes).await;
            }
            if reading.memory_kills > Some(kills) {
                kills = reading.memory_kills.unwrap_or(kills);
                self.tell(keeper, Limit::Memory).await;
            }
            if self.log.was_flooded() {
                self.tell(keeper, Limit::Log).await;
            }
            let has_all_files = self.has_all_files();
            // Twice: it may have been a moment.
            if has_all_files && had_all_files {
                self.tell(keeper, Limit::OpenFiles).await;
            }
            had_all_files = has_all_files;
            let seen = Seen {
                is_waited_for: realm.pending() > 0,
                heard: pulse.heard(),
                is_held: pulse.is_held(),
                is_silenced: pulse.is_silenced(),
            };
            match attention.look(seen, Instant::now()) {
                Step::Nothing => {}
                Step::Ask => app.ask_whether_it_listens(),
                Step::Tell(limit) => self.tell(keeper, limit).await,
            }
            let mut pause = usage::PAUSE;
            if let Some(usage) = usage::measure(self.folder.clone()).await {
                pause = usage.pause;
                if let Some(ended) = self.judge(usage) {
                    return ended;
                }
                let size = (usage.bytes, usage.files);
                if reported != Some(size)
                    && matches!(timeout(HEARD, report_size(keeper, usage)).await, Ok(Ok(())))
                {
                    reported = Some(size);
                }
            }
            tokio::select! {
                () = sleep(pause) => {}
                () = self.asked.notified() => continue,
            }
            // Nobody is woken for a grain that does nothing, or ever more rarely.
            while realm.pending() == 0 && realm.touches() == touches {
                tokio::select! {
                    _ = timeout(quiet, realm.touched(touches)) => {}
                    () = self.asked.notified() => break,
                    () = alarm.heard() => break,
                }
                let used = self.read().processor;
                if busy.stirs(used) {
                    quiet = BUSY;
                    break;
                }
                // Where nobody counts it may have worked all the time.
                if used.is_none() && quiet == QUIET {
                    break;
                }
                quiet = (quiet * 2).min(QUIET);
            }
        }
    }

    /// Whether a process has as many files open as it may. One that asked for a number of its own is not seen.
    fn has_all_files(&self) -> bool {
        let Some(group) = &self.group else { return false };
        (group.open_files)().is_some_and(|open| group.most_files.contains(&open))
    }

    /// Whether the storage, being as it was found, ends the app.
    fn judge(&self, usage: Usage) -> Option<Ended> {
        let storage = self.storage.get();
        match exceeded(storage, usage) {
            // It can do no more than read and delete.
            Some(_) if storage.is_full => None,
            Some(limit) => Some(Ended {
                reason: match limit {
                    Limit::Files => "the app keeps more files than it may and was stopped",
                    _ => "the app takes more space than it may and was stopped",
                }
                .to_owned(),
                asked: false,
                limit: Some(limit),
            }),
            None if storage.is_full && has_room(storage, usage) => Some(Ended {
                reason: "there is room again; the app starts anew".to_owned(),
                asked: true,
                limit: None,
            }),
            None => None,
        }
    }

    /// What a limit has to do with how the app ended.
    pub(crate) fn explains(&self, exit: Exit) -> Option<(Limit, &'static str)> {
        match exit {
            // The kernel's own: a process was to write beyond the longest file there may be (setrlimit(2)).
            Exit::Signal(SIGXFSZ) => Some((
                Limit::Disk,
                "the app wrote more into one file than it may and was stopped",
            )),
            Exit::Status(0) | Exit::Unknown => None,
            _ if self.read().memory_kills > Some(0) => Some((
                Limit::Memory,
                "the app needed more memory than it may use and was stopped",
            )),
            _ => None,
        }
    }

    async fn tell(&self, keeper: &host_keeper::Client, limit: Limit) {
        if self.told.borrow_mut().insert(limit) {
            let mut request = keeper.report_limit_request();
            request.get().set_limit(wire(Some(limit)));
            // A broker that is gone ends us anyhow, and one that does not answer is no reason to look away.
            let _heard = timeout(HEARD, request.send().promise).await;
        }
    }

    fn alarm(&self) -> Alarm {
        let told = self.group.iter().flat_map(|group| &group.told);
        Alarm(told.filter_map(|file| watch(file.try_clone().ok()?)).collect())
    }
}

/// Number of the signal that ends a process which writes beyond the longest file it may have (signal(7)).
const SIGXFSZ: i32 = 25;

/// Hears when the kernel has refused something.
struct Alarm(Vec<AsyncFd<OwnedFd>>);

impl Alarm {
    async fn heard(&self) {
        if self.0.is_empty() {
            return std::future::pending().await;
        }
        let waiting = self.0.iter().map(|file| {
            Box::pin(async move {
                match file.ready(Interest::PRIORITY).await {
                    Ok(mut ready) => ready.clear_ready(),
                    Err(_) => std::future::pending().await,
                }
            })
        });
        futures::future::select_all(waiting).await;
    }
}

#[expect(
    deprecated,
    reason = "its replacement asks, unsafely, for what OwnedFd promises: a descriptor of its own"
)]
fn watch(file: OwnedFd) -> Option<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(file, Interest::PRIORITY).ok()
}

/// Which limit of its storage a grain is above.
fn exceeded(storage: Storage, usage: Usage) -> Option<Limit> {
    if usage.bytes > storage.bytes {
        Some(Limit::Disk)
    } else if usage.files > storage.files {
        Some(Limit::Files)
    } else {
        None
    }
}

fn has_room(storage: Storage, usage: Usage) -> bool {
    let below = |used: u64, limit: u64| used <= limit / 100 * ROOM;
    below(usage.bytes, storage.bytes) && below(usage.files, storage.files)
}

/// Notices an app that works without a break.
#[derive(Default)]
struct Busy {
    /// Processor time used when it was looked at before, and when that was.
    before: Option<(Duration, Instant)>,
    /// The same when it began to work without a break.
    since: Option<(Duration, Instant)>,
    last: Duration,
}

impl Busy {
    /// Whether the app worked since this was asked last.
    fn stirs(&mut self, used: Option<Duration>) -> bool {
        let Some(used) = used else { return false };
        let stirs = used.saturating_sub(self.last) > STIRS;
        if stirs {
            self.last = used;
        }
        stirs
    }

    /// Takes note of the processor time used until `now`. Whether it has been a good part of a processor for longer than
    /// anybody's patience.
    fn look(&mut self, used: Option<Duration>, now: Instant) -> bool {
        let Some(used) = used else { return false };
        let (before, at) = *self.before.get_or_insert((used, now));
        let passed = now.duration_since(at);
        // Less says nothing: the kernel counts in steps.
        if passed < BUSY {
            return false;
        }
        self.before = Some((used, now));
        // Where many want the processor, what it gets comes in pieces: at every look something, and enough of all.
        let (begun, since) = *self.since.get_or_insert((before, at));
        let worked = now.duration_since(since);
        let paused = used.saturating_sub(before) * 100 < passed * PAUSES;
        if paused || used.saturating_sub(begun) * 100 < worked * SPINS {
            self.since = Some((used, now));
            return false;
        }
        worked >= PATIENCE
    }
}

pub(crate) async fn report_size(keeper: &host_keeper::Client, usage: Usage) -> Result<(), capnp::Error> {
    let mut request = keeper.report_size_request();
    request.get().set_bytes(usage.bytes);
    request.get().set_files(usage.files);
    request.send().promise.await.map(drop)
}

pub(crate) fn wire(limit: Option<Limit>) -> host::Limit {
    match limit {
        None => host::Limit::None,
        Some(Limit::Memory) => host::Limit::Memory,
        Some(Limit::Processes) => host::Limit::Processes,
        Some(Limit::Disk) => host::Limit::Disk,
        Some(Limit::Files) => host::Limit::Files,
        Some(Limit::Log) => host::Limit::Log,
        Some(Limit::Processor) => host::Limit::Processor,
        Some(Limit::OpenFiles) => host::Limit::OpenFiles,
        Some(Limit::Calls) => host::Limit::Calls,
        Some(Limit::Answers) => host::Limit::Answers,
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::tests::rig::with_grain;

    fn usage(bytes: u64, files: u64) -> Usage {
        Usage {
            bytes,
            files,
            pause: usage::PAUSE,
        }
    }

    /// Hears of nothing.
    struct Deaf;

    impl host_keeper::Server for Deaf {
        async fn report_size(
            self: Rc<Self>,
            _: host_keeper::ReportSizeParams,
            _: host_keeper::ReportSizeResults,
        ) -> Result<(), capnp::Error> {
            std::future::pending().await
        }
    }

    #[test]
    fn a_broker_that_does_not_listen_saves_nobody_who_is_above_their_limit() {
        with_grain(|grain| async move {
            let folder = tempfile::tempdir().unwrap();
            let (words, _said) = std::io::pipe().unwrap();
            let (log, _reader) = Log::open(folder.path(), words.into(), &crate::Limits::default()).unwrap();
            let storage = Storage {
                bytes: 1 << 20,
                files: 100,
                is_full: false,
            };
            let share = Share::new(folder.path().to_owned(), None, storage, log);
            let deaf: host_keeper::Client = capnp_rpc::new_client(Deaf);
            let looks = share.keep(&grain.wired.concerned, &deaf);
            let writes = async {
                // Below the limit at the first look, whose report nobody hears.
                tokio::time::sleep(usage::PAUSE).await;
                std::fs::write(folder.path().join("heap"), vec![7; 2 << 20]).unwrap();
                share.asked.notify_one();
                std::future::pending::<()>().await;
            };
            tokio::select! {
                ended = looks => assert_eq!(ended.limit, Some(Limit::Disk)),
                () = writes => {}
            }
        });
    }

    #[test]
    fn a_full_grain_needs_room_for_both_before_it_may_write_again() {
        let storage = Storage {
            bytes: 1000,
            files: 100,
            is_full: true,
        };
        assert_eq!(exceeded(storage, usage(1001, 1)), Some(Limit::Disk));
        assert_eq!(exceeded(storage, usage(1000, 101)), Some(Limit::Files));
        assert_eq!(exceeded(storage, usage(1000, 100)), None);
        assert!(
            !has_room(storage, usage(1000, 1)),
            "it would be full again at once"
        );
        assert!(!has_room(storage, usage(1, 100)));
        assert!(has_room(storage, usage(950, 95)));
    }

    #[test]
    fn only_who_keeps_a_processor_busy_without_a_break_is_told_of() {
        let begun = Instant::now();
        let seconds = Duration::from_secs;
        let mut busy = Busy::default();
        // A third of a processor is all it gets.
        for second in 0..60 {
            let used = Duration::from_millis(second * 333);
            assert!(!busy.look(Some(used), begun + seconds(second)), "{second}");
        }
        assert!(busy.look(Some(seconds(20)), begun + seconds(60)));
        // A pause, and the count begins anew.
        assert!(!busy.look(Some(seconds(20)), begun + seconds(65)));
        assert!(!busy.look(Some(seconds(79)), begun + seconds(124)));
        assert!(busy.look(Some(seconds(80)), begun + seconds(125)));
        // It gets nothing for a second now and then, and much in others.
        let mut pieces = Busy::default();
        let mut used = 0;
        let told = (0..=90).any(|second: u64| {
            used += if second.is_multiple_of(3) { 100 } else { 600 };
            pieces.look(Some(Duration::from_millis(used)), begun + seconds(second))
        });
        assert!(told);
        // Much work in a short time is none without a break.
        let mut short = Busy::default();
        assert!(!short.look(Some(seconds(0)), begun));
        assert!(!short.look(Some(seconds(50)), begun + seconds(50)));
        assert!(!short.look(Some(seconds(50)), begun + seconds(90)));
        // Two processors at a time count as more than one.
        let mut both = Busy::default();
        assert!(!both.look(Some(seconds(0)), begun));
        assert!(both.look(Some(seconds(120)), begun + seconds(60)));
        assert!(!Busy::default().look(None, begun));
    }
}
