//! Reads an archive somebody else made: every number in it is a claim.
//!
//! The directory at the end is what counts; a local header must agree with it. The file is read at positions, never as a
//! whole, and nothing is allocated by a number that was read but names and extra fields, which have 16 bits.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;

use flate2::{Decompress, FlushDecompress, Status};

use super::time::from_dos;
use super::{
    CENTRAL, DEFLATED, END, END_64, EXTRA_64, EXTRA_NAME, EXTRA_TIME, FLAG_ENCRYPTED, FLAG_MASKED,
    FLAG_PATCH, FLAG_STRONG, LOCAL, LOCATOR_64, MADE_BY_DARWIN, MADE_BY_UNIX, STORED, TYPE_FILE, TYPE_FOLDER,
    TYPE_LINK, TYPE_MASK,
};
use crate::error::{BackupError, Refusal};

const BUFFER: usize = 64 << 10;
const END_SIZE: u64 = 22;
const END_64_SIZE: u64 = 56;
const LOCATOR_SIZE: u64 = 20;
const CENTRAL_SIZE: u64 = 46;
const LOCAL_SIZE: u64 = 30;

/// An archive whose end was found and makes sense.
pub(crate) struct Archive {
    file: File,
    entries: u64,
    /// Where the directory begins; entries lie before it.
    directory: u64,
    directory_size: u64,
}

/// What the directory says of one entry.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// Its name, bytes.
    pub(crate) name: Vec<u8>,
    pub(crate) shape: Shape,
    /// Permissions with the set-id and sticky bits, where a Unix system made the entry.
    pub(crate) mode: Option<u32>,
    /// Unix seconds.
    pub(crate) modified: Option<i64>,
    /// Bytes of its content.
    pub(crate) size: u64,
    compressed: u64,
    crc: u32,
    method: u16,
    offset: u64,
    /// The name as it stands, where `name` is the better one of an extra field.
    raw_name: Option<Vec<u8>>,
}

/// What kind of file an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    File,
    Folder,
    Link,
}

impl Entry {
    /// Bytes of the file this entry takes at the least.
    pub(crate) fn occupies(&self) -> u64 {
        let name = self.raw_name.as_ref().unwrap_or(&self.name).len() as u64;
        self.compressed.saturating_add(LOCAL_SIZE).saturating_add(name)
    }
}

impl Archive {
    /// Finds the end of an archive.
    pub(crate) fn open(file: File) -> Result<Self, BackupError> {
        let length = file.metadata().map_err(reading)?.len();
        let window = length.min(END_SIZE + u64::from(u16::MAX));
        let mut tail = vec![0; window as usize];
        file.read_exact_at(&mut tail, length - window).map_err(reading)?;
        let Some(at) = find_end(&tail) else {
            let mut head = [0; 4];
            let is_zip = length >= 4
                && file.read_exact_at(&mut head, 0).is_ok()
                && matches!(u32::from_le_bytes(head), LOCAL | END);
            return Err(if is_zip {
                Refusal::Truncated
            } else {
                Refusal::NotZip
            }
            .whole());
        };
        let mut end = Fields(&tail[at + 4..]);
        let position = length - window + at as u64;
        let parts = (end.u16(), end.u16());
        let (here, entries) = (u64::from(end.u16()), u64::from(end.u16()));
        let (size, offset) = (u64::from(end.u32()), u64::from(end.u32()));
        let narrow = (parts, here, entries, size, offset);
        let (parts, here, entries, size, offset, position) = match wide_end(&file, position)? {
            Some((wide, at)) => (wide.parts, wide.here, wide.entries, wide.size, wide.offset, at),
            None => (
                (u32::from(narrow.0.0), u32::from(narrow.0.1)),
                here,
                entries,
                size,
                offset,
                position,
            ),
        };
        if parts != (0, 0) || here != entries {
            return Err(Refusal::SeveralParts.whole());
        }
        if offset.checked_add(size) != Some(position) {
            return Err(damaged("its directory is not where it is said to be").whole());
        }
        if entries > size / CENTRAL_SIZE {
            return Err(damaged("its directory is too small for its entries").whole());
        }
        Ok(Self {
            file,
            entries,
            directory: offset,
            directory_size: size,
        })
    }

    /// Number of entries it claims, which its directory has room for.
    pub(crate) fn len(&self) -> u64 {
        self.entries
    }

    /// Bytes before the directory: all that entries can occupy.
    pub(crate) fn room(&self) -> u64 {
        self.directory
    }

