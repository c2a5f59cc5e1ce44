//! Plans how a share is taken back.

use std::collections::BTreeSet;

use super::access::Facts;
use super::board::Board;
use super::decision::{Decision, Question, may_give};
use super::ledger::{Changes, Ledger, Refused, fits};
use super::role::RoleAssignment;
use super::share::{Acceptance, Holder, Share};
use crate::id::ShareId;

/// How much goes with a share that is taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// The share, and what was passed on by those who have no other way to the grain that may be passed on.
    ///
    /// Other ways count as long as their time is not over, even while a requirement of theirs is not met: nothing that
    /// could carry again is deleted. What is deleted stays gone when the recipient is let in again later.
    Branch,
    /// A link alone, and links made of it: people who came by it stay, as if who made the link had shared with each of
    /// them, within the link's role and limits.
    LinkOnly,
}

impl Ledger {
    /// Plans that a share is taken back.
    pub fn plan_remove<F: Facts + ?Sized>(
        &self,
        facts: &F,
        id: &ShareId,
        removal: Removal,
    ) -> Result<Changes, Refused> {
        let share = self.share(id).ok_or(Refused::Unknown)?;
        match removal {
            Removal::Branch => Ok(self.remove_branch(facts, share)),
            Removal::LinkOnly if share.is_link() => self.remove_link(share),
            Removal::LinkOnly => Err(Refused::NotALink),
        }
    }

    fn remove_branch<F: Facts + ?Sized>(&self, facts: &F, share: &Share) -> Changes {
        let mut changes = Changes {
            delete: vec![share.id.clone()],
            ..Changes::default()
        };
        let question = Question {
            reach_only: true,
            without: self.edge_of(&share.id),
            ..Question::default()
        };
        let mut decision = Decision::new(self, facts, question);
        // Without an owner nobody has a path, for now: deleting all that was shared would make that "for ever".
        let (Some(board), Some(scope)) = (self.board(&share.grain), decision.scope(&share.grain)) else {
            return changes;
        };
        let outgoing = board.outgoing();
        let below = below(board, &outgoing, share);
        for vertex in &below {
            let node = decision.node_at(scope, *vertex);
            decision.explore(node);
        }
        decision.fill();
        let mut gone = vec![false; board.edge_numbers()];
        let mut seen = vec![false; board.vertex_numbers()];
        let mut bereft: Vec<u32> = board.find(&share.holder()).into_iter().collect();
        while let Some(vertex) = bereft.pop() {
            if std::mem::replace(&mut seen[vertex as usize], true) {
                continue;
            }
            let node = decision.node_at(scope, vertex);
            let held = decision.held(node);
            for number in &outgoing[vertex as usize] {
                let edge = board.edge(*number);
                let lost = !may_give(held, &edge.share) && edge.share.id != share.id;
                if lost && !std::mem::replace(&mut gone[*number as usize], true) {
                    changes.delete.push(edge.share.id.clone());
                    bereft.push(edge.to);
                }
            }
        }
        changes
    }

    fn remove_link(&self, link: &Share) -> Result<Changes, Refused> {
        let mut changes = Changes {
            delete: vec![link.id.clone()],
            ..Changes::default()
        };
        let Some(board) = self.board(&link.grain) else {
            return Ok(changes);
        };
        let outgoing = board.outgoing();
        let mut links = vec![(link.clone(), self.link_counts(link))];
        let mut seen = BTreeSet::from([link.id.clone()]);
        while let Some((link, counts)) = links.pop() {
            let Some(vertex) = board.find(&link.holder()) else {
                continue;
            };
            for number in &outgoing[vertex as usize] {
                let share = &board.edge(*number).share;
                if !seen.insert(share.id.clone()) {
                    continue;
                }
                let raised = raise(share, &link);
                if !fits(&raised) {
                    return Err(Refused::TooMuch);
                }
                if raised.is_link() {
                    changes.delete.push(raised.id.clone());
                    links.push((raised, counts && link.may_reshare));
                } else if counts && raised.holder() != raised.from {
                    changes.put.push(raised);
                } else {
                    changes.delete.push(raised.id);
                }
            }
        }
        Ok(changes)
    }

    /// Whether a link made of another link was worth anything: making one is sharing, coming by one is not, so people
    /// must not be lifted out from under a link that never carried anything.
    fn link_counts(&self, link: &Share) -> bool {
        match &link.from {
            Holder::Person(_) => true,
            Holder::Link(parent) => self.share(parent).is_some_and(|parent| parent.may_reshare),
        }
    }
}

/// Every vertex below a share, whether or not anything flows there.
fn below(board: &Board, outgoing: &[Vec<u32>], share: &Share) -> Vec<u32> {
    let mut seen = vec![false; board.vertex_numbers()];
    let mut found = Vec::new();
    let mut open: Vec<u32> = board.find(&share.holder()).into_iter().collect();
    while let Some(vertex) = open.pop() {
        if !std::mem::replace(&mut seen[vertex as usize], true) {
            found.push(vertex);
            open.extend(
                outgoing[vertex as usize]
                    .iter()
                    .map(|number| board.edge(*number).to),
            );
        }
    }
    found
}

/// The share that carries, straight from who made `link`, what `share` carried from `link`.
fn raise(share: &Share, link: &Share) -> Share {
    let mut raised = share.clone();
    raised.from = link.from.clone();
    raised.may_reshare &= link.may_reshare;
    raised.expires = match (share.expires, link.expires) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    };
    if link.accepted != Acceptance::Accepted {
        raised.accepted = link.accepted;
    }
    for requirement in &link.requirements {
        if !raised.requirements.contains(requirement) {
            raised.requirements.push(requirement.clone());
        }
    }
    let all = [&link.role, &share.role]
        .into_iter()
        .chain(&link.limits)
        .chain(&share.limits);
    let mut roles: Vec<RoleAssignment> = Vec::new();
    for role in all {
        if !role.is_unlimited() && !roles.contains(role) {
            roles.push(role.clone());
        }
    }
    let mut roles = roles.into_iter();
    raised.role = roles.next().unwrap_or_else(RoleAssignment::all);
    raised.limits = roles.collect();
    raised
}
