//! Sharing a grain, seeing who has access, taking it back.

mod link;
mod offer;
mod shown;

use std::rc::Rc;

pub(crate) use offer::load_transfers;

use percloud_core::id::{AccountId, GrainId, ShareId};
use percloud_core::sharing::access::Access;
use percloud_core::sharing::revoke::Removal;
use percloud_core::sharing::role::{Role, RoleAssignment};
use percloud_core::sharing::share::{Acceptance, Holder, LABEL_LIMIT, Recipient, Share};
use percloud_core::time::Timestamp;
use percloud_store::Batch;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::account::{SignedIn, parse};
use crate::audit::Act;
use crate::broker::Broker;
use crate::problem::Problem;
use crate::record::{About, LinkSecret, OwnName, grain_of_person};
use crate::token::TokenText;

/// Ways one person who is not the owner may open into a grain; nobody uses up what is there for all.
const GIVEN: usize = 1000;
/// Longest note that goes with a share, in characters.
const NOTE_LIMIT: usize = 500;

/// A role as the shell writes it: `{}` is the app's default.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RoleWish {
    #[serde(default)]
    all: bool,
    #[serde(default)]
    index: Option<u16>,
}

impl RoleWish {
    pub(crate) const ALL: Self = Self {
        all: true,
        index: None,
    };

    pub(crate) fn assignment(self) -> Result<RoleAssignment, Problem> {
        match self {
            Self {
                all: true,
                index: None,
            } => Ok(Role::All.into()),
            Self {
                all: false,
                index: Some(index),
            } => Ok(Role::Index(index).into()),
            Self {
                all: false,
                index: None,
            } => Ok(Role::Default.into()),
            _ => Err(Problem::BadRequest(
                "a role is either all or one of the app's".to_owned(),
            )),
        }
    }
}

