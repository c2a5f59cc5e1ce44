//! The shapes of sharing the shell sees (docs/shell-api.md, "People and sharing").

use std::rc::Rc;

use percloud_core::id::{GrainId, ShareId};
use percloud_core::sharing::access::Access;
use percloud_core::sharing::role::Role;
use percloud_core::sharing::share::{Holder, Share};
use percloud_core::sharing::ways::Standing;
use serde_json::{Value, json};

use super::role_json;
use crate::account::SignedIn;
use crate::broker::Broker;
use crate::problem::Problem;
use crate::record::{About, Grain};
use crate::view_info::Described;

impl Broker {
    /// Everybody who can get into a grain, and how; for who may not share, only their own ways.
    pub(crate) async fn sharing(self: &Rc<Self>, who: &SignedIn, id: &GrainId) -> Result<Value, Problem> {
        let grain = self.reachable(who, id)?;
        let access = self.own_access(who, id)?;
        let view = self.view_to_share(id).await;
        let roles: Vec<Value> = view
            .roles
            .iter()
            .zip(&view.rules.roles)
            .enumerate()
            .filter(|(_, (text, _))| !text.obsolete)
            .map(|(index, (text, role))| {
                json!({
                    "index": index,
                    "title": text.title,
                    "can": view.can(&Role::Index(u16::try_from(index).unwrap_or(u16::MAX)).into()),
                    "description": text.description,
                    "isDefault": role.is_default,
                    "mayGive": access.shareable.covers(&role.permissions),
                })
            })
            .collect();
        let owner = self.accounts.borrow().get(&grain.owner).map_or(Value::Null, |account| {
            json!({"name": account.name, "handle": account.handle, "me": grain.owner == who.account})
        });
        Ok(json!({
            "roles": roles,
            "mayGiveAll": access.may_share && access.shareable == view.rules.all(),
            "mayShare": access.may_share,
            "limited": self.ledger.borrow().ceiling(id, &who.account).is_some(),
            "owner": owner,
            "ways": self.ways(who, id, &access, &view),
        }))
    }

    /// What an app says of itself, asked now if it never did: somebody wants to share it and needs its roles.
    async fn view_to_share(self: &Rc<Self>, id: &GrainId) -> Rc<Described> {
        let known = self.view_of(id);
        if *known != Described::default() {
            return known;
        }
        match self.wake(id).await {
            Ok(running) => self.learn_view(id, &running).await.unwrap_or(known),
            Err(_) => known,
        }
    }

    fn ways(&self, who: &SignedIn, id: &GrainId, access: &Access, view: &Described) -> Vec<Value> {
        let ledger = self.ledger.borrow();
        let me = Holder::Person(who.account.clone());
        let ways = ledger.ways(&self.facts(), id);
        let visible = ways.iter().filter(|way| {
            access.is_owner || access.may_share || way.share.holder() == me || way.share.from == me
        });
        visible
            .map(|way| {
                let about = self.about(&way.share.id);
                self.way_json(who, access, view, way.share, &about, way.parent, way.standing)
            })
            .collect()
    }

    /// One way, as it is now.
    pub(crate) fn way_view(&self, who: &SignedIn, id: &GrainId, share: &ShareId) -> Result<Value, Problem> {
        let access = self.own_access(who, id)?;
        let view = self.view_of(id);
        let ways = self.ways(who, id, &access, &view);
        ways.into_iter()
            .find(|way| way["id"] == json!(share))
            .ok_or(Problem::NotFound)
    }

    #[allow(clippy::too_many_arguments, reason = "one shape, put together in one place")]
    fn way_json(
        &self,
        who: &SignedIn,
        access: &Access,
        view: &Described,
        share: &Share,
        about: &About,
        parent: Option<&ShareId>,
        standing: Standing,
    ) -> Value {
        let accounts = self.accounts.borrow();
        let (kind, person) = match (share.holder(), &about.device) {
            (Holder::Person(person), _) => ("person", accounts.get(&person).map(|account| (person, account))),
            (Holder::Link(_), None) => ("link", None),
            (Holder::Link(_), Some(_)) => ("device", None),
        };
        let by = self.person_behind(&share.from);
        let state = match standing {
            Standing::Alive => "active",
            Standing::Pending => "pending",
            Standing::Declined => "declined",
            Standing::Expired => "expired",
            _ => "idle",
        };
        json!({
            "id": share.id,
            "kind": kind,
            "name": person.as_ref().map(|(_, account)| &account.name),
            "handle": person.as_ref().map(|(_, account)| &account.handle),
            "me": person.as_ref().is_some_and(|(person, _)| *person == who.account),
            "label": share.label,
            "role": role_json(&share.role),
            "can": view.can(&share.role),
            "via": parent,
            "by": by.as_ref().and_then(|by| accounts.get(by)).map_or("", |account| &account.name),
            "byMe": by.as_ref() == Some(&who.account),
            "created": share.created,
            "expires": share.expires,
            "lastUsed": about.last_used,
            "singleUse": about.single_use,
            "used": about.used,
            "mayReshare": share.may_reshare,
            "state": state,
            "mayChange": self.may_change(who, access, share),
        })
    }

    /// What a grain's view has beside what is on disk: how this person stands to it.
    pub(crate) fn standing_of(&self, who: &SignedIn, id: &GrainId, grain: &Grain) -> Value {
        let owner = self.name_of(&grain.owner).unwrap_or_default();
        if grain.owner == who.account {
            return json!({"mine": true, "owner": owner, "can": null, "mayShare": grain.trashed.is_none(),
                          "expires": null, "ownersTitle": null});
        }
        let access = self.own_access(who, id).ok();
        let can = access
            .as_ref()
            .map(|access| self.view_of(id).can_with(&access.permissions));
        let petname = self.petname(&who.account, id);
        json!({
            "mine": false,
            "owner": owner,
            "can": can,
            "mayShare": access.as_ref().is_some_and(|access| access.may_share),
            "expires": access.as_ref().and_then(|access| access.until),
            "ownersTitle": petname.map(|_| &grain.title),
        })
    }

    /// Tells everybody who may see it that the ways into a grain have changed.
    pub(crate) fn tell_sharing(&self, id: &GrainId) {
        for person in self.people_of(id) {
            if self.access(id, &Holder::Person(person.clone())).is_none() {
                continue;
            }
            self.events
                .tell(&person, &json!({"type": "sharing", "grain": id}));
        }
        self.tell_grain(id);
    }
}
