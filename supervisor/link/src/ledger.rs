//! Counts what a peer makes us hold: calls it waits for and capabilities it handed over.

use std::collections::{HashMap, HashSet, VecDeque};

use capnp::Error;
use capnp::message::{Builder, HeapAllocator, Reader};
use capnp::serialize::OwnedSegments;
use capnp_rpc::rpc_capnp::{call, cap_descriptor, message, resolve, return_};

use super::Bounds;
use super::notes;
use super::numbers::Keyed;
use super::passing::Head;

/// Through how many promises a promise may lead. Each one kept costs memory until the last holder lets go.
const PROMISES: u32 = 64;
/// Answered calls a peer may leave unfinished, as a multiple of those it may have unanswered.
const UNFINISHED: usize = 4;

#[derive(Default)]
pub(super) struct Ledger {
    /// Calls of the peer that it has not finished.
    answers: HashMap<u32, Answer, Keyed>,
    /// Calls the peer lost interest in before they were answered, and that have been answered now.
    finished_late: VecDeque<Finished>,
    unanswered: usize,
    /// Calls of ours the peer has not answered.
    asked: usize,
    words: usize,
    canceled: usize,
    /// The peer's capabilities we hold.
    imports: HashMap<u32, Import, Keyed>,
    /// Our calls that were canceled; capabilities in late answers to them are not ours to keep.
    forgotten: HashSet<u32, Keyed>,
}

/// A call of the peer.
struct Answer {
    /// Its words, while it is unanswered and counts.
    words: Option<usize>,
    /// The peer takes what comes of it as the answer to a call of ours; the RPC system never answers it.
    is_redirected: bool,
    /// The peer is done with it, which the RPC system is told once it has answered.
    unwanted: Option<Finished>,
}

/// A peer's word that it is done with a call.
#[derive(Clone, Copy)]
struct Finished {
    id: u32,
    releases_caps: bool,
}

/// What becomes of a message of the peer.
pub(super) enum Verdict {
    /// The RPC system is to have it.
    Pass,
    /// It is to have this one instead.
    Replace(Reader<OwnedSegments>),
    /// It is to have it later, if at all.
    Keep,
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

    /// Calls that have not been answered, either way.
    pub(super) fn open(&self) -> usize {
        self.unanswered + self.asked
    }

    /// Takes note of what is usual, of which all there is to know has been read. Says whether that was possible.
    pub(super) fn received_usual(
        &mut self,
        head: &Head,
        words: usize,
        bounds: &Bounds,
    ) -> Result<bool, Error> {
        match *head {
            Head::Call { head, is_plain: true } => {
                self.take_up(head.question, Some(words), false, bounds)?;
                if let Some(lent) = head.lent {
                    self.import_id(lent, 0, bounds)?;
                }
                Ok(true)
            }
            Head::Return { is_plain: true, .. } if self.forgotten.is_empty() => {
                self.asked = self.asked.saturating_sub(1);
                Ok(true)
            }
            // What we lend is not counted here.
            Head::Release { .. } => Ok(true),
            _ => Ok(false),
        }
    }

