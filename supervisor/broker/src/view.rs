//! The shapes the shell sees (docs/shell-api.md).

use std::collections::BTreeSet;

use percloud_core::grain::State;
use percloud_core::id::GrainId;
use percloud_spk::install::{IconKind, PackageInfo};
use percloud_spk::manifest::License;
use serde_json::{Value, json};

use crate::account::SignedIn;
use crate::broker::Broker;
use crate::catalogue::{Place, Wanted};
use crate::described::{self, text};
use crate::problem::Problem;
use crate::record::{App, Grain, Package, account_prefix, grain_key};

/// Grains on a page.
const PAGE: usize = 200;
/// Longest text that is searched for, in characters.
const SEARCHED: usize = 200;

/// Which grains a shell asks for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    pub search: String,
    pub after: String,
    pub trashed: bool,
    /// 0: as many as one gets at a time.
    pub limit: u16,
}

impl Wanted {
    fn first(trashed: bool) -> Self {
        Self {
            trashed,
            limit: PAGE,
            ..Self::default()
        }
    }
}

/// Whether something of somebody else's has `text`, in small letters, in one of its names.
fn is_called(grain: &Value, text: &str) -> bool {
    let names = ["title", "appTitle", "noun", "owner", "ownersTitle"];
    names.into_iter().any(|name| {
        let name = grain[name].as_str();
        name.is_some_and(|name| name.to_lowercase().contains(text))
    })
}

impl Broker {
    /// What a stranger may know.
    pub(crate) fn settings(&self) -> Value {
        json!({
            "title": "Percloud",
            "version": env!("CARGO_PKG_VERSION"),
            "setUp": self.is_set_up(),
            "signedIn": false,
            "warnings": [],
        })
    }

    /// What a person sees first: all they have, where that is not very much.
    pub(crate) async fn home(&self, who: &SignedIn) -> Result<Value, Problem> {
        let (mut grains, more) = self.page_of_grains(who, &Wanted::first(false))?;
        let (trash, more_trash) = self.page_of_grains(who, &Wanted::first(true))?;
        grains.extend(trash);
        grains.extend(self.shared_with(who)?);
        let warnings: Vec<Value> = self
            .warnings
            .borrow()
            .iter()
            .map(|(code, message)| json!({"code": code, "message": message}))
            .chain(self.room_warning())
            .chain(self.part_warnings())
            .chain(self.store_warning())
            .collect();
        let warnings = if self.runs_the_server(who).is_ok() {
            warnings
        } else {
            Vec::new()
        };
        Ok(json!({
            "apps": self.apps(who).await?,
            "grains": grains,
            "more": {"grains": more, "trash": more_trash},
            "offers": self.offers(who)?,
            "notifications": self.unread_notices(&who.account),
            "warnings": warnings,
        }))
    }

    /// The apps a person has.
    pub(crate) async fn apps(&self, who: &SignedIn) -> Result<Vec<Value>, Problem> {
        let have = self.store.scan::<App>(&account_prefix(&who.account));
        let have = have.map_err(|error| Problem::internal("read the store", &error))?;
        let mut apps = Vec::new();
        for (_, app) in have {
            match self.package_info(&app.package_id).await {
                Ok(info) => apps.push(self.app_view(who, &info)?),
                Err(problem) => {
                    tracing::error!(package = app.package_id, "an installed app is missing: {problem}")
                }
            }
        }
        Ok(apps)
    }

    /// A page of what a person owns: all of it by and by, or what has some words in its name. Of what others own all that
    /// has them comes with the first page.
    pub(crate) fn grains(&self, who: &SignedIn, asked: &Asked) -> Result<Value, Problem> {
        let after = match asked.after.as_str() {
            "" => None,
            cursor => Some(
                Place::parse(cursor, asked.trashed)
                    .ok_or_else(|| Problem::BadRequest("there is no such page".to_owned()))?,
            ),
        };
        let text: String = asked.search.trim().chars().take(SEARCHED).collect();
        let wanted = Wanted {
            trashed: asked.trashed,
            text: text.to_lowercase(),
            after,
            limit: match asked.limit {
                0 => PAGE,
                limit => PAGE.min(usize::from(limit)),
            },
        };
        let (mut grains, more) = self.page_of_grains(who, &wanted)?;
        if !wanted.text.is_empty() && !wanted.trashed && wanted.after.is_none() {
            let shared = self.shared_with(who)?;
            grains.extend(shared.into_iter().filter(|grain| is_called(grain, &wanted.text)));
        }
        Ok(json!({"grains": grains, "more": more}))
    }

    /// Grains of a person, and where to go on if there are more.
    fn page_of_grains(
        &self,
        who: &SignedIn,
        wanted: &Wanted,
    ) -> Result<(Vec<Value>, Option<String>), Problem> {
        let (places, more) = self.catalogue.borrow().page(&who.account, wanted);
        let mut grains = Vec::new();
        for place in &places {
            if let Some(grain) = self.read::<Grain>(grain_key(place.id()))? {
                grains.push(self.grain_view(who, place.id(), &grain));
            }
        }
        Ok((grains, places.last().filter(|_| more).map(Place::cursor)))
    }

    /// What a person owns and has not thrown away, latest used first, so many at most.
    pub(crate) fn latest_grains(
        &self,
        who: &SignedIn,
        limit: usize,
    ) -> Result<Vec<(GrainId, Grain)>, Problem> {
        let wanted = Wanted {
            limit,
            ..Wanted::default()
        };
        let (places, _) = self.catalogue.borrow().page(&who.account, &wanted);
        let mut grains = Vec::new();
        for place in places {
            if let Some(grain) = self.read::<Grain>(grain_key(place.id()))? {
                grains.push((place.id().clone(), grain));
            }
        }
        Ok(grains)
    }

