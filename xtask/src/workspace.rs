//! Knows where things are in the repository and under `target/`.

use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// The target triple of grain binaries. They are linked statically, so that a package needs no C library.
pub const GRAIN_TARGET: &str = "x86_64-unknown-linux-gnu";

/// The repository on disk.
#[derive(Debug, Clone)]
pub struct Workspace {
    root: PathBuf,
}

impl Workspace {
    /// Finds the repository this program was built from.
    pub fn find() -> Result<Self, Failure> {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = manifest.parent().filter(|root| root.join("Cargo.toml").is_file());
        let root = root.ok_or_else(|| Failure::new(format!("no workspace above {}", manifest.display())))?;
        Ok(Workspace {
            root: root.to_path_buf(),
        })
    }

    /// The repository's top folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A path inside the repository.
    pub fn path(&self, relative: &str) -> PathBuf {
        self.root.join(relative)
    }

    /// A path inside cargo's target folder (`CARGO_TARGET_DIR` is honoured).
    pub fn target(&self, relative: &str) -> PathBuf {
        let target =
            std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| self.root.join("target"), PathBuf::from);
        target.join(relative)
    }

    /// An executable of the release build.
    pub fn release(&self, name: &str) -> PathBuf {
        self.target("release").join(name)
    }

    /// A statically linked executable meant to run inside a grain.
    pub fn grain_binary(&self, name: &str) -> PathBuf {
        self.target(GRAIN_TARGET).join("release").join(name)
    }
}
