//! Collects the files of a package that is to be written.
//!
//! A definition says with an ordered list of mappings where files come from, and with a list of paths which of them are
//! wanted (sheet section 1.7). What comes out is a [`Collection`]: the package's tree, with the places of its contents.

mod collect;
mod mapping;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

pub use collect::{Wanted, collect};
pub use mapping::Mapping;

use crate::error::{SpkError, printable};
use crate::tree::{Node, Tree};

/// A path inside a package, as its components. The empty path is the root.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct PackagePath(pub Vec<Vec<u8>>);

/// Why a text is not a path inside a package. Continues a sentence: "… the path X, which".
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Paths in a package have no leading slash.
    #[error("begins with a slash; leave it out")]
    Absolute,
    /// It could lead elsewhere.
    #[error("holds \"..\", \".\", an empty part or a NUL")]
    NotCanonical,
}

impl PackagePath {
    /// Reads a path from bytes, as file names need not be UTF-8.
    pub fn from_bytes(path: &[u8]) -> Result<Self, PathError> {
        let path = path.strip_suffix(b"/").unwrap_or(path);
        if path.is_empty() || path == b"." {
            return Ok(Self::default());
        }
        if path[0] == b'/' {
            return Err(PathError::Absolute);
        }
        let names: Vec<Vec<u8>> = path.split(|byte| *byte == b'/').map(<[u8]>::to_vec).collect();
        if names
            .iter()
            .any(|name| matches!(&name[..], b"" | b"." | b"..") || name.contains(&0))
        {
            return Err(PathError::NotCanonical);
        }
        Ok(Self(names))
    }

    fn child(&self, name: &[u8]) -> Self {
        let mut names = self.0.clone();
        names.push(name.to_owned());
        Self(names)
    }
}

impl FromStr for PackagePath {
    type Err = PathError;

    fn from_str(path: &str) -> Result<Self, PathError> {
        Self::from_bytes(path.as_bytes())
    }
}

impl fmt::Display for PackagePath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.0.iter().map(|name| printable(name)).collect();
        formatter.write_str(&names.join("/"))
    }
}

/// The tree of a package that is to be written.
#[derive(Debug)]
pub struct Collection {
    entries: Vec<Entry>,
    /// What the author should know, in sentences.
    pub warnings: Vec<String>,
}

/// One file, link or folder.
#[derive(Debug)]
pub struct Entry {
    /// Modification time in nanoseconds since 1970.
    pub modified: i64,
    /// What it is.
    pub kind: EntryKind,
}

/// What an entry is.
#[derive(Debug)]
pub enum EntryKind {
    /// A folder: names and positions in the collection, in the order of the names' bytes.
    Folder(BTreeMap<Vec<u8>, usize>),
    /// A symbolic link.
    Link(Vec<u8>),
    /// A regular file.
    File {
        /// May be executed.
        executable: bool,
        /// Where its contents are.
        content: Content,
    },
}

/// Where the contents of a file are.
#[derive(Clone, Debug)]
pub enum Content {
    /// In memory.
    Bytes(Arc<[u8]>),
    /// On the disk, to be read when the package is written.
    Path {
        /// The file.
        path: PathBuf,
        /// Its length when it was found.
        length: u64,
    },
}

impl Content {
    /// Number of bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Path { length, .. } => *length,
        }
    }
}

/// Why files could not be collected.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Something that was asked for is nowhere in the search path.
    #[error("cannot find {count} of the listed files below any source path: {names}", count = .0.len(), names = some_of(.0))]
    Missing(Vec<PackagePath>),
    /// The list of files has a line that is not a path.
    #[error("line {line} of \"{file}\" is \"{text}\", which {problem}", file = .file.display())]
    BadLine {
        /// The list.
        file: PathBuf,
        /// Line number, from 1.
        line: usize,
        /// The line, made printable.
        text: String,
        /// What is wrong with it.
        problem: PathError,
    },
    /// A path is wanted both as a folder and as something else.
    #[error(
        "\"{path}\" is wanted in the package although one of its folders is a link or a file there; list what it leads to"
    )]
    Conflict {
        /// The path that cannot be reached.
        path: PackagePath,
    },
    /// Something of the source cannot be read.
    #[error("cannot read \"{path}\"", path = .path.display())]
    Read {
        /// The source.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// No package can hold this.
    #[error("the package would hold {what}, which exceeds the limit of {limit}")]
    TooLarge {
        /// What is too much.
        what: String,
        /// The limit with its unit.
        limit: String,
    },
}

fn some_of(paths: &[PackagePath]) -> String {
    const SHOWN: usize = 10;
    let mut names: Vec<String> = paths
        .iter()
        .take(SHOWN)
        .map(|path| format!("\"{path}\""))
        .collect();
    if paths.len() > SHOWN {
        names.push("…".to_owned());
    }
    names.join(", ")
}

impl Collection {
    /// Position of the root folder.
    pub const ROOT: usize = 0;

    /// Begins with an empty root folder.
    #[must_use]
    pub fn new(modified: i64) -> Self {
        Self {
            entries: vec![Entry {
                modified,
                kind: EntryKind::Folder(BTreeMap::new()),
            }],
            warnings: Vec::new(),
        }
    }

    /// Number of entries, the root included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Tells whether there is nothing but the root.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 1
    }

    /// Returns the entry at a position. Positions come from the collection itself.
    #[must_use]
    pub fn entry(&self, position: usize) -> &Entry {
        &self.entries[position]
    }

    /// Returns the names in a folder; nothing if it is not one.
    fn names(&self, position: usize) -> Option<&BTreeMap<Vec<u8>, usize>> {
        match &self.entries[position].kind {
            EntryKind::Folder(names) => Some(names),
            EntryKind::Link(_) | EntryKind::File { .. } => None,
        }
    }

    /// Adds an entry to a folder that has none of that name.
    fn insert(&mut self, folder: usize, name: &[u8], entry: Entry) -> usize {
        let position = self.entries.len();
        self.entries.push(entry);
        match &mut self.entries[folder].kind {
            EntryKind::Folder(names) => names.insert(name.to_owned(), position),
            EntryKind::Link(_) | EntryKind::File { .. } => unreachable!("only folders are inserted into"),
        };
        position
    }
}

impl Tree for Collection {
    type Folder = usize;
    type Content = Content;

    fn root(&self) -> usize {
        Self::ROOT
    }

    fn find(&self, folder: usize, name: &[u8]) -> Result<Option<Node<usize, Content>>, SpkError> {
        let Some(position) = self.names(folder).and_then(|names| names.get(name)) else {
            return Ok(None);
        };
        Ok(Some(match &self.entry(*position).kind {
            EntryKind::Folder(_) => Node::Folder(*position),
            EntryKind::Link(target) => Node::Link(target.clone()),
            EntryKind::File { executable, content } => Node::File {
                executable: *executable,
                content: content.clone(),
            },
        }))
    }
}

#[cfg(test)]
mod tests;
