//! The rules in words, as tables of cases.

use super::world::{World, account, grain, link, person, set, share, share_id, to, view};
use crate::id::{GrainId, ShareId};
use crate::sharing::access::Access;
use crate::sharing::ledger::{Changes, Ledger, Refused};
use crate::sharing::permission::PermissionSet;
use crate::sharing::requirement::{Requirement, TokenHash};
use crate::sharing::revoke::Removal;
use crate::sharing::role::{Role, RoleAssignment, View};
use crate::sharing::share::{
    Acceptance, Ceiling, Holder, LABEL_LIMIT, LIMITS_PER_SHARE, REQUIREMENTS_PER_SHARE, Recipient,
    SHARES_PER_GRAIN, Share,
};
use crate::sharing::transfer::Kept;
use crate::sharing::ways::Standing;
use crate::time::Timestamp;

const OWNER: usize = 0;
const ANNA: usize = 1;
const BORIS: usize = 2;
const CARLA: usize = 3;

/// The app's roles: look, edit, and everything.
const LOOK: Role = Role::Index(0);
const EDIT: Role = Role::Index(1);

fn world() -> World {
    let mut world = World {
        now: Timestamp(100),
        ..World::default()
    };
    for number in 0..3 {
        world.owners.insert(grain(number), account(OWNER));
        world.views.insert(grain(number), view(&["100", "110", "111"]));
    }
    world
}

fn access(shares: &[Share], world: &World, holder: &Holder) -> Option<Access> {
    Ledger::load(shares.iter().cloned(), []).access(world, &grain(0), holder)
}

fn permissions(shares: &[Share], world: &World, holder: usize) -> Option<PermissionSet> {
    access(shares, world, &person(holder)).map(|access| access.permissions)
}

fn no_reshare(share: Share) -> Share {
    Share {
        may_reshare: false,
        ..share
    }
}

fn requiring(share: Share, requirements: impl IntoIterator<Item = Requirement>) -> Share {
    Share {
        requirements: requirements.into_iter().collect(),
        ..share
    }
}

fn of(number: usize, share: Share) -> Share {
    Share {
        grain: grain(number),
        ..share
    }
}

fn held(number: usize, holder: Holder, bits: &str) -> Requirement {
    Requirement::PermissionsHeld {
        grain: grain(number),
        holder,
        permissions: set(bits),
    }
}

/// Takes a share back; returns what was deleted.
fn remove(ledger: &mut Ledger, world: &World, id: usize, removal: Removal) -> Vec<ShareId> {
    let changes = ledger.plan_remove(world, &share_id(id), removal).unwrap();
    let deleted = changes.delete.clone();
    ledger.apply(changes);
    deleted
}

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
fn requirements_are_proved_forward_over_several_grains() {
    let mut world = world();
    let first = share(1, person(OWNER), to(ANNA), EDIT);
    let second = requiring(
        of(1, share(2, person(OWNER), to(BORIS), EDIT)),
        [held(0, person(ANNA), "11")],
    );
    let third = requiring(
        of(2, share(3, person(OWNER), to(CARLA), EDIT)),
        [held(1, person(BORIS), "1"), held(0, person(OWNER), "111")],
    );
    let carla = |shares: &[&Share], world: &World| {
        let ledger = Ledger::load(shares.iter().copied().cloned(), []);
        ledger.access(world, &grain(2), &person(CARLA)).is_some()
    };
    assert!(carla(&[&first, &second, &third], &world));
    assert!(
        !carla(&[&second, &third], &world),
        "a link of the chain is missing"
    );
    world.views.insert(grain(0), view(&["100", "100", "111"]));
    assert!(
        !carla(&[&first, &second, &third], &world),
        "the first grain's app took a permission away"
    );
}

#[test]
fn mutual_requirements_prove_nothing_by_themselves() {
    let world = world();
    let anna = requiring(
        share(1, person(OWNER), to(ANNA), EDIT),
        [held(1, person(BORIS), "")],
    );
    let boris = requiring(
        of(1, share(2, person(OWNER), to(BORIS), EDIT)),
        [held(0, person(ANNA), "")],
    );
    let itself = requiring(
        share(3, person(OWNER), to(CARLA), EDIT),
        [held(0, person(CARLA), "")],
    );
    let mut ledger = Ledger::load([anna, boris, itself], []);
    for (number, who) in [(0, ANNA), (1, BORIS), (0, CARLA)] {
        assert_eq!(ledger.access(&world, &grain(number), &person(who)), None, "{who}");
    }
    // One fact from outside the circle is enough for all of it.
    let changes = ledger
        .plan_add(&world, of(1, share(4, person(OWNER), to(BORIS), Role::Index(9))))
        .unwrap();
    ledger.apply(changes);
    for (number, who) in [(0, ANNA), (1, BORIS)] {
        assert!(
            ledger.access(&world, &grain(number), &person(who)).is_some(),
            "{who}"
        );
    }
}

