//! Numbered places that are used again.

/// Values in numbered places, counted from 0.
pub(super) struct Slab<T> {
    values: Vec<Option<T>>,
    empty: Vec<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self {
            values: Vec::new(),
            empty: Vec::new(),
        }
    }
}

impl<T> Slab<T> {
    pub(super) fn insert(&mut self, value: T) -> u32 {
        if let Some(place) = self.empty.pop() {
            self.values[place as usize] = Some(value);
            return place;
        }
        self.values.push(Some(value));
        u32::try_from(self.values.len() - 1).expect("memory ends before numbers do")
    }

    pub(super) fn get_mut(&mut self, place: u32) -> Option<&mut T> {
        self.values.get_mut(place as usize)?.as_mut()
    }

    pub(super) fn remove(&mut self, place: u32) -> Option<T> {
        let value = self.values.get_mut(place as usize)?.take()?;
        self.empty.push(place);
        Some(value)
    }

    pub(super) fn len(&self) -> usize {
        self.values.len() - self.empty.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Empties all places.
    pub(super) fn take(&mut self) -> impl Iterator<Item = T> + use<T> {
        self.empty.clear();
        std::mem::take(&mut self.values).into_iter().flatten()
    }
}
