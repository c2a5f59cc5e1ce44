//! Taking back: what goes with a share, and who stays without it.

use super::super::world::{account, grain, link, person, set, share, share_id, to};
use super::{ANNA, BORIS, CARLA, EDIT, LOOK, OWNER, no_reshare, remove, requiring, world};
use crate::sharing::ledger::{Changes, Ledger, Refused};
use crate::sharing::requirement::{Requirement, TokenHash};
use crate::sharing::revoke::Removal;
use crate::sharing::role::Role;
use crate::sharing::share::{Acceptance, Recipient, Share};
use crate::time::Timestamp;

#[test]
fn revoking_a_branch_takes_what_has_no_other_way() {
    let world = world();
    let mut ledger = Ledger::load(
        [
            share(1, person(OWNER), to(ANNA), EDIT),
            share(2, person(ANNA), to(BORIS), EDIT),
            share(3, person(BORIS), to(ANNA), EDIT),
            share(4, person(BORIS), to(CARLA), EDIT),
            share(5, person(OWNER), to(CARLA), LOOK),
            share(6, person(CARLA), to(6), EDIT),
            share(7, person(ANNA), Recipient::Link, EDIT),
            share(8, link(7), to(8), EDIT),
        ],
        [],
    );
    let mut deleted = remove(&mut ledger, &world, 1, Removal::Branch);
    deleted.sort();
    assert_eq!(deleted, [1, 2, 3, 4, 7, 8].map(share_id));
    for (who, expected) in [
        (ANNA, None),
        (BORIS, None),
        (CARLA, Some("1")),
        (6, Some("1")),
        (8, None),
    ] {
        let access = ledger.access(&world, &grain(0), &person(who));
        assert_eq!(
            access.map(|access| access.permissions),
            expected.map(set),
            "{who}"
        );
    }
    assert_eq!(ledger.access(&world, &grain(0), &link(7)), None);
    // Anna is let in again: what she shared before does not come back with her.
    let changes = ledger
        .plan_add(&world, share(9, person(OWNER), to(ANNA), EDIT))
        .unwrap();
    ledger.apply(changes);
    for who in [BORIS, 8] {
        assert_eq!(ledger.access(&world, &grain(0), &person(who)), None, "{who}");
    }
    assert_eq!(
        ledger.plan_remove(&world, &share_id(1), Removal::Branch),
        Err(Refused::Unknown)
    );
}

#[test]
fn a_way_that_could_carry_again_keeps_what_is_below() {
    let below = share(2, person(ANNA), to(BORIS), EDIT);
    let other = share(3, person(OWNER), to(ANNA), LOOK);
    let unmet = [Requirement::TokenValid(TokenHash([1; 32]))];
    for (other, kept) in [
        (other.clone(), true),
        (requiring(other.clone(), unmet), true),
        (no_reshare(other.clone()), false),
        (
            Share {
                expires: Some(Timestamp(100)),
                ..other.clone()
            },
            false,
        ),
        (
            Share {
                accepted: Acceptance::Pending,
                ..other.clone()
            },
            false,
        ),
    ] {
        let mut ledger = Ledger::load(
            [
                share(1, person(OWNER), to(ANNA), EDIT),
                below.clone(),
                other.clone(),
            ],
            [],
        );
        remove(&mut ledger, &world(), 1, Removal::Branch);
        assert_eq!(ledger.share(&below.id).is_some(), kept, "{other:?}");
        assert!(ledger.share(&other.id).is_some());
    }
    // In the trash nobody has a way, for now: only what was named is taken.
    let mut trash = world();
    trash.owners.remove(&grain(0));
    let mut ledger = Ledger::load([share(1, person(OWNER), to(ANNA), EDIT), below.clone()], []);
    remove(&mut ledger, &trash, 1, Removal::Branch);
    assert!(ledger.share(&below.id).is_some());
}

