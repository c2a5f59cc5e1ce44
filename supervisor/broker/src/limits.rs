//! What a grain may take of the server, who may change that, and telling its owner when it met a limit.
//!
//! The person who runs the server grants; the owner may choose less. Memory and processes are bounded by the kernel, at
//! once; storage is measured by the grain's host, and its app is ended when it is above. It starts again so that it can
//! read and delete, until there is room.

use std::rc::Rc;
use std::time::Duration;

use futures::StreamExt;
use percloud_core::grain::State;
use percloud_core::id::{GrainId, NoticeId};
use percloud_schemas::host_capnp as host;
use percloud_store::Batch;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::account::{SignedIn, parse};
use crate::broker::Broker;
use crate::outside::{AdjustReport, AdjustStart};
use crate::problem::Problem;
use crate::record::{Grain, LimitMet, Notice, grain_key};
use crate::running::{Running, Slot};

/// The owner hears of a limit at most once in so many seconds.
const NOTICE_EVERY: u64 = 24 * 60 * 60;
/// How long a host may take to measure its grain.
const MEASURE: Duration = Duration::from_secs(10);
/// How long changing what a running app may take may last.
const ADJUST: Duration = Duration::from_secs(5);
/// Time between two looks at the room that is left on the disk.
const LOOK: Duration = Duration::from_secs(5);
/// So much less room than at the last look: somebody writes, and grains are measured at once.
const FAST: u64 = 256 << 20;
/// Grains that are measured at a time.
const MEASURED: usize = 8;
/// A grain that grew by so much while there is no room is one that fills the disk.
const GREW: u64 = 1 << 20;

/// What a grain may run into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Limit {
    /// Memory.
    Memory,
    /// Processes and threads.
    Processes,
    /// Bytes of its storage.
    Disk,
    /// Files of its storage.
    Files,
    /// Words in its log.
    Log,
    /// Processor time, without a break.
    Processor,
    /// Files a process may have open.
    OpenFiles,
    /// Calls it may make before it takes answers.
    Calls,
    /// Patience: it says nothing, and somebody waits for it.
    Answers,
    /// The whole server's disk, not its own share.
    ServerDisk,
}

impl Limit {
    pub(crate) const ALL: [Limit; 10] = [
        Self::Memory,
        Self::Processes,
        Self::Disk,
        Self::Files,
        Self::Log,
        Self::Processor,
        Self::OpenFiles,
        Self::Calls,
        Self::Answers,
        Self::ServerDisk,
    ];

    /// As it is called in keys and in the shell API.
    fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Processes => "processes",
            Self::Disk => "disk",
            Self::Files => "files",
            Self::Log => "log",
            Self::Processor => "processor",
            Self::OpenFiles => "open-files",
            Self::Calls => "calls",
            Self::Answers => "answers",
            Self::ServerDisk => "server-disk",
        }
    }

    /// What its owner reads; the shell has it in other languages too.
    fn sentence(self) -> &'static str {
        match self {
            Self::Memory => {
                "It needed more memory than it may use, and was stopped or lost a part of its work."
            }
            Self::Processes => "It tried to start more processes than it may.",
            Self::Disk => "It takes all the space it may. Until there is room it can read and delete only.",
            Self::Files => {
                "It keeps as many files as it may. Until some are gone it can read and delete only."
            }
            Self::Log => "It writes more into its log than is kept.",
            Self::Processor => {
                "It has kept a processor busy for more than a minute. Others are served first."
            }
            Self::OpenFiles => "It has as many files open as it may, and can open no more.",
            Self::Calls => "It asks for more than it finishes with. It was made to wait, or stopped.",
            Self::Answers => "It said nothing while somebody waited for it. It may help to start it again.",
            Self::ServerDisk => {
                "The disk of this server is nearly full. Until there is room it can read and delete only."
            }
        }
    }

    pub(crate) fn read(limit: host::Limit) -> Option<Self> {
        match limit {
            host::Limit::None => None,
            host::Limit::Memory => Some(Self::Memory),
            host::Limit::Processes => Some(Self::Processes),
            host::Limit::Disk => Some(Self::Disk),
            host::Limit::Files => Some(Self::Files),
            host::Limit::Log => Some(Self::Log),
            host::Limit::Processor => Some(Self::Processor),
            host::Limit::OpenFiles => Some(Self::OpenFiles),
            host::Limit::Calls => Some(Self::Calls),
            host::Limit::Answers => Some(Self::Answers),
        }
    }
}

