//! One act of sharing, as it is stored.

use serde::{Deserialize, Serialize};

use super::requirement::Requirement;
use super::role::RoleAssignment;
use crate::id::{AccountId, GrainId, ShareId};
use crate::time::Timestamp;

/// How many shares one grain may have.
pub const SHARES_PER_GRAIN: usize = 20_000;
/// How many requirements one share may have.
pub const REQUIREMENTS_PER_SHARE: usize = 32;
/// How many roles may limit one share beside its own.
pub const LIMITS_PER_SHARE: usize = 32;
/// Longest label of a share, in characters.
pub const LABEL_LIMIT: usize = 200;

/// Who can hold access to a grain.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Holder {
    /// A person with an account.
    Person(AccountId),
    /// Whoever presents the link that this share made.
    Link(ShareId),
}

/// To whom a share goes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Recipient {
    /// A person with an account.
    Person(AccountId),
    /// A new link; the share's own id is the link's.
    Link,
}

/// Whether a person wanted what was shared with them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Acceptance {
    /// It counts.
    #[default]
    Accepted,
    /// Not answered yet; it counts for nothing.
    Pending,
    /// They do not want it; it counts for nothing.
    Declined,
}

/// One act of sharing: an edge from who gave to who received.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// Names the share, and the link if it made one.
    pub id: ShareId,
    /// What is shared.
    pub grain: GrainId,
    /// Who gave: a person, or a link when somebody came by it.
    pub from: Holder,
    /// Who received.
    pub to: Recipient,
    /// What is given, of what the giver has.
    pub role: RoleAssignment,
    /// Further roles it is limited to, all at once; empty for nearly all shares.
    ///
    /// They come from links that were removed while people who came by them stayed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<RoleAssignment>,
    /// Whether the recipient may pass on what came this way.
    pub may_reshare: bool,
    /// From this moment on it carries nothing.
    pub expires: Option<Timestamp>,
    /// When it was made; orders shares where people see them.
    pub created: Timestamp,
    /// What the giver called it.
    #[serde(default)]
    pub label: Option<String>,
    /// What must be true for it to carry anything.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requirements: Vec<Requirement>,
    /// Whether the recipient took it.
    #[serde(default)]
    pub accepted: Acceptance,
}

impl Share {
    /// Who holds what this share gives.
    #[must_use]
    pub fn holder(&self) -> Holder {
        match &self.to {
            Recipient::Person(account) => Holder::Person(account.clone()),
            Recipient::Link => Holder::Link(self.id.clone()),
        }
    }

    /// Whether it made a link.
    #[must_use]
    pub fn is_link(&self) -> bool {
        self.to == Recipient::Link
    }

    /// Whether its time is over.
    #[must_use]
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}

/// How far a person limits themselves on a grain, to be undone by nobody else.
///
/// What they pass on is limited as well, for nobody can give what they do not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ceiling {
    /// The grain.
    pub grain: GrainId,
    /// Who limits themselves.
    pub person: AccountId,
    /// The most they want to hold.
    pub role: RoleAssignment,
}
