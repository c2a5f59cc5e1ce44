//! Calls that say the same again and again, but for one text.
//!
//! Their parameters are one text and one structure, and the structure is that of the calls before. It is encoded once and
//! sent with each of them as a segment of its own, to which the parameters lead (a far pointer, Cap'n Proto encoding,
//! "Inter-Segment Pointers"). All else of such a call has a fixed shape and is written out in words.

use std::rc::Rc;

use capnp::Error;
use capnp::any_pointer;
use capnp::capability::{Promise, Response};
use capnp::message::{Builder, HeapAllocator};
use capnp::private::capability::ClientHook;
use capnp::traits::{HasStructSize, ImbueMut, Owned, OwnedStruct, Pipelined};

use super::Wire;
use super::direct::{Direct, Object, Sent};
use super::passing::{Call, FAR, LIST, WORD, structure};

/// Words of the longest structure that is shared.
const SHARED: u32 = 1024;
/// The size of elements that says bytes (Cap'n Proto encoding, "Lists").
const BYTES: u64 = 2;

/// A structure that calls share. It may hold one capability, which each call lends anew.
#[derive(Clone)]
pub struct Shared(Rc<[u8]>);

impl Shared {
    /// Encodes what `fill` writes. `None` if that is long.
    ///
    /// # Errors
    ///
    /// That of `fill`.
    pub fn new<T: Owned, E>(fill: impl FnOnce(T::Builder<'_>) -> Result<(), E>) -> Result<Option<Self>, E> {
        let mut message = Builder::new(HeapAllocator::new().first_segment_words(SHARED));
        // What is lent is known by its place in this table, which is the first. The table itself is each call's own.
        let mut caps = Vec::new();
        let mut root = message.init_root::<any_pointer::Builder<'_>>();
        root.imbue_mut(&mut caps);
        fill(root.init_as())?;
        let segments = message.get_segments_for_output();
        let is_short = segments.len() == 1 && caps.len() <= 1;
        Ok(is_short.then(|| Self(segments[0].into())))
    }
}

/// One of such calls.
pub struct Repeated<'a> {
    /// Id of the interface, and number of the method.
    pub method: (u64, u16),
    /// Which pointer of the parameters is the text, and which the structure. All else keeps its default.
    pub places: (usize, usize),
    /// What only this call says.
    pub text: &'a str,
    /// What others say too.
    pub shared: &'a Shared,
}

impl<C> Direct<C> {
    /// The way of such calls, if calls go past the RPC system now and may lend a capability.
    #[must_use]
    pub fn open(&self) -> Option<Open<'_>> {
        let (wire, target) = self.object.open()?;
        let may_lend = wire.calls.may_lend(wire.bounds.capabilities);
        may_lend.then_some(Open {
            object: &self.object,
            wire,
            target,
        })
    }
}

/// Where a call leaves at once.
pub struct Open<'a> {
    object: &'a Rc<Object>,
    wire: Rc<Wire>,
    target: u32,
}

impl Open<'_> {
    /// Makes a call, which lends `lent` for as long as it lasts.
    pub fn call<Params, Results>(
        self,
        call: &Repeated<'_>,
        lent: Box<dyn ClientHook>,
    ) -> Promise<Response<Results>, Error>
    where
        Params: OwnedStruct,
        Results: Pipelined + Owned + 'static,
    {
        let sent = Sent::new(self.wire, true, |wire, question, lent| {
            let head = Call {
                question,
                target: self.target,
                interface: call.method.0,
                method: call.method.1,
                lent,
            };
            wire.send_letter(Letter::new::<Params>(&head, call));
        });
        sent.answer(Rc::clone(self.object), call.method, Some(lent))
    }
}

/// Such a call on its way out.
pub(super) struct Letter {
    /// The segment table, and the first segment.
    own: Vec<u8>,
    /// The second.
    shared: Rc<[u8]>,
}

impl Letter {
    fn new<Params: OwnedStruct>(head: &Call, call: &Repeated<'_>) -> Self {
        let size = <Params::Builder<'_> as HasStructSize>::STRUCT_SIZE;
        let mut words = head.words(0);
        let params = words.len();
        words[Call::CONTENT] = structure(
            (params - Call::CONTENT - 1) as u64,
            u64::from(size.data),
            u64::from(size.pointers),
        );
        let pointers = params + usize::from(size.data);
        let text = pointers + usize::from(size.pointers);
        words.resize(text, 0);
        let (text_at, shared_at) = (pointers + call.places.0, pointers + call.places.1);
        words[text_at] = LIST
            | ((text - text_at - 1) as u64) << 2
            | BYTES << 32
            // With the zero at its end.
            | (call.text.len() as u64 + 1) << 35;
        // To the pointer with which the second segment begins.
        words[shared_at] = FAR | 1 << 32;

        let length = words.len() + (call.text.len() + 1).div_ceil(WORD);
        let mut own = Vec::with_capacity(2 * WORD + length * WORD);
        for number in [1, length, call.shared.0.len() / WORD, 0] {
            let number = u32::try_from(number).expect("segments are measured in 32 bits");
            own.extend_from_slice(&number.to_le_bytes());
        }
        for word in words {
            own.extend_from_slice(&word.to_le_bytes());
        }
        own.extend_from_slice(call.text.as_bytes());
        own.resize(2 * WORD + length * WORD, 0);
        Self {
            own,
            shared: Rc::clone(&call.shared.0),
        }
    }

    /// Bytes in the order in which they are sent.
    pub(super) fn pieces(&self) -> [&[u8]; 2] {
        [&self.own, &self.shared]
    }

    pub(super) fn bytes(&self) -> usize {
        self.own.len() + self.shared.len()
    }
}
