//! Reads powerbox descriptors into plain data the rules can compare.
//!
//! Tags hold values of types nobody here knows. Each is brought into canonical form (one segment, no far pointers) and
//! walked by its pointers alone, every step checked and counted.

use capnp::any_pointer;
use capnp::struct_list;
use percloud_core::powerbox::{DESCRIPTOR_LIMIT, TAG_LIMIT};
use percloud_core::powerbox::{DataList, Descriptor, ElementSize, Meter, Quality, Struct, Tag, Value};
use percloud_schemas::powerbox_capnp::powerbox_descriptor::{self, MatchQuality};

/// Longest value of a tag, in words.
const VALUE_WORDS: u64 = 8192;

/// Why descriptors cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreadable {
    /// They are no message, or none of ours.
    #[error("a descriptor that cannot be read: {0}")]
    Malformed(#[from] capnp::Error),
    /// There is too much of them.
    #[error(transparent)]
    Excess(#[from] percloud_core::powerbox::Excess),
    /// A value points outside its message.
    #[error("a descriptor whose value is damaged")]
    Damaged,
}

/// Reads a list of descriptors.
pub(crate) fn read(
    list: struct_list::Reader<'_, powerbox_descriptor::Owned>,
) -> Result<Vec<Descriptor>, Unreadable> {
    if list.len() as usize > DESCRIPTOR_LIMIT {
        return Err(percloud_core::powerbox::Excess::Descriptors.into());
    }
    let mut meter = Meter::default();
    list.iter()
        .map(|descriptor| one(descriptor, &mut meter))
        .collect()
}

/// Reads one descriptor.
pub(crate) fn read_one(descriptor: powerbox_descriptor::Reader<'_>) -> Result<Descriptor, Unreadable> {
    one(descriptor, &mut Meter::default())
}

fn one(descriptor: powerbox_descriptor::Reader<'_>, meter: &mut Meter) -> Result<Descriptor, Unreadable> {
    let tags = descriptor.get_tags()?;
    if tags.len() as usize > TAG_LIMIT {
        return Err(percloud_core::powerbox::Excess::Tags.into());
    }
    let tags = tags.iter().map(|tag| {
        let value = match value(tag.get_value(), meter)? {
            Value::Null => None,
            value => Some(value),
        };
        Ok(Tag {
            id: tag.get_id(),
            value,
        })
    });
    Ok(Descriptor {
        tags: tags.collect::<Result<_, Unreadable>>()?,
        quality: match descriptor.get_quality() {
            Ok(MatchQuality::Preferred) => Quality::Preferred,
            Ok(MatchQuality::Unacceptable) => Quality::Unacceptable,
            Ok(MatchQuality::Acceptable) | Err(_) => Quality::Acceptable,
        },
    })
}

fn value(value: any_pointer::Reader<'_>, meter: &mut Meter) -> Result<Value, Unreadable> {
    if value.is_null() {
        return Ok(Value::Null);
    }
    let size = value.target_size()?;
    if size.word_count > VALUE_WORDS {
        return Err(percloud_core::powerbox::Excess::Bytes.into());
    }
    if size.cap_count > 0 {
        return Ok(Value::Capability);
    }
    let mut message = capnp::message::Builder::new_default();
    message.set_root_canonical(value)?;
    let segments = message.get_segments_for_output();
    let [segment] = &*segments else {
        return Err(Unreadable::Damaged);
    };
    Walk { segment, meter }.pointer(0, 0)
}

struct Walk<'a> {
    segment: &'a [u8],
    meter: &'a mut Meter,
}

impl Walk<'_> {
    fn word(&self, place: usize) -> Result<u64, Unreadable> {
        let bytes = self.bytes(place, 8)?;
        Ok(u64::from_le_bytes(
            bytes.try_into().map_err(|_| Unreadable::Damaged)?,
        ))
    }

    /// `length` bytes from the word at `place` on.
    fn bytes(&self, place: usize, length: usize) -> Result<&[u8], Unreadable> {
        let start = place.checked_mul(8).ok_or(Unreadable::Damaged)?;
        let end = start.checked_add(length).ok_or(Unreadable::Damaged)?;
        self.segment.get(start..end).ok_or(Unreadable::Damaged)
    }

    /// Reads what the pointer at `place` leads to. `depth` is bounded by the meter.
    fn pointer(&mut self, place: usize, depth: usize) -> Result<Value, Unreadable> {
        self.meter.nodes(1, depth)?;
        let pointer = self.word(place)?;
        if pointer == 0 {
            return Ok(Value::Null);
        }
        let offset = (pointer & 0xffff_ffff) as u32;
        let offset = isize::try_from(offset.cast_signed() >> 2).map_err(|_| Unreadable::Damaged)?;
        let target = (place + 1)
            .checked_add_signed(offset)
            .ok_or(Unreadable::Damaged)?;
        match pointer & 3 {
            0 => {
                let (data, pointers) = sections(pointer);
                Ok(Value::Struct(self.body(target, data, pointers, depth)?))
            }
            1 => self.list(pointer, target, depth),
            3 => Ok(Value::Capability),
            _ => Err(Unreadable::Damaged),
        }
    }

    fn list(&mut self, pointer: u64, target: usize, depth: usize) -> Result<Value, Unreadable> {
        let count = usize::try_from(pointer >> 35).map_err(|_| Unreadable::Damaged)?;
        let (element, bits) = match pointer >> 32 & 7 {
            0 => (ElementSize::Void, 0),
            1 => (ElementSize::Bit, 1),
            2 => (ElementSize::Byte, 8),
            3 => (ElementSize::TwoBytes, 16),
            4 => (ElementSize::FourBytes, 32),
            5 => (ElementSize::EightBytes, 64),
            6 => {
                self.meter.nodes(count, depth)?;
                let items = (0..count).map(|index| self.pointer(target + index, depth + 1));
                return Ok(Value::Pointers(items.collect::<Result<_, _>>()?));
            }
            _ => return self.structs(target, depth),
        };
        let length = count.checked_mul(bits).ok_or(Unreadable::Damaged)?.div_ceil(8);
        self.meter.bytes(length)?;
        Ok(Value::Data(DataList {
            element,
            count: u32::try_from(count).map_err(|_| Unreadable::Damaged)?,
            bytes: self.bytes(target, length)?.to_vec(),
        }))
    }

    fn structs(&mut self, target: usize, depth: usize) -> Result<Value, Unreadable> {
        let tag = self.word(target)?;
        let count = usize::try_from((tag & 0xffff_ffff) >> 2).map_err(|_| Unreadable::Damaged)?;
        let (data, pointers) = sections(tag);
        self.meter.nodes(count, depth)?;
        let items =
            (0..count).map(|index| self.body(target + 1 + index * (data + pointers), data, pointers, depth));
        Ok(Value::Structs(items.collect::<Result<_, _>>()?))
    }

    fn body(
        &mut self,
        place: usize,
        data: usize,
        pointers: usize,
        depth: usize,
    ) -> Result<Struct, Unreadable> {
        self.meter.bytes(data * 8)?;
        let bytes = self.bytes(place, data * 8)?.to_vec();
        let inner = (0..pointers).map(|index| self.pointer(place + data + index, depth + 1));
        Ok(Struct {
            data: bytes,
            pointers: inner.collect::<Result<_, _>>()?,
        })
    }
}

