//! Messages the RPC system is given in the peer's name.

use capnp::Error;
use capnp::message::{Builder, HeapAllocator, Reader, ReaderOptions};
use capnp::serialize::{self, OwnedSegments};
use capnp_rpc::rpc_capnp::message;

/// The peer is done with its call `id`.
pub(super) fn finish(id: u32, releases_caps: bool) -> Result<Reader<OwnedSegments>, Error> {
    let mut note = Builder::new_default();
    let mut finish = note.init_root::<message::Builder<'_>>().init_finish();
    finish.set_question_id(id);
    finish.set_release_result_caps(releases_caps);
    received(&note)
}

/// The peer has given up our call `id`.
pub(super) fn canceled(id: u32) -> Result<Reader<OwnedSegments>, Error> {
    let mut note = Builder::new_default();
    let mut answer = note.init_root::<message::Builder<'_>>().init_return();
    answer.set_answer_id(id);
    answer.set_release_param_caps(false);
    answer.set_canceled(());
    received(&note)
}

/// The peer gives back our capability `id`, which it got once.
pub(super) fn release(id: u32) -> Result<Reader<OwnedSegments>, Error> {
    let mut note = Builder::new_default();
    let mut release = note.init_root::<message::Builder<'_>>().init_release();
    release.set_id(id);
    release.set_reference_count(1);
    received(&note)
}

fn received(note: &Builder<HeapAllocator>) -> Result<Reader<OwnedSegments>, Error> {
    let bytes = serialize::write_message_to_words(note);
    serialize::read_message(&bytes[..], ReaderOptions::new())
}
