//! What somebody is offered and may accept or decline: a share, or the ownership of a grain.

use std::collections::BTreeMap;
use std::rc::Rc;

use percloud_core::id::{AccountId, GrainId, OfferId, ShareId};
use percloud_core::sharing::requirement::Requirement;
use percloud_core::sharing::share::{Acceptance, Holder, Recipient, Share};
use percloud_core::sharing::transfer::Kept;
use percloud_store::{Batch, ReadError, Store};
use serde::Deserialize;
use serde_json::{Value, json};

use super::RoleWish;
use crate::account::{SignedIn, parse};
use crate::audit::Act;
use crate::broker::Broker;
use crate::catalogue::each;
use crate::problem::Problem;
use crate::record::{
    About, App, Grain, OwnName, Package, Referent, Token, Transfer, app_key, grain_key, grain_of_person,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HandOver {
    person: AccountId,
    #[serde(default)]
    keep: Option<RoleWish>,
}

/// Takes up what the store has of grains somebody wants to hand over.
pub(crate) fn load_transfers(store: &Store) -> Result<BTreeMap<OfferId, Transfer>, ReadError> {
    let mut transfers = BTreeMap::new();
    each::<Transfer>(store, |key, transfer| {
        if let Some(id) = std::str::from_utf8(&key).ok().and_then(|id| id.parse().ok()) {
            transfers.insert(id, transfer);
        }
    })?;
    Ok(transfers)
}

impl Broker {
    /// Offers a grain's ownership to somebody; it changes hands when they accept.
    pub(crate) async fn offer_ownership(
        self: &Rc<Self>,
        who: &SignedIn,
        id: &GrainId,
        body: &str,
    ) -> Result<Value, Problem> {
        let request: HandOver = parse(body)?;
        let grain = self.own_grain(who, id)?;
        if grain.trashed.is_some() {
            return Err(Problem::InTrash);
        }
        if request.person == who.account {
            return Err(Problem::BadRequest("it is yours already".to_owned()));
        }
        if !self.accounts.borrow().contains_key(&request.person) {
            return Err(Problem::NotFound);
        }
        let transfer = Transfer {
            grain: id.clone(),
            from: who.account.clone(),
            to: request.person.clone(),
            keep: request.keep.map(RoleWish::assignment).transpose()?,
            created: self.outside.now(),
        };
        let offer = OfferId::new(|bytes| (self.outside.random)(bytes));
        {
            let _turn = self.sharing_turn.lock().await;
            let mut batch = Batch::new();
            // One offer at a time: the latest is what is meant.
            let old: Vec<OfferId> = {
                let transfers = self.transfers.borrow();
                let old = transfers.iter().filter(|(_, old)| old.grain == *id);
                old.map(|(offer, _)| offer.clone()).collect()
            };
            for offer in &old {
                batch.delete::<Transfer>(offer.as_str().as_bytes());
            }
            batch.put(offer.as_str().as_bytes(), &transfer);
            let to = self.name_of(&request.person).unwrap_or_default();
            self.note(
                &mut batch,
                Some(&who.account),
                Act::OfferedOwnership,
                Some(id),
                &to,
            );
            self.commit_noted(batch).await?;
            let mut transfers = self.transfers.borrow_mut();
            old.iter().for_each(|old| drop(transfers.remove(old)));
            transfers.insert(offer, transfer);
        }
        self.events.tell(&request.person, &json!({"type": "offers"}));
        Ok(json!({}))
    }

    /// Gives a person the grain that an app in front of them offers, with the conditions it comes with (sheet 6.5).
    pub(crate) async fn receive_view(
        self: &Rc<Self>,
        person: &AccountId,
        provided: Token,
    ) -> Result<(), Problem> {
        let Referent::View { grain, holder, role } = provided.what else {
            return Err(Problem::NotFound);
        };
        let me = Holder::Person(person.clone());
        if holder == me {
            // They handed it in themselves.
            return Ok(());
        }
        {
            let _turn = self.sharing_turn.lock().await;
            let share = Share {
                id: ShareId::new(|bytes| (self.outside.random)(bytes)),
                grain: grain.clone(),
                from: holder.clone(),
                to: Recipient::Person(person.clone()),
                role,
                limits: Vec::new(),
                may_reshare: false,
                expires: None,
                created: self.outside.now(),
                label: None,
                // Whoever takes the view away from the grain that offered it takes it from those it was offered to.
                requirements: provided
                    .requirements
                    .into_iter()
                    .chain(provided.parent.map(Requirement::TokenValid))
                    .collect(),
                accepted: Acceptance::Accepted,
            };
            let known = {
                let ledger = self.ledger.borrow();
                let mut known = ledger.between(&grain, &holder, person);
                known.any(|known| known.requirements == share.requirements && known.role == share.role)
            };
            if known {
                return Ok(());
            }
            let changes = self.ledger.borrow().plan_add(&self.facts(), share.clone())?;
            let mut batch = Batch::new();
            self.note(
                &mut batch,
                Some(person),
                Act::Accepted,
                Some(&grain),
                &self.way_details(&share),
            );
            self.settle(&grain, batch, changes, |_| About::default()).await?;
        }
        self.tell_sharing(&grain);
        Ok(())
    }

    /// What a person is offered and has not answered.
    pub(crate) fn offers(&self, who: &SignedIn) -> Result<Vec<Value>, Problem> {
        let mut offers = Vec::new();
        let now = self.outside.now();
        {
            let ledger = self.ledger.borrow();
            let pending = ledger
                .shares_with(&who.account)
                .filter(|share| share.accepted == Acceptance::Pending);
            for share in pending.filter(|share| !share.is_expired(now)) {
                let Some(grain) = self.read::<Grain>(grain_key(&share.grain))? else {
                    continue;
                };
                // Who gave it may have lost it since.
                if grain.trashed.is_some() || self.access(&share.grain, &share.from).is_none() {
                    continue;
                }
                let by = self
                    .person_behind(&share.from)
                    .and_then(|person| self.name_of(&person));
                offers.push(self.offer_json(
                    share.id.as_str(),
                    "share",
                    &grain,
                    by,
                    share.created,
                    |offer| {
                        offer["can"] = json!(self.view_of(&share.grain).can(&share.role));
                        offer["note"] = json!(self.about(&share.id).note);
                        offer["expires"] = json!(share.expires);
                    },
                ));
            }
        }
        for (id, transfer) in &*self.transfers.borrow() {
            if transfer.to != who.account {
                continue;
            }
            let Some(grain) = self.read::<Grain>(grain_key(&transfer.grain))? else {
                continue;
            };
            if grain.owner != transfer.from || grain.trashed.is_some() {
                continue;
            }
            let by = self.name_of(&transfer.from);
            offers.push(self.offer_json(id.as_str(), "transfer", &grain, by, transfer.created, |_| {}));
        }
        Ok(offers)
    }

    fn offer_json(
        &self,
        id: &str,
        kind: &str,
        grain: &Grain,
        by: Option<String>,
        created: percloud_core::time::Timestamp,
        more: impl FnOnce(&mut Value),
    ) -> Value {
        let package: Option<Package> = self.read(grain.package_id.as_bytes()).ok().flatten();
        let mut offer = json!({
            "id": id,
            "kind": kind,
            "title": grain.title,
            "appTitle": package.as_ref().map_or("", |package| &package.title),
            "icon": package.as_ref().and_then(|package| package.icon.as_ref()),
            "by": by.unwrap_or_default(),
            "can": "",
            "note": null,
            "created": created,
            "expires": null,
        });
        more(&mut offer);
        offer
    }

    /// Takes or declines what was offered.
    pub(crate) async fn answer_offer(
        self: &Rc<Self>,
        who: &SignedIn,
        offer: &str,
        accept: bool,
    ) -> Result<Value, Problem> {
        let turn = self.sharing_turn.lock().await;
        let share: Option<Share> = offer.parse().ok().and_then(|id| {
            let ledger = self.ledger.borrow();
            let mine = ledger.shares_with(&who.account).find(|share| share.id == id)?;
            (mine.accepted == Acceptance::Pending).then(|| mine.clone())
        });
        let grain = match share {
            Some(share) => {
                let answer = if accept {
                    Acceptance::Accepted
                } else {
                    Acceptance::Declined
                };
                let changes = self
                    .ledger
                    .borrow()
                    .plan_change(&share.id, |share| share.accepted = answer)?;
                let mut batch = Batch::new();
                let act = if accept { Act::Accepted } else { Act::Declined };
                self.note(
                    &mut batch,
                    Some(&who.account),
                    act,
                    Some(&share.grain),
                    &self.way_details(&share),
                );
                self.settle(&share.grain, batch, changes, |id| self.about(id))
                    .await?;
                share.grain
            }
            None => self.answer_transfer(who, offer, accept).await?,
        };
        drop(turn);
        self.tell_sharing(&grain);
        self.events.tell(&who.account, &json!({"type": "offers"}));
        if accept {
            self.grain_now(who, &grain)
        } else {
            Ok(json!({}))
        }
    }

    /// The caller holds the turn.
    async fn answer_transfer(
        self: &Rc<Self>,
        who: &SignedIn,
        offer: &str,
        accept: bool,
    ) -> Result<GrainId, Problem> {
        let offer: OfferId = offer.parse().map_err(|_| Problem::NotFound)?;
        let transfer: Transfer = self.read(offer.as_str().as_bytes())?.ok_or(Problem::NotFound)?;
        let id = transfer.grain.clone();
        // Read and written under one lock, or a trash or a new title of this moment would be lost. Of the two locks this
        // one always comes second.
        let _changing = self.changing.lock().await;
        let mut grain: Grain = self.read(grain_key(&id))?.ok_or(Problem::NotFound)?;
        if transfer.to != who.account || grain.owner != transfer.from || grain.trashed.is_some() {
            return Err(Problem::NotFound);
        }
        let mut batch = Batch::new();
        batch.delete::<Transfer>(offer.as_str().as_bytes());
        if !accept {
            self.note(
                &mut batch,
                Some(&who.account),
                Act::Declined,
                Some(&id),
                "ownership",
            );
            self.commit_noted(batch).await?;
            self.transfers.borrow_mut().remove(&offer);
            return Ok(id);
        }
        let kept = transfer.keep.map(|role| Kept {
            id: ShareId::new(|bytes| (self.outside.random)(bytes)),
            role,
            may_reshare: true,
            created: self.outside.now(),
        });
        let changes = self
            .ledger
            .borrow()
            .plan_transfer(&id, &transfer.from, &transfer.to, kept);
        grain.owner = who.account.clone();
        batch.put(grain_key(&id), &grain);
        batch.delete::<OwnName>(&grain_of_person(&who.account, &id));
        // The new owner has the app from now on, or could not do without the old owner's.
        let app = app_key(&who.account, &grain.app_id);
        if self.read::<App>(&app)?.is_none() {
            let installed = self.outside.now();
            let package_id = grain.package_id.clone();
            batch.put(
                &app,
                &App {
                    package_id,
                    installed,
                },
            );
        }
        self.note(&mut batch, Some(&who.account), Act::TookOwnership, Some(&id), "");
        let settled = self.settle(&id, batch, changes, |id| self.about(id)).await;
        self.catalogue_again(&id);
        self.catalogue_app_again(app);
        settled?;
        self.transfers.borrow_mut().remove(&offer);
        self.events
            .tell(&transfer.from, &json!({"type": "grain-deleted", "id": id}));
        Ok(id)
    }
}
