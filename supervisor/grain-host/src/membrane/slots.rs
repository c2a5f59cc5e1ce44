//! Small tables: numbered places that are used again, and a hash for addresses.

use std::hash::{BuildHasherDefault, Hasher};

/// Values in numbered places; a place is used again once it is empty.
pub(super) struct Slots<T> {
    values: Vec<Option<T>>,
    empty: Vec<usize>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self {
            values: Vec::new(),
            empty: Vec::new(),
        }
    }
}

impl<T> Slots<T> {
    pub(super) fn insert(&mut self, value: T) -> usize {
        if let Some(place) = self.empty.pop() {
            self.values[place] = Some(value);
            place
        } else {
            self.values.push(Some(value));
            self.values.len() - 1
        }
    }

    pub(super) fn get(&self, place: usize) -> Option<&T> {
        self.values.get(place)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, place: usize) -> Option<&mut T> {
        self.values.get_mut(place)?.as_mut()
    }

    pub(super) fn remove(&mut self, place: usize) -> Option<T> {
        let value = self.values.get_mut(place)?.take();
        if value.is_some() {
            self.empty.push(place);
        }
        value
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.values.len() - self.empty.len()
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        self.values.iter().flatten()
    }

    pub(super) fn into_values(self) -> impl Iterator<Item = T> {
        self.values.into_iter().flatten()
    }
}

/// Hashes addresses. Nobody outside this process chooses them, so spreading is enough.
pub(super) type Spread = BuildHasherDefault<SpreadHasher>;

#[derive(Default)]
pub(super) struct SpreadHasher(u64);

impl Hasher for SpreadHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_usize(usize::from(*byte));
        }
    }

    fn write_usize(&mut self, value: usize) {
        // The odd number nearest to 2^64 divided by the golden ratio; the turn brings the high bits down.
        self.0 = (self.0 ^ value as u64)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(29);
    }

    fn write_isize(&mut self, value: isize) {
        self.write_usize(value.cast_unsigned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_used_again_and_never_twice_at_once() {
        let mut slots = Slots::default();
        let first = slots.insert("a");
        let second = slots.insert("b");
        assert_ne!(first, second);
        assert_eq!(slots.remove(first), Some("a"));
        assert_eq!(slots.remove(first), None);
        assert_eq!(slots.len(), 1);
        assert_eq!(slots.insert("c"), first);
        assert_eq!(slots.insert("d"), 2);
        assert_eq!(
            (slots.get(first), slots.get(second), slots.get(9)),
            (Some(&"c"), Some(&"b"), None)
        );
        assert_eq!(slots.into_values().collect::<Vec<_>>(), ["c", "b", "d"]);
    }
}
