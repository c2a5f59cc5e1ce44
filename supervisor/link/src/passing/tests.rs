//! What is read here by hand against what capnp reads in the same bytes.

use capnp::any_pointer;
use capnp::capability::Client;
use capnp::message::{AllocationStrategy, Builder, HeapAllocator, Reader, ReaderOptions};
use capnp::private::layout::CapTable;
use capnp::serialize::{self, OwnedSegments};
use capnp::traits::{Imbue, ImbueMut};
use capnp_rpc::rpc_capnp::{
    call, cap_descriptor, exception, message, message_target, payload, resolve, return_,
};
use proptest::prelude::*;

use super::{CALL, Call, Head, Passed, RELEASE, RETURN, exchange, readdress, retarget};

/// The number that something else gets.
const OTHER: u32 = 0x0bad_cafe;

#[derive(Clone, Debug)]
enum Content {
    Nothing,
    Text(String),
    Struct(String),
    Capability,
}

#[derive(Clone, Debug)]
struct Shape {
    /// A call, a `Return`, or else a `Release`.
    which: u16,
    id: u32,
    target: u32,
    interface: u64,
    method: u16,
    /// How targets and places for results differ from the usual.
    is_odd: bool,
    flags: (bool, bool),
    caps: Vec<(u8, u32)>,
    content: Content,
    first_segment: u32,
}

impl Shape {
    fn is_usual(&self) -> bool {
        let is_plain = match self.caps.as_slice() {
            [] => true,
            [(1, _)] => self.which == CALL,
            _ => false,
        };
        !self.is_odd && is_plain && (self.which == CALL || self.which == RETURN)
    }

    fn build(&self) -> Vec<u8> {
        let allocator = HeapAllocator::new()
            .first_segment_words(self.first_segment)
            .allocation_strategy(AllocationStrategy::FixedSize);
        let mut caps = Vec::new();
        let mut builder = Builder::new(allocator);
        let root = builder.init_root::<message::Builder<'_>>();
        match self.which {
            CALL => {
                let mut call = root.init_call();
                call.set_question_id(self.id);
                call.set_interface_id(self.interface);
                call.set_method_id(self.method);
                let mut target = call.reborrow().init_target();
                if self.is_odd {
                    target.init_promised_answer().set_question_id(self.target);
                } else {
                    target.set_imported_cap(self.target);
                }
                if self.is_odd && self.flags.0 {
                    call.reborrow().init_send_results_to().set_yourself(());
                }
                self.fill(call.init_params(), &mut caps);
            }
            RETURN => {
                let mut answer = root.init_return();
                answer.set_answer_id(self.id);
                answer.set_release_param_caps(self.flags.0);
                answer.set_no_finish_needed(self.flags.1);
                if self.is_odd {
                    answer.init_exception().set_reason("no");
                } else {
                    self.fill(answer.init_results(), &mut caps);
                }
            }
            _ => {
                let mut release = root.init_release();
                release.set_id(self.id);
                release.set_reference_count(self.target);
            }
        }
        let mut bytes = Vec::new();
        serialize::write_message(&mut bytes, &builder).unwrap();
        bytes
    }

    fn fill<'all>(&self, mut payload: payload::Builder<'all>, caps: &'all mut CapTable) {
        let mut table = payload
            .reborrow()
            .init_cap_table(u32::try_from(self.caps.len()).unwrap());
        for (index, (kind, id)) in (0..).zip(&self.caps) {
            let mut cap = table.reborrow().get(index);
            match kind {
                0 => cap.set_none(()),
                1 => cap.set_sender_hosted(*id),
                2 => cap.set_sender_promise(*id),
                3 => cap.set_receiver_hosted(*id),
                _ => cap.init_receiver_answer().set_question_id(*id),
            }
        }
        let mut content = payload.get_content();
        match &self.content {
            Content::Nothing => {}
            Content::Text(text) => content.set_as(text.as_str()).unwrap(),
            Content::Struct(text) => content.init_as::<exception::Builder<'_>>().set_reason(text),
            Content::Capability => {
                content.imbue_mut(caps);
                content.set_as_capability(broken());
            }
        }
    }
}

