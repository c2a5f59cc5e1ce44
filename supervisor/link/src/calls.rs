//! Calls past the RPC system: made and answered with messages of our own.
//!
//! capnp-rpc builds a chain of promises for every call, so that any answer may bring capabilities and be called before it
//! is there. Most calls need nothing of it: their answer is plain bytes. Such a call goes out under a number that the RPC
//! system does not use, and its answer goes straight to whoever waits. At most one capability may be lent with it, for as
//! long as it lasts (the stream for the body of an answer); nothing stands behind that one until somebody uses it.
//!
//! When the answer brings capabilities after all, or the peer uses what was lent, the call gets a *stand-in*: the same
//! call, made through the RPC system, whose message does not leave. From then on numbers are exchanged between the two, and
//! everything is as if the RPC system had made the call from the beginning. What the peer said waits until then, and with
//! it everything the peer says later, so order is kept.

mod say;
mod translate;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};

use capnp::Error;
use capnp::message::{Builder, HeapAllocator, Reader, ReaderOptions};
use capnp::serialize::OwnedSegments;
use capnp_rpc::rpc_capnp::{call, cap_descriptor, message, message_target, resolve, return_};

use self::say::read_error;

use super::numbers::Keyed;
use super::passing::{self, Head};
use super::slab::Slab;
use super::{Wire, inbox, notes};

/// Numbers from here on are ours; the RPC system counts from 0 and does not come here.
const FIRST: u32 = 1 << 30;
/// A number that names nothing.
const NOTHING: u32 = u32::MAX;
/// Discriminants of `Message` (rpc.capnp).
const CALL: u16 = 2;
const RETURN: u16 = 3;
const RELEASE: u16 = 6;
const DISEMBARGO: u16 = 13;

/// What a peer said to a call of ours.
pub(super) enum Answer {
    /// A `Return` with results that carry no capability.
    Results(OwnedSegments),
    Failed(Error),
}

/// Who waits for an answer.
pub(super) trait Waiter {
    /// It came.
    fn answered(&self, answer: Answer);
    /// A stand-in is wanted: [`Wire::stand_in`], or [`Wire::forget_call`]. Not at once: the RPC system may be busy.
    fn stand_in_wanted(&self);
}

/// The calls of ours on one connection that go past its RPC system.
#[derive(Default)]
pub(super) struct Calls {
    asked: RefCell<Slab<Asked>>,
    lent: RefCell<Slab<Lent>>,
    /// Numbers of stand-ins, and of what they stand for.
    stand_ins: RefCell<HashMap<u32, u32, Keyed>>,
    /// What waits for a stand-in.
    parked: RefCell<Option<Reader<OwnedSegments>>>,
    /// Whether that has come.
    may_go_on: Cell<bool>,
    /// The next call of the RPC system stands in for this one.
    next_stands_in: Cell<Option<u32>>,
}

enum Asked {
    Waiting {
        waiter: Rc<dyn Waiter>,
        lent: Option<u32>,
    },
    /// The peer was told that nobody wants the answer; perhaps when it had come and was parked.
    Forgotten { after_answer: bool, lent: Option<u32> },
    StandIn {
        number: u32,
        is_answered: bool,
        is_finished: bool,
    },
}

/// A capability that was lent, until the peer gives it back.
#[derive(Clone, Copy)]
enum Lent {
    /// With a call that has not been answered.
    With(u32),
    /// With one that nobody waits for any more.
    InVain(u32),
    /// The call is over.
    Nothing,
    /// What the RPC system calls it.
    Known(u32),
}

/// What becomes of a message of the peer.
pub(super) enum Fate {
    Hand(Reader<OwnedSegments>),
    Taken,
    /// It waits, and all after it.
    Parked,
}

impl Calls {
    /// Whether there is nothing here to look for in messages.
    pub(super) fn is_idle(&self) -> bool {
        self.asked.borrow().is_empty() && self.lent.borrow().is_empty()
    }

    pub(super) fn is_parked(&self) -> bool {
        self.parked.borrow().is_some()
    }

