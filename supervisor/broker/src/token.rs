//! Durable references: what a token stands for, for whom, and while what is true (sheet 6.1, 6.2).
//!
//! A token is 256 random bits, told once and kept as a hash. Whoever presents it must be whom it was sealed for. What
//! comes of it is alive only while its conditions hold: each live reference is listed and looked at again with every
//! change of sharing.

mod authority;
mod leading;
mod text;

use std::rc::Rc;

use percloud_core::id::GrainId;
use percloud_core::secret::hex;
use percloud_core::sharing::access::Facts;
use percloud_core::sharing::requirement::{Requirement, TokenHash};
use percloud_core::time::Timestamp;
use percloud_store::Batch;

use crate::broker::Broker;
use crate::problem::Problem;
use crate::record::{Held, Referent, Sealed, Token};
use crate::visit::{Changed, SessionId, Visit};

pub(crate) use self::leading::Leading;
pub(crate) use self::text::TokenText;

/// Longest chain of tokens made from tokens.
const CHAIN: usize = 64;
/// References one grain may hold alive at a time.
const REFERENCES: usize = 10_000;
/// Conditions one token may have.
const CONDITIONS: usize = 32;
/// Time between two looks for tokens that have expired, in seconds.
const SWEEP: u64 = 60 * 60;
/// Tokens that are looked at before others have their turn.
const STEP: usize = 256;
/// Longest label of a token, in characters.
const LABEL: usize = 200;

/// A reference that is alive.
#[derive(Clone, Debug)]
pub(crate) struct Reference {
    /// The grain that holds it.
    pub holder: GrainId,
    /// The grain whose object it is, where it is one.
    pub provider: Option<GrainId>,
    /// The token it came from, or where that was for one use, the one that was made from.
    pub token: Option<TokenHash>,
    /// What it leads to; nothing for a tie.
    pub what: Option<Referent>,
    /// What must stay true.
    pub conditions: Vec<Requirement>,
}

/// References that may not go on.
#[derive(Default)]
pub(crate) struct Broken {
    /// Which, and of which grains' hosts.
    pub at_hosts: Vec<(GrainId, SessionId)>,
    /// Those that lead outside.
    pub outlets: Vec<SessionId>,
}

/// The key under which a grain finds what it holds.
fn held_key(grain: &GrainId, hash: &TokenHash) -> Vec<u8> {
    format!("{grain}/{}", hex(&hash.0)).into_bytes()
}

impl Broker {
    /// Whether a token, and all it was made from, stands.
    pub(crate) fn token_stands(&self, hash: &TokenHash, now: Timestamp) -> bool {
        let mut next = Some(*hash);
        for _ in 0..CHAIN {
            let Some(hash) = next else { return true };
            match self.read::<Token>(&hash.0) {
                Ok(Some(token)) if !self.has_ended(&token, now) => next = token.parent,
                _ => return false,
            }
        }
        false
    }

    /// Whether a token has expired, or belongs to a grain that is gone: its record goes first, those of its tokens later.
    fn has_ended(&self, token: &Token, now: Timestamp) -> bool {
        let is_gone = |grain: &GrainId| !self.catalogue.borrow().has(grain);
        let of_nobody = match &token.seal {
            Sealed::Grain(grain) | Sealed::Grant(grain) | Sealed::Job(grain) => is_gone(grain),
            Sealed::Answer(_) => false,
        };
        of_nobody || token.expires.is_some_and(|expires| expires <= now)
    }

    /// Whether all of these are true at the moment.
    pub(crate) fn proven(&self, conditions: &[Requirement]) -> bool {
        self.proven_until(conditions).is_some()
    }

    /// When these have to be looked at again, if all of them are true at the moment.
    #[allow(clippy::option_option, reason = "not true, true until then, true for good")]
    fn proven_until(&self, conditions: &[Requirement]) -> Option<Option<Timestamp>> {
        let facts = self.facts();
        let mut soonest = None;
        for condition in conditions {
            let holds = match condition {
                Requirement::TokenValid(token) => facts.token_valid(token),
                Requirement::IsAdmin(person) => facts.is_admin(person),
                Requirement::PermissionsHeld {
                    grain,
                    holder,
                    permissions,
                } => {
                    let access = self.access(grain, holder)?;
                    soonest = [soonest, access.until].into_iter().flatten().min();
                    access.permissions.covers(permissions)
                }
            };
            if !holds {
                return None;
            }
        }
        Some(soonest)
    }

