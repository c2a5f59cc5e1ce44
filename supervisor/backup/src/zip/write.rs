//! Writes an archive in one pass, to anything.
//!
//! A file's size and checksum follow its bytes (a data descriptor), so nothing is promised before it is known and the
//! output is never gone back to. Names are bytes; they are marked as UTF-8 where they are.

use std::io::{self, Read, Write};

use flate2::{Compress, Compression, FlushCompress, Status};

use super::time::to_dos;
use super::{
    CENTRAL, DEFLATED, DESCRIPTOR, END, END_64, EXTRA_64, EXTRA_TIME, FLAG_DESCRIPTOR, FLAG_UTF8, LOCAL,
    LOCATOR_64, MADE_BY_UNIX, STORED, TYPE_FOLDER, TYPE_MASK,
};

/// From this size on a file gets 64-bit sizes; deflate may make what it cannot compress a little larger.
const LARGE: u64 = 0xf000_0000;
const BUFFER: usize = 64 << 10;
/// Fast enough for the disk; higher levels gain a few per cent at several times the time.
const LEVEL: u32 = 3;

/// What an archive keeps of a file beside its name and bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Meta {
    /// Type and permissions, as in `st_mode`.
    pub(crate) mode: u32,
    /// Unix seconds.
    pub(crate) modified: i64,
}

/// What went wrong with a file's bytes.
pub(crate) enum Failed {
    /// Reading them.
    Read(io::Error),
    /// Writing the archive.
    Write(io::Error),
}

/// An archive that grows. Without [`Writer::finish`] it is none.
pub(crate) struct Writer<W> {
    out: W,
    written: u64,
    directory: Vec<u8>,
    entries: u64,
    deflate: Compress,
    input: Box<[u8]>,
    output: Box<[u8]>,
}

/// The parts of a header that local and central one share.
struct Head<'a> {
    name: &'a [u8],
    meta: Meta,
    flags: u16,
    method: u16,
    large: bool,
}

impl<W: Write> Writer<W> {
    pub(crate) fn new(out: W) -> Self {
        Self {
            out,
            written: 0,
            directory: Vec::new(),
            entries: 0,
            deflate: Compress::new(Compression::new(LEVEL), false),
            input: vec![0; BUFFER].into(),
            output: vec![0; BUFFER].into(),
        }
    }

    /// Number of entries written.
    pub(crate) fn entries(&self) -> u64 {
        self.entries
    }

    /// Writes an entry as it is: a folder (its name ends with a slash, it has no content), a link (its content is its
    /// target), a few bytes.
    pub(crate) fn add(&mut self, name: &[u8], meta: Meta, content: &[u8]) -> io::Result<()> {
        let head = Head::new(name, meta, STORED, false);
        let offset = self.written;
        let (crc, size) = (crc32fast::hash(content), content.len() as u64);
        let local = head.local(crc, size);
        self.put(&local)?;
        self.put(content)?;
        head.central(&mut self.directory, crc, size, size, offset);
        self.entries += 1;
        Ok(())
    }

    /// Writes a file of at most `size` bytes; `content` may end earlier. Returns how many there were.
    pub(crate) fn add_file(
        &mut self,
        name: &[u8],
        meta: Meta,
        size: u64,
        content: impl Read,
        progress: &mut dyn FnMut(u64) -> io::Result<()>,
    ) -> Result<u64, Failed> {
        let head = Head::new(name, meta, DEFLATED, size >= LARGE);
        let offset = self.written;
        self.put(&head.local(0, 0)).map_err(Failed::Write)?;
        let start = self.written;
        let (crc, size) = self.deflate(content.take(size), progress)?;
        let compressed = self.written - start;
        let mut descriptor = Vec::with_capacity(24);
        put32(&mut descriptor, DESCRIPTOR);
        put32(&mut descriptor, crc);
        for size in [compressed, size] {
            if head.large {
                put64(&mut descriptor, size);
            } else {
                let size = u32::try_from(size).expect("what is not large stays below 4 GiB");
                put32(&mut descriptor, size);
            }
        }
        self.put(&descriptor).map_err(Failed::Write)?;
        head.central(&mut self.directory, crc, compressed, size, offset);
        self.entries += 1;
        Ok(size)
    }

