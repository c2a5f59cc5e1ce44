//! Saving an app's object from outside (sheet 3.1): the question never reaches the object. The platform answers it, by
//! asking the app for an object id and the broker for a token.

use std::rc::Rc;

use capnp::capability::Promise;
use capnp::private::capability::{ClientHook, ParamsHook, ResultsHook};
use capnp::traits::HasTypeId;
use percloud_schemas::{persistent_capnp, supervisor_capnp};

use super::cap::CapState;
use super::{Id, Membrane, Realm, Side};

/// What somebody outside asks of an object of the app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    /// `Persistent.save`.
    Save,
    /// `SystemPersistent.addRequirements`.
    AddRequirements,
}

/// The object that is asked about, and by which way the question came.
pub(crate) struct Asked {
    pub(crate) question: Question,
    /// As the app made it or holds it.
    pub(crate) object: Box<dyn ClientHook>,
    pub(crate) through: Membrane,
}

impl Membrane {
    /// By what it is named when it is to be broken, if it is.
    pub(crate) fn id(&self) -> Option<Id> {
        self.0.id
    }
}

/// The platform, as the membrane asks it.
pub(crate) trait Saver {
    /// Answers a question of [`Asked`]. Ends with the membrane it came through.
    fn answer(
        self: Rc<Self>,
        asked: Asked,
        params: Box<dyn ParamsHook>,
        results: Box<dyn ResultsHook>,
    ) -> Promise<(), capnp::Error>;
}

impl Realm {
    /// Has questions about saving answered; without a saver they are refused.
    pub(crate) fn save_with(&self, saver: Rc<dyn Saver>) {
        *self.0.saver.borrow_mut() = Some(saver);
    }
}

impl CapState {
    /// The question that a call of this method is, unless it is a call for the object itself.
    pub(super) fn question(&self, interface: u64, method: u16) -> Option<Question> {
        const SAVE: (u64, u16) = (persistent_capnp::persistent::Client::TYPE_ID, 0);
        const ADD: (u64, u16) = (supervisor_capnp::system_persistent::Client::TYPE_ID, 0);
        // What the app itself holds, it saves with `SandstormApi.save`.
        if self.target.lives == Side::Outside || self.membrane.is_tied {
            return None;
        }
        match (interface, method) {
            SAVE => Some(Question::Save),
            ADD => Some(Question::AddRequirements),
            _ => None,
        }
    }

    pub(super) fn ask_saver(
        &self,
        question: Question,
        params: Box<dyn ParamsHook>,
        results: Box<dyn ResultsHook>,
    ) -> Promise<(), capnp::Error> {
        let object = match self.hook() {
            Ok(object) => object,
            Err(error) => return Promise::err(error),
        };
        let saver = self.membrane.realm.saver.borrow().clone();
        let Some(saver) = saver else {
            return Promise::err(capnp::Error::unimplemented("nothing is saved here".to_owned()));
        };
        self.membrane.realm.touch();
        let through = Membrane(Rc::clone(&self.membrane));
        let asked = Asked {
            question,
            object,
            through,
        };
        let answer = saver.answer(asked, params, results);
        Promise::from_future(self.membrane.guard(self.target.lives, answer))
    }
}
