//! Reads words, pointers and lists of one Cap'n Proto message in a file.
//!
//! The encoding is described at <https://capnproto.org/encoding.html>. Words are 64 bits, little-endian. Only what an
//! archive holds is understood: struct, list of structs, text, data, and far pointers with one or two hops.

use std::fs::File;
use std::os::unix::fs::FileExt;

use crate::archive::Extent;
use crate::error::SpkError;
use crate::limits::Limits;

/// The first eight bytes of every package.
pub(crate) const MAGIC: [u8; 8] = [0x8f, 0xc6, 0xcd, 0xef, 0x45, 0x1a, 0xea, 0x96];

const WORD: u64 = 8;

/// Bytes of one cached block, and how many are kept: enough for a list, its names and its landing pads.
const BLOCK: u64 = 16 << 10;
const BLOCKS: usize = 16;

#[derive(Debug)]
pub(super) struct Message {
    file: File,
    /// Bytes in the file.
    length: u64,
    segments: Vec<Segment>,
    /// Most recently used first.
    cache: Vec<(u64, Vec<u8>)>,
}

#[derive(Clone, Copy, Debug)]
struct Segment {
    /// Where the segment starts, in bytes from the start of the file.
    start: u64,
    /// Its length in words.
    words: u64,
}

/// A word's place.
#[derive(Clone, Copy, Debug)]
struct Place {
    segment: usize,
    word: u64,
}

impl Place {
    fn after(self, words: u64) -> Self {
        Self {
            word: self.word + words,
            ..self
        }
    }
}

/// A list of `Archive.File`.
#[derive(Clone, Copy, Debug)]
pub struct Folder {
    first: Place,
    count: u64,
    /// Words of data and pointers in each element.
    data: u64,
    pointers: u64,
    /// What reading the list takes from the budget, in words.
    cost: u64,
}

impl Folder {
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    pub(super) fn cost(&self) -> u64 {
        self.cost
    }
}

/// One `Archive.File`, not yet interpreted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    tag: u16,
    pub(super) modified: i64,
    /// Where the pointers start, and how many there are.
    section: Place,
    pub(super) pointers: u64,
}

/// What an entry is.
pub(super) enum Kind {
    File { executable: bool, content: Extent },
    Link(Vec<u8>),
    Folder(Folder),
    Unknown(u16),
}

/// What a pointer leads to: where its target starts, and the pointer word that describes the target.
#[derive(Clone, Copy)]
struct Target {
    place: Place,
    description: u64,
}

