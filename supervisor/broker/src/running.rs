//! Grains between asleep and running: starting them, noticing their end, stopping them.

use std::cell::{Cell, RefCell};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::rc::{Rc, Weak};
use std::time::Duration;

use capnp_rpc::rpc_twoparty_capnp::Side;
use percloud_core::grain::State;
use percloud_core::id::{AccountId, GrainId};
use percloud_core::sharing::share::{Acceptance, Holder, Recipient};
use percloud_core::warm::Use;
use percloud_link::{Bounds, Link};
use percloud_schemas::host_capnp::{grain_host, host_keeper};
use serde_json::json;
use tokio::io::unix::AsyncFd;
use tokio::task::AbortHandle;

use crate::account::SignedIn;
use crate::broker::Broker;
use crate::described;
use crate::front::finished;
use crate::keeper::Keeper;
use crate::limits::Limit;
use crate::outside::GrainStart;
use crate::problem::Problem;
use crate::record::{Grain, grain_key};
use crate::turns::Turns;
use crate::view_info::Described;

/// How long a grain host may take to answer for the first time.
const START_DEADLINE: Duration = Duration::from_secs(20);
/// How long a grain host may take for what it does without asking its app.
const ANSWER_DEADLINE: Duration = Duration::from_secs(10);
/// How long a grain host may take to end when asked, before it is killed.
const STOP_DEADLINE: Duration = Duration::from_secs(1);

/// What a grain host answers without asking its app.
///
/// # Errors
///
/// What it says; and when it says nothing in time.
pub(crate) async fn in_time<T>(
    answer: impl Future<Output = Result<T, capnp::Error>>,
) -> Result<T, capnp::Error> {
    let silent = |_| {
        Err(capnp::Error::failed(
            "the grain's host does not answer".to_owned(),
        ))
    };
    tokio::time::timeout(ANSWER_DEADLINE, answer)
        .await
        .unwrap_or_else(silent)
}

/// A running grain. Dropping it breaks the connection, and the host ends with that.
pub(crate) struct Running {
    pub host: grain_host::Client,
    pub door: PathBuf,
    /// Its process id, while it is not gone.
    pub pid: u32,
    /// What its app says of itself, once it was asked.
    pub view: tokio::sync::OnceCell<Rc<Described>>,
    /// Bytes of memory its app took when last asked.
    pub memory: Cell<Option<u64>>,
    process: AsyncFd<OwnedFd>,
    connection: RefCell<Option<AbortHandle>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            connection.abort();
        }
    }
}

/// One grain's place among the running ones; stays for as long as the server runs and there is the grain.
#[derive(Default)]
pub(crate) struct Slot {
    pub state: Cell<State>,
    pub problem: RefCell<Option<String>>,
    pub size: Cell<Option<u64>>,
    /// Files and folders.
    pub files: Cell<Option<u64>>,
    /// The limit that ended it.
    pub limit: Cell<Option<Limit>>,
    /// Why it was started so that it can read and delete only.
    pub full: Cell<Option<Limit>>,
    /// How much people have used it since the server was started, if at all.
    pub used: Cell<Option<Use>>,
    /// The processor time its start takes, once that was seen.
    pub start: Cell<Option<Duration>>,
    /// Marked whenever the grain starts or ends.
    pub changed: tokio::sync::watch::Sender<()>,
    running: RefCell<Option<Rc<Running>>>,
    /// A host whose connection broke and whose process may not be gone yet.
    ending: RefCell<Option<Rc<Running>>>,
    /// Whatever is made durable because its app asks for it waits for one of these.
    pub commits: Turns,
    /// Held while the grain starts or stops, so that it happens once however many ask.
    pub turn: tokio::sync::Mutex<()>,
}

impl Slot {
    /// Stops what runs here; the caller holds the turn. It ends, and the next start waits for that, also when the caller is
    /// given up meanwhile.
    pub(crate) async fn stop(&self) {
        self.wait_for_the_last_one().await;
        let running = self.running.borrow_mut().take();
        if let Some(running) = running {
            self.state.set(State::Asleep);
            self.let_end(running);
        }
        self.wait_for_the_last_one().await;
        self.state.set(State::Asleep);
        self.problem.take();
        self.limit.set(None);
    }

