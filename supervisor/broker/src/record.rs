//! What the store keeps, one shape per table. Keys are ids or hashes; nothing is keyed by name.

use std::collections::BTreeMap;

use percloud_core::id::{AccountId, GrainId, ShareId};
use percloud_core::sharing::requirement::{Requirement, TokenHash};
use percloud_core::sharing::role::RoleAssignment;
use percloud_core::sharing::share::{Ceiling, Share};
use percloud_core::time::Timestamp;
use percloud_core::web_address::WebAddress;
use percloud_store::Record;
use serde::{Deserialize, Serialize};

use crate::limits::{Limit, OwnLimits};
use crate::outlet::Credential;
use crate::problem::Problem;

macro_rules! table {
    ($record:ty, $name:literal) => {
        impl Record for $record {
            const TABLE: &'static str = $name;
            const VERSION: u8 = 1;
        }
    };
}

/// A person. Key: the account id.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Account {
    pub name: String,
    pub handle: String,
    /// argon2id in the PHC string form.
    pub password: String,
    pub role: AccountRole,
    pub created: Timestamp,
}
table!(Account, "account");

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum AccountRole {
    /// Made with the setup secret; runs the server.
    Owner,
    /// Came by an invitation.
    Member,
}

/// A signed-in browser. Key: the hash of its cookie.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ShellSession {
    pub account: AccountId,
    pub created: Timestamp,
    pub expires: Timestamp,
}
table!(ShellSession, "shell-session");

/// An unpacked package. Key: the package id. What it says of itself is in `info.json` beside its tree.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Package {
    pub app_id: String,
    pub app_version: u32,
    pub title: String,
    pub marketing_version: String,
    /// Address of the icon its grains have.
    pub icon: Option<String>,
    pub installed: Timestamp,
}
table!(Package, "package");

/// An app somebody has. Key: account id, `/`, app id.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct App {
    pub package_id: String,
    pub installed: Timestamp,
}
table!(App, "app");

/// A grain. Key: the grain id.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Grain {
    pub owner: AccountId,
    pub app_id: String,
    pub package_id: String,
    /// Which of the package's actions made it.
    pub action: u32,
    pub title: String,
    pub noun: String,
    pub created: Timestamp,
    pub last_used: Timestamp,
    /// Bytes on disk when it last ran.
    pub size: Option<u64>,
    /// Set once the app has run: from then on it is continued, not begun.
    pub begun: bool,
    pub trashed: Option<Timestamp>,
    /// The owner allowed this app the older, looser page policy.
    pub relaxed_policy: bool,
    /// Under which its `/var/www` is published, once the app asked for that.
    #[serde(default)]
    pub public_id: Option<String>,
    /// Files and folders when it last ran.
    #[serde(default)]
    pub files: Option<u64>,
    /// What it may take, where that is not the usual.
    #[serde(default)]
    pub limits: OwnLimits,
}
table!(Grain, "grain");

/// A grain met a limit, and its owner was told. Key: the grain id, `/`, the limit.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct LimitMet {
    pub time: Timestamp,
}
table!(LimitMet, "limit-met");

/// Finds a published grain. Key: its public id.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Site {
    pub grain: GrainId,
}
table!(Site, "site");

/// A way into a grain: the share itself, and what the rules need not know. Key: the share id.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Way {
    pub share: Share,
    #[serde(default)]
    pub about: About,
}
table!(Way, "way");

/// What is kept of a way beside the share.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct About {
    /// What the giver wanted to say with it.
    #[serde(default)]
    pub note: Option<String>,
    /// Of a link: the hash of its secret, under which [`LinkSecret`] finds it.
    #[serde(default)]
    pub secret: Option<TokenHash>,
    /// Of a link: good for one person.
    #[serde(default)]
    pub single_use: bool,
    /// Of such a link: somebody was there.
    #[serde(default)]
    pub used: bool,
    /// When somebody last came this way, to the hour.
    #[serde(default)]
    pub last_used: Option<Timestamp>,
    /// A link for a program instead of people.
    #[serde(default)]
    pub device: Option<Device>,
}