    /// What others own and the person has.
    fn shared_with(&self, who: &SignedIn) -> Result<Vec<Value>, Problem> {
        let ids: BTreeSet<GrainId> = {
            let ledger = self.ledger.borrow();
            let shares = ledger.shares_with(&who.account);
            shares.map(|share| share.grain.clone()).collect()
        };
        let mut views = Vec::new();
        for id in ids {
            if self.own_access(who, &id).is_ok()
                && let Some(grain) = self.read::<Grain>(grain_key(&id))?
                && grain.owner != who.account
            {
                views.push(self.grain_view(who, &id, &grain));
            }
        }
        Ok(views)
    }

    /// A grain as this person sees it.
    pub(crate) fn grain_view(&self, who: &SignedIn, id: &GrainId, grain: &Grain) -> Value {
        let mut view = self.any_grain_view(id, grain);
        if grain.owner != who.account {
            // Its inner affairs are its owner's.
            view["size"] = Value::Null;
            view["problem"] = Value::Null;
            view["limit"] = Value::Null;
            if let Some(name) = self.petname(&who.account, id) {
                view["title"] = json!(name.shown());
            }
        }
        view["unread"] = json!(self.is_unread(&who.account, id));
        if let (Value::Object(view), Value::Object(standing)) = (&mut view, self.standing_of(who, id, grain))
        {
            view.extend(standing);
        }
        view
    }

    fn any_grain_view(&self, id: &GrainId, grain: &Grain) -> Value {
        let slot = self.slots.borrow().get(id).cloned();
        let state = slot.as_ref().map_or(State::Asleep, |slot| slot.state.get());
        let problem = slot.as_ref().and_then(|slot| slot.problem.borrow().clone());
        let size = slot.as_ref().and_then(|slot| slot.size.get()).or(grain.size);
        let package: Option<Package> = self.read(grain.package_id.as_bytes()).ok().flatten();
        json!({
            "id": id,
            "title": grain.title,
            "appId": grain.app_id,
            "appTitle": package.as_ref().map_or("", |package| &package.title),
            "packageId": grain.package_id,
            "icon": package.as_ref().and_then(|package| package.icon.as_ref()),
            "noun": grain.noun,
            "created": grain.created,
            "lastUsed": grain.last_used,
            "size": size,
            "state": state,
            "problem": problem,
            "limit": slot.as_ref().and_then(|slot| slot.limit.get().or(slot.full.get())),
            "trashed": grain.trashed,
            "relaxedPolicy": grain.relaxed_policy,
        })
    }

    /// An app as the home page shows it.
    pub(crate) fn app_view(&self, _: &SignedIn, info: &PackageInfo) -> Result<Value, Problem> {
        Ok(json!({
            "appId": info.app_id.to_string(),
            "packageId": info.package_id.to_string(),
            "title": described::title(info),
            "version": info.manifest.app_version,
            "marketingVersion": text(Some(&info.manifest.app_marketing_version)),
            "author": author(info),
            "icon": described::icon_url(info, IconKind::AppGrid),
            "actions": actions(info),
        }))
    }

    /// A package as the page shows it on which a person decides.
    pub(crate) fn package_view(&self, who: &SignedIn, info: &PackageInfo) -> Result<Value, Problem> {
        let current = self.app_of(who, info)?;
        let installed = current
            .as_ref()
            .is_some_and(|app| app.package_id == info.package_id.to_string());
        let replaced: Option<Package> = match &current {
            Some(app) if !installed => self.read(app.package_id.as_bytes())?,
            _ => None,
        };
        Ok(json!({
            "packageId": info.package_id.to_string(),
            "appId": info.app_id.to_string(),
            "title": described::title(info),
            "version": info.manifest.app_version,
            "marketingVersion": text(Some(&info.manifest.app_marketing_version)),
            "author": author(info),
            "license": license(info),
            "shortDescription": text(info.manifest.metadata.short_description.as_ref()),
            "size": info.unpacked_size,
            "icon": described::icon_url(info, IconKind::AppGrid),
            "state": if installed { "installed" } else { "staged" },
            "replaces": replaced.map(|package| json!({"version": package.app_version, "marketingVersion": package.marketing_version})),
            // A package asks for nothing at installation: what it may touch later, a person hands it one by one.
            "wants": [],
            "actions": actions(info),
        }))
    }
}

fn actions(info: &PackageInfo) -> Vec<Value> {
    let offered = info.manifest.actions.iter().filter(|action| action.input_none);
    offered
        .map(|action| {
            json!({
                "index": action.index,
                "noun": described::noun(info, action),
                "title": text(action.label()),
                "description": text(action.description.as_ref()),
            })
        })
        .collect()
}

fn author(info: &PackageInfo) -> Value {
    let metadata = &info.manifest.metadata;
    json!({
        "name": metadata.author.upstream_author,
        "contactEmail": metadata.author.contact_email,
        "website": metadata.website,
        "codeUrl": metadata.code_url,
    })
}

fn license(info: &PackageInfo) -> Value {
    let notices = info.manifest.metadata.license_notices.as_ref();
    let notices = notices
        .map(|notices| text(Some(notices)))
        .filter(|notices| !notices.is_empty());
    match &info.manifest.metadata.license {
        License::None => json!({"kind": "none", "name": "", "text": notices}),
        License::OpenSource { title, .. } => json!({"kind": "open-source", "name": title, "text": notices}),
        License::Proprietary { text: terms } => {
            json!({"kind": "proprietary", "name": "", "text": text(Some(terms))})
        }
        License::PublicDomain { text: reason } => {
            json!({"kind": "public-domain", "name": "", "text": text(Some(reason))})
        }
    }
}
