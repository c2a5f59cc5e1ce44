//! Who holds what on a grain: the rules of `percloud_core::sharing`, with what they have to know.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::rc::Rc;

use percloud_core::id::{AccountId, GrainId, ShareId};
use percloud_core::sharing::access::{Access, Facts};
use percloud_core::sharing::ledger::{Changes, Ledger, Refused};
use percloud_core::sharing::requirement::TokenHash;
use percloud_core::sharing::role::View;
use percloud_core::sharing::share::{Holder, Share};
use percloud_core::time::Timestamp;
use percloud_store::{Batch, ReadError, Store};

use serde_json::json;

use crate::account::SignedIn;
use crate::broker::Broker;
use crate::problem::Problem;
use crate::record::{About, AccountRole, Grain, OwnLimit, Way, grain_key, person_of_grain};
use crate::visit::Changed;

/// What is true at one moment, as the rules ask for it.
pub(crate) struct Now<'b> {
    broker: &'b Broker,
    time: Timestamp,
}

impl Facts for Now<'_> {
    fn now(&self) -> Timestamp {
        self.time
    }

    fn owner(&self, grain: &GrainId) -> Option<AccountId> {
        let grain: Grain = self.broker.read(grain_key(grain)).ok()??;
        grain.trashed.is_none().then_some(grain.owner)
    }

    fn view(&self, grain: &GrainId) -> Cow<'_, View> {
        Cow::Owned(self.broker.view_of(grain).rules.clone())
    }

    fn token_valid(&self, token: &TokenHash) -> bool {
        self.broker.token_stands(token, self.time)
    }

    fn is_admin(&self, person: &AccountId) -> bool {
        let accounts = self.broker.accounts.borrow();
        accounts
            .get(person)
            .is_some_and(|account| account.role == AccountRole::Owner)
    }
}

/// Takes up what the store says of sharing.
pub(crate) fn load(store: &Store) -> Result<(Ledger, Vec<(ShareId, About)>), ReadError> {
    let mut shares = Vec::new();
    let mut abouts = Vec::new();
    for (_, way) in store.scan::<Way>(b"")? {
        abouts.push((way.share.id.clone(), way.about));
        shares.push(way.share);
    }
    let limits = store.scan::<OwnLimit>(b"")?;
    let ceilings = limits.into_iter().map(|(_, limit)| limit.0);
    Ok((Ledger::load(shares, ceilings), abouts))
}

