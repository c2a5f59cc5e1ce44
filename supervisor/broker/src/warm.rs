//! Grains that are kept ready: started ahead when somebody is about to open them, running on while there is memory.
//!
//! Nearly all that opening a Python or Node app takes is the app's own start. A grain that runs idle stands still (see the
//! grain host's `rest`) and costs memory alone, so it may stay until its host finds that nothing has happened for long
//! (`percloud serve --idle`). Until then those go first that are worth least ([`percloud_core::warm`]): when they take more
//! than they may together (`--warm-memory`), and when the machine has little memory left or waits for it.

use std::rc::Rc;
use std::time::Duration;

use percloud_core::id::GrainId;
use percloud_core::time::Timestamp;
use percloud_core::warm::{self, Ready, Use};
use serde_json::{Value, json};

use crate::account::SignedIn;
use crate::broker::Broker;
use crate::problem::Problem;
use crate::record::{Grain, grain_key};
use crate::running::Slot;

/// Time between two looks at the memory that is left.
const LOOK: Duration = Duration::from_secs(5);
/// Time in which all running grains are asked once what they take, one after the other: each host wakes up for it, and a
/// thousand at once would keep those waiting who open a grain.
const ROUND: Duration = Duration::from_secs(30);
/// How long a grain host may take to say so.
const ANSWER: Duration = Duration::from_secs(2);
/// The part of the memory that is to stay available, as one in so many.
const SPARE: u64 = 8;
/// Hundredths of the time some program has waited for memory of late from which on there is too little.
const WAITING: u8 = 10;
/// Grains that are ended at one look, before the next shows what that brought.
const AT_ONCE: usize = 4;
/// Grains that are started ahead at a time, on the whole server: what somebody waits for comes first.
pub(crate) const AHEAD: usize = 2;

/// Memory of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// All of it, in bytes.
    pub total: u64,
    /// What programs can have without others being written out, in bytes.
    pub available: u64,
    /// Hundredths of the last ten seconds in which some program waited for memory; 0 where nobody counts.
    pub waiting: u8,
}

impl Memory {
    /// How many bytes should come free.
    fn lacking(self) -> u64 {
        let waits = u64::from(self.waiting >= WAITING);
        (self.total / SPARE).saturating_sub(self.available).max(waits)
    }
}

impl Broker {
    /// Starts a grain that a person is about to open, if that costs nobody anything. Starting is not opening: nothing
    /// is noted, and whatever fails is told when it is opened.
    pub(crate) fn prepare(self: &Rc<Self>, who: &SignedIn, id: &GrainId) -> Result<Value, Problem> {
        if self.reachable(who, id)?.trashed.is_some() {
            return Err(Problem::InTrash);
        }
        self.start_ahead(id);
        Ok(json!({}))
    }

    /// Starts a grain in the background, unless memory is short or others are being started ahead.
    pub(crate) fn start_ahead(self: &Rc<Self>, id: &GrainId) {
        let is_short = (self.outside.memory)().is_some_and(|memory| memory.lacking() > 0);
        let turn = self.ahead.clone().try_acquire_owned();
        if let (false, Ok(turn)) = (is_short, turn) {
            let (broker, id) = (self.clone(), id.clone());
            tokio::task::spawn_local(async move {
                let _turn = turn;
                let _told_later = broker.wake(&id).await;
            });
        }
    }

    /// Notes that somebody uses a grain.
    pub(crate) fn count_use(&self, id: &GrainId) {
        let (slot, now) = (self.slot(id), self.outside.now());
        let used = slot.used.get().map_or(Use::once(now), |used| used.again(now));
        slot.used.set(Some(used));
    }

    /// Ends idle grains when their memory is wanted. Runs for as long as the server does.
    pub async fn keep_memory(self: &Rc<Self>) {
        let know = async {
            loop {
                self.ask_figures(ROUND).await;
            }
        };
        // Where memory is short hosts are slow to answer, and what relieves it does not wait for them.
        let relieve = async {
            loop {
                tokio::time::sleep(LOOK).await;
                self.relieve().await;
            }
        };
        futures::future::join::<_, _>(know, relieve).await;
    }

