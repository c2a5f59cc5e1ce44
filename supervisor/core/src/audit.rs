//! The audit log's entries: appended, never changed, each bound to the one before it by a hash.
//!
//! Whoever changes, removes or inserts an entry has to change all that follow, and who kept a [`Head`] notices even
//! then; without one kept elsewhere, entries cut off at the end are not missed.
//!
//! No secret is ever in it: a [`crate::secret::Secret`] cannot be turned into a detail by accident, for it has no
//! `Display`.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::digest::digest;
use crate::id::{AccountId, GrainId, ShareId};
use crate::time::Timestamp;

/// Longest detail, in characters; what is longer ends in `…`.
pub const DETAIL_LIMIT: usize = 500;
/// Longest name of an act or a detail, in characters.
pub const WORD_LIMIT: usize = 64;

/// The first bytes of what is hashed: names the encoding, which never changes under that name.
const ENCODING: &[u8] = b"percloud audit entry 1\n";

digest! {
    /// The hash of an entry, and with it of all before.
    EntryHash
}

/// Who acted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Actor {
    /// The server by itself.
    Server,
    /// A person.
    Person(AccountId),
    /// Whoever came by a link.
    Link(ShareId),
    /// An app, in a grain of it.
    Grain(GrainId),
}

/// Upon what was acted.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// The server as a whole.
    Server,
    /// A person's account.
    Person(AccountId),
    /// A grain.
    Grain(GrainId),
    /// A share of a grain.
    Share(ShareId),
}

/// Says why a text is not the name of an act or a detail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a name here has 1 to {WORD_LIMIT} lower-case letters, digits, hyphens and full stops")]
pub struct NotAWord;

/// What was done, in a word such as `share.revoke`, or what a detail is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Word(String);

impl Word {
    /// A word of the program's own. Panics if it is none: that is a mistake in the program, found by its first run.
    #[must_use]
    pub fn new(text: &'static str) -> Self {
        text.parse().expect("words of the program's own are plain")
    }

    /// The word as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for Word {
    type Err = NotAWord;

    fn from_str(text: &str) -> Result<Self, NotAWord> {
        let plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.');
        if (1..=WORD_LIMIT).contains(&text.len()) && text.bytes().all(plain) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NotAWord)
        }
    }
}

impl TryFrom<String> for Word {
    type Error = NotAWord;

    fn try_from(text: String) -> Result<Self, NotAWord> {
        text.parse()
    }
}

impl From<Word> for String {
    fn from(word: Word) -> Self {
        word.0
    }
}

/// What else is worth knowing about an act: the role given, the way removed, the reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Details(BTreeMap<Word, String>);

impl Details {
    /// Adds a detail under a name that is a [`Word`]; the value is cut to [`DETAIL_LIMIT`] characters and kept on one line.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl fmt::Display) -> Self {
        let plain = |character: char| {
            if character.is_control() {
                '\u{fffd}'
            } else {
                character
            }
        };
        let value = value.to_string();
        let mut characters = value.chars().map(plain);
        let mut text: String = characters.by_ref().take(DETAIL_LIMIT).collect();
        if characters.next().is_some() {
            text.push('…');
        }
        self.0.insert(Word::new(name), text);
        self
    }

    /// The details by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// One act, at its place in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its place: 0 for the first, then without a gap.
    pub sequence: u64,
    /// When it was done. Clocks are set back now and then; the order is that of `sequence`.
    pub time: Timestamp,
    /// Who acted.
    pub actor: Actor,
    /// What was done.
    pub act: Word,
    /// Upon what.
    pub subject: Subject,
    /// What else is worth knowing.
    #[serde(default)]
    pub details: Details,
    /// The hash of the entry before; all zero for the first.
    pub previous: EntryHash,
}

