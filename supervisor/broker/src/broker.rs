//! The broker's state, and how it starts.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::rc::Rc;
use std::time::Duration;

use percloud_core::host::SessionHost;
use percloud_core::id::{AccountId, GrainId, JobId, NoticeId, OfferId, RequestId, ShareId};
use percloud_core::secret::{Secret, SecretHash};
use percloud_core::sharing::ledger::Ledger;
use percloud_core::throttle::Throttle;
use percloud_core::time::Timestamp;
use percloud_core::warm::Budget;
use percloud_store::{Batch, OpenOptions, Otherwise, Record, Store};

use crate::catalogue::Catalogue;
use crate::event::Events;
use crate::job::Timetable;
use crate::keeper::{Identities, Views};
use crate::layout::Layout;
use crate::notice::Ongoing;
use crate::open::PageSession;
use crate::outlet::Egress;
use crate::outside::Outside;
use crate::package::Staged;
use crate::parts::Part;
use crate::powerbox::Asked;
use crate::problem::Problem;
use crate::record::{About, Account, Transfer};
use crate::running::Slot;
use crate::staging::Staging;
use crate::token::{Leading, Reference};
use crate::turns::Turns;
use crate::view_info::Recent;
use crate::visit::{SessionId, Visit};
use crate::{access, audit, sharing, warm};

/// Commits after which the store's export is written anew.
const EXPORT_AFTER_COMMITS: u64 = 1000;
/// Time after which it is, when there was any commit.
const EXPORT_AFTER: Duration = Duration::from_secs(60 * 60);

/// What a broker is told at its start; nothing here has a default.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where things are on disk.
    pub layout: Layout,
    /// `http` or `https`, and the shell's host with its port: `("http", "percloud.localhost:6080")`.
    pub base: (String, String),
    /// Whether a broker served from these folders a moment ago: what it had must be there, and whole.
    pub again: bool,
    /// How much memory grains may take that run with nobody in them.
    pub warm_memory: Budget,
    /// Whether grains record what the kernel refuses them.
    pub record_refused: bool,
}

