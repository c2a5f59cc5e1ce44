//! What somebody holds on a grain, and what has to be known to say so.

use std::borrow::Cow;

use super::decision::{Decision, Question};
use super::ledger::Ledger;
use super::permission::PermissionSet;
use super::requirement::TokenHash;
use super::role::View;
use super::share::Holder;
use crate::id::{AccountId, GrainId};
use crate::time::Timestamp;

/// What the rules have to know beside the shares.
///
/// Must answer the same during one decision.
pub trait Facts {
    /// The time.
    fn now(&self) -> Timestamp;
    /// Whose grain it is; `None` when it is unknown or in the trash, and then nobody has access.
    fn owner(&self, grain: &GrainId) -> Option<AccountId>;
    /// What the grain's app says of itself at the moment.
    fn view(&self, grain: &GrainId) -> Cow<'_, View>;
    /// Whether a saved token, and all it was made from, still stands. Must not ask the ledger in turn.
    fn token_valid(&self, token: &TokenHash) -> bool;
    /// Whether a person runs this server.
    fn is_admin(&self, person: &AccountId) -> bool;
}

/// What somebody holds on a grain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// What they may do.
    pub permissions: PermissionSet,
    /// Whether they may pass anything on, if only access without permissions.
    pub may_share: bool,
    /// The most they can pass on.
    pub shareable: PermissionSet,
    /// Whether the grain is theirs.
    pub is_owner: bool,
    /// From this moment on the answer may be another, by the passing of time alone.
    pub until: Option<Timestamp>,
}

impl Ledger {
    /// What `holder` holds on `grain`; `None` when they have no access at all.
    ///
    /// Touches what leads to the holder and nothing else of the grain.
    #[must_use]
    pub fn access<F: Facts + ?Sized>(&self, facts: &F, grain: &GrainId, holder: &Holder) -> Option<Access> {
        self.decide(facts, grain, holder).0
    }

    /// The same, with the work done.
    pub(super) fn decide<F: Facts + ?Sized>(
        &self,
        facts: &F,
        grain: &GrainId,
        holder: &Holder,
    ) -> (Option<Access>, usize) {
        let mut decision = Decision::new(self, facts, Question::default());
        let Some(node) = decision.node(grain, holder) else {
            return (None, decision.steps);
        };
        decision.explore(node);
        decision.fill();
        let held = decision.held(node).clone();
        let access = held.alive.then(|| Access {
            permissions: held.permissions,
            may_share: held.may_share,
            shareable: held.shareable,
            is_owner: decision.is_owner(node),
            until: decision.until(),
        });
        (access, decision.steps)
    }
}