#[test]
fn without_the_link_people_who_came_by_it_stay() {
    let world = world();
    let token = Requirement::TokenValid(TokenHash([1; 32]));
    let the_link = Share {
        expires: Some(Timestamp(500)),
        label: Some("choir".to_owned()),
        ..no_reshare(share(1, person(ANNA), Recipient::Link, EDIT))
    };
    let shares = [
        share(9, person(OWNER), to(ANNA), Role::All),
        the_link,
        share(2, link(1), to(BORIS), Role::All),
        requiring(
            Share {
                expires: Some(Timestamp(300)),
                ..share(3, link(1), to(CARLA), Role::Default)
            },
            [token.clone()],
        ),
        share(4, link(1), to(ANNA), Role::All),
        share(5, link(1), Recipient::Link, Role::All),
        share(6, link(5), to(6), Role::All),
    ];
    let mut ledger = Ledger::load(shares, []);
    remove(&mut ledger, &world, 1, Removal::LinkOnly);
    let boris = ledger.share(&share_id(2)).unwrap();
    assert_eq!(
        (&boris.from, &boris.role, boris.expires),
        (&person(ANNA), &EDIT.into(), Some(Timestamp(500)))
    );
    assert!(!boris.may_reshare && boris.limits.is_empty());
    let carla = ledger.share(&share_id(3)).unwrap();
    assert_eq!(
        (carla.expires, &carla.requirements),
        (Some(Timestamp(300)), &vec![token])
    );
    assert_eq!(
        (&carla.role, &carla.limits),
        (&EDIT.into(), &vec![Role::Default.into()])
    );
    for gone in [1, 4, 5, 6] {
        assert!(ledger.share(&share_id(gone)).is_none(), "{gone}");
    }
    assert_eq!(
        ledger.plan_remove(&world, &share_id(2), Removal::LinkOnly),
        Err(Refused::NotALink)
    );
}

#[test]
fn people_of_links_made_of_a_link_stay_where_they_had_anything() {
    for (first_may, second_may, stays) in [(true, true, true), (true, false, true), (false, true, false)] {
        let link_of = |id, from, may_reshare| Share {
            may_reshare,
            ..share(id, from, Recipient::Link, Role::All)
        };
        for removed in [1, 2] {
            let shares = [
                link_of(1, person(OWNER), first_may),
                link_of(2, link(1), second_may),
                share(3, link(2), to(ANNA), EDIT),
            ];
            let mut ledger = Ledger::load(shares, []);
            let before = ledger.access(&world(), &grain(0), &person(ANNA));
            assert_eq!(before.is_some(), stays);
            remove(&mut ledger, &world(), removed, Removal::LinkOnly);
            assert_eq!(
                ledger.access(&world(), &grain(0), &person(ANNA)),
                before,
                "without {removed}"
            );
            assert_eq!(ledger.access(&world(), &grain(0), &link(2)), None);
        }
    }
}

#[test]
fn nothing_is_left_of_what_was_taken_back() {
    let world = world();
    let mut ledger = Ledger::default();
    let everything = |ledger: &mut Ledger| {
        for share in [
            share(1, person(OWNER), to(ANNA), EDIT),
            share(2, person(ANNA), to(BORIS), EDIT),
            share(3, person(BORIS), to(ANNA), EDIT),
            share(4, person(BORIS), Recipient::Link, EDIT),
            share(5, link(4), to(CARLA), EDIT),
        ] {
            let changes = ledger.plan_add(&world, share).unwrap();
            ledger.apply(changes);
        }
        let changes = ledger.plan_ceiling(&grain(0), &account(CARLA), Some(LOOK.into()));
        assert!(!changes.is_empty());
        ledger.apply(changes);
        assert!(
            ledger
                .plan_ceiling(&grain(0), &account(CARLA), Some(LOOK.into()))
                .is_empty()
        );
    };
    everything(&mut ledger);
    remove(&mut ledger, &world, 1, Removal::Branch);
    let changes = ledger.plan_ceiling(&grain(0), &account(CARLA), None);
    ledger.apply(changes);
    assert!(ledger.board(&grain(0)).is_none());
    assert!(ledger.plan_ceiling(&grain(0), &account(CARLA), None).is_empty());
    everything(&mut ledger);
    let changes = ledger.plan_forget_grain(&grain(0));
    assert_eq!((changes.delete.len(), changes.delete_ceilings.len()), (5, 1));
    ledger.apply(changes);
    assert!(ledger.board(&grain(0)).is_none());
    assert_eq!(ledger.shares_with(&account(ANNA)).count(), 0);
    assert!(ledger.plan_forget_grain(&grain(0)).is_empty());
    // One after the other, by hand, as well.
    everything(&mut ledger);
    for number in [3, 1, 5, 2, 4] {
        ledger.apply(Changes {
            delete: vec![share_id(number)],
            ..Changes::default()
        });
    }
    assert_eq!(
        ledger.board(&grain(0)).map(|board| board.vertices().count()),
        Some(1),
        "but for the ceiling"
    );
}