/// Numbers for one grain, as far as somebody set them. Bytes, processes, bytes, files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Numbers {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<u64>,
}

/// What is kept of a grain's limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct OwnLimits {
    /// What the person who runs the server granted beyond, or below, the usual.
    pub granted: Numbers,
    /// How far its owner holds it below that.
    pub chosen: Numbers,
}

/// What one grain may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GrainLimits {
    /// Memory of all its processes, in bytes.
    pub memory: u64,
    /// Processes and threads.
    pub processes: u64,
    /// Bytes on disk, its log included.
    pub disk: u64,
    /// Files and folders.
    pub files: u64,
}

/// The bounds of one number.
struct Bound {
    name: &'static str,
    least: u64,
    usual: u64,
    most: u64,
    of: fn(&mut Numbers) -> &mut Option<u64>,
}

/// Usual values: memory is what Sandstorm's apps were tested with; a mailbox or album of years fits into the storage, and
/// a thousand files a day for three years into the number of files; both are far below what a disk of today holds.
const BOUNDS: [Bound; 4] = [
    Bound {
        name: "memory",
        least: 64 << 20,
        usual: 512 << 20,
        most: 64 << 30,
        of: |numbers| &mut numbers.memory,
    },
    Bound {
        name: "processes",
        least: 16,
        usual: 512,
        most: 16_384,
        of: |numbers| &mut numbers.processes,
    },
    Bound {
        name: "disk",
        least: 20_000_000,
        usual: 10_000_000_000,
        most: 16_000_000_000_000,
        of: |numbers| &mut numbers.disk,
    },
    Bound {
        name: "files",
        least: 1000,
        usual: 1_000_000,
        most: 100_000_000,
        of: |numbers| &mut numbers.files,
    },
];

impl Bound {
    fn granted(&self, own: &mut OwnLimits) -> u64 {
        (self.of)(&mut own.granted).unwrap_or(self.usual)
    }

    fn effective(&self, own: &mut OwnLimits) -> u64 {
        let granted = self.granted(own);
        (self.of)(&mut own.chosen).map_or(granted, |chosen| chosen.min(granted))
    }
}

impl OwnLimits {
    /// What holds in the end.
    pub(crate) fn effective(mut self) -> GrainLimits {
        let [memory, processes, disk, files] = BOUNDS.map(|bound| bound.effective(&mut self));
        GrainLimits {
            memory,
            processes,
            disk,
            files,
        }
    }
}

/// Room on the disk with the data folder, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disk {
    /// All of it.
    pub total: u64,
    /// What is left for the server.
    pub free: u64,
}

impl Disk {
    /// Below this no grain may grow, so that the server itself can always write: a fiftieth, 256 MiB to 4 GiB.
    fn floor(self) -> u64 {
        (self.total / 50).clamp(256 << 20, 4 << 30)
    }

    /// Whether grains may not grow.
    pub(crate) fn is_short(self) -> bool {
        self.free < self.floor()
    }
}

/// A change somebody wants: a number, or the usual (null); what is not named stays.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    #[serde(default, deserialize_with = "named")]
    memory: Option<Option<u64>>,
    #[serde(default, deserialize_with = "named")]
    processes: Option<Option<u64>>,
    #[serde(default, deserialize_with = "named")]
    disk: Option<Option<u64>>,
    #[serde(default, deserialize_with = "named")]
    files: Option<Option<u64>>,
}

/// Tells null from absent.
fn named<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Option<u64>>, D::Error> {
    Option::deserialize(from).map(Some)
}

/// What a grain takes, as far as it is known.
#[derive(Clone, Copy, Default)]
struct Used {
    memory: Option<u64>,
    processes: Option<u64>,
    disk: Option<u64>,
    files: Option<u64>,
    /// Milliseconds.
    processor: Option<u64>,
}

impl Broker {
    /// Its owner, or somebody with access who runs the server, may see and change a grain's limits.
    fn limited_grain(&self, who: &SignedIn, id: &GrainId) -> Result<Grain, Problem> {
        let grain = self.reachable(who, id)?;
        if grain.owner != who.account {
            self.runs_the_server(who)?;
        }
        Ok(grain)
    }

    /// What a grain takes, what it may take, and what it met.
    pub(crate) async fn limits(&self, who: &SignedIn, id: &GrainId) -> Result<Value, Problem> {
        let grain = self.limited_grain(who, id)?;
        let used = self.used(id, &grain).await;
        // Asking took a while.
        let grain = self.limited_grain(who, id)?;
        Ok(self.limits_view(who, id, &grain, used))
    }

