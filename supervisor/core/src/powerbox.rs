//! What apps ask for and offer in the powerbox, as plain data, and which offer fits which question.
//!
//! Descriptors come from apps and pages, so every list of them is bounded: by the decoder, through a [`Meter`], while
//! it is read; and by [`matches`], which gives up when matching would take too long.

mod matching;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use matching::{COMPARISON_LIMIT, matches};

/// How many descriptors one list may have.
pub const DESCRIPTOR_LIMIT: usize = 64;
/// How many tags one descriptor may have.
pub const TAG_LIMIT: usize = 64;
/// How many values, those inside others included, one list of descriptors may have.
pub const NODE_LIMIT: usize = 1024;
/// How deep values may be nested.
pub const DEPTH_LIMIT: usize = 32;
/// How many bytes of data one list of descriptors may have.
pub const BYTE_LIMIT: usize = 64 * 1024;

/// Whether and how gladly something is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Quality {
    /// It fits.
    #[default]
    Acceptable,
    /// It fits better than others.
    Preferred,
    /// It does not fit, though something more general would say so.
    Unacceptable,
}

/// A conjunction: something that has all the tags. Without tags: anything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Descriptor {
    /// What it has.
    pub tags: Vec<Tag>,
    /// How gladly it is taken.
    #[serde(default)]
    pub quality: Quality,
}

/// One property, named by the id of an interface or another type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tag {
    /// The id.
    pub id: u64,
    /// What is said about it; nothing, or [`Value::Null`], means whatever it may be.
    #[serde(default)]
    pub value: Option<Value>,
}

/// What a Cap'n Proto pointer leads to.
///
/// Texts and blobs are lists of bytes, a text with the zero byte at its end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Value {
    /// Nothing.
    #[default]
    Null,
    /// A struct.
    Struct(Struct),
    /// A list of numbers, truth values or nothings.
    Data(DataList),
    /// A list of pointers.
    Pointers(Vec<Value>),
    /// A list of structs.
    Structs(Vec<Struct>),
    /// A capability. Two of them cannot be compared, so it matches nothing but null.
    Capability,
}

/// A struct's two sections. What is missing at the end of either is zero or null.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Struct {
    /// The data section.
    pub data: Vec<u8>,
    /// The pointer section.
    pub pointers: Vec<Value>,
}

/// A list of elements that hold no pointers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataList {
    /// How long an element is.
    pub element: ElementSize,
    /// How many there are.
    pub count: u32,
    /// The elements; the bits that fill up the last byte of a list of bits are zero.
    pub bytes: Vec<u8>,
}

/// How long an element of a [`DataList`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ElementSize {
    /// Nothing at all.
    Void,
    /// A bit.
    Bit,
    /// One byte.
    Byte,
    /// Two bytes.
    TwoBytes,
    /// Four bytes.
    FourBytes,
    /// Eight bytes.
    EightBytes,
}

/// In which way descriptors are more than they may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Excess {
    /// Too many descriptors.
    #[error("more than {DESCRIPTOR_LIMIT} descriptors")]
    Descriptors,
    /// Too many tags in one of them.
    #[error("more than {TAG_LIMIT} tags in a descriptor")]
    Tags,
    /// Too many values.
    #[error("descriptors with more than {NODE_LIMIT} values")]
    Nodes,
    /// Values nested too deeply.
    #[error("a descriptor nested more than {DEPTH_LIMIT} deep")]
    Depth,
    /// Too much data.
    #[error("descriptors with more than {BYTE_LIMIT} bytes of data")]
    Bytes,
}

/// Counts what a list of descriptors holds while it is read, so that nothing is built that is too large.
#[derive(Debug, Clone, Default)]
pub struct Meter {
    nodes: usize,
    bytes: usize,
}

impl Meter {
    /// Announces `count` values `depth` levels below their tag, whose own value is at depth 0.
    ///
    /// Call it before anything is set aside for them: a list of empty structs takes no room in a message, and any
    /// amount of it in memory.
    pub fn nodes(&mut self, count: usize, depth: usize) -> Result<(), Excess> {
        if depth >= DEPTH_LIMIT {
            return Err(Excess::Depth);
        }
        self.nodes = self.nodes.saturating_add(count);
        if self.nodes > NODE_LIMIT {
            Err(Excess::Nodes)
        } else {
            Ok(())
        }
    }

    /// Announces `count` bytes of data.
    pub fn bytes(&mut self, count: usize) -> Result<(), Excess> {
        self.bytes = self.bytes.saturating_add(count);
        if self.bytes > BYTE_LIMIT {
            Err(Excess::Bytes)
        } else {
            Ok(())
        }
    }
}

/// Checks that descriptors from somewhere else, a record for instance, are within all limits.
pub fn check(descriptors: &[Descriptor]) -> Result<(), Excess> {
    if descriptors.len() > DESCRIPTOR_LIMIT {
        return Err(Excess::Descriptors);
    }
    let mut meter = Meter::default();
    for descriptor in descriptors {
        if descriptor.tags.len() > TAG_LIMIT {
            return Err(Excess::Tags);
        }
        for value in descriptor.tags.iter().filter_map(|tag| tag.value.as_ref()) {
            check_value(value, &mut meter)?;
        }
    }
    Ok(())
}

fn check_value(value: &Value, meter: &mut Meter) -> Result<(), Excess> {
    meter.nodes(1, 0)?;
    let mut open = vec![(value, 0)];
    while let Some((value, depth)) = open.pop() {
        match value {
            Value::Null | Value::Capability => {}
            Value::Data(list) => meter.bytes(list.bytes.len())?,
            Value::Pointers(values) => {
                meter.nodes(values.len(), depth + 1)?;
                open.extend(values.iter().map(|value| (value, depth + 1)));
            }
            Value::Struct(content) => check_struct(content, depth + 1, meter, &mut open)?,
            Value::Structs(structs) => {
                meter.nodes(structs.len(), depth + 1)?;
                for content in structs {
                    check_struct(content, depth + 2, meter, &mut open)?;
                }
            }
        }
    }
    Ok(())
}

fn check_struct<'v>(
    content: &'v Struct,
    depth: usize,
    meter: &mut Meter,
    open: &mut Vec<(&'v Value, usize)>,
) -> Result<(), Excess> {
    meter.bytes(content.data.len())?;
    if !content.pointers.is_empty() {
        meter.nodes(content.pointers.len(), depth)?;
        open.extend(content.pointers.iter().map(|value| (value, depth)));
    }
    Ok(())
}
