//! Messages passed on as they came, under a new head.
//!
//! The body of a call or an answer stays where it was read. What says whose it is, to whom it goes and which capabilities
//! it carries is written anew, in a segment behind the others, to which the root is turned. References within the body
//! keep their meaning, since its segments keep their numbers.

#[cfg(test)]
mod tests;

use capnp::message::ReaderSegments;
use capnp::serialize::OwnedSegments;

pub(super) const WORD: usize = 8;
/// Segments of a body at most: it gets one more, and readers take no more than 512.
const SEGMENTS: usize = 64;
/// Words that the head of a passed message has at most.
pub(super) const HEAD: usize = 32;
/// Discriminants of `Message` (rpc.capnp).
const CALL: u16 = 2;
const RETURN: u16 = 3;
const RELEASE: u16 = 6;
/// Kinds of pointers (Cap'n Proto encoding): the low two bits.
const STRUCT: u64 = 0;
pub(super) const LIST: u64 = 1;
pub(super) const FAR: u64 = 2;
const CAPABILITY: u64 = 3;
/// The size of elements that says structures.
const STRUCTURES: u32 = 7;
/// Discriminants of `CapDescriptor` (rpc.capnp).
const SENDER_HOSTED: u32 = 1;
const RECEIVER_HOSTED: u32 = 3;

/// A message on its way out whose body is as it came in.
pub(super) struct Passed {
    /// Segment table, then the words of the last segment.
    head: Vec<u8>,
    table: usize,
    body: OwnedSegments,
}

/// Which of the messages whose body can be passed on.
#[derive(Clone, Copy)]
enum Kind {
    Call,
    Return,
}

/// What the head of a call says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    pub(super) question: u32,
    pub(super) target: u32,
    pub(super) interface: u64,
    pub(super) method: u16,
    /// The one capability it carries, if any, as one that we host.
    pub(super) lent: Option<u32>,
}

impl Call {
    /// Which of the words leads to what the parameters are.
    pub(super) const CONTENT: usize = 11;

    /// Its head in words, in which `content` leads to what the parameters are.
    pub(super) fn words(&self, content: u64) -> Vec<u64> {
        let mut words = Vec::with_capacity(HEAD);
        words.extend([
            structure(0, 1, 1),
            u64::from(CALL),
            structure(0, 3, 3),
            u64::from(self.question) | u64::from(self.method) << 32,
            self.interface,
            0,
            // Target, parameters, and no other place for the results.
            structure(2, 1, 1),
            structure(3, 0, 2),
            0,
            u64::from(self.target),
            0,
            content,
            0,
        ]);
        if let Some(lent) = self.lent {
            // A list of one structure: its tag, then `senderHosted`.
            words[Self::CONTENT + 1] = LIST | u64::from(STRUCTURES) << 32 | 2 << 35;
            words.extend([1 << 2 | 1 << 32 | 1 << 48, 1 | u64::from(lent) << 32, 0]);
        }
        words
    }
}

impl Passed {
    /// Bytes in the order in which they are sent.
    pub(super) fn pieces(&self) -> [&[u8]; 3] {
        let (table, words) = self.head.split_at(self.table);
        [table, &self.body, words]
    }

    pub(super) fn bytes(&self) -> usize {
        self.head.len() + self.body[..].len()
    }

    /// Passes the parameters of the call in `body` on in another. Gives back a body in which they are not found.
    pub(super) fn call(body: OwnedSegments, call: Call) -> Result<Self, OwnedSegments> {
        let Some(content) = content(&body, Kind::Call) else {
            return Err(body);
        };
        Ok(Self::new(body, &call.words(content)))
    }

    /// Passes the results in `body` on as the answer to `question`. They carry no capability and need no `Finish`.
    /// `gives_back` says whether that also gives back what the parameters carried.
    pub(super) fn results(
        body: OwnedSegments,
        question: u32,
        gives_back: bool,
    ) -> Result<Self, OwnedSegments> {
        let Some(content) = content(&body, Kind::Return) else {
            return Err(body);
        };
        let words = [
            structure(0, 1, 1),
            u64::from(RETURN),
            structure(0, 2, 1),
            u64::from(question) | u64::from(!gives_back) << 32 | 1 << 33,
            0,
            structure(0, 0, 2),
            content,
            0,
        ];
        Ok(Self::new(body, &words))
    }

