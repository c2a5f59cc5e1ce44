//! Following a link: looking at it, opening it without an account, making it one's own.

use std::rc::Rc;

use percloud_core::id::{AccountId, GrainId, ShareId};
use percloud_core::sharing::access::Access;
use percloud_core::sharing::role::Role;
use percloud_core::sharing::share::{Acceptance, Holder, Recipient, Share};
use percloud_store::Batch;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::account::{SignedIn, parse};
use crate::audit::Act;
use crate::broker::Broker;
use crate::open::check_path;
use crate::problem::Problem;
use crate::record::{About, Grain, LinkSecret, Package, grain_key};
use crate::token::TokenText;
use crate::visit::Visitor;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Presented {
    token: String,
    #[serde(default)]
    path: Option<String>,
}

/// A link somebody presented, that leads somewhere.
struct Followed {
    share: Share,
    about: About,
    grain: Grain,
    access: Access,
}

impl Broker {
    /// What a stranger with a link may know before they follow it.
    pub(crate) async fn look_at_link(self: &Rc<Self>, body: &str, address: &str) -> Result<Value, Problem> {
        let request: Presented = parse(body)?;
        let followed = self.follow_link(&request.token, address)?;
        Ok(self.link_view(&followed))
    }

    /// Follows a link without an account. A link for one use gets a new secret, which only this visitor knows.
    pub(crate) async fn open_link(self: &Rc<Self>, body: &str, address: &str) -> Result<Value, Problem> {
        let request: Presented = parse(body)?;
        // Before a link for one use is spent on it.
        check_path(request.path.as_deref())?;
        let followed = self.follow_link(&request.token, address)?;
        let grain = followed.share.grain.clone();
        let token = if followed.about.single_use {
            self.trade(&followed.share.id, &request.token).await?
        } else {
            self.mark_used(&followed.share.id).await?;
            None
        };
        let link = followed.share.id.clone();
        let mut opened = self.open_for(Visitor::guest(link), &grain, request.path)?;
        if let Some(token) = token {
            opened["token"] = json!(token.expose());
        }
        Ok(opened)
    }

    /// Makes what a link gives the person's own.
    pub(crate) async fn accept_link(self: &Rc<Self>, who: &SignedIn, body: &str) -> Result<Value, Problem> {
        let request: Presented = parse(body)?;
        let followed = self.follow_link(&request.token, &format!("account {}", who.account))?;
        let grain = followed.share.grain.clone();
        let link = Holder::Link(followed.share.id.clone());
        let has_it = followed.grain.owner == who.account || {
            let ledger = self.ledger.borrow();
            let mut before = ledger.between(&grain, &link, &who.account);
            before.any(|share| share.accepted == Acceptance::Accepted)
        };
        if !has_it {
            self.redeem(&followed.share, &request.token, who).await?;
        }
        self.tell_sharing(&grain);
        self.grain_now(who, &grain)
    }

    /// Gives a person all a link gives. A link for one use is used up in the same moment.
    async fn redeem(self: &Rc<Self>, link: &Share, presented: &str, who: &SignedIn) -> Result<(), Problem> {
        let presented = TokenText::parse(presented).ok_or(Problem::NotFound)?.hash();
        let _turn = self.sharing_turn.lock().await;
        let (link, mut about) = self.way(&link.id).ok_or(Problem::NotFound)?;
        // Somebody else may have been faster, and the link's secret another one by now.
        let hash = about.secret.filter(|secret| *secret == presented);
        let hash = hash.ok_or(Problem::NotFound)?;
        let share = Share {
            id: ShareId::new(|bytes| (self.outside.random)(bytes)),
            grain: link.grain.clone(),
            from: Holder::Link(link.id.clone()),
            to: Recipient::Person(who.account.clone()),
            role: Role::All.into(),
            limits: Vec::new(),
            may_reshare: link.may_reshare,
            expires: None,
            created: self.outside.now(),
            label: None,
            requirements: Vec::new(),
            accepted: Acceptance::Accepted,
        };
        let mut changes = self.ledger.borrow().plan_add(&self.facts(), share)?;
        let mut batch = Batch::new();
        about.used = true;
        about.last_used = Some(self.outside.now());
        if about.single_use {
            about.secret = None;
            batch.delete::<LinkSecret>(&hash.0);
        }
        changes.put.push(link.clone());
        self.note(
            &mut batch,
            Some(&who.account),
            Act::FollowedLink,
            Some(&link.grain),
            &self.way_details(&link),
        );
        let abouts = |id: &ShareId| {
            if *id == link.id {
                about.clone()
            } else {
                About::default()
            }
        };
        self.settle(&link.grain, batch, changes, abouts).await
    }

