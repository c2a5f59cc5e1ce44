//! The socket others come to, each with a nonce of the broker.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::os::unix::net::UnixListener;
use std::rc::Rc;
use std::time::Duration;

use capnp::Error;
use capnp_rpc::rpc_twoparty_capnp::Side as VatSide;
use percloud_schemas::host_capnp::grain_door;
use tokio::net::UnixStream;
use tokio::task::JoinSet;

use crate::app::{Admission, Sessions};
use crate::config::Limits;
use crate::crowd::{Crowd, Peer};
use crate::guests::{Guest, Guests};
use crate::link::{Bounds, Link};
use crate::membrane::{Membrane, WeakMembrane};

/// How long a connection may last on which nobody has been let in.
const HESITATION: Duration = Duration::from_secs(10);
/// Pause after the kernel refused to accept, which it does when it is out of descriptors.
const RECOVERY: Duration = Duration::from_millis(100);

/// Accepts connections until dropped.
pub(crate) async fn keep(
    listener: UnixListener,
    sessions: Rc<Sessions>,
    limits: Limits,
    crowd: Rc<Crowd>,
) -> std::io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::UnixListener::from_std(listener)?;
    let mut connections = JoinSet::new();
    let takers = Rc::new(Takers {
        count: Cell::new(0),
        most: limits.door_connections / 2,
    });
    let guests = Rc::<Guests>::default();
    loop {
        // One more than there are places: nobody has to go before somebody comes.
        let is_full = connections.len() > limits.door_connections;
        tokio::select! {
            accepted = listener.accept(), if !is_full => match accepted {
                Ok((stream, _)) => match crowd.join(&stream) {
                    Ok(peer) => {
                        let guest = guests.join();
                        let bounds = Bounds {
                            pulse: Some(Rc::clone(&guest.pulse)),
                            ..crate::link::bounds(&limits, peer.gauge(), None)
                        };
                        let present = Present { guests: Rc::clone(&guests), guest };
                        connections.spawn_local(serve(stream, peer, Rc::clone(&sessions), Rc::clone(&takers), present, bounds));
                    }
                    Err(_) => tokio::time::sleep(RECOVERY).await,
                }
                Err(_) => tokio::time::sleep(RECOVERY).await,
            },
            Some(_ended) = connections.join_next() => {}
            () = guests.make_room(), if is_full => {}
        }
    }
}

/// Somebody at the door, until dropped.
struct Present {
    guests: Rc<Guests>,
    guest: Rc<Guest>,
}

impl Drop for Present {
    fn drop(&mut self) {
        self.guests.left(&self.guest);
    }
}

/// Serves one connection. What was opened on it ends with it.
async fn serve(
    stream: UnixStream,
    _peer: Rc<Peer>,
    sessions: Rc<Sessions>,
    takers: Rc<Takers>,
    present: Present,
    bounds: Bounds,
) {
    let visit = Rc::new(Visit {
        sessions,
        membranes: RefCell::default(),
        entered: Cell::new(false),
        takers,
        takes: RefCell::default(),
        guest: Rc::clone(&present.guest),
    });
    let _leaving = Leaving(Rc::clone(&visit));
    let door: grain_door::Client = capnp_rpc::new_client_from_rc(Rc::clone(&visit));
    let link = Link::new(stream, VatSide::Server, bounds, Some(door.client));
    let mut link = std::pin::pin!(link.run());
    let mut told = std::pin::pin!(present.guest.told_to_leave());
    tokio::select! {
        _ended = &mut link => return,
        () = &mut told => return,
        () = tokio::time::sleep(HESITATION) => {}
    }
    // A visitor from whom everything was taken back only keeps a place from others; what other grains take comes and goes.
    while visit.entered.get() && visit.is_of_use() {
        tokio::select! {
            _ended = &mut link => return,
            () = &mut told => return,
            () = tokio::time::sleep(HESITATION) => {}
        }
    }
}

/// One connection to the door, and what was opened on it.
struct Visit {
    sessions: Rc<Sessions>,
    membranes: RefCell<Vec<WeakMembrane>>,
    entered: Cell<bool>,
    takers: Rc<Takers>,
    /// There once something was taken.
    takes: RefCell<Option<Taker>>,
    guest: Rc<Guest>,
}

/// Connections of other grains, by which objects are taken. People must find room beside them.
struct Takers {
    count: Cell<usize>,
    most: usize,
}

struct Taker(Rc<Takers>);

impl Drop for Taker {
    fn drop(&mut self) {
        self.0.count.set(self.0.count.get() - 1);
    }
}

impl Visit {
    /// Whether anything that was opened here is still open, or may be.
    fn is_of_use(&self) -> bool {
        let open =
            |membrane: &WeakMembrane| membrane.upgrade().is_some_and(|membrane| !membrane.is_revoked());
        self.takes.borrow().is_some() || self.membranes.borrow().iter().any(open)
    }

    /// Whom a nonce was made for, and a membrane that ends with this connection.
    fn admit(&self, nonce: &[u8]) -> Result<(Admission, Membrane), Error> {
        let admission = self.sessions.admit(nonce);
        let admission = admission.map_err(|refusal| Error::failed(refusal.to_string()))?;
        self.entered.set(true);
        let membrane = self.sessions.membrane(&admission);
        let mut membranes = self.membranes.borrow_mut();
        membranes.retain(|known| known.upgrade().is_some());
        membranes.push(membrane.downgrade());
        Ok((admission, membrane))
    }

    /// What the app opens; where it opens nothing, what it was given for that is taken back.
    async fn unless_refused<T>(
        &self,
        opening: impl Future<Output = Result<T, Error>>,
        membrane: &Membrane,
    ) -> Result<T, Error> {
        let opened = opening.await;
        if opened.is_err() {
            membrane.revoke("it was not opened");
        }
        opened
    }

    /// Other grains may take so many connections, and leave the rest to people.
    fn count_as_taker(&self) -> Result<(), Error> {
        let mut takes = self.takes.borrow_mut();
        if takes.is_none() {
            let Takers { count, most } = &*self.takers;
            if count.get() >= *most {
                return Err(Error::overloaded("too many grains use this one".to_owned()));
            }
            count.set(count.get() + 1);
            *takes = Some(Taker(Rc::clone(&self.takers)));
            self.guest.stay();
        }
        Ok(())
    }
}

/// Ends what was opened on a connection, also while calls on it still refer to it.
struct Leaving(Rc<Visit>);

impl Drop for Leaving {
    fn drop(&mut self) {
        // Not left to the visit's own end, for the same reason.
        drop(self.0.takes.take());
        for membrane in self.0.membranes.take().iter().filter_map(WeakMembrane::upgrade) {
            membrane.revoke("the visitor left");
        }
    }
}

impl grain_door::Server for Visit {
    async fn enter(
        self: Rc<Self>,
        params: grain_door::EnterParams,
        mut results: grain_door::EnterResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let (admission, membrane) = self.admit(params.get_nonce()?)?;
        let opened = self.sessions.open(admission, params.get_params()?, &membrane);
        results
            .get()
            .set_session(self.unless_refused(opened, &membrane).await?);
        Ok(())
    }

    async fn take(
        self: Rc<Self>,
        params: grain_door::TakeParams,
        mut results: grain_door::TakeResults,
    ) -> Result<(), Error> {
        let (admission, membrane) = self.admit(params.get()?.get_nonce()?)?;
        self.count_as_taker()?;
        let cap = self.unless_refused(self.sessions.take(admission, &membrane), &membrane);
        results.get().init_cap().set_as_capability(cap.await?.hook);
        Ok(())
    }
}