/// Lengths of a struct's sections, in words.
fn sections(pointer: u64) -> (usize, usize) {
    let data = (pointer >> 32 & 0xffff) as usize;
    (data, (pointer >> 48) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use percloud_core::powerbox::matches;
    use percloud_schemas::api_session_capnp::api_session;
    use percloud_schemas::powerbox_capnp::powerbox_descriptor as schema;

    const UI_VIEW: u64 = 0xdbb4_d798_ea67_e2e7;
    const API: u64 = 0xc879_e379_c625_cdc7;

    fn with(fill: impl Fn(schema::Builder<'_>)) -> Descriptor {
        let mut message = capnp::message::Builder::new_default();
        fill(message.init_root());
        let reader: schema::Reader<'_> = message.get_root_as_reader().unwrap();
        read_one(reader).unwrap()
    }

    fn api(url: &str) -> Descriptor {
        with(|descriptor| {
            let mut tag = descriptor.init_tags(1).get(0);
            tag.set_id(API);
            let mut value: api_session::powerbox_tag::Builder<'_> = tag.init_value().init_as();
            value.set_canonical_url(url);
            value.reborrow().init_oauth_scopes(2).get(1).set_name("read");
        })
    }

    #[test]
    fn values_of_unknown_types_are_compared_by_their_content() {
        let plain = with(|descriptor| descriptor.init_tags(1).get(0).set_id(UI_VIEW));
        assert_eq!(plain.tags[0].value, None);
        let one = api("https://example.org/a");
        assert!(matches(std::slice::from_ref(&one), &[api("https://example.org/a")]).is_some());
        assert!(matches(std::slice::from_ref(&one), &[api("https://example.org/b")]).is_none());
        let any = with(|descriptor| descriptor.init_tags(1).get(0).set_id(API));
        assert!(matches(&[any], &[one]).is_some(), "nothing said is anything");
    }

    #[test]
    fn the_sheet_s_test_tag_fits_as_it_says() {
        // Two packed descriptors of the compatibility sheet, section 9, unpacked here by capnp itself.
        use base64::Engine;
        let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD
            .decode("EAZQAQEAABEBF1EEAQH_5-Jn6pjXtNsAAAA")
            .unwrap();
        let message = capnp::serialize_packed::read_message(&bytes[..], Default::default()).unwrap();
        let descriptor = read_one(message.get_root().unwrap()).unwrap();
        assert_eq!(
            descriptor.tags,
            [Tag {
                id: UI_VIEW,
                value: None
            }]
        );
    }

    #[test]
    fn what_is_nested_too_deeply_or_too_large_is_refused() {
        let mut message = capnp::message::Builder::new_default();
        {
            let descriptor: schema::Builder<'_> = message.init_root();
            let tag = descriptor.init_tags(1).get(0);
            // A descriptor within a descriptor within …
            let mut inner: schema::Builder<'_> = tag.init_value().init_as();
            for _ in 0..40 {
                let tag = inner.init_tags(1).get(0);
                inner = tag.init_value().init_as();
            }
        }
        assert!(matches!(
            read_one(message.get_root_as_reader().unwrap()),
            Err(Unreadable::Excess(_))
        ));

        let mut message = capnp::message::Builder::new_default();
        {
            let descriptor: schema::Builder<'_> = message.init_root();
            let long = "x".repeat(100_000);
            descriptor
                .init_tags(1)
                .get(0)
                .get_value()
                .set_as(long.as_str())
                .unwrap();
        }
        assert!(matches!(
            read_one(message.get_root_as_reader().unwrap()),
            Err(Unreadable::Excess(_))
        ));
    }
}
