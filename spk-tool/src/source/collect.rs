//! Puts together the tree of a package from what its definition wants.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::mapping::{Mapping, Resolved, children, resolve};
use super::{Collection, Content, Entry, EntryKind, PackagePath, SourceError};
use crate::error::printable;
use crate::limits::Limits;
use crate::tree::{Found, resolve as resolve_in_package};
use crate::{bridge_config, manifest};

/// What a package is to hold.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Where files come from, in order of precedence.
    pub search_path: Vec<Mapping>,
    /// A text file that lists paths, one in a line. Folders in it are not followed.
    pub file_list: Option<PathBuf>,
    /// Paths, folders with all they hold.
    pub always_include: Vec<PackagePath>,
    /// Becomes `sandstorm-manifest`.
    pub manifest: Vec<u8>,
    /// Becomes `sandstorm-http-bridge-config`.
    pub bridge_config: Option<Vec<u8>>,
    /// The program that becomes `sandstorm-http-bridge`.
    pub bridge: Option<PathBuf>,
    /// The package that is being written: an older one in its place is not packed.
    pub output: Option<PathBuf>,
    /// Modification time of what is made rather than found, in nanoseconds since 1970.
    pub modified: i64,
}

const BRIDGE: &str = "sandstorm-http-bridge";

/// Collects everything that is wanted.
///
/// Whatever a server needs is there even if no list names it: manifest, bridge, and the empty `dev`, `tmp`, `var` and
/// `proc/cpuinfo` whose presence makes the sandbox mount the real ones.
///
/// # Errors
/// Reports what is missing, unreadable, contradictory or too much.
pub fn collect(wanted: &Wanted, limits: &Limits) -> Result<Collection, SourceError> {
    let output = wanted
        .output
        .as_ref()
        .and_then(|output| fs::metadata(output).ok());
    let mut collecting = Collecting {
        output: output.map(|metadata| (metadata.dev(), metadata.ino())),
        wanted,
        limits,
        collection: Collection::new(wanted.modified),
        missing: Vec::new(),
        behind_links: Vec::new(),
    };
    collecting.add_made_files()?;
    for path in &wanted.always_include {
        collecting.add_all(path)?;
    }
    if let Some(list) = &wanted.file_list {
        let mut paths = read_list(list)?;
        // Links before what is listed behind them.
        paths.sort();
        for path in &paths {
            collecting.add(path)?;
        }
    }
    collecting.finish()
}

struct Collecting<'a> {
    wanted: &'a Wanted,
    limits: &'a Limits,
    /// Device and inode of the package that is being replaced.
    output: Option<(u64, u64)>,
    collection: Collection,
    missing: Vec<PackagePath>,
    /// Paths wanted below a link; they have to be found behind it in the end.
    behind_links: Vec<PackagePath>,
}