    /// Whether more may be lent: a peer that gives nothing back gets no more in this way than it may have in the other.
    pub(super) fn may_lend(&self, most: usize) -> bool {
        self.lent.borrow().len() < most
    }

    /// Numbers for a call and for what is lent with it.
    pub(super) fn begin(&self, waiter: Rc<dyn Waiter>, lends: bool) -> (u32, Option<u32>) {
        let mut asked = self.asked.borrow_mut();
        let call = asked.insert(Asked::Waiting { waiter, lent: None });
        let lent = lends.then(|| self.lent.borrow_mut().insert(Lent::With(call)));
        if let Some(Asked::Waiting { lent: place, .. }) = asked.get_mut(call) {
            *place = lent;
        }
        (FIRST + call, lent.map(|lent| FIRST + lent))
    }

    /// Frees the numbers of a call that was not sent.
    pub(super) fn take_back(&self, call: u32) {
        if let Some(Asked::Waiting { lent: Some(lent), .. }) = self.asked.borrow_mut().remove(call - FIRST) {
            self.lent.borrow_mut().remove(lent);
        }
    }

    /// Nobody waits for this call any more. Says whether the peer is to be told.
    fn forget(&self, call: u32) -> bool {
        let after_answer = self
            .parked
            .borrow()
            .as_ref()
            .is_some_and(|parked| returned(parked).is_ok_and(|answer| answer.get_answer_id() == call));
        let mut asked = self.asked.borrow_mut();
        let Some(place @ Asked::Waiting { .. }) = asked.get_mut(call - FIRST) else {
            return false;
        };
        let &mut Asked::Waiting { lent, .. } = place else {
            return false;
        };
        *place = Asked::Forgotten { after_answer, lent };
        self.put_behind(lent, Lent::InVain(call - FIRST));
        true
    }

    fn put_behind(&self, lent: Option<u32>, what: Lent) {
        let mut all = self.lent.borrow_mut();
        if let Some(lent) = lent.and_then(|lent| all.get_mut(lent)) {
            *lent = what;
        }
    }

    /// The call is over. `gives_back` says whether the peer gave back with the answer what was lent.
    fn over(&self, lent: Option<u32>, gives_back: bool) {
        match lent {
            Some(lent) if gives_back => {
                self.lent.borrow_mut().remove(lent);
            }
            lent => self.put_behind(lent, Lent::Nothing),
        }
    }

    /// Notes the numbers of a stand-in, which is about to be sent and is not. Says what the RPC system lends with it that
    /// the peer has given back already.
    fn note_stand_in(&self, call: u32, sent: call::Reader<'_>) -> capnp::Result<Option<u32>> {
        let number = sent.get_question_id();
        let caps = sent.get_params()?.get_cap_table()?;
        let mut asked = self.asked.borrow_mut();
        let Some(Asked::Waiting { lent, .. }) = asked.get_mut(call - FIRST) else {
            return Err(Error::failed("a stand-in for no call".to_owned()));
        };
        let known = match caps.iter().next().map(|cap| cap.which()) {
            Some(Ok(cap_descriptor::SenderHosted(id) | cap_descriptor::SenderPromise(id))) => Some(id),
            _ => None,
        };
        self.put_behind(*lent, known.map_or(Lent::Nothing, Lent::Known));
        let given_back = known.filter(|_| lent.is_none());
        *asked.get_mut(call - FIRST).expect("looked up above") = Asked::StandIn {
            number,
            is_answered: false,
            is_finished: false,
        };
        self.stand_ins.borrow_mut().insert(number, call);
        Ok(given_back)
    }

    /// Frees the number of a stand-in once both sides are done with it.
    fn settle(&self, call: u32, change: impl FnOnce(&mut bool, &mut bool)) {
        let mut asked = self.asked.borrow_mut();
        if let Some(Asked::StandIn {
            number,
            is_answered,
            is_finished,
        }) = asked.get_mut(call - FIRST)
        {
            change(is_answered, is_finished);
            if *is_answered && *is_finished {
                self.stand_ins.borrow_mut().remove(number);
                asked.remove(call - FIRST);
            }
        }
    }

