//! Everything that can happen in a small world, step by step, with nothing left to chance.
//!
//! Four people and two links; each share of a fixed list can be made whenever the rules allow it and taken back at any
//! time, up to [`AT_ONCE`] of them standing at once. The list has short cuts, circles, shares that may not be passed on,
//! roles that narrow, links of links, and two shares that require each other.

use std::collections::{BTreeMap, BTreeSet};

use stateright::{Checker, Model as Bounded, Property};

use super::model::Model;
use super::world::{World, account, grain, link, person, set, share, share_id, to, view};
use crate::id::ShareId;
use crate::sharing::ledger::Ledger;
use crate::sharing::requirement::Requirement;
use crate::sharing::revoke::Removal;
use crate::sharing::role::Role;
use crate::sharing::share::{Holder, Recipient, Share};

/// How many shares may stand at once.
const AT_ONCE: usize = 5;

/// The shares that can be made; each has its place in the list as its id.
fn list() -> Vec<Share> {
    let narrow = Role::Index(0);
    let none = |share| Share {
        may_reshare: false,
        ..share
    };
    let while_member = |share, who| Share {
        requirements: vec![Requirement::PermissionsHeld {
            grain: grain(0),
            holder: person(who),
            permissions: set(""),
        }],
        ..share
    };
    vec![
        share(0, person(0), to(1), Role::All),
        none(share(1, person(0), to(1), Role::All)),
        share(2, person(0), to(2), narrow),
        share(3, person(1), to(2), Role::All),
        share(4, person(2), to(1), Role::All),
        share(5, person(2), to(3), Role::All),
        share(6, person(3), to(1), narrow),
        share(7, person(1), Recipient::Link, Role::All),
        share(8, link(7), to(3), Role::All),
        none(share(9, link(7), Recipient::Link, narrow)),
        share(10, link(9), to(2), Role::All),
        while_member(share(11, person(0), to(3), Role::All), 1),
        while_member(share(12, person(0), to(1), narrow), 3),
    ]
}