    /// Makes a token and keeps its hash. Durable when it returns.
    pub(crate) async fn make_token(&self, mut token: Token) -> Result<TokenText, Problem> {
        token.label = token
            .label
            .chars()
            .filter(|letter| !letter.is_control())
            .take(LABEL)
            .collect();
        token.requirements.sort();
        token.requirements.dedup();
        if token.requirements.len() > CONDITIONS {
            return Err(Problem::BadRequest(
                "this was passed on too often to be kept".to_owned(),
            ));
        }
        let text = TokenText::new(&self.outside);
        let hash = text.hash();
        token.what = token.what.with_credential(|open| open.sealed(&text))?;
        let mut batch = Batch::new();
        if let Some(grain) = token.seal.holder() {
            batch.put(&held_key(grain, &hash), &Held { id: hex(&hash.0) });
        }
        batch.put(&hash.0, &token);
        self.commit(batch).await?;
        self.leading.borrow_mut().list(hash, &token.what);
        Ok(text)
    }

    /// What a token stands for, if it stands and was sealed for `by`.
    pub(crate) fn token(&self, text: &TokenText, by: &Sealed) -> Result<(TokenHash, Token), Problem> {
        let hash = text.hash();
        let mut token: Token = self.read(&hash.0)?.ok_or(Problem::NoReference)?;
        let stands = token.seal == *by
            && self.token_stands(&hash, self.outside.now())
            && self.proven(&token.requirements);
        if !stands {
            return Err(Problem::NoReference);
        }
        token.what = token.what.with_credential(|kept| kept.opened(text))?;
        Ok((hash, token))
    }

    /// Uses up a token that is good once: whoever comes second finds nothing, even while the first is still on its way
    /// to the disk.
    pub(crate) async fn spend(&self, hash: &TokenHash) -> Result<(), Problem> {
        let token: Token = self.read(&hash.0)?.ok_or(Problem::NoReference)?;
        let mut batch = Batch::new();
        batch.expect_present::<Token>(&hash.0);
        batch.delete::<Token>(&hash.0);
        self.commit(batch).await.map_err(|_| Problem::NoReference)?;
        self.leading.borrow_mut().unlist(hash, &token.what);
        Ok(())
    }

    /// Takes, once, what a person gave a session. From then on its grain holds it: as a grant, on which everything hangs
    /// that comes of it. Of an object of the grain's own there is nothing to hold.
    pub(crate) async fn take_answer(
        &self,
        visit: &Visit,
        text: &TokenText,
        condition: Requirement,
    ) -> Result<(Option<TokenHash>, Token), Problem> {
        let (hash, mut token) = self.token(text, &Sealed::Answer(hex(&visit.id)))?;
        token.requirements.push(condition);
        if matches!(&token.what, Referent::Object { grain, .. } if *grain == visit.grain) {
            self.spend(&hash).await?;
            return Ok((None, token));
        }
        let grant = Token {
            // Whoever saves it saves the credential too; nobody restores a grant.
            what: token.what.clone().without_credential(),
            seal: Sealed::Grant(visit.grain.clone()),
            expires: None,
            ..token.clone()
        };
        let key = TokenText::new(&self.outside).hash();
        let mut batch = Batch::new();
        batch.expect_present::<Token>(&hash.0);
        batch.delete::<Token>(&hash.0);
        batch.put(&held_key(&visit.grain, &key), &Held { id: hex(&key.0) });
        batch.put(&key.0, &grant);
        self.commit(batch).await.map_err(|_| Problem::NoReference)?;
        {
            let mut leading = self.leading.borrow_mut();
            leading.unlist(&hash, &token.what);
            leading.list(key, &grant.what);
        }
        Ok((Some(key), token))
    }

