//! Resolves paths in a package to files on the author's disk.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::{PackagePath, SourceError};

/// Says that what is at `from` on the disk appears at `at` in the package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// Where it appears.
    pub at: PackagePath,
    /// Where it is.
    pub from: PathBuf,
    /// What is left out, with everything below; relative to `from`.
    pub hide: Vec<PackagePath>,
}

/// What a path in the package stands for on the disk.
pub(super) enum Resolved {
    /// A file, folder or link.
    Real { path: PathBuf, metadata: Metadata },
    /// Nothing, but some mapping begins below it.
    Virtual,
}

/// Resolves a path. The first mapping that has something there decides what it is.
pub(super) fn resolve(mappings: &[Mapping], path: &PackagePath) -> Result<Option<Resolved>, SourceError> {
    for mapping in mappings {
        let Some(candidate) = mapping.candidate(path) else {
            continue;
        };
        if let Some(metadata) = mapping.look(&candidate, path)? {
            return Ok(Some(Resolved::Real {
                path: candidate,
                metadata,
            }));
        }
    }
    let leads_deeper = mappings
        .iter()
        .any(|mapping| mapping.at.0.len() > path.0.len() && mapping.at.0.starts_with(&path.0));
    Ok(leads_deeper.then_some(Resolved::Virtual))
}

/// Lists what the folder `path` holds in all mappings together. Whether a name is hidden shows when it is resolved.
pub(super) fn children(mappings: &[Mapping], path: &PackagePath) -> Result<BTreeSet<Vec<u8>>, SourceError> {
    let mut names = BTreeSet::new();
    for mapping in mappings {
        if let Some(name) = mapping
            .at
            .0
            .get(path.0.len())
            .filter(|_| mapping.at.0.starts_with(&path.0))
        {
            names.insert(name.clone());
        }
        let Some(candidate) = mapping.candidate(path) else {
            continue;
        };
        if !mapping
            .look(&candidate, path)?
            .is_some_and(|metadata| metadata.is_dir())
        {
            continue;
        }
        let unreadable = |source| SourceError::Read {
            path: candidate.clone(),
            source,
        };
        for entry in fs::read_dir(&candidate).map_err(unreadable)? {
            names.insert(entry.map_err(unreadable)?.file_name().into_vec());
        }
    }
    Ok(names)
}

impl Mapping {
    /// Returns where `path` would be in this mapping, unless it is hidden or elsewhere.
    fn candidate(&self, path: &PackagePath) -> Option<PathBuf> {
        let rest = path.0.strip_prefix(&self.at.0[..])?;
        // Hiding the empty path would hide the mapping itself, which is what a definition says then.
        if self.hide.iter().any(|hidden| rest.starts_with(&hidden.0)) {
            return None;
        }
        let mut candidate = self.from.clone();
        candidate.extend(rest.iter().map(|name| OsStr::from_bytes(name)));
        Some(candidate)
    }

    fn look(&self, candidate: &Path, path: &PackagePath) -> Result<Option<Metadata>, SourceError> {
        // The mapping's own path may be a link to the files; links below it are packed as links.
        let looked = if self.at == *path {
            fs::metadata(candidate)
        } else {
            fs::symlink_metadata(candidate)
        };
        match looked {
            Ok(metadata) => Ok(Some(metadata)),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                Ok(None)
            }
            Err(source) => Err(SourceError::Read {
                path: candidate.to_owned(),
                source,
            }),
        }
    }
}
