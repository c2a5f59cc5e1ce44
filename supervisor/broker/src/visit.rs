//! Visits: somebody, or some program, in one grain, with what they were admitted with.
//!
//! Every live way into a grain that needs a person's or a link's access is a visit, and every visit is looked at again
//! whenever anything changes that access could depend on. That is what makes taking back bite.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::rc::{Rc, Weak};
use std::time::Duration;

use percloud_core::id::{AccountId, GrainId, RequestId, ShareId};
use percloud_core::secret::{Secret, SecretHash};
use percloud_core::sharing::access::Access;
use percloud_core::sharing::permission::PermissionSet;
use percloud_core::sharing::requirement::Requirement;
use percloud_core::sharing::share::Holder;
use percloud_core::time::Timestamp;
use percloud_schemas::host_capnp::admission;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::account::SignedIn;
use crate::broker::Broker;
use crate::problem::Problem;
use crate::record::{Grain, KnownAs, grain_key, person_of_grain};
use crate::running::in_time;
use crate::view_info::Described;

/// How long a host may take to confirm that a session is broken.
const END_DEADLINE: Duration = Duration::from_secs(1);

/// Names a visit towards its grain host.
pub(crate) type SessionId = [u8; 16];

/// Who comes.
#[derive(Clone, Debug)]
pub(crate) struct Visitor {
    /// Whose access counts.
    pub holder: Holder,
    /// Whom the app is told about; nobody for strangers.
    pub person: Option<AccountId>,
    /// The shell session they came from; signing out there ends the visit.
    pub shell: Option<SecretHash>,
}

impl Visitor {
    pub(crate) fn person(who: &SignedIn) -> Self {
        Self {
            holder: Holder::Person(who.account.clone()),
            person: Some(who.account.clone()),
            shell: who.cookie.as_ref().map(Secret::hash),
        }
    }

    /// Somebody without an account, by a link.
    pub(crate) fn guest(link: ShareId) -> Self {
        Self {
            holder: Holder::Link(link),
            person: None,
            shell: None,
        }
    }
}

/// What the visit is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A page in a frame of the shell.
    Page,
    /// A page on which an app is asked for something another grain wants.
    Provide(RequestId),
    /// A program; the address it asked the app to be told of.
    Program { remote: Option<std::net::IpAddr> },
}

impl Purpose {
    fn is_program(&self) -> bool {
        matches!(self, Self::Program { .. })
    }
}

/// One visit.
pub(crate) struct Visit {
    pub id: SessionId,
    pub tab: [u8; 16],
    pub grain: GrainId,
    pub visitor: Visitor,
    pub purpose: Purpose,
    /// With what the app was told to let them in; none before that.
    granted: RefCell<Option<PermissionSet>>,
    /// When that has to be looked at again, whatever happens.
    until: Cell<Option<Timestamp>>,
    /// How many doors were opened for it and not closed since.
    pub(crate) doors: Cell<usize>,
}

/// What may have changed of who may do what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Changed {
    /// Anything: the time, for one.
    Everything,
    /// Shares, limits, owners, roles or the whereabouts of these grains.
    Grains(BTreeSet<GrainId>),
    /// Tokens that are gone.
    Tokens,
}

/// Where and how a session is to be had.
#[derive(Debug)]
pub struct Opened {
    /// The socket the grain host listens on.
    pub door: PathBuf,
    /// Good for one knock.
    pub nonce: Secret,
    /// Whether the owner allowed the looser page policy.
    pub relaxed_policy: bool,
    /// The session is for a program.
    pub is_api: bool,
}

impl Broker {
    /// Begins a visit; nobody has been let in yet.
    pub(crate) fn begin_visit(&self, grain: &GrainId, visitor: Visitor, purpose: Purpose) -> Rc<Visit> {
        let mut ids = [[0; 16]; 2];
        ids.iter_mut().for_each(|bytes| (self.outside.random)(bytes));
        let visit = Rc::new(Visit {
            id: ids[0],
            tab: ids[1],
            grain: grain.clone(),
            visitor,
            purpose,
            granted: RefCell::default(),
            until: Cell::default(),
            doors: Cell::default(),
        });
        self.visits.borrow_mut().insert(visit.id, visit.clone());
        self.count_use(grain);
        visit
    }