/// The same the other way round.
pub(crate) fn role_json(assignment: &RoleAssignment) -> Value {
    match assignment.role {
        Role::All => json!({"all": true}),
        Role::Index(index) => json!({"index": index}),
        Role::Default => json!({}),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewShare {
    to: To,
    #[serde(default)]
    role: RoleWish,
    #[serde(default)]
    label: Option<String>,
    #[serde(default)]
    note: Option<String>,
    #[serde(default)]
    expires: Option<Timestamp>,
    #[serde(default)]
    single_use: bool,
    #[serde(default)]
    may_reshare: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
enum To {
    Person(AccountId),
    Link(bool),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Change {
    #[serde(default)]
    label: Option<String>,
    #[serde(default)]
    role: Option<RoleWish>,
    /// Absent: as it is. Null: for good.
    #[serde(default, deserialize_with = "present")]
    expires: Option<Option<Timestamp>>,
    #[serde(default)]
    may_reshare: Option<bool>,
}

fn present<'de, D: serde::Deserializer<'de>>(value: D) -> Result<Option<Option<Timestamp>>, D::Error> {
    Option::deserialize(value).map(Some)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Removing {
    #[serde(default)]
    only_link: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Limit {
    role: RoleWish,
}

/// Cleans a label or note: one plain line, or nothing.
fn line(text: Option<&str>, limit: usize) -> Option<String> {
    let plain = text?.chars().filter(|letter| !letter.is_control());
    let plain: String = plain.take(limit).collect();
    let plain = plain.trim();
    (!plain.is_empty()).then(|| plain.to_owned())
}

impl Broker {
    /// Hands on what a person holds: to somebody with an account here, or to whoever has a new link.
    pub(crate) async fn share(
        self: &Rc<Self>,
        who: &SignedIn,
        id: &GrainId,
        body: &str,
    ) -> Result<Value, Problem> {
        let request: NewShare = parse(body)?;
        let now = self.outside.now();
        if request.expires.is_some_and(|expires| expires <= now) {
            return Err(Problem::BadRequest("the end is in the past".to_owned()));
        }
        let share_id = ShareId::new(|bytes| (self.outside.random)(bytes));
        let (to, accepted, secret) = match request.to {
            To::Person(person) => {
                if !self.accounts.borrow().contains_key(&person) {
                    return Err(Problem::NotFound);
                }
                (Recipient::Person(person), Acceptance::Pending, None)
            }
            To::Link(true) => {
                let secret = TokenText::new(&self.outside);
                (Recipient::Link, Acceptance::Accepted, Some(secret))
            }
            To::Link(false) => {
                return Err(Problem::BadRequest(
                    "a share goes to a person or a link".to_owned(),
                ));
            }
        };
        let about = About {
            note: line(request.note.as_deref(), NOTE_LIMIT),
            secret: secret.as_ref().map(TokenText::hash),
            single_use: request.single_use && secret.is_some(),
            ..About::default()
        };
        let share = Share {
            id: share_id.clone(),
            grain: id.clone(),
            from: Holder::Person(who.account.clone()),
            to,
            role: request.role.assignment()?,
            limits: Vec::new(),
            may_reshare: request.may_reshare.unwrap_or(true),
            expires: request.expires,
            created: now,
            label: line(request.label.as_deref(), LABEL_LIMIT),
            requirements: Vec::new(),
            accepted,
        };
        self.add_share(who, share, about).await?;
        let way = self.way_view(who, id, &share_id)?;
        let (scheme, shell) = &self.config.base;
        Ok(match secret {
            Some(secret) => {
                json!({"way": way, "url": format!("{scheme}://{shell}/shared#{}", secret.expose())})
            }
            None => json!({"way": way}),
        })
    }

    /// Adds a share that somebody who is signed in gives.
    pub(crate) async fn add_share(
        self: &Rc<Self>,
        who: &SignedIn,
        share: Share,
        about: About,
    ) -> Result<(), Problem> {
        let grain = share.grain.clone();
        {
            let _turn = self.sharing_turn.lock().await;
            let access = self.own_access(who, &grain)?;
            let given = {
                let ledger = self.ledger.borrow();
                ledger
                    .shares_of(&grain)
                    .filter(|other| other.from == share.from)
                    .count()
            };
            if !access.is_owner && given >= GIVEN {
                return Err(Problem::BadRequest(
                    "you share this in too many ways; take some back".to_owned(),
                ));
            }
            let changes = self.ledger.borrow().plan_add(&self.facts(), share.clone())?;
            let mut batch = Batch::new();
            if let Some(hash) = &about.secret {
                batch.put(
                    &hash.0,
                    &LinkSecret {
                        share: share.id.clone(),
                    },
                );
            }
            let act = match (&share.to, &about.device) {
                (Recipient::Link, None) => Act::MadeLink,
                (Recipient::Link, Some(_)) => Act::AddedDevice,
                (Recipient::Person(_), _) => Act::Shared,
            };
            self.note(
                &mut batch,
                Some(&who.account),
                act,
                Some(&grain),
                &self.way_details(&share),
            );
            self.settle(&grain, batch, changes, |_| about.clone()).await?;
        }
        self.tell_sharing(&grain);
        if let Recipient::Person(person) = &share.to {
            self.events.tell(person, &json!({"type": "offers"}));
        }
        Ok(())
    }

    /// Changes a way: its name, its role, its time.
    pub(crate) async fn change_share(
        self: &Rc<Self>,
        who: &SignedIn,
        id: &GrainId,
        share: &str,
        body: &str,
    ) -> Result<Value, Problem> {
        let request: Change = parse(body)?;
        let role = request.role.map(RoleWish::assignment).transpose()?;
        let label = request
            .label
            .as_deref()
            .map(|label| line(Some(label), LABEL_LIMIT));
        let share_id = {
            let _turn = self.sharing_turn.lock().await;
            let (share, about) = self.changeable(who, id, share)?;
            let changes = self.ledger.borrow().plan_change(&share.id, |share| {
                if let Some(role) = role {
                    share.role = role;
                }
                if let Some(label) = label {
                    share.label = label;
                }
                if let Some(expires) = request.expires {
                    share.expires = expires;
                }
                share.may_reshare = request.may_reshare.unwrap_or(share.may_reshare);
            })?;
            let mut batch = Batch::new();
            if let Some(changed) = changes.put.first() {
                self.note(
                    &mut batch,
                    Some(&who.account),
                    Act::ChangedWay,
                    Some(id),
                    &self.way_details(changed),
                );
            }
            self.settle(id, batch, changes, |_| about.clone()).await?;
            share.id
        };
        self.tell_sharing(id);
        self.way_view(who, id, &share_id)
    }

    /// Takes a way back, with everything below it or without.
    pub(crate) async fn revoke_share(
        self: &Rc<Self>,
        who: &SignedIn,
        id: &GrainId,
        share: &str,
        body: &str,
    ) -> Result<(), Problem> {
        let request: Removing = parse(if body.trim().is_empty() { "{}" } else { body })?;
        let removal = if request.only_link {
            Removal::LinkOnly
        } else {
            Removal::Branch
        };
        {
            let _turn = self.sharing_turn.lock().await;
            let (share, _) = self.changeable(who, id, share)?;
            self.remove_way(Some(&who.account), &share, removal).await?;
        }
        self.tell_sharing(id);
        Ok(())
    }

    /// Removes a way and the secrets of the links that go with it. The caller holds the turn.
    pub(crate) async fn remove_way(
        self: &Rc<Self>,
        by: Option<&AccountId>,
        share: &Share,
        removal: Removal,
    ) -> Result<(), Problem> {
        let changes = self
            .ledger
            .borrow()
            .plan_remove(&self.facts(), &share.id, removal)?;
        let mut batch = Batch::new();
        // Nobody keeps access because the disk is full.
        batch.frees_space();
        self.note(
            &mut batch,
            by,
            Act::Revoked,
            Some(&share.grain),
            &self.way_details(share),
        );
        // A secret that leads to a share that is gone is found and leads nowhere; the root's own goes at once.
        if let Some(hash) = self.about(&share.id).secret {
            batch.delete::<LinkSecret>(&hash.0);
        }
        let kept = |id: &ShareId| self.about(id);
        self.settle(&share.grain, batch, changes, kept).await
    }

    /// Limits what the person themselves holds, or takes the limit away.
    pub(crate) async fn limit_myself(
        self: &Rc<Self>,
        who: &SignedIn,
        id: &GrainId,
        body: &str,
    ) -> Result<Value, Problem> {
        let request: Limit = parse(body)?;
        let role = request.role.assignment()?;
        {
            let _turn = self.sharing_turn.lock().await;
            if self.own_access(who, id)?.is_owner {
                // A limit on what its owner holds would limit everybody.
                return Err(Problem::BadRequest(
                    "its owner cannot be limited; hand it over first".to_owned(),
                ));
            }
            let role = (!role.is_unlimited()).then_some(role);
            let changes = self.ledger.borrow().plan_ceiling(id, &who.account, role);
            let mut batch = Batch::new();
            batch.frees_space();
            self.note(&mut batch, Some(&who.account), Act::LimitedMyself, Some(id), "");
            self.settle(id, batch, changes, |id| self.about(id)).await?;
        }
        self.tell_sharing(id);
        self.grain_now(who, id)
    }

    /// Gives up everything a person holds on a grain that is not theirs.
    pub(crate) async fn leave(self: &Rc<Self>, who: &SignedIn, id: &GrainId) -> Result<(), Problem> {
        if self.reachable(who, id)?.owner == who.account {
            return Err(Problem::BadRequest(
                "hand it over or delete it; its owner cannot leave".to_owned(),
            ));
        }
        {
            let _turn = self.sharing_turn.lock().await;
            let mine: Vec<Share> = {
                let ledger = self.ledger.borrow();
                let mine = ledger
                    .shares_with(&who.account)
                    .filter(|share| share.grain == *id);
                mine.cloned().collect()
            };
            for share in mine {
                self.remove_way(Some(&who.account), &share, Removal::Branch)
                    .await?;
            }
            let mut batch = Batch::new();
            batch.delete::<OwnName>(&grain_of_person(&who.account, id));
            self.commit(batch).await?;
        }
        self.tell_sharing(id);
        self.events
            .tell(&who.account, &json!({"type": "grain-deleted", "id": id}));
        Ok(())
    }

    /// A way the person may change or take back: their own gift, or any for the owner; or one below their own.
    fn changeable(&self, who: &SignedIn, id: &GrainId, share: &str) -> Result<(Share, About), Problem> {
        let share_id: ShareId = share.parse().map_err(|_| Problem::NotFound)?;
        let access = self.own_access(who, id)?;
        let (share, about) = self.way(&share_id).ok_or(Problem::NotFound)?;
        if share.grain != *id || !self.may_change(who, &access, &share) {
            return Err(Problem::NotFound);
        }
        Ok((share, about))
    }

    pub(crate) fn may_change(&self, who: &SignedIn, access: &Access, share: &Share) -> bool {
        access.is_owner || self.hangs_below(&who.account, share)
    }

    /// Whether a share was given by `person`, or by somebody who came by a link of theirs.
    fn hangs_below(&self, person: &AccountId, share: &Share) -> bool {
        let ledger = self.ledger.borrow();
        let mut from = share.from.clone();
        // Links hang below links only as deep as people made them; nobody makes a thousand.
        for _ in 0..1000 {
            match from {
                Holder::Person(giver) => return giver == *person,
                Holder::Link(link) => match ledger.share(&link) {
                    Some(link) => from = link.from.clone(),
                    None => return false,
                },
            }
        }
        false
    }

    /// The person at the root of a holder: who made the link, and the link that one came from.
    pub(crate) fn person_behind(&self, holder: &Holder) -> Option<AccountId> {
        let ledger = self.ledger.borrow();
        let mut holder = holder.clone();
        for _ in 0..1000 {
            match holder {
                Holder::Person(person) => return Some(person),
                Holder::Link(link) => holder = ledger.share(&link)?.from.clone(),
            }
        }
        None
    }

    pub(crate) fn name_of(&self, person: &AccountId) -> Option<String> {
        let accounts = self.accounts.borrow();
        accounts.get(person).map(|account| account.name.clone())
    }

    /// What the audit log says of a way; names and words, no secrets.
    fn way_details(&self, share: &Share) -> String {
        let to = match &share.to {
            Recipient::Person(person) => self.name_of(person).unwrap_or_default(),
            Recipient::Link => match &share.label {
                Some(label) => format!("a link ({label})"),
                None => "a link".to_owned(),
            },
        };
        format!("{to}: {}", self.view_of(&share.grain).can(&share.role))
    }
}