    /// Lists a reference that comes alive.
    ///
    /// What it hangs on is looked at here once more: since it was decided upon, something may have been taken back.
    pub(crate) fn list_reference(&self, reference: Reference) -> Result<SessionId, Problem> {
        let now = self.outside.now();
        let stands = reference.token.is_none_or(|token| self.token_stands(&token, now));
        let until = self.proven_until(&reference.conditions).filter(|_| stands);
        self.mind_time(until.ok_or(Problem::NoReference)?);
        let mut references = self.references.borrow_mut();
        let held = references
            .values()
            .filter(|known| known.holder == reference.holder)
            .count();
        if held >= REFERENCES {
            return Err(Problem::TooManyAttempts { retry_after: 60 });
        }
        let mut id = [0; 16];
        (self.outside.random)(&mut id);
        references.insert(id, reference);
        Ok(id)
    }

    /// Takes references off the list whose conditions do not hold any more, of those that are to be looked at; where each
    /// must be ended.
    pub(crate) fn broken_references(
        &self,
        now: Timestamp,
        soonest: &mut Option<Timestamp>,
        look_at: impl Fn(&Reference) -> bool,
    ) -> Broken {
        let all: Vec<(SessionId, Reference)> = {
            let references = self.references.borrow();
            references
                .iter()
                .filter(|(_, reference)| look_at(reference))
                .map(|(id, reference)| (*id, reference.clone()))
                .collect()
        };
        let mut broken = Broken::default();
        for (id, reference) in all {
            let stands = reference.token.is_none_or(|token| self.token_stands(&token, now));
            let until = self.proven_until(&reference.conditions).filter(|_| stands);
            if let Some(until) = until {
                *soonest = [*soonest, until.filter(|until| *until > now)]
                    .into_iter()
                    .flatten()
                    .min();
                let expires = reference
                    .token
                    .and_then(|token| self.read::<Token>(&token.0).ok()??.expires);
                *soonest = [*soonest, expires].into_iter().flatten().min();
                continue;
            }
            self.references.borrow_mut().remove(&id);
            if reference.what.is_some_and(|what| what.outside().is_some()) {
                broken.outlets.push(id);
            }
            broken.at_hosts.push((reference.holder, id));
            broken
                .at_hosts
                .extend(reference.provider.map(|provider| (provider, id)));
        }
        broken
    }

    /// Forgets the references of a grain that has stopped.
    pub(crate) fn forget_references(&self, holder: &GrainId) {
        self.references
            .borrow_mut()
            .retain(|_, reference| reference.holder != *holder);
    }

    /// Forgets a token sealed for a grain. What came of it ends; unknown tokens are no error (sheet trap 38).
    pub(crate) async fn drop_token(
        self: &Rc<Self>,
        grain: &GrainId,
        text: &TokenText,
    ) -> Result<(), Problem> {
        let hash = text.hash();
        let Some(token) = self.read::<Token>(&hash.0)? else {
            return Ok(());
        };
        if token.seal != Sealed::Grain(grain.clone()) {
            return Ok(());
        }
        self.forget_token(grain, &hash).await
    }

    pub(crate) async fn forget_token(
        self: &Rc<Self>,
        grain: &GrainId,
        hash: &TokenHash,
    ) -> Result<(), Problem> {
        let known: Option<Token> = self.read(&hash.0)?;
        let mut batch = Batch::new();
        batch.delete::<Token>(&hash.0);
        batch.delete::<Held>(&held_key(grain, hash));
        self.commit(batch).await?;
        if let Some(token) = known {
            self.leading.borrow_mut().unlist(hash, &token.what);
        }
        self.enforce(&Changed::Tokens).await;
        Ok(())
    }

