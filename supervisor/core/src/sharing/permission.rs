//! Sets of an app's permissions, by their index in the app's own list.
//!
//! A vector that is shorter than another is padded with false, so two sets are equal when the same permissions are in
//! them, however long the lists they were made of.

use serde::{Deserialize, Serialize};

use crate::secret::hex;

/// How many permissions an app may define.
pub const PERMISSION_LIMIT: usize = 4096;

const WORD: usize = u64::BITS as usize;

/// Says that a list of permissions is longer than any app's may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an app has at most {PERMISSION_LIMIT} permissions")]
pub struct TooManyPermissions;

/// Says why a text is not a set of permissions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a set of permissions: pairs of hexadecimal digits are expected, at most {PERMISSION_LIMIT} bits"
)]
pub struct NotPermissions;

/// Which of an app's permissions are held.
///
/// Written as hexadecimal digits, two for each eight permissions, the lowest bit first; empty bytes at the end are left
/// out. No memory is taken from the heap while an app has at most 64 permissions, as nearly all do.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PermissionSet {
    low: u64,
    /// Permissions from 64 on; the last word is never zero, so that equal sets are equal values.
    high: Vec<u64>,
}

impl PermissionSet {
    /// The set of the first `count` permissions: everything an app with `count` permissions can grant.
    ///
    /// A count above [`PERMISSION_LIMIT`] means the limit.
    #[must_use]
    pub fn all(count: usize) -> Self {
        let count = count.min(PERMISSION_LIMIT);
        let ones = |bits: usize| if bits >= WORD { u64::MAX } else { (1 << bits) - 1 };
        let mut set = Self {
            low: ones(count),
            high: Vec::new(),
        };
        let mut left = count.saturating_sub(WORD);
        while left > 0 {
            set.high.push(ones(left));
            left = left.saturating_sub(WORD);
        }
        set
    }

    /// Reads a vector as an app writes it.
    ///
    /// An over-long vector is an error and not cut off: for a list of what is *required*, less would be more.
    pub fn from_bools(bools: impl IntoIterator<Item = bool>) -> Result<Self, TooManyPermissions> {
        let mut set = Self::default();
        for (index, held) in bools.into_iter().enumerate() {
            if index >= PERMISSION_LIMIT {
                return Err(TooManyPermissions);
            }
            if held {
                set.insert(index)?;
            }
        }
        Ok(set)
    }

    /// The vector an app of `count` permissions is told.
    pub fn to_bools(&self, count: usize) -> impl Iterator<Item = bool> + '_ {
        (0..count).map(|index| self.contains(index))
    }

    /// The indices of the permissions held, in rising order.
    pub fn indices(&self) -> impl Iterator<Item = usize> + '_ {
        std::iter::once(self.low)
            .chain(self.high.iter().copied())
            .enumerate()
            .flat_map(|(word, bits)| {
                (0..WORD)
                    .filter(move |bit| bits >> bit & 1 == 1)
                    .map(move |bit| word * WORD + bit)
            })
    }

    /// Adds one permission.
    pub fn insert(&mut self, index: usize) -> Result<(), TooManyPermissions> {
        if index >= PERMISSION_LIMIT {
            return Err(TooManyPermissions);
        }
        let bit = 1 << (index % WORD);
        match (index / WORD).checked_sub(1) {
            None => self.low |= bit,
            Some(word) => {
                if self.high.len() <= word {
                    self.high.resize(word + 1, 0);
                }
                self.high[word] |= bit;
            }
        }
        Ok(())
    }

    /// Whether the permission is held.
    #[must_use]
    pub fn contains(&self, index: usize) -> bool {
        let word = match (index / WORD).checked_sub(1) {
            None => self.low,
            Some(word) => self.high.get(word).copied().unwrap_or(0),
        };
        word >> (index % WORD) & 1 == 1
    }

    /// Whether every permission of `other` is held.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        let within = |mine: u64, others: u64| others & !mine == 0;
        let mine = self.high.iter().copied().chain(std::iter::repeat(0));
        within(self.low, other.low) && mine.zip(&other.high).all(|(mine, others)| within(mine, *others))
    }

    /// Whether no permission is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.low == 0 && self.high.is_empty()
    }

    /// How many permissions are held.
    #[must_use]
    pub fn len(&self) -> usize {
        let high: u32 = self.high.iter().map(|word| word.count_ones()).sum();
        (self.low.count_ones() + high) as usize
    }

    /// Adds what `other` holds; says whether anything was new.
    pub fn unite_with(&mut self, other: &Self) -> bool {
        let grown = !self.covers(other);
        self.low |= other.low;
        if self.high.len() < other.high.len() {
            self.high.resize(other.high.len(), 0);
        }
        for (mine, others) in self.high.iter_mut().zip(&other.high) {
            *mine |= others;
        }
        grown
    }

    /// Keeps only what `other` holds too.
    pub fn limit_to(&mut self, other: &Self) {
        self.low &= other.low;
        self.high.truncate(other.high.len());
        for (mine, others) in self.high.iter_mut().zip(&other.high) {
            *mine &= others;
        }
        self.trim();
    }

    /// Gives up what `other` holds.
    pub fn give_up(&mut self, other: &Self) {
        self.low &= !other.low;
        for (mine, others) in self.high.iter_mut().zip(&other.high) {
            *mine &= !others;
        }
        self.trim();
    }

    /// What either holds.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut both = self.clone();
        both.unite_with(other);
        both
    }

    /// What both hold.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let mut common = self.clone();
        common.limit_to(other);
        common
    }

    fn trim(&mut self) {
        while self.high.last() == Some(&0) {
            self.high.pop();
        }
    }
}