fn broken() -> Box<dyn capnp::private::capability::ClientHook> {
    capnp_rpc::new_broken_cap(capnp::Error::failed(String::new())).hook
}

fn content() -> impl Strategy<Value = Content> {
    prop_oneof![
        Just(Content::Nothing),
        Just(Content::Capability),
        ".{0,40}".prop_map(Content::Text),
        ".{0,40}".prop_map(Content::Struct),
    ]
}

fn shape() -> impl Strategy<Value = Shape> {
    let id = || prop_oneof![any::<u32>(), (1_u32 << 30)..(1 << 30) + 4];
    let caps = proptest::collection::vec((0_u8..5, id()), 0..3);
    let which = prop_oneof![4 => Just(CALL), 3 => Just(RETURN), 1 => Just(6)];
    let is_odd = proptest::bool::weighted(0.2);
    (
        (which, id(), id(), any::<u64>(), any::<u16>()),
        (is_odd, any::<(bool, bool)>(), caps, content(), 1_u32..40),
    )
        .prop_map(
            |((which, id, target, interface, method), (is_odd, flags, caps, content, first_segment))| Shape {
                which,
                id,
                target,
                interface,
                method,
                is_odd,
                flags,
                caps,
                content,
                first_segment,
            },
        )
}

/// Changes to the words behind the table of segments: where, and how.
#[derive(Clone, Debug)]
enum Change {
    Flip(u32),
    Pointer {
        offset: i32,
        sizes: u32,
        kind: u64,
    },
    Word(u64),
    Copy(usize),
    /// Lead where another pointer leads.
    Alias(usize),
}

fn changes() -> impl Strategy<Value = Vec<(usize, Change)>> {
    let change = prop_oneof![
        3 => (0_u32..64).prop_map(Change::Flip),
        3 => (-20_i32..20, prop_oneof![0_u32..4, 0x10000_u32..0x50005, any::<u32>()], 0_u64..4)
            .prop_map(|(offset, sizes, kind)| Change::Pointer { offset, sizes, kind }),
        1 => any::<u64>().prop_map(Change::Word),
        2 => any::<usize>().prop_map(Change::Copy),
        2 => any::<usize>().prop_map(Change::Alias),
    ];
    proptest::collection::vec((any::<usize>(), change), 0..6)
}

fn change(body: &mut OwnedSegments, changes: &[(usize, Change)]) {
    let words = body.len() / 8;
    for (at, change) in changes {
        let word = |body: &OwnedSegments, at: usize| {
            u64::from_le_bytes(body[at * 8..at * 8 + 8].try_into().unwrap())
        };
        let at = at % words;
        let changed = match change {
            Change::Flip(bit) => word(body, at) ^ 1 << bit,
            Change::Pointer { offset, sizes, kind } => {
                u64::from(offset.cast_unsigned() << 2) | kind | u64::from(*sizes) << 32
            }
            Change::Word(word) => *word,
            Change::Copy(from) => word(body, from % words),
            Change::Alias(from) => {
                let from = from % words;
                let distance = u32::try_from(from)
                    .unwrap()
                    .wrapping_sub(u32::try_from(at).unwrap());
                let leads = |at| word(body, at) & 0xffff_fffc;
                let offset = leads(from) + u64::from(distance.wrapping_shl(2));
                word(body, at) & !0xffff_fffc | offset & 0xffff_fffc
            }
        };
        body[at * 8..at * 8 + 8].copy_from_slice(&changed.to_le_bytes());
    }
}

fn segments(bytes: &[u8]) -> OwnedSegments {
    let mut options = ReaderOptions::new();
    options.traversal_limit_in_words(None);
    serialize::read_message(bytes, options).unwrap().into_segments()
}