impl Entry {
    /// The hash of this entry, and through `previous` of all before it.
    ///
    /// SHA-256 over: the line `percloud audit entry 1`; sequence and time as 8 bytes each; the 32 bytes of `previous`;
    /// actor, act and subject; the number of details as 8 bytes, then name and value of each in the order of names.
    /// A text is its length in bytes as 8 bytes and then its UTF-8; an actor or subject is its kind as a text (`server`,
    /// `person`, `link`, `grain`, `share`) and its id as a text, empty for the server. Numbers are big-endian. No two
    /// entries have the same encoding, for every part says how long it is.
    #[must_use]
    pub fn hash(&self) -> EntryHash {
        let mut sum = Sum(Sha256::new_with_prefix(ENCODING));
        sum.number(self.sequence);
        sum.number(self.time.0);
        sum.0.update(self.previous.0);
        let (kind, id) = match &self.actor {
            Actor::Server => ("server", ""),
            Actor::Person(account) => ("person", account.as_str()),
            Actor::Link(share) => ("link", share.as_str()),
            Actor::Grain(grain) => ("grain", grain.as_str()),
        };
        sum.text(kind);
        sum.text(id);
        sum.text(self.act.as_str());
        let (kind, id) = match &self.subject {
            Subject::Server => ("server", ""),
            Subject::Person(account) => ("person", account.as_str()),
            Subject::Grain(grain) => ("grain", grain.as_str()),
            Subject::Share(share) => ("share", share.as_str()),
        };
        sum.text(kind);
        sum.text(id);
        sum.number(self.details.0.len() as u64);
        for (name, value) in self.details.iter() {
            sum.text(name);
            sum.text(value);
        }
        EntryHash(sum.0.finalize().into())
    }
}

struct Sum(Sha256);

impl Sum {
    fn number(&mut self, number: u64) {
        self.0.update(number.to_be_bytes());
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.0.update(text);
    }
}

/// Where a log ends: what the next entry is bound to. Kept elsewhere, it vouches for all before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The place of the next entry.
    pub next: u64,
    /// The hash of the last one; all zero before the first.
    pub last: EntryHash,
}

impl Default for Head {
    /// The head of an empty log.
    fn default() -> Self {
        Self {
            next: 0,
            last: EntryHash([0; 32]),
        }
    }
}

/// Says where a log is not what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the audit log is broken at entry {at}")]
pub struct Broken {
    /// The place of the first entry that does not follow from the one before it: that one was changed, or something
    /// was removed or put in between.
    pub at: u64,
}

impl Head {
    /// The entry that comes next.
    #[must_use]
    pub fn entry(
        &self,
        time: Timestamp,
        actor: Actor,
        act: Word,
        subject: Subject,
        details: Details,
    ) -> Entry {
        Entry {
            sequence: self.next,
            time,
            actor,
            act,
            subject,
            details,
            previous: self.last,
        }
    }

    /// The head after `entry`, if it is the one that follows.
    pub fn follow(self, entry: &Entry) -> Result<Self, Broken> {
        if entry.sequence != self.next || entry.previous != self.last {
            return Err(Broken { at: self.next });
        }
        Ok(Self {
            next: self.next.checked_add(1).ok_or(Broken { at: self.next })?,
            last: entry.hash(),
        })
    }

    /// Checks that `entries` follow, each from the one before it; returns the head after them.
    pub fn verify<'e>(self, entries: impl IntoIterator<Item = &'e Entry>) -> Result<Self, Broken> {
        entries.into_iter().try_fold(self, Self::follow)
    }
}

