//! Finds the tokens of an object.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use percloud_core::sharing::requirement::TokenHash;
use percloud_store::{ReadError, Store};
use sha2::{Digest, Sha256};

use crate::catalogue::each;
use crate::record::{Referent, Token};

/// Which tokens lead to an object of a grain's app, or once did; the store has the tokens.
#[derive(Default)]
pub(crate) struct Leading(HashMap<[u8; 32], Vec<TokenHash>>);

impl Leading {
    /// Takes up what the store has.
    pub(crate) fn load(store: &Store) -> Result<Self, ReadError> {
        let mut leading = Self::default();
        each::<Token>(store, |key, token| {
            if let Ok(hash) = <[u8; 32]>::try_from(&key[..]) {
                leading.list(TokenHash(hash), &token.what);
            }
        })?;
        Ok(leading)
    }

    /// Only apps say that an object is gone: what else a token leads to is not asked for.
    fn key(what: &Referent) -> Option<[u8; 32]> {
        let Referent::Object { grain, id } = what else {
            return None;
        };
        let mut hash = Sha256::new();
        hash.update(grain.as_str());
        hash.update(b"/");
        hash.update(id);
        Some(hash.finalize().into())
    }

    pub(super) fn list(&mut self, token: TokenHash, what: &Referent) {
        if let Some(key) = Self::key(what) {
            self.0.entry(key).or_default().push(token);
        }
    }

    pub(super) fn unlist(&mut self, token: &TokenHash, what: &Referent) {
        let Some(key) = Self::key(what) else { return };
        if let Some(tokens) = self.0.get_mut(&key) {
            tokens.retain(|known| known != token);
            if tokens.is_empty() {
                self.0.remove(&key);
            }
        }
    }

    /// The same for many: the tokens of an object are gone through once, however many of them go.
    pub(super) fn unlist_all<'t>(&mut self, tokens: impl Iterator<Item = (TokenHash, &'t Referent)>) {
        let mut ended: BTreeMap<[u8; 32], BTreeSet<[u8; 32]>> = BTreeMap::new();
        for (token, what) in tokens {
            if let Some(key) = Self::key(what) {
                ended.entry(key).or_default().insert(token.0);
            }
        }
        for (key, ended) in ended {
            if let Some(tokens) = self.0.get_mut(&key) {
                tokens.retain(|known| !ended.contains(&known.0));
                if tokens.is_empty() {
                    self.0.remove(&key);
                }
            }
        }
    }

    pub(crate) fn to(&self, what: &Referent) -> Vec<TokenHash> {
        let tokens = Self::key(what).and_then(|key| self.0.get(&key));
        tokens.cloned().unwrap_or_default()
    }
}
