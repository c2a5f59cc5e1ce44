//! The versions and hashes of everything fetched for a sample.

use std::fs;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Sample;
use super::fetch;
use crate::failure::{Attempt, Failure};
use crate::workspace::Workspace;

/// Where an artifact comes from: which client fetches it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// The distribution's archive, by apt.
    Debian,
    /// The Python package index, by pip.
    Python,
    /// The npm registry, by npm.
    Npm,
}

/// One pinned file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Artifact {
    /// Which client fetches it.
    pub origin: Origin,
    /// The package's name.
    pub name: String,
    /// The package's exact version.
    pub version: String,
    /// The file's name in the cache.
    pub file: String,
    /// SHA-256 of the file, in hex.
    pub sha256: String,
}

/// A sample's `lock.json`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    /// In the order of `sample.json`.
    pub artifacts: Vec<Artifact>,
}

impl Lock {
    /// Reads the lock of `sample`.
    pub fn read(sample: &Sample) -> Result<Self, Failure> {
        let path = path(sample);
        let text = fs::read_to_string(&path).attempt(|| {
            format!(
                "cannot read {} (`cargo xtask samples --relock {}` makes it)",
                path.display(),
                sample.name
            )
        })?;
        serde_json::from_str(&text).attempt(|| format!("cannot make sense of {}", path.display()))
    }

    /// The locked artifact of one package that the definition names.
    pub fn artifact(&self, origin: Origin, name: &str) -> Result<&Artifact, Failure> {
        self.artifacts
            .iter()
            .find(|artifact| artifact.origin == origin && artifact.name == name)
            .ok_or_else(|| {
                Failure::new(format!(
                    "{name} is not in the lock file; add it with `cargo xtask samples --relock`"
                ))
            })
    }
}

/// Fetches what `sample.json` names, in the versions on offer, and writes the lock anew.
pub fn relock(workspace: &Workspace, sample: &Sample) -> Result<(), Failure> {
    let lock = Lock {
        artifacts: fetch::resolve(workspace, sample)?,
    };
    let path = path(sample);
    let text = serde_json::to_string_pretty(&lock).expect("a lock has no values JSON cannot hold");
    fs::write(&path, text + "\n").attempt(|| format!("cannot write {}", path.display()))?;
    println!("sample {}: locked {} files", sample.name, lock.artifacts.len());
    Ok(())
}

fn path(sample: &Sample) -> PathBuf {
    sample.folder.join("lock.json")
}
