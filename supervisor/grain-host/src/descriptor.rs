//! Powerbox descriptors as pages write them: base64 of a packed message (sheet 5.6, trap 60).
//!
//! What is read here, a page of the app made up, so it is hostile. That is why this process reads it, and not the
//! broker.

use base64::Engine;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, URL_SAFE};
use capnp::message::{Builder, Reader, ReaderOptions};
use capnp::serialize::BufferSegments;
use percloud_schemas::powerbox_capnp::powerbox_descriptor;

use crate::membrane::Message;

/// Texts of one query.
pub(crate) const TEXTS: u32 = 32;
/// Bytes of a descriptor, packed or not.
const BYTES: usize = 16 << 10;
/// Levels of pointers in a descriptor.
const NESTING: i32 = 32;
/// How often each word of a descriptor may be visited: to be measured and copied.
const VISITS: usize = 4;

/// As long as base64 of [`BYTES`] can be.
const TEXT: usize = BYTES.div_ceil(3) * 4;

/// Either alphabet, once `-` and `_` are `+` and `/`; with `=` at the end or without.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Why a text is no descriptor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error("it is longer than {BYTES} bytes")]
    Long,
    #[error("it is not base64")]
    Base64,
    #[error("it is not a packed message")]
    Packing,
    #[error("it contains a capability")]
    Capability,
    #[error("its message is malformed: {0}")]
    Message(String),
}

/// A descriptor a page wrote: a copy of it, so all of it has been looked at.
pub(crate) struct Descriptor(Message);

impl Descriptor {
    /// Reads a descriptor a page wrote.
    pub(crate) fn read(text: &[u8]) -> Result<Self, Unreadable> {
        if text.len() > TEXT {
            return Err(Unreadable::Long);
        }
        let text: Vec<u8> = text
            .iter()
            .map(|letter| match letter {
                b'-' => b'+',
                b'_' => b'/',
                letter => *letter,
            })
            .collect();
        let packed = LENIENT.decode(text).map_err(|_| Unreadable::Base64)?;
        let bytes = unpack(&packed)?;
        let mut options = ReaderOptions::new();
        options
            .traversal_limit_in_words(Some(VISITS * bytes.len() / 8))
            .nesting_limit(NESTING);
        let malformed = |error: capnp::Error| Unreadable::Message(error.extra);
        let segments = BufferSegments::new(bytes, options).map_err(malformed)?;
        let message = Reader::new(segments, options);
        let root: powerbox_descriptor::Reader<'_> = message.get_root().map_err(malformed)?;
        let size = root.total_size().map_err(malformed)?;
        if size.cap_count > 0 {
            return Err(Unreadable::Capability);
        }
        // Parts that are pointed to twice count twice.
        if size.word_count > BYTES as u64 / 8 {
            return Err(Unreadable::Long);
        }
        let words = u32::try_from(BYTES / 8 + 1).expect("the bound is lower");
        let copy = Message::canonical(message.get_root().map_err(malformed)?, words);
        Ok(Self(copy.map_err(malformed)?))
    }

    pub(crate) fn get(&self) -> capnp::Result<powerbox_descriptor::Reader<'_>> {
        self.0.get()?.get_as()
    }
}

/// A descriptor as pages read it: packed, in the alphabet for addresses, with padding (trap 66).
pub(crate) fn write(descriptor: powerbox_descriptor::Reader<'_>) -> capnp::Result<String> {
    let size = descriptor.total_size()?;
    if size.word_count > BYTES as u64 / 8 || size.cap_count > 0 {
        return Err(capnp::Error::failed(format!(
            "a descriptor has at most {BYTES} bytes and no capabilities"
        )));
    }
    let mut message = Builder::new_default();
    message.set_root_canonical(descriptor)?;
    let mut packed = Vec::new();
    capnp::serialize_packed::write_message(&mut packed, &message)?;
    Ok(URL_SAFE.encode(packed))
}

