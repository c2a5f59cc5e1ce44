//! How much work decisions take, counted and not timed.

use super::world::{World, account, grain, person, share, share_id, to, view};
use crate::sharing::ledger::Ledger;
use crate::sharing::permission::PermissionSet;
use crate::sharing::revoke::Removal;
use crate::sharing::role::{Role, RoleAssignment, View};
use crate::sharing::share::Share;
use crate::sharing::ways::Standing;

fn world() -> World {
    let mut world = World::default();
    world.owners.insert(grain(0), account(0));
    world.views.insert(grain(0), view(&["11", "1111"]));
    world
}

/// 10,000 shares: the owner gives to 8,000 people; 1,000 of them give to somebody each; the last 1,000 are one chain.
fn crowd() -> Vec<Share> {
    let fan = (1..=8000).map(|n| share(n, person(0), to(n), Role::Index(1)));
    let leaves = (1..=1000).map(|n| share(10_000 + n, person(n), to(10_000 + n), Role::Default));
    let chain = (0..1000).map(|n| {
        let giver = if n == 0 { 8000 } else { 20_000 + n };
        share(20_000 + n, person(giver), to(20_001 + n), Role::All)
    });
    fan.chain(leaves).chain(chain).collect()
}

#[test]
fn a_decision_touches_only_what_leads_to_the_holder() {
    let ledger = Ledger::load(crowd(), []);
    let world = world();
    for (who, most) in [
        (0, 0),
        (17, 4),
        (8000, 4),
        (10_500, 8),
        (20_001, 8),
        (21_000, 4 * 1002),
        (99_999, 0),
    ] {
        let (access, steps) = ledger.decide(&world, &grain(0), &person(who));
        assert_eq!(access.is_some(), who != 99_999);
        assert!(steps <= most, "{steps} steps for {who}");
    }
}

#[test]
fn who_has_access_is_linear_in_the_shares() {
    let world = world();
    let ledger = Ledger::load(crowd(), []);
    let (ways, steps) = ledger.ways_counted(&world, &grain(0));
    assert_eq!(ways.len(), 10_000);
    assert!(ways.iter().all(|way| way.standing == Standing::Alive));
    assert_eq!(ways.iter().map(|way| way.depth).max(), Some(1000));
    assert!(steps <= 3 * 10_000, "{steps} steps");
}

/// Shares by which the owner gives each of `count` people one permission of their own.
fn one_each(count: usize, permissions: usize) -> Vec<Share> {
    let one = |n: usize| {
        let mut add = PermissionSet::default();
        add.insert(n % permissions).unwrap();
        add
    };
    let share = |n: usize| Share {
        role: RoleAssignment {
            role: Role::Default,
            add: one(n),
            remove: PermissionSet::default(),
        },
        ..share(n, person(0), to(n + 1), Role::Default)
    };
    (0..count).map(share).collect()
}

fn world_of(permissions: usize) -> World {
    let mut world = world();
    let roles = Vec::new();
    world.views.insert(grain(0), View { permissions, roles });
    world
}

#[test]
fn givers_are_filled_before_receivers() {
    // Along a chain everybody adds a permission: out of order each would change all that follow.
    let mut shares = one_each(1000, 60);
    shares.extend((1..1000).map(|n| share(10_000 + n, person(n), to(n + 1), Role::All)));
    let ledger = Ledger::load(shares, []);
    let (access, steps) = ledger.decide(&world_of(60), &grain(0), &person(1000));
    assert_eq!(
        access.map(|access| access.permissions),
        Some(PermissionSet::all(60))
    );
    assert!(steps <= 3 * 2000, "{steps} steps");
}

#[test]
fn who_wants_decisions_to_take_long_gets_less_and_not_more_time() {
    // Everybody passes on to both neighbours, and everybody has something new to pass on.
    let count = 1200;
    let both_ways = || {
        let there = (1..count).map(|n| share(10_000 + n, person(n), to(n + 1), Role::All));
        there.chain((1..count).map(|n| share(20_000 + n, person(n + 1), to(n), Role::All)))
    };
    for permissions in [20, 4096] {
        let mut shares = one_each(count, permissions);
        shares.extend(both_ways());
        let total = shares.len();
        let ledger = Ledger::load(shares, []);
        let (access, steps) = ledger.decide(&world_of(permissions), &grain(0), &person(1));
        let held = access.expect("the owner gave them something").permissions;
        assert!(steps <= total * 258, "{steps} steps");
        // Who loses access by a removal is found out to the end: here nobody, for everybody has other ways.
        let changes = ledger
            .plan_remove(&world_of(permissions), &share_id(0), Removal::Branch)
            .unwrap();
        assert_eq!(changes.delete, [share_id(0)]);
        // An app as people write them is decided to the end.
        let all = PermissionSet::all(permissions.min(count));
        assert!(
            all.covers(&held) && (permissions > 100 || held == all),
            "{} of {permissions}",
            held.len()
        );
    }
}

#[test]
fn cycles_cost_no_more_than_what_grows_in_them() {
    // Every person shares with the ten before and after them, all the way around.
    let around = (0..1000_usize).flat_map(|n| (1..=10).map(move |by| (n, by)));
    let shares = around.map(|(n, by)| share(n * 10 + by, person(n), to((n + by) % 1000), Role::All));
    let ledger = Ledger::load(shares, []);
    let (ways, steps) = ledger.ways_counted(&world(), &grain(0));
    assert_eq!(ways.len(), 10_000);
    // An edge is looked at once, and carried over again each time its giver has more to give.
    assert!(steps <= 10_000 * (1 + 6), "{steps} steps");
}

#[test]
fn ten_thousand_deep_is_not_too_deep() {
    let shares = (0..10_000).map(|n| share(n, person(n), to(n + 1), Role::All));
    let mut ledger = Ledger::load(shares, []);
    let world = world();
    let (access, steps) = ledger.decide(&world, &grain(0), &person(10_000));
    assert!(access.is_some());
    assert!(steps <= 3 * 10_000, "{steps} steps");
    assert_eq!(
        ledger.ways(&world, &grain(0)).last().map(|way| way.depth),
        Some(9_999)
    );
    let changes = ledger.plan_remove(&world, &share_id(0), Removal::Branch).unwrap();
    assert_eq!(changes.delete.len(), 10_000);
    ledger.apply(changes);
    assert_eq!(ledger.shares_of(&grain(0)).count(), 0);
}
