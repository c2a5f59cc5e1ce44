//! The naive model: every simple path from the owner, written out, one after the other.
//!
//! It knows nothing of fixpoints over sets, of indices or of order, and is slow. That it is right should be plain from
//! reading it beside the rules in words.

use std::collections::BTreeMap;

use super::world::World;
use crate::id::{AccountId, GrainId, ShareId};
use crate::sharing::access::Facts;
use crate::sharing::permission::PermissionSet;
use crate::sharing::requirement::Requirement;
use crate::sharing::role::RoleAssignment;
use crate::sharing::share::{Acceptance, Holder, Share};

/// What somebody holds, according to the model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Holding {
    pub permissions: PermissionSet,
    pub may_share: bool,
    pub shareable: PermissionSet,
}

type Known = BTreeMap<(GrainId, Holder), Holding>;

#[derive(Debug, Clone, Default)]
pub(super) struct Model {
    pub shares: BTreeMap<ShareId, Share>,
    pub ceilings: BTreeMap<(GrainId, AccountId), RoleAssignment>,
}

/// A way from the owner to somebody.
#[derive(Clone)]
pub(super) struct Path<'m> {
    pub edges: Vec<&'m Share>,
    /// What it carries before the ceiling of who it ends at.
    pub carried: PermissionSet,
    pub permissions: PermissionSet,
    pub may_share: bool,
    visited: Vec<Holder>,
}

impl Model {
    /// What everybody holds on every grain; who is not in it has no access.
    pub(super) fn known(&self, world: &World, granted: bool) -> Known {
        // What is known allows requirements to be proved, by which more is known.
        let mut known = Known::new();
        loop {
            let next = self.once(world, granted, &known);
            if next == known {
                return known;
            }
            known = next;
        }
    }

    fn once(&self, world: &World, granted: bool, known: &Known) -> Known {
        let mut next = Known::new();
        for grain in world.owners.keys() {
            for path in self.paths(world, grain, granted, known) {
                let end = path.visited.last().unwrap().clone();
                let holding = next.entry((grain.clone(), end)).or_default();
                holding.permissions.unite_with(&path.permissions);
                if path.may_share {
                    holding.may_share = true;
                    holding.shareable.unite_with(&path.permissions);
                }
            }
        }
        next
    }

    /// All simple paths over edges whose requirements follow from what is known.
    pub(super) fn paths(
        &self,
        world: &World,
        grain: &GrainId,
        granted: bool,
        known: &Known,
    ) -> Vec<Path<'_>> {
        let Some(owner) = world.owner(grain) else {
            return Vec::new();
        };
        let view = world.view(grain);
        let owner = Holder::Person(owner);
        let permissions = self.below_ceiling(world, grain, &owner, view.all());
        let mut found = vec![Path {
            edges: Vec::new(),
            carried: permissions.clone(),
            permissions,
            may_share: true,
            visited: vec![owner],
        }];
        let mut next = 0;
        while let Some(path) = found.get(next).cloned() {
            next += 1;
            let end = path.visited.last().unwrap();
            for share in self.shares.values() {
                let receiver = share.holder();
                let redeems = matches!(share.from, Holder::Link(_)) && !share.is_link();
                let usable = share.grain == *grain
                    && share.from == *end
                    && (path.may_share || redeems)
                    && !path.visited.contains(&receiver)
                    && share.accepted == Acceptance::Accepted
                    && share.expires.is_none_or(|expires| world.now < expires)
                    && (granted || proved(world, share, known));
                if usable {
                    let mut path = path.clone();
                    for role in std::iter::once(&share.role).chain(&share.limits) {
                        path.permissions = path.permissions.intersection(&view.grants(role));
                    }
                    path.carried = path.permissions.clone();
                    path.permissions = self.below_ceiling(world, grain, &receiver, path.permissions);
                    path.may_share &= share.may_reshare;
                    path.edges.push(share);
                    path.visited.push(receiver);
                    found.push(path);
                }
            }
        }
        found
    }

    fn below_ceiling(
        &self,
        world: &World,
        grain: &GrainId,
        holder: &Holder,
        permissions: PermissionSet,
    ) -> PermissionSet {
        let Holder::Person(person) = holder else {
            return permissions;
        };
        match self.ceilings.get(&(grain.clone(), person.clone())) {
            Some(ceiling) => permissions.intersection(&world.view(grain).grants(ceiling)),
            None => permissions,
        }
    }
}

fn proved(world: &World, share: &Share, known: &Known) -> bool {
    share.requirements.iter().all(|requirement| match requirement {
        Requirement::TokenValid(token) => world.token_valid(token),
        Requirement::IsAdmin(person) => world.is_admin(person),
        Requirement::PermissionsHeld {
            grain,
            holder,
            permissions,
        } => known
            .get(&(grain.clone(), holder.clone()))
            .is_some_and(|holding| holding.permissions.covers(permissions)),
    })
}
