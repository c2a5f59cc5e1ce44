//! Who holds outlets, and the bounds all outlets of one holder share: a grain that takes one many times gets no more.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// One grain, known for as long as it holds anything.
pub(crate) struct Holder {
    /// What is under way: requests, and connections of its own making.
    rooms: Arc<Semaphore>,
    /// Connections that are open; a website's may outlive the request it was made for.
    sockets: Arc<Semaphore>,
    /// Who waits for a connection to a website. The client goes on waiting when nobody needs it any more.
    queue: Semaphore,
    /// Names that are being looked up.
    lookups: Arc<Semaphore>,
    all: All,
}

/// What all holders share.
#[derive(Clone)]
struct All {
    sockets: Arc<Semaphore>,
    lookups: Arc<Semaphore>,
}

/// Names of one holder that are looked up at a time, and those of all. Each takes a thread of the runtime's for as long as the
/// C library likes; there are more of these.
const LOOKUPS: usize = 4;
const LOOKUPS_IN_ALL: usize = 256;

/// A share of the bounds, for as long as somebody holds it.
pub(crate) struct Share {
    _permits: Vec<OwnedSemaphorePermit>,
    /// Remembered as long as it has anything, so that nobody begins anew by being forgotten.
    _holder: Arc<Holder>,
}

impl Holder {
    fn take(self: &Arc<Self>, bounds: &[&Arc<Semaphore>]) -> Option<Share> {
        let permits = bounds.iter().map(|bound| Arc::clone(bound).try_acquire_owned());
        Some(Share {
            _permits: permits.collect::<Result<_, _>>().ok()?,
            _holder: Arc::clone(self),
        })
    }

    /// Room for a request.
    pub(crate) fn room(self: &Arc<Self>) -> Option<Share> {
        self.take(&[&self.rooms])
    }

    /// Room for a connection.
    pub(crate) fn socket(self: &Arc<Self>) -> Option<Share> {
        self.take(&[&self.rooms, &self.sockets, &self.all.sockets])
    }

    /// Room for the connection of a request that has its own, as soon as there is any: what others leave idle is closed
    /// before long.
    pub(crate) async fn wait_for_socket(self: &Arc<Self>, patience: Duration) -> Option<Share> {
        let _place = self.queue.try_acquire().ok()?;
        let share = self.wait([&self.sockets, &self.all.sockets]);
        timeout(patience, share).await.ok()
    }

    /// Room to look up a name.
    pub(crate) async fn wait_for_lookup(self: &Arc<Self>) -> Share {
        self.wait([&self.lookups, &self.all.lookups]).await
    }

    async fn wait(self: &Arc<Self>, bounds: [&Arc<Semaphore>; 2]) -> Share {
        let mut permits = Vec::with_capacity(bounds.len());
        for bound in bounds {
            let permit = Arc::clone(bound).acquire_owned().await;
            permits.push(permit.expect("the semaphores are never closed"));
        }
        Share {
            _permits: permits,
            _holder: Arc::clone(self),
        }
    }
}

/// Everybody who holds something.
pub(crate) struct Holders {
    connections: usize,
    all: All,
    known: RefCell<HashMap<String, Weak<Holder>>>,
}

impl Holders {
    /// Each may have so many connections, and all together so many.
    pub(crate) fn new(connections: usize, in_all: usize) -> Self {
        Self {
            connections,
            all: All {
                sockets: Arc::new(Semaphore::new(in_all)),
                lookups: Arc::new(Semaphore::new(LOOKUPS_IN_ALL)),
            },
            known: RefCell::default(),
        }
    }

    /// The holder of this name.
    pub(crate) fn get(&self, name: &str) -> Arc<Holder> {
        let mut known = self.known.borrow_mut();
        known.retain(|_, holder| holder.strong_count() > 0);
        if let Some(holder) = known.get(name).and_then(Weak::upgrade) {
            return holder;
        }
        let holder = Arc::new(Holder {
            rooms: Arc::new(Semaphore::new(self.connections)),
            sockets: Arc::new(Semaphore::new(self.connections)),
            queue: Semaphore::new(self.connections * 2),
            lookups: Arc::new(Semaphore::new(LOOKUPS)),
            all: self.all.clone(),
        });
        known.insert(name.to_owned(), Arc::downgrade(&holder));
        holder
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holders_are_forgotten_when_they_have_nothing_left() {
        let holders = Holders::new(1, 9);
        let socket = holders.get("a").socket().unwrap();
        assert!(holders.get("a").socket().is_none());
        assert!(holders.get("b").socket().is_some());
        drop(socket);
        assert!(holders.get("a").socket().is_some());
        drop(holders.get("c"));
        assert_eq!(holders.known.borrow().len(), 1);
    }
}
