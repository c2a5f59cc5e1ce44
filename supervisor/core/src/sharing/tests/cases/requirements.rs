//! Shares that hang on what somebody holds elsewhere.

use super::super::world::{World, account, grain, link, person, share, share_id, to, view};
use super::{ANNA, BORIS, CARLA, EDIT, LOOK, OWNER, held, of, permissions, requiring, world};
use crate::sharing::ledger::{Ledger, Refused};
use crate::sharing::requirement::{Requirement, TokenHash};
use crate::sharing::revoke::Removal;
use crate::sharing::role::{Role, RoleAssignment};
use crate::sharing::share::{LIMITS_PER_SHARE, Recipient, Share};

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
