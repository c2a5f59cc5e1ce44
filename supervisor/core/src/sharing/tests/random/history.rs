//! A history: the ledger beside a naive model that is told the same.

use std::collections::{BTreeMap, BTreeSet};

use super::super::model::{Holding, Model};
use super::super::world::{World, account, grain, link, person, set, share, share_id, to};
use super::event::{Draft, Event};
use super::{GRAINS, PEOPLE};
use crate::id::{AccountId, GrainId, ShareId};
use crate::sharing::ledger::{Changes, Ledger, Refused};
use crate::sharing::requirement::{Requirement, TokenHash};
use crate::sharing::revoke::Removal;
use crate::sharing::role::{Role, RoleAssignment, View};
use crate::sharing::share::{Acceptance, Holder, Recipient, Share};
use crate::sharing::transfer::Kept;
use crate::sharing::ways::Standing;
use crate::time::Timestamp;

/// The ledger beside the records it was told to keep, which are what the model reads.
pub(super) struct History {
    pub(super) world: World,
    model: Model,
    pub(super) ledger: Ledger,
    trash: BTreeMap<GrainId, AccountId>,
    next: usize,
}

impl History {
    pub(super) fn new(views: Vec<View>) -> Self {
        let grains = 0..GRAINS;
        Self {
            world: World {
                now: Timestamp(10),
                owners: grains
                    .clone()
                    .map(|number| (grain(number), account(number)))
                    .collect(),
                views: grains.map(grain).zip(views).collect(),
                ..World::default()
            },
            model: Model::default(),
            ledger: Ledger::default(),
            trash: BTreeMap::new(),
            next: 0,
        }
    }

    fn commit(&mut self, changes: Changes) {
        for id in &changes.delete {
            self.model.shares.remove(id);
        }
        for share in &changes.put {
            self.model.shares.insert(share.id.clone(), share.clone());
        }
        for ceiling in &changes.put_ceilings {
            let key = (ceiling.grain.clone(), ceiling.person.clone());
            self.model.ceilings.insert(key, ceiling.role.clone());
        }
        for key in &changes.delete_ceilings {
            self.model.ceilings.remove(key);
        }
        self.ledger.apply(changes);
    }

    /// Everybody whose access is compared.
    pub(super) fn holders(&self) -> Vec<(GrainId, Holder)> {
        let people = (0..PEOPLE).map(person);
        let links = (0..self.next).map(link);
        let holders: Vec<Holder> = people.chain(links).collect();
        let grains = (0..GRAINS).map(grain);
        grains
            .flat_map(|grain| holders.iter().map(move |holder| (grain.clone(), holder.clone())))
            .collect()
    }

    fn held(&self, grain: &GrainId, holder: &Holder) -> Option<Holding> {
        held(&self.ledger, &self.world, grain, holder)
    }

    fn everybody(&self) -> BTreeMap<(GrainId, Holder), Holding> {
        let holders = self.holders().into_iter();
        holders
            .filter_map(|(grain, holder)| {
                let held = self.held(&grain, &holder)?;
                Some(((grain, holder), held))
            })
            .collect()
    }

    fn nth(&self, number: usize) -> Option<ShareId> {
        let count = self.model.shares.len();
        self.model.shares.keys().nth(number.checked_rem(count)?).cloned()
    }

    fn add(&mut self, grain: GrainId, from: Holder, to: Recipient, draft: Draft) {
        let share = Share {
            grain,
            role: draft.role,
            may_reshare: draft.may_reshare,
            expires: draft.expires_in.map(|after| Timestamp(self.world.now.0 + after)),
            accepted: draft.accepted,
            requirements: draft.requirements,
            ..share(self.next, from, to, Role::All)
        };
        self.next += 1;
        let planned = self.ledger.plan_add(&self.world, share.clone());
        let giver = self.model.known(&self.world, false);
        let giver = giver.get(&(share.grain.clone(), share.from.clone()));
        let redeems = matches!(share.from, Holder::Link(_)) && !share.is_link();
        let expected = if share.from == share.holder() {
            Err(Refused::ToSelf)
        } else if giver.is_some_and(|giver| giver.may_share || redeems) {
            Ok(())
        } else {
            Err(Refused::NotHeld)
        };
        assert_eq!(
            planned.as_ref().map(|_| ()).map_err(|refused| *refused),
            expected,
            "{share:?}"
        );
        match planned {
            Ok(changes) => self.commit(changes),
            Err(_) if draft.force => self.commit(Changes {
                put: vec![share],
                ..Changes::default()
            }),
            Err(_) => {}
        }
    }

