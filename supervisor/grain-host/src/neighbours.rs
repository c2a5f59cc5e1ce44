//! Connections to other grains' hosts: one for each, however many of its objects this grain holds.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::rc::{Rc, Weak};

use capnp::capability::Client;
use capnp::{Error, ErrorKind};
use capnp_rpc::rpc_twoparty_capnp::Side as VatSide;
use percloud_schemas::host_capnp::grain_door;
use tokio::net::UnixStream;
use tokio::task::spawn_local;

use crate::config::Limits;
use crate::crowd::{Crowd, Peer};
use crate::link::Link;

/// The hosts this one is connected to.
pub(crate) struct Neighbours {
    crowd: Rc<Crowd>,
    limits: Limits,
    /// By where they listen.
    known: RefCell<HashMap<PathBuf, Weak<Neighbour>>>,
}

/// A connection to another host. It ends when nothing that came by it is held any more.
pub(crate) struct Neighbour {
    door: grain_door::Client,
    _peer: Rc<Peer>,
    is_over: Rc<Cell<bool>>,
}

impl Neighbours {
    pub(crate) fn new(crowd: Rc<Crowd>, limits: Limits) -> Self {
        Self {
            crowd,
            limits,
            known: RefCell::default(),
        }
    }

    /// Fetches an object of another grain from its host; the connection is to be held as long as the object.
    ///
    /// # Errors
    /// When the host cannot be reached or does not give it, or there are too many others.
    pub(crate) async fn take(&self, socket: &Path, nonce: &[u8]) -> Result<(Client, Rc<Neighbour>), Error> {
        let neighbour = self.at(socket).await?;
        let mut request = neighbour.door.take_request();
        request.get().set_nonce(nonce);
        let answer = request.send().promise.await?;
        let cap = answer.get()?.get_cap().get_as_capability()?;
        Ok((cap, neighbour))
    }

    async fn at(&self, socket: &Path) -> Result<Rc<Neighbour>, Error> {
        if let Some(neighbour) = self.living(socket) {
            return Ok(neighbour);
        }
        let unreachable = |error: std::io::Error| Error {
            kind: ErrorKind::Disconnected,
            extra: format!("it cannot be reached: {error}"),
        };
        let stream = UnixStream::connect(socket).await.map_err(unreachable)?;
        // Somebody else may have connected meanwhile.
        if let Some(neighbour) = self.living(socket) {
            return Ok(neighbour);
        }
        self.room()?;
        let peer = self.crowd.join(&stream).map_err(unreachable)?;
        let bounds = crate::link::bounds(&self.limits, peer.gauge(), None);
        let mut link = Link::new(stream, VatSide::Client, bounds, None);
        let is_over = Rc::new(Cell::new(false));
        let neighbour = Rc::new(Neighbour {
            door: link.bootstrap(),
            _peer: peer,
            is_over: Rc::clone(&is_over),
        });
        spawn_local(async move {
            // Who holds something that came by it hears of the end from that.
            let _ended = link.run().await;
            is_over.set(true);
        });
        self.known
            .borrow_mut()
            .insert(socket.to_owned(), Rc::downgrade(&neighbour));
        Ok(neighbour)
    }

    fn living(&self, socket: &Path) -> Option<Rc<Neighbour>> {
        let neighbour = self.known.borrow().get(socket)?.upgrade()?;
        (!neighbour.is_over.get()).then_some(neighbour)
    }

    /// Forgets those that are gone, and says whether there may be one more.
    fn room(&self) -> Result<(), Error> {
        let mut known = self.known.borrow_mut();
        known.retain(|_, neighbour| neighbour.strong_count() > 0);
        if known.len() >= self.limits.neighbours {
            return Err(Error::overloaded(format!(
                "this grain holds objects of {} others already",
                self.limits.neighbours
            )));
        }
        Ok(())
    }
}
