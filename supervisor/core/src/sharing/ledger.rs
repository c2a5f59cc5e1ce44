//! Everything the server knows of sharing, in memory and indexed.
//!
//! Changes are planned first: a plan names the records to put and to delete, so that the caller can commit them before
//! [`Ledger::apply`] makes them count. Between planning and applying nothing else may be applied, or the plan speaks of
//! a ledger that is gone.

use std::collections::{BTreeSet, HashMap};

use super::access::Facts;
use super::board::Board;
use super::role::RoleAssignment;
use super::share::{
    Ceiling, Holder, LABEL_LIMIT, LIMITS_PER_SHARE, REQUIREMENTS_PER_SHARE, Recipient, SHARES_PER_GRAIN,
    Share,
};
use crate::id::{AccountId, GrainId, ShareId};

/// Records to put and to delete, all of them or none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use = "a plan changes nothing until it is committed and applied"]
pub struct Changes {
    /// Shares that are new or other than before.
    pub put: Vec<Share>,
    /// Shares that are gone.
    pub delete: Vec<ShareId>,
    /// Ceilings that are new or other than before.
    pub put_ceilings: Vec<Ceiling>,
    /// Ceilings that are gone.
    pub delete_ceilings: Vec<(GrainId, AccountId)>,
}

impl Changes {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.put.is_empty()
            && self.delete.is_empty()
            && self.put_ceilings.is_empty()
            && self.delete_ceilings.is_empty()
    }
}

/// Why sharing cannot be changed as asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is no such share.
    #[error("no such share")]
    Unknown,
    /// There is one with that id.
    #[error("a share with this id is there already")]
    Exists,
    /// Who gives has no access, or may not pass it on.
    #[error("who gives may not pass this on")]
    NotHeld,
    /// Who gives is who would receive.
    #[error("nobody shares with themselves")]
    ToSelf,
    /// Only a link can be taken away from under the people who came by it.
    #[error("not a link")]
    NotALink,
    /// The grain has as many shares as it may have.
    #[error("a grain has at most {SHARES_PER_GRAIN} shares")]
    TooMany,
    /// The share has more requirements or limits than it may have.
    #[error("a share has at most {REQUIREMENTS_PER_SHARE} requirements and {LIMITS_PER_SHARE} limits")]
    TooMuch,
    /// The label is too long or no plain line.
    #[error("a label is one plain line of at most {LABEL_LIMIT} characters")]
    Label,
}

/// Where a share is.
#[derive(Debug, Clone)]
struct Place {
    grain: GrainId,
    edge: u32,
}

/// All shares and ceilings.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    boards: HashMap<GrainId, Board>,
    places: HashMap<ShareId, Place>,
    received: HashMap<AccountId, BTreeSet<ShareId>>,
    /// How many shares of a grain have requirements, where any has.
    conditional: HashMap<GrainId, usize>,
}

impl Ledger {
    /// Takes up what the store has, in any order. Nothing is refused: what makes no sense carries nothing.
    #[must_use]
    pub fn load(
        shares: impl IntoIterator<Item = Share>,
        ceilings: impl IntoIterator<Item = Ceiling>,
    ) -> Self {
        let mut ledger = Self::default();
        for share in shares {
            ledger.put(share);
        }
        for ceiling in ceilings {
            ledger.put_ceiling(ceiling);
        }
        ledger
    }

    /// The share with this id.
    #[must_use]
    pub fn share(&self, id: &ShareId) -> Option<&Share> {
        let place = self.places.get(id)?;
        Some(&self.board(&place.grain)?.edge(place.edge).share)
    }

