//! The rules in words, as tables of cases.

mod access;
mod records;
mod requirements;
mod taking_back;
mod ways;

use super::world::{World, account, grain, person, set, share_id, view};
use crate::id::ShareId;
use crate::sharing::access::Access;
use crate::sharing::ledger::Ledger;
use crate::sharing::permission::PermissionSet;
use crate::sharing::requirement::Requirement;
use crate::sharing::revoke::Removal;
use crate::sharing::role::Role;
use crate::sharing::share::{Holder, Share};
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
