//! What a grain may take of the server, who may change that, and telling its owner when it met a limit.
//!
//! The person who runs the server grants; the owner may choose less. Memory and processes are bounded by the kernel, at
//! once; storage is measured by the grain's host, and its app is ended when it is above. It starts again so that it can
//! read and delete, until there is room.

mod kind;
mod numbers;
mod room;

use std::rc::Rc;
use std::time::Duration;

use percloud_core::id::GrainId;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::account::{SignedIn, parse};
use crate::broker::Broker;
use crate::outside::{AdjustReport, AdjustStart};
use crate::problem::Problem;
use crate::record::{Grain, LimitMet};
use crate::running::{Running, Slot, in_time};

pub use self::kind::Limit;
use self::kind::met_key;
use self::numbers::BOUNDS;
pub use self::numbers::GrainLimits;
pub(crate) use self::numbers::OwnLimits;
pub use self::room::Disk;

/// How long a host may take to measure its grain.
const MEASURE: Duration = Duration::from_secs(10);
/// How long changing what a running app may take may last.
const ADJUST: Duration = Duration::from_secs(5);

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
        let told = in_time(storage.send().promise).await.is_ok();
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
}

fn is_above(slot: &Slot, limits: GrainLimits) -> bool {
    slot.size.get().is_some_and(|used| used > limits.disk)
        || slot.files.get().is_some_and(|used| used > limits.files)
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