    /// Wakes the grain, decides what the visitor may do in it, and announces them at its door.
    pub(crate) async fn admit(self: &Rc<Self>, visit: &Rc<Visit>) -> Result<Opened, Problem> {
        let id = &visit.grain;
        let nonce = self.outside.secret();
        // A grain may fall asleep between waking and the knock; then it is woken once more.
        let mut attempts = 0;
        let (running, record) = loop {
            let record: Grain = self.read(grain_key(id))?.ok_or(Problem::NotFound)?;
            if record.trashed.is_some() {
                return Err(Problem::InTrash);
            }
            // Before anything starts: strangers must not wake what they may not see.
            self.access(id, &visit.visitor.holder).ok_or(Problem::NotFound)?;
            let running = self.wake(id).await?;
            let is_owner = visit.visitor.holder == Holder::Person(record.owner.clone());
            // An owner may do everything, whatever that is; for others it matters what the app calls what.
            let view = if is_owner {
                self.view_of(id)
            } else {
                self.learn_view(id, &running).await?
            };
            // Who was let in with other permissions goes first: a door opened before must not keep what was taken since.
            let access = self.access(id, &visit.visitor.holder).ok_or(Problem::NotFound)?;
            let differs = visit
                .granted
                .borrow()
                .as_ref()
                .is_some_and(|granted| *granted != access.permissions);
            if differs && !access.is_owner {
                visit.granted.take();
                self.end_sessions(vec![(id.clone(), visit.id)]).await;
                continue;
            }
            // From the decision to the announcement nothing may come between: what takes access away comes before
            // or after both.
            let access = self.access(id, &visit.visitor.holder).ok_or(Problem::NotFound)?;
            *visit.granted.borrow_mut() = Some(access.permissions.clone());
            visit.until.set(access.until);
            self.mind_time(access.until);
            let mut request = running.host.admit_request();
            request.get().set_nonce(nonce.expose());
            self.describe_visit(request.get().init_session(), visit, &record, &access, &view)?;
            match in_time(request.send().promise).await {
                Ok(_) => break (running, record),
                Err(error) if error.kind == capnp::ErrorKind::Overloaded => {
                    return Err(Problem::TooManyAttempts { retry_after: 5 });
                }
                Err(error) if attempts > 0 => {
                    tracing::warn!(grain = %id, "a grain host does not admit a session: {error}");
                    return Err(Problem::GrainFailed(
                        "the app stopped while it was being opened".to_owned(),
                    ));
                }
                Err(_) => {
                    // A host that admits nobody is on its way out.
                    attempts += 1;
                    self.stop_grain(id).await;
                }
            }
        };
        Ok(Opened {
            door: running.door.clone(),
            nonce,
            relaxed_policy: record.relaxed_policy,
            is_api: visit.purpose.is_program(),
        })
    }

    fn describe_visit(
        self: &Rc<Self>,
        mut admission: admission::Builder<'_>,
        visit: &Rc<Visit>,
        grain: &Grain,
        access: &Access,
        view: &Described,
    ) -> Result<(), Problem> {
        let is_owner = visit.visitor.holder == Holder::Person(grain.owner.clone());
        admission.set_session_id(&visit.id);
        admission.set_tab_id(&visit.tab);
        admission.set_is_owner(is_owner && access.permissions == view.rules.all());
        admission.set_keeper(self.session_keeper(visit));
        let mut user = admission.reborrow().init_user();
        match &visit.visitor.person {
            Some(account) => {
                let accounts = self.accounts.borrow();
                let person = accounts.get(account).ok_or(Problem::NotFound)?;
                user.reborrow().init_display_name().set_default_text(&person.name);
                user.set_preferred_handle(&person.handle);
                user.set_identity_id(&self.identity_id(account, &visit.grain));
                user.set_identity(self.identity(account));
            }
            None => {
                user.reborrow()
                    .init_display_name()
                    .set_default_text("Anonymous User");
                user.set_preferred_handle("anonymous");
            }
        }
        let count = view.rules.permissions;
        let mut permissions = user.init_permissions(u32::try_from(count).unwrap_or(0));
        for (index, held) in (0..).zip(access.permissions.to_bools(count)) {
            permissions.set(index, held);
        }
        match &visit.purpose {
            Purpose::Page => admission.set_page(()),
            Purpose::Provide(request) => {
                let asked = self
                    .requests
                    .borrow()
                    .get(request)
                    .cloned()
                    .ok_or(Problem::NotFound)?;
                let written = asked.original().and_then(|list| admission.set_request(list));
                written.map_err(|error| Problem::internal("pass a request on", &error))?;
            }
            Purpose::Program { remote } => {
                let mut api = admission.init_api();
                if let Some(remote) = remote {
                    let (upper, lower) = sandstorm_address(*remote);
                    let mut address = api.reborrow().init_remote_address();
                    address.set_upper64(upper);
                    address.set_lower64(lower);
                }
            }
        }
        Ok(())
    }

