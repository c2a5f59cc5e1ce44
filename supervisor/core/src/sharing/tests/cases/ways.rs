//! Who has access and by which ways, and how that goes over to a new owner.

use super::super::world::{account, grain, link, person, set, share, share_id, to, view};
use super::{ANNA, BORIS, CARLA, EDIT, LOOK, OWNER, held, no_reshare, of, requiring, world};
use crate::id::{GrainId, ShareId};
use crate::sharing::ledger::Ledger;
use crate::sharing::requirement::{Requirement, TokenHash};
use crate::sharing::role::Role;
use crate::sharing::share::{Acceptance, Ceiling, Recipient, Share};
use crate::sharing::transfer::Kept;
use crate::sharing::ways::Standing;
use crate::time::Timestamp;

#[test]
fn ownership_goes_over_without_loss_for_others() {
    let mut shares = vec![
        share(1, person(OWNER), to(ANNA), LOOK),
        share(2, person(OWNER), to(BORIS), EDIT),
        share(3, person(ANNA), to(OWNER), LOOK),
        share(4, person(BORIS), to(OWNER), LOOK),
        share(5, person(OWNER), Recipient::Link, LOOK),
        share(6, link(5), to(OWNER), Role::All),
        share(7, link(5), to(CARLA), Role::All),
        Share {
            accepted: Acceptance::Pending,
            ..share(8, person(BORIS), to(OWNER), Role::All)
        },
    ];
    shares.push(of(1, share(9, person(OWNER), to(ANNA), LOOK)));
    let ceilings = [OWNER, ANNA, BORIS].map(|who| Ceiling {
        grain: grain(0),
        person: account(who),
        role: LOOK.into(),
    });
    let kept = Kept {
        id: share_id(10),
        role: EDIT.into(),
        may_reshare: false,
        created: Timestamp(100),
    };
    for (kept, expected) in [(None, None), (Some(kept), Some("11"))] {
        let mut ledger = Ledger::load(shares.clone(), ceilings.clone());
        let changes = ledger.plan_transfer(&grain(0), &account(OWNER), &account(ANNA), kept);
        ledger.apply(changes);
        let to_either =
            |share: &&Share| [to(OWNER), to(ANNA)].contains(&share.to) && share.id != share_id(10);
        assert_eq!(ledger.shares_of(&grain(0)).filter(to_either).count(), 0);
        let mut world = world();
        world.owners.insert(grain(0), account(ANNA));
        for (who, expected) in [
            (OWNER, expected),
            (ANNA, Some("111")),
            (BORIS, Some("1")),
            (CARLA, Some("1")),
        ] {
            let access = ledger.access(&world, &grain(0), &person(who));
            assert_eq!(
                access.map(|access| access.permissions),
                expected.map(set),
                "{who}"
            );
        }
        assert!(
            ledger.share(&share_id(9)).is_some(),
            "another grain's share is left alone"
        );
        assert_eq!(ledger.ceiling(&grain(0), &account(ANNA)), None);
        assert_eq!(ledger.ceiling(&grain(0), &account(BORIS)), Some(&LOOK.into()));
        // Given away in turn, nothing old lets her in.
        let changes = ledger.plan_transfer(&grain(0), &account(ANNA), &account(CARLA), None);
        ledger.apply(changes);
        world.owners.insert(grain(0), account(CARLA));
        assert_eq!(ledger.access(&world, &grain(0), &person(ANNA)), None);
    }
}

