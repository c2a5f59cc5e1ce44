//! Passes calls of one peer on to another as they came, where whoever stands between them allows it.
//!
//! What a route says of a call holds for this one call: it is asked each time. Whoever it belongs to may break off what is
//! under way ([`Passage`]).

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use capnp::Error;
use capnp::message::{Builder, Reader};
use capnp::serialize::OwnedSegments;
use capnp::traits::ImbueMut;
use capnp_rpc::rpc_capnp::{cap_descriptor, message, message_target, payload, resolve, return_};

use super::calls::{self, Answer, Fate, Line, Waiter};
use super::passing::{self, Head, Passed};
use super::{InFront, Wire};

/// A call that may be passed on as it came.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// The interface it is a method of.
    pub interface: u64,
    /// Which one.
    pub method: u16,
    /// Whether the caller lends a capability with it. What is lent is dead as soon as the call is answered without
    /// capabilities.
    pub lends: bool,
}

/// The way of calls on one capability to the object behind it.
pub trait Route {
    /// Where this call goes on. `None` sends it through the RPC system, which also refuses what is to be refused.
    fn admit(&self, asked: Asked) -> Option<Line>;

    /// Notes a call that goes on; what is returned is dropped when it is answered.
    fn begun(&self, passage: Passage) -> Box<dyn Any>;

    /// An error as the caller may see it.
    fn error(&self, error: Error) -> Error;
}

/// A call on its way past the RPC systems.
pub struct Passage(Weak<Relayed>);

