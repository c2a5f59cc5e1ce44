//! What apps said of themselves, at hand where it was needed lately. The files beside the grains have the same, so what is
//! not at hand is read again.

use std::collections::HashMap;
use std::rc::Rc;

use percloud_core::id::GrainId;
use percloud_core::sharing::role::RoleDef;

use super::{Described, EventType, RoleText};

/// Bytes of descriptions kept: those of some thousands of ordinary apps, of some hundred of the largest there may be.
const CAPACITY: usize = 16 << 20;

/// Descriptions by their grains.
#[derive(Default)]
pub(crate) struct Recent {
    known: HashMap<GrainId, Known>,
    weight: usize,
    /// Counts uses; what was used last has the highest number.
    uses: u64,
}

struct Known {
    described: Rc<Described>,
    weight: usize,
    used: u64,
}

impl Recent {
    /// What is at hand of a grain.
    pub(super) fn get(&mut self, id: &GrainId) -> Option<Rc<Described>> {
        self.uses += 1;
        let known = self.known.get_mut(id)?;
        known.used = self.uses;
        Some(known.described.clone())
    }

    /// Takes up a description; what was not used for longest gives way to it.
    pub(super) fn put(&mut self, id: GrainId, described: Rc<Described>) {
        self.remove(&id);
        self.uses += 1;
        let weight = weight(&described);
        self.weight += weight;
        let known = Known {
            described,
            weight,
            used: self.uses,
        };
        self.known.insert(id, known);
        if self.weight > CAPACITY {
            self.make_room();
        }
    }

    /// Forgets a grain.
    pub(crate) fn remove(&mut self, id: &GrainId) {
        if let Some(known) = self.known.remove(id) {
            self.weight -= known.weight;
        }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }

    /// Lets a quarter go at a time: going through all of them for each that comes would take longer than reading it.
    fn make_room(&mut self) {
        let mut oldest: Vec<(u64, GrainId)> = self
            .known
            .iter()
            .map(|(id, known)| (known.used, id.clone()))
            .collect();
        oldest.sort_unstable();
        for (_, id) in oldest {
            if self.weight <= CAPACITY / 4 * 3 {
                return;
            }
            self.remove(&id);
        }
    }
}

/// About how many bytes of memory a description takes.
fn weight(described: &Described) -> usize {
    let permissions = described
        .permissions
        .iter()
        .map(|name| size_of::<String>() + name.len());
    // Of a set of up to 64 permissions nothing is on the heap; of a larger one a bit for each.
    let of_role = size_of::<RoleText>() + size_of::<RoleDef>() + described.rules.permissions / 8;
    let roles = described
        .roles
        .iter()
        .map(|role| of_role + role.title.len() + role.verb.len() + role.description.len());
    let events = described
        .events
        .iter()
        .map(|event| size_of::<EventType>() + event.verb.len());
    // A tree of small pieces: what it is as text, several times.
    let offers = serde_json::to_vec(&described.match_requests).map_or(0, |text| 4 * text.len());
    size_of::<Described>()
        + size_of::<(GrainId, Known)>()
        + permissions.chain(roles).chain(events).sum::<usize>()
        + offers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u64) -> GrainId {
        GrainId::new(|bytes| {
            bytes.fill(0);
            bytes[..8].copy_from_slice(&number.to_le_bytes());
        })
    }

    fn described(bytes: usize) -> Rc<Described> {
        Rc::new(Described {
            permissions: vec!["x".repeat(bytes)],
            ..Described::default()
        })
    }

    #[test]
    fn many_grains_take_no_more_than_their_share() {
        let mut recent = Recent::default();
        recent.put(id(0), described(60_000));
        for number in 1..2000 {
            recent.put(id(number), described(60_000));
            assert!(recent.get(&id(0)).is_some(), "it is used all the time");
            assert!(recent.weight <= CAPACITY, "{}", recent.weight);
        }
        assert!(recent.len() > 100, "{}", recent.len());
        assert!(recent.get(&id(1)).is_none(), "it was not used for longest");
        assert!(recent.get(&id(1999)).is_some());
    }

    #[test]
    fn what_is_replaced_or_removed_weighs_nothing() {
        let mut recent = Recent::default();
        for _ in 0..1000 {
            recent.put(id(1), described(60_000));
        }
        assert_eq!(recent.len(), 1);
        recent.remove(&id(1));
        recent.remove(&id(1));
        assert_eq!((recent.len(), recent.weight), (0, 0));
    }

    #[test]
    fn small_descriptions_are_weighed_with_all_they_take() {
        let permissions = vec![String::new(); 4096];
        let many = Described {
            permissions,
            ..Described::default()
        };
        assert!(weight(&many) >= 4096 * size_of::<String>());
    }
}
