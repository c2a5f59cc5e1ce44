//! Makes archives field by field, so that each can be wrong.

use super::*;

/// One entry of an archive to be made.
#[derive(Clone)]
pub(super) struct Part {
    pub(super) name: Vec<u8>,
    /// The name in the local header, where it differs.
    pub(super) local_name: Option<Vec<u8>>,
    pub(super) stored: Vec<u8>,
    pub(super) method: u16,
    pub(super) flags: u16,
    pub(super) crc: u32,
    pub(super) size: u32,
    pub(super) compressed: u32,
    pub(super) mode: u32,
    pub(super) made_by: u16,
    pub(super) extra: Vec<u8>,
    /// The place it claims to be at, where it differs.
    pub(super) offset: Option<u32>,
}

impl Part {
    pub(super) fn new(name: impl AsRef<[u8]>, mode: u32, content: &[u8]) -> Self {
        Self {
            name: name.as_ref().to_vec(),
            local_name: None,
            stored: content.to_vec(),
            method: 0,
            flags: 0,
            crc: crc32fast::hash(content),
            size: content.len() as u32,
            compressed: content.len() as u32,
            mode,
            made_by: 3 << 8 | 30,
            extra: Vec::new(),
            offset: None,
        }
    }

    pub(super) fn file(name: impl AsRef<[u8]>, content: &[u8]) -> Self {
        Self::new(name, 0o100_644, content)
    }

    pub(super) fn deflated(name: impl AsRef<[u8]>, content: &[u8]) -> Self {
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(content).unwrap();
        let stored = encoder.finish().unwrap();
        Self {
            method: 8,
            compressed: stored.len() as u32,
            stored,
            ..Self::file(name, content)
        }
    }

    pub(super) fn folder(name: impl AsRef<[u8]>) -> Self {
        Self::new(name, 0o040_755, b"")
    }

    pub(super) fn link(name: impl AsRef<[u8]>, target: &[u8]) -> Self {
        Self::new(name, 0o120_777, target)
    }

    pub(super) fn metadata() -> Self {
        Self::file("metadata", &info().encode())
    }

    fn common(&self, to: &mut Vec<u8>, name: &[u8], extra: &[u8]) {
        for value in [20, self.flags, self.method, 0, 0x21] {
            to.extend(value.to_le_bytes());
        }
        for value in [self.crc, self.compressed, self.size] {
            to.extend(value.to_le_bytes());
        }
        to.extend((name.len() as u16).to_le_bytes());
        to.extend((extra.len() as u16).to_le_bytes());
    }
}

/// An archive of `parts`.
pub(super) fn archive(parts: &[Part]) -> Vec<u8> {
    let (mut zip, mut directory) = (Vec::new(), Vec::new());
    for part in parts {
        let offset = part.offset.unwrap_or(zip.len() as u32);
        let local_name = part.local_name.as_ref().unwrap_or(&part.name);
        zip.extend(0x0403_4b50_u32.to_le_bytes());
        part.common(&mut zip, local_name, b"");
        zip.extend(local_name);
        zip.extend(&part.stored);
        directory.extend(0x0201_4b50_u32.to_le_bytes());
        directory.extend(part.made_by.to_le_bytes());
        part.common(&mut directory, &part.name, &part.extra);
        directory.extend([0; 6]);
        directory.extend((part.mode << 16).to_le_bytes());
        directory.extend(offset.to_le_bytes());
        directory.extend(&part.name);
        directory.extend(&part.extra);
    }
    end(zip, &directory, parts.len() as u16)
}

/// Puts directory and end behind what is there.
pub(super) fn end(mut zip: Vec<u8>, directory: &[u8], entries: u16) -> Vec<u8> {
    let offset = zip.len() as u32;
    zip.extend(directory);
    zip.extend(0x0605_4b50_u32.to_le_bytes());
    zip.extend([0; 4]);
    zip.extend(entries.to_le_bytes());
    zip.extend(entries.to_le_bytes());
    zip.extend((directory.len() as u32).to_le_bytes());
    zip.extend(offset.to_le_bytes());
    zip.extend([0; 2]);
    zip
}

/// A sound archive with `parts` between its description and nothing else.
pub(super) fn backup(parts: &[Part]) -> Vec<u8> {
    let all: Vec<Part> = std::iter::once(Part::metadata())
        .chain(parts.iter().cloned())
        .collect();
    archive(&all)
}
