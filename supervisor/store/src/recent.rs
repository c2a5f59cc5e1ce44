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

/// What is at hand: what the engine would say.
pub(crate) struct Recent(Mutex<Known>);

struct Known {
    records: Cache<Vec<u8>, Value, Bytes>,
    /// Groups that were begun and groups that are over: odd while one is applied.
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
        // While a group is applied, what was read may be what it replaces, or what it replaced that with.
        if groups.is_multiple_of(2) && known.groups == groups {
            known.records.insert(key.to_vec(), value.clone());
        }
        Ok(value)
    }

    /// Applies a group: what it replaces is not at hand any more, and what is read meanwhile will not be.
    pub(crate) fn during<T>(&self, writes: &Writes, apply: impl FnOnce() -> T) -> T {
        {
            let mut known = self.known();
            known.groups += 1;
            for key in writes.keys() {
                known.records.remove(key);
            }
        }
        let applied = apply();
        self.known().groups += 1;
        applied
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
    fn what_was_written_is_read_anew() {
        let recent = Recent::default();
        for key in [b"a", b"b", b"c"] {
            recent.get(key, || Ok(Some(b"old".to_vec()))).unwrap();
        }
        let mut writes = writes(b"a", None);
        writes.insert(b"b".to_vec(), Some(b"new".to_vec()));
        recent.during(&writes, || ());
        assert_eq!(recent.get(b"a", || Ok(None)).unwrap(), None);
        let b = recent.get(b"b", || Ok(Some(b"new".to_vec()))).unwrap();
        assert_eq!(b.as_deref(), Some(&b"new"[..]));
        assert_eq!(found(&recent, b"c"), Some(b"old".to_vec()), "nobody wrote it");
    }

    /// Reads while a group is applied, in each way the two can meet; whatever was read then is read again later.
    #[test]
    fn what_is_read_while_it_is_replaced_is_not_kept() {
        let old = || Ok(Some(b"old".to_vec()));
        let writes = writes(b"a", Some(b"new"));
        let meetings: [&dyn Fn(&Recent); 3] = [
            &|recent| {
                // Begun before, over after.
                let read = || {
                    recent.during(&writes, || ());
                    old()
                };
                recent.get(b"a", read).unwrap();
            },
            &|recent| {
                // All of it meanwhile.
                recent.during(&writes, || recent.get(b"a", old).unwrap());
            },
            &|recent| {
                // Begun before, over meanwhile.
                let read = || {
                    recent.known().groups += 1;
                    old()
                };
                recent.get(b"a", read).unwrap();
                recent.known().groups += 1;
            },
        ];
        for (number, meet) in meetings.into_iter().enumerate() {
            let recent = Recent::default();
            meet(&recent);
            let again = recent.get(b"a", || Ok(Some(b"new".to_vec()))).unwrap();
            assert_eq!(again.as_deref(), Some(&b"new"[..]), "meeting {number}");
        }
    }

    #[test]
    fn a_long_list_takes_no_more_than_its_share() {
        let recent = Recent::default();
        for _ in 0..10 {
            recent.get(b"often", || Ok(Some(b"used".to_vec()))).unwrap();
        }
        for number in 0..100_000_u32 {
            let value = vec![7; 400];
            recent.get(&number.to_be_bytes(), || Ok(Some(value))).unwrap();
        }
        let known = recent.known();
        assert!(known.records.weight() <= CAPACITY, "{}", known.records.weight());
        assert!(known.records.len() > 1000, "{}", known.records.len());
        drop(known);
        assert_eq!(found(&recent, b"often"), Some(b"used".to_vec()));
    }
}
