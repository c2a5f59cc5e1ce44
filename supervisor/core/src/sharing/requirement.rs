//! Facts without which a share carries nothing (sheet 6.2).

use serde::{Deserialize, Serialize};

use super::permission::PermissionSet;
use super::share::Holder;
use crate::id::{AccountId, GrainId};
use crate::secret::{Secret, SecretHash, hex};

/// Names a saved token by the SHA-256 of its secret; useless to present.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TokenHash(pub [u8; 32]);

/// Says why a text is not the hash of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the hash of a token: 64 hexadecimal digits are expected")]
pub struct NotATokenHash;

impl From<&SecretHash> for TokenHash {
    fn from(hash: &SecretHash) -> Self {
        Self(*hash.as_bytes())
    }
}

impl From<TokenHash> for String {
    fn from(hash: TokenHash) -> Self {
        hex(&hash.0)
    }
}

impl TryFrom<String> for TokenHash {
    type Error = NotATokenHash;

    fn try_from(text: String) -> Result<Self, NotATokenHash> {
        // The same 64 digits a secret has: one reader of them is enough.
        let bytes = Secret::from_hex(&text).ok_or(NotATokenHash)?;
        Ok(Self(*bytes.expose()))
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