    /// The peer gives back what was lent. Says what the RPC system calls it, if that knows it; nothing of what was not
    /// lent.
    fn given_back(&self, id: u32) -> Option<Option<u32>> {
        Some(match self.lent.borrow_mut().remove(id - FIRST)? {
            Lent::Known(known) => Some(known),
            Lent::With(asked) | Lent::InVain(asked) => {
                if let Some(Asked::Waiting { lent, .. } | Asked::Forgotten { lent, .. }) =
                    self.asked.borrow_mut().get_mut(asked)
                {
                    *lent = None;
                }
                None
            }
            Lent::Nothing => None,
        })
    }

    /// The peer gives something back. Says whether that was lent and never used.
    fn given_back_unused(&self, id: u32) -> bool {
        let is_unused = is_lent(id)
            && matches!(
                self.lent.borrow_mut().get_mut(id - FIRST),
                Some(Lent::With(_) | Lent::InVain(_) | Lent::Nothing)
            );
        is_unused && self.given_back(id).is_some()
    }

    /// Ends all calls: the connection is over.
    pub(super) fn end(&self) {
        let all = self.asked.borrow_mut().take();
        self.parked.borrow_mut().take();
        let _all_gone = self.lent.borrow_mut().take();
        for asked in all {
            if let Asked::Waiting { waiter, .. } = asked {
                waiter.answered(Answer::Failed(Error::disconnected(
                    "the connection ended".to_owned(),
                )));
            }
        }
    }
}

impl Wire {
    /// Looks whether a message of the peer is about a call that goes past the RPC system.
    pub(super) fn look(&self, message: Reader<OwnedSegments>) -> Result<Fate, Error> {
        let calls = &self.calls;
        let root = message.get_root::<message::Reader<'_>>()?;
        match root.which() {
            Ok(message::Return(answer)) => {
                let answer = answer?;
                if let Ok(return_::Results(results)) = answer.which()
                    && let Some(call) = calls.mentioned(results?)?
                {
                    return Ok(self.park(call, message));
                }
                let call = answer.get_answer_id();
                if call >= FIRST {
                    return self.look_at_answer(call, message);
                }
                // The peer knows stand-ins by the number of what they stand for.
                if calls.stand_ins.borrow().contains_key(&call) {
                    return Err(unknown(call));
                }
                calls.exchange(message)
            }
            Ok(message::Call(call)) => {
                let call = call?;
                if let Ok(message_target::ImportedCap(id)) = call.get_target()?.which()
                    && id >= FIRST
                {
                    match calls.lent.borrow_mut().get_mut(id - FIRST) {
                        None => return Err(unknown(id)),
                        Some(Lent::With(asked)) => return Ok(self.park(FIRST + *asked, message)),
                        Some(Lent::Known(_)) => {}
                        Some(Lent::InVain(_) | Lent::Nothing) => {
                            let error = Error::disconnected("it was lent for a call that is over".to_owned());
                            self.answer_error(call.get_question_id(), &error);
                            self.give_back(call.get_params()?)?;
                            return Ok(Fate::Taken);
                        }
                    }
                }
                if let Some(asked) = calls.mentioned(call.get_params()?)? {
                    return Ok(self.park(asked, message));
                }
                calls.exchange(message)
            }
            Ok(message::Release(release)) => {
                let release = release?;
                let id = release.get_id();
                if id < FIRST {
                    return Ok(Fate::Hand(message));
                }
                match calls.given_back(id) {
                    _ if release.get_reference_count() != 1 => Err(unknown(id)),
                    None => Err(unknown(id)),
                    Some(Some(known)) => Ok(Fate::Hand(readdressed(message, RELEASE, known)?)),
                    Some(None) => Ok(Fate::Taken),
                }
            }
            Ok(message::Resolve(Ok(resolve))) => {
                if let Ok(resolve::Cap(cap)) = resolve.which()
                    && let Some(call) = calls.mentioned_by(cap?)?
                {
                    return Ok(self.park(call, message));
                }
                calls.exchange(message)
            }
            Ok(message::Disembargo(Ok(disembargo))) => {
                if let Ok(message_target::ImportedCap(id)) = disembargo.get_target()?.which()
                    && id >= FIRST
                    && let Some(Lent::With(call)) = calls.lent.borrow_mut().get_mut(id - FIRST)
                {
                    return Ok(self.park(FIRST + *call, message));
                }
                calls.exchange(message)
            }
            _ => Ok(Fate::Hand(message)),
        }
    }