    /// Whether a visit goes on.
    pub(crate) fn is_visiting(&self, id: &SessionId) -> bool {
        self.visits.borrow().contains_key(id)
    }

    /// Looks again at the visits and references that `changed` may have to do with and ends what may not go on. When this
    /// returns, it has ended.
    pub(crate) async fn enforce(self: &Rc<Self>, changed: &Changed) {
        let now = self.outside.now();
        let affected = self.affected_by(changed);
        let is_affected = |grain: &GrainId| affected.as_ref().is_none_or(|grains| grains.contains(grain));
        let visits: Vec<Rc<Visit>> = {
            let visits = self.visits.borrow();
            let visits = visits.values().filter(|visit| is_affected(&visit.grain));
            visits.cloned().collect()
        };
        let mut soonest: Option<Timestamp> = None;
        let mut over = Vec::new();
        for visit in visits {
            let access = self.access(&visit.grain, &visit.visitor.holder);
            let granted = visit.granted.borrow();
            let goes_on = match (&access, &*granted) {
                (None, _) => false,
                (Some(_), None) => true,
                // The owner was told "everything", whatever it means by now.
                (Some(access), Some(_))
                    if access.is_owner && access.permissions == self.view_of(&visit.grain).rules.all() =>
                {
                    true
                }
                (Some(access), Some(granted)) => access.permissions == *granted,
            };
            drop(granted);
            if !goes_on {
                over.push(visit);
                continue;
            }
            let until = access.and_then(|access| access.until);
            visit.until.set(until);
            soonest = [soonest, until.filter(|until| *until > now)]
                .into_iter()
                .flatten()
                .min();
        }
        let references = self.broken_references(now, &mut soonest, |reference| {
            let hangs_on = |condition: &Requirement| match condition {
                Requirement::PermissionsHeld { grain, .. } => is_affected(grain),
                Requirement::TokenValid(_) => *changed == Changed::Tokens,
                Requirement::IsAdmin(_) => false,
            };
            affected.is_none()
                || (*changed == Changed::Tokens && reference.token.is_some())
                || reference.conditions.iter().any(hangs_on)
        });
        if affected.is_none() {
            self.next_look.set(soonest);
            self.time_changed.send_replace(());
        } else {
            // What was not looked at ends when it did; looking too soon does no harm.
            self.mind_time(soonest);
        }
        let ended = self.forget_visits(&over);
        futures::join!(
            self.end_sessions(ended.into_iter().chain(references.at_hosts).collect()),
            self.end_outlets(references.outlets),
        );
    }

    /// The grains on which access may be another than before; none where that may be all.
    fn affected_by(&self, changed: &Changed) -> Option<BTreeSet<GrainId>> {
        let ledger = self.ledger.borrow();
        // Access to these may hang on access to the others, and on tokens.
        let conditional = ledger.conditional_grains().cloned();
        match changed {
            Changed::Everything => None,
            Changed::Tokens => Some(conditional.collect()),
            Changed::Grains(grains) => Some(conditional.chain(grains.iter().cloned()).collect()),
        }
    }

