//! Finds what `cargo xtask` has built.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

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

/// The server whose roles can be told to act as if an attacker owned them. No release build can, so this one is built
/// for it here.
pub fn hostile() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT
        .get_or_init(|| {
            let arguments = ["build", "--quiet", "--locked", "--package", "percloud"];
            let status = Command::new(env!("CARGO"))
                .args(arguments)
                .args(["--features", "hostile"])
                .current_dir(env!("CARGO_MANIFEST_DIR"))
                .status();
            assert!(status.is_ok_and(|status| status.success()));
            // By another name: whoever builds the package again replaces the first.
            let kept = target("hostile/percloud");
            std::fs::create_dir_all(target("hostile")).expect("the target folder can be written");
            std::fs::copy(target("debug/percloud"), &kept).expect("it was built");
            kept
        })
        .clone()
}

fn existing(path: PathBuf) -> PathBuf {
    assert!(
        path.is_file(),
        "{} is missing; `cargo xtask test system` builds it",
        path.display()
    );
    path
}