    /// Two apps must never share one storage: the next starts when the last is gone.
    async fn wait_for_the_last_one(&self) {
        let ending = self.ending.borrow().clone();
        if let Some(ending) = ending {
            ending.end().await;
            // Not before: whoever waits here may go away.
            self.ending.borrow_mut().take_if(|last| Rc::ptr_eq(last, &ending));
        }
    }

    pub(crate) fn running(&self) -> Option<Rc<Running>> {
        self.running.borrow().clone()
    }

    /// Takes out what runs here, if it is `running`.
    pub(crate) fn take_if(&self, running: &Weak<Running>) -> Option<Rc<Running>> {
        let mut now = self.running.borrow_mut();
        if now
            .as_ref()
            .is_some_and(|now| Rc::as_ptr(now) == running.as_ptr())
        {
            now.take()
        } else {
            None
        }
    }

    /// Ends what runs here, if it still is `running`; returns when it is gone.
    pub(crate) async fn cut(&self, running: &Rc<Running>) {
        if let Some(running) = self.take_if(&Rc::downgrade(running)) {
            *self.ending.borrow_mut() = Some(running.clone());
            self.state.set(State::Asleep);
            running.end().await;
        }
    }

    /// Sees to it that a host whose connection broke is gone before its successor starts.
    pub(crate) fn let_end(&self, running: Rc<Running>) {
        *self.ending.borrow_mut() = Some(running.clone());
        tokio::task::spawn_local(async move { running.end().await });
    }
}

impl Broker {
    /// The slot of a grain. Whoever still asks for that of a deleted one gets one that nobody else has, and nothing is kept.
    pub(crate) fn slot(&self, id: &GrainId) -> Rc<Slot> {
        if let Some(slot) = self.slots.borrow().get(id) {
            return slot.clone();
        }
        let slot = Rc::<Slot>::default();
        if self.catalogue.borrow().has(id) {
            self.slots.borrow_mut().insert(id.clone(), slot.clone());
        }
        slot
    }

    /// The running grain `id`, started now if it sleeps.
    pub(crate) async fn wake(self: &Rc<Self>, id: &GrainId) -> Result<Rc<Running>, Problem> {
        let slot = self.slot(id);
        if let Some(running) = slot.running() {
            return Ok(running);
        }
        // To its end, whoever is still there to hear of it: half a start would be a process nobody knows.
        let (broker, id) = (self.clone(), id.clone());
        finished(async move { broker.wake_in_turn(&id, &slot).await }).await
    }

    async fn wake_in_turn(self: &Rc<Self>, id: &GrainId, slot: &Rc<Slot>) -> Result<Rc<Running>, Problem> {
        let _turn = slot.turn.lock().await;
        if let Some(running) = slot.running() {
            return Ok(running);
        }
        slot.state.set(State::Starting);
        slot.problem.take();
        slot.limit.set(None);
        self.tell_grain(id);
        let started = self.start_grain(id, slot).await;
        match &started {
            Ok(_) => slot.state.set(State::Running),
            Err(problem) => {
                slot.state.set(State::Failed);
                slot.problem
                    .borrow_mut()
                    .get_or_insert_with(|| problem.to_string());
            }
        }
        self.tell_grain(id);
        started
    }

