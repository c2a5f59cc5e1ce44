//! Peers that do not read what they asked for.
//!
//! What the app says waits for all it is meant for together, so that it cannot fill our memory. One peer that reads
//! nothing would thus silence the app for all others. So while somebody waits for an answer of a silenced app, the peers
//! that have read nothing for a while are cut off.

use std::cell::{Cell, RefCell};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::{Rc, Weak};
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::sync::Notify;

use crate::link::Gauge;

/// The peers the app's words go to.
pub(crate) struct Crowd {
    /// Bytes waiting for any of them.
    all: Rc<Gauge>,
    most: usize,
    patience: Duration,
    called: Notify,
    is_watched: Cell<bool>,
    peers: RefCell<Vec<Weak<Peer>>>,
}

/// One of them, until it is dropped: then its connection is shut down.
///
/// A connection that is shut down ends by itself, and so cancels the calls it served; were its task aborted instead,
/// they would be forgotten unfinished.
pub(crate) struct Peer {
    gauge: Rc<Gauge>,
    socket: OwnedFd,
}

impl Crowd {
    /// When more than `most` bytes wait, nothing is read from the app, until `patience` is over.
    pub(crate) fn new(most: usize, patience: Duration) -> Rc<Self> {
        Rc::new(Self {
            all: Rc::default(),
            most,
            patience,
            called: Notify::new(),
            is_watched: Cell::new(false),
            peers: RefCell::default(),
        })
    }

    /// Counts bytes that wait for any of them.
    pub(crate) fn gauge(&self) -> Rc<Gauge> {
        Rc::clone(&self.all)
    }

    /// A peer that has just come.
    pub(crate) fn join(&self, stream: &UnixStream) -> std::io::Result<Rc<Peer>> {
        let peer = Rc::new(Peer {
            gauge: Rc::new(Gauge::within(&self.all)),
            socket: stream.as_fd().try_clone_to_owned()?,
        });
        let mut peers = self.peers.borrow_mut();
        peers.retain(|peer| peer.strong_count() > 0);
        peers.push(Rc::downgrade(&peer));
        Ok(peer)
    }

    /// Somebody wants an answer of the app.
    pub(crate) fn call(&self) {
        if !self.is_watched.get() {
            self.called.notify_one();
        }
    }

    /// Cuts off whoever reads nothing, for ever. Looks only while somebody waits for the app, as `is_waited_for` says.
    pub(crate) async fn watch(&self, is_waited_for: impl Fn() -> bool) {
        loop {
            self.called.notified().await;
            self.is_watched.set(true);
            while is_waited_for() {
                let silenced = self.all.bytes() > self.most;
                let before: Vec<_> = self.peers.borrow().iter().filter_map(Peer::waiting).collect();
                tokio::time::sleep(self.patience).await;
                if silenced && self.all.bytes() > self.most {
                    before.into_iter().for_each(Peer::cut_off_unless_reading);
                }
            }
            self.is_watched.set(false);
        }
    }
}

impl Peer {
    /// Counts the bytes that wait for it.
    pub(crate) fn gauge(&self) -> Rc<Gauge> {
        Rc::clone(&self.gauge)
    }

    /// A peer for which bytes wait, and how many.
    fn waiting(peer: &Weak<Self>) -> Option<(Weak<Self>, usize)> {
        let bytes = peer.upgrade()?.gauge.bytes();
        (bytes > 0).then(|| (peer.clone(), bytes))
    }

    /// Nothing is added to what waits for a peer while the app is silenced, so one that reads has less waiting now.
    fn cut_off_unless_reading((peer, before): (Weak<Self>, usize)) {
        if let Some(peer) = peer.upgrade().filter(|peer| peer.gauge.bytes() >= before) {
            peer.cut_off();
        }
    }

    fn cut_off(&self) {
        // It fails only when the peer has closed the connection already.
        let _closed = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Both);
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.cut_off();
    }
}
