//! Facts without which a share carries nothing (sheet 6.2).

use serde::{Deserialize, Serialize};

use super::permission::PermissionSet;
use super::share::Holder;
use crate::digest::digest;
use crate::id::{AccountId, GrainId};
use crate::secret::SecretHash;

digest! {
    /// Names a saved token by the SHA-256 of its secret; useless to present.
    TokenHash
}

impl From<&SecretHash> for TokenHash {
    fn from(hash: &SecretHash) -> Self {
        Self(*hash.as_bytes())
    }
}

/// Something that must be true for a share to carry anything.
///
/// Requirements are proved forward from what is known, so two shares that require each other prove nothing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Requirement {
    /// A saved token, and all it was made from, still stands.
    ///
    /// For the link of a share use [`Requirement::PermissionsHeld`] with [`Holder::Link`], which also asks whether the
    /// link still leads anywhere.
    TokenValid(TokenHash),
    /// Somebody still has access to a grain, with at least these permissions. An empty set still asks for access.
    PermissionsHeld {
        /// The grain.
        grain: GrainId,
        /// Who has to hold them.
        holder: Holder,
        /// What has to be held.
        permissions: PermissionSet,
    },
    /// A person runs this server.
    IsAdmin(AccountId),
}