    /// Takes visits off the list, with the pages they were, and tells the shells that showed them.
    pub(crate) fn forget_visits(&self, over: &[Rc<Visit>]) -> Vec<(GrainId, SessionId)> {
        let gone: HashMap<SessionId, &Rc<Visit>> = {
            let mut visits = self.visits.borrow_mut();
            let gone = over.iter().filter(|visit| visits.remove(&visit.id).is_some());
            gone.map(|visit| (visit.id, visit)).collect()
        };
        if gone.is_empty() {
            return Vec::new();
        }
        let mut closed = Vec::new();
        self.pages.borrow_mut().retain(|host, page| {
            let ends = gone.contains_key(&page.visit.id);
            if let (true, Some(person)) = (ends, &page.visit.visitor.person) {
                closed.push((person.clone(), host.clone()));
            }
            !ends
        });
        for (person, host) in closed {
            self.events
                .tell(&person, &json!({"type": "page-closed", "page": host.as_str()}));
        }
        gone.values()
            .map(|visit| (visit.grain.clone(), visit.id))
            .collect()
    }

    /// Has hosts break what was made through these sessions, all at once. A host that does not confirm in time is ended:
    /// revocation does not wait for anybody's good will.
    pub(crate) async fn end_sessions(self: &Rc<Self>, sessions: Vec<(GrainId, SessionId)>) {
        let endings = sessions.into_iter().map(async |(grain, session_id)| {
            let running = self.slots.borrow().get(&grain).and_then(|slot| slot.running());
            let Some(running) = running else { return };
            let mut request = running.host.end_session_request();
            request.get().set_session_id(&session_id);
            let confirmed = tokio::time::timeout(END_DEADLINE, request.send().promise).await;
            if !matches!(confirmed, Ok(Ok(_))) {
                // Not in the grain's turn: whoever has that may be waiting for what we hold.
                self.slot(&grain).cut(&running).await;
                self.forget_references(&grain);
                self.tell_grain(&grain);
            }
        });
        futures::future::join_all(endings).await;
    }

    /// Remembers that something ends by itself then.
    pub(crate) fn mind_time(&self, until: Option<Timestamp>) {
        let Some(until) = until else { return };
        if self.next_look.get().is_none_or(|next| until < next) {
            self.next_look.set(Some(until));
            self.time_changed.send_replace(());
        }
    }

    /// Ends what ends by the passing of time, when its time has come. Runs for as long as the server does.
    pub async fn keep_time(self: &Rc<Self>) {
        let mut changed = self.time_changed.subscribe();
        loop {
            changed.mark_unchanged();
            tokio::select! {
                () = self.outside.until(self.next_look.get()) => self.enforce(&Changed::Everything).await,
                _ = changed.changed() => {}
            }
        }
    }

    /// The 32 bytes by which an app knows a person: stable within a grain, unlinkable across grains (ADR 0003).
    ///
    /// A restored grain goes on knowing people as it did.
    pub(crate) fn identity_id(&self, account: &AccountId, grain: &GrainId) -> [u8; 32] {
        let known: Option<KnownAs> = self.read(&person_of_grain(grain, account)).ok().flatten();
        if let Some(known) = known.and_then(|known| Secret::from_hex(&known.id)) {
            return *known.expose();
        }
        let mut hash = Sha256::new();
        hash.update(b"percloud identity\0");
        hash.update(account.as_str());
        hash.update(b"\0");
        hash.update(grain.as_str());
        hash.finalize().into()
    }
}

/// Counts the doors of a visit; a program's visit is over when the last is closed.
pub(crate) struct Door {
    pub(crate) broker: Weak<Broker>,
    pub(crate) visit: Rc<Visit>,
}

impl Door {
    pub(crate) fn new(broker: &Rc<Broker>, visit: &Rc<Visit>) -> Self {
        visit.doors.set(visit.doors.get() + 1);
        Self {
            broker: Rc::downgrade(broker),
            visit: visit.clone(),
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.visit.doors.set(self.visit.doors.get() - 1);
        if self.visit.doors.get() == 0
            && self.visit.purpose.is_program()
            && let Some(broker) = self.broker.upgrade()
        {
            broker.visits.borrow_mut().remove(&self.visit.id);
        }
    }
}

/// An address as `IpAddress` has it: IPv4 is mapped (sheet section 2).
fn sandstorm_address(address: std::net::IpAddr) -> (u64, u64) {
    let bits = match address {
        std::net::IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        std::net::IpAddr::V6(address) => address.to_bits(),
    };
    let low = bits & u128::from(u64::MAX);
    (
        u64::try_from(bits >> 64).expect("64 bits are left"),
        u64::try_from(low).expect("64 bits are left"),
    )
}