    fn look_at_answer(&self, call: u32, message: Reader<OwnedSegments>) -> Result<Fate, Error> {
        let answer = returned(&message)?;
        let needs_finish = !answer.get_no_finish_needed();
        let plain = match answer.which() {
            Ok(return_::Results(results)) => results?.get_cap_table()?.is_empty(),
            Ok(return_::Exception(_)) => true,
            _ => false,
        };
        let mut asked = self.calls.asked.borrow_mut();
        match asked.get_mut(call - FIRST) {
            None => Err(unknown(call)),
            Some(&mut Asked::Forgotten { after_answer, lent }) => {
                asked.remove(call - FIRST);
                self.calls.over(lent, answer.get_release_param_caps());
                if after_answer {
                    self.ledger.borrow_mut().forgotten_late(&message)?;
                }
                Ok(Fate::Taken)
            }
            Some(Asked::StandIn { number, .. }) => {
                let number = *number;
                drop(asked);
                let message = readdressed(message, RETURN, number)?;
                self.calls.settle(call, |is_answered, is_finished| {
                    *is_answered = true;
                    *is_finished |= !needs_finish;
                });
                match self.calls.exchange(message)? {
                    Fate::Hand(message) => Ok(Fate::Hand(message)),
                    other => Ok(other),
                }
            }
            Some(Asked::Waiting { .. }) if !plain => {
                drop(asked);
                Ok(self.park(call, message))
            }
            Some(Asked::Waiting { .. }) => {
                drop(asked);
                let gives_back = answer.get_release_param_caps();
                let failed = match answer.which() {
                    Ok(return_::Exception(exception)) => Some(read_error(exception?)),
                    _ => None,
                };
                let waiter = self.take_answered(call, gives_back, needs_finish)?;
                waiter.answered(match failed {
                    Some(error) => Answer::Failed(error),
                    None => Answer::Results(message.into_segments()),
                });
                Ok(Fate::Taken)
            }
        }
    }

    /// The answer to `call`, which brings no capability, is taken: says who waits for it.
    fn take_answered(
        &self,
        call: u32,
        gives_back: bool,
        needs_finish: bool,
    ) -> Result<Rc<dyn Waiter>, Error> {
        let removed = self.calls.asked.borrow_mut().remove(call - FIRST);
        let Some(Asked::Waiting { waiter, lent }) = removed else {
            return Err(unknown(call));
        };
        self.calls.over(lent, gives_back);
        if needs_finish {
            self.finish(call, false);
        }
        Ok(waiter)
    }

    /// Takes what is usual: the answer to a call of ours, without a capability, and what was lent for it and not used.
    /// Gives back all else.
    pub(super) fn take_plain(
        &self,
        head: &Head,
        message: OwnedSegments,
    ) -> Result<Option<OwnedSegments>, Error> {
        let (call, gives_back, needs_finish) = match *head {
            Head::Return {
                call,
                gives_back,
                needs_finish,
                is_plain: true,
            } => (call, gives_back, needs_finish),
            Head::Release { id, references: 1 } if self.calls.given_back_unused(id) => return Ok(None),
            _ => return Ok(Some(message)),
        };
        let is_waited_for = call >= FIRST
            && matches!(
                self.calls.asked.borrow_mut().get_mut(call - FIRST),
                Some(Asked::Waiting { .. })
            );
        if !is_waited_for {
            return Ok(Some(message));
        }
        let waiter = self.take_answered(call, gives_back, needs_finish)?;
        waiter.answered(Answer::Results(message));
        Ok(None)
    }