fn reader(body: &OwnedSegments) -> Reader<OwnedSegments> {
    // capnp's segments cannot be cloned.
    let count = u32::try_from(capnp::message::ReaderSegments::len(body)).unwrap();
    let all: Vec<&[u8]> = (0..count)
        .map(|segment| capnp::message::ReaderSegments::get_segment(body, segment).unwrap())
        .collect();
    let mut bytes = (count - 1).to_le_bytes().to_vec();
    for segment in &all {
        bytes.extend(u32::try_from(segment.len() / 8).unwrap().to_le_bytes());
    }
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes.extend(all.concat());
    let mut options = ReaderOptions::new();
    options.traversal_limit_in_words(None);
    serialize::read_message(&bytes[..], options).unwrap()
}

/// All that a head says, as capnp reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Gist {
    which: u16,
    id: u32,
    /// Of a call on something imported.
    target: Option<u32>,
    /// Of a call on what an answer is to bring.
    promised: Option<u32>,
    method: (u64, u16),
    /// Whose answer it is for, or what kind of answer this is.
    is_usual: bool,
    flags: (bool, bool),
    caps: Vec<(u8, u32)>,
    /// How many of a capability are given back.
    references: u32,
}

fn gist(message: &Reader<OwnedSegments>) -> capnp::Result<Gist> {
    let mut gist = Gist {
        which: 0,
        id: 0,
        target: None,
        promised: None,
        method: (0, 0),
        is_usual: false,
        flags: (false, false),
        caps: Vec::new(),
        references: 0,
    };
    match message.get_root::<message::Reader<'_>>()?.which()? {
        message::Call(call) => {
            let call = call?;
            (gist.which, gist.id) = (CALL, call.get_question_id());
            gist.method = (call.get_interface_id(), call.get_method_id());
            match call.get_target()?.which()? {
                message_target::ImportedCap(id) => gist.target = Some(id),
                message_target::PromisedAnswer(answer) => gist.promised = Some(answer?.get_question_id()),
            }
            gist.is_usual = matches!(
                call.get_send_results_to().which()?,
                call::send_results_to::Caller(())
            );
            gist.caps = caps(call.get_params()?)?;
        }
        message::Return(answer) => {
            let answer = answer?;
            (gist.which, gist.id) = (RETURN, answer.get_answer_id());
            gist.flags = (answer.get_release_param_caps(), answer.get_no_finish_needed());
            if let return_::Results(results) = answer.which()? {
                gist.is_usual = true;
                gist.caps = caps(results?)?;
            }
        }
        message::Release(release) => {
            let release = release?;
            (gist.which, gist.id) = (RELEASE, release.get_id());
            gist.references = release.get_reference_count();
        }
        message::Resolve(resolve) => {
            if let resolve::Cap(cap) = resolve?.which()? {
                cap?;
            }
        }
        _ => {}
    }
    Ok(gist)
}

fn caps(payload: payload::Reader<'_>) -> capnp::Result<Vec<(u8, u32)>> {
    let table = payload.get_cap_table()?;
    if table.len() > 1000 {
        return Err(capnp::Error::failed("too many".to_owned()));
    }
    table
        .iter()
        .map(|cap| {
            Ok(match cap.which()? {
                cap_descriptor::None(()) => (0, 0),
                cap_descriptor::SenderHosted(id) => (1, id),
                cap_descriptor::SenderPromise(id) => (2, id),
                cap_descriptor::ReceiverHosted(id) => (3, id),
                cap_descriptor::ReceiverAnswer(answer) => (4, answer?.get_question_id()),
                cap_descriptor::ThirdPartyHosted(_) => (5, 0),
            })
        })
        .collect()
}

