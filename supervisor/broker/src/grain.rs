//! Making, naming, discarding and deleting grains.

use std::rc::Rc;

use percloud_core::grain::title;
use percloud_core::id::{AccountId, GrainId};
use percloud_core::petname::Petname;
use percloud_core::time::Timestamp;
use percloud_store::Batch;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::account::{SignedIn, parse};
use crate::audit::Act;
use crate::broker::Broker;
use crate::described;
use crate::layout::{make_private, sync_folder};
use crate::limits::OwnLimits;
use crate::problem::Problem;
use crate::record::{App, Grain, OwnName, Site, app_key, grain_key, grain_of_person};
use crate::tree;
use crate::visit::Changed;

/// Longest noun kept of an action, in characters.
const NOUN_LIMIT: usize = 60;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Create {
    package_id: String,
    action: u32,
    #[serde(default)]
    title: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Change {
    #[serde(default)]
    title: Option<String>,
    #[serde(default)]
    relaxed_policy: Option<bool>,
}

impl Broker {
    /// The grain `id`, if it is this person's.
    pub(crate) fn own_grain(&self, who: &SignedIn, id: &GrainId) -> Result<Grain, Problem> {
        let grain: Option<Grain> = self.read(grain_key(id))?;
        grain
            .filter(|grain| grain.owner == who.account)
            .ok_or(Problem::NotFound)
    }

    /// Makes a grain; its app first runs when it is opened.
    pub(crate) async fn create_grain(&self, who: &SignedIn, body: &str) -> Result<Value, Problem> {
        let request: Create = parse(body)?;
        let _packaging = self.packaging.lock().await;
        let info = self.package_info(&request.package_id).await?;
        let app_id = info.app_id.to_string();
        let app: App = self
            .read(&app_key(&who.account, &app_id))?
            .ok_or(Problem::NotFound)?;
        if app.package_id != request.package_id {
            return Err(Problem::NotFound);
        }
        let action = described::action(&info, request.action)?;
        let noun: String = described::noun(&info, action).chars().take(NOUN_LIMIT).collect();
        let title = match request.title.as_deref() {
            Some(text) => {
                title(text).ok_or_else(|| Problem::BadRequest("a title cannot be empty".to_owned()))?
            }
            None => title(&capitalised(&noun)).unwrap_or_else(|| described::title(&info)),
        };
        let id = GrainId::new(|bytes| (self.outside.random)(bytes));
        let folder = self.config.layout.grain(&id);
        let io = |error: std::io::Error| Problem::internal("make the folder of a grain", &error);
        make_private(&folder).map_err(io)?;
        let made = make_private(&folder.join("sandbox"))
            .and_then(|()| sync_folder(&folder))
            .and_then(|()| sync_folder(&self.config.layout.grains()));
        let now = self.outside.now();
        let grain = Grain {
            owner: who.account.clone(),
            app_id,
            package_id: request.package_id,
            action: request.action,
            title,
            noun,
            created: now,
            last_used: now,
            size: None,
            begun: false,
            trashed: None,
            relaxed_policy: false,
            public_id: None,
            files: None,
            limits: OwnLimits::default(),
        };
        self.keep_grain(who, &id, &grain, made.map_err(io), Batch::new())
            .await
    }

    /// Commits the record that makes a folder a grain, with what else is in `batch`. The folder goes if that fails, or
    /// if it was not `laid` out well.
    pub(crate) async fn keep_grain(
        &self,
        who: &SignedIn,
        id: &GrainId,
        grain: &Grain,
        laid: Result<(), Problem>,
        mut batch: Batch,
    ) -> Result<Value, Problem> {
        batch.put(grain_key(id), grain);
        let kept = match laid {
            Ok(()) => self.commit(batch).await,
            problem => problem,
        };
        if kept.is_err() {
            tree::remove_in_background(self.config.layout.grain(id));
        }
        kept?;
        self.catalogue_again(id);
        self.tell_grain(id);
        Ok(self.grain_view(who, id, grain))
    }

    /// Changes what a grain is called and what its pages may do. Who does not own it names it for themselves alone.
    pub(crate) async fn change_grain(
        self: &Rc<Self>,
        who: &SignedIn,
        id: &GrainId,
        body: &str,
    ) -> Result<Value, Problem> {
        let request: Change = parse(body)?;
        let grain = self.reachable(who, id)?;
        let new_title = request.title.as_deref().map(title);
        let owns = grain.owner == who.account;
        if !owns && request.relaxed_policy.is_some() {
            return Err(Problem::NotFound);
        }
        if owns && new_title == Some(None) {
            return Err(Problem::BadRequest("a title cannot be empty".to_owned()));
        }
        if !owns {
            if let Some(text) = request.title {
                self.rename_for_oneself(who, id, &grain, &text).await?;
            }
            return self.grain_now(who, id);
        }
        self.update_grain(id, |grain| {
            if let Some(Some(title)) = new_title {
                grain.title = title;
            }
            grain.relaxed_policy = request.relaxed_policy.unwrap_or(grain.relaxed_policy);
        })
        .await?;
        if request
            .relaxed_policy
            .is_some_and(|relaxed| relaxed != grain.relaxed_policy)
        {
            // Open pages hold the old policy: end them, the shell opens them anew.
            self.close_pages(|page| page.visit.grain == *id).await;
        }
        self.grain_now(who, id)
    }

    /// Gives a grain of somebody else's a name of one's own; an empty one takes the owner's again.
    async fn rename_for_oneself(
        &self,
        who: &SignedIn,
        id: &GrainId,
        grain: &Grain,
        text: &str,
    ) -> Result<(), Problem> {
        let mut name = self
            .petname(&who.account, id)
            .unwrap_or_else(|| Petname::received(&grain.title));
        name.rename(text);
        let key = grain_of_person(&who.account, id);
        let mut batch = Batch::new();
        if name.is_renamed() {
            batch.put(&key, &OwnName(name));
        } else {
            batch.delete::<OwnName>(&key);
        }
        self.commit(batch).await
    }

    /// What a person calls a grain of somebody else's, if they named it.
    pub(crate) fn petname(&self, account: &AccountId, id: &GrainId) -> Option<Petname> {
        let name: OwnName = self.read(&grain_of_person(account, id)).ok()??;
        Some(name.0)
    }

    /// Moves a grain to the trash; it stops at once.
    pub(crate) async fn trash_grain(self: &Rc<Self>, who: &SignedIn, id: &GrainId) -> Result<Value, Problem> {
        self.own_grain(who, id)?;
        let now = self.outside.now();
        let people = self.people_of(id);
        self.update_grain(id, |grain| _ = grain.trashed.get_or_insert(now))
            .await?;
        for person in people.iter().filter(|person| **person != who.account) {
            self.events
                .tell(person, &json!({"type": "grain-deleted", "id": id}));
        }
        // Nobody has access to what is in the trash.
        self.enforce(&Changed::Grains([id.clone()].into())).await;
        self.stop_grain(id).await;
        self.tell_grain(id);
        self.grain_now(who, id)
    }

    /// Takes a grain out of the trash.
    pub(crate) async fn restore_grain(&self, who: &SignedIn, id: &GrainId) -> Result<Value, Problem> {
        self.own_grain(who, id)?;
        self.update_grain(id, |grain| grain.trashed = None).await?;
        self.grain_now(who, id)
    }

    /// Deletes a grain in the trash, with its data.
    pub(crate) async fn delete_grain(self: &Rc<Self>, who: &SignedIn, id: &GrainId) -> Result<(), Problem> {
        let grain = self.own_grain(who, id)?;
        if grain.trashed.is_none() {
            return Err(Problem::NotInTrash);
        }
        let slot = self.slot(id);
        let _turn = slot.turn.lock().await;
        slot.stop().await;
        {
            let _turn = self.sharing_turn.lock().await;
            let _changing = self.changing.lock().await;
            if self.own_grain(who, id)?.trashed.is_none() {
                return Err(Problem::NotInTrash);
            }
            let people = self.people_of(id);
            let mut batch = Batch::new();
            // The entry in the log is written; what fills the disk must be possible to delete all the same.
            batch.frees_space();
            batch.delete::<Grain>(grain_key(id));
            Self::forget_limits(&mut batch, id);
            let jobs = self.forget_jobs(&mut batch, id)?;
            if let Some(site) = &grain.public_id {
                batch.delete::<Site>(site.as_bytes());
            }
            self.note(
                &mut batch,
                Some(&who.account),
                Act::Deleted,
                Some(id),
                &grain.title,
            );
            let changes = self.ledger.borrow().plan_forget_grain(id);
            let settled = self.settle(id, batch, changes, |id| self.about(id)).await;
            self.catalogue_again(id);
            settled?;
            self.no_longer_due(jobs);
            for person in people {
                self.events
                    .tell(&person, &json!({"type": "grain-deleted", "id": id}));
            }
        }
        self.slots.borrow_mut().remove(id);
        self.views.borrow_mut().remove(id);
        self.audit.borrow_mut().forget(id);
        // Its host is gone, and nobody knocks there again.
        let _never_opened = std::fs::remove_file(self.config.layout.door(id));
        self.discard(&self.config.layout.grain(id), id.as_str());
        // From here on it is gone, whatever becomes of its tokens: none of them stands any more. There may be very many, so
        // nobody waits for them but who deleted it.
        self.enforce(&Changed::Tokens).await;
        if let Err(problem) = self.forget_tokens_of(id).await {
            tracing::warn!(grain = %id, "tokens of a grain that is gone are forgotten later: {problem}");
        }
        if let Err(problem) = self.forget_traces_of(id).await {
            tracing::warn!(grain = %id, "something people kept of a grain that is gone stays: {problem}");
        }
        Ok(())
    }

    /// Stops a grain; its next use starts it anew. Open pages reconnect by themselves.
    pub(crate) async fn restart_grain(
        self: &Rc<Self>,
        who: &SignedIn,
        id: &GrainId,
    ) -> Result<Value, Problem> {
        if self.own_grain(who, id)?.trashed.is_some() {
            return Err(Problem::InTrash);
        }
        self.stop_grain(id).await;
        self.wake(id).await?;
        self.grain_now(who, id)
    }

    pub(crate) fn grain_now(&self, who: &SignedIn, id: &GrainId) -> Result<Value, Problem> {
        Ok(self.grain_view(who, id, &self.reachable(who, id)?))
    }

    /// Changes a grain's record: read, changed and durable before anyone else may change it.
    pub(crate) async fn update_grain(
        &self,
        id: &GrainId,
        change: impl FnOnce(&mut Grain),
    ) -> Result<(), Problem> {
        let _changing = self.changing.lock().await;
        self.write_changed(id, change).await
    }

    /// Notes when the owner used a grain, and whatever else waits to be noted: many openings at once wait for the disk once.
    pub(crate) async fn note_used(&self, id: &GrainId, now: Timestamp) {
        self.used.borrow_mut().insert(id.clone(), now);
        let _changing = self.changing.lock().await;
        let used = self.used.take();
        let noted = used
            .iter()
            .map(|(id, now)| self.write_changed(id, |grain| grain.last_used = grain.last_used.max(*now)));
        // A grain may be deleted meanwhile, and that the disk fails is told elsewhere.
        let _noted = futures::future::join_all(noted).await;
    }

    /// What [`Broker::update_grain`] does, for who has its turn.
    async fn write_changed(&self, id: &GrainId, change: impl FnOnce(&mut Grain)) -> Result<(), Problem> {
        let mut grain: Grain = self.read(grain_key(id))?.ok_or(Problem::NotFound)?;
        change(&mut grain);
        let mut batch = Batch::new();
        if grain.trashed.is_some() {
            batch.frees_space();
        }
        batch.put(grain_key(id), &grain);
        self.commit(batch).await?;
        self.catalogue_again(id);
        self.tell_grain(id);
        Ok(())
    }

    /// Removes a folder nothing in the store points to any more: out of the way at once, gone in the background.
    pub(crate) fn discard(&self, folder: &std::path::Path, name: &str) {
        let aside = self.config.layout.discarded(name);
        match std::fs::rename(folder, &aside) {
            Ok(()) => tree::remove_in_background(aside),
            Err(error) => tracing::warn!("cannot set {} aside: {error}", folder.display()),
        }
    }
}

/// A noun as a title: "calendar" becomes "Calendar".
fn capitalised(noun: &str) -> String {
    let mut characters = noun.chars();
    characters
        .next()
        .map(|first| first.to_uppercase().chain(characters).collect())
        .unwrap_or_default()
}