    fn change(&mut self, number: usize, edit: impl FnOnce(&mut Share)) {
        if let Some(id) = self.nth(number) {
            let changes = self.ledger.plan_change(&id, edit).unwrap();
            self.commit(changes);
        }
    }

    fn remove(&mut self, number: usize, removal: Removal) {
        let Some(id) = self.nth(number) else {
            return;
        };
        let removed = self.model.shares[&id].clone();
        match self.ledger.plan_remove(&self.world, &id, removal) {
            Err(refused) => {
                assert_eq!((refused, removal), (Refused::NotALink, Removal::LinkOnly));
                assert!(!removed.is_link());
            }
            Ok(changes) if removal == Removal::Branch => self.remove_branch(&removed, changes),
            Ok(changes) => self.remove_link(changes),
        }
    }

    fn remove_branch(&mut self, removed: &Share, changes: Changes) {
        assert!(changes.put.is_empty() && changes.delete.contains(&removed.id));
        // Beyond the one edge only what could carry nothing any more is deleted: nobody is worse off for it.
        let mut edge_only = self.ledger.clone();
        edge_only.apply(Changes {
            delete: vec![removed.id.clone()],
            ..Changes::default()
        });
        let before = standing_with_requirements_granted(&self.model, &self.world);
        let mut edge_alone = self.model.clone();
        self.commit(changes.clone());
        for (grain, holder) in self.holders() {
            assert_eq!(
                self.held(&grain, &holder),
                held(&edge_only, &self.world, &grain, &holder),
                "{holder:?} on {grain} after {changes:?}"
            );
        }
        // And what the edge alone kept alive is gone for good, whatever may be shared again later.
        let after = standing_with_requirements_granted(&self.model, &self.world);
        if self.world.owners.contains_key(&removed.grain) {
            for id in before.difference(&after) {
                assert!(changes.delete.contains(id), "{id} is dead and was kept");
            }
        }
        // While what could carry again, once its requirements are met, is not lost.
        edge_alone.shares.remove(&removed.id);
        let could_carry = standing_with_requirements_granted(&edge_alone, &self.world);
        assert!(
            changes.delete.iter().all(|id| !could_carry.contains(id)),
            "{changes:?} is too much"
        );
    }

    fn remove_link(&mut self, changes: Changes) {
        let gone = |holder: &Holder| matches!(holder, Holder::Link(id) if changes.delete.contains(id));
        let asked_for = self.model.shares.values().flat_map(|share| &share.requirements);
        let is_asked_for = asked_for
            .filter_map(|requirement| match requirement {
                Requirement::PermissionsHeld { holder, .. } => Some(holder),
                _ => None,
            })
            .any(gone);
        let before = self.everybody();
        self.commit(changes.clone());
        let after = self.everybody();
        for ((grain, holder), held) in &before {
            // Where somebody's access hung on the link itself, it goes with the link.
            let stays = !gone(holder) && !is_asked_for;
            if stays {
                let now = after.get(&(grain.clone(), holder.clone()));
                assert_eq!(now, Some(held), "{holder:?} on {grain} after {changes:?}");
            }
            if gone(holder) {
                assert_eq!(
                    after.get(&(grain.clone(), holder.clone())),
                    None,
                    "{holder:?} still opens {grain}"
                );
            }
        }
        for key in after.keys() {
            assert!(before.contains_key(key), "{key:?} gained access by a removal");
        }
    }