    fn new(mut body: OwnedSegments, words: &[u64]) -> Self {
        let segments = ReaderSegments::len(&body);
        let count = |number: usize| {
            u32::try_from(number)
                .expect("segments are counted and measured in 32 bits")
                .to_le_bytes()
        };
        let table = (4 * (segments + 2)).next_multiple_of(WORD);
        let mut head = Vec::with_capacity(table + WORD * words.len());
        head.extend(count(segments));
        for segment in 0..segments {
            let segment = body.get_segment(u32::from_le_bytes(count(segment)));
            head.extend(count(segment.map_or(0, <[u8]>::len) / WORD));
        }
        head.extend(count(words.len()));
        head.resize(table, 0);
        for word in words {
            head.extend_from_slice(&word.to_le_bytes());
        }
        body[..WORD].copy_from_slice(&(FAR | (segments as u64) << 32).to_le_bytes());
        Self { head, table, body }
    }
}

/// What the head of a message says, read without capnp: for the messages that are usual, and only where all of it is near.
#[derive(Clone, Copy, Debug)]
pub(super) enum Head {
    /// A call on something we host, whose results are for the caller.
    Call {
        head: Call,
        /// What it carries is nothing, or [`Call::lent`].
        is_plain: bool,
    },
    Return {
        call: u32,
        gives_back: bool,
        needs_finish: bool,
        /// Results that carry no capability.
        is_plain: bool,
    },
    /// Gives back a capability of ours.
    Release { id: u32, references: u32 },
}

impl Head {
    pub(super) fn of(body: &OwnedSegments) -> Option<Self> {
        let message = Place::of(body, At::ROOT)?;
        if message.data == message.pointers {
            return None;
        }
        let inner = || Place::of(body, message.pointer(0)?);
        match low(message.at(message.data).word(body)?) & 0xffff {
            kind if kind == u32::from(CALL) => Self::of_call(body, &inner()?),
            kind if kind == u32::from(RETURN) => Self::of_return(body, &inner()?),
            kind if kind == u32::from(RELEASE) => {
                let release = inner()?.data(body, 0)?;
                let (id, references) = (low(release), high(release));
                Some(Self::Release { id, references })
            }
            _ => None,
        }
    }

    fn of_call(body: &OwnedSegments, call: &Place) -> Option<Self> {
        let first = call.data(body, 0)?;
        let target = Place::of(body, call.pointer(0)?)?;
        let target = target.data(body, 0)?;
        let is_imported = high(target) & 0xffff == 0;
        let is_for_caller = first >> 48 == 0;
        if !is_imported || !is_for_caller {
            return None;
        }
        let payload = Place::of(body, call.pointer(1)?)?;
        let (is_plain, lent) = match payload.caps(body)? {
            Caps::None => (true, None),
            Caps::Hosted(id) => (true, Some(id)),
            Caps::Other => (false, None),
        };
        Some(Self::Call {
            head: Call {
                question: low(first),
                target: low(target),
                interface: call.data(body, 1)?,
                method: u16::try_from(high(first) & 0xffff).ok()?,
                lent,
            },
            is_plain,
        })
    }

    fn of_return(body: &OwnedSegments, answer: &Place) -> Option<Self> {
        let first = answer.data(body, 0)?;
        let has_results = first >> 48 == 0;
        let carries_none = || {
            let payload = Place::of(body, answer.pointer(0)?)?;
            Some(matches!(payload.caps(body)?, Caps::None))
        };
        Some(Self::Return {
            call: low(first),
            gives_back: first >> 32 & 1 == 0,
            needs_finish: first >> 33 & 1 == 0,
            is_plain: has_results && carries_none()?,
        })
    }
}