    /// Compresses everything `content` has; returns its checksum and size.
    fn deflate(
        &mut self,
        mut content: impl Read,
        progress: &mut dyn FnMut(u64) -> io::Result<()>,
    ) -> Result<(u32, u64), Failed> {
        self.deflate.reset();
        let mut checksum = crc32fast::Hasher::new();
        let mut size = 0;
        loop {
            let length = match content.read(&mut self.input) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read.map_err(Failed::Read)?,
            };
            let flush = if length == 0 {
                FlushCompress::Finish
            } else {
                FlushCompress::None
            };
            checksum.update(&self.input[..length]);
            size += length as u64;
            let mut taken = 0;
            loop {
                let (taken_before, made_before) = (self.deflate.total_in(), self.deflate.total_out());
                let input = &self.input[taken..length];
                let status = self
                    .deflate
                    .compress(input, &mut self.output, flush)
                    .map_err(|error| Failed::Write(io::Error::other(error)))?;
                taken += (self.deflate.total_in() - taken_before) as usize;
                let made = (self.deflate.total_out() - made_before) as usize;
                self.out.write_all(&self.output[..made]).map_err(Failed::Write)?;
                self.written += made as u64;
                let done = match flush {
                    FlushCompress::Finish => status == Status::StreamEnd,
                    _ => taken == length && made < self.output.len(),
                };
                if done {
                    break;
                }
            }
            if length == 0 {
                return Ok((checksum.finalize(), size));
            }
            progress(length as u64).map_err(Failed::Write)?;
        }
    }

    /// Writes the directory, which makes it an archive.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        let (offset, size) = (self.written, self.directory.len() as u64);
        let mut end = Vec::with_capacity(98);
        if self.entries >= 0xffff || offset >= 0xffff_ffff || size >= 0xffff_ffff {
            put32(&mut end, END_64);
            put64(&mut end, 44);
            put16(&mut end, made_by(true));
            put16(&mut end, 45);
            put32(&mut end, 0);
            put32(&mut end, 0);
            put64(&mut end, self.entries);
            put64(&mut end, self.entries);
            put64(&mut end, size);
            put64(&mut end, offset);
            put32(&mut end, LOCATOR_64);
            put32(&mut end, 0);
            put64(&mut end, offset + size);
            put32(&mut end, 1);
        }
        put32(&mut end, END);
        put32(&mut end, 0);
        let entries = u16::try_from(self.entries).unwrap_or(u16::MAX);
        put16(&mut end, entries);
        put16(&mut end, entries);
        put32(&mut end, narrow(size));
        put32(&mut end, narrow(offset));
        put16(&mut end, 0);
        let directory = std::mem::take(&mut self.directory);
        self.put(&directory)?;
        self.put(&end)?;
        self.out.flush()
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        self.written += bytes.len() as u64;
        Ok(())
    }
}

impl<'a> Head<'a> {
    fn new(name: &'a [u8], meta: Meta, method: u16, large: bool) -> Self {
        assert!(name.len() <= usize::from(u16::MAX), "names are bounded before");
        let utf8 = !name.is_ascii() && std::str::from_utf8(name).is_ok();
        let flags = if utf8 { FLAG_UTF8 } else { 0 } | if method == DEFLATED { FLAG_DESCRIPTOR } else { 0 };
        Self {
            name,
            meta,
            flags,
            method,
            large,
        }
    }

    fn needs(&self) -> u16 {
        if self.large { 45 } else { 20 }
    }

    fn common(&self, to: &mut Vec<u8>, crc: u32, compressed: u32, size: u32, extra: usize) {
        let (time, date) = to_dos(self.meta.modified);
        put16(to, self.flags);
        put16(to, self.method);
        put16(to, time);
        put16(to, date);
        put32(to, crc);
        put32(to, compressed);
        put32(to, size);
        put16(to, self.name.len() as u16);
        put16(to, extra as u16);
    }

    /// The header before the content. Sizes are left open where a descriptor follows.
    fn local(&self, crc: u32, size: u64) -> Vec<u8> {
        let mut extra = Vec::new();
        if self.large {
            put16(&mut extra, EXTRA_64);
            put16(&mut extra, 16);
            put64(&mut extra, 0);
            put64(&mut extra, 0);
        }
        self.time(&mut extra);
        let size = if self.large { u32::MAX } else { narrow(size) };
        let mut head = Vec::with_capacity(30 + self.name.len() + extra.len());
        put32(&mut head, LOCAL);
        put16(&mut head, self.needs());
        self.common(&mut head, crc, size, size, extra.len());
        head.extend_from_slice(self.name);
        head.extend_from_slice(&extra);
        head
    }

    /// The header in the directory at the end.
    fn central(&self, to: &mut Vec<u8>, crc: u32, compressed: u64, size: u64, offset: u64) {
        let mut wide = Vec::new();
        for value in [size, compressed, offset] {
            if value >= 0xffff_ffff {
                put64(&mut wide, value);
            }
        }
        let mut extra = Vec::new();
        if !wide.is_empty() {
            put16(&mut extra, EXTRA_64);
            put16(&mut extra, wide.len() as u16);
            extra.extend_from_slice(&wide);
        }
        self.time(&mut extra);
        let folder = self.meta.mode & TYPE_MASK == TYPE_FOLDER;
        put32(to, CENTRAL);
        put16(to, made_by(self.large || !wide.is_empty()));
        put16(to, if wide.is_empty() { self.needs() } else { 45 });
        self.common(to, crc, narrow(compressed), narrow(size), extra.len());
        put16(to, 0);
        put16(to, 0);
        put16(to, 0);
        // Unix mode above, DOS attributes below: bit 4 means a folder.
        put32(to, self.meta.mode << 16 | if folder { 0x10 } else { 0 });
        put32(to, narrow(offset));
        to.extend_from_slice(self.name);
        to.extend_from_slice(&extra);
    }

    /// The time in Unix seconds, where 32 bits can say it; the DOS date, in UTC, stands beside it.
    fn time(&self, to: &mut Vec<u8>) {
        let Ok(seconds) = i32::try_from(self.meta.modified) else {
            return;
        };
        put16(to, EXTRA_TIME);
        put16(to, 5);
        to.push(1);
        to.extend_from_slice(&seconds.to_le_bytes());
    }
}

fn made_by(large: bool) -> u16 {
    u16::from(MADE_BY_UNIX) << 8 | if large { 45 } else { 30 }
}

/// A value, or the mark that says it stands in a wider field.
fn narrow(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

fn put16(to: &mut Vec<u8>, value: u16) {
    to.extend_from_slice(&value.to_le_bytes());
}

fn put32(to: &mut Vec<u8>, value: u32) {
    to.extend_from_slice(&value.to_le_bytes());
}

fn put64(to: &mut Vec<u8>, value: u64) {
    to.extend_from_slice(&value.to_le_bytes());
}