    /// Exchanges the secret of a link for one use: whoever knew the old one stays outside.
    async fn trade(self: &Rc<Self>, id: &ShareId, old: &str) -> Result<Option<TokenText>, Problem> {
        let _turn = self.sharing_turn.lock().await;
        let old = TokenText::parse(old).ok_or(Problem::NotFound)?.hash();
        let (share, mut about) = self.way(id).ok_or(Problem::NotFound)?;
        // Somebody else may have been faster.
        if about.secret != Some(old) {
            return Err(Problem::NotFound);
        }
        if about.used {
            // It was traded before: this is its one visitor, coming back.
            return Ok(None);
        }
        let secret = TokenText::new(&self.outside);
        about.secret = Some(secret.hash());
        about.used = true;
        about.last_used = Some(self.outside.now());
        let mut batch = Batch::new();
        batch.delete::<LinkSecret>(&old.0);
        batch.put(&secret.hash().0, &LinkSecret { share: id.clone() });
        self.note(
            &mut batch,
            None,
            Act::FollowedLink,
            Some(&share.grain),
            &self.way_details(&share),
        );
        let grain = share.grain.clone();
        let changes = percloud_core::sharing::ledger::Changes {
            put: vec![share],
            ..Default::default()
        };
        self.settle(&grain, batch, changes, |_| about.clone()).await?;
        Ok(Some(secret))
    }

    /// Notes that somebody came by a way, once an hour.
    pub(crate) async fn mark_used(self: &Rc<Self>, id: &ShareId) -> Result<(), Problem> {
        let now = self.outside.now();
        let last = self.about(id).last_used;
        if last.is_some_and(|last| now < last.plus_seconds(60 * 60)) {
            return Ok(());
        }
        self.change_about(id, |about| {
            about.last_used = Some(now);
            about.used = true;
        })
        .await
    }

    /// Notes that somebody with an account came, by all the ways they have.
    pub(crate) async fn mark_came(
        self: &Rc<Self>,
        person: &AccountId,
        grain: &GrainId,
    ) -> Result<(), Problem> {
        let ways: Vec<ShareId> = {
            let ledger = self.ledger.borrow();
            let mine = ledger.shares_with(person).filter(|share| share.grain == *grain);
            let accepted = mine.filter(|share| share.accepted == Acceptance::Accepted);
            accepted.map(|share| share.id.clone()).collect()
        };
        for way in ways {
            self.mark_used(&way).await?;
        }
        Ok(())
    }

    /// Changes what is kept beside a share, if there still is one: what was taken back must not come back this way.
    pub(crate) async fn change_about(
        &self,
        id: &ShareId,
        change: impl FnOnce(&mut About),
    ) -> Result<(), Problem> {
        let _turn = self.sharing_turn.lock().await;
        let Some((share, mut about)) = self.way(id) else {
            return Ok(());
        };
        change(&mut about);
        let mut batch = Batch::new();
        let way = crate::record::Way { share, about };
        batch.put(id.as_str().as_bytes(), &way);
        self.commit(batch).await?;
        self.abouts.borrow_mut().insert(id.clone(), way.about);
        Ok(())
    }

    /// The link behind a token, if it leads somewhere. Every reason why it does not is the same answer.
    fn follow_link(&self, token: &str, address: &str) -> Result<Followed, Problem> {
        let key = format!("link {address}");
        self.check_throttle(&[&key])?;
        let found = TokenText::parse(token).and_then(|token| self.link_behind(&token));
        let followed = found.and_then(|(share, about)| {
            let spent = about.device.is_some();
            let access = self.access(&share.grain, &Holder::Link(share.id.clone()))?;
            let grain: Grain = self.read(grain_key(&share.grain)).ok()??;
            (!spent).then_some(Followed {
                share,
                about,
                grain,
                access,
            })
        });
        match followed {
            Some(followed) => {
                self.throttle.borrow_mut().succeeded(&key);
                Ok(followed)
            }
            None => {
                self.throttle.borrow_mut().failed(&key, self.outside.now());
                Err(Problem::NotFound)
            }
        }
    }

    /// The share a secret leads to.
    pub(crate) fn link_behind(&self, token: &TokenText) -> Option<(Share, About)> {
        let hash = token.hash();
        let found: LinkSecret = self.read(&hash.0).ok()??;
        let (share, about) = self.way(&found.share)?;
        // The share says, too, which secret is its own: a secret left over from before is none.
        (about.secret == Some(hash)).then_some((share, about))
    }

    fn link_view(&self, followed: &Followed) -> Value {
        let Followed {
            share, grain, access, ..
        } = followed;
        let package: Option<Package> = self.read(grain.package_id.as_bytes()).ok().flatten();
        let by = self
            .person_behind(&share.from)
            .and_then(|person| self.name_of(&person));
        json!({
            "title": grain.title,
            "appTitle": package.as_ref().map_or("", |package| &package.title),
            "icon": null,
            "by": by.unwrap_or_default(),
            "can": self.view_of(&share.grain).can_with(&access.permissions),
            "expires": access.until,
            "grain": null,
        })
    }
}