    /// Takes note of a message of the peer, before the RPC system sees it.
    pub(super) fn received(
        &mut self,
        message: &Reader<OwnedSegments>,
        bounds: &Bounds,
    ) -> Result<Verdict, Error> {
        let words = message.size_in_words();
        // What the schema does not know is answered "unimplemented" by the RPC system.
        let Ok(body) = message.get_root::<message::Reader<'_>>()?.which() else {
            return Ok(Verdict::Pass);
        };
        match body {
            message::Bootstrap(bootstrap) => {
                self.take_up(bootstrap?.get_question_id(), None, false, bounds)?;
            }
            message::Call(call) => {
                let call = call?;
                let is_redirected = matches!(
                    call.get_send_results_to().which(),
                    Ok(call::send_results_to::Yourself(()))
                );
                self.take_up(call.get_question_id(), Some(words), is_redirected, bounds)?;
                self.handed_over(call.get_params()?.get_cap_table()?, bounds)?;
            }
            message::Return(answer) => {
                let answer = answer?;
                self.asked = self.asked.saturating_sub(1);
                let forgotten = !self.forgotten.is_empty() && self.forgotten.remove(&answer.get_answer_id());
                match answer.which() {
                    Ok(return_::Results(results)) if !forgotten => {
                        self.handed_over(results?.get_cap_table()?, bounds)?;
                    }
                    // A tail call back to us, in answer to a call that was canceled meanwhile. capnp-rpc says to this
                    // that it knows no such message, for which peers in C++ hang up.
                    Ok(return_::TakeFromOtherQuestion(_)) if forgotten => {
                        return notes::canceled(answer.get_answer_id()).map(Verdict::Replace);
                    }
                    _ => {}
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
            message::Finish(finish) => {
                let finish = finish?;
                let finished = Finished {
                    id: finish.get_question_id(),
                    releases_caps: finish.get_release_result_caps(),
                };
                if bounds.calls_run_to_their_end && self.put_off(finished) {
                    return Ok(Verdict::Keep);
                }
                self.finished(finished.id, bounds)?;
            }
            _ => {}
        }
        Ok(Verdict::Pass)
    }

    /// What the RPC system is to be told before anything else.
    pub(super) fn overdue(&mut self) -> Option<Result<Reader<OwnedSegments>, Error>> {
        let finished = self.finished_late.pop_front()?;
        Some(notes::finish(finished.id, finished.releases_caps))
    }

    /// Notes that the peer is done with a call that has not been answered. Says whether there is such a call.
    fn put_off(&mut self, finished: Finished) -> bool {
        let answer = self.answers.get_mut(&finished.id);
        match answer.filter(|answer| answer.words.is_some() && !answer.is_redirected) {
            Some(answer) => {
                answer.unwanted.get_or_insert(finished);
                true
            }
            None => false,
        }
    }

    /// Takes note of a message of ours; says whether the peer has less under way now.
    pub(super) fn sent(&mut self, message: &Builder<HeapAllocator>) -> bool {
        let Ok(root) = message.get_root_as_reader::<message::Reader<'_>>() else {
            return false;
        };
        match root.which() {
            Ok(message::Call(_) | message::Bootstrap(_)) => {
                self.asked += 1;
                false
            }
            Ok(message::Return(Ok(answer))) => {
                self.returned(answer.get_answer_id(), answer.get_no_finish_needed())
            }
            Ok(message::Release(Ok(release))) => {
                self.given_back(release.get_id(), release.get_reference_count());
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

    /// An answer that was taken note of turned out to be to a call that was forgotten meanwhile: the peer takes back what
    /// it carries.
    pub(super) fn forgotten_late(&mut self, message: &Reader<OwnedSegments>) -> Result<(), Error> {
        let Ok(message::Return(answer)) = message.get_root::<message::Reader<'_>>()?.which() else {
            return Ok(());
        };
        let answer = answer?;
        self.forgotten.remove(&answer.get_answer_id());
        if let Ok(return_::Results(results)) = answer.which() {
            for cap in results?.get_cap_table()? {
                if let Ok(cap_descriptor::SenderHosted(id) | cap_descriptor::SenderPromise(id)) = cap.which()
                {
                    self.given_back(id, 1);
                }
            }
        }
        Ok(())
    }

    pub(super) fn given_back(&mut self, id: u32, count: u32) {
        if let Some(import) = self.imports.get_mut(&id) {
            import.references = import.references.saturating_sub(u64::from(count));
            if import.references == 0 {
                self.imports.remove(&id);
            }
        }
    }

    /// Takes note of a call of ours that [`Ledger::sent`] does not see.
    pub(super) fn passed_on(&mut self) {
        self.asked += 1;
    }

    /// Takes note of an answer of ours; says whether the peer has less under way now.
    pub(super) fn returned(&mut self, id: u32, is_finished: bool) -> bool {
        let Some(known) = self.answers.get_mut(&id) else {
            return false;
        };
        let (words, unwanted) = (known.words.take(), known.unwanted.take());
        self.finished_late.extend(unwanted);
        if unwanted.is_some() || is_finished {
            self.answers.remove(&id);
        }
        self.answered(words)
    }

    fn take_up(
        &mut self,
        id: u32,
        words: Option<usize>,
        is_redirected: bool,
        bounds: &Bounds,
    ) -> Result<(), Error> {
        if self.answers.contains_key(&id) {
            return Err(Error::failed(format!("question {id} was asked twice")));
        }
        if self.answers.len() >= bounds.calls.saturating_mul(UNFINISHED) {
            return Err(Error::overloaded(
                "too many answered calls were left unfinished".to_owned(),
            ));
        }
        let answer = Answer {
            words,
            is_redirected,
            unwanted: None,
        };
        self.answers.insert(id, answer);
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

    fn finished(&mut self, id: u32, bounds: &Bounds) -> Result<(), Error> {
        let words = self.answers.remove(&id).and_then(|answer| answer.words);
        if self.answered(words) {
            self.canceled += 1;
            if self.canceled > bounds.canceled {
                return Err(Error::overloaded("too many calls were canceled".to_owned()));
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
            return Err(Error::overloaded(
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
        self.import_id(id, depth, bounds)
    }

    fn import_id(&mut self, id: u32, depth: u32, bounds: &Bounds) -> Result<(), Error> {
        if depth > PROMISES {
            return Err(Error::failed(
                "a promise leads through too many promises".to_owned(),
            ));
        }
        let import = self.imports.entry(id).or_default();
        import.references += 1;
        import.depth = import.depth.max(depth);
        if self.imports.len() > bounds.capabilities {
            return Err(Error::overloaded(
                "too many capabilities were handed over".to_owned(),
            ));
        }
        Ok(())
    }
}
