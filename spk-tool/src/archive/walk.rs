//! Visits every entry of an archive once, checking names, kinds, counts and depth on the way.

use std::collections::HashSet;

use super::message::{Folder, Kind};
use super::{Archive, Extent};
use crate::error::{SpkError, printable};

/// One step of a walk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Enters a folder of the current one.
    Enter {
        /// Its name, valid for a file system.
        name: Vec<u8>,
    },
    /// Leaves the current folder.
    Leave {
        /// Modification time of the folder that is left, in nanoseconds since 1970.
        modified: i64,
    },
    /// A regular file of the current folder.
    File {
        /// Its name, valid for a file system.
        name: Vec<u8>,
        /// Modification time in nanoseconds since 1970.
        modified: i64,
        /// May be executed.
        executable: bool,
        /// Where its contents are.
        content: Extent,
    },
    /// A symbolic link of the current folder.
    Link {
        /// Its name, valid for a file system.
        name: Vec<u8>,
        /// Modification time in nanoseconds since 1970.
        modified: i64,
        /// What it points to, verbatim. It means something only inside the sandbox.
        target: Vec<u8>,
    },
}

/// A walk in progress. See [`Archive::walk`].
#[derive(Debug)]
pub struct Walk<'a> {
    archive: &'a Archive,
    stack: Vec<Frame>,
    entries_left: u64,
    words_left: u64,
}

#[derive(Debug)]
struct Frame {
    name: Vec<u8>,
    modified: i64,
    folder: Folder,
    next: u64,
    names: HashSet<Vec<u8>>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(archive: &'a Archive) -> Self {
        let root = Frame {
            name: Vec::new(),
            modified: 0,
            folder: archive.root,
            next: 0,
            names: HashSet::new(),
        };
        let words = archive.message.borrow().words();
        Self {
            archive,
            stack: vec![root],
            entries_left: archive.limits.entries,
            words_left: words.saturating_sub(archive.root.cost()),
        }
    }

    /// Takes the next step; `None` after the last one. After an error the walk is over.
    pub fn step(&mut self) -> Result<Option<Step>, SpkError> {
        let stepped = self.try_step();
        if stepped.is_err() {
            self.stack.clear();
        }
        stepped
    }

    fn try_step(&mut self) -> Result<Option<Step>, SpkError> {
        let Some(frame) = self.stack.last_mut() else {
            return Ok(None);
        };
        if frame.next == frame.folder.count() {
            let left = self.stack.pop().expect("there is a last one");
            // Leaving the root is the end of the walk, not a step.
            return Ok((!self.stack.is_empty()).then_some(Step::Leave {
                modified: left.modified,
            }));
        }
        let (folder, index) = (frame.folder, frame.next);
        frame.next += 1;
        let limits = &self.archive.limits;
        let Some(left) = self.entries_left.checked_sub(1) else {
            return Err(SpkError::too_large(
                "number of files",
                format!("{} files", limits.entries),
            ));
        };
        self.entries_left = left;
        let mut message = self.archive.message.borrow_mut();
        let entry = message.entry(folder, index)?;
        let name = message.name(&entry, limits.name)?;
        let kind = message.kind(&entry, limits)?;
        drop(message);

        self.check_name(&name)?;
        self.pay(name.len() as u64 / 8 + 1)?;
        let modified = entry.modified;
        Ok(Some(match kind {
            Kind::File { executable, content } => {
                self.pay(content.length.div_ceil(8))?;
                Step::File {
                    name,
                    modified,
                    executable,
                    content,
                }
            }
            Kind::Link(target) => {
                self.pay(target.len() as u64 / 8 + 1)?;
                if target.is_empty() || target.contains(&0) {
                    let reason = "a symbolic link needs a target without NUL";
                    return Err(self.bad_name(&name, reason));
                }
                Step::Link {
                    name,
                    modified,
                    target,
                }
            }
            Kind::Folder(folder) => {
                self.pay(folder.cost())?;
                if self.stack.len() > limits.depth {
                    return Err(SpkError::too_large(
                        "deepest folder",
                        format!("{} folders", limits.depth),
                    ));
                }
                self.stack.push(Frame {
                    name: name.clone(),
                    modified,
                    folder,
                    next: 0,
                    names: HashSet::new(),
                });
                Step::Enter { name }
            }
            Kind::Unknown(tag) => {
                return Err(SpkError::UnknownEntry {
                    path: self.path_of(&name),
                    tag,
                });
            }
        }))
    }

    /// Refuses names that a file system cannot hold or that would leave the folder, and those seen before.
    fn check_name(&mut self, name: &[u8]) -> Result<(), SpkError> {
        let reason = match name {
            b"" => Some("it is empty"),
            b"." | b".." => Some("it stands for a folder"),
            _ if name.contains(&b'/') => Some("it holds a slash"),
            _ if name.contains(&0) => Some("it holds a NUL"),
            _ => None,
        };
        if let Some(reason) = reason {
            return Err(self.bad_name(name, reason));
        }
        let frame = self.stack.last_mut().expect("a name is in a folder");
        if frame.names.insert(name.to_owned()) {
            return Ok(());
        }
        Err(SpkError::DuplicateName {
            path: self.path_of(name),
        })
    }

    /// Charges words to the budget. A message whose parts do not overlap always has enough.
    fn pay(&mut self, words: u64) -> Result<(), SpkError> {
        self.words_left = self
            .words_left
            .checked_sub(words)
            .ok_or_else(|| SpkError::BadArchive {
                part: "archive",
                reason: "its parts overlap".to_owned(),
            })?;
        Ok(())
    }

    fn bad_name(&self, name: &[u8], reason: &'static str) -> SpkError {
        SpkError::BadName {
            folder: self.folder(),
            name: printable(name),
            reason,
        }
    }

    fn path_of(&self, name: &[u8]) -> String {
        let folder = self.folder();
        let separator = if folder.is_empty() { "" } else { "/" };
        format!("{folder}{separator}{}", printable(name))
    }

    fn folder(&self) -> String {
        let names: Vec<String> = self
            .stack
            .iter()
            .skip(1)
            .map(|frame| printable(&frame.name))
            .collect();
        names.join("/")
    }
}