    fn limits_view(&self, who: &SignedIn, id: &GrainId, grain: &Grain, used: Used) -> Value {
        let may_raise = self.runs_the_server(who).is_ok();
        let mut own = grain.limits;
        let in_use = [used.memory, used.processes, used.disk, used.files];
        let limits: serde_json::Map<String, Value> = BOUNDS
            .iter()
            .zip(in_use)
            .map(|(bound, used)| {
                let shown = json!({
                    "used": used,
                    "limit": bound.effective(&mut own),
                    "usual": bound.usual,
                    "least": bound.least,
                    "most": if may_raise { bound.most } else { bound.granted(&mut own) },
                });
                (bound.name.to_owned(), shown)
            })
            .collect();
        let met = Limit::ALL.iter().filter_map(|limit| {
            let met: LimitMet = self.read(&met_key(id, *limit)).ok()??;
            Some(json!({"limit": limit, "time": met.time, "text": limit.sentence()}))
        });
        let slot = self.slot(id);
        json!({
            "limits": limits,
            "processor": used.processor,
            "met": met.collect::<Vec<_>>(),
            "running": slot.running().is_some(),
            "full": slot.full.get(),
            "mayRaise": may_raise,
        })
    }

    async fn used(&self, id: &GrainId, grain: &Grain) -> Used {
        let slot = self.slot(id);
        let known = Used {
            disk: slot.size.get().or(grain.size),
            files: slot.files.get().or(grain.files),
            ..Used::default()
        };
        match slot.running() {
            Some(running) => measure(&running).await.map_or(known, |now| Used {
                disk: now.disk.or(known.disk),
                files: now.files.or(known.files),
                ..now
            }),
            None => known,
        }
    }

    /// Changes what a grain may take.
    pub(crate) async fn change_limits(
        self: &Rc<Self>,
        who: &SignedIn,
        id: &GrainId,
        body: &str,
    ) -> Result<Value, Problem> {
        let change: Change = parse(body)?;
        let grain = self.limited_grain(who, id)?;
        let used = self.used(id, &grain).await;
        let may_raise = self.runs_the_server(who).is_ok();
        let in_use = [None, None, used.disk, used.files];
        let wanted = [change.memory, change.processes, change.disk, change.files];
        let mut own = grain.limits;
        for ((bound, wanted), in_use) in BOUNDS.iter().zip(wanted).zip(in_use) {
            let Some(wanted) = wanted else { continue };
            let most = if may_raise {
                bound.most
            } else {
                bound.granted(&mut own)
            };
            if let Some(wanted) = wanted {
                if !(bound.least..=most).contains(&wanted) {
                    return Err(Problem::BadRequest(format!(
                        "the limit for {} is between {} and {most} here",
                        bound.name, bound.least
                    )));
                }
                // It would be stopped at once, and nobody means that.
                if in_use.is_some_and(|in_use| in_use > wanted && wanted < bound.effective(&mut own)) {
                    return Err(Problem::BadRequest(format!(
                        "more is in use already: choose a limit for {} above {}",
                        bound.name,
                        in_use.unwrap_or(0)
                    )));
                }
            }
            if may_raise {
                // Whoever grants decides all of it; below the usual, too.
                *(bound.of)(&mut own.granted) = wanted.filter(|wanted| *wanted != bound.usual);
                *(bound.of)(&mut own.chosen) = None;
            } else {
                let granted = bound.granted(&mut own);
                *(bound.of)(&mut own.chosen) = wanted.filter(|wanted| *wanted < granted);
            }
        }
        if own != grain.limits {
            self.update_grain(id, |grain| grain.limits = own).await?;
        }
        let now = self.apply_limits(id, own.effective()).await;
        let grain = self.limited_grain(who, id)?;
        let mut view = self.limits_view(who, id, &grain, used);
        view["applies"] = json!(if now { "now" } else { "next-start" });
        Ok(view)
    }

    /// Bounds a running grain anew; says whether everything holds from now on.
    async fn apply_limits(self: &Rc<Self>, id: &GrainId, limits: GrainLimits) -> bool {
        let slot = self.slot(id);
        let Some(running) = slot.running() else {
            if !is_above(&slot, limits) {
                slot.full.set(None);
            }
            return true;
        };
        if let Some(full) = slot.full.get() {
            // It can do no more than read; whether it may write again its next start decides.
            let has_room = match full {
                Limit::ServerDisk => false,
                _ => !is_above(&slot, limits),
            };
            if has_room {
                self.stop_grain(id).await;
                self.tell_grain(id);
            }
            return true;
        }
        let mut storage = running.host.limit_storage_request();
        let mut limit = storage.get().init_limit();
        limit.set_bytes(limits.disk);
        limit.set_files(limits.files);
        let told = storage.send().promise.await.is_ok();
        let adjusted = self.adjust(running.pid, limits).await;
        told && adjusted
    }

