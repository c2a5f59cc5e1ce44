//! Room on the disk: the server must always be able to write.

use std::rc::Rc;
use std::time::Duration;

use futures::StreamExt;
use percloud_core::grain::State;
use percloud_core::id::GrainId;
use serde_json::{Value, json};

use super::{Limit, measure};
use crate::broker::Broker;
use crate::problem::Problem;
use crate::running::Slot;

/// Time between two looks at the room that is left on the disk.
const LOOK: Duration = Duration::from_secs(5);
/// So much less room than at the last look: somebody writes, and grains are measured at once.
const FAST: u64 = 256 << 20;
/// Grains that are measured at a time.
const MEASURED: usize = 8;
/// A grain that grew by so much while there is no room is one that fills the disk.
const GREW: u64 = 1 << 20;

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

impl Broker {
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

    /// Refuses what would take `more` bytes of the disk where grains may not grow, or could not when it is there.
    pub(crate) fn check_room(&self, more: u64) -> Result<(), Problem> {
        let disk = (self.outside.disk)(&self.config.layout.grains());
        let is_short = |disk: Disk| {
            let free = disk.free.saturating_sub(more);
            Disk { free, ..disk }.is_short()
        };
        match disk {
            Some(disk) if is_short(disk) => Err(Problem::DiskFull),
            _ => Ok(()),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_of_the_disk_fits_small_ones_and_large_ones() {
        let short = |total: u64, free: u64| Disk { total, free }.is_short();
        assert!(short(10 << 30, 255 << 20));
        assert!(!short(10 << 30, 257 << 20));
        assert!(short(4 << 40, (4 << 30) - 1));
        assert!(!short(4 << 40, 4 << 30));
    }
}
