//! What a person may choose from, and what becomes of the choice.

use std::rc::Rc;

use capnp::traits::HasTypeId;
use percloud_core::id::{AccountId, GrainId, RequestId};
use percloud_core::powerbox::{Descriptor, Quality, Tag, matches};
use percloud_core::sharing::permission::PermissionSet;
use percloud_core::sharing::requirement::Requirement;
use percloud_core::sharing::role::Role;
use percloud_core::sharing::share::Holder;
use percloud_schemas::grain_capnp::ui_view;
use percloud_schemas::identity_capnp::identity;
use percloud_schemas::powerbox_capnp::powerbox_descriptor;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Asked, Message};
use crate::account::{SignedIn, parse};
use crate::broker::Broker;
use crate::outlet::{Chosen, WebsiteWish};
use crate::problem::Problem;
use crate::record::{Grain, Package, Referent, Sealed, Token, grain_key};
use crate::sharing::RoleWish;
use crate::visit::{Purpose, Visitor};

const UI_VIEW: u64 = ui_view::Client::TYPE_ID;
const IDENTITY: u64 = identity::Client::TYPE_ID;
/// Choices of one kind that are shown.
const SHOWN: usize = 500;
/// Grains of one's own that are looked at: more are not to be chosen from by looking.
const LOOKED_AT: usize = 2000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Choose {
    #[serde(default)]
    choice: Option<String>,
    #[serde(default)]
    make: Option<Make>,
    #[serde(default)]
    role: Option<RoleWish>,
    #[serde(default)]
    website: Option<WebsiteWish>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Make {
    package_id: String,
    action: u32,
}

fn bare(id: u64) -> Descriptor {
    Descriptor {
        tags: vec![Tag { id, value: None }],
        quality: Quality::Acceptable,
    }
}

impl Broker {
    /// What fits a request, of what the person has.
    pub(crate) async fn choices(self: &Rc<Self>, who: &SignedIn, id: &RequestId) -> Result<Value, Problem> {
        let asked = self.asked(&who.account, id)?;
        let mut choices = Vec::new();
        let whole = matches(&asked.query, &[bare(UI_VIEW)]);
        for (id, grain) in self.within_reach(who)? {
            if id == asked.visit.grain {
                continue;
            }
            let view = self.view_of(&id);
            if let Some(quality) = matches(&asked.query, &view.match_requests) {
                choices.push(self.grain_choice(who, "from", &id, &grain, quality, false));
            } else if let Some(quality) = whole {
                choices.push(self.grain_choice(who, "grain", &id, &grain, quality, true));
            }
        }
        if let Some(quality) = matches(&asked.query, &[bare(IDENTITY)]) {
            let accounts = self.accounts.borrow();
            for (id, account) in accounts.iter().take(SHOWN) {
                choices.push(json!({
                    "id": format!("person:{id}"),
                    "kind": "person",
                    "title": account.name,
                    "detail": format!("@{}", account.handle),
                    "icon": null,
                    "preferred": quality == Quality::Preferred,
                }));
            }
        }
        choices.extend(self.outside_choices(who, &asked)?);
        choices.sort_by_key(|choice| choice["preferred"] != true);
        choices.truncate(SHOWN);
        let makeable = if whole.is_some() {
            self.makeable(who).await?
        } else {
            Vec::new()
        };
        Ok(json!({
            "grain": asked.visit.grain,
            "label": asked.label,
            "choices": choices,
            "makeable": makeable,
        }))
    }

    /// What a person owns or has, but for the trash; of what they own the latest used, where it is very much.
    fn within_reach(&self, who: &SignedIn) -> Result<Vec<(GrainId, Grain)>, Problem> {
        let mut all = self.latest_grains(who, LOOKED_AT)?;
        let shared: std::collections::BTreeSet<GrainId> = {
            let ledger = self.ledger.borrow();
            ledger
                .shares_with(&who.account)
                .map(|share| share.grain.clone())
                .collect()
        };
        for id in shared {
            if self.own_access(who, &id).is_ok()
                && let Some(grain) = self.read::<Grain>(grain_key(&id))?
                && grain.owner != who.account
            {
                all.push((id, grain));
            }
        }
        all.sort_by_key(|(_, grain)| std::cmp::Reverse(grain.last_used));
        Ok(all)
    }

    fn grain_choice(
        &self,
        who: &SignedIn,
        prefix: &str,
        id: &GrainId,
        grain: &Grain,
        quality: Quality,
        with_roles: bool,
    ) -> Value {
        let package: Option<Package> = self.read(grain.package_id.as_bytes()).ok().flatten();
        let view = self.view_of(id);
        let title = self.petname(&who.account, id);
        let mut choice = json!({
            "id": format!("{prefix}:{id}"),
            "kind": "grain",
            "title": title.as_ref().map_or(grain.title.as_str(), |name| name.shown()),
            "detail": package.as_ref().map_or("", |package| &package.title),
            "icon": package.as_ref().and_then(|package| package.icon.as_ref()),
            "preferred": quality == Quality::Preferred,
        });
        if with_roles {
            let shareable = self
                .own_access(who, id)
                .map(|access| access.shareable)
                .unwrap_or_default();
            let roles = (0_u16..).zip(view.roles.iter().zip(&view.rules.roles));
            let roles: Vec<Value> = roles
                .filter(|(_, (text, role))| !text.obsolete && shareable.covers(&role.permissions))
                .map(|(index, (text, _))| {
                    json!({"index": index, "title": text.title, "can": view.can(&Role::Index(index).into())})
                })
                .collect();
            choice["roles"] = json!(roles);
        }
        choice
    }

    async fn makeable(&self, who: &SignedIn) -> Result<Vec<Value>, Problem> {
        let apps = self.apps(who).await?;
        let of_app = |app: &Value| -> Vec<Value> {
            let actions = app["actions"].as_array().cloned().unwrap_or_default();
            let make = |action: &Value| {
                json!({"packageId": app["packageId"], "action": action["index"], "title": app["title"],
                       "noun": action["noun"], "icon": app["icon"]})
            };
            actions.iter().map(make).collect()
        };
        Ok(apps.iter().flat_map(of_app).collect())
    }

    /// Takes what the person chose.
    pub(crate) async fn choose(
        self: &Rc<Self>,
        who: &SignedIn,
        id: &RequestId,
        body: &str,
    ) -> Result<Value, Problem> {
        let request: Choose = parse(body)?;
        let asked = self.asked(&who.account, id)?;
        let role = request.role.unwrap_or(RoleWish::ALL);
        let chosen = match (request.choice, request.make) {
            (Some(choice), None) => choice,
            (None, Some(make)) => {
                let body = json!({"packageId": make.package_id, "action": make.action}).to_string();
                let made = self.create_grain(who, &body).await?;
                format!("grain:{}", made["id"].as_str().unwrap_or_default())
            }
            _ => return Err(Problem::BadRequest("choose one thing".to_owned())),
        };
        match chosen.split_once(':') {
            Some(("grain", grain)) => {
                let grain: GrainId = grain.parse().map_err(|_| Problem::NotFound)?;
                self.choose_grain(who, &asked, &grain, role).await
            }
            Some(("from", grain)) => {
                let grain: GrainId = grain.parse().map_err(|_| Problem::NotFound)?;
                self.ask_provider(who, &asked, &grain)
            }
            Some(("person", person)) => {
                let person: AccountId = person.parse().map_err(|_| Problem::NotFound)?;
                self.choose_person(&asked, &person).await
            }
            _ => {
                let website = request.website.unwrap_or_default();
                let Chosen {
                    what,
                    requirements,
                    descriptor,
                } = self.choose_outside(who, &asked, &chosen, website)?;
                let token = self.fresh(what, requirements);
                self.answer_with(&asked, token, &descriptor).await
            }
        }
    }

    /// Hands over a whole grain, as far as the person may and wants.
    async fn choose_grain(
        self: &Rc<Self>,
        who: &SignedIn,
        asked: &Asked,
        grain: &GrainId,
        role: RoleWish,
    ) -> Result<Value, Problem> {
        if matches(&asked.query, &[bare(UI_VIEW)]).is_none() {
            return Err(Problem::NotFound);
        }
        let access = self.own_access(who, grain)?;
        if !access.may_share {
            return Err(Problem::MayNotShare);
        }
        let holder = Holder::Person(who.account.clone());
        let record: Grain = self.read(grain_key(grain))?.ok_or(Problem::NotFound)?;
        let token = self.fresh(
            Referent::View {
                grain: grain.clone(),
                holder: holder.clone(),
                role: role.assignment()?,
            },
            vec![Requirement::PermissionsHeld {
                grain: grain.clone(),
                holder,
                permissions: PermissionSet::default(),
            }],
        );
        let mut message = Message::new_default();
        let mut tag = message
            .init_root::<powerbox_descriptor::Builder<'_>>()
            .init_tags(1)
            .get(0);
        tag.set_id(UI_VIEW);
        let mut value: ui_view::powerbox_tag::Builder<'_> = tag.init_value().init_as();
        value.set_title(&record.title);
        self.answer_with(asked, token, &message).await
    }

    async fn choose_person(self: &Rc<Self>, asked: &Asked, person: &AccountId) -> Result<Value, Problem> {
        if matches(&asked.query, &[bare(IDENTITY)]).is_none() || self.name_of(person).is_none() {
            return Err(Problem::NotFound);
        }
        let token = self.fresh(
            Referent::Identity {
                account: person.clone(),
            },
            Vec::new(),
        );
        let mut message = Message::new_default();
        let tags = message
            .init_root::<powerbox_descriptor::Builder<'_>>()
            .init_tags(1);
        tags.get(0).set_id(IDENTITY);
        self.answer_with(asked, token, &message).await
    }

    fn fresh(&self, what: Referent, requirements: Vec<Requirement>) -> Token {
        Token {
            what,
            seal: Sealed::Answer(String::new()),
            label: String::new(),
            created: self.outside.now(),
            expires: None,
            requirements,
            parent: None,
            by: None,
        }
    }

    async fn answer_with(
        self: &Rc<Self>,
        asked: &Asked,
        token: Token,
        message: &Message,
    ) -> Result<Value, Problem> {
        let provided = message.get_root_as_reader();
        let provided = provided.map_err(|error| Problem::internal("write a descriptor", &error))?;
        self.answer_request(asked, token, provided).await
    }

    /// Lets another grain ask further, on a page of its own.
    fn ask_provider(
        self: &Rc<Self>,
        who: &SignedIn,
        asked: &Asked,
        grain: &GrainId,
    ) -> Result<Value, Problem> {
        self.own_access(who, grain)?;
        if matches(&asked.query, &self.view_of(grain).match_requests).is_none() {
            return Err(Problem::NotFound);
        }
        let purpose = Purpose::Provide(asked.id.clone());
        let (opened, visit) = self.open_page(Visitor::person(who), grain, None, purpose)?;
        asked.providing.set(Some(visit.id));
        Ok(json!({"open": opened, "grain": grain}))
    }
}