    async fn adjust(&self, host: u32, limits: GrainLimits) -> bool {
        let Ok((mut report, theirs)) = crate::backup::Report::pair() else {
            return false;
        };
        let start = AdjustStart {
            host,
            limits,
            report: theirs,
        };
        let Ok(worker) = self.outside.launcher.start_adjust(start).await else {
            return false;
        };
        let answer = tokio::time::timeout(ADJUST, report.next()).await;
        drop(worker);
        match answer {
            Ok(Some(AdjustReport::Done)) => true,
            Ok(Some(AdjustReport::Failed { message })) => {
                tracing::debug!("the limits of a running app cannot be changed: {message}");
                false
            }
            _ => false,
        }
    }

    /// Which limit a grain that is about to start is above, so that it may read and delete only.
    pub(crate) fn fullness(&self, slot: &Slot, grain: &Grain) -> Option<Limit> {
        let disk = (self.outside.disk)(&self.config.layout.grains());
        if disk.is_some_and(Disk::is_short) {
            return Some(Limit::ServerDisk);
        }
        let limits = grain.limits.effective();
        let above = |used: Option<u64>, limit: u64| used.is_some_and(|used| used > limit);
        if above(slot.size.get().or(grain.size), limits.disk) {
            Some(Limit::Disk)
        } else if above(slot.files.get().or(grain.files), limits.files) {
            Some(Limit::Files)
        } else {
            None
        }
    }

    /// Tells a grain's owner, at most once a day, that it met a limit.
    pub(crate) fn met_limit(self: &Rc<Self>, id: &GrainId, limit: Limit) {
        let (broker, id) = (self.clone(), id.clone());
        tokio::task::spawn_local(async move {
            if let Err(problem) = broker.note_limit(&id, limit).await {
                tracing::warn!(grain = %id, "cannot tell of a limit that was met: {problem}");
            }
        });
    }

    pub(crate) async fn note_limit(&self, id: &GrainId, limit: Limit) -> Result<(), Problem> {
        let _changing = self.changing.lock().await;
        let Some(grain) = self.read::<Grain>(grain_key(id))? else {
            return Ok(());
        };
        let (key, now) = (met_key(id, limit), self.outside.now());
        let last: Option<LimitMet> = self.read(&key)?;
        if last.is_some_and(|last| now < last.time.plus_seconds(NOTICE_EVERY)) {
            return Ok(());
        }
        tracing::info!(grain = %id, limit = limit.name(), "a grain met a limit");
        let mut batch = Batch::new();
        // The server must be able to say that there is no room.
        batch.frees_space();
        batch.put(&key, &LimitMet { time: now });
        let notice = Notice {
            grain: id.clone(),
            text: limit.sentence().to_owned(),
            from: None,
            path: None,
            thread: None,
            time: now,
            read: false,
            count: 1,
            limit: Some(limit),
        };
        let notice_id = NoticeId::new(|bytes| (self.outside.random)(bytes));
        self.put_notice(&mut batch, &grain.owner, id, &notice_id, &notice);
        self.commit(batch).await?;
        self.tell_notices(&grain.owner);
        self.tell_grain(id);
        Ok(())
    }

    /// Forgets which limits a grain met.
    pub(crate) fn forget_limits(batch: &mut Batch, id: &GrainId) {
        for limit in Limit::ALL {
            batch.delete::<LimitMet>(&met_key(id, limit));
        }
    }

    /// Sees to it that the server can always write. Runs for as long as the server does.
    pub async fn keep_room(self: &Rc<Self>) {
        let mut last = None;
        loop {
            tokio::time::sleep(LOOK).await;
            let disk = (self.outside.disk)(&self.config.layout.grains());
            if let Some(disk) = disk {
                self.make_sure_of_room(disk, last).await;
                last = Some(disk);
            }
        }
    }

