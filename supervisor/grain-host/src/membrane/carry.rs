//! Moves messages across, wrapping the capabilities they carry.

use std::rc::Rc;

use capnp::any_pointer;
use capnp::message::{Builder, HeapAllocator};
use capnp::private::capability::ClientHook;
use capnp::private::layout::CapTable;
use capnp::traits::{Imbue, ImbueMut};

use super::{Membrane, MembraneState, Side};

/// Longest error text taken across, in bytes. The other side may be hostile, and the text ends up in logs.
const ERROR_TEXT: usize = 2048;

impl MembraneState {
    /// Copies `source`, written on side `from`, into `target`, which belongs to the other side.
    ///
    /// A message without capabilities is copied once. One with capabilities goes by way of a message of our own,
    /// since capnp lets nobody exchange the capabilities of a request under construction.
    pub(super) fn copy(
        self: &Rc<Self>,
        source: any_pointer::Reader<'_>,
        mut target: any_pointer::Builder<'_>,
        from: Side,
    ) -> capnp::Result<()> {
        let size = source.target_size()?;
        if size.cap_count == 0 {
            return target.set_as(source);
        }
        let carried = self.copy_sized(source, size.word_count, from)?;
        target.set_as(carried.get()?)
    }

    /// As [`MembraneState::copy`], into a message of its own.
    pub(super) fn copy_owned(
        self: &Rc<Self>,
        source: any_pointer::Reader<'_>,
        from: Side,
    ) -> capnp::Result<Message> {
        self.copy_sized(source, source.target_size()?.word_count, from)
    }

    fn copy_sized(
        self: &Rc<Self>,
        source: any_pointer::Reader<'_>,
        words: u64,
        from: Side,
    ) -> capnp::Result<Message> {
        let mut message = Message::new(u32::try_from(words + 1).unwrap_or(u32::MAX));
        message.get_mut()?.set_as(source)?;
        message.carry(self, from);
        Ok(message)
    }
}

/// A message of our own: bytes and the capabilities they refer to.
pub struct Message {
    builder: Builder<HeapAllocator>,
    caps: CapTable,
}

impl Message {
    /// An empty message with room for `words` before more memory is taken.
    #[must_use]
    pub fn new(words: u32) -> Self {
        Self {
            builder: Builder::new(HeapAllocator::new().first_segment_words(words)),
            caps: CapTable::new(),
        }
    }

    /// A copy of `root` in its canonical form. It must hold no capabilities.
    ///
    /// # Errors
    /// When it is malformed.
    pub fn canonical(root: any_pointer::Reader<'_>, words: u32) -> capnp::Result<Self> {
        let mut message = Self::new(words);
        message.builder.set_root_canonical(root)?;
        Ok(message)
    }

    /// How long it is, in words of 8 bytes.
    #[must_use]
    pub fn words(&self) -> usize {
        self.builder
            .get_segments_for_output()
            .iter()
            .map(|segment| segment.len() / 8)
            .sum()
    }

    /// The root.
    ///
    /// # Errors
    /// Never, for a message of our own; capnp's types leave it open.
    pub fn get(&self) -> capnp::Result<any_pointer::Reader<'_>> {
        let mut root: any_pointer::Reader<'_> = self.builder.get_root_as_reader()?;
        root.imbue(&self.caps);
        Ok(root)
    }

    /// The root, to be written.
    ///
    /// # Errors
    /// As [`Message::get`].
    pub fn get_mut(&mut self) -> capnp::Result<any_pointer::Builder<'_>> {
        let mut root: any_pointer::Builder<'_> = self.builder.get_root()?;
        root.imbue_mut(&mut self.caps);
        Ok(root)
    }

    /// Takes the capabilities across; the bytes stay as they are.
    pub fn carry_all(&mut self, membrane: &Membrane, from: Side) {
        self.carry(&membrane.0, from);
    }

    /// Exchanges the capabilities one by one; the bytes stay as they are.
    pub fn map_caps(&mut self, exchange: impl Fn(Box<dyn ClientHook>) -> Box<dyn ClientHook>) {
        for cap in &mut self.caps {
            *cap = cap.take().map(&exchange);
        }
    }

    pub(super) fn carry(&mut self, membrane: &Rc<MembraneState>, from: Side) {
        for cap in &mut self.caps {
            *cap = cap.take().map(|cap| membrane.carry(cap, from));
        }
    }
}

/// An error as the other side may see it: same kind, and a text of bounded length without the marks that RPC
/// systems put in front at every hop.
pub(crate) fn carry_error(mut error: capnp::Error) -> capnp::Error {
    let mut text = error.extra.as_str();
    while let Some(rest) = text.strip_prefix("remote exception: ") {
        text = rest;
    }
    if text.len() != error.extra.len() || text.len() > ERROR_TEXT {
        let mut end = text.len().min(ERROR_TEXT);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        error.extra = text[..end].to_owned();
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_keep_their_kind_and_lose_what_hops_added() {
        let far = capnp::Error::overloaded("remote exception: remote exception: busy".to_owned());
        let near = carry_error(far);
        assert_eq!(
            (near.kind, near.extra.as_str()),
            (capnp::ErrorKind::Overloaded, "busy")
        );
        let long = carry_error(capnp::Error::failed("ä".repeat(ERROR_TEXT)));
        assert!(long.extra.len() <= ERROR_TEXT && long.extra.chars().all(|letter| letter == 'ä'));
    }
}
