//! What was given to grains, and its end.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::future::Future;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use capnp::Error;
use percloud_schemas::egress_capnp::egress_keeper;
use percloud_schemas::persistent_capnp::persistent;
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use crate::gate::Refusal;
use crate::holder::{Holder, Share};

/// What the broker names a reference by.
pub(crate) type Id = [u8; 16];

/// Room for one request or connection, taken for as long as somebody holds it.
pub(crate) type Room = Rc<Share>;

/// Longest description of whom something is saved for, in words.
const OWNER: u64 = 512;

/// Something a grain took, alive until its reference ends.
pub(crate) struct Outlet {
    id: Id,
    alive: CancellationToken,
    /// Tasks that hold connections. Calls are not counted: those of a peer that is gone may never be heard of again.
    work: TaskTracker,
    keeper: egress_keeper::Client,
    pub(crate) holder: Arc<Holder>,
}

/// Why calls fail once a reference has ended.
fn over() -> Error {
    Error::disconnected("this capability was revoked".to_owned())
}

impl Outlet {
    /// Does `work` unless the outlet ends before; then nothing of it goes on.
    pub(crate) async fn while_alive<T>(
        &self,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        tokio::select! {
            biased;
            () = self.alive.cancelled() => Err(over()),
            done = work => done,
        }
    }

    /// Room for one more request, held as long as that lasts.
    pub(crate) fn room(&self) -> Result<Room, Error> {
        self.taken(Holder::room)
    }

    /// Room for one more connection, held as long as that lasts.
    pub(crate) fn socket(&self) -> Result<Room, Error> {
        self.taken(Holder::socket)
    }

    fn taken(&self, take: impl FnOnce(&Arc<Holder>) -> Option<Share>) -> Result<Room, Error> {
        if self.alive.is_cancelled() {
            return Err(over());
        }
        let share = take(&self.holder);
        share
            .map(Rc::new)
            .ok_or_else(|| Error::overloaded(Refusal::Crowded.to_string()))
    }

    /// Runs `work` beside everything else, until it or the outlet ends. Dropping the guard ends it too.
    pub(crate) fn spawn(self: &Rc<Self>, work: impl Future<Output = ()> + 'static) -> AbortOnDropHandle<()> {
        let outlet = Rc::clone(self);
        let counted = self.work.token();
        let task = tokio::task::spawn_local(async move {
            let ended = outlet.while_alive(async {
                work.await;
                Ok(())
            });
            let _over = ended.await;
            drop(counted);
        });
        AbortOnDropHandle::new(task)
    }

    /// Runs what an HTTP client does beside its requests.
    pub(crate) fn background(&self) -> Background {
        Background {
            alive: self.alive.clone(),
            work: self.work.clone(),
        }
    }

    /// Ends everything. It is over once [`Self::over`] is.
    pub(crate) fn end(&self) {
        self.alive.cancel();
        self.work.close();
    }

    /// Waits until nothing goes on any more after the end.
    async fn over(&self) {
        // Calls were woken by the end; this is their turn.
        tokio::task::yield_now().await;
        self.work.wait().await;
    }

    /// Answers `Persistent.save`: the broker makes the token.
    pub(crate) async fn save(
        &self,
        params: persistent::SaveParams,
        mut results: persistent::SaveResults,
    ) -> Result<(), Error> {
        self.while_alive(async {
            let owner = params.get()?.get_seal_for();
            let size = owner.target_size()?;
            if size.word_count > OWNER || size.cap_count > 0 {
                return Err(Error::failed("whom is this to be saved for?".to_owned()));
            }
            let mut request = self.keeper.save_request();
            request.get().set_reference(&self.id);
            request.get().get_owner().set_as(owner)?;
            let answer = request.send().promise.await?;
            let token = answer.get()?.get_token()?;
            results.get().get_sturdy_ref().set_as::<capnp::data::Owned>(token)
        })
        .await
    }
}

/// Work that belongs to no call and ends with its outlet: connections, above all.
#[derive(Clone)]
pub(crate) struct Background {
    alive: CancellationToken,
    work: TaskTracker,
}

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Background {
    fn execute(&self, work: F) {
        let alive = self.alive.clone();
        let counted = self.work.token();
        tokio::spawn(async move {
            tokio::select! {
                biased;
                () = alive.cancelled() => {}
                () = work => {}
            }
            drop(counted);
        });
    }
}

/// Every outlet that is held by somebody, by its reference.
pub(crate) struct Outlets {
    keeper: OnceCell<egress_keeper::Client>,
    known: RefCell<HashMap<Id, Vec<Weak<Outlet>>>>,
    /// How many there may be before those are looked for that nobody holds.
    crowd: Cell<usize>,
}

/// Outlets before the first look.
const FEW: usize = 64;

impl Outlets {
    pub(crate) fn new() -> Self {
        Self {
            keeper: OnceCell::new(),
            known: RefCell::default(),
            crowd: Cell::new(FEW),
        }
    }

    /// Who makes tokens.
    pub(crate) fn know(&self, keeper: egress_keeper::Client) {
        let introduced = self.keeper.set(keeper);
        assert!(introduced.is_ok(), "an egress has one broker");
    }

    /// Lists what somebody takes.
    pub(crate) fn list(&self, id: Id, holder: Arc<Holder>) -> Result<Rc<Outlet>, Error> {
        let keeper = self.keeper.get().cloned();
        let outlet = Rc::new(Outlet {
            id,
            alive: CancellationToken::new(),
            work: TaskTracker::new(),
            keeper: keeper.ok_or_else(over)?,
            holder,
        });
        let mut known = self.known.borrow_mut();
        if known.len() >= self.crowd.get() {
            known.retain(|_, outlets| {
                outlets.retain(|outlet| outlet.strong_count() > 0);
                !outlets.is_empty()
            });
            self.crowd.set((known.len() * 2).max(FEW));
        }
        known.entry(id).or_default().push(Rc::downgrade(&outlet));
        Ok(outlet)
    }

    /// Ends what was taken under `id`; returns when nothing of it goes on.
    pub(crate) async fn end(&self, id: &[u8]) {
        let Ok(id) = Id::try_from(id) else { return };
        let outlets = self.known.borrow_mut().remove(&id).unwrap_or_default();
        let outlets: Vec<Rc<Outlet>> = outlets.iter().filter_map(Weak::upgrade).collect();
        for outlet in &outlets {
            outlet.end();
        }
        for outlet in &outlets {
            outlet.over().await;
        }
    }
}