    fn transfer(&mut self, number: usize, new: AccountId, kept: Option<(RoleAssignment, bool)>) {
        let grain = grain(number);
        let Some(old) = self.world.owners.get(&grain).cloned() else {
            return;
        };
        if old == new {
            assert!(self.ledger.plan_transfer(&grain, &old, &new, None).is_empty());
            return;
        }
        let id = share_id(self.next);
        self.next += 1;
        let kept_share = kept.clone().map(|(role, may_reshare)| Kept {
            id,
            role,
            may_reshare,
            created: self.world.now,
        });
        let asks_for_old = |share: &Share| {
            let holder = Holder::Person(old.clone());
            let asks = |requirement: &Requirement| matches!(requirement, Requirement::PermissionsHeld { holder: asked, .. } if *asked == holder);
            share.requirements.iter().any(asks)
        };
        let unconditional = !self.model.shares.values().any(asks_for_old);
        let before = self.everybody();
        let changes = self.ledger.plan_transfer(&grain, &old, &new, kept_share);
        self.commit(changes);
        self.world.owners.insert(grain.clone(), new.clone());
        let view = &self.world.views[&grain];
        let expected = kept.map(|(role, may_share)| {
            let permissions = view.grants(&role);
            Holding {
                shareable: if may_share { permissions.clone() } else { set("") },
                permissions,
                may_share,
            }
        });
        let old = Holder::Person(old);
        assert_eq!(self.held(&grain, &old), expected, "what the old owner has left");
        let all = view.all();
        let held = self
            .held(&grain, &Holder::Person(new))
            .expect("the new owner has access");
        assert_eq!((&held.permissions, &held.shareable), (&all, &all));
        if unconditional {
            let after = self.everybody();
            for ((place, holder), held) in before.iter().filter(|((_, holder), _)| *holder != old) {
                let now = after.get(&(place.clone(), holder.clone()));
                let keeps = now.is_some_and(|now| {
                    now.permissions.covers(&held.permissions) && now.may_share >= held.may_share
                });
                assert!(
                    keeps,
                    "{holder:?} lost something on {place}: {held:?} before, {now:?} now"
                );
            }
        }
    }

    pub(super) fn happen(&mut self, event: Event) {
        match event {
            Event::Share(number, from, to, draft) => self.add(grain(number), person(from), to, draft),
            Event::FromLink(number, to, draft) => {
                let links: Vec<Share> = self
                    .model
                    .shares
                    .values()
                    .filter(|share| share.is_link())
                    .cloned()
                    .collect();
                if let Some(link) = number.checked_rem(links.len()).map(|number| &links[number]) {
                    self.add(link.grain.clone(), link.holder(), to, draft);
                }
            }
            Event::Role(number, role) => self.change(number, |share| share.role = role),
            Event::Reshare(number, may) => self.change(number, |share| share.may_reshare = may),
            Event::Expire(number, after) => {
                let expires = after.map(|after| Timestamp(self.world.now.0 + after));
                self.change(number, |share| share.expires = expires);
            }
            Event::Accept(number, accepted) => self.change(number, |share| share.accepted = accepted),
            Event::Remove(number, removal) => self.remove(number, removal),
            Event::Ceiling(number, who, role) => {
                let changes = self.ledger.plan_ceiling(&grain(number), &account(who), role);
                self.commit(changes);
            }
            Event::Redefine(number, view) => {
                self.world.views.insert(grain(number), view);
            }
            Event::Clock(by) => self.world.now.0 += by,
            Event::Trash(number) => {
                if let Some(owner) = self.world.owners.remove(&grain(number)) {
                    self.trash.insert(grain(number), owner);
                }
            }
            Event::Untrash(number) => {
                if let Some(owner) = self.trash.remove(&grain(number)) {
                    self.world.owners.insert(grain(number), owner);
                }
            }
            Event::Token(token) => toggle(&mut self.world.tokens, TokenHash([token; 32])),
            Event::Admin(number) => toggle(&mut self.world.admins, account(number)),
            Event::Transfer(number, new, kept) => self.transfer(number, account(new), kept),
            Event::Forget(number) => {
                let changes = self.ledger.plan_forget_grain(&grain(number));
                self.commit(changes);
                assert_eq!(self.ledger.shares_of(&grain(number)).count(), 0);
            }
        }
    }

    pub(super) fn agrees_with_the_model(&self) {
        let known = self.model.known(&self.world, false);
        let ceilings = self.model.ceilings.iter().map(|((grain, person), role)| {
            let (grain, person, role) = (grain.clone(), person.clone(), role.clone());
            crate::sharing::share::Ceiling { grain, person, role }
        });
        let reloaded = Ledger::load(self.model.shares.values().rev().cloned(), ceilings);
        for (grain, holder) in self.holders() {
            let expected = known.get(&(grain.clone(), holder.clone())).cloned();
            assert_eq!(self.held(&grain, &holder), expected, "{holder:?} on {grain}");
            let again = held(&reloaded, &self.world, &grain, &holder);
            assert_eq!(again, expected, "{holder:?} on {grain} after a restart");
        }
        for number in 0..GRAINS {
            self.ways_agree_with_the_model(&grain(number), &known);
        }
        for number in 0..PEOPLE {
            let shares = self.model.shares.values();
            let expected: Vec<&Share> = shares.filter(|share| share.to == to(number)).collect();
            assert_eq!(
                self.ledger.shares_with(&account(number)).collect::<Vec<_>>(),
                expected
            );
        }
    }

