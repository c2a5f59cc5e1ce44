//! The audit log: who was given what, who came by it, what was taken back. Appended in the same commit as the act
//! itself, each entry bound to the one before.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};

use percloud_core::audit::{Actor, Details, Head, Subject};
use percloud_core::id::{AccountId, GrainId};
use percloud_store::{Batch, ReadError, Store};
use serde_json::{Value, json};

use crate::account::SignedIn;
use crate::broker::Broker;
use crate::catalogue::each;
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

/// Where the log ends, and where in it is what.
#[derive(Debug, Default)]
pub(crate) struct Log {
    end: Head,
    /// Where it ends once what is being committed is durable, and what is.
    coming: Option<(Head, Vec<(Subject, u64)>)>,
    /// The places of what was done with each grain, and with the server; of each the latest that are shown.
    places: HashMap<Subject, VecDeque<u64>>,
    /// Whether every entry followed from the one before it when the server started.
    intact: bool,
}

impl Log {
    fn place(&mut self, subject: Subject, sequence: u64) {
        let places = self.places.entry(subject).or_default();
        places.push_back(sequence);
        if places.len() > SHOWN {
            places.pop_front();
        }
    }

    /// How many there are of which it is known where something is.
    #[cfg(test)]
    pub(crate) fn subjects(&self) -> usize {
        self.places.len()
    }

    /// A grain is gone: nobody can ask for what happened to it any more. Its entries stay.
    pub(crate) fn forget(&mut self, id: &GrainId) {
        self.places.remove(&Subject::Grain(id.clone()));
    }
}

/// Reads the log from its beginning to its end, and checks it on the way.
pub(crate) fn load(store: &Store) -> Result<RefCell<Log>, ReadError> {
    let mut log = Log {
        intact: true,
        ..Log::default()
    };
    let mut gone = Vec::new();
    each::<Audited>(store, |_, Audited(entry)| {
        if let (Subject::Grain(id), true) = (&entry.subject, entry.act.as_str() == Act::Deleted.word()) {
            gone.push(id.clone());
        }
        log.intact &= log.end.follow(&entry).is_ok();
        // Whatever happened to it, it goes on behind its last entry.
        log.end = Head {
            next: entry.sequence.saturating_add(1),
            last: entry.hash(),
        };
        log.place(entry.subject, entry.sequence);
    })?;
    gone.iter().for_each(|id| log.forget(id));
    if !log.intact {
        tracing::error!("the audit log has been changed");
    }
    Ok(RefCell::new(log))
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
        let mut log = self.audit.borrow_mut();
        let log = &mut *log;
        let (end, subjects) = log.coming.get_or_insert_with(|| (log.end, Vec::new()));
        let details = if what.is_empty() {
            Details::default()
        } else {
            Details::default().with("what", what)
        };
        let entry = end.entry(
            self.outside.now(),
            actor.map_or(Actor::Server, |person| Actor::Person(person.clone())),
            act.word().parse().expect("acts are words"),
            grain.map_or(Subject::Server, |grain| Subject::Grain(grain.clone())),
            details,
        );
        *end = end.follow(&entry).expect("it was made to follow");
        subjects.push((entry.subject.clone(), entry.sequence));
        batch.put(&entry.sequence.to_be_bytes(), &Audited(entry));
    }

    /// Makes a batch durable, and with it what was noted in it.
    pub(crate) async fn commit_noted(&self, batch: Batch) -> Result<(), Problem> {
        let committed = self.commit(batch).await;
        let mut log = self.audit.borrow_mut();
        if let Some((end, subjects)) = log.coming.take()
            && committed.is_ok()
        {
            log.end = end;
            for (subject, sequence) in subjects {
                log.place(subject, sequence);
            }
        }
        committed
    }

    /// What happened to a grain, for its owner.
    pub(crate) async fn grain_history(&self, who: &SignedIn, id: &GrainId) -> Result<Value, Problem> {
        self.own_grain(who, id)?;
        self.shown_of(&Subject::Grain(id.clone()))
    }

    /// What happened on this server, for who runs it: nothing of what others do with their own grains.
    pub(crate) async fn server_history(&self, who: &SignedIn) -> Result<Value, Problem> {
        self.runs_the_server(who)?;
        self.shown_of(&Subject::Server)
    }

    /// The latest entries of one subject. That nothing was changed was seen at start of all, and is looked at again of
    /// those that are shown.
    fn shown_of(&self, subject: &Subject) -> Result<Value, Problem> {
        let log = self.audit.borrow();
        let mut intact = log.intact;
        let mut entries = Vec::new();
        for sequence in log.places.get(subject).into_iter().flatten().rev() {
            let Some(Audited(entry)) = self.read(&sequence.to_be_bytes())? else {
                intact = false;
                continue;
            };
            let next = sequence.saturating_add(1);
            let bound = if next == log.end.next {
                Some(log.end.last)
            } else {
                let next: Option<Audited> = self.read(&next.to_be_bytes())?;
                next.map(|Audited(next)| next.previous)
            };
            intact &= bound == Some(entry.hash()) && entry.subject == *subject;
            entries.push(entry);
        }
        if !intact {
            tracing::error!("the audit log has been changed");
        }
        let shown: Vec<Value> = entries
            .iter()
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