/// Why a broker could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The folders could not be prepared.
    #[error("cannot prepare the data folder")]
    Layout(#[source] io::Error),
    /// The store could not be opened.
    #[error("cannot open the store")]
    Store(#[source] percloud_store::OpenError),
    /// The store could not be read.
    #[error("cannot read what is in the store")]
    Records(#[source] percloud_store::ReadError),
}

/// Everything the broker knows. Lives on one thread; shared by reference counting.
pub struct Broker {
    pub(crate) config: Config,
    pub(crate) outside: Outside,
    pub(crate) store: Store,
    pub(crate) events: Events,
    /// All accounts, by id; few, and needed on every request.
    pub(crate) accounts: RefCell<BTreeMap<AccountId, Account>>,
    /// Hash of the secret that makes the first account; none once there is one.
    pub(crate) setup: RefCell<Option<SecretHash>>,
    pub(crate) throttle: RefCell<Throttle>,
    /// Bounds how many passwords are hashed at a time: each takes memory and a core.
    pub(crate) hashing: tokio::sync::Semaphore,
    /// How many wait for their turn at that.
    pub(crate) waiting_to_hash: std::cell::Cell<usize>,
    /// Marked whenever a shell session ends: whoever acts for one looks again.
    pub(crate) sign_outs: tokio::sync::watch::Sender<()>,
    /// Held from reading a grain's record to its durable change, so that no change is lost to another.
    pub(crate) changing: tokio::sync::Mutex<()>,
    /// Grains their owners used, and when, where it is not noted yet.
    pub(crate) used: RefCell<BTreeMap<GrainId, Timestamp>>,
    /// Held while packages come and go, so that none goes that a new grain counts on.
    pub(crate) packaging: tokio::sync::Mutex<()>,
    pub(crate) staged: RefCell<HashMap<String, Staged>>,
    pub(crate) slots: RefCell<HashMap<GrainId, Rc<Slot>>>,
    pub(crate) pages: RefCell<HashMap<SessionHost, PageSession>>,
    /// Everybody who is in some grain.
    pub(crate) visits: RefCell<HashMap<SessionId, Rc<Visit>>>,
    /// Every saved reference that is alive in some grain.
    pub(crate) references: RefCell<HashMap<SessionId, Reference>>,
    /// What grains ask people for at the moment.
    pub(crate) requests: RefCell<HashMap<RequestId, Rc<Asked>>>,
    /// What apps do in the background.
    pub(crate) ongoing: RefCell<BTreeMap<NoticeId, Ongoing>>,
    /// Jobs that run at the moment, and in which grain.
    pub(crate) running_jobs: RefCell<HashMap<JobId, GrainId>>,
    /// Bounds how many jobs run at a time: after a long night all are due at once.
    pub(crate) job_turns: tokio::sync::Semaphore,
    /// Bounds how many grains are started ahead at a time.
    pub(crate) ahead: std::sync::Arc<tokio::sync::Semaphore>,
    /// Marked when there is a job more or less.
    pub(crate) jobs_changed: tokio::sync::watch::Sender<()>,
    /// Identities handed to apps.
    pub(crate) identities: RefCell<Identities>,
    /// Views of whole grains handed to apps.
    pub(crate) handed_views: RefCell<Views>,
    /// Who opens connections to other machines; none before it has started.
    pub(crate) egress: RefCell<Option<Egress>>,
    /// Parts of the server that end again and again.
    pub(crate) failing: RefCell<BTreeSet<Part>>,
    /// Things about this server its owner should see, as (code, sentence).
    pub(crate) warnings: RefCell<Vec<(&'static str, String)>>,
    /// Whose grains there are, in order.
    pub(crate) catalogue: RefCell<Catalogue>,
    /// When jobs are due.
    pub(crate) timetable: RefCell<Timetable>,
    /// Which tokens lead to which object.
    pub(crate) leading: RefCell<Leading>,
    /// Grains somebody wants to hand over.
    pub(crate) transfers: RefCell<BTreeMap<OfferId, Transfer>>,
    /// Who shared what with whom; the store has the same.
    pub(crate) ledger: RefCell<Ledger>,
    /// What is kept beside each share.
    pub(crate) abouts: RefCell<HashMap<ShareId, About>>,
    /// What apps say of themselves, as far as it was needed lately.
    pub(crate) views: RefCell<Recent>,
    /// What people have on its way through staging.
    pub(crate) staging: Staging,
    /// Bounds how many identities are saved at a time: whose grain saves one is not known here.
    pub(crate) identity_saves: Turns,
    /// Where the audit log ends, and where in it is what.
    pub(crate) audit: RefCell<audit::Log>,
    /// Held from planning a change of sharing until it counts, and while something is noted in the audit log.
    pub(crate) sharing_turn: tokio::sync::Mutex<()>,
    /// When expired tokens are looked for next.
    pub(crate) next_sweep: Cell<Timestamp>,
    /// When something ends by itself next.
    pub(crate) next_look: Cell<Option<Timestamp>>,
    /// Marked when that has changed.
    pub(crate) time_changed: tokio::sync::watch::Sender<()>,
    pub(crate) infos: RefCell<HashMap<String, Rc<percloud_spk::install::PackageInfo>>>,
    /// Whether that a job has run can be saved, as far as is known: a broker after another has to see it first.
    pub(crate) has_saved: Cell<bool>,
}

impl Broker {
    /// Prepares the folders and opens the store. Returns the setup secret too while nobody owns the server.
    pub fn start(config: Config, outside: Outside) -> Result<(Rc<Self>, Option<Secret>), StartError> {
        let mut warnings = Vec::new();
        let has_saved = Cell::new(!config.again);
        if config.again {
            config.layout.prepare_doors().map_err(StartError::Layout)?;
        } else {
            config.layout.prepare().map_err(StartError::Layout)?;
        }
        let options = OpenOptions {
            export_dir: config.layout.export(),
            otherwise: if config.again {
                Otherwise::Refuse
            } else {
                Otherwise::Recover
            },
        };
        let (store, opened) = Store::open(&config.layout.store(), &options).map_err(StartError::Store)?;
        // The store's lock says that no other server uses these folders.
        config.layout.sweep().map_err(StartError::Layout)?;
        if let Some(warning) = opened.warning() {
            tracing::warn!("{warning}");
            warnings.push(("store-rebuilt", warning));
        }
        let accounts: BTreeMap<AccountId, Account> = store
            .scan::<Account>(b"")
            .map_err(StartError::Records)?
            .into_iter()
            .filter_map(|(key, account)| Some((std::str::from_utf8(&key).ok()?.parse().ok()?, account)))
            .collect();
        let (ledger, abouts) = access::load(&store).map_err(StartError::Records)?;
        let catalogue = Catalogue::load(&store).map_err(StartError::Records)?;
        let timetable = Timetable::load(&store).map_err(StartError::Records)?;
        let leading = Leading::load(&store).map_err(StartError::Records)?;
        let transfers = sharing::load_transfers(&store).map_err(StartError::Records)?;
        let audit = audit::load(&store).map_err(StartError::Records)?;
        let secret = accounts.is_empty().then(|| outside.secret());
        let broker = Self {
            setup: RefCell::new(secret.as_ref().map(Secret::hash)),
            accounts: RefCell::new(accounts),
            config,
            outside,
            store,
            events: Events::default(),
            throttle: RefCell::default(),
            hashing: tokio::sync::Semaphore::new(1),
            waiting_to_hash: Default::default(),
            sign_outs: Default::default(),
            changing: tokio::sync::Mutex::default(),
            used: RefCell::default(),
            packaging: tokio::sync::Mutex::default(),
            staged: RefCell::default(),
            slots: RefCell::default(),
            pages: RefCell::default(),
            visits: RefCell::default(),
            references: RefCell::default(),
            requests: RefCell::default(),
            ongoing: RefCell::default(),
            running_jobs: RefCell::default(),
            job_turns: tokio::sync::Semaphore::new(4),
            ahead: std::sync::Arc::new(tokio::sync::Semaphore::new(warm::AHEAD)),
            jobs_changed: Default::default(),
            identities: RefCell::new(Identities::new()),
            handed_views: RefCell::new(Views::new()),
            egress: RefCell::default(),
            failing: RefCell::default(),
            warnings: RefCell::new(warnings),
            catalogue: RefCell::new(catalogue),
            timetable: RefCell::new(timetable),
            leading: RefCell::new(leading),
            transfers: RefCell::new(transfers),
            ledger: RefCell::new(ledger),
            abouts: RefCell::new(abouts.into_iter().collect()),
            views: RefCell::default(),
            staging: Staging::default(),
            identity_saves: Turns::default(),
            audit,
            sharing_turn: tokio::sync::Mutex::default(),
            next_sweep: Cell::default(),
            next_look: Cell::default(),
            time_changed: Default::default(),
            infos: RefCell::default(),
            has_saved,
        };
        Ok((Rc::new(broker), secret))
    }

    /// Whether the server has an owner.
    #[must_use]
    pub fn is_set_up(&self) -> bool {
        !self.accounts.borrow().is_empty()
    }

    /// Ends every running grain; returns when their processes have been told.
    pub async fn stop(&self) {
        self.stop_all_grains().await;
        self.config.layout.clear_doors();
        if self.store.has_failed() {
            // An export would hold what never reached the disk.
            return;
        }
        if let Err(error) = self.store.export_now() {
            tracing::warn!("cannot write the export of the store: {error}");
        }
    }

    /// Does what is due from time to time: forgets what has expired, writes the store's export. Call it every minute.
    pub async fn maintain(self: &Rc<Self>) {
        let now = self.outside.now();
        self.forget_expired_uploads(now);
        self.close_pages(|page| page.has_expired(now)).await;
        self.forget_unused_programs().await;
        if let Err(problem) = self.forget_expired_tokens(now).await {
            tracing::warn!("cannot forget expired tokens: {problem}");
        }
        if let Err(problem) = self.forget_expired_sessions(now).await {
            tracing::warn!("cannot forget expired sessions: {problem}");
        }
        let store = self.store.clone();
        match tokio::task::spawn_blocking(move || store.maybe_export(EXPORT_AFTER_COMMITS, EXPORT_AFTER))
            .await
        {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::warn!("cannot write the export of the store: {error}"),
            Err(error) => tracing::warn!("cannot write the export of the store: {error}"),
        }
    }

    /// Reads one record.
    pub(crate) fn read<R: Record>(&self, key: &[u8]) -> Result<Option<R>, Problem> {
        self.store
            .get(key)
            .map_err(|error| Problem::internal("read the store", &error))
    }

    /// Makes a batch durable.
    pub(crate) async fn commit(&self, batch: Batch) -> Result<(), Problem> {
        self.store
            .commit(batch)
            .await
            .map_err(|error| Problem::not_committed(&error))
    }
}