    async fn start_grain(self: &Rc<Self>, id: &GrainId, slot: &Rc<Slot>) -> Result<Rc<Running>, Problem> {
        slot.wait_for_the_last_one().await;
        let grain: Grain = self.read(grain_key(id))?.ok_or(Problem::NotFound)?;
        if grain.trashed.is_some() {
            return Err(Problem::InTrash);
        }
        // Where installing a newer version of its app did not come this far. What it was made with works as well.
        let grain = match self.go_on_with_app(id, grain.clone()).await {
            Ok(grain) => grain,
            Err(problem) => {
                tracing::warn!(grain = %id, "a grain starts with the older version of its app: {problem}");
                grain
            }
        };
        let info = self.package_info(&grain.package_id).await?;
        let command = described::command(&info, grain.begun, grain.action)?;
        let door = self.config.layout.door(id);
        let io = |error: std::io::Error| Problem::internal("make the sockets of a grain", &error);
        let (ours, theirs) = UnixStream::pair().map_err(io)?;
        let _ = std::fs::remove_file(&door);
        let start = GrainStart {
            package: self.config.layout.package(&grain.package_id).join("tree"),
            grain: self.config.layout.grain(id),
            argv: command.argv.clone(),
            environ: command
                .environ
                .iter()
                .map(|variable| (variable.key.clone(), variable.value.clone()))
                .collect(),
            limits: grain.limits.effective(),
            full: self.fullness(slot, &grain),
            loopback: info.manifest.uses_bridge,
            native: info.sandbox == percloud_spk::sandbox::Sandbox::Native,
            record_refused: self.config.record_refused,
            broker: theirs,
            door: UnixListener::bind(&door).map_err(io)?,
        };
        slot.full.set(start.full);
        let process = self.outside.launcher.start_grain(start).await.map_err(|error| {
            tracing::error!(grain = %id, "cannot start a grain: {error}");
            Problem::GrainFailed(error.0)
        })?;

        let keeper = Rc::new(Keeper::new(self, id, slot));
        ours.set_nonblocking(true).map_err(io)?;
        let ours = tokio::net::UnixStream::from_std(ours).map_err(io)?;
        let bootstrap: host_keeper::Client = capnp_rpc::new_client_from_rc(keeper.clone());
        let mut link = Link::new(ours, Side::Server, Bounds::of_a_host(), Some(bootstrap.client));
        let host: grain_host::Client = link.bootstrap();
        let running = Rc::new(Running {
            host: host.clone(),
            door,
            pid: process.pid,
            view: tokio::sync::OnceCell::new(),
            memory: Cell::new(None),
            process: watch(process.pidfd).map_err(io)?,
            connection: RefCell::default(),
        });
        let (ended, ended_early) = tokio::sync::oneshot::channel();
        let connection = tokio::task::spawn_local({
            let (keeper, running) = (keeper.clone(), Rc::downgrade(&running));
            async move {
                let outcome = link.run().await;
                let _ = ended.send(());
                keeper.ended(&running, outcome.err());
            }
        });

        *running.connection.borrow_mut() = Some(connection.abort_handle());

        let first_answer = host.keep_alive_request().send().promise;
        let answered = tokio::select! {
            answer = tokio::time::timeout(START_DEADLINE, first_answer) => matches!(answer, Ok(Ok(_))),
            _ = ended_early => false,
        };
        if !answered {
            running.end().await;
            let reason = keeper.end.borrow().as_ref().map(|end| end.reason.clone());
            let reason =
                reason.unwrap_or_else(|| "the app could not be started; its log says more".to_owned());
            return Err(Problem::GrainFailed(reason));
        }
        if !grain.begun
            && let Err(problem) = self.update_grain(id, |grain| grain.begun = true).await
        {
            running.end().await;
            return Err(problem);
        }
        *slot.running.borrow_mut() = Some(running.clone());
        // What it can provide and which roles it has may be asked while it sleeps again; nobody waits for that now.
        let (broker, id, asked) = (self.clone(), id.clone(), running.clone());
        tokio::task::spawn_local(async move {
            let _ = broker.learn_view(&id, &asked).await;
        });
        Ok(running)
    }

    /// Stops a grain; returns when its processes are gone.
    pub(crate) async fn stop_grain(self: &Rc<Self>, id: &GrainId) {
        let slot = self.slot(id);
        let _turn = slot.turn.lock().await;
        slot.stop().await;
        self.forget_references(id);
        self.forget_ongoing(id);
    }

    pub(crate) async fn stop_all_grains(&self) {
        let slots: Vec<_> = self.slots.borrow().values().cloned().collect();
        let stops = slots.iter().filter_map(|slot| slot.running.borrow_mut().take());
        futures::future::join_all(stops.map(|running| async move { running.end().await })).await;
    }
}