/// A program that comes by a link of its own (docs/shell-api.md, "Programs and devices").
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Device {
    /// The `api-…` host that goes with its token.
    pub host: String,
    /// Made by a page of the app for a program it explains, not by a person typing a password elsewhere.
    pub by_app: bool,
    /// The program acts for nobody in particular.
    pub anonymous: bool,
    /// Dies at this moment unless it has been used by then.
    #[serde(default)]
    pub unused_until: Option<Timestamp>,
    #[serde(default)]
    pub last_agent: Option<String>,
}

/// What a token-specific host tells those without a token. Key: the share id of the token. On disk beside the grain
/// when it is large.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct ApiHost {
    pub share: Option<ShareId>,
    #[serde(default)]
    pub dav: Vec<String>,
    #[serde(default)]
    pub resources: BTreeMap<String, ApiResource>,
}
table!(ApiHost, "api-host");

/// A resource served without a token.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct ApiResource {
    #[serde(default, rename = "type")]
    pub media_type: Option<String>,
    #[serde(default)]
    pub language: Option<String>,
    #[serde(default)]
    pub encoding: Option<String>,
    #[serde(default)]
    pub body: String,
}

/// Finds a link by what its holder presents. Key: the hash of the secret.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct LinkSecret {
    pub share: ShareId,
}
table!(LinkSecret, "link-secret");

/// How far a person limits themselves on a grain. Key: the grain id, `/`, the account id.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct OwnLimit(pub Ceiling);
table!(OwnLimit, "own-limit");

/// What somebody calls a grain that is not theirs. Key: the account id, `/`, the grain id.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct OwnName(pub percloud_core::petname::Petname);
table!(OwnName, "own-name");

/// As whom an app knows a person, where a backup said so. Key: the grain id, `/`, the account id.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct KnownAs {
    /// 64 hexadecimal digits.
    pub id: String,
}
table!(KnownAs, "known-as");

/// A grain somebody wants to hand over. Key: an offer id.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Transfer {
    pub grain: GrainId,
    pub from: AccountId,
    pub to: AccountId,
    /// What the old owner wants to keep.
    pub keep: Option<RoleAssignment>,
    pub created: Timestamp,
}
table!(Transfer, "transfer");

/// An account somebody may make. Key: the invitation id.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Invitation {
    pub secret: TokenHash,
    pub note: String,
    pub by: AccountId,
    pub created: Timestamp,
    pub expires: Timestamp,
}
table!(Invitation, "invitation");

/// A durable reference to something behind a capability (sheet 6.1). Key: the hash of the token.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Token {
    pub what: Referent,
    pub seal: Sealed,
    pub label: String,
    pub created: Timestamp,
    #[serde(default)]
    pub expires: Option<Timestamp>,
    /// What must be true for it to be restored, and to stay alive once it is.
    #[serde(default)]
    pub requirements: Vec<Requirement>,
    /// The token it was made from; dead with it.
    #[serde(default)]
    pub parent: Option<TokenHash>,
    /// Through whose session it came.
    #[serde(default)]
    pub by: Option<AccountId>,
}
table!(Token, "token");

/// What a token stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Referent {
    /// An object of a grain's app, by the id the app gave it: one message in base64, opaque.
    Object { grain: GrainId, id: String },
    /// A whole grain, as far as `holder` may, at most in `role`.
    View {
        grain: GrainId,
        holder: percloud_core::sharing::share::Holder,
        role: RoleAssignment,
    },
    /// A person, as the grain that holds the token knows them.
    Identity { account: AccountId },
    /// Every address of a website below one.
    Website {
        url: WebAddress,
        #[serde(default)]
        credential: Option<Credential>,
    },
    /// Any public machine.
    Network { tls: bool },
    /// Ports of this machine.
    Interface,
}

impl Referent {
    /// What lies outside and is reached through the egress, in a word; `None` for what does not.
    pub(crate) fn outside(&self) -> Option<&str> {
        match self {
            Self::Website { url, .. } => Some(url.as_str()),
            Self::Network { .. } => Some("the whole network"),
            Self::Interface => Some("ports of this machine"),
            Self::Object { .. } | Self::View { .. } | Self::Identity { .. } => None,
        }
    }