    /// Reads the directory, from its start.
    pub(crate) fn entries(&self) -> Entries<'_> {
        let section = Section {
            file: &self.file,
            position: self.directory,
            end: self.directory + self.directory_size,
        };
        Entries {
            directory: BufReader::with_capacity(BUFFER, section),
            left: self.entries,
        }
    }

    /// Reads the content of an entry, piece by piece. It is checked at its end: `sink` sees bytes that may yet turn out
    /// to be wrong, but never more of them than the entry's size.
    pub(crate) fn read(
        &self,
        entry: &Entry,
        inflate: &mut Inflate,
        sink: &mut dyn FnMut(&[u8]) -> Result<(), BackupError>,
    ) -> Result<(), BackupError> {
        let refused = |reason: Refusal| reason.at(&entry.name);
        let section = self.section(entry)?;
        let mut checksum = crc32fast::Hasher::new();
        let mut size = 0_u64;
        let mut take = |bytes: &[u8]| {
            size += bytes.len() as u64;
            if size > entry.size {
                return Err(refused(damaged("it is longer than it says")));
            }
            checksum.update(bytes);
            sink(bytes)
        };
        match entry.method {
            STORED => inflate.copy(section, &mut take)?,
            _ => inflate.run(section, &entry.name, &mut take)?,
        }
        if size != entry.size {
            return Err(refused(damaged("it is shorter than it says")));
        }
        if checksum.finalize() != entry.crc {
            return Err(refused(damaged("its checksum is wrong")));
        }
        Ok(())
    }

    /// Where an entry's bytes are, by its local header, which must be the same entry's.
    fn section(&self, entry: &Entry) -> Result<Section<'_>, BackupError> {
        let refused = |why| Err(damaged(why).at(&entry.name));
        let name = entry.raw_name.as_ref().unwrap_or(&entry.name);
        let start = entry.offset.checked_add(LOCAL_SIZE + name.len() as u64);
        if start.is_none_or(|start| start > self.directory) {
            return refused("it is not where it is said to be");
        }
        let mut head = vec![0; LOCAL_SIZE as usize + name.len()];
        self.file
            .read_exact_at(&mut head, entry.offset)
            .map_err(reading)?;
        let (mut fields, local_name) = (Fields(&head), &head[LOCAL_SIZE as usize..]);
        if fields.u32() != LOCAL {
            return refused("it is not where it is said to be");
        }
        fields.skip(2);
        let (flags, method) = (fields.u16(), fields.u16());
        fields.skip(16);
        let (name_length, extra) = (u64::from(fields.u16()), u64::from(fields.u16()));
        if name_length != name.len() as u64 || local_name != name || method != entry.method {
            return refused("its two headers contradict one another");
        }
        usable(flags, method).map_err(|reason| reason.at(&entry.name))?;
        let position = entry.offset + LOCAL_SIZE + name_length + extra;
        match position.checked_add(entry.compressed) {
            Some(end) if end <= self.directory => Ok(Section {
                file: &self.file,
                position,
                end,
            }),
            _ => refused("it reaches beyond the place for entries"),
        }
    }
}

/// The directory as it is read.
pub(crate) struct Entries<'a> {
    directory: BufReader<Section<'a>>,
    left: u64,
}

impl Iterator for Entries<'_> {
    type Item = Result<Entry, BackupError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            let mut more = [0];
            return match self.directory.read(&mut more) {
                Ok(0) => None,
                Ok(_) => Some(Err(damaged("its directory has more than its entries").whole())),
                Err(error) => Some(Err(reading(error))),
            };
        }
        self.left -= 1;
        let entry = self.entry();
        if entry.is_err() {
            // Out of step: nothing after this means anything.
            self.left = 0;
        }
        Some(entry)
    }
}

impl Entries<'_> {
    fn entry(&mut self) -> Result<Entry, BackupError> {
        let mut head = [0; CENTRAL_SIZE as usize];
        self.fill(&mut head)?;
        let mut fields = Fields(&head);
        if fields.u32() != CENTRAL {
            return Err(damaged("its directory is not a directory").whole());
        }
        let made_by = (fields.u16() >> 8) as u8;
        fields.skip(2);
        let (flags, method) = (fields.u16(), fields.u16());
        let (time, date) = (fields.u16(), fields.u16());
        let crc = fields.u32();
        let (compressed, size) = (fields.u32(), fields.u32());
        let lengths = (fields.u16(), fields.u16(), fields.u16());
        let part = fields.u16();
        fields.skip(2);
        let (attributes, offset) = (fields.u32(), fields.u32());
        let mut name = vec![0; usize::from(lengths.0)];
        self.fill(&mut name)?;
        let mut extra = vec![0; usize::from(lengths.1)];
        self.fill(&mut extra)?;
        self.fill(&mut vec![0; usize::from(lengths.2)])?;

        let mut entry = Entry {
            name,
            shape: Shape::File,
            mode: None,
            modified: from_dos(time, date),
            size: u64::from(size),
            compressed: u64::from(compressed),
            crc,
            method,
            offset: u64::from(offset),
            raw_name: None,
        };
        let shaped = entry
            .read_extra(&extra)
            .and_then(|()| usable(flags, method))
            .and_then(|()| entry.shape(made_by, attributes));
        if let Err(reason) = shaped {
            return Err(reason.at(&entry.name));
        }
        if part != 0 {
            return Err(Refusal::SeveralParts.at(&entry.name));
        }
        Ok(entry)
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), BackupError> {
        self.directory
            .read_exact(buffer)
            .map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => damaged("its directory ends too early").whole(),
                _ => reading(error),
            })
    }
}

