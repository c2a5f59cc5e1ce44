//! The zip format (PKWARE's APPNOTE 6.3.10), as much of it as backups need: stored and deflated entries, 64-bit sizes,
//! Unix modes and times.

mod read;
mod time;
mod write;

pub(crate) use read::{Archive, Entry, Inflate, Shape};
pub(crate) use write::{Failed, Meta, Writer};

const LOCAL: u32 = 0x0403_4b50;
const DESCRIPTOR: u32 = 0x0807_4b50;
const CENTRAL: u32 = 0x0201_4b50;
const END: u32 = 0x0605_4b50;
const END_64: u32 = 0x0606_4b50;
const LOCATOR_64: u32 = 0x0706_4b50;

const STORED: u16 = 0;
const DEFLATED: u16 = 8;

const FLAG_ENCRYPTED: u16 = 1 << 0;
const FLAG_DESCRIPTOR: u16 = 1 << 3;
const FLAG_PATCH: u16 = 1 << 5;
const FLAG_STRONG: u16 = 1 << 6;
const FLAG_UTF8: u16 = 1 << 11;
const FLAG_MASKED: u16 = 1 << 13;

const EXTRA_64: u16 = 0x0001;
/// Info-ZIP's times in Unix seconds.
const EXTRA_TIME: u16 = 0x5455;
/// Info-ZIP's name in UTF-8 beside one in another character set.
const EXTRA_NAME: u16 = 0x7075;

/// Who made the entry, in the upper byte: decides what its attributes mean.
const MADE_BY_UNIX: u8 = 3;
const MADE_BY_DARWIN: u8 = 19;

const TYPE_MASK: u32 = 0o170_000;
pub(crate) const TYPE_FILE: u32 = 0o100_000;
pub(crate) const TYPE_FOLDER: u32 = 0o040_000;
pub(crate) const TYPE_LINK: u32 = 0o120_000;
