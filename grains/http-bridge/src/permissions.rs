//! Sets of permissions as they travel: one bit for each of the app's permissions, by position.

use capnp::Error;
use capnp::primitive_list;

/// Returns the length of the list that [`fill`] fills.
pub(crate) fn length(bits: &[bool]) -> Result<u32, Error> {
    u32::try_from(bits.len()).map_err(|_| Error::failed("too many permissions".into()))
}

/// Copies `bits` into a list that is as long.
pub(crate) fn fill(mut list: primitive_list::Builder<'_, bool>, bits: &[bool]) {
    for (index, bit) in (0..list.len()).zip(bits) {
        list.set(index, *bit);
    }
}