/// What a table of capabilities holds.
enum Caps {
    None,
    /// One that the sender hosts.
    Hosted(u32),
    Other,
}

/// A pointer from elsewhere to the content of a call or an answer.
fn content(body: &OwnedSegments, kind: Kind) -> Option<u64> {
    if ReaderSegments::len(body) > SEGMENTS {
        return None;
    }
    let at = payload(body, kind)?.pointer(0)?;
    let content = at.word(body)?;
    Some(match content & 3 {
        // These say where they lead by themselves.
        FAR | CAPABILITY => content,
        _ if content == 0 => 0,
        _ => FAR | (at.index as u64) << 3 | u64::from(at.segment) << 32,
    })
}

fn payload(body: &OwnedSegments, kind: Kind) -> Option<Place> {
    let (which, parameters) = match kind {
        Kind::Call => (CALL, 1),
        Kind::Return => (RETURN, 0),
    };
    Place::of(body, inner(body, which)?.pointer(parameters)?)
}

/// The structure within a message of this kind.
fn inner(body: &OwnedSegments, which: u16) -> Option<Place> {
    let message = Place::of(body, At::ROOT)?;
    if message.data == message.pointers || message.at(message.data).word(body)? & 0xffff != u64::from(which) {
        return None;
    }
    Place::of(body, message.pointer(0)?)
}

/// Exchanges the low half of the first word of the structure within a message: the id of a `Return`, `Finish` or `Release`.
pub(super) fn readdress(body: &mut OwnedSegments, which: u16, id: u32) -> Option<()> {
    is_tidy(body, which)?;
    let inner = inner(body, which)?;
    inner.at(inner.data).set_low(body, id)
}

/// Exchanges the capability a call is for.
pub(super) fn retarget(body: &mut OwnedSegments, id: u32) -> Option<()> {
    is_tidy(body, CALL)?;
    let target = Place::of(body, inner(body, CALL)?.pointer(0)?)?;
    target.at(target.data).set_low(body, id)
}

/// Exchanges the numbers of capabilities that the receiver hosts, in the table of a call or an answer, where there is
/// another for them.
pub(super) fn exchange(
    body: &mut OwnedSegments,
    which: u16,
    other: impl Fn(u32) -> Option<u32>,
) -> Option<()> {
    is_tidy(body, which)?;
    let kind = if which == CALL { Kind::Call } else { Kind::Return };
    let Some(table) = payload(body, kind)?.table(body)? else {
        return Some(());
    };
    for at in table.descriptors() {
        let cap = at.word(body)?;
        if low(cap) & 0xffff == RECEIVER_HOSTED
            && let Some(id) = other(high(cap))
        {
            at.set_high(body, id)?;
        }
    }
    Some(())
}

/// Whether the parts of a head lie apart: what is written into one must not be read in another, which has been looked at.
fn is_tidy(body: &OwnedSegments, which: u16) -> Option<()> {
    let message = Place::of(body, At::ROOT)?;
    let inner = inner(body, which)?;
    let mut parts = vec![At::ROOT.span(1)];
    parts.extend(message.spans().chain(inner.spans()));
    let mut payload = None;
    match which {
        CALL => {
            let target = Place::of(body, inner.pointer(0)?)?;
            parts.extend(target.spans());
            promised(body, target.pointer(0), &mut parts)?;
            payload = inner.pointer(1);
        }
        RETURN if inner.data(body, 0)? >> 48 == 0 => payload = inner.pointer(0),
        _ => {}
    }
    if let Some(at) = payload.filter(|at| !at.is_null(body)) {
        let payload = Place::of(body, at)?;
        parts.extend(payload.spans());
        if let Some(table) = payload.table(body)? {
            parts.extend(table.spans());
            for cap in table.pointers() {
                promised(body, Some(cap), &mut parts)?;
            }
        }
    }
    parts.retain(|(_, from, to)| from < to);
    parts.sort_unstable();
    let apart = |pair: &[Span]| pair[0].0 < pair[1].0 || pair[0].2 <= pair[1].1;
    parts.windows(2).all(apart).then_some(())
}