    /// All shares of a grain, in no order that means anything.
    pub fn shares_of<'l>(&'l self, grain: &GrainId) -> impl Iterator<Item = &'l Share> + use<'l> {
        let edges = self.board(grain).into_iter().flat_map(Board::edges);
        edges.map(|(_, edge)| &edge.share)
    }

    /// Everything that was shared with a person, alive or not, accepted or not, in an order that stays.
    pub fn shares_with<'l>(&'l self, person: &AccountId) -> impl Iterator<Item = &'l Share> + use<'l> {
        let ids = self.received.get(person).into_iter().flatten();
        ids.filter_map(|id| self.share(id))
    }

    /// Grains on which somebody's access may hang on something outside the grain: on a token, or on access to another.
    pub fn conditional_grains(&self) -> impl Iterator<Item = &GrainId> {
        self.conditional.keys()
    }

    /// What `from` gave `person` on a grain: whether a link was redeemed before, for instance.
    pub fn between<'l>(
        &'l self,
        grain: &GrainId,
        from: &Holder,
        person: &AccountId,
    ) -> impl Iterator<Item = &'l Share> + use<'l> {
        let vertices = self.board(grain).and_then(|board| {
            let to = board.find(&Holder::Person(person.clone()))?;
            Some((board, board.find(from)?, to))
        });
        vertices.into_iter().flat_map(|(board, from, to)| {
            let incoming = board.vertex(to).incoming.iter().map(|edge| board.edge(*edge));
            incoming
                .filter(move |edge| edge.from == from)
                .map(|edge| &edge.share)
        })
    }

    /// How far a person limits themselves on a grain.
    #[must_use]
    pub fn ceiling(&self, grain: &GrainId, person: &AccountId) -> Option<&RoleAssignment> {
        let board = self.board(grain)?;
        let vertex = board.find(&Holder::Person(person.clone()))?;
        board.vertex(vertex).ceiling.as_ref()
    }

    /// Plans a new share: `share.from` must have access at the moment, and the right to pass it on.
    ///
    /// More than the giver holds may be given; it stays limited to what they hold.
    pub fn plan_add<F: Facts + ?Sized>(&self, facts: &F, share: Share) -> Result<Changes, Refused> {
        check(&share)?;
        if self.places.contains_key(&share.id) {
            return Err(Refused::Exists);
        }
        let given_to = share.holder();
        if given_to == share.from {
            return Err(Refused::ToSelf);
        }
        if self.board(&share.grain).map_or(0, Board::shares) >= SHARES_PER_GRAIN {
            return Err(Refused::TooMany);
        }
        let giver = self
            .access(facts, &share.grain, &share.from)
            .ok_or(Refused::NotHeld)?;
        let redeems = matches!(share.from, Holder::Link(_)) && !share.is_link();
        if !redeems && !giver.may_share {
            return Err(Refused::NotHeld);
        }
        Ok(Changes {
            put: vec![share],
            ..Changes::default()
        })
    }

    /// Plans an edit of a share: of its role, its limits in time, its label, its acceptance.
    ///
    /// Its id, its grain, who gave and who received stay what they are, whatever `edit` does to them.
    pub fn plan_change(&self, id: &ShareId, edit: impl FnOnce(&mut Share)) -> Result<Changes, Refused> {
        let before = self.share(id).ok_or(Refused::Unknown)?;
        let mut share = before.clone();
        edit(&mut share);
        share.id = before.id.clone();
        share.grain = before.grain.clone();
        share.from = before.from.clone();
        share.to = before.to.clone();
        check(&share)?;
        let changed = share != *before;
        Ok(Changes {
            put: changed.then_some(share).into_iter().collect(),
            ..Changes::default()
        })
    }

    /// Plans that a person limits themselves on a grain, or no longer does.
    pub fn plan_ceiling(&self, grain: &GrainId, person: &AccountId, role: Option<RoleAssignment>) -> Changes {
        let mut changes = Changes::default();
        match role {
            Some(role) if self.ceiling(grain, person) != Some(&role) => changes.put_ceilings.push(Ceiling {
                grain: grain.clone(),
                person: person.clone(),
                role,
            }),
            None if self.ceiling(grain, person).is_some() => {
                changes.delete_ceilings.push((grain.clone(), person.clone()));
            }
            _ => {}
        }
        changes
    }

    /// Plans that a grain is forgotten: all its shares and ceilings go.
    pub fn plan_forget_grain(&self, grain: &GrainId) -> Changes {
        let mut changes = Changes::default();
        if let Some(board) = self.board(grain) {
            changes.delete = board.edges().map(|(_, edge)| edge.share.id.clone()).collect();
            changes.delete.sort();
            changes.delete_ceilings = ceilings_of(board)
                .map(|person| (grain.clone(), person.clone()))
                .collect();
            changes.delete_ceilings.sort();
        }
        changes
    }

    /// Makes changes count that were planned and committed.
    pub fn apply(&mut self, changes: Changes) {
        for id in &changes.delete {
            self.delete(id);
        }
        for share in changes.put {
            self.put(share);
        }
        for (grain, person) in changes.delete_ceilings {
            self.set_ceiling(&grain, person, None);
        }
        for ceiling in changes.put_ceilings {
            self.put_ceiling(ceiling);
        }
    }

    pub(super) fn board(&self, grain: &GrainId) -> Option<&Board> {
        self.boards.get(grain)
    }

    /// The number of a share on its grain's board.
    pub(super) fn edge_of(&self, id: &ShareId) -> Option<u32> {
        self.places.get(id).map(|place| place.edge)
    }

    fn put(&mut self, share: Share) {
        self.delete(&share.id);
        if let Recipient::Person(person) = &share.to {
            let received = self.received.entry(person.clone()).or_default();
            received.insert(share.id.clone());
        }
        let (id, grain) = (share.id.clone(), share.grain.clone());
        if !share.requirements.is_empty() {
            *self.conditional.entry(grain.clone()).or_default() += 1;
        }
        let edge = self.boards.entry(grain.clone()).or_default().insert(share);
        self.places.insert(id, Place { grain, edge });
    }

    fn delete(&mut self, id: &ShareId) {
        let Some(place) = self.places.remove(id) else {
            return;
        };
        let Some(board) = self.boards.get_mut(&place.grain) else {
            return;
        };
        if let Recipient::Person(person) = &board.edge(place.edge).share.to
            && let Some(received) = self.received.get_mut(person)
        {
            received.remove(id);
            if received.is_empty() {
                self.received.remove(person);
            }
        }
        let was_conditional = !board.edge(place.edge).share.requirements.is_empty();
        board.remove(place.edge);
        if was_conditional && let Some(count) = self.conditional.get_mut(&place.grain) {
            *count -= 1;
            if *count == 0 {
                self.conditional.remove(&place.grain);
            }
        }
        self.forget_if_empty(&place.grain);
    }

    fn put_ceiling(&mut self, ceiling: Ceiling) {
        self.set_ceiling(&ceiling.grain, ceiling.person, Some(ceiling.role));
    }

    fn set_ceiling(&mut self, grain: &GrainId, person: AccountId, role: Option<RoleAssignment>) {
        let board = self.boards.entry(grain.clone()).or_default();
        board.set_ceiling(&Holder::Person(person), role);
        self.forget_if_empty(grain);
    }

    fn forget_if_empty(&mut self, grain: &GrainId) {
        if self.boards.get(grain).is_some_and(Board::is_empty) {
            self.boards.remove(grain);
        }
    }
}

/// Who limits themselves on a board.
fn ceilings_of(board: &Board) -> impl Iterator<Item = &AccountId> {
    board.vertices().filter_map(|(_, vertex)| match &vertex.holder {
        Holder::Person(person) if vertex.ceiling.is_some() => Some(person),
        _ => None,
    })
}

fn check(share: &Share) -> Result<(), Refused> {
    if !fits(share) {
        return Err(Refused::TooMuch);
    }
    match &share.label {
        Some(label) if label.chars().count() > LABEL_LIMIT || label.chars().any(char::is_control) => {
            Err(Refused::Label)
        }
        _ => Ok(()),
    }
}

/// Whether a share has no more conditions than one may have.
pub(super) fn fits(share: &Share) -> bool {
    share.requirements.len() <= REQUIREMENTS_PER_SHARE && share.limits.len() <= LIMITS_PER_SHARE
}
