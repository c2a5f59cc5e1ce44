//! The tree inside a package, read from a file without ever holding it in memory.
//!
//! An archive is one Cap'n Proto message of up to a gigabyte (`Archive`, sheet section 1.2). The ordinary reader wants
//! such a message in memory and follows nested lists by recursion, so this module has a reader of its own that knows
//! only the five shapes an archive consists of, fetches words with `pread` and keeps its place on a bounded stack.
//!
//! What must stay true: whatever the bytes are, memory is bounded by [`Limits`], every word is charged
//! to a budget of the message's own size (so that pointers to one place cannot multiply it), and nothing panics.

mod message;
mod walk;

use std::cell::{Cell, RefCell};
use std::fs::File;

pub(crate) use message::MAGIC;
pub use walk::{Step, Walk};

use crate::error::{SpkError, printable};
use crate::limits::Limits;
use crate::tree::{Node, Tree};
use message::{Entry, Folder, Kind, Message};

/// An archive in a file, and the limits under which it is read.
#[derive(Debug)]
pub struct Archive {
    message: RefCell<Message>,
    limits: Limits,
    root: Folder,
    /// Entries that lookups may still visit; a walk counts its own.
    lookups_left: Cell<u64>,
}

/// Where in the archive's file the contents of a regular file lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// First byte.
    pub offset: u64,
    /// Number of bytes.
    pub length: u64,
}

/// How many folders of the largest allowed size all lookups together may search.
const LOOKUPS: u64 = 20;

impl Archive {
    /// Opens the archive that fills all `length` bytes of `file`.
    ///
    /// # Errors
    /// Refuses a message that is shorter or longer than its segment table says, or whose root is not an `Archive`.
    pub fn open(file: File, length: u64, limits: &Limits) -> Result<Self, SpkError> {
        let mut message = Message::open(file, length, limits)?;
        let root = message.root()?;
        Ok(Self {
            message: RefCell::new(message),
            limits: limits.clone(),
            root,
            lookups_left: Cell::new(limits.entries.saturating_mul(LOOKUPS)),
        })
    }

    /// Begins a walk through the whole tree, parents before their children.
    #[must_use]
    pub fn walk(&self) -> Walk<'_> {
        Walk::new(self)
    }

    /// Reads part of a regular file's contents; `position` counts from the start of the archive's file.
    pub(crate) fn read_at(&self, buffer: &mut [u8], position: u64) -> Result<(), SpkError> {
        self.message.borrow().read_at(buffer, position)
    }

    /// Hands out the archive's file, for copying contents out of it.
    pub(crate) fn with_file<T>(&self, use_file: impl FnOnce(&File) -> T) -> T {
        use_file(self.message.borrow().file())
    }

    /// Reads the regular file `name` at the root, if it is one and not larger than `most` bytes.
    pub(crate) fn read_root_file(
        &self,
        name: &[u8],
        what: &'static str,
        most: u64,
    ) -> Result<Option<Vec<u8>>, SpkError> {
        let Some(Node::File {
            content,
            executable: false,
        }) = self.find(self.root, name)?
        else {
            return Ok(None);
        };
        if content.length > most {
            return Err(SpkError::too_large(what, format!("{most} bytes")));
        }
        // In steps, so that memory follows what is really there. The length is within the message, which is within
        // the limit, so the conversion cannot fail on any machine we run on.
        let mut bytes = vec![0; usize::try_from(content.length).unwrap_or(usize::MAX)];
        self.read_at(&mut bytes, content.offset)?;
        Ok(Some(bytes))
    }
}

impl Tree for Archive {
    type Folder = Folder;
    type Content = Extent;

    fn root(&self) -> Folder {
        self.root
    }

    fn find(&self, folder: Folder, name: &[u8]) -> Result<Option<Node<Folder, Extent>>, SpkError> {
        let mut message = self.message.borrow_mut();
        for index in 0..folder.count() {
            let left = self.lookups_left.get().checked_sub(1);
            self.lookups_left.set(left.ok_or_else(|| SpkError::BadManifest {
                file: "manifest",
                reason: "finding the programs it names takes too long".to_owned(),
            })?);
            let entry = message.entry(folder, index)?;
            if !message.name_is(&entry, name)? {
                continue;
            }
            return Ok(Some(match message.kind(&entry, &self.limits)? {
                Kind::File { executable, content } => Node::File { executable, content },
                Kind::Link(target) => Node::Link(target),
                Kind::Folder(inner) => Node::Folder(inner),
                Kind::Unknown(tag) => {
                    return Err(SpkError::UnknownEntry {
                        path: printable(name),
                        tag,
                    });
                }
            }));
        }
        Ok(None)
    }
}

impl Entry {
    /// Position of the name's pointer, for readers that look at many entries.
    fn has_name(&self) -> bool {
        self.pointers >= 1
    }
}

#[cfg(test)]
pub(crate) use tests::reference as reference_items;

#[cfg(test)]
mod tests;