/// Adds what a `PromisedAnswer` takes up, if there is one: its question, and the list of what is to be done with the answer.
fn promised(body: &OwnedSegments, at: Option<At>, parts: &mut Vec<Span>) -> Option<()> {
    let Some(at) = at.filter(|at| !at.is_null(body)) else {
        return Some(());
    };
    let answer = Place::of(body, at)?;
    parts.extend(answer.spans());
    let transform = Table::of(body, answer.pointer(0))?;
    parts.extend(transform.iter().flat_map(Table::spans));
    Some(())
}

/// A segment, and words in it: the first, and the first behind the last.
type Span = (u32, usize, usize);

/// A word of a message.
#[derive(Clone, Copy, PartialEq, Eq)]
struct At {
    segment: u32,
    index: usize,
}

impl At {
    const ROOT: Self = Self { segment: 0, index: 0 };

    fn word(self, body: &OwnedSegments) -> Option<u64> {
        let from = self.index.checked_mul(WORD)?;
        let bytes = body.get_segment(self.segment)?.get(from..)?.first_chunk()?;
        Some(u64::from_le_bytes(*bytes))
    }

    fn is_null(self, body: &OwnedSegments) -> bool {
        self.word(body) == Some(0)
    }

    fn set_low(self, body: &mut OwnedSegments, low: u32) -> Option<()> {
        self.set_half(body, 0, low)
    }

    fn set_high(self, body: &mut OwnedSegments, high: u32) -> Option<()> {
        self.set_half(body, 4, high)
    }

    fn set_half(self, body: &mut OwnedSegments, skip: usize, half: u32) -> Option<()> {
        self.word(body)?;
        let before: usize = (0..self.segment)
            .filter_map(|segment| body.get_segment(segment))
            .map(<[u8]>::len)
            .sum();
        let from = before + self.index * WORD + skip;
        body[from..from + 4].copy_from_slice(&half.to_le_bytes());
        Some(())
    }

    fn span(self, words: usize) -> Span {
        (self.segment, self.index, self.index + words)
    }
}

/// Follows one far pointer, if there is one: what tells where something is, and where that was read.
fn followed(body: &OwnedSegments, at: At) -> Option<(u64, At)> {
    let pointer = at.word(body)?;
    if pointer & 7 != FAR {
        return Some((pointer, at));
    }
    let pad = At {
        segment: high(pointer),
        index: (low(pointer) >> 3) as usize,
    };
    Some((pad.word(body)?, pad))
}

/// Where the two sections of a structure are, in words from the start of a segment.
struct Place {
    segment: u32,
    data: usize,
    pointers: usize,
    end: usize,
    /// The pointer that says so, if that is not where it was looked for.
    pad: Option<At>,
}

impl Place {
    /// As capnp reads it, or nothing: all of it lies within its segment.
    fn of(body: &OwnedSegments, from: At) -> Option<Self> {
        let (pointer, at) = followed(body, from)?;
        // Headers that lie farther away than that are left to capnp.
        if pointer == 0 || pointer & 3 != STRUCT {
            return None;
        }
        let offset = low(pointer).cast_signed() >> 2;
        let data = (at.index + 1).checked_add_signed(offset as isize)?;
        let pointers = data + (high(pointer) & 0xffff) as usize;
        let end = pointers + (high(pointer) >> 16) as usize;
        let is_within = end <= body.get_segment(at.segment)?.len() / WORD;
        is_within.then_some(Self {
            segment: at.segment,
            data,
            pointers,
            end,
            pad: (at != from).then_some(at),
        })
    }

    /// The words it takes up, and what leads to it.
    fn spans(&self) -> impl Iterator<Item = Span> + use<> {
        let pad = self.pad.map(|pad| pad.span(1));
        [self.at(self.data).span(self.end - self.data)]
            .into_iter()
            .chain(pad)
    }

