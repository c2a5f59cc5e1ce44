//! How a person calls a grain that somebody shared with them (sheet 6.4).
//!
//! Until they name it themselves it is called what its owner calls it, and follows when the owner changes that; a name of
//! their own is theirs alone and stays. A changed title is pointed out, once: a name that turns into that of another
//! grain overnight should not pass for it.

use serde::{Deserialize, Serialize};

use crate::grain::title;

/// What one person calls one grain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Petname {
    /// The owner's title, as far as this person was told.
    owners: String,
    /// The name they gave it themselves.
    #[serde(default)]
    own: Option<String>,
    /// What the owner called it when they last saw it, if that was something else.
    #[serde(default)]
    formerly: Option<String>,
}

impl Petname {
    /// A grain just received, which its owner calls `owners`.
    #[must_use]
    pub fn received(owners: &str) -> Self {
        Self {
            owners: title(owners).unwrap_or_default(),
            own: None,
            formerly: None,
        }
    }

    /// What to call it.
    #[must_use]
    pub fn shown(&self) -> &str {
        self.own.as_deref().unwrap_or(&self.owners)
    }

    /// The owner's title, where this person calls it something else.
    #[must_use]
    pub fn owners_title(&self) -> Option<&str> {
        let own = self.own.as_deref()?;
        (own != self.owners).then_some(&self.owners)
    }

    /// What it was called before, where the name shown has changed since they last saw it.
    #[must_use]
    pub fn formerly(&self) -> Option<&str> {
        match self.own {
            Some(_) => None,
            None => self.formerly.as_deref(),
        }
    }

    /// Whether this person named it.
    #[must_use]
    pub fn is_renamed(&self) -> bool {
        self.own.is_some()
    }

    /// This person calls it `name` from now on; by an empty name what its owner calls it.
    pub fn rename(&mut self, name: &str) {
        self.own = title(name);
        self.seen();
    }

    /// Its owner calls it `owners` from now on. Says whether that is anything new.
    pub fn retitled(&mut self, owners: &str) -> bool {
        let owners = title(owners).unwrap_or_default();
        if owners == self.owners {
            return false;
        }
        let before = std::mem::replace(&mut self.owners, owners);
        let first = self.formerly.take().unwrap_or(before);
        // Back to what they know: nothing to point out.
        self.formerly = Some(first).filter(|first| *first != self.owners);
        true
    }

    /// They have seen what it is called now.
    pub fn seen(&mut self) {
        self.formerly = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(petname: &Petname) -> (&str, Option<&str>, Option<&str>) {
        (petname.shown(), petname.owners_title(), petname.formerly())
    }

    #[test]
    fn it_is_called_what_the_owner_calls_it_until_renamed() {
        let mut petname = Petname::received(" Choir ");
        assert_eq!(state(&petname), ("Choir", None, None));
        assert!(!petname.retitled("Choir"));
        assert!(petname.retitled("Choir 2027"));
        assert_eq!(state(&petname), ("Choir 2027", None, Some("Choir")));
        petname.rename("Singing");
        assert_eq!(state(&petname), ("Singing", Some("Choir 2027"), None));
        assert!(petname.is_renamed());
        assert!(petname.retitled("Orchestra"));
        assert_eq!(state(&petname), ("Singing", Some("Orchestra"), None));
        petname.rename("  ");
        assert_eq!(state(&petname), ("Orchestra", None, None));
        assert!(!petname.is_renamed());
    }

    #[test]
    fn a_change_is_pointed_out_until_it_was_seen() {
        let mut petname = Petname::received("Bank");
        petname.retitled("Holidays");
        petname.retitled("Bank of mine");
        assert_eq!(
            petname.formerly(),
            Some("Bank"),
            "what they knew, not what they never saw"
        );
        petname.retitled("Bank");
        assert_eq!(petname.formerly(), None);
        petname.retitled("Holidays");
        petname.seen();
        assert_eq!(state(&petname), ("Holidays", None, None));
    }

    #[test]
    fn naming_it_like_its_owner_is_still_a_name_of_ones_own() {
        let mut petname = Petname::received("Choir");
        petname.rename("Choir");
        assert_eq!(state(&petname), ("Choir", None, None));
        petname.retitled("Orchestra");
        assert_eq!(state(&petname), ("Choir", Some("Orchestra"), None));
    }

    #[test]
    fn titles_are_cleaned_and_records_come_back() {
        let mut petname = Petname::received("a\u{7}b");
        petname.retitled(&"x".repeat(1000));
        assert_eq!(petname.shown().len(), crate::grain::TITLE_LIMIT);
        assert_eq!(petname.formerly(), Some("ab"));
        let text = serde_json::to_string(&petname).unwrap();
        assert_eq!(serde_json::from_str::<Petname>(&text).unwrap(), petname);
        assert_eq!(Petname::received("\n").shown(), "");
    }
}