    /// Keeps a message until `call` has a stand-in.
    fn park(&self, call: u32, message: Reader<OwnedSegments>) -> Fate {
        self.calls.parked.replace(Some(message));
        let waiter = match self.calls.asked.borrow_mut().get_mut(call - FIRST) {
            Some(Asked::Waiting { waiter, .. }) => Some(Rc::clone(waiter)),
            _ => None,
        };
        if let Some(waiter) = waiter {
            waiter.stand_in_wanted();
        }
        Fate::Parked
    }

    /// What was parked, looked at again.
    pub(super) fn unparked(&self) -> Option<Result<Fate, Error>> {
        if !self.calls.may_go_on.replace(false) {
            return None;
        }
        let message = self.calls.parked.borrow_mut().take()?;
        Some(self.look(message))
    }

    /// Makes a call through the RPC system of this connection, as the stand-in for `call`. `make` sends it.
    pub(super) fn stand_in<T>(&self, call: u32, make: impl FnOnce() -> T) -> T {
        self.calls.next_stands_in.set(Some(call));
        let made = make();
        if self.calls.next_stands_in.take().is_some() {
            // It did not come this way: what it leads to is gone or elsewhere.
            self.forget_call(call);
        }
        self.go_on();
        made
    }

    /// Whether this message of the RPC system stays here because it stands in for another.
    pub(super) fn stays(&self, message: &Builder<HeapAllocator>) -> bool {
        let Some(stands_for) = self.calls.next_stands_in.get() else {
            return false;
        };
        let Ok(root) = message.get_root_as_reader::<message::Reader<'_>>() else {
            return false;
        };
        let Ok(message::Call(Ok(call))) = root.which() else {
            return false;
        };
        self.calls.next_stands_in.take();
        // Whatever comes of it: the call itself left long ago, and must not leave twice.
        let noted = self.calls.note_stand_in(stands_for, call);
        if let Ok(Some(id)) = noted
            && let Ok(release) = notes::release(id)
        {
            self.front.borrow_mut().push_back((release, None));
            self.wake_reader();
        }
        true
    }

    /// Exchanges the numbers of stand-ins in a message of the RPC system for those the peer knows.
    pub(super) fn translate(&self, message: &mut Builder<HeapAllocator>) {
        if self.calls.stand_ins.borrow().is_empty() {
            return;
        }
        // The RPC system wrote it: it can be read.
        let _written = self.calls.translate(message);
    }

    /// Lets go of a call: the peer is told, and its answer is not waited for.
    pub(super) fn forget_call(&self, call: u32) {
        if self.calls.forget(call) {
            self.finish(call, true);
        }
        self.go_on();
    }

    fn go_on(&self) {
        if self.calls.is_parked() {
            self.calls.may_go_on.set(true);
            self.wake_reader();
        }
    }
}

/// Where calls on a capability of the peer leave.
#[derive(Clone)]
pub struct Line {
    pub(super) wire: Weak<Wire>,
    pub(super) target: u32,
}

/// Whether a peer's number is that of something it lent as we do.
pub(super) fn is_lent(id: u32) -> bool {
    id >= FIRST
}

fn returned(message: &Reader<OwnedSegments>) -> Result<return_::Reader<'_>, Error> {
    match message.get_root::<message::Reader<'_>>()?.which() {
        Ok(message::Return(answer)) => answer,
        _ => Err(Error::failed("no answer".to_owned())),
    }
}

fn unknown(id: u32) -> Error {
    Error::failed(format!("nothing has the number {id}"))
}

fn readdressed(message: Reader<OwnedSegments>, which: u16, id: u32) -> Result<Reader<OwnedSegments>, Error> {
    changed(message, |body| passing::readdress(body, which, id))
}

fn changed(
    message: Reader<OwnedSegments>,
    change: impl FnOnce(&mut OwnedSegments) -> Option<()>,
) -> Result<Reader<OwnedSegments>, Error> {
    let mut body = message.into_segments();
    change(&mut body).ok_or_else(|| Error::failed("a message cannot be read".to_owned()))?;
    Ok(inbox::reader(body))
}

pub(super) fn received(message: &Builder<HeapAllocator>) -> Result<Reader<OwnedSegments>, Error> {
    let bytes = capnp::serialize::write_message_to_words(message);
    capnp::serialize::read_message(&bytes[..], ReaderOptions::new())
}