#[test]
fn each_requirement_counts_and_all_of_them() {
    let token = Requirement::TokenValid(TokenHash([7; 32]));
    let admin = Requirement::IsAdmin(account(CARLA));
    let member = held(0, person(BORIS), "");
    let editor = held(0, person(BORIS), "01");
    let holder_of_link = held(0, link(3), "");
    let stranger = held(0, person(9), "");
    let mut world = world();
    let there = [
        share(2, person(OWNER), to(BORIS), LOOK),
        share(3, person(OWNER), Recipient::Link, LOOK),
    ];
    let holds = |requirements: &[Requirement], world: &World| {
        let mut shares = there.to_vec();
        shares.push(requiring(
            share(1, person(OWNER), to(ANNA), EDIT),
            requirements.to_vec(),
        ));
        permissions(&shares, world, ANNA).is_some()
    };
    for (requirements, expected) in [
        (vec![], true),
        (vec![member.clone()], true),
        (vec![holder_of_link], true),
        (vec![editor], false),
        (vec![stranger], false),
        (vec![token.clone()], false),
        (vec![admin.clone()], false),
        (vec![member.clone(), token.clone()], false),
    ] {
        assert_eq!(holds(&requirements, &world), expected, "{requirements:?}");
    }
    world.tokens.insert(TokenHash([7; 32]));
    world.admins.insert(account(CARLA));
    assert!(holds(&[token, admin, member], &world));
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
fn conditions_piled_up_by_links_of_links_are_bounded() {
    let role = |number: usize| RoleAssignment {
        role: Role::Index(u16::try_from(number).unwrap()),
        ..RoleAssignment::default()
    };
    let chain = |length: usize| {
        let mut shares = vec![share(0, person(OWNER), Recipient::Link, Role::All)];
        shares.extend((1..length).map(|number| Share {
            role: role(number),
            ..share(number, link(number - 1), Recipient::Link, Role::All)
        }));
        Ledger::load(shares, [])
    };
    let plan = |length| chain(length).plan_remove(&world(), &share_id(0), Removal::LinkOnly);
    assert!(plan(LIMITS_PER_SHARE + 2).is_ok());
    assert_eq!(plan(LIMITS_PER_SHARE + 3), Err(Refused::TooMuch));
}

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
fn what_cannot_be_added_is_refused() {
    let world = world();
    let there = [
        share(1, person(OWNER), to(ANNA), EDIT),
        no_reshare(share(2, person(OWNER), to(BORIS), EDIT)),
        no_reshare(share(3, person(OWNER), Recipient::Link, EDIT)),
        of(1, share(4, person(OWNER), Recipient::Link, EDIT)),
    ];
    let ledger = Ledger::load(there, []);
    let labelled = |label: &str| Share {
        label: Some(label.to_owned()),
        ..share(9, person(ANNA), to(CARLA), EDIT)
    };
    let many = |count| vec![held(0, person(ANNA), ""); count];
    for (share, expected) in [
        (share(9, person(ANNA), to(CARLA), Role::All), Ok(())),
        (share(9, person(ANNA), Recipient::Link, EDIT), Ok(())),
        (share(9, link(3), to(CARLA), EDIT), Ok(())),
        (share(9, link(3), Recipient::Link, EDIT), Err(Refused::NotHeld)),
        (share(9, link(4), to(CARLA), EDIT), Err(Refused::NotHeld)),
        (share(9, person(BORIS), to(CARLA), EDIT), Err(Refused::NotHeld)),
        (share(9, person(CARLA), to(ANNA), EDIT), Err(Refused::NotHeld)),
        (
            of(2, share(9, person(ANNA), to(CARLA), EDIT)),
            Err(Refused::NotHeld),
        ),
        (
            of(7, share(9, person(OWNER), to(CARLA), EDIT)),
            Err(Refused::NotHeld),
        ),
        (share(1, person(ANNA), to(CARLA), EDIT), Err(Refused::Exists)),
        (share(9, person(ANNA), to(ANNA), EDIT), Err(Refused::ToSelf)),
        (share(9, link(9), Recipient::Link, EDIT), Err(Refused::ToSelf)),
        (labelled(&"x".repeat(LABEL_LIMIT)), Ok(())),
        (labelled(&"x".repeat(LABEL_LIMIT + 1)), Err(Refused::Label)),
        (labelled("two\nlines"), Err(Refused::Label)),
        (requiring(labelled(""), many(REQUIREMENTS_PER_SHARE)), Ok(())),
        (
            requiring(labelled(""), many(REQUIREMENTS_PER_SHARE + 1)),
            Err(Refused::TooMuch),
        ),
    ] {
        let planned = ledger.plan_add(&world, share.clone()).map(|changes| {
            assert_eq!(changes.put, std::slice::from_ref(&share));
        });
        assert_eq!(planned, expected, "{share:?}");
    }
    let full = (0..SHARES_PER_GRAIN).map(|number| share(100 + number, person(OWNER), to(number + 1), EDIT));
    let refused = Ledger::load(full, []).plan_add(&world, share(9, person(OWNER), to(CARLA), EDIT));
    assert_eq!(refused, Err(Refused::TooMany));
}

#[test]
fn a_change_cannot_turn_one_share_into_another() {
    let before = share(1, person(OWNER), to(ANNA), EDIT);
    let mut ledger = Ledger::load([before.clone()], []);
    let changes = ledger
        .plan_change(&before.id, |share| {
            share.id = share_id(5);
            share.grain = grain(1);
            share.from = person(BORIS);
            share.to = Recipient::Link;
            share.role = LOOK.into();
        })
        .unwrap();
    let after = Share {
        role: LOOK.into(),
        ..before.clone()
    };
    assert_eq!(changes.put, std::slice::from_ref(&after));
    assert_eq!(ledger.share(&before.id), Some(&before), "a plan changes nothing");
    ledger.apply(changes);
    assert_eq!(ledger.share(&before.id), Some(&after));
    assert!(ledger.plan_change(&before.id, |_| {}).unwrap().is_empty());
    let long = ledger.plan_change(&before.id, |share| {
        share.label = Some("x".repeat(LABEL_LIMIT + 1))
    });
    assert_eq!(long, Err(Refused::Label));
    assert_eq!(ledger.plan_change(&share_id(7), |_| {}), Err(Refused::Unknown));
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

#[test]
fn a_redeemed_link_is_found_again() {
    let shares = [
        share(1, person(OWNER), Recipient::Link, EDIT),
        share(2, link(1), to(ANNA), Role::All),
        share(3, person(OWNER), to(ANNA), EDIT),
    ];
    let ledger = Ledger::load(shares, []);
    let found = |from: Holder, who| -> Vec<u64> {
        let between = ledger.between(&grain(0), &from, &account(who));
        between.map(|share| share.created.0).collect()
    };
    assert_eq!(found(link(1), ANNA), [2]);
    assert_eq!(found(person(OWNER), ANNA), [3]);
    assert!(found(link(1), BORIS).is_empty());
    assert_eq!(ledger.between(&grain(1), &link(1), &account(ANNA)).count(), 0);
}

#[test]
fn records_come_back_and_older_ones_are_understood() {
    let full = Share {
        expires: Some(Timestamp(7)),
        label: Some("choir".to_owned()),
        requirements: vec![
            Requirement::TokenValid(TokenHash([1; 32])),
            held(1, link(2), "01"),
            Requirement::IsAdmin(account(3)),
        ],
        limits: vec![LOOK.into()],
        accepted: Acceptance::Pending,
        ..share(1, link(4), to(ANNA), Role::Default)
    };
    for share in [full.clone(), share(2, person(OWNER), Recipient::Link, Role::All)] {
        let text = serde_json::to_string(&share).unwrap();
        assert_eq!(serde_json::from_str::<Share>(&text).unwrap(), share, "{text}");
    }
    // What is in stores is for ever.
    let number = |number: usize| format!("{number:022}");
    let written = format!(
        r#"{{"id":"{}","grain":"{}","from":{{"person":"{}"}},"to":"link","role":{{"role":{{"index":1}}}},"may_reshare":true,"expires":null,"created":1}}"#,
        number(1),
        number(0),
        number(0)
    );
    let read: Share = serde_json::from_str(&written).unwrap();
    assert_eq!(read, share(1, person(OWNER), Recipient::Link, EDIT));
    for foreign in [
        written.replace(&number(1), "../../../../etc/passwd"),
        written.replace("{\"index\":1}", "{\"index\":65536}"),
        written.replace("\"link\"", "\"everybody\""),
    ] {
        assert!(serde_json::from_str::<Share>(&foreign).is_err(), "{foreign}");
    }
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
