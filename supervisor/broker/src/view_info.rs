//! What a grain's app says of itself: its permissions and roles, what it offers in the powerbox.
//!
//! Asked of the running app and kept beside the grain, so that a sleeping grain can be shared, too. Nothing here is
//! authority: it says what roles mean, never who has them.

mod recent;

use std::rc::Rc;

use percloud_core::id::GrainId;
use percloud_core::powerbox::Descriptor;
use percloud_core::sharing::permission::{PERMISSION_LIMIT, PermissionSet};
use percloud_core::sharing::role::{Role, RoleAssignment, RoleDef, View};
use percloud_schemas::activity_capnp::activity_type_def::required_permission;
use percloud_schemas::grain_capnp::ui_view;
use percloud_schemas::util_capnp::localized_text;
use serde::{Deserialize, Serialize};

use crate::broker::Broker;
use crate::descriptor;
use crate::problem::Problem;
use crate::running::Running;
use crate::visit::Changed;

pub(crate) use self::recent::Recent;

/// Roles kept of an app.
const ROLES: usize = 256;
/// Kinds of events kept of an app.
const EVENTS: usize = 256;
/// Longest text kept, in characters.
const TEXT: usize = 300;
/// Text kept of one app, in bytes: whatever has roles and events for people has fewer words for them.
const WORDS: usize = 64 << 10;
/// Longest description kept on disk, in bytes.
const FILE: u64 = 1 << 20;

/// What an app says of itself, as far as the platform keeps it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Described {
    /// What the rules of sharing need.
    pub rules: View,
    /// The roles, in the same order.
    pub roles: Vec<RoleText>,
    /// Names of the permissions, in order.
    pub permissions: Vec<String>,
    /// What it can provide when others ask.
    #[serde(default)]
    pub match_requests: Vec<Descriptor>,
    /// What can happen in it.
    #[serde(default)]
    pub events: Vec<EventType>,
}

/// A kind of event an app defines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EventType {
    /// "edited the page"
    pub verb: String,
    pub needed: Needed,
    pub notify_subscribers: bool,
    pub suppress_unread: bool,
    /// Whoever does it follows the thread, or all of the grain, from then on.
    pub follow_thread: bool,
    pub follow_grain: bool,
}

/// Who may hear of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Needed {
    /// Everybody with access.
    Nothing,
    /// Those who hold a permission.
    Permission(u16),
    /// Those the event names as allowed.
    Named,
}

/// How an app calls one of its roles.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RoleText {
    pub title: String,
    /// "can edit"
    pub verb: String,
    pub description: String,
    /// Not given any more; still what it was for those who have it.
    pub obsolete: bool,
}

impl Described {
    /// What somebody with a role can do, in the app's words where it has some.
    pub(crate) fn can(&self, assignment: &RoleAssignment) -> String {
        let named = |index: usize| {
            let role = self.roles.get(index)?;
            let words = [&role.verb, &role.title]
                .into_iter()
                .find(|words| !words.is_empty());
            words.cloned()
        };
        let plain = "can open it".to_owned();
        match assignment.role {
            Role::All if self.rules.permissions == 0 => "can use it".to_owned(),
            Role::All => "can do everything".to_owned(),
            Role::Index(index) => named(usize::from(index)).unwrap_or(plain),
            Role::Default => {
                let default = self.rules.roles.iter().position(|role| role.is_default);
                default.and_then(named).unwrap_or(plain)
            }
        }
    }

    /// What somebody with these permissions can do: the words of the role that fits best.
    pub(crate) fn can_with(&self, permissions: &PermissionSet) -> String {
        let fitting = (0..)
            .zip(&self.rules.roles)
            .filter(|(_, role)| permissions.covers(&role.permissions));
        let best = fitting.max_by_key(|(index, role)| (role.permissions.len(), std::cmp::Reverse(*index)));
        match best {
            // An app's own words for all of it are better than ours.
            Some((_, role)) if *permissions == self.rules.all() && role.permissions != *permissions => {
                self.can(&Role::All.into())
            }
            Some((index, _)) => self.can(&Role::Index(index).into()),
            None if *permissions == self.rules.all() && !permissions.is_empty() => {
                self.can(&Role::All.into())
            }
            None => self.can(&RoleAssignment::default()),
        }
    }
}

impl Broker {
    /// What the app of a grain last said of itself; nothing if it never ran.
    pub(crate) fn view_of(&self, id: &GrainId) -> Rc<Described> {
        if let Some(known) = self.said(id).or_else(|| self.views.borrow_mut().get(id)) {
            return known;
        }
        let file = self.config.layout.grain(id).join("view.json");
        let described: Rc<Described> = Rc::new(read(&file).unwrap_or_default());
        self.views.borrow_mut().put(id.clone(), described.clone());
        described
    }

    /// What the app of a running grain said, if it was asked; also where that could not be kept on disk.
    fn said(&self, id: &GrainId) -> Option<Rc<Described>> {
        let running = self.slots.borrow().get(id)?.running()?;
        running.view.get().cloned()
    }