/// capnp says the same of a message of which all is said here.
fn agrees(head: &Head, gist: capnp::Result<Gist>) -> Result<(), TestCaseError> {
    match *head {
        Head::Call { head, is_plain: true } => {
            let expected = Gist {
                which: CALL,
                id: head.question,
                target: Some(head.target),
                promised: None,
                method: (head.interface, head.method),
                is_usual: true,
                flags: (false, false),
                caps: head.lent.map(|id| (1, id)).into_iter().collect(),
                references: 0,
            };
            prop_assert_eq!(gist.unwrap(), expected);
        }
        Head::Return {
            call,
            gives_back,
            needs_finish,
            is_plain: true,
        } => {
            let expected = Gist {
                which: RETURN,
                id: call,
                target: None,
                promised: None,
                method: (0, 0),
                is_usual: true,
                flags: (gives_back, !needs_finish),
                caps: Vec::new(),
                references: 0,
            };
            prop_assert_eq!(gist.unwrap(), expected);
        }
        Head::Release { id, references } => {
            let gist = gist.unwrap();
            prop_assert_eq!((gist.which, gist.id, gist.references), (RELEASE, id, references));
        }
        _ => {}
    }
    Ok(())
}

/// The content of a payload, as far as these tests put it there.
fn is_in(payload: payload::Reader<'_>, content: &Content) -> capnp::Result<bool> {
    let mut any: any_pointer::Reader<'_> = payload.get_content();
    Ok(match content {
        Content::Nothing => any.is_null(),
        Content::Text(text) => any.get_as::<capnp::text::Reader<'_>>()?.to_str()? == text,
        Content::Struct(text) => any.get_as::<exception::Reader<'_>>()?.get_reason()?.to_str()? == text,
        Content::Capability => {
            let caps = vec![Some(broken())];
            any.imbue(&caps);
            any.get_as_capability::<Client>().is_ok()
        }
    })
}