impl Message {
    pub(super) fn open(file: File, length: u64, limits: &Limits) -> Result<Self, SpkError> {
        let mut message = Self {
            file,
            length,
            segments: Vec::new(),
            cache: Vec::new(),
        };
        let count = u64::from(message.table_entry(0)?) + 1;
        // Sandstorm's packer gives every file a segment of its own and the lists some more.
        if count > 2 * limits.entries + 1024 {
            return Err(SpkError::too_large(
                "number of parts",
                format!("{} parts", 2 * limits.entries + 1024),
            ));
        }
        let mut start = (4 * (count + 1)).next_multiple_of(WORD);
        for index in 0..count {
            let words = u64::from(message.table_entry(index + 1)?);
            message.segments.push(Segment { start, words });
            start += words * WORD;
        }
        match start {
            end if end > length => Err(SpkError::Truncated { part: "archive" }),
            end if end < length => Err(SpkError::TrailingBytes { part: "archive" }),
            _ => Ok(message),
        }
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Words in the whole message, segment table included: what a walk may read.
    pub(super) fn words(&self) -> u64 {
        self.length / WORD
    }

    pub(super) fn read_at(&self, buffer: &mut [u8], position: u64) -> Result<(), SpkError> {
        let read = self.file.read_exact_at(buffer, position);
        read.map_err(|error| SpkError::io("read the decompressed package", error))
    }

    /// Reads the archive's list of files at the root.
    pub(super) fn root(&mut self) -> Result<Folder, SpkError> {
        let Some(root) = self.follow(Place { segment: 0, word: 0 })? else {
            return Ok(Folder::EMPTY);
        };
        let (data, pointers) =
            struct_sizes(root.description).ok_or_else(|| malformed("its root is not a struct"))?;
        self.check(root.place, data + pointers)?;
        if pointers == 0 {
            Ok(Folder::EMPTY)
        } else {
            self.folder(root.place.after(data))
        }
    }

    /// Reads entry `index` of `folder`.
    pub(super) fn entry(&mut self, folder: Folder, index: u64) -> Result<Entry, SpkError> {
        let start = folder.first.after(index * (folder.data + folder.pointers));
        // Fields that the writer did not know have their default, as everywhere in Cap'n Proto.
        let tag = if folder.data >= 1 {
            self.word(start)? as u16
        } else {
            0
        };
        let modified = if folder.data >= 2 {
            self.word(start.after(1))?.cast_signed()
        } else {
            0
        };
        Ok(Entry {
            tag,
            modified,
            section: start.after(folder.data),
            pointers: folder.pointers,
        })
    }

    /// Reads an entry's name, of at most `most` bytes.
    pub(super) fn name(&mut self, entry: &Entry, most: u64) -> Result<Vec<u8>, SpkError> {
        if entry.pointers == 0 {
            return Ok(Vec::new());
        }
        self.text(entry.section, most, "name")
    }

    /// Tells whether an entry is called `name`, without regard to limits.
    pub(super) fn name_is(&mut self, entry: &Entry, name: &[u8]) -> Result<bool, SpkError> {
        if !entry.has_name() {
            return Ok(false);
        }
        match self.bytes(entry.section)? {
            Some(extent) if extent.length == name.len() as u64 + 1 => {
                Ok(self.text(entry.section, name.len() as u64, "name")? == name)
            }
            _ => Ok(false),
        }
    }

    /// Interprets an entry.
    pub(super) fn kind(&mut self, entry: &Entry, limits: &Limits) -> Result<Kind, SpkError> {
        let content = (entry.pointers >= 2).then(|| entry.section.after(1));
        Ok(match entry.tag {
            tag @ (0 | 1) => {
                let content = match content {
                    Some(place) => self.bytes(place)?,
                    None => None,
                };
                let content = content.unwrap_or(Extent { offset: 0, length: 0 });
                if content.length > limits.file {
                    return Err(SpkError::too_large(
                        "largest file",
                        format!("{} bytes", limits.file),
                    ));
                }
                Kind::File {
                    executable: tag == 1,
                    content,
                }
            }
            2 => Kind::Link(match content {
                Some(place) => self.text(place, limits.link_target, "symbolic link")?,
                None => Vec::new(),
            }),
            3 => Kind::Folder(match content {
                Some(place) => self.folder(place)?,
                None => Folder::EMPTY,
            }),
            unknown => Kind::Unknown(unknown),
        })
    }

    /// Reads a text without its final NUL.
    fn text(&mut self, place: Place, most: u64, what: &str) -> Result<Vec<u8>, SpkError> {
        let Some(extent) = self.bytes(place)? else {
            return Ok(Vec::new());
        };
        let Some(length) = extent.length.checked_sub(1) else {
            return Err(malformed("a text has no end"));
        };
        if length > most {
            return Err(SpkError::too_large(
                format!("longest {what}"),
                format!("{most} bytes"),
            ));
        }
        let mut text = vec![0; usize::try_from(extent.length).unwrap_or(usize::MAX)];
        self.copy(&mut text, extent.offset)?;
        if text.pop() == Some(0) {
            Ok(text)
        } else {
            Err(malformed("a text has no end"))
        }
    }

    /// Finds the bytes of a text or data pointer.
    fn bytes(&mut self, place: Place) -> Result<Option<Extent>, SpkError> {
        let Some(target) = self.follow(place)? else {
            return Ok(None);
        };
        let (size, length) =
            list_size(target.description).ok_or_else(|| malformed("a text or file is no list"))?;
        if size != 2 {
            return Err(malformed("a text or file is not a list of bytes"));
        }
        let segment = self.check(target.place, length.div_ceil(WORD))?;
        Ok(Some(Extent {
            offset: segment.start + target.place.word * WORD,
            length,
        }))
    }

    /// Finds the list behind a pointer to a folder's entries.
    fn folder(&mut self, place: Place) -> Result<Folder, SpkError> {
        let Some(target) = self.follow(place)? else {
            return Ok(Folder::EMPTY);
        };
        let (size, words) = list_size(target.description).ok_or_else(|| malformed("a folder is no list"))?;
        if size != 7 {
            return Err(malformed("a folder is not a list of structs"));
        }
        // A tag word, shaped like a struct pointer with the count in place of the offset, comes before the elements.
        self.check(target.place, words + 1)?;
        let tag = self.word(target.place)?;
        let (data, pointers) =
            struct_sizes(tag).ok_or_else(|| malformed("a folder's elements are not structs"))?;
        let count = u64::from(tag as u32 >> 2);
        if count * (data + pointers) > words {
            return Err(malformed("a folder's entries do not fit into their list"));
        }
        // Elements without size would be free otherwise.
        let cost = words + 1 + if data + pointers == 0 { count } else { 0 };
        Ok(Folder {
            first: target.place.after(1),
            count,
            data,
            pointers,
            cost,
        })
    }

    /// Follows the pointer at `place`, over far pointers too.
    fn follow(&mut self, place: Place) -> Result<Option<Target>, SpkError> {
        let pointer = self.word(place)?;
        if pointer == 0 {
            return Ok(None);
        }
        if pointer & 3 != 2 {
            return near(place, pointer).map(Some);
        }
        let pad = far(pointer)?;
        if pointer & 4 == 0 {
            let landed = self.word(pad)?;
            return near(pad, landed).map(Some);
        }
        // Two hops: the pad holds a far pointer to the target, then the description of the target.
        let (hop, description) = (self.word(pad)?, self.word(pad.after(1))?);
        if hop & 7 != 2 {
            return Err(malformed("a far pointer leads astray"));
        }
        Ok(Some(Target {
            place: far(hop)?,
            description,
        }))
    }

    /// Makes sure that `words` words at `place` exist.
    fn check(&self, place: Place, words: u64) -> Result<Segment, SpkError> {
        let segment = self
            .segments
            .get(place.segment)
            .ok_or_else(|| malformed("a pointer leads to no segment"))?;
        if place.word > segment.words || words > segment.words - place.word {
            return Err(malformed("a pointer leads out of its segment"));
        }
        Ok(*segment)
    }

    fn word(&mut self, place: Place) -> Result<u64, SpkError> {
        let segment = self.check(place, 1)?;
        let mut bytes = [0; 8];
        self.copy(&mut bytes, segment.start + place.word * WORD)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn table_entry(&mut self, index: u64) -> Result<u32, SpkError> {
        if 4 * (index + 1) > self.length {
            return Err(SpkError::Truncated { part: "archive" });
        }
        let mut bytes = [0; 4];
        self.copy(&mut bytes, 4 * index)?;
        Ok(u32::from_le_bytes(bytes))
    }

    /// Copies bytes out of cached blocks. The range is known to lie within the file.
    fn copy(&mut self, mut buffer: &mut [u8], mut position: u64) -> Result<(), SpkError> {
        while !buffer.is_empty() {
            let block = self.block(position / BLOCK)?;
            let start = usize::try_from(position % BLOCK).expect("smaller than a block");
            let length = buffer.len().min(block.len() - start);
            buffer[..length].copy_from_slice(&block[start..start + length]);
            position += length as u64;
            buffer = &mut buffer[length..];
        }
        Ok(())
    }

    fn block(&mut self, index: u64) -> Result<&[u8], SpkError> {
        match self.cache.iter().position(|(cached, _)| *cached == index) {
            Some(0) => {}
            Some(position) => self.cache[..=position].rotate_right(1),
            None => {
                // The slot used longest ago serves again, its memory with it.
                let mut bytes = if self.cache.len() == BLOCKS {
                    self.cache.pop().expect("it is full").1
                } else {
                    Vec::new()
                };
                let length = BLOCK.min(self.length - index * BLOCK);
                bytes.resize(usize::try_from(length).expect("at most a block"), 0);
                self.read_at(&mut bytes, index * BLOCK)?;
                self.cache.insert(0, (index, bytes));
            }
        }
        Ok(&self.cache[0].1)
    }
}

impl Folder {
    const EMPTY: Self = Self {
        first: Place { segment: 0, word: 0 },
        count: 0,
        data: 0,
        pointers: 0,
        cost: 0,
    };
}

/// Reads a struct or list pointer, whose target is in its own segment.
fn near(place: Place, pointer: u64) -> Result<Target, SpkError> {
    if pointer & 2 != 0 {
        return Err(malformed("a pointer is of a kind that an archive cannot hold"));
    }
    let offset = i64::from(pointer as u32 as i32 >> 2);
    let word = (place.word + 1)
        .checked_add_signed(offset)
        .ok_or_else(|| malformed("a pointer leads out of its segment"))?;
    Ok(Target {
        place: Place { word, ..place },
        description: pointer,
    })
}

fn far(pointer: u64) -> Result<Place, SpkError> {
    let segment = usize::try_from(pointer >> 32).map_err(|_| malformed("a pointer leads to no segment"))?;
    Ok(Place {
        segment,
        word: u64::from(pointer as u32 >> 3),
    })
}

/// Words of data and of pointers, if the pointer describes a struct.
fn struct_sizes(pointer: u64) -> Option<(u64, u64)> {
    (pointer & 3 == 0).then_some((pointer >> 32 & 0xffff, pointer >> 48))
}

/// Element size code and count, if the pointer describes a list.
fn list_size(pointer: u64) -> Option<(u64, u64)> {
    (pointer & 3 == 1).then_some((pointer >> 32 & 7, pointer >> 35))
}

fn malformed(reason: &str) -> SpkError {
    SpkError::BadArchive {
        part: "archive",
        reason: reason.to_owned(),
    }
}
