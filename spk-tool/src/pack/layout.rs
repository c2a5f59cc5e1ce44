//! Plans where everything goes in the archive message, from names and lengths alone.
//!
//! The message has one segment: first all lists, names and link targets, then the contents of the files, one after
//! another. A list pointer reaches four gigabytes, a package holds one, so one segment always suffices; readers with a
//! limit on the number of segments never meet it.

use std::collections::VecDeque;

use super::PackError;
use crate::limits::Limits;
use crate::source::{Collection, EntryKind};

/// Folders in one another that a reader with Cap'n Proto's nesting limit of 128 still follows, as Sandstorm's does:
/// each takes two levels (list and element), and root, list of files and contents take the rest.
pub(super) const DEEPEST: usize = 62;

/// Where everything is in the message.
#[derive(Debug)]
pub(super) struct Layout {
    /// Segment table, lists and names, ready to be written.
    pub(super) head: Vec<u8>,
    /// Positions in the collection of all files that hold something, in the order of their contents.
    pub(super) files: Vec<usize>,
    bytes: u64,
}

const LIST: u64 = 1;
const BYTE_ELEMENTS: u64 = 2;
const STRUCT_ELEMENTS: u64 = 7;
/// Data words and pointers of `Archive.File`.
const DATA: u64 = 2;
const POINTERS: u64 = 2;
const ELEMENT: usize = (DATA + POINTERS) as usize;

impl Layout {
    pub(super) fn plan(collection: &Collection, limits: &Limits) -> Result<Self, PackError> {
        let mut writer = Writer {
            collection,
            words: Vec::new(),
            files: Vec::new(),
            folders: VecDeque::new(),
        };
        writer.write_lists()?;
        let (mut words, files) = (writer.words, writer.files);
        let mut end = words.len() as u64;
        for file in &files {
            let place = usize::try_from(end).expect("a package is smaller than memory could be");
            words[file.pointer] = list_pointer(file.pointer, place, BYTE_ELEMENTS, file.length);
            end += file.length.div_ceil(8);
            if end * 8 > limits.archive {
                return Err(too_large("size", format!("{} bytes", limits.archive)));
            }
        }
        let table = [
            0,
            u32::try_from(end).map_err(|_| too_large("size", format!("{} bytes", limits.archive)))?,
        ];
        let mut head: Vec<u8> = table.iter().flat_map(|entry| entry.to_le_bytes()).collect();
        head.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        let bytes = 8 + end * 8;
        if bytes > limits.archive {
            return Err(too_large("size", format!("{} bytes", limits.archive)));
        }
        Ok(Self {
            head,
            files: files.iter().map(|file| file.position).collect(),
            bytes,
        })
    }

    /// Bytes of the whole archive, segment table included.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}

struct Writer<'a> {
    collection: &'a Collection,
    words: Vec<u64>,
    files: Vec<File>,
    /// Folders whose lists are still to be written.
    folders: VecDeque<Folder>,
}

struct File {
    /// In the collection.
    position: usize,
    /// Index of the pointer to its contents.
    pointer: usize,
    length: u64,
}

struct Folder {
    position: usize,
    /// Index of the pointer to its list.
    pointer: usize,
    depth: usize,
}

impl Writer<'_> {
    fn write_lists(&mut self) -> Result<(), PackError> {
        // The root: a struct right behind its pointer, with no data and one pointer, the list of files.
        self.words.extend([1 << 48, 0]);
        self.folders.push_back(Folder {
            position: Collection::ROOT,
            pointer: 1,
            depth: 0,
        });
        while let Some(folder) = self.folders.pop_front() {
            if folder.depth > DEEPEST {
                return Err(too_large(
                    "deepest folder",
                    format!("{DEEPEST} folders in one another"),
                ));
            }
            self.write_folder(&folder);
        }
        Ok(())
    }

    fn write_folder(&mut self, folder: &Folder) {
        let collection = self.collection;
        let EntryKind::Folder(names) = &collection.entry(folder.position).kind else {
            unreachable!("only folders are queued");
        };
        let count = names.len();
        let tag = self.words.len();
        self.words[folder.pointer] =
            list_pointer(folder.pointer, tag, STRUCT_ELEMENTS, (count * ELEMENT) as u64);
        self.words.push((count as u64) << 2 | DATA << 32 | POINTERS << 48);
        self.words.resize(tag + 1 + count * ELEMENT, 0);
        for (index, (name, position)) in names.iter().enumerate() {
            self.write_entry(tag + 1 + index * ELEMENT, name, *position, folder.depth);
        }
    }

    fn write_entry(&mut self, at: usize, name: &[u8], position: usize, depth: usize) {
        let entry = self.collection.entry(position);
        let (name_pointer, pointer) = (at + 2, at + 3);
        self.write_text(name_pointer, name);
        self.words[at + 1] = entry.modified.cast_unsigned();
        self.words[at] = match &entry.kind {
            EntryKind::File { executable, content } => {
                let length = content.length();
                // An empty file needs no contents: a null pointer reads as empty.
                if length > 0 {
                    self.files.push(File {
                        position,
                        pointer,
                        length,
                    });
                }
                u64::from(*executable)
            }
            EntryKind::Link(target) => {
                self.write_text(pointer, target);
                2
            }
            EntryKind::Folder(_) => {
                self.folders.push_back(Folder {
                    position,
                    pointer,
                    depth: depth + 1,
                });
                3
            }
        };
    }

    /// Writes a text at the end and points to it.
    fn write_text(&mut self, pointer: usize, text: &[u8]) {
        // With the NUL that ends every text.
        let length = text.len() + 1;
        self.words[pointer] = list_pointer(pointer, self.words.len(), BYTE_ELEMENTS, length as u64);
        for start in (0..length).step_by(8) {
            let mut word = [0; 8];
            let end = text.len().min(start + 8);
            word[..end - start.min(end)].copy_from_slice(&text[start.min(end)..end]);
            self.words.push(u64::from_le_bytes(word));
        }
    }
}

/// Makes the pointer at `pointer` to a list at `place`, which comes after it. `size` is Cap'n Proto's code for the
/// elements, `count` their number (or that of words, for structs).
fn list_pointer(pointer: usize, place: usize, size: u64, count: u64) -> u64 {
    let offset = (place - pointer - 1) as u64;
    debug_assert!(
        offset < 1 << 29 && count < 1 << 29,
        "packages are smaller than pointers reach"
    );
    LIST | offset << 2 | size << 32 | count << 35
}

fn too_large(what: &'static str, limit: String) -> PackError {
    PackError::TooLarge { what, limit }
}
