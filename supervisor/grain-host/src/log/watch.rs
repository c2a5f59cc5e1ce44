//! Those who follow the log. A slow one misses words and is told how many; nobody waits for it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::Notify;

/// Followers of one log at a time.
const WATCHERS: usize = 16;
/// Bytes kept for a follower that is behind.
const BEHIND: usize = 256 << 10;
/// Bytes handed to a follower at once.
const PIECE: usize = 64 << 10;

#[derive(Default)]
pub(super) struct Watchers(Vec<Weak<Shared>>);

impl Watchers {
    /// Adds a follower that first reads `past`; `None` when there are too many.
    pub(super) fn add(&mut self, past: Vec<u8>) -> Option<Watch> {
        self.0.retain(|watcher| watcher.strong_count() > 0);
        if self.0.len() >= WATCHERS {
            return None;
        }
        let shared = Arc::new(Shared::default());
        self.0.push(Arc::downgrade(&shared));
        Some(Watch {
            shared,
            past,
            replayed: 0,
        })
    }

    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.0.retain(|watcher| {
            let watcher = watcher.upgrade();
            if let Some(watcher) = &watcher {
                watcher.feed(bytes);
            }
            watcher.is_some()
        });
    }
}

/// One who follows the log.
pub(crate) struct Watch {
    shared: Arc<Shared>,
    past: Vec<u8>,
    replayed: usize,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    more: Notify,
}

#[derive(Default)]
struct Queue {
    bytes: VecDeque<u8>,
    left_out: u64,
}

impl Watch {
    /// The next words, at most 64 KiB. Waits for them; never ends.
    pub(crate) async fn next(&mut self) -> Vec<u8> {
        if self.replayed < self.past.len() {
            let end = (self.replayed + PIECE).min(self.past.len());
            let piece = self.past[self.replayed..end].to_vec();
            self.replayed = end;
            if end == self.past.len() {
                self.past = Vec::new();
                self.replayed = 0;
            }
            return piece;
        }
        loop {
            if let Some(piece) = self.shared.take() {
                return piece;
            }
            // Whoever feeds leaves a permit, so nothing that comes between is missed.
            self.shared.more.notified().await;
        }
    }
}

impl Shared {
    fn feed(&self, bytes: &[u8]) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        // Once words are missing the gap stays one until the follower has caught up.
        if queue.left_out == 0 && queue.bytes.len() + bytes.len() <= BEHIND {
            queue.bytes.extend(bytes);
        } else {
            queue.left_out += bytes.len() as u64;
        }
        drop(queue);
        self.more.notify_one();
    }

    fn take(&self) -> Option<Vec<u8>> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if !queue.bytes.is_empty() {
            let count = queue.bytes.len().min(PIECE);
            let piece = queue.bytes.drain(..count).collect();
            if queue.bytes.is_empty() {
                queue.bytes.shrink_to(PIECE);
            }
            return Some(piece);
        }
        let left_out = std::mem::take(&mut queue.left_out);
        (left_out > 0).then(|| format!("\n** PERCLOUD: {left_out} bytes left out\n").into_bytes())
    }
}