    /// Has grains measured when room goes fast, and ends those that grow when there is none.
    pub(crate) async fn make_sure_of_room(self: &Rc<Self>, disk: Disk, last: Option<Disk>) {
        let goes_fast = last.is_some_and(|last| disk.free + FAST <= last.free);
        let running: Vec<(GrainId, Rc<Slot>)> = {
            let slots = self.slots.borrow();
            let running = slots.iter().filter(|(_, slot)| slot.running().is_some());
            running.map(|(id, slot)| (id.clone(), slot.clone())).collect()
        };
        if !disk.is_short() {
            // With some to spare, lest it is short again at once.
            let has_room = disk.free > disk.floor() / 8 * 9;
            for (id, slot) in &running {
                if has_room && slot.full.get() == Some(Limit::ServerDisk) {
                    self.stop_grain(id).await;
                    self.tell_grain(id);
                }
            }
        }
        if !disk.is_short() && !goes_fast {
            return;
        }
        // A few at a time: walks read the disk that is short already, and one host that does not answer holds up no other.
        let measured =
            futures::stream::iter(running).for_each_concurrent(MEASURED, |(id, slot)| async move {
                let (Some(running), before) = (slot.running(), slot.size.get()) else {
                    return;
                };
                // Its host ends it when it is above its own limit.
                let Some(used) = measure(&running).await else {
                    return;
                };
                let grew = used.disk.unwrap_or(0).saturating_sub(before.unwrap_or(0)) > GREW;
                slot.size.set(used.disk.or(before));
                if disk.is_short() && grew && slot.full.get().is_none() {
                    tracing::warn!(grain = %id, "the disk is nearly full: a grain that grows is stopped");
                    self.stop_grain(&id).await;
                    slot.state.set(State::Failed);
                    *slot.problem.borrow_mut() = Some("the disk of this server is nearly full".to_owned());
                    slot.limit.set(Some(Limit::ServerDisk));
                    self.met_limit(&id, Limit::ServerDisk);
                    self.tell_grain(&id);
                }
            });
        measured.await;
    }

    /// Whether there is too little room for grains to grow, for whoever runs the server.
    pub(crate) fn room_warning(&self) -> Option<Value> {
        let disk = (self.outside.disk)(&self.config.layout.grains())?;
        disk.is_short().then(|| {
            json!({
                "code": "disk-short",
                "message": "The disk of this server is nearly full. Until there is room, nothing on it can grow.",
            })
        })
    }
}

fn is_above(slot: &Slot, limits: GrainLimits) -> bool {
    slot.size.get().is_some_and(|used| used > limits.disk)
        || slot.files.get().is_some_and(|used| used > limits.files)
}

fn met_key(id: &GrainId, limit: Limit) -> Vec<u8> {
    format!("{id}/{}", limit.name()).into_bytes()
}

/// Asks a running grain what it takes.
async fn measure(running: &Running) -> Option<Used> {
    let asked = running.host.usage_request().send().promise;
    let answer = tokio::time::timeout(MEASURE, asked).await.ok()?.ok()?;
    let usage = answer.get().ok()?.get_usage().ok()?;
    let known = |number: i64| u64::try_from(number).ok();
    let stored = |number: u64| (number > 0).then_some(number);
    Some(Used {
        memory: known(usage.get_memory()),
        processes: known(usage.get_processes()),
        disk: stored(usage.get_bytes()),
        files: stored(usage.get_files()),
        processor: known(usage.get_processor()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_chooses_below_what_is_granted() {
        let own = OwnLimits {
            granted: Numbers {
                disk: Some(20 << 30),
                memory: Some(100 << 20),
                ..Numbers::default()
            },
            chosen: Numbers {
                disk: Some(5 << 30),
                memory: Some(200 << 20),
                ..Numbers::default()
            },
        };
        let limits = own.effective();
        assert_eq!(limits.disk, 5 << 30);
        assert_eq!(limits.memory, 100 << 20, "what was granted later is less");
        assert_eq!((limits.processes, limits.files), (512, 1_000_000));
    }

    #[test]
    fn records_of_older_servers_have_the_usual_limits() {
        let old: OwnLimits = serde_json::from_str("{}").unwrap();
        assert_eq!(old.effective(), OwnLimits::default().effective());
        let newer = r#"{"granted": {"disk": 5, "gpus": 3}, "chosen": {}, "later": 1}"#;
        let newer: OwnLimits = serde_json::from_str(newer).unwrap();
        assert_eq!(newer.granted.disk, Some(5));
    }

    #[test]
    fn the_floor_of_the_disk_fits_small_ones_and_large_ones() {
        let short = |total: u64, free: u64| Disk { total, free }.is_short();
        assert!(short(10 << 30, 255 << 20));
        assert!(!short(10 << 30, 257 << 20));
        assert!(short(4 << 40, (4 << 30) - 1));
        assert!(!short(4 << 40, 4 << 30));
    }
}