    /// Asks a running app what it says of itself, once in its life, and keeps the answer. Sessions that mean something
    /// else now end.
    pub(crate) async fn learn_view(
        self: &Rc<Self>,
        id: &GrainId,
        running: &Rc<Running>,
    ) -> Result<Rc<Described>, Problem> {
        let described = running.view.get_or_try_init(|| async {
            let answer = running.host.view_info_request().send().promise.await;
            let answer = answer.map_err(|error| {
                tracing::info!(grain = %id, "an app does not say what it is: {error}");
                Problem::GrainFailed("the app stopped while it was being opened".to_owned())
            })?;
            let described = answer.get().and_then(|answer| describe(answer.get_info()?));
            let described = Rc::new(
                described.map_err(|error| Problem::internal("read what an app says of itself", &error))?,
            );
            let changed = *self.view_of(id) != *described;
            if changed {
                self.views.borrow_mut().put(id.clone(), described.clone());
                let folder = self.config.layout.grain(id);
                let text = serde_json::to_vec(&*described).expect("plain data is JSON");
                let kept = tokio::task::spawn_blocking(move || keep(&folder, &text)).await;
                if let Ok(Err(error)) = kept {
                    // Asked again at the next start.
                    tracing::warn!(grain = %id, "cannot keep what an app says of itself: {error}");
                }
                let (broker, changed) = (self.clone(), Changed::Grains([id.clone()].into()));
                tokio::task::spawn_local(async move { broker.enforce(&changed).await });
            }
            Ok::<_, Problem>(described)
        });
        described.await.cloned()
    }
}

fn read(file: &std::path::Path) -> Option<Described> {
    use std::io::Read;
    let mut text = Vec::new();
    std::fs::File::open(file)
        .ok()?
        .take(FILE)
        .read_to_end(&mut text)
        .ok()?;
    serde_json::from_slice(&text).ok()
}

fn keep(folder: &std::path::Path, text: &[u8]) -> std::io::Result<()> {
    let (new, place) = (folder.join("view.json.new"), folder.join("view.json"));
    std::fs::write(&new, text)?;
    std::fs::rename(&new, &place)
}

fn describe(info: ui_view::view_info::Reader<'_>) -> capnp::Result<Described> {
    let mut words = Words(WORDS);
    let permissions = info.get_permissions()?;
    let roles = info.get_roles()?;
    let mut described = Described {
        rules: View {
            permissions: (permissions.len() as usize).min(PERMISSION_LIMIT),
            roles: Vec::new(),
        },
        ..Described::default()
    };
    for event in info.get_event_types()?.iter().take(EVENTS) {
        described.events.push(EventType {
            verb: words.text(event.get_verb_phrase()?)?,
            needed: match event.get_required_permission().which()? {
                required_permission::Everyone(()) => Needed::Nothing,
                required_permission::PermissionIndex(index) => Needed::Permission(index),
                required_permission::ExplicitList(()) => Needed::Named,
            },
            notify_subscribers: event.get_notify_subscribers(),
            suppress_unread: event.get_suppress_unread(),
            follow_thread: event.get_auto_subscribe_to_thread(),
            follow_grain: event.get_auto_subscribe_to_grain(),
        });
    }
    // What it offers is its own affair: if that cannot be read, it offers nothing.
    described.match_requests = descriptor::read(info.get_match_requests()?).unwrap_or_default();
    for permission in permissions.iter().take(PERMISSION_LIMIT) {
        let name = permission.get_name()?.to_str()?.chars();
        described.permissions.push(words.keep(name));
    }
    for role in roles.iter().take(ROLES) {
        // A list longer than any app's may be is an app's mistake; it means nothing rather than something else.
        let held = PermissionSet::from_bools(role.get_permissions()?.iter()).unwrap_or_default();
        described.rules.roles.push(RoleDef {
            permissions: held,
            is_default: role.get_default(),
        });
        described.roles.push(RoleText {
            title: words.text(role.get_title()?)?,
            verb: words.text(role.get_verb_phrase()?)?,
            description: words.text(role.get_description()?)?,
            obsolete: role.get_obsolete(),
        });
    }
    Ok(described)
}

/// How many bytes of text are kept yet. What is beyond is left out, as if the app had no words for it; what its roles mean
/// does not depend on them.
struct Words(usize);

impl Words {
    fn text(&mut self, words: localized_text::Reader<'_>) -> capnp::Result<String> {
        let words = words.get_default_text()?.to_str()?;
        Ok(self.keep(words.chars().filter(|letter| !letter.is_control())))
    }

    fn keep(&mut self, letters: impl Iterator<Item = char>) -> String {
        let text: String = letters.take(TEXT).collect();
        match self.0.checked_sub(text.len()) {
            Some(left) => {
                self.0 = left;
                text
            }
            None => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words_of(events: u32, length: usize) -> (Described, usize) {
        let mut message = capnp::message::Builder::new_default();
        let info: ui_view::view_info::Builder<'_> = message.init_root();
        let mut kinds = info.init_event_types(events);
        let verb = "x".repeat(length);
        for index in 0..events {
            let kind = kinds.reborrow().get(index);
            kind.init_verb_phrase().set_default_text(&verb);
        }
        let described = describe(message.get_root_as_reader().unwrap()).unwrap();
        let words = described.events.iter().map(|event| event.verb.len()).sum();
        (described, words)
    }

    #[test]
    fn an_app_that_says_much_is_kept_in_part() {
        let (described, words) = words_of(256, 10_000);
        assert_eq!(described.events.len(), 256, "its events are all there");
        assert!(words <= WORDS && words > WORDS / 2, "{words}");
    }

    #[test]
    fn an_app_that_says_as_much_as_others_is_kept_whole() {
        let (described, words) = words_of(100, 40);
        assert_eq!((described.events.len(), words), (100, 4000));
    }
}