impl Collecting<'_> {
    fn add_made_files(&mut self) -> Result<(), SourceError> {
        for folder in ["dev", "tmp", "var"] {
            self.make(Collection::ROOT, folder, EntryKind::Folder(BTreeMap::new()));
        }
        let proc = self.make(Collection::ROOT, "proc", EntryKind::Folder(BTreeMap::new()));
        self.make(proc, "cpuinfo", file(Vec::new()));
        self.make(
            Collection::ROOT,
            manifest::FILE_NAME,
            file(self.wanted.manifest.clone()),
        );
        if let Some(config) = &self.wanted.bridge_config {
            self.make(Collection::ROOT, bridge_config::FILE_NAME, file(config.clone()));
        }
        if let Some(bridge) = &self.wanted.bridge {
            let metadata = fs::metadata(bridge).map_err(|source| unreadable(bridge, source))?;
            let length = self.check_length(&metadata, bridge)?;
            let content = Content::Path {
                path: bridge.clone(),
                length,
            };
            self.make(
                Collection::ROOT,
                BRIDGE,
                EntryKind::File {
                    executable: true,
                    content,
                },
            );
        }
        Ok(())
    }

    fn make(&mut self, folder: usize, name: &str, kind: EntryKind) -> usize {
        let modified = self.wanted.modified;
        self.collection
            .insert(folder, name.as_bytes(), Entry { modified, kind })
    }

    /// Tells whether a path was made already, or stands for a place that only exists in a running grain.
    fn is_made(path: &PackagePath) -> bool {
        let names: Vec<&[u8]> = path.0.iter().map(Vec::as_slice).collect();
        match names[..] {
            [b"dev" | b"tmp" | b"var", ..] | [b"proc", b"cpuinfo"] => true,
            [name] => [manifest::FILE_NAME, bridge_config::FILE_NAME, BRIDGE]
                .iter()
                .any(|made| made.as_bytes() == name),
            _ => false,
        }
    }

    /// Adds a path and, if it is a folder, everything below it.
    fn add_all(&mut self, path: &PackagePath) -> Result<(), SourceError> {
        let mut left = vec![path.clone()];
        while let Some(path) = left.pop() {
            if !self.add(&path)? {
                continue;
            }
            for name in children(&self.wanted.search_path, &path)? {
                let child = path.child(&name);
                // Names come from all mappings, also from those that hide them.
                if Self::is_made(&child) || resolve(&self.wanted.search_path, &child)?.is_none() {
                    continue;
                }
                left.push(child);
            }
        }
        Ok(())
    }

    /// Adds one path and the folders it is in. Returns whether it is a folder.
    fn add(&mut self, path: &PackagePath) -> Result<bool, SourceError> {
        if Self::is_made(path) {
            return Ok(false);
        }
        let Some(resolved) = resolve(&self.wanted.search_path, path)? else {
            self.missing.push(path.clone());
            return Ok(false);
        };
        if let Resolved::Real { metadata, .. } = &resolved
            && self.output == Some((metadata.dev(), metadata.ino()))
        {
            return Ok(false);
        }
        let Some((name, parents)) = path.0.split_last() else {
            return Ok(true);
        };
        let Some(folder) = self.add_parents(path, parents)? else {
            return Ok(false);
        };
        let entry = self.entry(resolved)?;
        let is_folder = matches!(entry.kind, EntryKind::Folder(_));
        let there = self
            .collection
            .names(folder)
            .and_then(|names| names.get(name))
            .copied();
        match there {
            None => {
                self.insert(folder, name, entry)?;
            }
            Some(there) if is_folder != self.collection.names(there).is_some() => {
                return Err(SourceError::Conflict { path: path.clone() });
            }
            // Made on the way to something else, or `proc`: it is this folder after all.
            Some(there) if is_folder => self.collection.entries[there].modified = entry.modified,
            Some(_) => {}
        }
        Ok(is_folder)
    }

    /// Returns the folder that `path` goes into, or nothing if a link leads there.
    fn add_parents(&mut self, path: &PackagePath, parents: &[Vec<u8>]) -> Result<Option<usize>, SourceError> {
        let mut folder = Collection::ROOT;
        for (depth, name) in parents.iter().enumerate() {
            let there = self
                .collection
                .names(folder)
                .and_then(|names| names.get(name))
                .copied();
            let position = match there {
                Some(position) => position,
                None => {
                    let parent = PackagePath(parents[..=depth].to_vec());
                    let modified = match resolve(&self.wanted.search_path, &parent)? {
                        Some(Resolved::Real { metadata, .. }) if metadata.is_dir() => nanoseconds(&metadata),
                        _ => self.wanted.modified,
                    };
                    self.insert(
                        folder,
                        name,
                        Entry {
                            modified,
                            kind: EntryKind::Folder(BTreeMap::new()),
                        },
                    )?
                }
            };
            match self.collection.entry(position).kind {
                EntryKind::Folder(_) => folder = position,
                EntryKind::Link(_) => {
                    self.behind_links.push(path.clone());
                    return Ok(None);
                }
                EntryKind::File { .. } => return Err(SourceError::Conflict { path: path.clone() }),
            }
        }
        Ok(Some(folder))
    }

    fn insert(&mut self, folder: usize, name: &[u8], entry: Entry) -> Result<usize, SourceError> {
        if self.collection.len() as u64 > self.limits.entries {
            return Err(SourceError::TooLarge {
                what: "too many files".to_owned(),
                limit: format!("{} files", self.limits.entries),
            });
        }
        Ok(self.collection.insert(folder, name, entry))
    }

    fn entry(&mut self, resolved: Resolved) -> Result<Entry, SourceError> {
        let Resolved::Real { path, metadata } = resolved else {
            return Ok(Entry {
                modified: self.wanted.modified,
                kind: EntryKind::Folder(BTreeMap::new()),
            });
        };
        let modified = nanoseconds(&metadata);
        let kind = metadata.file_type();
        let kind = if kind.is_dir() {
            EntryKind::Folder(BTreeMap::new())
        } else if kind.is_symlink() {
            let target = fs::read_link(&path).map_err(|source| unreadable(&path, source))?;
            EntryKind::Link(target.into_os_string().into_vec())
        } else if kind.is_file() {
            let length = self.check_length(&metadata, &path)?;
            let executable = metadata.permissions().mode() & 0o100 != 0;
            EntryKind::File {
                executable,
                content: Content::Path { path, length },
            }
        } else {
            let what = if kind.is_socket() || kind.is_fifo() {
                "a socket or pipe"
            } else {
                "a device"
            };
            let shown = path.display();
            self.collection.warnings.push(format!(
                "\"{shown}\" is {what}: an empty file takes its place in the package"
            ));
            file(Vec::new())
        };
        Ok(Entry { modified, kind })
    }

    fn check_length(&self, metadata: &Metadata, path: &Path) -> Result<u64, SourceError> {
        if metadata.len() <= self.limits.file {
            return Ok(metadata.len());
        }
        Err(SourceError::TooLarge {
            what: format!("\"{}\" with {} bytes", path.display(), metadata.len()),
            limit: format!("{} bytes for one file", self.limits.file),
        })
    }

    fn finish(self) -> Result<Collection, SourceError> {
        if !self.missing.is_empty() {
            return Err(SourceError::Missing(self.missing));
        }
        for path in self.behind_links {
            // Looking up names in memory does not fail.
            let found = resolve_in_package(&self.collection, &path.0.join(&b'/'));
            if matches!(found, Ok(Found::Nothing) | Err(_)) {
                return Err(SourceError::Conflict { path });
            }
        }
        Ok(self.collection)
    }
}

fn read_list(file: &Path) -> Result<Vec<PackagePath>, SourceError> {
    let text = fs::read(file).map_err(|source| unreadable(file, source))?;
    let mut paths = Vec::new();
    for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        if line.is_empty() || line[0] == b'#' {
            continue;
        }
        let path = PackagePath::from_bytes(line).map_err(|problem| SourceError::BadLine {
            file: file.to_owned(),
            line: index + 1,
            text: printable(line),
            problem,
        })?;
        paths.push(path);
    }
    Ok(paths)
}

fn file(bytes: Vec<u8>) -> EntryKind {
    EntryKind::File {
        executable: false,
        content: Content::Bytes(Arc::from(bytes)),
    }
}

fn nanoseconds(metadata: &Metadata) -> i64 {
    metadata
        .mtime()
        .saturating_mul(1_000_000_000)
        .saturating_add(metadata.mtime_nsec())
}

fn unreadable(path: &Path, source: std::io::Error) -> SourceError {
    SourceError::Read {
        path: path.to_owned(),
        source,
    }
}