    /// Asks all running grains what they take, within `round`.
    pub(crate) async fn ask_figures(&self, round: Duration) {
        let running: Vec<Rc<Slot>> = {
            let slots = self.slots.borrow();
            let running = slots.values().filter(|slot| slot.running().is_some());
            running.cloned().collect()
        };
        if running.is_empty() {
            tokio::time::sleep(round).await;
        }
        let pause = round / u32::try_from(running.len().max(1)).unwrap_or(u32::MAX);
        for slot in running {
            tokio::time::sleep(pause).await;
            ask(&slot).await;
        }
    }

    /// Ends a few of the idle grains, those worth least, if they take too much or memory is short.
    pub(crate) async fn relieve(self: &Rc<Self>) {
        let Some(memory) = (self.outside.memory)() else {
            return;
        };
        let mut idle = self.idle_grains();
        // Among equals, those unused for longest.
        idle.sort_by_key(|(_, last_used, _)| *last_used);
        let ready: Vec<Ready> = idle.iter().map(|(ready, _, _)| *ready).collect();
        let taken: u64 = ready.iter().map(Ready::bytes).sum();
        let too_much = taken.saturating_sub(self.config.warm_memory.bytes(memory.total));
        let mut ended = warm::first_out(&ready, too_much.max(memory.lacking()));
        ended.truncate(AT_ONCE);
        for (_, _, id) in ended.into_iter().map(|place| &idle[place]) {
            tracing::info!(grain = %id, "an idle grain is put to sleep for its memory");
            self.stop_grain(id).await;
            self.tell_grain(id);
        }
    }

    /// Running grains in which nobody is, which do nothing by themselves, and of which no other holds anything; with what
    /// keeping them is worth, and when they were used last.
    fn idle_grains(&self) -> Vec<(Ready, Timestamp, GrainId)> {
        let now = self.outside.now();
        let running: Vec<(GrainId, Rc<Slot>)> = {
            let slots = self.slots.borrow();
            let running = slots.iter();
            let running =
                running.filter(|(_, slot)| slot.running().is_some() && slot.turn.try_lock().is_ok());
            running.map(|(id, slot)| (id.clone(), slot.clone())).collect()
        };
        let in_use = |id: &GrainId| {
            self.visits.borrow().values().any(|visit| visit.grain == *id)
                || self.running_jobs.borrow().values().any(|grain| grain == id)
                || self.ongoing.borrow().values().any(|ongoing| ongoing.grain == *id)
                || self
                    .references
                    .borrow()
                    .values()
                    .any(|reference| reference.provider.as_ref() == Some(id))
        };
        running
            .into_iter()
            .filter(|(id, _)| !in_use(id))
            .filter_map(|(id, slot)| {
                let grain = self.read::<Grain>(grain_key(&id)).ok().flatten()?;
                let used = slot.used.get().unwrap_or(Use::once(grain.last_used));
                let memory = slot.running().and_then(|running| running.memory.get());
                let ready = Ready {
                    used: used.weight(now),
                    start: slot.start.get().unwrap_or(warm::START),
                    memory: memory.unwrap_or(warm::MEMORY),
                };
                Some((ready, grain.last_used, id))
            })
            .collect()
    }
}

/// Asks what runs in a slot what it takes.
async fn ask(slot: &Slot) {
    let Some(running) = slot.running() else { return };
    let asked = tokio::time::timeout(ANSWER, running.host.figures_request().send().promise).await;
    let Ok(Ok(answer)) = asked else { return };
    let Ok(figures) = answer.get() else { return };
    let (memory, time) = (figures.get_memory(), figures.get_processor_time());
    // What it had taken when it was asked first is what its start took, or little more. The least of several times is nearest.
    if running.memory.get().is_none() && time > 0 {
        let time = Duration::from_micros(time);
        slot.start
            .set(Some(slot.start.get().map_or(time, |start| start.min(time))));
    }
    running.memory.set((memory > 0).then_some(memory));
}
