//! Looks after what the app takes: what it met is told to the broker, and an app whose storage has grown beyond its limit is
//! ended.
//!
//! Memory, processes and processor are bounded by the kernel; here it is only noticed that they were met. Storage is bounded
//! by walking it ([`crate::usage`]), so an app can be above its limit between two walks. Looks are frequent while the app is
//! used or works by itself, and as good as none while it sleeps: an idle grain is to cost nothing. Walks follow the looks, at
//! a pace of their own, so that a slow disk holds up nothing else.

mod storage;

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::convert::Infallible;
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
use crate::rest::{Concerned, Rest};
use crate::usage::{Usage, Walks};

pub(crate) use self::storage::report_size;

/// Between two looks at an app that is used.
const LOOK: Duration = Duration::from_millis(500);
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

/// What is known of the app's share.
pub(crate) struct Share {
    walks: Walks,
    /// What the last walk found.
    last: Cell<Option<Usage>>,
    group: Option<Group>,
    storage: Cell<Storage>,
    log: Log,
    /// What the broker was told; once for each life of the app.
    told: RefCell<HashSet<Limit>>,
    /// Marked when the storage is to be measured at once.
    asked: Notify,
    /// Marked at each look, after which the storage may be measured.
    looked: Notify,
}

impl Share {
    pub(crate) fn new(folder: PathBuf, group: Option<Group>, storage: Storage, log: Log) -> Self {
        Self {
            walks: Walks::new(folder),
            last: Cell::new(None),
            group,
            storage: Cell::new(storage),
            log,
            told: RefCell::default(),
            asked: Notify::new(),
            looked: Notify::new(),
        }
    }

    /// What the kernel counts.
    pub(crate) fn read(&self) -> Reading {
        self.group
            .as_ref()
            .map(|group| (group.read)())
            .unwrap_or_default()
    }

    /// Looks for as long as the app may live; returns why it may no longer.
    pub(crate) async fn keep(
        &self,
        concerned: &Concerned,
        rest: &Rest,
        keeper: &host_keeper::Client,
    ) -> Ended {
        tokio::select! {
            ended = self.keep_storage(keeper) => ended,
            never = self.keep_looking(concerned, rest, keeper) => match never {},
        }
    }

    /// Looks at everything but the storage, which takes no time.
    async fn keep_looking(
        &self,
        concerned: &Concerned,
        rest: &Rest,
        keeper: &host_keeper::Client,
    ) -> Infallible {
        let Concerned { app, realm, .. } = concerned;
        let mut attention = Attention::default();
        let mut had_all_files = false;
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
            match attention.look(seen(concerned, rest), Instant::now()) {
                Step::Nothing => {}
                Step::Ask => app.ask_whether_it_listens(),
                Step::Tell(limit) => self.tell(keeper, limit).await,
            }
            self.looked.notify_one();
            sleep(LOOK).await;
            // Nobody is woken for a grain that does nothing, or ever more rarely.
            while realm.pending() == 0 && realm.touches() == touches {
                tokio::select! {
                    _ = timeout(quiet, realm.touched(touches)) => {}
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

/// How the app is, as far as its attention goes.
pub(crate) fn seen(concerned: &Concerned, rest: &Rest) -> Seen {
    let Concerned { realm, pulse, .. } = concerned;
    let is_waited_for = realm.pending() > 0;
    Seen {
        is_waited_for,
        heard: pulse.heard(),
        is_held: pulse.is_held(),
        is_silenced: pulse.is_silenced(),
        is_frozen: is_waited_for && rest.is_frozen_by_others(),
    }
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
    use super::*;

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
