//! A world the tests make up: who owns what, what apps say, what time it is.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use crate::id::{AccountId, GrainId, ShareId};
use crate::sharing::access::Facts;
use crate::sharing::permission::PermissionSet;
use crate::sharing::requirement::TokenHash;
use crate::sharing::role::{Role, RoleDef, View};
use crate::sharing::share::{Acceptance, Holder, Recipient, Share};
use crate::time::Timestamp;

#[derive(Debug, Clone, Default)]
pub(super) struct World {
    pub now: Timestamp,
    pub owners: BTreeMap<GrainId, AccountId>,
    pub views: BTreeMap<GrainId, View>,
    pub tokens: BTreeSet<TokenHash>,
    pub admins: BTreeSet<AccountId>,
}

impl Facts for World {
    fn now(&self) -> Timestamp {
        self.now
    }

    fn owner(&self, grain: &GrainId) -> Option<AccountId> {
        self.owners.get(grain).cloned()
    }

    fn view(&self, grain: &GrainId) -> Cow<'_, View> {
        self.views.get(grain).map_or_else(Cow::default, Cow::Borrowed)
    }

    fn token_valid(&self, token: &TokenHash) -> bool {
        self.tokens.contains(token)
    }

    fn is_admin(&self, person: &AccountId) -> bool {
        self.admins.contains(person)
    }
}

pub(super) fn account(number: usize) -> AccountId {
    format!("{number:022}").parse().unwrap()
}

pub(super) fn grain(number: usize) -> GrainId {
    format!("{number:022}").parse().unwrap()
}

pub(super) fn share_id(number: usize) -> ShareId {
    format!("{number:022}").parse().unwrap()
}

pub(super) fn person(number: usize) -> Holder {
    Holder::Person(account(number))
}

pub(super) fn link(number: usize) -> Holder {
    Holder::Link(share_id(number))
}

pub(super) fn set(bits: &str) -> PermissionSet {
    PermissionSet::from_bools(bits.chars().map(|bit| bit == '1')).unwrap()
}

/// An app with as many permissions as the widest role; the first role is the default one.
pub(super) fn view(roles: &[&str]) -> View {
    View {
        permissions: roles.iter().map(|bits| bits.len()).max().unwrap_or(0),
        roles: roles
            .iter()
            .enumerate()
            .map(|(place, bits)| RoleDef {
                permissions: set(bits),
                is_default: place == 0,
            })
            .collect(),
    }
}

/// A share of grain 0, accepted and without end, that may be passed on.
pub(super) fn share(id: usize, from: Holder, to: Recipient, role: Role) -> Share {
    Share {
        id: share_id(id),
        grain: grain(0),
        from,
        to,
        role: role.into(),
        limits: Vec::new(),
        may_reshare: true,
        expires: None,
        created: Timestamp(id as u64),
        label: None,
        requirements: Vec::new(),
        accepted: Acceptance::Accepted,
    }
}

pub(super) fn to(number: usize) -> Recipient {
    Recipient::Person(account(number))
}
