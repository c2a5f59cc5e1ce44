//! Finds titles by a part of them: for every three bytes in a row, who has them in their title.

use std::collections::HashMap;
use std::rc::Rc;

use percloud_core::id::GrainId;

/// Candidates beyond which looking through all, latest used first, finds a page sooner.
const FEW: usize = 1024;
/// Numbers that may be out of date, whatever the size.
const SLACK: usize = 1024;

/// The titles of one owner. What is listed is never taken out: a number whose grain goes by another one now is out of date.
#[derive(Default)]
pub(super) struct Words {
    numbered: Vec<Rc<GrainId>>,
    having: HashMap<[u8; 3], Vec<u32>>,
}

impl Words {
    /// Lists a title; its grain goes by the number returned from now on.
    pub(super) fn list(&mut self, id: &Rc<GrainId>, title: &str) -> u32 {
        let number = u32::try_from(self.numbered.len()).expect("made anew long before");
        self.numbered.push(id.clone());
        for three in title.as_bytes().windows(3) {
            let having = self.having.entry([three[0], three[1], three[2]]).or_default();
            if having.last() != Some(&number) {
                having.push(number);
            }
        }
        number
    }

    /// Whether most of what is listed is out of date, where `current` grains are listed.
    pub(super) fn is_stale(&self, current: usize) -> bool {
        self.numbered.len() > 2 * current + SLACK
    }

    /// All grains that may have `text` in their title, with the number that must still be theirs; `None` where these are
    /// not few or the text is too short to tell.
    pub(super) fn candidates(&self, text: &str) -> Option<impl Iterator<Item = (u32, &Rc<GrainId>)>> {
        let threes = text.as_bytes().windows(3);
        let having = threes.map(|three| {
            let having = self.having.get(three);
            having.map_or(&[][..], Vec::as_slice)
        });
        let fewest = having.min_by_key(|having| having.len())?;
        let numbers = (fewest.len() <= FEW).then_some(fewest)?.iter();
        Some(numbers.filter_map(|number| {
            let id = self.numbered.get(usize::try_from(*number).ok()?)?;
            Some((*number, id))
        }))
    }
}