impl Broker {
    pub(crate) fn facts(&self) -> Now<'_> {
        Now {
            broker: self,
            time: self.outside.now(),
        }
    }

    /// What `holder` holds on a grain at the moment.
    pub(crate) fn access(&self, grain: &GrainId, holder: &Holder) -> Option<Access> {
        self.ledger.borrow().access(&self.facts(), grain, holder)
    }

    /// What a signed-in person holds on a grain; the same answer for absent and not shared.
    pub(crate) fn own_access(&self, who: &SignedIn, grain: &GrainId) -> Result<Access, Problem> {
        self.access(grain, &Holder::Person(who.account.clone()))
            .ok_or(Problem::NotFound)
    }

    /// A grain the person owns, be it in the trash, or has access to.
    pub(crate) fn reachable(&self, who: &SignedIn, id: &GrainId) -> Result<Grain, Problem> {
        let grain: Grain = self.read(grain_key(id))?.ok_or(Problem::NotFound)?;
        if grain.owner == who.account || self.own_access(who, id).is_ok() {
            Ok(grain)
        } else {
            Err(Problem::NotFound)
        }
    }

    /// A share with what is kept beside it.
    pub(crate) fn way(&self, id: &ShareId) -> Option<(Share, About)> {
        let share = self.ledger.borrow().share(id)?.clone();
        let about = self.abouts.borrow().get(id).cloned().unwrap_or_default();
        Some((share, about))
    }

    /// Makes a change of who may do what with a grain durable, then lets it count, then ends what it took away. When this returns, nothing
    /// that was taken away works any more.
    ///
    /// `first` goes into the first batch: with it or not at all. The caller holds [`Broker::sharing_turn`].
    pub(crate) async fn settle(
        self: &Rc<Self>,
        of: &GrainId,
        first: Batch,
        changes: Changes,
        mut about: impl FnMut(&ShareId) -> About,
    ) -> Result<(), Problem> {
        let mut batch = first;
        // What is taken away comes first: a crash in the middle must not leave more than was there.
        for id in &changes.delete {
            self.make_room_in(&mut batch).await?;
            batch.delete::<Way>(id.as_str().as_bytes());
        }
        for (grain, person) in &changes.delete_ceilings {
            self.make_room_in(&mut batch).await?;
            batch.delete::<OwnLimit>(&person_of_grain(grain, person));
        }
        for ceiling in &changes.put_ceilings {
            self.make_room_in(&mut batch).await?;
            let key = person_of_grain(&ceiling.grain, &ceiling.person);
            batch.put(&key, &OwnLimit(ceiling.clone()));
        }
        let mut abouts = Vec::new();
        for share in &changes.put {
            self.make_room_in(&mut batch).await?;
            let way = Way {
                share: share.clone(),
                about: about(&share.id),
            };
            batch.put(share.id.as_str().as_bytes(), &way);
            abouts.push((share.id.clone(), way.about));
        }
        if !batch.is_empty() {
            self.commit_noted(batch).await?;
        }
        let grains: BTreeSet<GrainId> = {
            let ledger = self.ledger.borrow();
            let deleted = changes.delete.iter().filter_map(|id| ledger.share(id));
            let touched = deleted.chain(&changes.put).map(|share| share.grain.clone());
            let limited = changes.put_ceilings.iter().map(|ceiling| ceiling.grain.clone());
            let freed = changes.delete_ceilings.iter().map(|(grain, _)| grain.clone());
            touched.chain(limited).chain(freed).chain([of.clone()]).collect()
        };
        let before: Vec<(GrainId, AccountId)> = self.people_with_access(&grains);
        {
            let mut known = self.abouts.borrow_mut();
            changes.delete.iter().for_each(|id| drop(known.remove(id)));
            known.extend(abouts);
        }
        self.ledger.borrow_mut().apply(changes);
        self.enforce(&Changed::Grains(grains.clone())).await;
        let after = self.people_with_access(&grains);
        for (grain, person) in before.iter().filter(|known| !after.contains(known)) {
            self.events
                .tell(person, &json!({"type": "grain-deleted", "id": grain}));
        }
        Ok(())
    }

    /// Who of those that listen has access to which of these grains.
    fn people_with_access(&self, grains: &BTreeSet<GrainId>) -> Vec<(GrainId, AccountId)> {
        let mut found = Vec::new();
        for grain in grains {
            for person in self.people_of(grain) {
                if self.events.is_watching(&person)
                    && self.access(grain, &Holder::Person(person.clone())).is_some()
                {
                    found.push((grain.clone(), person));
                }
            }
        }
        found
    }

    /// Commits a batch that is nearly full and begins the next.
    async fn make_room_in(&self, batch: &mut Batch) -> Result<(), Problem> {
        if batch.is_nearly_full() {
            self.commit_noted(batch.take()).await?;
        }
        Ok(())
    }

    /// What is kept beside a share that is only changed.
    pub(crate) fn about(&self, id: &ShareId) -> About {
        self.abouts.borrow().get(id).cloned().unwrap_or_default()
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Unknown | Refused::Exists => Self::NotFound,
            Refused::NotHeld => Self::MayNotShare,
            Refused::ToSelf | Refused::NotALink | Refused::TooMany | Refused::TooMuch | Refused::Label => {
                Self::BadRequest(refused.to_string())
            }
        }
    }
}