    /// Forgets every token for an object its app says is gone.
    pub(crate) async fn forget_object(self: &Rc<Self>, gone: &Referent) -> Result<(), Problem> {
        let listed = self.leading.borrow().to(gone);
        let mut batch = Batch::new();
        for hash in &listed {
            let Some(token) = self.read::<Token>(&hash.0)? else {
                continue;
            };
            if batch.is_nearly_full() {
                self.commit(std::mem::take(&mut batch)).await?;
            }
            batch.delete::<Token>(&hash.0);
            if let Some(grain) = token.seal.holder() {
                batch.delete::<Held>(&held_key(grain, hash));
            }
        }
        if !batch.is_empty() {
            self.commit(batch).await?;
        }
        let ended = listed.iter().map(|hash| (*hash, gone));
        self.leading.borrow_mut().unlist_all(ended);
        let mut ended = Vec::new();
        self.references.borrow_mut().retain(|id, reference| {
            let leads_there = reference.what.as_ref() == Some(gone);
            if leads_there {
                ended.push((reference.holder.clone(), *id));
                ended.extend(reference.provider.clone().map(|provider| (provider, *id)));
            }
            !leads_there
        });
        self.end_sessions(ended).await;
        self.enforce(&Changed::Tokens).await;
        Ok(())
    }

    /// Forgets the tokens of a grain that is gone. None of them stands any more, so nothing has to be ended.
    pub(crate) async fn forget_tokens_of(&self, grain: &GrainId) -> Result<(), Problem> {
        let prefix = format!("{grain}/");
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.store.page::<Held>(prefix.as_bytes(), after.as_deref(), STEP);
            let page = page.map_err(|error| Problem::internal("read the store", &error))?;
            let Some((last, _)) = page.last() else {
                return Ok(());
            };
            after = Some(last.clone());
            let mut tokens = Vec::with_capacity(page.len());
            for (_, held) in page {
                let Ok(hash) = TokenHash::try_from(held.id) else {
                    continue;
                };
                tokens.push((hash, self.read::<Token>(&hash.0)?, held_key(grain, &hash)));
            }
            self.forget_records(tokens).await?;
        }
    }

    /// Forgets tokens and, where it is given, the record under which a grain finds each; in full batches.
    async fn forget_records(&self, tokens: Vec<(TokenHash, Option<Token>, Vec<u8>)>) -> Result<(), Problem> {
        let mut batch = Batch::new();
        for (hash, _, held) in &tokens {
            if batch.is_nearly_full() {
                self.commit(batch.take()).await?;
            }
            batch.delete::<Token>(&hash.0);
            if !held.is_empty() {
                batch.delete::<Held>(held);
            }
        }
        if !batch.is_empty() {
            self.commit(batch).await?;
        }
        let ended = tokens
            .iter()
            .filter_map(|(hash, token, _)| Some((*hash, &token.as_ref()?.what)));
        self.leading.borrow_mut().unlist_all(ended);
        Ok(())
    }

    /// Forgets answers nobody claimed in time, and what a crash left of the tokens of a grain that was deleted. Looks at all
    /// tokens, so not often, and at some at a time.
    pub(crate) async fn forget_expired_tokens(&self, now: Timestamp) -> Result<(), Problem> {
        if self.next_sweep.get() > now {
            return Ok(());
        }
        self.next_sweep.set(now.plus_seconds(SWEEP));
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.store.page::<Token>(b"", after.as_deref(), STEP);
            let page = page.map_err(|error| Problem::internal("read the store", &error))?;
            let is_last = page.len() < STEP;
            after = page.last().map(|(key, _)| key.clone());
            let ended = page
                .into_iter()
                .filter(|(_, token)| self.has_ended(token, now))
                .filter_map(|(key, token)| {
                    let hash = TokenHash(<[u8; 32]>::try_from(&key[..]).ok()?);
                    let held = token.seal.holder().map(|grain| held_key(grain, &hash));
                    Some((hash, Some(token), held.unwrap_or_default()))
                });
            self.forget_records(ended.collect()).await?;
            if is_last {
                return Ok(());
            }
            tokio::task::yield_now().await;
        }
    }
}

/// The object id of an app, as it is kept.
pub(crate) fn object(grain: &GrainId, id: String) -> Referent {
    Referent::Object {
        grain: grain.clone(),
        id,
    }
}
