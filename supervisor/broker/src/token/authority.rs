//! What a grain holds of others, for its owner to see and to take away.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use percloud_core::id::GrainId;
use percloud_core::secret::hex;
use percloud_core::sharing::requirement::TokenHash;
use percloud_store::Batch;
use serde_json::{Value, json};

use super::held_key;
use crate::account::SignedIn;
use crate::audit::Act;
use crate::broker::Broker;
use crate::problem::Problem;
use crate::record::{Grain, Held, Referent, Sealed, Token, grain_key};
use crate::visit::Changed;

impl Broker {
    /// Everything a grain holds of others.
    pub(crate) fn held_by(&self, grain: &GrainId) -> Result<Vec<(TokenHash, Token)>, Problem> {
        let prefix = format!("{grain}/");
        let held = self.store.scan::<Held>(prefix.as_bytes());
        let held = held.map_err(|error| Problem::internal("read the store", &error))?;
        let mut tokens = Vec::new();
        for (_, held) in held {
            let Ok(hash) = TokenHash::try_from(held.id) else {
                continue;
            };
            if let Some(token) = self.read::<Token>(&hash.0)? {
                tokens.push((hash, token));
            }
        }
        Ok(tokens)
    }

    /// What a grain holds of others, for its owner.
    pub(crate) async fn authority(&self, who: &SignedIn, id: &GrainId) -> Result<Value, Problem> {
        self.own_grain(who, id)?;
        let mut held = self.held_by(id)?;
        held.retain(|(_, token)| !matches!(&token.what, Referent::Object { grain, .. } if grain == id));
        let mut held = self.grants(held);
        held.sort_by_key(|(_, token)| std::cmp::Reverse(token.created));
        let held: Vec<Value> = held
            .iter()
            .map(|(hash, token)| {
                let title = |grain: &GrainId| {
                    let grain = self.read::<Grain>(grain_key(grain)).ok().flatten();
                    grain.map(|grain| grain.title)
                };
                let (what, from) = match &token.what {
                    Referent::Object { grain, .. } => ("something inside another one", title(grain)),
                    Referent::View { grain, .. } => ("all of another one", title(grain)),
                    Referent::Identity { account } => ("who somebody is", self.name_of(account)),
                    Referent::Website { url, .. } => ("a website", Some(url.to_string())),
                    Referent::Network { .. } => ("the whole network", None),
                    Referent::Interface => ("ports of this machine", None),
                };
                let by = token.by.as_ref().and_then(|by| self.name_of(by));
                json!({"id": hex(&hash.0), "label": token.label, "what": what, "from": from, "by": by,
                       "created": token.created})
            })
            .collect();
        Ok(json!({"held": held}))
    }

    /// Takes something away from a grain that it holds of others, or ends one of its jobs.
    pub(crate) async fn drop_authority(
        self: &Rc<Self>,
        who: &SignedIn,
        id: &GrainId,
        token: &str,
    ) -> Result<(), Problem> {
        self.own_grain(who, id)?;
        if let Ok(job) = token.parse() {
            return self.end_job(id, &job).await;
        }
        let hash = TokenHash::try_from(token.to_owned()).map_err(|_| Problem::NotFound)?;
        let known: Token = self.read(&hash.0)?.ok_or(Problem::NotFound)?;
        if known.seal.holder() != Some(id) {
            return Err(Problem::NotFound);
        }
        {
            let _turn = self.sharing_turn.lock().await;
            let mut batch = Batch::new();
            // Nothing is kept from its owner because the disk is full.
            batch.frees_space();
            self.note(
                &mut batch,
                Some(&who.account),
                Act::TookBack,
                Some(id),
                &known.label,
            );
            self.commit_noted(batch).await?;
        }
        // What was saved of it dies with it, and need not be kept.
        let mut batch = Batch::new();
        let (mut gone, mut all) = (vec![hash], Vec::new());
        let held = self.held_by(id)?;
        while let Some(parent) = gone.pop() {
            if batch.is_nearly_full() {
                self.commit(std::mem::take(&mut batch)).await?;
            }
            batch.delete::<Token>(&parent.0);
            batch.delete::<Held>(&held_key(id, &parent));
            let children = held.iter().filter(|(_, token)| token.parent == Some(parent));
            gone.extend(children.map(|(child, _)| *child));
            all.push(parent);
        }
        self.commit(batch).await?;
        {
            let mut leading = self.leading.borrow_mut();
            let ended = held.iter().filter(|(hash, _)| all.contains(hash));
            leading.unlist_all(ended.map(|(hash, token)| (*hash, &token.what)));
        }
        self.enforce(&Changed::Tokens).await;
        Ok(())
    }

    /// What a person sees of what a grain holds: each thing it was given once, however often it was saved; nothing of what
    /// is neither saved nor alive.
    fn grants(&self, held: Vec<(TokenHash, Token)>) -> Vec<(TokenHash, Token)> {
        let alive: HashSet<TokenHash> = {
            let references = self.references.borrow();
            references
                .values()
                .filter_map(|reference| reference.token)
                .collect()
        };
        let all: HashSet<TokenHash> = held.iter().map(|(hash, _)| *hash).collect();
        let labels: HashMap<TokenHash, String> = held
            .iter()
            .filter_map(|(_, token)| Some((token.parent?, token.label.clone())))
            .collect();
        let mut shown = held;
        shown.retain(|(hash, token)| {
            let is_root = token.parent.is_none_or(|parent| !all.contains(&parent));
            let is_used =
                !matches!(token.seal, Sealed::Grant(_)) || labels.contains_key(hash) || alive.contains(hash);
            is_root && is_used
        });
        for (hash, token) in &mut shown {
            if let Some(label) = labels.get(hash).filter(|label| !label.is_empty()) {
                token.label.clone_from(label);
            }
        }
        shown
    }
}
