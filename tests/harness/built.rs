//! Finds what `cargo xtask` has built.

use std::path::{Path, PathBuf};

/// The target triple of programs that run inside grains.
const GRAIN_TARGET: &str = "x86_64-unknown-linux-gnu";

/// A path below cargo's target folder.
pub fn target(relative: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the crate lies in a folder of the repository");
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| root.join("target"), PathBuf::from)
        .join(relative)
}

/// A program of the release build.
pub fn program(name: &str) -> PathBuf {
    existing(target("release").join(name))
}

/// A statically linked program that runs inside a grain.
pub fn grain_program(name: &str) -> PathBuf {
    existing(target(GRAIN_TARGET).join("release").join(name))
}

/// The package of a sample app.
pub fn sample(name: &str) -> PathBuf {
    existing(target("samples").join(format!("{name}.spk")))
}

fn existing(path: PathBuf) -> PathBuf {
    assert!(
        path.is_file(),
        "{} is missing; `cargo xtask test system` builds it",
        path.display()
    );
    path
}
