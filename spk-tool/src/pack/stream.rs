//! Produces the bytes of an archive, reading files as they are needed.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::PackError;
use super::layout::Layout;
use crate::source::{Collection, Content, EntryKind};

const CHUNK: usize = 256 << 10;

/// The bytes of an archive.
pub(super) struct Stream<'a> {
    collection: &'a Collection,
    layout: &'a Layout,
    done: u64,
}

/// Takes the next bytes, and how many there have been with them.
type Sink<'s> = dyn FnMut(&[u8], u64) -> Result<(), PackError> + 's;

impl<'a> Stream<'a> {
    pub(super) fn new(collection: &'a Collection, layout: &'a Layout) -> Self {
        Self {
            collection,
            layout,
            done: 0,
        }
    }

    /// Hands all bytes to `sink`, in order.
    pub(super) fn run(mut self, sink: &mut Sink<'_>) -> Result<(), PackError> {
        let mut buffer = vec![0; CHUNK];
        self.put(&self.layout.head, sink)?;
        for position in &self.layout.files {
            let EntryKind::File { content, .. } = &self.collection.entry(*position).kind else {
                unreachable!("only files have contents");
            };
            match content {
                Content::Bytes(bytes) => self.put(bytes, sink)?,
                Content::Path { path, length } => self.put_file(path, *length, &mut buffer, sink)?,
            }
            // Contents begin at whole words.
            let padding = content.length().next_multiple_of(8) - content.length();
            self.put(
                &[0; 8][..usize::try_from(padding).expect("less than a word")],
                sink,
            )?;
        }
        Ok(())
    }

    fn put(&mut self, bytes: &[u8], sink: &mut Sink<'_>) -> Result<(), PackError> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.done += bytes.len() as u64;
        sink(bytes, self.done)
    }

    fn put_file(
        &mut self,
        path: &Path,
        length: u64,
        buffer: &mut [u8],
        sink: &mut Sink<'_>,
    ) -> Result<(), PackError> {
        let unreadable = |source| PackError::Read {
            path: path.to_owned(),
            source,
        };
        let mut file = File::open(path).map_err(unreadable)?;
        let mut left = length;
        loop {
            let read = match file.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read.map_err(unreadable)?,
            };
            left = left
                .checked_sub(read as u64)
                .ok_or_else(|| PackError::Changed(path.to_owned()))?;
            if read == 0 {
                break;
            }
            self.put(&buffer[..read], sink)?;
        }
        if left > 0 {
            Err(PackError::Changed(path.to_owned()))
        } else {
            Ok(())
        }
    }
}
