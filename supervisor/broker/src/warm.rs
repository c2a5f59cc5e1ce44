//! Grains that are kept ready: started ahead when somebody is about to open them, running on while there is memory.
//!
//! Nearly all that opening a Python or Node app takes is the app's own start. A grain that runs idle costs memory and
//! nothing else, so it may stay until its host finds that nothing has happened for long (`percloud serve --idle`), or
//! until memory is short: then those end first that nobody has used for longest.

use std::rc::Rc;
use std::time::Duration;

use percloud_core::id::GrainId;
use percloud_core::time::Timestamp;
use serde_json::{Value, json};

use crate::account::SignedIn;
use crate::broker::Broker;
use crate::problem::Problem;
use crate::record::{Grain, grain_key};

/// Time between two looks at the memory that is left.
const LOOK: Duration = Duration::from_secs(5);
/// The part of the memory that is to stay available, as one in so many.
const SPARE: u64 = 8;
/// Grains that are ended at one look, before the next shows what that brought.
const AT_ONCE: usize = 4;
/// Grains that are started ahead at a time, on the whole server: what somebody waits for comes first.
pub(crate) const AHEAD: usize = 2;

/// Memory of the machine, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// All of it.
    pub total: u64,
    /// What programs can have without others being written out.
    pub available: u64,
}

impl Memory {
    fn is_short(self) -> bool {
        self.available < self.total / SPARE
    }
}

impl Broker {
    /// Starts a grain that a person is about to open, if that costs nobody anything. Starting is not opening: nothing
    /// is noted, and whatever fails is told when it is opened.
    pub(crate) fn prepare(self: &Rc<Self>, who: &SignedIn, id: &GrainId) -> Result<Value, Problem> {
        if self.reachable(who, id)?.trashed.is_some() {
            return Err(Problem::InTrash);
        }
        let is_short = (self.outside.memory)().is_some_and(Memory::is_short);
        let turn = self.ahead.clone().try_acquire_owned();
        if let (false, Ok(turn)) = (is_short, turn) {
            let (broker, id) = (self.clone(), id.clone());
            tokio::task::spawn_local(async move {
                let _turn = turn;
                let _told_later = broker.wake(&id).await;
            });
        }
        Ok(json!({}))
    }

    /// Ends idle grains while memory is short. Runs for as long as the server does.
    pub async fn keep_memory(self: &Rc<Self>) {
        loop {
            tokio::time::sleep(LOOK).await;
            self.relieve().await;
        }
    }

    /// Ends a few of the idle grains, those unused for longest, if memory is short.
    pub(crate) async fn relieve(self: &Rc<Self>) {
        if !(self.outside.memory)().is_some_and(Memory::is_short) {
            return;
        }
        let mut idle = self.idle_grains();
        idle.sort();
        idle.truncate(AT_ONCE);
        for (_, id) in idle {
            tracing::info!(grain = %id, "memory is short: an idle grain is put to sleep");
            self.stop_grain(&id).await;
            self.tell_grain(&id);
        }
    }

    /// Running grains in which nobody is, which do nothing by themselves, and of which no other holds anything; with when
    /// they were used last.
    fn idle_grains(&self) -> Vec<(Timestamp, GrainId)> {
        let running = self.slots.borrow();
        let running = running
            .iter()
            .filter(|(_, slot)| slot.running().is_some() && slot.turn.try_lock().is_ok());
        let running: Vec<GrainId> = running.map(|(id, _)| id.clone()).collect();
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
            .filter(|id| !in_use(id))
            .filter_map(|id| {
                let grain = self.read::<Grain>(grain_key(&id)).ok().flatten()?;
                Some((grain.last_used, id))
            })
            .collect()
    }
}