#[test]
fn who_has_access_says_why_not() {
    let mut world = world();
    let unmet = Requirement::TokenValid(TokenHash([1; 32]));
    let shares = [
        share(1, person(OWNER), to(ANNA), EDIT),
        share(4, person(ANNA), Recipient::Link, EDIT),
        share(5, link(4), to(BORIS), Role::All),
        share(6, person(ANNA), to(BORIS), LOOK),
        no_reshare(share(2, person(OWNER), to(CARLA), LOOK)),
        share(3, person(CARLA), to(9), LOOK),
        Share {
            accepted: Acceptance::Pending,
            ..share(10, person(OWNER), to(10), LOOK)
        },
        share(11, person(10), to(11), LOOK),
        Share {
            accepted: Acceptance::Declined,
            ..share(12, person(OWNER), to(12), LOOK)
        },
        Share {
            expires: Some(Timestamp(5)),
            ..share(13, person(OWNER), to(13), LOOK)
        },
        requiring(share(14, person(OWNER), to(14), LOOK), [unmet]),
        requiring(share(15, person(OWNER), to(15), LOOK), [held(2, person(77), "")]),
        requiring(
            share(16, person(OWNER), to(16), LOOK),
            [held(0, person(ANNA), "001")],
        ),
        // Left over from people who are gone, alone and in a circle.
        share(20, person(20), to(21), LOOK),
        share(30, person(31), to(30), LOOK),
        share(31, person(30), to(31), LOOK),
        share(45, person(41), to(42), LOOK),
        share(50, person(40), to(41), LOOK),
        share(40, person(ANNA), to(OWNER), LOOK),
    ];
    world.views.insert(grain(0), view(&["100", "110", "111"]));
    let ledger = Ledger::load(shares.iter().rev().cloned(), []);
    let ways = ledger.ways(&world, &grain(0));
    let seen: Vec<_> = ways
        .iter()
        .map(|way| {
            (
                way.share.created.0,
                way.depth,
                way.standing,
                String::from(way.permissions.clone()),
            )
        })
        .collect();
    use Standing::{Alive, Declined, Expired, GiverLost, GiverMayNotShare, Pending, RequirementFailed};
    let expected = [
        (1, 0, Alive, "03"),
        (4, 1, Alive, "03"),
        (5, 2, Alive, "03"),
        (6, 1, Alive, "01"),
        (40, 1, Alive, "01"),
        (2, 0, Alive, "01"),
        (3, 1, GiverMayNotShare, ""),
        (10, 0, Pending, ""),
        (11, 1, GiverLost, ""),
        (12, 0, Declined, ""),
        (13, 0, Expired, ""),
        (14, 0, RequirementFailed, ""),
        (15, 0, RequirementFailed, ""),
        (16, 0, RequirementFailed, ""),
        (20, 0, GiverLost, ""),
        (50, 0, GiverLost, ""),
        (45, 1, GiverLost, ""),
        (30, 0, GiverLost, ""),
        (31, 1, GiverLost, ""),
    ];
    let expected = expected.map(|(id, depth, standing, bits)| (id, depth, standing, bits.to_owned()));
    assert_eq!(seen, expected);
    let by_small_way = ways.iter().find(|way| way.share.id == share_id(6)).unwrap();
    assert_eq!(
        (&by_small_way.permissions, &by_small_way.held),
        (&set("1"), &set("11"))
    );
    assert_eq!(by_small_way.parent, Some(&share_id(1)));
}

#[test]
fn a_person_with_several_ways_is_shown_below_one_that_holds() {
    let shares = [
        Share {
            expires: Some(Timestamp(5)),
            ..share(1, person(OWNER), to(ANNA), LOOK)
        },
        no_reshare(share(2, person(OWNER), to(ANNA), LOOK)),
        share(3, person(OWNER), to(ANNA), LOOK),
        share(4, person(ANNA), to(BORIS), LOOK),
    ];
    let parent = |shares: &[Share]| -> Option<ShareId> {
        let ledger = Ledger::load(shares.iter().cloned(), []);
        let ways = ledger.ways(&world(), &grain(0));
        let way = ways.iter().find(|way| way.share.id == share_id(4)).unwrap();
        way.parent.cloned()
    };
    assert_eq!(parent(&shares), Some(share_id(3)));
    let without_firm = [shares[0].clone(), shares[1].clone(), shares[3].clone()];
    assert_eq!(parent(&without_firm), Some(share_id(2)));
    let dead_only = [shares[0].clone(), shares[3].clone()];
    assert_eq!(parent(&dead_only), Some(share_id(1)));
}

#[test]
fn what_was_shared_with_a_person_is_listed_over_all_grains() {
    let pending = Share {
        accepted: Acceptance::Pending,
        ..of(1, share(2, person(OWNER), to(ANNA), EDIT))
    };
    let shares = [
        share(1, person(OWNER), to(ANNA), EDIT),
        pending,
        share(3, person(OWNER), to(BORIS), EDIT),
    ];
    let ledger = Ledger::load(shares, []);
    let grains: Vec<&GrainId> = ledger
        .shares_with(&account(ANNA))
        .map(|share| &share.grain)
        .collect();
    assert_eq!(grains, [&grain(0), &grain(1)]);
    assert_eq!(ledger.shares_with(&account(CARLA)).count(), 0);
}
