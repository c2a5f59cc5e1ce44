//! Records that were read lately, at hand as they are kept. The engine keeps whole pages: of a long table, with what is
//! wanted strewn over it, a page for every record.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quick_cache::Weighter;
use quick_cache::unsync::Cache;

use crate::engine::Writes;

/// Bytes of records kept, with what keeping them takes.
const CAPACITY: u64 = 2 * 1024 * 1024;
/// What keeping a record takes besides its key and value, in bytes: allocations, and its place in two tables.
const OVERHEAD: u64 = 128;
/// A record in passing, with its key; only says how large the tables are at first.
const USUAL: u64 = 512;

/// A record as it is kept; `None` where there is none.
type Value = Option<Arc<[u8]>>;

/// What is at hand. Always as it was after some group of writes, and never older than the last one acknowledged.
pub(crate) struct Recent(Mutex<Known>);

struct Known {
    records: Cache<Vec<u8>, Value, Bytes>,
    /// Groups that were applied so far.
    groups: u64,
}

#[derive(Clone)]
struct Bytes;

impl Weighter<Vec<u8>, Value> for Bytes {
    fn weight(&self, key: &Vec<u8>, value: &Value) -> u64 {
        OVERHEAD + key.len() as u64 + value.as_ref().map_or(0, |value| value.len() as u64)
    }
}

impl Default for Recent {
    fn default() -> Self {
        let usual = usize::try_from(CAPACITY / USUAL).expect("some thousands");
        Self(Mutex::new(Known {
            records: Cache::with_weighter(usual, CAPACITY, Bytes),
            groups: 0,
        }))
    }
}

impl Recent {
    /// The record under an engine key, if need be as `read` finds it.
    pub(crate) fn get(
        &self,
        key: &[u8],
        read: impl FnOnce() -> io::Result<Option<Vec<u8>>>,
    ) -> io::Result<Value> {
        let groups = {
            let known = self.known();
            if let Some(value) = known.records.get(key) {
                return Ok(value.clone());
            }
            known.groups
        };
        let value: Value = read()?.map(Arc::from);
        let mut known = self.known();
        // What was read before a group that is applied by now may be what the group replaced.
        if known.groups == groups {
            known.records.insert(key.to_vec(), value.clone());
        }
        Ok(value)
    }

    /// Takes up what was applied, before it is acknowledged.
    pub(crate) fn applied(&self, writes: &Writes) {
        let mut known = self.known();
        known.groups += 1;
        for (key, value) in writes {
            // Most of what is written is never read again: it finds its way here when it is.
            if known.records.contains_key(key) {
                let value = value.as_deref().map(Arc::from);
                known.records.insert(key.clone(), value);
            }
        }
    }

    /// Forgets everything: nobody knows what of a group was applied.
    pub(crate) fn clear(&self) {
        let mut known = self.known();
        known.groups += 1;
        known.records.clear();
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writes(key: &[u8], value: Option<&[u8]>) -> Writes {
        Writes::from([(key.to_vec(), value.map(<[u8]>::to_vec))])
    }

    fn found(recent: &Recent, key: &[u8]) -> Option<Vec<u8>> {
        let found = recent.get(key, || panic!("the engine is asked again"));
        found.unwrap().map(|value| value.to_vec())
    }

    #[test]
    fn what_was_read_is_not_read_again() {
        let recent = Recent::default();
        recent.get(b"a", || Ok(Some(b"one".to_vec()))).unwrap();
        recent.get(b"b", || Ok(None)).unwrap();
        assert_eq!(found(&recent, b"a"), Some(b"one".to_vec()));
        assert_eq!(found(&recent, b"b"), None, "that there is none is known as well");
    }

    #[test]
    fn what_could_not_be_read_is_asked_for_again() {
        let recent = Recent::default();
        assert!(recent.get(b"a", || Err(io::ErrorKind::Other.into())).is_err());
        let found = recent.get(b"a", || Ok(Some(b"one".to_vec()))).unwrap();
        assert_eq!(found.as_deref(), Some(&b"one"[..]));
    }

    #[test]
    fn writes_are_taken_up() {
        let recent = Recent::default();
        recent.get(b"a", || Ok(Some(b"one".to_vec()))).unwrap();
        recent.get(b"b", || Ok(None)).unwrap();
        recent.applied(&writes(b"a", None));
        recent.applied(&writes(b"b", Some(b"two")));
        assert_eq!(found(&recent, b"a"), None);
        assert_eq!(found(&recent, b"b"), Some(b"two".to_vec()));
    }

    #[test]
    fn what_a_group_replaced_meanwhile_is_not_kept() {
        let recent = Recent::default();
        let read = || {
            // Between reading and keeping.
            recent.applied(&writes(b"a", Some(b"new")));
            Ok(Some(b"old".to_vec()))
        };
        recent.get(b"a", read).unwrap();
        let again = recent.get(b"a", || Ok(Some(b"new".to_vec()))).unwrap();
        assert_eq!(again.as_deref(), Some(&b"new"[..]));
    }

    #[test]
    fn after_a_write_that_failed_nothing_is_known() {
        let recent = Recent::default();
        recent.get(b"a", || Ok(Some(b"one".to_vec()))).unwrap();
        let read = || {
            recent.clear();
            Ok(Some(b"one".to_vec()))
        };
        recent.get(b"b", read).unwrap();
        recent.clear();
        for key in [b"a", b"b"] {
            let asked = recent.get(key, || Ok(Some(b"two".to_vec()))).unwrap();
            assert_eq!(asked.as_deref(), Some(&b"two"[..]));
        }
    }

    #[test]
    fn a_long_list_takes_no_more_than_its_share() {
        let recent = Recent::default();
        for number in 0..100_000_u32 {
            let value = vec![7; 400];
            recent.get(&number.to_be_bytes(), || Ok(Some(value))).unwrap();
        }
        let known = recent.known();
        assert!(known.records.weight() <= CAPACITY, "{}", known.records.weight());
        assert!(known.records.len() > 1000, "{}", known.records.len());
    }
}
