//! What the store keeps, one shape per table. Keys are ids or hashes; nothing is keyed by name.

use percloud_core::id::{AccountId, GrainId};
use percloud_core::time::Timestamp;
use percloud_store::Record;
use serde::{Deserialize, Serialize};

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
}
table!(Grain, "grain");

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
