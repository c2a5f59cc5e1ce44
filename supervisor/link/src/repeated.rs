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
const SHARED: u32 = 512;
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
        let place = |place: usize| {
            assert!(
                place < usize::from(size.pointers),
                "the parameters have that pointer"
            );
            pointers + place
        };
        let (text_at, shared_at) = (place(call.places.0), place(call.places.1));
        // With the zero at its end.
        let bytes = call.text.len() as u64 + 1;
        assert!(bytes < 1 << 29, "lists are measured in 29 bits");
        words[text_at] = LIST | ((text - text_at - 1) as u64) << 2 | BYTES << 32 | bytes << 35;
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

#[cfg(test)]
mod tests {
    use capnp::message::ReaderOptions;
    use capnp::schema_capnp::{field, type_};
    use capnp::serialize;
    use capnp_rpc::rpc_capnp::{cap_descriptor, message, message_target};

    use super::super::passing::{Head, Passed};
    use super::*;

    const ID: u64 = 0xfeed_f00d;

    /// A structure with a text and a structure, as calls have them.
    fn shared() -> Shared {
        let fill = |kind: type_::Builder<'_>| {
            kind.init_struct().set_type_id(ID);
            Ok::<(), Error>(())
        };
        Shared::new::<type_::Owned, _>(fill).unwrap().unwrap()
    }

    fn head(lent: Option<u32>) -> Call {
        Call {
            question: 1 << 30,
            target: 7,
            interface: 0x1234_5678_9abc_def0,
            method: 5,
            lent,
        }
    }

    fn letter(text: &str, lent: Option<u32>) -> Vec<u8> {
        let call = Repeated {
            method: (0, 0),
            places: (0, 2),
            text,
            shared: &shared(),
        };
        let letter = Letter::new::<field::Owned>(&head(lent), &call);
        let bytes = letter.pieces().concat();
        assert_eq!(bytes.len(), letter.bytes());
        bytes
    }

    fn says(bytes: &[u8], target: u32, text: &str, lent: Option<u32>) {
        let message = serialize::read_message(bytes, ReaderOptions::new()).unwrap();
        let Ok(message::Call(Ok(call))) = message.get_root::<message::Reader<'_>>().unwrap().which() else {
            panic!("it is a call");
        };
        assert_eq!(call.get_interface_id(), head(None).interface);
        assert_eq!(call.get_method_id(), 5);
        let Ok(message_target::ImportedCap(on)) = call.get_target().unwrap().which() else {
            panic!("it is for what the peer offers");
        };
        assert_eq!(on, target);
        let params = call.get_params().unwrap();
        let caps: Vec<u32> = params
            .get_cap_table()
            .unwrap()
            .iter()
            .map(|cap| match cap.which() {
                Ok(cap_descriptor::SenderHosted(id)) => id,
                _ => panic!("it is lent"),
            })
            .collect();
        assert_eq!(caps, lent.into_iter().collect::<Vec<_>>());
        let content: field::Reader<'_> = params.get_content().get_as().unwrap();
        assert_eq!(content.get_name().unwrap(), text);
        let Ok(field::Slot(slot)) = content.which() else {
            panic!("all else keeps its default");
        };
        let Ok(type_::Struct(kind)) = slot.get_type().unwrap().which() else {
            panic!("the structure is there");
        };
        assert_eq!(kind.get_type_id(), ID);
        assert!(!slot.has_default_value());
    }

    #[test]
    fn capnp_reads_what_was_written_and_it_can_be_passed_on() {
        for length in [0, 1, 6, 7, 8, 15, 16, 1000] {
            for lent in [None, Some(0), Some(u32::MAX)] {
                let text = "x".repeat(length);
                let bytes = letter(&text, lent);
                says(&bytes, 7, &text, lent);

                let body = serialize::read_message(&bytes[..], ReaderOptions::new());
                let body = body.unwrap().into_segments();
                let Some(Head::Call { head, is_plain: true }) = Head::of(&body) else {
                    panic!("it is seen as what is usual");
                };
                let other = Call { target: 8, ..head };
                let passed = Passed::call(body, other).ok().expect("it is passed on");
                says(&passed.pieces().concat(), 8, &text, lent);
            }
        }
    }

    #[test]
    fn what_is_long_is_not_shared() {
        let of = |length: usize| {
            let text = "x".repeat(length);
            let fill = |mut field: field::Builder<'_>| {
                field.set_name(&text[..]);
                Ok::<(), Error>(())
            };
            Shared::new::<field::Owned, _>(fill).unwrap().is_some()
        };
        assert!(of(100));
        assert!(!of(SHARED as usize * WORD));
    }

    #[test]
    fn one_capability_is_shared_and_two_are_not() {
        let of = |count: usize| {
            let fill = |mut all: any_pointer::Builder<'_>| {
                let mut list = all
                    .reborrow()
                    .initn_as::<capnp::capability_list::Builder<'_, capnp::capability::Client>>(2);
                for index in 0..count {
                    let broken = capnp_rpc::new_broken_cap(Error::failed(String::new())).hook;
                    list.set(index as u32, broken);
                }
                Ok::<(), Error>(())
            };
            Shared::new::<any_pointer::Owned, _>(fill).unwrap().is_some()
        };
        assert_eq!([0, 1, 2].map(of), [true, true, false]);
    }
}