    /// The same without its credential.
    pub(crate) fn without_credential(mut self) -> Self {
        if let Self::Website { credential, .. } = &mut self {
            *credential = None;
        }
        self
    }

    /// The same with its credential, if it has one, made something else.
    pub(crate) fn with_credential(
        mut self,
        change: impl FnOnce(&Credential) -> Result<Credential, Problem>,
    ) -> Result<Self, Problem> {
        if let Self::Website {
            credential: Some(credential),
            ..
        } = &mut self
        {
            *credential = change(credential)?;
        }
        Ok(self)
    }
}

/// Whom a token is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Sealed {
    /// A grain.
    Grain(GrainId),
    /// The answer to a request or offer in a session (hexadecimal), to be taken from there at once.
    Answer(String),
    /// The platform, for a scheduled job of this grain.
    Job(GrainId),
    /// Nobody: it is what a person once gave this grain. What is alive of that, and all that was saved of it, hangs on it.
    Grant(GrainId),
}

impl Sealed {
    /// The grain that holds it, if one does.
    pub(crate) fn holder(&self) -> Option<&GrainId> {
        match self {
            Self::Grain(grain) | Self::Grant(grain) => Some(grain),
            Self::Answer(_) | Self::Job(_) => None,
        }
    }
}

/// Finds what a grain holds of others. Key: the grain id, `/`, the token's hash in hexadecimal.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Held {
    pub id: String,
}
table!(Held, "held");

/// Something that happened in a grain, for one person. Key: the account id, `/`, a notice id.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Notice {
    pub grain: GrainId,
    pub text: String,
    pub from: Option<String>,
    pub path: Option<String>,
    pub thread: Option<String>,
    pub time: Timestamp,
    pub read: bool,
    pub count: u32,
    /// It is not the app's: the grain met this limit.
    #[serde(default)]
    pub limit: Option<Limit>,
}
table!(Notice, "notice");

/// A person does not want to hear of a grain, or of a thread in it. Key: the account id, `/`, the grain id, `/`, and for a
/// thread a hash of its path.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Mute {}
table!(Mute, "mute");

/// A person took part in a grain, or in a thread in it, and wants to hear how it goes on. Keyed like [`Mute`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Follow {
    /// Since when, where that was noted.
    #[serde(default)]
    pub since: Timestamp,
}
table!(Follow, "follow");

/// Something happened in a grain since a person looked. Key: the account id, `/`, the grain id.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Unread {
    pub since: Timestamp,
}
table!(Unread, "unread");

/// What an app wants run later. Key: the grain id, `/`, a job id.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    /// The callback, by its object id.
    pub object: String,
    pub name: String,
    pub period: Option<Period>,
    pub next: Timestamp,
    pub created: Timestamp,
    pub tries: u32,
    pub problem: Option<String>,
}
table!(Job, "job");

/// How often a job runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Period {
    Hourly,
    Daily,
    Weekly,
    Monthly,
    Annually,
}

/// One entry of the audit log. Key: its number, big-endian.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Audited(pub percloud_core::audit::Entry);
table!(Audited, "audit");

/// Key of what a person has on one grain.
pub(crate) fn grain_of_person(account: &AccountId, grain: &GrainId) -> Vec<u8> {
    format!("{account}/{grain}").into_bytes()
}

/// Key of what a grain has of one person.
pub(crate) fn person_of_grain(grain: &GrainId, account: &AccountId) -> Vec<u8> {
    format!("{grain}/{account}").into_bytes()
}

/// Key of an app: whose it is, then which.
pub(crate) fn app_key(account: &AccountId, app_id: &str) -> Vec<u8> {
    format!("{account}/{app_id}").into_bytes()
}

/// Prefix of the keys of everything `account` has in a table keyed like [`App`].
pub(crate) fn account_prefix(account: &AccountId) -> Vec<u8> {
    format!("{account}/").into_bytes()
}

/// Key of a grain.
pub(crate) fn grain_key(id: &GrainId) -> &[u8] {
    id.as_str().as_bytes()
}