impl Running {
    /// Asks the host to end, kills it when it does not, and returns when it has.
    async fn end(&self) {
        let asked = self.host.shutdown_request().send().promise;
        let gone = async {
            let _ = asked.await;
            self.gone().await;
        };
        if tokio::time::timeout(STOP_DEADLINE, gone).await.is_err() {
            let _ = rustix::process::pidfd_send_signal(self.process.get_ref(), rustix::process::Signal::KILL);
            self.gone().await;
        }
    }

    /// Returns once the process is gone: its descriptor turns readable then.
    async fn gone(&self) {
        let _ = self.process.readable().await;
    }
}

/// Watches a process by its descriptor, which this owns: nobody else can close it meanwhile.
#[allow(
    deprecated,
    reason = "the replacement is for types that may not own their descriptor; OwnedFd does"
)]
fn watch(pidfd: OwnedFd) -> std::io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::new(pidfd)
}

impl Broker {
    /// Tells open shells how a grain is now.
    pub(crate) fn tell_grain(&self, id: &GrainId) {
        if let Some(slot) = self.slots.borrow().get(id) {
            slot.changed.send_replace(());
        }
        let Ok(Some(grain)) = self.read::<Grain>(grain_key(id)) else {
            return;
        };
        for person in self.people_of(id) {
            let may_see = person == grain.owner || self.access(id, &Holder::Person(person.clone())).is_some();
            if may_see && self.events.is_watching(&person) {
                let who = SignedIn {
                    account: person,
                    cookie: None,
                };
                let view = self.grain_view(&who, id, &grain);
                self.events
                    .tell(&who.account, &json!({"type": "grain", "grain": view}));
            }
        }
    }

    /// The owner of a grain, and everybody with an account who has it among their own.
    pub(crate) fn people_of(&self, id: &GrainId) -> Vec<AccountId> {
        let owner = self
            .read::<Grain>(grain_key(id))
            .ok()
            .flatten()
            .map(|grain| grain.owner);
        let ledger = self.ledger.borrow();
        let mut people: Vec<AccountId> = ledger
            .shares_of(id)
            .filter(|share| share.accepted == Acceptance::Accepted)
            .filter_map(|share| match &share.to {
                Recipient::Person(person) => Some(person.clone()),
                Recipient::Link => None,
            })
            .chain(owner)
            .collect();
        people.sort();
        people.dedup();
        people
    }

    /// Keeps the last known size of a grain for when it sleeps.
    pub(crate) fn remember_size(self: &Rc<Self>, id: &GrainId, slot: &Slot) {
        let Some(size) = slot.size.get() else { return };
        let files = slot.files.get();
        let (broker, id) = (self.clone(), id.clone());
        tokio::task::spawn_local(async move {
            let remembered = broker.update_grain(&id, |grain| {
                grain.size = Some(size);
                grain.files = files.or(grain.files);
            });
            let _ = remembered.await;
        });
    }
}

/// A system call the kernel refused an app.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct RefusedSyscall {
    /// Its number on this machine's architecture.
    pub number: u32,
    /// Its name, or its number again.
    pub name: String,
    /// How often it was refused.
    pub count: u32,
}

impl Broker {
    /// What a running grain's app asked the kernel for in vain; empty unless that was recorded.
    pub async fn refused_syscalls(&self, id: &GrainId) -> Vec<RefusedSyscall> {
        let Some(running) = self.slot(id).running() else {
            return Vec::new();
        };
        let Ok(response) = in_time(running.host.refused_syscalls_request().send().promise).await else {
            return Vec::new();
        };
        let read = || -> Result<Vec<RefusedSyscall>, capnp::Error> {
            let calls = response.get()?.get_calls()?;
            calls
                .iter()
                .map(|call| {
                    let name = call.get_name()?.to_str()?.to_owned();
                    Ok(RefusedSyscall {
                        number: call.get_number(),
                        name,
                        count: call.get_count(),
                    })
                })
                .collect()
        };
        read().unwrap_or_default()
    }
}