    fn ways_agree_with_the_model(&self, grain: &GrainId, known: &BTreeMap<(GrainId, Holder), Holding>) {
        let ways = self.ledger.ways(&self.world, grain);
        let mut listed: Vec<&ShareId> = ways.iter().map(|way| &way.share.id).collect();
        for (place, way) in ways.iter().enumerate() {
            if let Some(parent) = way.parent {
                let above = ways[..place].iter().rfind(|above| above.depth < way.depth);
                let above = above.expect("a parent comes first");
                assert_eq!((&above.share.id, above.depth + 1), (parent, way.depth));
                assert_eq!(above.share.holder(), way.share.from);
            } else {
                assert_eq!(way.depth, 0);
            }
        }
        listed.sort();
        let shares = self.model.shares.values().filter(|share| share.grain == *grain);
        let expected: Vec<&ShareId> = shares.map(|share| &share.id).collect();
        assert_eq!(listed, expected, "every share once");
        let paths = self.model.paths(&self.world, grain, false, known);
        let owner = self.world.owners.get(grain).cloned().map(Holder::Person);
        for way in &ways {
            let holder = way.share.holder();
            let held = known.get(&(grain.clone(), holder.clone()));
            assert_eq!(
                way.held,
                held.map(|held| held.permissions.clone()).unwrap_or_default()
            );
            // A simple path never comes back to where it was; what a giver could pass on says what an edge carries even there.
            let giver = known.get(&(grain.clone(), way.share.from.clone()));
            let ends_here: Vec<_> = paths
                .iter()
                .filter(|path| path.edges.last() == Some(&way.share))
                .collect();
            if !ends_here.is_empty() {
                assert_eq!(way.standing, Standing::Alive, "{way:?}");
            }
            match way.standing {
                Standing::Alive => {
                    let giver = giver.expect("who gives has access");
                    assert!(held.is_some());
                    let from_giver = match way.share.from {
                        Holder::Person(_) => &giver.shareable,
                        Holder::Link(_) => &giver.permissions,
                    };
                    let view = &self.world.views[grain];
                    let mut expected = from_giver.intersection(&view.grants(&way.share.role));
                    for limit in &way.share.limits {
                        expected.limit_to(&view.grants(limit));
                    }
                    assert_eq!(way.permissions, expected);
                    for path in ends_here {
                        assert!(way.permissions.covers(&path.carried));
                    }
                }
                Standing::Pending => assert_eq!(way.share.accepted, Acceptance::Pending),
                Standing::Declined => assert_eq!(way.share.accepted, Acceptance::Declined),
                Standing::Expired => assert!(way.share.is_expired(self.world.now)),
                Standing::RequirementFailed => assert!(!way.share.requirements.is_empty()),
                Standing::GiverLost => assert_eq!(giver, None),
                Standing::GiverMayNotShare => assert!(giver.is_some_and(|giver| !giver.may_share)),
                Standing::NoOwner => assert_eq!(owner, None),
            }
            if way.standing != Standing::Alive {
                assert!(way.permissions.is_empty() && !way.may_reshare);
            }
        }
    }
}

fn held(ledger: &Ledger, world: &World, grain: &GrainId, holder: &Holder) -> Option<Holding> {
    ledger.access(world, grain, holder).map(|access| Holding {
        permissions: access.permissions,
        may_share: access.may_share,
        shareable: access.shareable,
    })
}

/// Which shares carry something, if only back to where it came from, when no requirement is asked for.
fn standing_with_requirements_granted(model: &Model, world: &World) -> BTreeSet<ShareId> {
    let known = model.known(world, true);
    let stands = |share: &&Share| {
        let giver = known.get(&(share.grain.clone(), share.from.clone()));
        let redeems = matches!(share.from, Holder::Link(_)) && !share.is_link();
        share.accepted == Acceptance::Accepted
            && !share.is_expired(world.now)
            && giver.is_some_and(|giver| giver.may_share || redeems)
    };
    let shares = model.shares.values().filter(stands);
    shares.map(|share| share.id.clone()).collect()
}

fn toggle<T: Ord>(set: &mut BTreeSet<T>, value: T) {
    if !set.remove(&value) {
        set.insert(value);
    }
}
