//! What somebody holds: paths, links, roles, times and limits.

use super::super::world::{World, account, grain, link, person, set, share, to, view};
use super::{
    ANNA, BORIS, CARLA, EDIT, LOOK, OWNER, access, held, no_reshare, of, permissions, requiring, world,
};
use crate::sharing::ledger::Ledger;
use crate::sharing::role::{Role, View};
use crate::sharing::share::{Acceptance, Ceiling, Recipient, Share};
use crate::sharing::ways::Standing;
use crate::time::Timestamp;

#[test]
fn the_owner_holds_everything_and_strangers_nothing() {
    let world = world();
    let owner = access(&[], &world, &person(OWNER)).unwrap();
    assert_eq!((&owner.permissions, &owner.shareable), (&set("111"), &set("111")));
    assert!(owner.may_share && owner.is_owner);
    assert_eq!(access(&[], &world, &person(ANNA)), None);
    let silent = World {
        views: [(grain(0), View::default())].into(),
        ..world
    };
    assert_eq!(permissions(&[], &silent, OWNER), Some(set("")));
}

#[test]
fn paths_unite_and_along_one_they_intersect() {
    let shares = [
        share(1, person(OWNER), to(ANNA), EDIT),
        share(2, person(ANNA), to(BORIS), Role::All),
        share(3, person(OWNER), to(CARLA), LOOK),
        share(4, person(CARLA), to(BORIS), Role::All),
        share(5, person(BORIS), to(4), Role::Index(9)),
    ];
    for (who, expected) in [
        (ANNA, Some("110")),
        (BORIS, Some("110")),
        (CARLA, Some("1")),
        // Access without any permission is access.
        (4, Some("")),
        (5, None),
    ] {
        assert_eq!(permissions(&shares, &world(), who), expected.map(set), "{who}");
    }
    assert_eq!(permissions(&shares[2..], &world(), BORIS), Some(set("1")));
}

#[test]
fn what_may_not_be_passed_on_is_not() {
    let world = world();
    let passed_on = share(2, person(ANNA), to(BORIS), Role::All);
    let firm = no_reshare(share(1, person(OWNER), to(ANNA), EDIT));
    let anna = access(&[firm.clone(), passed_on.clone()], &world, &person(ANNA)).unwrap();
    assert_eq!(
        (anna.may_share, &anna.permissions, &anna.shareable),
        (false, &set("11"), &set(""))
    );
    assert_eq!(
        permissions(&[firm.clone(), passed_on.clone()], &world, BORIS),
        None
    );
    // With a second, smaller share that may be passed on, that much is passed on and no more.
    let loose = share(3, person(OWNER), to(ANNA), LOOK);
    let both = [firm, passed_on, loose];
    assert_eq!(permissions(&both, &world, BORIS), Some(set("1")));
    let anna = access(&both, &world, &person(ANNA)).unwrap();
    assert_eq!(
        (anna.may_share, &anna.permissions, &anna.shareable),
        (true, &set("11"), &set("1"))
    );
}

#[test]
fn links_carry_what_they_were_given_and_people_come_by_them() {
    let world = world();
    let shares = |link_may_reshare| {
        [
            Share {
                may_reshare: link_may_reshare,
                ..share(1, person(OWNER), Recipient::Link, EDIT)
            },
            share(2, link(1), to(ANNA), Role::All),
            share(3, person(ANNA), to(BORIS), Role::All),
            share(4, link(1), Recipient::Link, LOOK),
            share(5, link(4), to(CARLA), Role::All),
        ]
    };
    for (may_reshare, anna, boris, carla) in [
        (true, Some("11"), Some("11"), Some("1")),
        (false, Some("11"), None, None),
    ] {
        let shares = shares(may_reshare);
        let anonymous = access(&shares, &world, &link(1)).unwrap();
        assert_eq!(
            (anonymous.permissions, anonymous.may_share),
            (set("11"), may_reshare)
        );
        assert_eq!(
            access(&shares, &world, &link(4)).is_some(),
            may_reshare,
            "a link of a link is sharing"
        );
        for (who, expected) in [(ANNA, anna), (BORIS, boris), (CARLA, carla)] {
            assert_eq!(permissions(&shares, &world, who), expected.map(set), "{who}");
        }
    }
    // The id of a share that made no link, or of a link to another grain, is no way in.
    for from in [link(2), link(7), link(99)] {
        let mut shares = shares(true).to_vec();
        shares.push(of(1, share(7, person(OWNER), Recipient::Link, Role::All)));
        shares.push(share(8, from.clone(), to(9), Role::All));
        assert_eq!(permissions(&shares, &world, 9), None, "{from:?}");
    }
}

#[test]
fn what_is_over_or_not_accepted_carries_nothing() {
    for (accepted, expires, expected) in [
        (Acceptance::Accepted, None, true),
        (Acceptance::Pending, None, false),
        (Acceptance::Declined, None, false),
        (Acceptance::Accepted, Some(101), true),
        (Acceptance::Accepted, Some(100), false),
        (Acceptance::Accepted, Some(0), false),
    ] {
        let share = Share {
            accepted,
            expires: expires.map(Timestamp),
            ..share(1, person(OWNER), to(ANNA), EDIT)
        };
        let access = access(&[share], &world(), &person(ANNA));
        assert_eq!(access.is_some(), expected, "{accepted:?} until {expires:?}");
        assert_eq!(
            access.and_then(|access| access.until),
            expires.map(Timestamp).filter(|_| expected)
        );
    }
}