impl Passage {
    /// Ends it for both sides: the caller gets `error`, the object is told that nobody waits.
    pub fn break_off(&self, error: Error) {
        if let Some(relayed) = self.0.upgrade() {
            relayed.break_off(&error);
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// The RPC system is about to get it.
    Called,
    Over,
}

pub(super) struct Relayed {
    door: Weak<Wire>,
    line: Line,
    question: u32,
    target: u32,
    asked: Asked,
    /// What the caller lent, under its number.
    lent: Option<u32>,
    /// Its number on the other side.
    call: Cell<u32>,
    state: Cell<State>,
    route: Rc<dyn Route>,
    guard: RefCell<Option<Box<dyn Any>>>,
}

impl Wire {
    pub(super) fn add_route(&self, target: u32, route: Rc<dyn Route>) {
        self.routes.borrow_mut().insert(target, route);
    }

    pub(super) fn has_route(&self, target: u32) -> bool {
        self.routes.borrow().contains_key(&target)
    }

    /// Looks what a message of the peer means for its calls that were passed on.
    pub(super) fn relay(&self, message: Reader<OwnedSegments>) -> Result<Fate, Error> {
        let root = message.get_root::<message::Reader<'_>>()?;
        let is_behind = match root.which() {
            Ok(message::Call(call)) => {
                let call = call?;
                self.ask_for_answers_in(call.get_params()?)? | self.ask_for_target(call.get_target()?)?
            }
            Ok(message::Return(answer)) => match answer?.which() {
                Ok(return_::Results(results)) => self.ask_for_answers_in(results?)?,
                Ok(return_::TakeFromOtherQuestion(id)) => self.ask_for(id),
                _ => false,
            },
            Ok(message::Resolve(resolve)) => match resolve?.which() {
                Ok(resolve::Cap(cap)) => self.ask_for_cap(cap?)?,
                _ => false,
            },
            Ok(message::Disembargo(disembargo)) => self.ask_for_target(disembargo?.get_target()?)?,
            Ok(message::Finish(finish)) => {
                let finish = finish?;
                let relayed = self.relayed.borrow().get(&finish.get_question_id()).cloned();
                match relayed {
                    Some(relayed) if relayed.state.get() == State::Open => {
                        relayed.canceled();
                        return Ok(Fate::Taken);
                    }
                    Some(_) => true,
                    None => finish.get_release_result_caps() && self.drop_routes(|_| true),
                }
            }
            Ok(message::Release(release)) => {
                let id = release?.get_id();
                self.drop_routes(|target| target == id)
            }
            Ok(message::Unimplemented(_)) => self.drop_routes(|_| true),
            _ => false,
        };
        if is_behind {
            self.front.borrow_mut().push_back((message, None));
            return Ok(Fate::Taken);
        }
        Ok(Fate::Hand(message))
    }

    /// Passes on what is usual: a call that its route lets pass. Gives back all else.
    pub(super) fn pass_plain(&self, head: &Head, message: OwnedSegments) -> Option<OwnedSegments> {
        let &Head::Call { head, is_plain: true } = head else {
            return Some(message);
        };
        let Some(route) = self.routes.borrow().get(&head.target).cloned() else {
            return Some(message);
        };
        let asked = Asked {
            interface: head.interface,
            method: head.method,
            lends: head.lent.is_some(),
        };
        let Some(line) = route.admit(asked) else {
            return Some(message);
        };
        let relayed = Rc::new(Relayed {
            door: self.this.clone(),
            line,
            question: head.question,
            target: head.target,
            asked,
            lent: head.lent,
            call: Cell::new(0),
            state: Cell::new(State::Open),
            route,
            guard: RefCell::new(None),
        });
        self.pass(&relayed, message)
    }

    fn pass(&self, relayed: &Rc<Relayed>, message: OwnedSegments) -> Option<OwnedSegments> {
        let words = message.len() / 8;
        let open = relayed.line.wire.upgrade().filter(|wire| {
            let bounds = &wire.bounds;
            wire.outbox.is_open()
                && (relayed.lent.is_none() || wire.calls.may_lend(bounds.capabilities))
                // The new head makes it longer.
                && words + passing::HEAD <= bounds.message_words
        });
        let Some(wire) = open else {
            return Some(message);
        };
        let waiter: Rc<Relayed> = Rc::clone(relayed);
        let (number, lent) = wire.calls.begin(waiter, relayed.lent.is_some());
        let head = passing::Call {
            question: number,
            target: relayed.line.target,
            interface: relayed.asked.interface,
            method: relayed.asked.method,
            lent,
        };
        match Passed::call(message, head) {
            Ok(passed) => {
                wire.ledger.borrow_mut().passed_on();
                wire.pass_out(passed);
            }
            Err(message) => {
                wire.calls.take_back(number);
                return Some(message);
            }
        }
        relayed.call.set(number);
        self.relayed
            .borrow_mut()
            .insert(relayed.question, Rc::clone(relayed));
        let guard = relayed.route.begun(Passage(Rc::downgrade(relayed)));
        relayed.guard.replace(Some(guard));
        None
    }

    /// Gives calls on these capabilities back to the RPC system, those under way included. Says whether there are any.
    fn drop_routes(&self, which: impl Fn(u32) -> bool) -> bool {
        self.routes.borrow_mut().retain(|target, _| !which(*target));
        let concerned: Vec<Rc<Relayed>> = {
            let relayed = self.relayed.borrow();
            let concerned = relayed.values().filter(|relayed| which(relayed.target));
            concerned.cloned().collect()
        };
        concerned.iter().for_each(|relayed| relayed.stand_in_wanted());
        !concerned.is_empty()
    }

    fn ask_for(&self, question: u32) -> bool {
        let relayed = self.relayed.borrow().get(&question).cloned();
        relayed.inspect(|relayed| relayed.stand_in_wanted()).is_some()
    }

    fn ask_for_target(&self, target: message_target::Reader<'_>) -> Result<bool, Error> {
        Ok(match target.which() {
            Ok(message_target::PromisedAnswer(answer)) => self.ask_for(answer?.get_question_id()),
            _ => false,
        })
    }

    fn ask_for_cap(&self, cap: cap_descriptor::Reader<'_>) -> Result<bool, Error> {
        Ok(match cap.which() {
            Ok(cap_descriptor::ReceiverAnswer(answer)) => self.ask_for(answer?.get_question_id()),
            _ => false,
        })
    }

    fn ask_for_answers_in(&self, payload: payload::Reader<'_>) -> Result<bool, Error> {
        let mut is_behind = false;
        for cap in payload.get_cap_table()? {
            is_behind |= self.ask_for_cap(cap)?;
        }
        Ok(is_behind)
    }

    /// The next message that was put in front of all others.
    pub(super) fn in_front(&self) -> Option<InFront> {
        loop {
            let (message, stands_in) = self.front.borrow_mut().pop_front()?;
            if let Some(relayed) = &stands_in {
                if relayed.state.get() == State::Over {
                    continue;
                }
                self.relayed.borrow_mut().remove(&relayed.question);
            }
            return Some((message, stands_in));
        }
    }

    /// Tells the objects that nobody waits for the answers any more.
    pub(super) fn end_relayed(&self) {
        self.routes.borrow_mut().clear();
        self.front.borrow_mut().clear();
        let relayed = std::mem::take(&mut *self.relayed.borrow_mut());
        for relayed in relayed.into_values() {
            relayed.state.set(State::Over);
            relayed.forget();
        }
    }
}

impl Relayed {
    /// The same call with nothing in it but what was lent.
    fn again(&self) -> Result<Reader<OwnedSegments>, Error> {
        let mut note = Builder::new_default();
        let mut call = note.init_root::<message::Builder<'_>>().init_call();
        call.set_question_id(self.question);
        call.set_interface_id(self.asked.interface);
        call.set_method_id(self.asked.method);
        call.reborrow().init_target().set_imported_cap(self.target);
        let mut params = call.init_params();
        if let Some(lent) = self.lent {
            params.reborrow().init_cap_table(1).get(0).set_sender_hosted(lent);
            // Refers to the first capability of the table above, whatever this one is.
            let mut any = Vec::new();
            let mut content = params.get_content();
            content.imbue_mut(&mut any);
            content.set_as_capability(capnp_rpc::new_broken_cap(Error::failed(String::new())).hook);
        }
        calls::received(&note)
    }

    pub(super) fn stand_in<T>(&self, make: impl FnOnce() -> T) -> T {
        self.state.set(State::Over);
        match self.line.wire.upgrade() {
            Some(wire) => wire.stand_in(self.call.get(), make),
            None => make(),
        }
    }

    /// The RPC system let go of it. Unless it stood in by then, the object is told that nobody waits.
    pub(super) fn let_go(&self) {
        if self.state.get() == State::Called {
            self.state.set(State::Over);
            self.forget();
        }
    }

    /// Tells the object that nobody waits.
    fn forget(&self) {
        drop(self.guard.take());
        if let Some(wire) = self.line.wire.upgrade() {
            wire.forget_call(self.call.get());
        }
    }

    fn canceled(&self) {
        if let Some(door) = self.end() {
            door.answer_canceled(self.question);
            self.give_back(&door);
        }
        self.forget();
    }

    fn break_off(&self, error: &Error) {
        if self.state.get() == State::Over {
            return;
        }
        if let Some(door) = self.end() {
            door.answer_error(self.question, error);
            self.give_back(&door);
        }
        self.forget();
    }

    /// Takes it off the door's list, if it is still on it: then the caller waits for a word of ours.
    fn end(&self) -> Option<Rc<Wire>> {
        self.state.set(State::Over);
        let door = self.door.upgrade()?;
        let was_listed = door.relayed.borrow_mut().remove(&self.question);
        was_listed.map(|_| door)
    }

    fn give_back(&self, door: &Wire) {
        if let Some(lent) = self.lent {
            door.release(lent);
        }
    }
}

impl Waiter for Relayed {
    fn answered(&self, answer: Answer) {
        drop(self.guard.take());
        let Some(door) = self.end() else { return };
        let error = match answer {
            // Links know what is given back with an answer; capnp-rpc wants to be told.
            Answer::Results(message) => {
                let lent = self.lent.filter(|lent| calls::is_lent(*lent));
                match door.answer(self.question, message, lent) {
                    Ok(()) if lent.is_some() => return,
                    Ok(()) => return self.give_back(&door),
                    Err(error) => error,
                }
            }
            Answer::Failed(error) => self.route.error(error),
        };
        door.answer_error(self.question, &error);
        self.give_back(&door);
    }

    fn stand_in_wanted(&self) {
        if self.state.get() != State::Open {
            return;
        }
        let Some(door) = self.door.upgrade() else { return };
        let Some(relayed) = door.relayed.borrow().get(&self.question).cloned() else {
            return;
        };
        match self.again() {
            Ok(again) => {
                self.state.set(State::Called);
                door.front.borrow_mut().push_back((again, Some(relayed)));
                door.wake_reader();
            }
            Err(error) => self.break_off(&error),
        }
    }
}
