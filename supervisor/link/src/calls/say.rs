//! Messages of our own, which no RPC system makes.

use std::rc::Rc;

use capnp::message::{Builder, HeapAllocator};
use capnp::serialize::OwnedSegments;
use capnp::{Error, ErrorKind};
use capnp_rpc::rpc_capnp::exception::{self, Type};
use capnp_rpc::rpc_capnp::{cap_descriptor, message, payload};

use crate::Wire;
use crate::passing::{self, Passed};
use crate::repeated::Letter;

impl Wire {
    pub(super) fn finish(&self, call: u32, releases_caps: bool) {
        let mut message = self.small_message();
        let mut finish = message.init_root::<message::Builder<'_>>().init_finish();
        finish.set_question_id(call);
        finish.set_release_result_caps(releases_caps);
        self.send_own(message);
    }

    /// Gives back a capability of the peer.
    pub(crate) fn release(&self, id: u32) {
        let mut message = self.small_message();
        let mut release = message.init_root::<message::Builder<'_>>().init_release();
        release.set_id(id);
        release.set_reference_count(1);
        self.send_own(message);
    }

    /// Gives back what a call of the peer carries that goes nowhere.
    pub(super) fn give_back(&self, payload: payload::Reader<'_>) -> Result<(), Error> {
        for cap in payload.get_cap_table()? {
            if let Ok(cap_descriptor::SenderHosted(id) | cap_descriptor::SenderPromise(id)) = cap.which() {
                self.release(id);
            }
        }
        Ok(())
    }

    /// Answers a call of the peer with an error.
    pub(crate) fn answer_error(&self, question: u32, error: &Error) {
        let mut message = self.small_message();
        let mut answer = message.init_root::<message::Builder<'_>>().init_return();
        answer.set_answer_id(question);
        answer.set_release_param_caps(false);
        answer.set_no_finish_needed(true);
        write_error(error, answer.init_exception());
        self.send_own(message);
    }

    /// Answers a call of the peer that it has given up.
    pub(crate) fn answer_canceled(&self, question: u32) {
        let mut message = self.small_message();
        let mut answer = message.init_root::<message::Builder<'_>>().init_return();
        answer.set_answer_id(question);
        answer.set_release_param_caps(false);
        answer.set_no_finish_needed(true);
        answer.set_canceled(());
        self.send_own(message);
    }

    /// Answers a call of the peer with results that came in `message`, which also gives back what was `lent` with it.
    pub(crate) fn answer(
        &self,
        question: u32,
        message: OwnedSegments,
        lent: Option<u32>,
    ) -> Result<(), Error> {
        // The new head makes it longer.
        if message.len() / 8 + passing::HEAD > self.bounds.message_words {
            return Err(Error::failed("an answer is too long".to_owned()));
        }
        let passed = Passed::results(message, question, lent.is_some());
        let passed = passed.map_err(|_| Error::failed("an answer cannot be read".to_owned()))?;
        if let Some(lent) = lent {
            self.ledger.borrow_mut().given_back(lent, 1);
        }
        if self.ledger.borrow_mut().returned(question, true) {
            self.wake_reader();
        }
        self.pass_out(passed);
        Ok(())
    }

    pub(crate) fn pass_out(&self, passed: Passed) {
        self.beat();
        self.outbox.pass(passed);
    }

    fn small_message(&self) -> Builder<HeapAllocator> {
        Builder::new(HeapAllocator::new().first_segment_words(16))
    }

    /// Sends a call, which need not be read again to be known for one.
    pub(crate) fn send_call(&self, message: Builder<HeapAllocator>) {
        self.ledger.borrow_mut().passed_on();
        self.beat();
        self.outbox.push(Rc::new(message));
    }

    /// Sends a call that shares words with others.
    pub(crate) fn send_letter(&self, letter: Letter) {
        self.ledger.borrow_mut().passed_on();
        self.beat();
        self.outbox.repeat(letter);
    }

    pub(crate) fn send_own(&self, message: Builder<HeapAllocator>) {
        let _sent = self.send_untranslated(message);
    }
}

/// An error as capnp-rpc reads it.
pub(super) fn read_error(exception: exception::Reader<'_>) -> Error {
    let kind = match exception.get_type() {
        Ok(Type::Overloaded) => ErrorKind::Overloaded,
        Ok(Type::Disconnected) => ErrorKind::Disconnected,
        Ok(Type::Unimplemented) => ErrorKind::Unimplemented,
        _ => ErrorKind::Failed,
    };
    let reason = exception
        .get_reason()
        .ok()
        .and_then(|reason| reason.to_str().ok());
    Error {
        kind,
        extra: format!("remote exception: {}", reason.unwrap_or("(malformed error)")),
    }
}

fn write_error(error: &Error, mut exception: exception::Builder<'_>) {
    exception.set_type(match error.kind {
        ErrorKind::Overloaded => Type::Overloaded,
        ErrorKind::Disconnected => Type::Disconnected,
        ErrorKind::Unimplemented => Type::Unimplemented,
        _ => Type::Failed,
    });
    exception.set_reason(&error.extra);
}