fn world() -> World {
    let mut world = World::default();
    world.owners.insert(grain(0), account(0));
    world.views.insert(grain(0), view(&["10", "11"]));
    world
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    /// Places of the shares that stand.
    standing: BTreeSet<usize>,
    last: Last,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Last {
    Nothing,
    /// A share was taken back; what stood before, and it.
    Revoked {
        before: BTreeSet<usize>,
        share: usize,
        removal: Kind,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Branch,
    LinkOnly,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Action {
    Make(usize),
    Revoke(usize, Kind),
}

struct Small {
    list: Vec<Share>,
    world: World,
}

impl Small {
    fn shares(&self, places: &BTreeSet<usize>) -> Vec<Share> {
        places.iter().map(|place| self.list[*place].clone()).collect()
    }

    fn ledger(&self, places: &BTreeSet<usize>) -> Ledger {
        Ledger::load(self.shares(places), [])
    }

    fn model(shares: Vec<Share>) -> Model {
        Model {
            shares: shares
                .into_iter()
                .map(|share| (share.id.clone(), share))
                .collect(),
            ceilings: BTreeMap::new(),
        }
    }

    /// The shares that stand after one was taken back.
    fn after(&self, before: &BTreeSet<usize>, share: usize, removal: Kind) -> Vec<Share> {
        let mut ledger = self.ledger(before);
        let removal = match removal {
            Kind::Branch => Removal::Branch,
            Kind::LinkOnly => Removal::LinkOnly,
        };
        let changes = ledger.plan_remove(&self.world, &share_id(share), removal);
        ledger.apply(changes.expect("it stands, and only links are taken away alone"));
        ledger.shares_of(&grain(0)).cloned().collect()
    }

    /// Whether ledger and model agree about everybody.
    fn agrees(&self, shares: Vec<Share>) -> bool {
        let ledger = Ledger::load(shares.iter().cloned(), []);
        let known = Self::model(shares).known(&self.world, false);
        holders().into_iter().all(|holder| {
            let access = ledger.access(&self.world, &grain(0), &holder);
            let expected = known.get(&(grain(0), holder));
            match (access, expected) {
                (None, None) => true,
                (Some(access), Some(expected)) => {
                    access.permissions == expected.permissions
                        && access.may_share == expected.may_share
                        && access.shareable == expected.shareable
                }
                _ => false,
            }
        })
    }

    /// Whether nothing is left of a branch that was taken back, and nothing more was taken than that.
    fn branch_is_gone(&self, before: &BTreeSet<usize>, share: usize) -> bool {
        let after = self.after(before, share, Kind::Branch);
        let ids: BTreeSet<&ShareId> = after.iter().map(|share| &share.id).collect();
        let model = Self::model(self.shares(before));
        let nothing = BTreeMap::new();
        // Requirements are taken for granted: a share whose requirement may be met again is not to be lost.
        let paths = model.paths(&self.world, &grain(0), true, &nothing);
        let is_cut = |path: &[&Share]| path.iter().any(|edge| edge.id == share_id(share));
        let gives = |share: &Share, from: &[&Share], may_share: bool| {
            let redeems = matches!(share.from, Holder::Link(_)) && !share.is_link();
            from.last().map_or(person(0), |last| last.holder()) == share.from && (may_share || redeems)
        };
        self.shares(before).iter().all(|candidate| {
            let mut givers = paths
                .iter()
                .filter(|path| gives(candidate, &path.edges, path.may_share));
            let had_a_way = givers.clone().next().is_some();
            let has_a_way = givers.any(|path| !is_cut(&path.edges)) && candidate.id != share_id(share);
            match (had_a_way, has_a_way) {
                (true, stays) => ids.contains(&candidate.id) == stays,
                // It led nowhere before; if it is below the share it may go with it.
                (false, _) => true,
            }
        })
    }

    /// Whether the people stay as they were and the link opens nothing.
    fn link_alone_is_gone(&self, before: &BTreeSet<usize>, share: usize) -> bool {
        let after = self.after(before, share, Kind::LinkOnly);
        let known = Self::model(self.shares(before)).known(&self.world, false);
        let now = Self::model(after.clone()).known(&self.world, false);
        let people = (0..4).map(person);
        let mut same = people.map(|who| known.get(&(grain(0), who.clone())) == now.get(&(grain(0), who)));
        same.all(|same| same) && !now.contains_key(&(grain(0), link(share))) && self.agrees(after)
    }
}

fn holders() -> Vec<Holder> {
    (0..4).map(person).chain([link(7), link(9)]).collect()
}

impl Bounded for Small {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            standing: BTreeSet::new(),
            last: Last::Nothing,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        let ledger = self.ledger(&state.standing);
        for (place, share) in self.list.iter().enumerate() {
            if state.standing.contains(&place) {
                actions.push(Action::Revoke(place, Kind::Branch));
                if share.is_link() {
                    actions.push(Action::Revoke(place, Kind::LinkOnly));
                }
            } else if state.standing.len() < AT_ONCE && ledger.plan_add(&self.world, share.clone()).is_ok() {
                actions.push(Action::Make(place));
            }
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        match action {
            Action::Make(place) => {
                let mut standing = state.standing.clone();
                standing.insert(place);
                Some(State {
                    standing,
                    last: Last::Nothing,
                })
            }
            Action::Revoke(share, removal) => {
                let after = self.after(&state.standing, share, removal);
                // A person who stays without the link has a share that is not on the list: the story ends there.
                let standing = match removal {
                    Kind::LinkOnly => BTreeSet::new(),
                    Kind::Branch => (0..self.list.len())
                        .filter(|place| after.iter().any(|share| share.id == share_id(*place)))
                        .collect(),
                };
                Some(State {
                    standing,
                    last: Last::Revoked {
                        before: state.standing.clone(),
                        share,
                        removal,
                    },
                })
            }
        }
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::<Self>::always("everybody holds exactly what paths give", |small, state| {
                small.agrees(small.shares(&state.standing))
            }),
            Property::<Self>::always("after a revoke no path remains", |small, state| {
                match &state.last {
                    Last::Revoked {
                        before,
                        share,
                        removal: Kind::Branch,
                    } => small.branch_is_gone(before, *share),
                    _ => true,
                }
            }),
            Property::<Self>::always(
                "without the link people stay and nobody else comes",
                |small, state| match &state.last {
                    Last::Revoked {
                        before,
                        share,
                        removal: Kind::LinkOnly,
                    } => small.link_alone_is_gone(before, *share),
                    _ => true,
                },
            ),
            // That the world is not too small to mean anything:
            Property::<Self>::sometimes("a revoke takes others with it", |_, state| match &state.last {
                Last::Revoked {
                    before,
                    removal: Kind::Branch,
                    ..
                } => before.len() > state.standing.len() + 2,
                _ => false,
            }),
            Property::<Self>::sometimes("somebody stays by another way", |small, state| {
                match &state.last {
                    Last::Revoked {
                        before,
                        share,
                        removal: Kind::Branch,
                    } => {
                        let holder = small.list[*share].holder();
                        let stays = small
                            .ledger(&state.standing)
                            .access(&small.world, &grain(0), &holder)
                            .is_some();
                        stays && before.len() > 3
                    }
                    _ => false,
                }
            }),
            Property::<Self>::sometimes("two shares that require each other stand", |small, state| {
                let both = state.standing.contains(&11) && state.standing.contains(&12);
                both && small
                    .ledger(&state.standing)
                    .access(&small.world, &grain(0), &person(3))
                    .is_none()
            }),
        ]
    }
}

#[test]
fn in_a_small_world_nothing_remains_of_what_was_revoked() {
    let small = Small {
        list: list(),
        world: world(),
    };
    let checker = small.checker().spawn_bfs().join();
    checker.assert_properties();
    assert!(checker.is_done());
    assert!(
        checker.unique_state_count() > 1000,
        "{} states",
        checker.unique_state_count()
    );
    println!("{} states", checker.unique_state_count());
}