/// Undoes the packing: each word is a byte that says which of its bytes are not zero, and those; after a word of
/// zeros comes how many more there are, after one without how many words follow as they are.
fn unpack(packed: &[u8]) -> Result<Vec<u8>, Unreadable> {
    let mut bytes = Vec::new();
    let mut rest = packed.iter().copied();
    while let Some(tag) = rest.next() {
        for bit in 0..8 {
            let byte = if tag >> bit & 1 == 1 {
                rest.next().ok_or(Unreadable::Packing)?
            } else {
                0
            };
            bytes.push(byte);
        }
        let more = match tag {
            0 | 0xff => usize::from(rest.next().ok_or(Unreadable::Packing)?) * 8,
            _ => 0,
        };
        if bytes.len() + more > BYTES {
            return Err(Unreadable::Long);
        }
        if tag == 0 {
            bytes.resize(bytes.len() + more, 0);
        } else {
            let whole = bytes.len() + more;
            bytes.extend(rest.by_ref().take(more));
            if bytes.len() < whole {
                return Err(Unreadable::Packing);
            }
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use percloud_schemas::api_session_capnp::api_session;

    use super::*;

    /// Sheet, section 9.
    const VIEW: &str = "EAZQAQEAABEBF1EEAQH_5-Jn6pjXtNsAAAA";
    const CALDAV: &str = "EA9QAQEAABEBF1EEAQH/x80lxnnjecgAQAMxCYIBAAH/aHR0cHM6Ly8FYXBpZGF0YS5nb29nbGV1c2VyY29udGVudC5jb20vY2FsZGF2L3YyAA==";

    fn refusal(text: impl AsRef<[u8]>) -> Unreadable {
        Descriptor::read(text.as_ref()).err().expect("it is refused")
    }

    /// A message of these words, packed by hand as "as they are".
    fn packed(words: &[u64]) -> String {
        let mut bytes = Vec::new();
        for word in words {
            let word = word.to_le_bytes();
            bytes.push(
                (0..8)
                    .filter(|bit| word[*bit] != 0)
                    .fold(0, |tag, bit| tag | 1 << bit),
            );
            bytes.extend(word.iter().filter(|byte| **byte != 0));
            if bytes.last() == Some(&0) || word.iter().all(|byte| *byte != 0) {
                bytes.push(0);
            }
        }
        URL_SAFE.encode(bytes)
    }

    #[test]
    fn the_texts_of_real_pages_are_read_in_either_alphabet_and_with_or_without_padding() {
        let swap = |text: &str| text.replace('_', "/").replace('-', "+");
        for text in [
            VIEW.to_owned(),
            swap(VIEW),
            format!("{VIEW}="),
            CALDAV.trim_end_matches('=').to_owned(),
        ] {
            let descriptor = Descriptor::read(text.as_bytes()).unwrap();
            assert_eq!(descriptor.get().unwrap().get_tags().unwrap().len(), 1, "{text}");
        }
        let view = Descriptor::read(VIEW.as_bytes()).unwrap();
        let tags = view.get().unwrap().get_tags().unwrap();
        assert_eq!(tags.get(0).get_id(), 0xdbb4_d798_ea67_e2e7);
        let caldav = Descriptor::read(CALDAV.as_bytes()).unwrap();
        let tag = caldav.get().unwrap().get_tags().unwrap().get(0);
        let value: api_session::powerbox_tag::Reader<'_> = tag.get_value().get_as().unwrap();
        assert_eq!(
            value.get_canonical_url().unwrap(),
            "https://apidata.googleusercontent.com/caldav/v2"
        );
    }

    #[test]
    fn what_is_written_is_read_again() {
        for text in [VIEW, CALDAV] {
            let descriptor = Descriptor::read(text.as_bytes()).unwrap();
            let written = write(descriptor.get().unwrap()).unwrap();
            assert!(
                written
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-_=".contains(&byte))
            );
            assert_eq!(written.len() % 4, 0, "padded");
            let again = Descriptor::read(written.as_bytes()).unwrap();
            assert_eq!(write(again.get().unwrap()).unwrap(), written);
            assert_eq!(
                again.get().unwrap().get_tags().unwrap().get(0).get_id(),
                descriptor.get().unwrap().get_tags().unwrap().get(0).get_id()
            );
        }
    }

    #[test]
    fn nonsense_is_refused_before_it_takes_memory() {
        assert_eq!(refusal("a".repeat(TEXT + 1)), Unreadable::Long);
        assert_eq!(refusal("%%%%"), Unreadable::Base64);
        // Two bytes that stand for 2 KiB, many times.
        assert_eq!(refusal(URL_SAFE.encode([0, 0xff].repeat(1000))), Unreadable::Long);
        for cut in [
            &[0xff, 1, 2][..],
            &[0],
            &[1],
            &[0xff, 1, 2, 3, 4, 5, 6, 7, 8, 1, 9],
        ] {
            assert_eq!(refusal(URL_SAFE.encode(cut)), Unreadable::Packing);
        }
        assert!(matches!(refusal(""), Unreadable::Message(_)));
        // A segment table that promises more than there is.
        assert!(matches!(
            refusal(packed(&[0xffff_ffff_0000_0000])),
            Unreadable::Message(_)
        ));
    }

    #[test]
    fn messages_that_lead_the_reader_round_are_refused() {
        // A list of as many structs of no size as fit a pointer: short to say, long to walk through.
        let table = 3_u64 << 32;
        let root = 0x0001_0000_0000_0000;
        let list = 1 | 7 << 32;
        let tag = (u64::from(u32::MAX >> 3)) << 2;
        for words in [
            // A pointer to itself: the root's list of tags starts before the message.
            vec![table, root, 0xffff_fffd_u64 | 7 << 32, 0],
            vec![table, root, list, tag],
            // A capability where the tags should be.
            vec![table, root, 3, 0],
        ] {
            assert!(Descriptor::read(packed(&words).as_bytes()).is_err(), "{words:x?}");
        }
    }
}