    /// A word of its data; what was left out is zero.
    fn data(&self, body: &OwnedSegments, index: usize) -> Option<u64> {
        match self.data + index {
            at if at < self.pointers => self.at(at).word(body),
            _ => Some(0),
        }
    }

    /// What is in the table of a payload.
    fn caps(&self, body: &OwnedSegments) -> Option<Caps> {
        let Some(table) = self.table(body)? else {
            return Some(Caps::None);
        };
        Some(match table.count {
            0 => Caps::None,
            1 if table.data > 0 => {
                let cap = table.first.word(body)?;
                // A descriptor with anything more to it is not usual.
                match low(cap) {
                    SENDER_HOSTED => Caps::Hosted(high(cap)),
                    _ => Caps::Other,
                }
            }
            _ => Caps::Other,
        })
    }

    /// The table of a payload, if there is one.
    fn table(&self, body: &OwnedSegments) -> Option<Option<Table>> {
        Table::of(body, self.pointer(1))
    }

    fn at(&self, index: usize) -> At {
        At {
            segment: self.segment,
            index,
        }
    }

    fn pointer(&self, index: usize) -> Option<At> {
        let index = self.pointers + index;
        (index < self.end).then(|| self.at(index))
    }
}

/// A list of structures: of capability descriptors, or of what is to be done with an answer.
struct Table {
    first: At,
    words: usize,
    count: usize,
    /// Words of each, and how many of them are data.
    step: usize,
    data: usize,
    /// The pointer that leads to it, if that is not where it was looked for.
    pad: Option<At>,
}

impl Table {
    /// As capnp reads it, if there is one.
    fn of(body: &OwnedSegments, at: Option<At>) -> Option<Option<Self>> {
        let Some(at) = at.filter(|at| !at.is_null(body)) else {
            return Some(None);
        };
        let (table, pad) = followed(body, at)?;
        // A list of structures; what is farther away is left to capnp.
        if table & 3 != LIST || high(table) & 7 != STRUCTURES {
            return None;
        }
        let index = (pad.index + 1).checked_add_signed((low(table).cast_signed() >> 2) as isize)?;
        let words = (high(table) >> 3) as usize;
        let tag = At {
            segment: pad.segment,
            index,
        };
        let elements = tag.word(body)?;
        let count = (low(elements) >> 2) as usize;
        let (data, pointers) = (high(elements) & 0xffff, high(elements) >> 16);
        let step = (data + pointers) as usize;
        let is_sound = elements & 3 == STRUCT
            && count.checked_mul(step)? <= words
            && index + 1 + words <= body.get_segment(tag.segment)?.len() / WORD;
        is_sound.then_some(Some(Self {
            first: At {
                index: index + 1,
                ..tag
            },
            words,
            count,
            step,
            data: data as usize,
            pad: (pad != at).then_some(pad),
        }))
    }

    /// The first words of those that have any.
    fn descriptors(&self) -> impl Iterator<Item = At> + use<> {
        self.each(0, self.data > 0)
    }

    /// The first pointers of those that have any.
    fn pointers(&self) -> impl Iterator<Item = At> + use<> {
        self.each(self.data, self.step > self.data)
    }

    fn each(&self, skip: usize, have_any: bool) -> impl Iterator<Item = At> + use<> {
        let (first, step) = (self.first, self.step);
        let count = if have_any { self.count } else { 0 };
        (0..count).map(move |number| At {
            index: first.index + number * step + skip,
            ..first
        })
    }

    fn spans(&self) -> impl Iterator<Item = Span> + use<> {
        let tag = At {
            index: self.first.index - 1,
            ..self.first
        };
        let pad = self.pad.map(|pad| pad.span(1));
        [tag.span(1 + self.words)].into_iter().chain(pad)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the low half is what is meant")]
fn low(word: u64) -> u32 {
    word as u32
}

fn high(word: u64) -> u32 {
    low(word >> 32)
}

/// A pointer to a structure `offset` words behind it.
pub(super) const fn structure(offset: u64, data: u64, pointers: u64) -> u64 {
    offset << 2 | data << 32 | pointers << 48
}
