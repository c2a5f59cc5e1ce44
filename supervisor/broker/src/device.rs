//! Programs that come by a token of their own: device passwords, and what an app's page explains how to connect.

use std::rc::Rc;

use percloud_core::id::{GrainId, ShareId};
use percloud_core::sharing::revoke::Removal;
use percloud_core::sharing::share::{Acceptance, Holder, LABEL_LIMIT, Recipient, Share};
use percloud_core::time::Timestamp;
use percloud_store::Batch;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::account::{SignedIn, parse};
use crate::broker::Broker;
use crate::problem::Problem;
use crate::record::{About, ApiHost, ApiResource, Device};
use crate::sharing::{RoleWish, role_json};
use crate::token::TokenText;
use crate::visit::{Opened, Purpose, Visit, Visitor};

/// How long the token of a template waits to be used, in seconds (sheet 5.6).
const TEMPLATE_LIFE: u64 = 5 * 60;
/// Longest template, in bytes.
const TEMPLATE: usize = 16 << 10;
/// Longest description of what is served without a token, in bytes of JSON (sheet 5.6).
const UNAUTHENTICATED: usize = 3500;
/// Devices one person may have on a grain.
const DEVICES: usize = 200;

/// A call with a token, as the edge sees it.
pub(crate) struct Call {
    pub host: String,
    pub token: String,
    pub agent: String,
    pub remote_address: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewDevice {
    label: String,
    #[serde(default)]
    role: Option<RoleWish>,
    #[serde(default)]
    expires: Option<Timestamp>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Template {
    template: String,
    #[serde(default)]
    label: Option<String>,
    #[serde(default)]
    role: Option<RoleWish>,
    #[serde(default)]
    for_sharing: bool,
    #[serde(default)]
    unauthenticated: Option<Value>,
    #[serde(default)]
    client_app: Option<String>,
}

#[derive(Deserialize, Default)]
struct Unauthenticated {
    #[serde(default)]
    options: Options,
    #[serde(default)]
    resources: std::collections::BTreeMap<String, ApiResource>,
}

#[derive(Deserialize, Default)]
struct Options {
    #[serde(default)]
    dav: Vec<String>,
}

impl Broker {
    /// The devices a person has on a grain; for its owner everybody's.
    pub(crate) async fn devices(&self, who: &SignedIn, id: &GrainId) -> Result<Value, Problem> {
        let access = self.own_access(who, id)?;
        let mut shares: Vec<Share> = self.ledger.borrow().shares_of(id).cloned().collect();
        shares.sort_by_key(|share| std::cmp::Reverse(share.created));
        let devices: Vec<Value> = shares
            .iter()
            .filter(|share| share.from == Holder::Person(who.account.clone()) || access.is_owner)
            .filter_map(|share| self.device_json(who, share, &self.about(&share.id)))
            .collect();
        Ok(json!({"devices": devices}))
    }

    fn device_json(&self, who: &SignedIn, share: &Share, about: &About) -> Option<Value> {
        let device = about.device.as_ref()?;
        let person = self.person_behind(&share.from)?;
        Some(json!({
            "id": share.id,
            "label": share.label,
            "role": role_json(&share.role),
            "can": self.view_of(&share.grain).can(&share.role),
            "kind": if device.by_app { "app" } else { "password" },
            "who": self.name_of(&person),
            "mine": person == who.account,
            "created": share.created,
            "lastUsed": about.last_used,
            "lastAgent": device.last_agent,
            "expires": share.expires.or(device.unused_until),
        }))
    }

    /// Makes a password for a program.
    pub(crate) async fn add_device(
        self: &Rc<Self>,
        who: &SignedIn,
        id: &GrainId,
        body: &str,
    ) -> Result<Value, Problem> {
        let request: NewDevice = parse(body)?;
        let label = request.label.trim();
        if label.is_empty() {
            return Err(Problem::BadRequest("say what the password is for".to_owned()));
        }
        let role = request.role.unwrap_or(RoleWish::ALL);
        let device = Device::default();
        let (share, secret) = self
            .add_program(who, id, label, role, request.expires, device, ApiHost::default())
            .await?;
        let about = self.about(&share.id);
        let user = self
            .accounts
            .borrow()
            .get(&who.account)
            .map(|account| account.handle.clone());
        Ok(json!({
            "device": self.device_json(who, &share, &about),
            "password": secret.expose(),
            "user": user,
            "url": format!("{}/", self.api_origin(&secret)),
        }))
    }

    fn api_origin(&self, secret: &TokenText) -> String {
        let (scheme, shell) = &self.config.base;
        format!("{scheme}://{}.{shell}", secret.host())
    }

    #[allow(clippy::too_many_arguments, reason = "one share, put together in one place")]
    async fn add_program(
        self: &Rc<Self>,
        who: &SignedIn,
        id: &GrainId,
        label: &str,
        role: RoleWish,
        expires: Option<Timestamp>,
        mut device: Device,
        mut host: ApiHost,
    ) -> Result<(Share, TokenText), Problem> {
        let now = self.outside.now();
        if expires.is_some_and(|expires| expires <= now) {
            return Err(Problem::BadRequest("the end is in the past".to_owned()));
        }
        let mine = Holder::Person(who.account.clone());
        let count = {
            let ledger = self.ledger.borrow();
            let mine = ledger.shares_of(id).filter(|share| share.from == mine);
            mine.filter(|share| self.about(&share.id).device.is_some())
                .count()
        };
        if count >= DEVICES {
            return Err(Problem::BadRequest(
                "there are too many passwords; remove some".to_owned(),
            ));
        }
        let secret = TokenText::new(&self.outside);
        device.host = secret.host();
        let share = Share {
            id: ShareId::new(|bytes| (self.outside.random)(bytes)),
            grain: id.clone(),
            from: mine,
            to: Recipient::Link,
            role: role.assignment()?,
            limits: Vec::new(),
            may_reshare: false,
            expires,
            created: now,
            label: Some(
                label
                    .chars()
                    .filter(|letter| !letter.is_control())
                    .take(LABEL_LIMIT)
                    .collect(),
            ),
            requirements: Vec::new(),
            accepted: Acceptance::Accepted,
        };
        if !host.dav.is_empty() || !host.resources.is_empty() {
            host.share = Some(share.id.clone());
            let mut batch = Batch::new();
            batch.put(device.host.as_bytes(), &host);
            self.commit(batch).await?;
        }
        self.mind_time(device.unused_until);
        let about = About {
            secret: Some(secret.hash()),
            device: Some(device),
            ..About::default()
        };
        self.add_share(who, share.clone(), about).await?;
        Ok((share, secret))
    }

    /// Takes a program's token away.
    pub(crate) async fn remove_device(
        self: &Rc<Self>,
        who: &SignedIn,
        id: &GrainId,
        device: &str,
    ) -> Result<(), Problem> {
        let share_id: ShareId = device.parse().map_err(|_| Problem::NotFound)?;
        let access = self.own_access(who, id)?;
        {
            let _turn = self.sharing_turn.lock().await;
            let (share, about) = self.way(&share_id).ok_or(Problem::NotFound)?;
            let known = about.device.as_ref().ok_or(Problem::NotFound)?;
            if share.grain != *id || !self.may_change(who, &access, &share) {
                return Err(Problem::NotFound);
            }
            let host = known.host.clone();
            self.remove_way(Some(&who.account), &share, Removal::Branch)
                .await?;
            let mut batch = Batch::new();
            batch.delete::<ApiHost>(host.as_bytes());
            self.commit(batch).await?;
        }
        self.tell_sharing(id);
        Ok(())
    }

    /// Makes a token for a program that a page of the app explains how to connect, and fills the explanation.
    pub(crate) async fn offer_template(
        self: &Rc<Self>,
        who: &SignedIn,
        id: &GrainId,
        body: &str,
    ) -> Result<Value, Problem> {
        let request: Template = parse(body)?;
        if request.template.len() > TEMPLATE {
            return Err(Problem::BadRequest("the template is too long".to_owned()));
        }
        let host = match request.unauthenticated {
            None | Some(Value::Null) => ApiHost::default(),
            Some(value) => {
                if value.to_string().len() > UNAUTHENTICATED {
                    return Err(Problem::BadRequest(
                        "too much is to be served without a token".to_owned(),
                    ));
                }
                let read: Unauthenticated = serde_json::from_value(value)
                    .map_err(|error| Problem::BadRequest(format!("the request cannot be read: {error}")))?;
                ApiHost {
                    share: None,
                    dav: read.options.dav,
                    resources: read.resources,
                }
            }
        };
        let scheme = request.client_app;
        if scheme.as_ref().is_some_and(|scheme| {
            scheme.is_empty()
                || scheme.len() > 40
                || !scheme
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
        }) {
            return Err(Problem::BadRequest(
                "that is not the name of a program".to_owned(),
            ));
        }
        let title = self.reachable(who, id)?.title;
        let device = Device {
            by_app: true,
            anonymous: request.for_sharing,
            unused_until: Some(self.outside.now().plus_seconds(TEMPLATE_LIFE)),
            ..Device::default()
        };
        let label = request
            .label
            .unwrap_or_else(|| "connected external app".to_owned());
        let role = request.role.unwrap_or(RoleWish::ALL);
        let (share, secret) = self
            .add_program(who, id, &label, role, None, device, host)
            .await?;
        let (protocol, shell) = &self.config.base;
        let api_host = format!("{}.{shell}", secret.host());
        let text = request
            .template
            .replace("$API_TOKEN", secret.expose())
            .replace("$API_HOST", &api_host)
            .replace("$GRAIN_TITLE_SLUG", &slug(&title));
        let link =
            scheme.map(|scheme| format!("clientapp-{scheme}:{protocol}://{api_host}#{}", secret.expose()));
        Ok(json!({
            "device": share.id,
            "token": secret.expose(),
            "host": api_host,
            "text": text,
            "link": link,
        }))
    }

    /// Lets a program in, if its token stands and belongs to the host it came to.
    pub(crate) async fn api_session(self: &Rc<Self>, call: Call) -> Option<Result<Opened, Problem>> {
        let token = TokenText::parse(&call.token)?;
        let (share, about) = self.link_behind(&token)?;
        let device = about.device.as_ref()?;
        if call.host != "api" && call.host != device.host {
            return None;
        }
        let now = self.outside.now();
        if device.unused_until.is_some_and(|until| until <= now) {
            return None;
        }
        let holder = Holder::Link(share.id.clone());
        self.access(&share.grain, &holder)?;
        if let Err(problem) = self.note_use(&share, &about, &call.agent).await {
            return Some(Err(problem));
        }
        let visitor = Visitor {
            holder: holder.clone(),
            person: if device.anonymous {
                None
            } else {
                self.person_behind(&share.from)
            },
            shell: None,
        };
        let remote = call.remote_address.parse().ok();
        let visit = self.program_visit(&share.grain, visitor, Purpose::Program { remote });
        let admitted = self.admit(&visit).await;
        if !self.is_visiting(&visit.id) {
            self.end_sessions(vec![(visit.grain.clone(), visit.id)]).await;
            return None;
        }
        if admitted.is_err() && visit.doors.get() == 0 {
            self.visits.borrow_mut().remove(&visit.id);
        }
        Some(admitted)
    }

    /// The visit of a program that is here already, or a new one.
    fn program_visit(&self, grain: &GrainId, visitor: Visitor, purpose: Purpose) -> Rc<Visit> {
        let known = {
            let visits = self.visits.borrow();
            let mut same = visits.values().filter(|visit| {
                visit.grain == *grain && visit.visitor.holder == visitor.holder && visit.purpose == purpose
            });
            same.next().cloned()
        };
        known.unwrap_or_else(|| self.begin_visit(grain, visitor, purpose))
    }

    /// Notes that a program came; from now on its token lives for good.
    async fn note_use(&self, share: &Share, about: &About, agent: &str) -> Result<(), Problem> {
        let now = self.outside.now();
        let recent = about
            .last_used
            .is_some_and(|last| now < last.plus_seconds(60 * 60));
        let waits = about
            .device
            .as_ref()
            .is_some_and(|device| device.unused_until.is_some());
        if recent && !waits {
            return Ok(());
        }
        let agent: String = agent
            .chars()
            .filter(|letter| !letter.is_control())
            .take(120)
            .collect();
        self.change_about(&share.id, |about| {
            about.last_used = Some(now);
            if let Some(device) = &mut about.device {
                device.unused_until = None;
                device.last_agent = (!agent.is_empty()).then_some(agent);
            }
        })
        .await
    }

    /// Lets a token that dies unused live on a while.
    pub(crate) async fn keep_api_token(self: &Rc<Self>, token: &str, milliseconds: u32) -> bool {
        let found = TokenText::parse(token).and_then(|token| self.link_behind(&token));
        let Some((share, Some(device))) = found.map(|(share, about)| (share, about.device)) else {
            return false;
        };
        let longest = u64::from(milliseconds / 1000).min(TEMPLATE_LIFE);
        let longer = self.outside.now().plus_seconds(longest);
        if device.unused_until.is_none_or(|until| longer <= until) {
            return true;
        }
        let kept = self.change_about(&share.id, |about| {
            // It may have been used meanwhile, and lives for good.
            if let Some(until) = about
                .device
                .as_mut()
                .and_then(|device| device.unused_until.as_mut())
            {
                *until = longer.max(*until);
            }
        });
        kept.await.is_ok()
    }

    /// What a token-specific host tells those without a token.
    pub(crate) fn api_host(&self, host: &str) -> Option<ApiHost> {
        let known: ApiHost = self.read(host.as_bytes()).ok()??;
        let share = known.share.as_ref()?;
        let (share, _) = self.way(share)?;
        self.access(&share.grain, &share.holder())?;
        Some(known)
    }

    /// Removes tokens nobody used in time.
    pub(crate) async fn forget_unused_programs(self: &Rc<Self>) {
        let now = self.outside.now();
        let late: Vec<ShareId> = {
            let abouts = self.abouts.borrow();
            let late = abouts.iter().filter(|(_, about)| {
                let until = about.device.as_ref().and_then(|device| device.unused_until);
                until.is_some_and(|until| until <= now)
            });
            late.map(|(id, _)| id.clone()).collect()
        };
        for id in late {
            let _turn = self.sharing_turn.lock().await;
            let Some((share, about)) = self.way(&id) else {
                continue;
            };
            let host = about.device.map(|device| device.host).unwrap_or_default();
            if self.remove_way(None, &share, Removal::Branch).await.is_ok() {
                let mut batch = Batch::new();
                batch.delete::<ApiHost>(host.as_bytes());
                let _ = self.commit(batch).await;
            }
        }
    }
}

/// A title as part of an address (sheet 5.6).
fn slug(title: &str) -> String {
    let lower = title.trim().to_lowercase();
    let mut slug = String::with_capacity(lower.len());
    for letter in lower.chars() {
        if letter.is_whitespace() || letter == '-' {
            if !slug.ends_with('-') {
                slug.push('-');
            }
        } else if letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_' {
            slug.push(letter);
        }
    }
    slug.trim_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::slug;

    #[test]
    fn titles_become_parts_of_addresses() {
        for (title, expected) in [
            ("  My Great Repo! ", "my-great-repo"),
            ("a -- b", "a-b"),
            ("Über uns", "ber-uns"),
            ("--", ""),
        ] {
            assert_eq!(slug(title), expected, "{title}");
        }
    }
}
