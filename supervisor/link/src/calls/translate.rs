//! Exchanges numbers between the peer and the RPC system: of what was lent, and of stand-ins.

use capnp::Error;
use capnp::message::{Builder, HeapAllocator, Reader};
use capnp::serialize::OwnedSegments;
use capnp_rpc::rpc_capnp::{
    cap_descriptor, disembargo, message, message_target, payload, promised_answer, resolve, return_,
};

use super::{CALL, Calls, DISEMBARGO, FIRST, Fate, Lent, NOTHING, RETURN, changed, received};
use crate::passing;

impl Calls {
    /// The call with which a capability in `payload` was lent, while it has neither an answer nor a stand-in.
    pub(super) fn mentioned(&self, payload: payload::Reader<'_>) -> Result<Option<u32>, Error> {
        for cap in payload.get_cap_table()? {
            if let Some(call) = self.mentioned_by(cap)? {
                return Ok(Some(call));
            }
        }
        Ok(None)
    }

    pub(super) fn mentioned_by(&self, cap: cap_descriptor::Reader<'_>) -> Result<Option<u32>, Error> {
        let Ok(cap_descriptor::ReceiverHosted(id)) = cap.which() else {
            return Ok(None);
        };
        if id < FIRST {
            return Ok(None);
        }
        Ok(match self.lent.borrow_mut().get_mut(id - FIRST) {
            Some(Lent::With(call)) => Some(FIRST + *call),
            _ => None,
        })
    }

    /// The number the RPC system has for something lent.
    pub(super) fn known(&self, id: u32) -> u32 {
        match self.lent.borrow_mut().get_mut(id - FIRST) {
            Some(Lent::Known(known)) => *known,
            _ => NOTHING,
        }
    }

    /// Hands a message on in which what was lent has the number that the RPC system knows.
    pub(super) fn exchange(&self, message: Reader<OwnedSegments>) -> Result<Fate, Error> {
        let root = message.get_root::<message::Reader<'_>>()?;
        let caps = match root.which() {
            Ok(message::Call(call)) => Some(call?.get_params()?.get_cap_table()?),
            Ok(message::Return(answer)) => match answer?.which() {
                Ok(return_::Results(results)) => Some(results?.get_cap_table()?),
                _ => None,
            },
            _ => None,
        };
        let is_ours = |cap: cap_descriptor::Reader<'_>| matches!(cap.which(), Ok(cap_descriptor::ReceiverHosted(id)) if id >= FIRST);
        let in_table = caps.is_some_and(|caps| caps.iter().any(is_ours));
        let in_resolve = match root.which() {
            Ok(message::Resolve(Ok(resolve))) => {
                matches!(resolve.which(), Ok(resolve::Cap(Ok(cap))) if is_ours(cap))
            }
            _ => false,
        };
        let (which, target) = match root.which() {
            Ok(message::Call(call)) => (CALL, Some(call?.get_target()?)),
            Ok(message::Disembargo(disembargo)) => (DISEMBARGO, Some(disembargo?.get_target()?)),
            _ => (RETURN, None),
        };
        let target = match target.map(message_target::Reader::which) {
            Some(Ok(message_target::ImportedCap(id))) if id >= FIRST => Some(self.known(id)),
            _ => None,
        };
        if in_resolve || (which == DISEMBARGO && target.is_some()) {
            return self.rewrite(&message).map(Fate::Hand);
        }
        let message = match in_table {
            true => changed(message, |body| {
                passing::exchange(body, which, |id| (id >= FIRST).then(|| self.known(id)))
            })?,
            false => message,
        };
        Ok(Fate::Hand(match target {
            Some(known) => changed(message, |body| passing::retarget(body, known))?,
            None => message,
        }))
    }

    /// A copy with the numbers exchanged, of a message that carries nothing else.
    fn rewrite(&self, message: &Reader<OwnedSegments>) -> Result<Reader<OwnedSegments>, Error> {
        let mut copy = Builder::new_default();
        copy.set_root(message.get_root::<message::Reader<'_>>()?)?;
        let exchange = |mut cap: cap_descriptor::Builder<'_>| {
            if let Ok(cap_descriptor::ReceiverHosted(id)) = cap.reborrow().which()
                && id >= FIRST
            {
                cap.set_receiver_hosted(self.known(id));
            }
        };
        let retarget = |mut target: message_target::Builder<'_>| {
            if let Ok(message_target::ImportedCap(id)) = target.reborrow().which()
                && id >= FIRST
            {
                target.set_imported_cap(self.known(id));
            }
        };
        match copy.get_root::<message::Builder<'_>>()?.which() {
            Ok(message::Resolve(resolve)) => {
                if let Ok(resolve::Cap(cap)) = resolve?.which() {
                    exchange(cap?);
                }
            }
            Ok(message::Disembargo(disembargo)) => retarget(disembargo?.get_target()?),
            _ => {}
        }
        received(&copy)
    }

    pub(super) fn translate(&self, message: &mut Builder<HeapAllocator>) -> capnp::Result<()> {
        let number = |id: u32| self.stand_ins.borrow().get(&id).copied();
        let in_answer = |mut answer: promised_answer::Builder<'_>| {
            if let Some(number) = number(answer.reborrow().get_question_id()) {
                answer.set_question_id(number);
            }
        };
        let in_cap = |cap: cap_descriptor::Builder<'_>| -> capnp::Result<()> {
            if let Ok(cap_descriptor::ReceiverAnswer(answer)) = cap.which() {
                in_answer(answer?);
            }
            Ok(())
        };
        let in_target = |target: message_target::Builder<'_>| -> capnp::Result<()> {
            if let Ok(message_target::PromisedAnswer(answer)) = target.which() {
                in_answer(answer?);
            }
            Ok(())
        };
        let each = |payload: payload::Builder<'_>| -> capnp::Result<()> {
            let mut caps = payload.get_cap_table()?;
            (0..caps.len()).try_for_each(|index| in_cap(caps.reborrow().get(index)))
        };
        match message.get_root::<message::Builder<'_>>()?.which() {
            Ok(message::Finish(finish)) => {
                let mut finish = finish?;
                if let Some(number) = number(finish.reborrow().get_question_id()) {
                    finish.set_question_id(number);
                    self.settle(number, |_, is_finished| *is_finished = true);
                }
            }
            Ok(message::Call(call)) => {
                let mut call = call?;
                in_target(call.reborrow().get_target()?)?;
                each(call.get_params()?)?;
            }
            Ok(message::Return(answer)) => {
                if let Ok(return_::Results(results)) = answer?.which() {
                    each(results?)?;
                }
            }
            Ok(message::Resolve(resolve)) => {
                if let Ok(resolve::Cap(cap)) = resolve?.which() {
                    in_cap(cap?)?;
                }
            }
            Ok(message::Disembargo(disembargo)) => {
                let disembargo: disembargo::Builder<'_> = disembargo?;
                in_target(disembargo.get_target()?)?;
            }
            _ => {}
        }
        Ok(())
    }
}
