//! The audit log: who was given what, who came by it, what was taken back. Appended in the same commit as the act
//! itself, each entry bound to the one before.

use std::cell::RefCell;

use percloud_core::audit::{Actor, Details, Entry, EntryHash, Subject, verify};
use percloud_core::id::{AccountId, GrainId};
use percloud_store::{Batch, ReadError, Store};
use serde_json::{Value, json};

use crate::account::SignedIn;
use crate::broker::Broker;
use crate::problem::Problem;
use crate::record::Audited;

/// Entries shown at most.
const SHOWN: usize = 500;

/// What is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    SetUp,
    Invited,
    Uninvited,
    Joined,
    Shared,
    MadeLink,
    AddedDevice,
    ChangedWay,
    Revoked,
    LimitedMyself,
    FollowedLink,
    Accepted,
    Declined,
    OfferedOwnership,
    TookOwnership,
    Deleted,
    Handed,
    TookBack,
    BackedUp,
}

impl Act {
    fn word(self) -> &'static str {
        match self {
            Self::SetUp => "server.set-up",
            Self::Invited => "account.invite",
            Self::Uninvited => "account.uninvite",
            Self::Joined => "account.join",
            Self::Shared => "share.person",
            Self::MadeLink => "share.link",
            Self::AddedDevice => "share.device",
            Self::ChangedWay => "share.change",
            Self::Revoked => "share.revoke",
            Self::LimitedMyself => "share.limit-oneself",
            Self::FollowedLink => "share.follow-link",
            Self::Accepted => "share.accept",
            Self::Declined => "share.decline",
            Self::OfferedOwnership => "owner.offer",
            Self::TookOwnership => "owner.take",
            Self::Deleted => "grain.delete",
            Self::Handed => "capability.hand",
            Self::TookBack => "capability.take-back",
            Self::BackedUp => "grain.back-up",
        }
    }

    /// What it reads like; `what` is the detail kept with it.
    fn sentence(word: &str, what: &str) -> String {
        let about = |text: &str| {
            if what.is_empty() {
                text.to_owned()
            } else {
                format!("{text}: {what}")
            }
        };
        match word {
            "server.set-up" => "set up this server".to_owned(),
            "account.invite" => about("invited somebody"),
            "account.uninvite" => about("took an invitation back"),
            "account.join" => "came by an invitation".to_owned(),
            "share.person" => about("shared it"),
            "share.link" => about("made a link"),
            "share.device" => about("let a program in"),
            "share.change" => about("changed a way in"),
            "share.revoke" => about("took a way in back"),
            "share.limit-oneself" => "limited themselves".to_owned(),
            "share.follow-link" => about("came in"),
            "share.accept" => about("accepted"),
            "share.decline" => about("declined"),
            "owner.offer" => about("offered to hand it over"),
            "owner.take" => "became its owner".to_owned(),
            "grain.delete" => about("deleted it for good"),
            "capability.hand" => about("handed it something"),
            "capability.take-back" => about("took something from it"),
            "grain.back-up" => "downloaded a copy".to_owned(),
            other => about(other),
        }
    }
}

/// Where the log ends.
#[derive(Debug)]
pub(crate) struct End {
    next: u64,
    hash: EntryHash,
    /// Where it ends once what is being committed is durable.
    coming: Option<(u64, EntryHash)>,
}

/// Finds the end of the log.
pub(crate) fn load(store: &Store) -> Result<RefCell<End>, ReadError> {
    let last = entries(store)?.pop();
    Ok(RefCell::new(match last {
        Some(entry) => End {
            next: entry.sequence + 1,
            hash: entry.hash(),
            coming: None,
        },
        None => End {
            next: 0,
            hash: EntryHash([0; 32]),
            coming: None,
        },
    }))
}

fn entries(store: &Store) -> Result<Vec<Entry>, ReadError> {
    let all = store.scan::<Audited>(b"")?;
    Ok(all.into_iter().map(|(_, entry)| entry.0).collect())
}

impl Broker {
    /// Adds an entry to a batch that [`Broker::commit_noted`] will commit. The caller holds [`Broker::sharing_turn`], which
    /// keeps the order.
    pub(crate) fn note(
        &self,
        batch: &mut Batch,
        actor: Option<&AccountId>,
        act: Act,
        grain: Option<&GrainId>,
        what: &str,
    ) {
        let mut end = self.audit.borrow_mut();
        let (sequence, previous) = end.coming.unwrap_or((end.next, end.hash));
        let details = if what.is_empty() {
            Details::default()
        } else {
            Details::default().with("what", what)
        };
        let entry = Entry {
            sequence,
            time: self.outside.now(),
            actor: actor.map_or(Actor::Server, |person| Actor::Person(person.clone())),
            act: act.word().parse().expect("acts are words"),
            subject: grain.map_or(Subject::Server, |grain| Subject::Grain(grain.clone())),
            details,
            previous,
        };
        end.coming = Some((sequence + 1, entry.hash()));
        batch.put(&sequence.to_be_bytes(), &Audited(entry));
    }

    /// Makes a batch durable, and with it what was noted in it.
    pub(crate) async fn commit_noted(&self, batch: Batch) -> Result<(), Problem> {
        let committed = self.commit(batch).await;
        let mut end = self.audit.borrow_mut();
        if let Some((next, hash)) = end.coming.take()
            && committed.is_ok()
        {
            end.next = next;
            end.hash = hash;
        }
        committed
    }

    /// What happened to a grain, for its owner.
    pub(crate) async fn grain_history(&self, who: &SignedIn, id: &GrainId) -> Result<Value, Problem> {
        self.own_grain(who, id)?;
        self.history(|entry| entry.subject == Subject::Grain(id.clone()))
    }

    /// What happened on this server, for who runs it: nothing of what others do with their own grains.
    pub(crate) async fn server_history(&self, who: &SignedIn) -> Result<Value, Problem> {
        self.runs_the_server(who)?;
        self.history(|entry| entry.subject == Subject::Server)
    }

    fn history(&self, which: impl Fn(&Entry) -> bool) -> Result<Value, Problem> {
        let all = entries(&self.store).map_err(|error| Problem::internal("read the audit log", &error))?;
        let intact = verify(&all).is_ok();
        if !intact {
            tracing::error!("the audit log has been changed");
        }
        let shown: Vec<Value> = all
            .iter()
            .rev()
            .filter(|entry| which(entry))
            .take(SHOWN)
            .map(|entry| {
                let who = match &entry.actor {
                    Actor::Person(person) => self.name_of(person),
                    _ => None,
                };
                let what = entry.details.iter().find(|(name, _)| *name == "what");
                let what = Act::sentence(entry.act.as_str(), what.map_or("", |(_, what)| what));
                json!({"time": entry.time, "who": who, "what": what})
            })
            .collect();
        Ok(json!({"entries": shown, "intact": intact}))
    }
}