impl From<PermissionSet> for String {
    fn from(set: PermissionSet) -> Self {
        let words = std::iter::once(set.low).chain(set.high);
        let bytes: Vec<u8> = words.flat_map(u64::to_le_bytes).collect();
        let used = bytes
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |last| last + 1);
        hex(&bytes[..used])
    }
}

impl TryFrom<String> for PermissionSet {
    type Error = NotPermissions;

    fn try_from(text: String) -> Result<Self, NotPermissions> {
        let digits = text.as_bytes();
        if !digits.len().is_multiple_of(2) || digits.len() > PERMISSION_LIMIT / 4 {
            return Err(NotPermissions);
        }
        let mut set = Self::default();
        for (place, digit) in digits.iter().enumerate() {
            // The first digit of a pair is the upper half of its byte.
            let first = place / 2 * 8 + if place % 2 == 0 { 4 } else { 0 };
            let nibble = char::from(*digit).to_digit(16).ok_or(NotPermissions)?;
            for bit in (0..4).filter(|bit| nibble >> bit & 1 == 1) {
                set.insert(first + bit).map_err(|_| NotPermissions)?;
            }
        }
        Ok(set)
    }
}

impl std::fmt::Debug for PermissionSet {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_set().entries(self.indices()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(indices: &[usize]) -> PermissionSet {
        let mut set = PermissionSet::default();
        for index in indices {
            set.insert(*index).unwrap();
        }
        set
    }

    #[test]
    fn shorter_vectors_are_padded_with_false() {
        let short = PermissionSet::from_bools([true]).unwrap();
        let long = PermissionSet::from_bools([true].into_iter().chain([false; 200])).unwrap();
        assert_eq!(short, long);
        assert!(short.covers(&long) && long.covers(&short));
        assert!(!short.contains(5000));
        assert_eq!(short.to_bools(3).collect::<Vec<_>>(), [true, false, false]);
    }

    #[test]
    fn set_algebra_holds_across_words() {
        let many = set(&[0, 63, 64, 127, 128, 4095]);
        let few = set(&[63, 64, 200]);
        assert_eq!(many.intersection(&few), set(&[63, 64]));
        assert_eq!(
            many.union(&few).indices().collect::<Vec<_>>(),
            [0, 63, 64, 127, 128, 200, 4095]
        );
        let mut rest = many.clone();
        rest.give_up(&set(&[4095, 128, 1]));
        assert_eq!(rest, set(&[0, 63, 64, 127]));
        assert!(many.covers(&rest) && !rest.covers(&many));
        assert_eq!(many.len(), 6);
        assert!(set(&[]).is_empty() && !set(&[64]).is_empty());
        assert!(!set(&[64]).clone().unite_with(&set(&[64])));
        assert!(set(&[64]).unite_with(&set(&[65])));
    }

    #[test]
    fn all_is_exactly_the_apps_own() {
        for count in [0, 1, 63, 64, 65, 128, 4096] {
            let all = PermissionSet::all(count);
            assert_eq!(all.len(), count);
            assert!(!all.contains(count));
            assert_eq!(all.to_bools(count).filter(|held| *held).count(), count);
        }
        assert_eq!(
            PermissionSet::all(usize::MAX),
            PermissionSet::all(PERMISSION_LIMIT)
        );
    }

    #[test]
    fn more_than_any_app_has_is_refused_and_not_cut_off() {
        assert!(PermissionSet::from_bools(vec![false; PERMISSION_LIMIT]).is_ok());
        assert_eq!(
            PermissionSet::from_bools(vec![false; PERMISSION_LIMIT + 1]),
            Err(TooManyPermissions)
        );
        assert_eq!(
            PermissionSet::default().insert(PERMISSION_LIMIT),
            Err(TooManyPermissions)
        );
    }

    #[test]
    fn written_form_is_short_and_comes_back() {
        for (indices, text) in [
            (vec![], ""),
            (vec![0], "01"),
            (vec![4], "10"),
            (vec![0, 1, 9], "0302"),
            (vec![64], "000000000000000001"),
        ] {
            let set = set(&indices);
            assert_eq!(String::from(set.clone()), text);
            assert_eq!(PermissionSet::try_from(text.to_owned()), Ok(set));
        }
        let all = PermissionSet::all(PERMISSION_LIMIT);
        assert_eq!(PermissionSet::try_from(String::from(all.clone())), Ok(all));
        // Zeros at the end are not an error, and make no difference.
        assert_eq!(PermissionSet::try_from("0100".to_owned()), Ok(set(&[0])));
    }

    #[test]
    fn foreign_text_is_no_set() {
        for text in ["1", "0x", "zz", "\u{e4}", &"0".repeat(PERMISSION_LIMIT / 4 + 2)] {
            assert_eq!(
                PermissionSet::try_from(text.to_owned()),
                Err(NotPermissions),
                "{text}"
            );
        }
    }
}