impl Entry {
    fn read_extra(&mut self, extra: &[u8]) -> Result<(), Refusal> {
        let mut rest = extra;
        // Fewer than four bytes at the end are padding some programs leave.
        while rest.len() >= 4 {
            let mut head = Fields(rest);
            let (id, length) = (head.u16(), usize::from(head.u16()));
            let value = rest
                .get(4..4 + length)
                .ok_or(damaged("an extra field is cut off"))?;
            rest = &rest[4 + length..];
            match id {
                EXTRA_64 => {
                    let mut wide = value.chunks_exact(8).map(|bytes| Fields(bytes).u64());
                    for field in [&mut self.size, &mut self.compressed, &mut self.offset] {
                        if *field == u64::from(u32::MAX) {
                            *field = wide.next().ok_or(damaged("a 64-bit size is missing"))?;
                        }
                    }
                }
                EXTRA_TIME if value.len() >= 5 && value[0] & 1 != 0 => {
                    let seconds = Fields(&value[1..]).u32() as i32;
                    self.modified = Some(i64::from(seconds));
                }
                EXTRA_NAME => {
                    if let Some(name) = better_name(value, &self.name) {
                        self.raw_name = Some(std::mem::replace(&mut self.name, name));
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Finds out what kind of file this is; its name and its attributes must agree.
    fn shape(&mut self, made_by: u8, attributes: u32) -> Result<(), Refusal> {
        let slash = self.name.last() == Some(&b'/');
        let unix = matches!(made_by, MADE_BY_UNIX | MADE_BY_DARWIN)
            .then_some(attributes >> 16)
            .filter(|mode| *mode != 0);
        self.mode = unix.map(|mode| mode & 0o7777);
        self.shape = match unix.map_or(0, |mode| mode & TYPE_MASK) {
            0 if slash => Shape::Folder,
            0 | TYPE_FILE if !slash => Shape::File,
            TYPE_FOLDER => Shape::Folder,
            TYPE_LINK if !slash => Shape::Link,
            TYPE_FILE | TYPE_LINK => return Err(damaged("it is a file with the name of a folder")),
            _ => return Err(Refusal::Special),
        };
        if self.shape == Shape::Folder && self.size != 0 {
            return Err(damaged("it is a folder with a content"));
        }
        if self.method == STORED && self.size != self.compressed {
            return Err(damaged("it is not compressed and yet of two sizes"));
        }
        Ok(())
    }
}

/// The UTF-8 name in an extra field of version 1, if it was made for the name beside it.
fn better_name(field: &[u8], name: &[u8]) -> Option<Vec<u8>> {
    let (head, better) = field.split_at_checked(5)?;
    let fits = head[0] == 1 && Fields(&head[1..]).u32() == crc32fast::hash(name);
    (fits && std::str::from_utf8(better).is_ok()).then(|| better.to_vec())
}

/// Buffers and the decoder's state, used again for each entry.
pub(crate) struct Inflate {
    state: Decompress,
    input: Box<[u8]>,
    output: Box<[u8]>,
}

impl Inflate {
    pub(crate) fn new() -> Self {
        Self {
            state: Decompress::new(false),
            input: vec![0; BUFFER].into(),
            output: vec![0; BUFFER].into(),
        }
    }

    fn copy(
        &mut self,
        mut section: Section<'_>,
        take: &mut dyn FnMut(&[u8]) -> Result<(), BackupError>,
    ) -> Result<(), BackupError> {
        loop {
            match section.read(&mut self.input).map_err(reading)? {
                0 => return Ok(()),
                length => take(&self.input[..length])?,
            }
        }
    }

    fn run(
        &mut self,
        mut section: Section<'_>,
        name: &[u8],
        take: &mut dyn FnMut(&[u8]) -> Result<(), BackupError>,
    ) -> Result<(), BackupError> {
        let refused = |why| Err(damaged(why).at(name));
        self.state.reset(false);
        let (mut used, mut length) = (0, 0);
        loop {
            if used == length {
                (used, length) = (0, section.read(&mut self.input).map_err(reading)?);
            }
            let (taken_before, made_before) = (self.state.total_in(), self.state.total_out());
            let input = &self.input[used..length];
            let Ok(status) = self
                .state
                .decompress(input, &mut self.output, FlushDecompress::None)
            else {
                return refused("its compressed bytes make no sense");
            };
            let taken = (self.state.total_in() - taken_before) as usize;
            let made = (self.state.total_out() - made_before) as usize;
            used += taken;
            if made > 0 {
                take(&self.output[..made])?;
            }
            match status {
                Status::StreamEnd if used == length && section.position == section.end => return Ok(()),
                Status::StreamEnd => return refused("something follows its compressed bytes"),
                _ if length == 0 && made == 0 => return refused("its compressed bytes end too early"),
                // With room and input left, no progress would mean none ever.
                _ if taken == 0 && made == 0 && used < length => {
                    return refused("its compressed bytes make no sense");
                }
                _ => {}
            }
        }
    }
}

/// A part of the file, read at positions.
pub(crate) struct Section<'a> {
    file: &'a File,
    position: u64,
    end: u64,
}

impl Read for Section<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.position).unwrap_or(usize::MAX);
        let wanted = buffer.len().min(left);
        let buffer = &mut buffer[..wanted];
        if buffer.is_empty() {
            return Ok(0);
        }
        let read = loop {
            match self.file.read_at(buffer, self.position) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        if read == 0 {
            return Err(io::Error::other("the file became shorter while it was read"));
        }
        self.position += read as u64;
        Ok(read)
    }
}

struct WideEnd {
    parts: (u32, u32),
    here: u64,
    entries: u64,
    size: u64,
    offset: u64,
}

/// Reads the 64-bit end record that may stand before the usual one at `end`; returns it and its position.
fn wide_end(file: &File, end: u64) -> Result<Option<(WideEnd, u64)>, BackupError> {
    let Some(at) = end.checked_sub(LOCATOR_SIZE) else {
        return Ok(None);
    };
    let mut locator = [0; LOCATOR_SIZE as usize];
    file.read_exact_at(&mut locator, at).map_err(reading)?;
    let mut fields = Fields(&locator);
    if fields.u32() != LOCATOR_64 {
        return Ok(None);
    }
    let misplaced = || damaged("its 64-bit end is not where it is said to be").whole();
    let (part, position, parts) = (fields.u32(), fields.u64(), fields.u32());
    if part != 0 || parts > 1 {
        return Err(Refusal::SeveralParts.whole());
    }
    if position.checked_add(END_64_SIZE).is_none_or(|after| after > at) {
        return Err(misplaced());
    }
    let mut record = [0; END_64_SIZE as usize];
    file.read_exact_at(&mut record, position).map_err(reading)?;
    let mut fields = Fields(&record);
    if fields.u32() != END_64 {
        return Err(misplaced());
    }
    fields.skip(12);
    let end = WideEnd {
        parts: (fields.u32(), fields.u32()),
        here: fields.u64(),
        entries: fields.u64(),
        size: fields.u64(),
        offset: fields.u64(),
    };
    Ok(Some((end, position)))
}

/// The last end record whose comment reaches exactly to the end of the file.
fn find_end(tail: &[u8]) -> Option<usize> {
    let last = tail.len().checked_sub(END_SIZE as usize)?;
    (0..=last).rev().find(|at| {
        let mut record = Fields(&tail[*at..]);
        let is_end = record.u32() == END;
        record.skip(16);
        is_end && at + END_SIZE as usize + usize::from(record.u16()) == tail.len()
    })
}

fn usable(flags: u16, method: u16) -> Result<(), Refusal> {
    if flags & (FLAG_ENCRYPTED | FLAG_STRONG | FLAG_MASKED) != 0 {
        return Err(Refusal::Encrypted);
    }
    if flags & FLAG_PATCH != 0 || !matches!(method, STORED | DEFLATED) {
        return Err(Refusal::Compression(method));
    }
    Ok(())
}

fn damaged(why: &'static str) -> Refusal {
    Refusal::Damaged(why)
}

fn reading(error: io::Error) -> BackupError {
    BackupError::system("read the backup", error)
}

/// Little-endian numbers in a row. The caller has made sure that they are there.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (value, rest) = self
            .0
            .split_first_chunk()
            .expect("records are read whole before their fields");
        self.0 = rest;
        *value
    }

    fn skip(&mut self, bytes: usize) {
        self.0 = &self.0[bytes..];
    }

    fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.take())
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }
}
