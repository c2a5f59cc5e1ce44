//! What happens in a random history: many kinds of events, in several flavours.

use proptest::prelude::*;

use super::super::world::{account, grain, link, person, set, to};
use super::{GRAINS, PEOPLE};
use crate::sharing::requirement::{Requirement, TokenHash};
use crate::sharing::revoke::Removal;
use crate::sharing::role::{Role, RoleAssignment, RoleDef, View};
use crate::sharing::share::{Acceptance, Holder, Recipient};

/// What a new share says, with numbers that are brought into range when it happens.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    pub(super) role: RoleAssignment,
    pub(super) may_reshare: bool,
    pub(super) expires_in: Option<u64>,
    pub(super) accepted: Acceptance,
    pub(super) requirements: Vec<Requirement>,
    /// Put it even where the rules would refuse, as an old record could be there.
    pub(super) force: bool,
}

#[derive(Debug, Clone)]
pub(super) enum Event {
    Share(usize, usize, Recipient, Draft),
    /// From a link, to a person or as a further link.
    FromLink(usize, Recipient, Draft),
    Role(usize, RoleAssignment),
    Reshare(usize, bool),
    Expire(usize, Option<u64>),
    Accept(usize, Acceptance),
    Remove(usize, Removal),
    Ceiling(usize, usize, Option<RoleAssignment>),
    Redefine(usize, View),
    Clock(u64),
    Trash(usize),
    Untrash(usize),
    Token(u8),
    Admin(usize),
    Transfer(usize, usize, Option<(RoleAssignment, bool)>),
    Forget(usize),
}

fn bits() -> impl Strategy<Value = String> {
    "[01]{0,5}"
}

fn role() -> impl Strategy<Value = RoleAssignment> {
    let role = prop_oneof![
        3 => Just(Role::All),
        1 => Just(Role::Default),
        3 => (0..4_u16).prop_map(Role::Index),
    ];
    let refined = prop_oneof![3 => Just(String::new()), 1 => bits()];
    (role, refined.clone(), refined).prop_map(|(role, add, remove)| RoleAssignment {
        role,
        add: set(&add),
        remove: set(&remove),
    })
}

pub(super) fn app() -> impl Strategy<Value = View> {
    let role = (bits(), any::<bool>()).prop_map(|(bits, is_default)| RoleDef {
        permissions: set(&bits),
        is_default,
    });
    (
        prop_oneof![1 => 0..2_usize, 4 => 3..6_usize],
        prop::collection::vec(role, 0..4),
    )
        .prop_map(|(permissions, roles)| View { permissions, roles })
}

fn holder(flavour: Flavour) -> impl Strategy<Value = Holder> {
    prop_oneof![4 => (0..flavour.people).prop_map(person), 1 => (0..12_usize).prop_map(link)]
}

fn requirement(flavour: Flavour) -> impl Strategy<Value = Requirement> {
    prop_oneof![
        1 => (0..2_u8).prop_map(|token| Requirement::TokenValid(TokenHash([token; 32]))),
        1 => (0..2_usize).prop_map(|number| Requirement::IsAdmin(account(number))),
        6 => (0..flavour.grains, holder(flavour), bits()).prop_map(|(number, holder, bits)| Requirement::PermissionsHeld {
            grain: grain(number),
            holder,
            permissions: set(if bits.len() > 2 { "" } else { &bits }),
        }),
    ]
}

/// What a kind of history is full of: everything at once would hardly ever do two things to the same share.
#[derive(Debug, Clone, Copy)]
struct Flavour {
    grains: usize,
    people: usize,
    /// How often, beside 10 times from a person to a person.
    links: u32,
    changes: u32,
    /// Chances for a new share.
    expires: f64,
    requires: f64,
    open: f64,
    /// How often somebody makes the app, the time or the trash another.
    upheaval: u32,
}

const RARELY: f64 = 0.01;
const PLAIN: Flavour = Flavour {
    grains: 1,
    people: 4,
    links: 1,
    changes: 3,
    expires: RARELY,
    requires: RARELY,
    open: RARELY,
    upheaval: 1,
};
const LINKS: Flavour = Flavour {
    people: 3,
    links: 14,
    ..PLAIN
};
const CONDITIONS: Flavour = Flavour {
    grains: 2,
    people: 3,
    requires: 0.4,
    upheaval: 2,
    ..PLAIN
};
const TIME: Flavour = Flavour {
    links: 4,
    expires: 0.5,
    ..PLAIN
};
const EVERYTHING: Flavour = Flavour {
    grains: GRAINS,
    people: PEOPLE,
    links: 6,
    changes: 4,
    expires: 0.2,
    requires: 0.2,
    open: 0.2,
    upheaval: 3,
};

