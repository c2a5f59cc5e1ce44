//! Secrets: made by us, shown once, kept only as hashes.

use std::fmt;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::digest;

/// 256 random bits that stand for authority: a cookie, a hand-over secret, a nonce.
///
/// Cannot be printed, compared or stored by accident: what is kept is its [`SecretHash`].
#[derive(Clone)]
pub struct Secret([u8; 32]);

impl Secret {
    /// Makes a secret from a source of fresh random bytes.
    pub fn new(fresh: impl FnOnce(&mut [u8])) -> Self {
        let mut bytes = [0; 32];
        fresh(&mut bytes);
        Self(bytes)
    }

    /// Reads a secret somebody presents; `None` unless it is 32 bytes.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// Reads a secret from its hexadecimal form; `None` unless it is 64 digits.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        digest::from_hex(text).ok().map(Self)
    }

    /// The bytes, for the one place that hands the secret to its holder.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// The secret as 64 hexadecimal digits, for the one place that hands it to its holder.
    #[must_use]
    pub fn expose_hex(&self) -> String {
        hex(&self.0)
    }

    /// What may be kept of it.
    #[must_use]
    pub fn hash(&self) -> SecretHash {
        SecretHash(Sha256::digest(self.0).into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(…)")
    }
}

/// SHA-256 of a [`Secret`]: enough to recognise it, useless to present.
#[derive(Clone, Copy, Debug)]
pub struct SecretHash([u8; 32]);

impl SecretHash {
    /// The hash as bytes, usable as a key of the store.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether `secret` is the one this hash was made of.
    #[must_use]
    pub fn matches(&self, secret: &Secret) -> bool {
        *self == secret.hash()
    }
}

impl PartialEq for SecretHash {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for SecretHash {}

/// Bytes as lower-case hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_recognised_by_its_hash_and_never_printed() {
        let secret = Secret::new(|bytes| bytes.fill(0xa5));
        assert!(secret.hash().matches(&secret));
        assert!(!secret.hash().matches(&Secret::new(|bytes| bytes.fill(0xa4))));
        assert_eq!(format!("{secret:?}"), "Secret(…)");
    }

    #[test]
    fn hexadecimal_comes_back_and_anything_else_is_refused() {
        let secret = Secret::new(|bytes| bytes.fill(0x3c));
        let text = secret.expose_hex();
        assert!(Secret::from_hex(&text).is_some_and(|back| secret.hash().matches(&back)));
        for wrong in [
            "",
            "3c",
            &text[1..],
            &format!("{text}00"),
            &text.replace('3', "g"),
            &"\u{e4}".repeat(32),
        ] {
            assert!(Secret::from_hex(wrong).is_none(), "{wrong}");
        }
    }
}