/// Checks a log from its first entry on; returns its head, to be compared with one kept elsewhere.
pub fn verify<'e>(entries: impl IntoIterator<Item = &'e Entry>) -> Result<Head, Broken> {
    Head::default().verify(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(count: u64) -> (Vec<Entry>, Head) {
        let account: AccountId = "2222222222222222222222".parse().unwrap();
        let grain: GrainId = "3333333333333333333333".parse().unwrap();
        let mut head = Head::default();
        let mut entries = Vec::new();
        for number in 0..count {
            let entry = head.entry(
                Timestamp(1000 + number),
                Actor::Person(account.clone()),
                Word::new("share.add"),
                Subject::Grain(grain.clone()),
                Details::default()
                    .with("role", number)
                    .with("label", "for the choir"),
            );
            head = head.follow(&entry).unwrap();
            entries.push(entry);
        }
        (entries, head)
    }

    #[test]
    fn an_untouched_log_leads_to_its_head() {
        let (entries, head) = log(5);
        assert_eq!(verify(&entries), Ok(head));
        assert_eq!(verify(&[]), Ok(Head::default()));
        let middle = verify(&entries[..2]).unwrap();
        assert_eq!(middle.verify(&entries[2..]), Ok(head));
        let text = serde_json::to_string(&entries).unwrap();
        let back: Vec<Entry> = serde_json::from_str(&text).unwrap();
        assert_eq!((verify(&back), &back), (Ok(head), &entries));
    }

    #[test]
    fn whatever_is_changed_breaks_the_chain_or_moves_the_head() {
        type Change = fn(&mut Entry);
        let changes: [Change; 10] = [
            |entry| entry.sequence += 1,
            |entry| entry.time.0 += 1,
            |entry| entry.actor = Actor::Server,
            |entry| entry.actor = Actor::Grain("2222222222222222222222".parse().unwrap()),
            |entry| entry.act = Word::new("share.adds"),
            |entry| entry.subject = Subject::Server,
            |entry| entry.subject = Subject::Person("3333333333333333333333".parse().unwrap()),
            |entry| entry.details = Details::default(),
            |entry| entry.details = entry.details.clone().with("role", "other"),
            |entry| entry.previous.0[31] ^= 1,
        ];
        let (entries, head) = log(3);
        for (number, change) in changes.into_iter().enumerate() {
            for at in 0..3 {
                let mut changed = entries.clone();
                change(&mut changed[at]);
                assert_ne!(verify(&changed), Ok(head), "change {number} of entry {at}");
                if at < 2 {
                    let broken = verify(&changed).unwrap_err().at;
                    assert!(broken == at as u64 || broken == at as u64 + 1);
                }
            }
        }
    }

    #[test]
    fn nothing_is_taken_out_put_in_or_put_elsewhere_unnoticed() {
        let (entries, head) = log(4);
        let mut shorter = entries.clone();
        shorter.remove(1);
        assert_eq!(verify(&shorter), Err(Broken { at: 1 }));
        let mut longer = entries.clone();
        longer.insert(2, entries[1].clone());
        assert_eq!(verify(&longer), Err(Broken { at: 2 }));
        let mut swapped = entries.clone();
        swapped.swap(1, 2);
        assert_eq!(verify(&swapped), Err(Broken { at: 1 }));
        assert_ne!(verify(&entries[..3]), Ok(head), "a kept head misses the end");
        assert_eq!(verify(&entries[1..]), Err(Broken { at: 0 }));
    }

    #[test]
    fn texts_cannot_be_shifted_from_one_part_into_another() {
        let head = Head::default();
        let entry = |details: Details| {
            let act = Word::new("a");
            head.entry(Timestamp(0), Actor::Server, act, Subject::Server, details)
                .hash()
        };
        let one = entry(Details::default().with("a", "bc").with("d", ""));
        let other = entry(Details::default().with("a", "b").with("cd", ""));
        assert_ne!(one, other);
        // The encoding is for ever: this sum was worked out from the description, beside the code.
        let plain = entry(Details::default());
        assert_eq!(
            plain.to_string(),
            "0bfa3208ae05def054606262129bae58b45d4ec07700158b97e1d2dfa54b427b"
        );
    }

    #[test]
    fn details_are_short_plain_lines() {
        let details = Details::default()
            .with("long", "x".repeat(DETAIL_LIMIT + 1))
            .with("lines", "one\ntwo");
        let values: Vec<&str> = details.iter().map(|(_, value)| value).collect();
        assert_eq!(values[0], "one\u{fffd}two");
        assert_eq!(values[1].chars().count(), DETAIL_LIMIT + 1);
        assert!(values[1].ends_with("x…"));
    }

    #[test]
    fn words_are_plain() {
        for (text, fits) in [
            ("share.revoke-branch", true),
            ("", false),
            ("Share", false),
            ("a b", false),
            (&"a".repeat(WORD_LIMIT), true),
            (&"a".repeat(WORD_LIMIT + 1), false),
        ] {
            assert_eq!(text.parse::<Word>().is_ok(), fits, "{text}");
        }
    }
}
