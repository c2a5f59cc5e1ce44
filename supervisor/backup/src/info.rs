//! What a backup says of its grain: the entry `metadata`, a Cap'n Proto message with the root `GrainInfo`.

use capnp::message::{Builder, ReaderOptions};
use capnp::serialize;
use percloud_schemas::grain_capnp::grain_info;
use percloud_schemas::identity_capnp::profile;
use serde::{Deserialize, Serialize};

use crate::error::Refusal;

/// Largest entry `metadata` that is read, in bytes.
pub(crate) const SIZE: u64 = 1 << 20;
/// Most people a backup may name, and most ways to sign in of each.
const USERS: u32 = 10_000;
const CREDENTIALS: u32 = 100;

/// What a backup says of the grain it was taken of. Read from a file somebody uploaded, every field is a claim.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GrainInfo {
    /// The app, in 52 characters. A backup with none cannot be restored.
    pub app_id: String,
    /// The version of the app that wrote the storage.
    pub app_version: u32,
    /// What the grain was called.
    pub title: String,
    /// How the app knows the grain's owner, in hex. Empty in old backups.
    pub owner_identity_id: String,
    /// Others the app knows. Empty in old backups.
    pub users: Vec<User>,
    /// Where the backup was taken. Sandstorm leaves it empty.
    pub original_grain_id: String,
}

/// Somebody the app knows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct User {
    /// As the app knows them, in hex.
    pub identity_id: String,
    /// Hashes of the ways they sign in, in hex.
    pub credential_ids: Vec<String>,
    /// What they chose to show.
    pub profile: Option<Profile>,
}

/// What a person chose to show, without the picture.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Profile {
    /// Their name.
    pub display_name: String,
    /// The short name they would like.
    pub preferred_handle: String,
    /// How to refer to them.
    pub pronouns: Pronouns,
}

/// How to refer to a person in a sentence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "the words themselves")]
pub enum Pronouns {
    #[default]
    Neutral,
    Male,
    Female,
    Robot,
}

impl GrainInfo {
    /// The message as it stands in the archive: not packed, with its segment table.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut message = Builder::new_default();
        let mut info: grain_info::Builder<'_> = message.init_root();
        info.set_app_id(self.app_id.as_str());
        info.set_app_version(self.app_version);
        info.set_title(self.title.as_str());
        if !self.owner_identity_id.is_empty() {
            info.set_owner_identity_id(self.owner_identity_id.as_str());
        }
        if !self.original_grain_id.is_empty() {
            info.set_original_grain_id(self.original_grain_id.as_str());
        }
        let mut users = info.init_users(self.users.len() as u32);
        for (index, user) in self.users.iter().enumerate() {
            user.encode(users.reborrow().get(index as u32));
        }
        serialize::write_message_to_words(&message)
    }

    /// Reads a message made by anybody.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Refusal> {
        let mut options = ReaderOptions::new();
        // Each word once, and no more: lists of nothing and pointers to the same thing count.
        options.traversal_limit_in_words(Some(2 * SIZE as usize / 8));
        options.nesting_limit(16);
        let mut rest = bytes;
        let message = serialize::read_message_from_flat_slice(&mut rest, options).map_err(not_understood)?;
        let info: grain_info::Reader<'_> = message.get_root().map_err(not_understood)?;
        let text = |text: Result<capnp::text::Reader<'_>, capnp::Error>| read_text(text);
        let users = info.get_users().map_err(not_understood)?;
        if users.len() > USERS {
            return Err(Refusal::Metadata(format!("it names more than {USERS} people")));
        }
        Ok(Self {
            app_id: text(info.get_app_id())?,
            app_version: info.get_app_version(),
            title: text(info.get_title())?,
            owner_identity_id: text(info.get_owner_identity_id())?,
            users: users.iter().map(User::decode).collect::<Result<_, _>>()?,
            original_grain_id: text(info.get_original_grain_id())?,
        })
    }
}

impl User {
    fn encode(&self, mut user: grain_info::user::Builder<'_>) {
        user.set_identity_id(self.identity_id.as_str());
        let mut credentials = user
            .reborrow()
            .init_credential_ids(self.credential_ids.len() as u32);
        for (index, credential) in self.credential_ids.iter().enumerate() {
            credentials.set(index as u32, credential.as_str());
        }
        if let Some(profile) = &self.profile {
            let mut to = user.init_profile();
            to.set_preferred_handle(profile.preferred_handle.as_str());
            to.set_pronouns(match profile.pronouns {
                Pronouns::Neutral => profile::Pronouns::Neutral,
                Pronouns::Male => profile::Pronouns::Male,
                Pronouns::Female => profile::Pronouns::Female,
                Pronouns::Robot => profile::Pronouns::Robot,
            });
            to.init_display_name()
                .set_default_text(profile.display_name.as_str());
        }
    }

    fn decode(user: grain_info::user::Reader<'_>) -> Result<Self, Refusal> {
        let credentials = user.get_credential_ids().map_err(not_understood)?;
        if credentials.len() > CREDENTIALS {
            let why = format!("somebody signs in in more than {CREDENTIALS} ways");
            return Err(Refusal::Metadata(why));
        }
        let profile = user.has_profile().then(|| -> Result<Profile, Refusal> {
            let profile = user.get_profile().map_err(not_understood)?;
            let name = profile.get_display_name().map_err(not_understood)?;
            Ok(Profile {
                display_name: read_text(name.get_default_text())?,
                preferred_handle: read_text(profile.get_preferred_handle())?,
                // A word of a later schema is nobody's pronoun here.
                pronouns: match profile.get_pronouns() {
                    Ok(profile::Pronouns::Male) => Pronouns::Male,
                    Ok(profile::Pronouns::Female) => Pronouns::Female,
                    Ok(profile::Pronouns::Robot) => Pronouns::Robot,
                    Ok(profile::Pronouns::Neutral) | Err(_) => Pronouns::Neutral,
                },
            })
        });
        Ok(Self {
            identity_id: read_text(user.get_identity_id())?,
            credential_ids: credentials.iter().map(read_text).collect::<Result<_, _>>()?,
            profile: profile.transpose()?,
        })
    }
}

fn read_text(text: Result<capnp::text::Reader<'_>, capnp::Error>) -> Result<String, Refusal> {
    let text = text.map_err(not_understood)?;
    let text = text
        .to_str()
        .map_err(|_| Refusal::Metadata("a text is not UTF-8".to_owned()))?;
    Ok(text.to_owned())
}

fn not_understood(error: capnp::Error) -> Refusal {
    Refusal::Metadata(error.to_string().chars().take(200).collect())
}
