//! Counts what a peer makes us hold: calls it waits for and capabilities it handed over.

use std::collections::{HashMap, HashSet};

use capnp::Error;
use capnp::message::{Builder, HeapAllocator, Reader};
use capnp::serialize::OwnedSegments;
use capnp_rpc::rpc_capnp::{cap_descriptor, message, resolve, return_};

use super::Bounds;
use super::numbers::Keyed;

/// Through how many promises a promise may lead. Each one kept costs memory until the last holder lets go.
const PROMISES: u32 = 64;
/// Answered calls a peer may leave unfinished, as a multiple of those it may have unanswered.
const UNFINISHED: usize = 4;
/// Calls a peer may cancel on one connection: capnp-rpc keeps a record of about 150 bytes of each.
const CANCELED: usize = 256 << 10;

#[derive(Default)]
pub(super) struct Ledger {
    /// Calls of the peer that it has not finished, with their words while they are unanswered.
    answers: HashMap<u32, Option<usize>, Keyed>,
    unanswered: usize,
    words: usize,
    canceled: usize,
    /// The peer's capabilities we hold.
    imports: HashMap<u32, Import, Keyed>,
    /// Our calls that were canceled; capabilities in late answers to them are not ours to keep.
    forgotten: HashSet<u32, Keyed>,
}

#[derive(Default)]
struct Import {
    references: u64,
    /// How many promises led here.
    depth: u32,
}

impl Ledger {
    /// Whether the peer has so much under way that no more should be read.
    pub(super) fn is_full(&self, bounds: &Bounds) -> bool {
        self.words >= bounds.call_words || self.unanswered >= bounds.calls
    }

    /// Takes note of a message of the peer, before the RPC system sees it.
    pub(super) fn received(&mut self, message: &Reader<OwnedSegments>, bounds: &Bounds) -> Result<(), Error> {
        let words = message.size_in_words();
        // What the schema does not know is answered "unimplemented" by the RPC system.
        let Ok(body) = message.get_root::<message::Reader<'_>>()?.which() else {
            return Ok(());
        };
        match body {
            message::Bootstrap(bootstrap) => {
                self.asked(bootstrap?.get_question_id(), None, bounds)?;
            }
            message::Call(call) => {
                let call = call?;
                self.asked(call.get_question_id(), Some(words), bounds)?;
                self.handed_over(call.get_params()?.get_cap_table()?, bounds)?;
            }
            message::Return(answer) => {
                let answer = answer?;
                let forgotten = !self.forgotten.is_empty() && self.forgotten.remove(&answer.get_answer_id());
                if !forgotten && let Ok(return_::Results(results)) = answer.which() {
                    self.handed_over(results?.get_cap_table()?, bounds)?;
                }
            }
            message::Resolve(resolve) => {
                let resolve = resolve?;
                if let Ok(resolve::Cap(cap)) = resolve.which() {
                    let depth = self
                        .imports
                        .get(&resolve.get_promise_id())
                        .map_or(0, |import| import.depth);
                    self.import(cap?, depth + 1, bounds)?;
                }
            }
            message::Finish(finish) => self.finished(finish?.get_question_id())?,
            _ => {}
        }
        Ok(())
    }

    /// Takes note of a message of ours; says whether the peer has less under way now.
    pub(super) fn sent(&mut self, message: &Builder<HeapAllocator>) -> bool {
        let Ok(root) = message.get_root_as_reader::<message::Reader<'_>>() else {
            return false;
        };
        match root.which() {
            Ok(message::Return(Ok(answer))) => {
                let id = answer.get_answer_id();
                let words = self.answers.get_mut(&id).and_then(Option::take);
                if answer.get_no_finish_needed() {
                    self.answers.remove(&id);
                }
                self.answered(words)
            }
            Ok(message::Release(Ok(release))) => {
                if let Some(import) = self.imports.get_mut(&release.get_id()) {
                    import.references = import
                        .references
                        .saturating_sub(u64::from(release.get_reference_count()));
                    if import.references == 0 {
                        self.imports.remove(&release.get_id());
                    }
                }
                false
            }
            Ok(message::Finish(Ok(finish))) => {
                if finish.get_release_result_caps() {
                    self.forgotten.insert(finish.get_question_id());
                }
                false
            }
            _ => false,
        }
    }

    fn asked(&mut self, id: u32, words: Option<usize>, bounds: &Bounds) -> Result<(), Error> {
        if self.answers.contains_key(&id) {
            return Err(Error::failed(format!("question {id} was asked twice")));
        }
        if self.answers.len() >= bounds.calls.saturating_mul(UNFINISHED) {
            return Err(Error::failed(
                "too many answered calls were left unfinished".to_owned(),
            ));
        }
        self.answers.insert(id, words);
        if let Some(words) = words {
            self.unanswered += 1;
            self.words += words;
        }
        Ok(())
    }

    fn answered(&mut self, words: Option<usize>) -> bool {
        let Some(words) = words else { return false };
        self.unanswered -= 1;
        self.words -= words;
        true
    }

    fn finished(&mut self, id: u32) -> Result<(), Error> {
        let words = self.answers.remove(&id).flatten();
        if self.answered(words) {
            self.canceled += 1;
            if self.canceled > CANCELED {
                return Err(Error::failed("too many calls were canceled".to_owned()));
            }
        }
        Ok(())
    }

    fn handed_over(
        &mut self,
        caps: capnp::struct_list::Reader<'_, cap_descriptor::Owned>,
        bounds: &Bounds,
    ) -> Result<(), Error> {
        if caps.len() as usize > bounds.capabilities {
            return Err(Error::failed(
                "a message carries too many capabilities".to_owned(),
            ));
        }
        caps.iter().try_for_each(|cap| self.import(cap, 0, bounds))
    }

    fn import(&mut self, cap: cap_descriptor::Reader<'_>, depth: u32, bounds: &Bounds) -> Result<(), Error> {
        let id = match cap.which() {
            Ok(cap_descriptor::SenderHosted(id) | cap_descriptor::SenderPromise(id)) => id,
            _ => return Ok(()),
        };
        if depth > PROMISES {
            return Err(Error::failed(
                "a promise leads through too many promises".to_owned(),
            ));
        }
        let import = self.imports.entry(id).or_default();
        import.references += 1;
        import.depth = import.depth.max(depth);
        if self.imports.len() > bounds.capabilities {
            return Err(Error::failed("too many capabilities were handed over".to_owned()));
        }
        Ok(())
    }
}
