//! Plans how a grain gets another owner.

use super::ledger::{Changes, Ledger};
use super::role::RoleAssignment;
use super::share::{Acceptance, Holder, Recipient, Share};
use crate::id::{AccountId, GrainId, ShareId};
use crate::time::Timestamp;

/// What who gave a grain away keeps of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The id of the share they will have.
    pub id: ShareId,
    /// In which role they stay.
    pub role: RoleAssignment,
    /// Whether they may pass it on.
    pub may_reshare: bool,
    /// The time of the transfer.
    pub created: Timestamp,
}

impl Ledger {
    /// Plans what becomes of a grain's shares when it goes from `old` to `new`. Who the owner is is the caller's record.
    ///
    /// What the old owner shared stays, as if the new one had shared it: nobody else loses anything. All else that leads
    /// to either of the two goes, so that the old owner has exactly what they keep, and the new one is not let in by old
    /// shares after giving the grain away in turn. Neither stays limited by themselves.
    ///
    /// Links stay, and let in whoever knows them, the old owner too: for a clean break take them back.
    pub fn plan_transfer(
        &self,
        grain: &GrainId,
        old: &AccountId,
        new: &AccountId,
        kept: Option<Kept>,
    ) -> Changes {
        let mut changes = Changes::default();
        if old == new {
            return changes;
        }
        let giver = Holder::Person(old.clone());
        for share in self.shares_of(grain) {
            let leads_to_either =
                matches!(&share.to, Recipient::Person(person) if person == old || person == new);
            if leads_to_either {
                changes.delete.push(share.id.clone());
            } else if share.from == giver {
                changes.put.push(Share {
                    from: Holder::Person(new.clone()),
                    ..share.clone()
                });
            }
        }
        changes.delete.sort();
        changes.put.sort_by(|one, other| one.id.cmp(&other.id));
        changes.put.extend(kept.map(|kept| Share {
            id: kept.id,
            grain: grain.clone(),
            from: Holder::Person(new.clone()),
            to: Recipient::Person(old.clone()),
            role: kept.role,
            limits: Vec::new(),
            may_reshare: kept.may_reshare,
            expires: None,
            created: kept.created,
            label: None,
            requirements: Vec::new(),
            accepted: Acceptance::Accepted,
        }));
        for person in [old, new] {
            if self.ceiling(grain, person).is_some() {
                changes.delete_ceilings.push((grain.clone(), person.clone()));
            }
        }
        changes
    }
}