#[test]
fn an_answer_names_the_first_moment_it_may_change() {
    let until = |id, from: usize, to_whom, expires| Share {
        expires: Some(Timestamp(expires)),
        ..share(id, person(from), to(to_whom), EDIT)
    };
    let shares = [
        until(1, OWNER, ANNA, 300),
        until(2, ANNA, BORIS, 400),
        until(3, OWNER, BORIS, 200),
        until(4, OWNER, CARLA, 150),
        until(5, OWNER, BORIS, 50),
    ];
    let boris = access(&shares, &world(), &person(BORIS)).unwrap();
    assert_eq!(boris.until, Some(Timestamp(200)));
    assert_eq!(access(&shares, &world(), &person(OWNER)).unwrap().until, None);
}

#[test]
fn a_redefined_role_is_felt_by_shares_given_before() {
    let shares = [
        share(1, person(OWNER), to(ANNA), EDIT),
        share(2, person(OWNER), to(BORIS), Role::Default),
    ];
    for (roles, anna, boris) in [
        (&["100", "110", "111"][..], "11", "1"),
        (&["110", "100", "111"], "1", "11"),
        (&["001"], "", "001"),
        (&["0000", "11111"], "11111", ""),
        (&[], "", ""),
    ] {
        let mut world = world();
        world.views.insert(grain(0), view(roles));
        assert_eq!(permissions(&shares, &world, ANNA), Some(set(anna)), "{roles:?}");
        assert_eq!(permissions(&shares, &world, BORIS), Some(set(boris)), "{roles:?}");
    }
}

#[test]
fn nobody_has_access_to_a_grain_in_the_trash() {
    let mut world = world();
    let shares = [
        share(1, person(OWNER), to(ANNA), EDIT),
        share(2, person(OWNER), Recipient::Link, EDIT),
        requiring(
            of(1, share(3, person(OWNER), to(ANNA), EDIT)),
            [held(0, person(ANNA), "")],
        ),
    ];
    let ledger = Ledger::load(shares.clone(), []);
    assert!(ledger.access(&world, &grain(1), &person(ANNA)).is_some());
    world.owners.remove(&grain(0));
    for holder in [person(OWNER), person(ANNA), link(2)] {
        assert_eq!(access(&shares, &world, &holder), None, "{holder:?}");
    }
    assert_eq!(
        ledger.access(&world, &grain(1), &person(ANNA)),
        None,
        "and nothing is proved by it"
    );
    let ways = ledger.ways(&world, &grain(0));
    assert!(ways.len() == 2 && ways.iter().all(|way| way.standing == Standing::NoOwner));
}

#[test]
fn who_limits_themselves_gives_no_more_than_that() {
    let shares = [
        share(1, person(OWNER), to(ANNA), Role::All),
        share(2, person(ANNA), to(BORIS), Role::All),
    ];
    let ceiling = |who, role: Role| Ceiling {
        grain: grain(0),
        person: account(who),
        role: role.into(),
    };
    for (ceilings, anna, boris) in [
        (vec![], "111", "111"),
        (vec![ceiling(ANNA, EDIT)], "11", "11"),
        (vec![ceiling(BORIS, LOOK)], "111", "1"),
        (vec![ceiling(OWNER, LOOK)], "1", "1"),
        (vec![ceiling(ANNA, Role::Index(9))], "", ""),
        (vec![ceiling(CARLA, LOOK)], "111", "111"),
    ] {
        let ledger = Ledger::load(shares.clone(), ceilings.clone());
        for (who, expected) in [(ANNA, anna), (BORIS, boris)] {
            let access = ledger.access(&world(), &grain(0), &person(who)).unwrap();
            assert_eq!(access.permissions, set(expected), "{who} with {ceilings:?}");
            assert_eq!(access.shareable, set(expected));
        }
        assert_eq!(ledger.access(&world(), &grain(0), &person(CARLA)), None);
    }
}

#[test]
fn the_right_to_pass_on_grows_where_permissions_do_not() {
    // Boris is reached first by what he may not pass on, in a circle, and all of it without a single permission.
    let nothing = Role::Index(9);
    for ids in [[1, 2, 3, 4, 5], [5, 4, 3, 2, 1], [3, 1, 5, 2, 4]] {
        let shares = [
            no_reshare(share(ids[0], person(OWNER), to(BORIS), nothing)),
            share(ids[1], person(OWNER), to(ANNA), nothing),
            share(ids[2], person(ANNA), to(BORIS), nothing),
            share(ids[3], person(BORIS), to(ANNA), nothing),
            share(ids[4], person(BORIS), to(CARLA), nothing),
        ];
        for rotation in 0..shares.len() {
            let mut shares = shares.clone();
            shares.rotate_left(rotation);
            assert_eq!(permissions(&shares, &world(), CARLA), Some(set("")));
        }
    }
}
