//! What can be ended by its id: sessions, and references that were restored, claimed, tied or handed out.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use capnp::Error;

use crate::membrane::{Id, Membrane, WeakMembrane};

/// Entries before the first look for dead ones.
const FEW: usize = 64;

/// Every membrane that has an id, while something that crossed it is held.
#[derive(Default)]
pub(crate) struct References {
    listed: RefCell<HashMap<Id, Vec<Listed>>>,
    /// Entries of `listed`, dead ones included.
    entries: Cell<usize>,
    /// How many entries there may be before the dead ones are looked for.
    crowd: Cell<usize>,
    /// Answers of the broker under way that will name an id.
    awaited: Cell<usize>,
    /// What was ended while an answer was under way, with the number of its ending.
    ended: RefCell<HashMap<Id, u64>>,
    endings: Cell<u64>,
    /// What was found to be held by nobody, until the broker is told.
    gone: RefCell<Vec<Id>>,
}

struct Listed {
    membrane: WeakMembrane,
    farewell: &'static str,
    /// The broker lists it, too, until it is told that nobody holds it.
    is_reference: bool,
}

impl References {
    /// Lists a membrane under `id`; when it is ended, its calls fail with `farewell`.
    pub(crate) fn list(&self, id: Id, membrane: &Membrane, farewell: &'static str) {
        self.add(id, membrane, farewell, false);
    }

    fn add(&self, id: Id, membrane: &Membrane, farewell: &'static str, is_reference: bool) {
        if self.entries.get() >= self.crowd.get().max(FEW) {
            self.crowd.set(self.sweep() * 2);
        }
        let membrane = membrane.downgrade();
        self.listed.borrow_mut().entry(id).or_default().push(Listed {
            membrane,
            farewell,
            is_reference,
        });
        self.entries.set(self.entries.get() + 1);
    }

    /// Breaks everything listed under `id`, and what an answer under way will bring under it.
    pub(crate) fn end(&self, id: &[u8]) {
        let Ok(id) = Id::try_from(id) else { return };
        self.endings.set(self.endings.get() + 1);
        if self.awaited.get() > 0 {
            self.ended.borrow_mut().insert(id, self.endings.get());
        }
        let listed = self.listed.borrow_mut().remove(&id).unwrap_or_default();
        self.entries.set(self.entries.get() - listed.len());
        for Listed {
            membrane, farewell, ..
        } in listed
        {
            if let Some(membrane) = membrane.upgrade() {
                membrane.revoke(farewell);
            }
        }
    }

    /// To be held from before the broker is asked for something that has an id until that is listed: the reference
    /// may be ended before its answer has been read.
    ///
    /// # Errors
    /// When `most` are held already.
    pub(crate) fn expect(self: &Rc<Self>, most: usize) -> Result<Expectation, Error> {
        if self.entries.get() + self.awaited.get() >= most && self.sweep() + self.awaited.get() >= most {
            return Err(Error::overloaded(format!(
                "this grain holds {most} capabilities of others already"
            )));
        }
        self.awaited.set(self.awaited.get() + 1);
        Ok(Expectation {
            references: Rc::clone(self),
            since: self.endings.get(),
        })
    }

    /// References that have been found since the last time to be held by nobody.
    pub(crate) fn take_gone(&self) -> Vec<Id> {
        self.gone.take()
    }

    /// Forgets what nobody holds; how many are left.
    fn sweep(&self) -> usize {
        let mut left = 0;
        let mut gone = self.gone.borrow_mut();
        self.listed.borrow_mut().retain(|id, listed| {
            let is_reference = listed.iter().any(|listed| listed.is_reference);
            listed.retain(|listed| listed.membrane.upgrade().is_some());
            left += listed.len();
            if listed.is_empty() && is_reference {
                gone.push(*id);
            }
            !listed.is_empty()
        });
        self.entries.set(left);
        left
    }
}

/// An answer under way that will name an id.
pub(crate) struct Expectation {
    references: Rc<References>,
    since: u64,
}

impl Expectation {
    /// Lists what the answer brought.
    pub(crate) fn list(self, id: Id, membrane: &Membrane, farewell: &'static str) {
        self.references.add(id, membrane, farewell, true);
        let ending = self.references.ended.borrow().get(&id).copied();
        if ending.is_some_and(|ending| ending > self.since) {
            membrane.revoke(farewell);
        }
    }
}

impl Drop for Expectation {
    fn drop(&mut self) {
        let awaited = &self.references.awaited;
        awaited.set(awaited.get() - 1);
        if awaited.get() == 0 {
            self.references.ended.borrow_mut().clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use capnp_rpc::new_client;
    use percloud_schemas::util_capnp::handle;

    use super::*;
    use crate::membrane::{Realm, Side};

    struct Nothing;

    impl handle::Server for Nothing {}

    #[test]
    fn what_is_ended_before_its_answer_is_read_arrives_dead() {
        let (references, realm) = (Rc::new(References::default()), Realm::default());
        references.end(&[1; 16]);
        let (first, second) = (references.expect(9).unwrap(), references.expect(9).unwrap());
        references.end(&[2; 16]);
        let third = references.expect(9).unwrap();

        let cases = [
            (first, [1; 16], false),
            (second, [2; 16], true),
            (third, [2; 16], false),
        ];
        for (expectation, id, is_dead) in cases {
            let membrane = realm.membrane_of(id);
            expectation.list(id, &membrane, "over");
            assert_eq!(membrane.is_revoked(), is_dead);
        }
        assert!(references.ended.borrow().is_empty());
    }

    #[test]
    fn what_nobody_holds_does_not_count() {
        let (references, realm) = (Rc::new(References::default()), Realm::default());
        let mut held = Vec::new();
        for number in 0..200_u8 {
            let membrane = realm.membrane_of([number; 16]);
            references.list([number; 16], &membrane, "over");
            if number < 5 {
                held.push(membrane.carry::<handle::Client>(new_client(Nothing), Side::Outside));
            }
        }
        assert!(
            references.entries.get() < 100,
            "dead ones are forgotten on the way"
        );
        assert!(references.expect(6).is_ok());
        assert!(references.expect(5).is_err());
        drop(held);
        assert!(references.expect(5).is_ok());
        assert!(references.take_gone().is_empty(), "sessions end by themselves");
    }

    #[test]
    fn references_nobody_holds_are_told_once() {
        let (references, realm) = (Rc::new(References::default()), Realm::default());
        let mut held = Vec::new();
        for number in 0..FEW as u8 {
            let membrane = realm.membrane_of([number; 16]);
            references
                .expect(1000)
                .unwrap()
                .list([number; 16], &membrane, "over");
            if number == 7 {
                held.push(membrane.carry::<handle::Client>(new_client(Nothing), Side::Outside));
            }
        }
        references.sweep();
        let mut gone = references.take_gone();
        gone.sort_unstable();
        let expected: Vec<Id> = (0..FEW as u8)
            .filter(|number| *number != 7)
            .map(|number| [number; 16])
            .collect();
        assert_eq!(gone, expected);
        references.sweep();
        assert!(references.take_gone().is_empty());
        drop(held);
        references.sweep();
        assert_eq!(references.take_gone(), [[7; 16]]);
    }
}