fn passed(body: OwnedSegments, head: &Head) -> Result<Option<Passed>, OwnedSegments> {
    match *head {
        Head::Call { head, .. } => {
            let head = Call {
                question: OTHER,
                target: !head.target,
                lent: head.lent.map(|id| !id),
                ..head
            };
            Passed::call(body, head).map(Some)
        }
        Head::Return { gives_back, .. } => Passed::results(body, OTHER, gives_back).map(Some),
        Head::Release { .. } => Ok(None),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, fork: false, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn heads_say_what_capnp_says(shape in shape(), changes in changes()) {
        let mut body = segments(&shape.build());
        if changes.is_empty() && shape.first_segment > 25 && shape.is_usual() {
            let head = Head::of(&body);
            let is_plain = matches!(
                head,
                Some(Head::Call { is_plain: true, .. } | Head::Return { is_plain: true, .. })
            );
            prop_assert!(is_plain, "the usual is seen as such: {head:?}");
        }
        change(&mut body, &changes);
        if let Some(head) = Head::of(&body) {
            agrees(&head, gist(&reader(&body)))?;
        }
    }

    #[test]
    fn what_is_passed_on_is_what_came(shape in shape()) {
        let body = segments(&shape.build());
        let Some(head) = Head::of(&body) else { return Ok(()) };
        if !shape.is_usual() {
            return Ok(());
        }
        let Ok(Some(passed)) = passed(body, &head) else {
            return Err(TestCaseError::fail("the usual is passed on"));
        };
        let bytes = passed.pieces().concat();
        prop_assert_eq!(bytes.len(), passed.bytes());
        let message = reader(&segments(&bytes));
        let gist = gist(&message).unwrap();
        prop_assert_eq!(gist.id, OTHER);
        let caps: Vec<(u8, u32)> = shape.caps.iter().map(|(kind, id)| (*kind, !id)).collect();
        prop_assert_eq!(gist.caps, caps);
        let root = message.get_root::<message::Reader<'_>>().unwrap();
        let payload = match root.which().unwrap() {
            message::Call(call) => {
                prop_assert_eq!(gist.target, Some(!shape.target));
                prop_assert_eq!(gist.method, (shape.interface, shape.method));
                call.unwrap().get_params().unwrap()
            }
            message::Return(answer) => {
                prop_assert_eq!(gist.flags, (shape.flags.0, true));
                match answer.unwrap().which().unwrap() {
                    return_::Results(results) => results.unwrap(),
                    _ => return Err(TestCaseError::fail("results stay results")),
                }
            }
            _ => return Err(TestCaseError::fail("its kind stays")),
        };
        prop_assert!(is_in(payload, &shape.content).unwrap());
    }

    #[test]
    fn whatever_is_passed_on_has_the_head_it_was_given(shape in shape(), changes in changes()) {
        let mut body = segments(&shape.build());
        change(&mut body, &changes);
        let Some(head) = Head::of(&body) else { return Ok(()) };
        if let Ok(Some(passed)) = passed(body, &head) {
            let bytes = passed.pieces().concat();
            let gist = gist(&reader(&segments(&bytes))).unwrap();
            prop_assert_eq!(gist.id, OTHER);
            match head {
                Head::Call { head, .. } => {
                    prop_assert_eq!(gist.target, Some(!head.target));
                    let caps: Vec<(u8, u32)> = head.lent.map(|id| (1, !id)).into_iter().collect();
                    prop_assert_eq!(gist.caps, caps);
                }
                Head::Return { .. } => prop_assert!(gist.is_usual && gist.caps.is_empty()),
                Head::Release { .. } => return Err(TestCaseError::fail("this is not passed on")),
            }
        }
    }

    #[test]
    fn exchanging_a_number_changes_nothing_else(shape in shape(), changes in changes(), how in 0_u8..3) {
        exchanges_one_thing(&shape, &changes, how)?;
    }
}

/// A question that a capability, or the target of a call, waits for lies where another number is exchanged.
#[test]
fn parts_that_share_their_words_are_not_changed() {
    let shape = |which, is_odd, caps| Shape {
        which,
        id: 1 << 30,
        target: 7,
        interface: 1,
        method: 2,
        is_odd,
        flags: (false, false),
        caps,
        content: Content::Nothing,
        first_segment: 64,
    };
    let shapes = [
        (shape(RETURN, false, vec![(4, 5), (0, 0)]), 0),
        (shape(CALL, true, vec![(3, 1 << 30), (4, 6)]), 2),
        (shape(CALL, false, vec![(3, 1 << 30), (4, 6)]), 2),
    ];
    for (shape, how) in shapes {
        let words = segments(&shape.build()).len() / 8;
        for at in 0..words {
            for from in 0..words {
                let changes = [(at, Change::Alias(from))];
                exchanges_one_thing(&shape, &changes, how).unwrap();
            }
        }
    }
}

/// The system is given what the ledger has seen, but for the number that was to be exchanged.
fn exchanges_one_thing(shape: &Shape, changes: &[(usize, Change)], how: u8) -> Result<(), TestCaseError> {
    let mut body = segments(&shape.build());
    change(&mut body, changes);
    let Ok(mut before) = gist(&reader(&body)) else {
        return Ok(());
    };
    let done = match how {
        0 if before.id >= 1 << 30 && before.which != CALL && before.which != 0 => {
            let id = std::mem::replace(&mut before.id, OTHER);
            readdress(&mut body, before.which, OTHER).map(|()| id)
        }
        1 if before.target.is_some_and(|id| id >= 1 << 30) => {
            before.target = Some(OTHER);
            retarget(&mut body, OTHER).map(|()| 0)
        }
        2 if before.caps.iter().any(|cap| cap.0 == 3 && cap.1 >= 1 << 30) => {
            for cap in &mut before.caps {
                if cap.0 == 3 && cap.1 >= 1 << 30 {
                    cap.1 = OTHER;
                }
            }
            exchange(&mut body, before.which, |id| (id >= 1 << 30).then_some(OTHER)).map(|()| 0)
        }
        _ => return Ok(()),
    };
    let is_whole = shape.first_segment > 35 && changes.is_empty();
    prop_assert!(done.is_some() || !is_whole, "what is usual can be changed");
    if done.is_some() {
        prop_assert_eq!(gist(&reader(&body)).unwrap(), before);
    }
    Ok(())
}