fn draft(flavour: Flavour) -> impl Strategy<Value = Draft> {
    let open = prop_oneof![Just(Acceptance::Pending), Just(Acceptance::Declined)];
    (
        role(),
        prop::bool::weighted(0.7),
        prop::option::weighted(flavour.expires, 0..8_u64),
        prop::option::weighted(flavour.open, open),
        prop::option::weighted(
            flavour.requires,
            prop::collection::vec(requirement(flavour), 1..3),
        ),
        prop::bool::weighted(0.5),
    )
        .prop_map(
            |(role, may_reshare, expires_in, open, requirements, force)| Draft {
                role,
                may_reshare,
                expires_in,
                accepted: open.unwrap_or_default(),
                requirements: requirements.unwrap_or_default(),
                force,
            },
        )
}

fn event(flavour: Flavour) -> impl Strategy<Value = Event> {
    let a_share = || 0..64_usize;
    let a_grain = || 0..flavour.grains;
    let somebody = || 0..flavour.people;
    let acceptance = prop_oneof![
        2 => Just(Acceptance::Accepted),
        1 => Just(Acceptance::Pending),
        1 => Just(Acceptance::Declined)
    ];
    let removal = prop_oneof![3 => Just(Removal::Branch), 2 => Just(Removal::LinkOnly)];
    let kept = prop::option::of((role(), any::<bool>()));
    let from_person = (a_grain(), somebody(), somebody(), draft(flavour))
        .prop_map(|(grain, from, receiver, draft)| Event::Share(grain, from, to(receiver), draft));
    let new_link = (a_grain(), somebody(), draft(flavour))
        .prop_map(|(grain, from, draft)| Event::Share(grain, from, Recipient::Link, draft));
    let redemption = (a_share(), somebody(), draft(flavour))
        .prop_map(|(link, receiver, draft)| Event::FromLink(link, to(receiver), draft));
    let link_of_link =
        (a_share(), draft(flavour)).prop_map(|(link, draft)| Event::FromLink(link, Recipient::Link, draft));
    let change = prop_oneof![
        (a_share(), role()).prop_map(|(share, role)| Event::Role(share, role)),
        (a_share(), any::<bool>()).prop_map(|(share, may)| Event::Reshare(share, may)),
        (a_share(), prop::option::of(0..6_u64)).prop_map(|(share, end)| Event::Expire(share, end)),
        (a_share(), acceptance).prop_map(|(share, accepted)| Event::Accept(share, accepted)),
        (a_grain(), somebody(), prop::option::of(role()))
            .prop_map(|(grain, who, role)| Event::Ceiling(grain, who, role)),
    ];
    let upheaval = prop_oneof![
        6 => (a_grain(), app()).prop_map(|(grain, view)| Event::Redefine(grain, view)),
        6 => (1..3_u64).prop_map(Event::Clock),
        1 => a_grain().prop_map(Event::Trash),
        2 => a_grain().prop_map(Event::Untrash),
        2 => (0..2_u8).prop_map(Event::Token),
        2 => (0..2_usize).prop_map(Event::Admin),
        4 => (a_grain(), somebody(), kept).prop_map(|(grain, new, kept)| Event::Transfer(grain, new, kept)),
        1 => a_grain().prop_map(Event::Forget),
    ];
    prop_oneof![
        10 => from_person,
        flavour.links => prop_oneof![2 => new_link, 3 => redemption, 1 => link_of_link],
        flavour.changes => change,
        3 => (a_share(), removal).prop_map(|(share, removal)| Event::Remove(share, removal)),
        flavour.upheaval => upheaval,
    ]
}

pub(super) fn events(most: usize) -> impl Strategy<Value = Vec<Event>> {
    let flavour = prop_oneof![
        Just(PLAIN),
        Just(LINKS),
        Just(CONDITIONS),
        Just(TIME),
        Just(EVERYTHING)
    ];
    flavour.prop_flat_map(move |flavour| prop::collection::vec(event(flavour), 1..most))
}
