//! The program that is started: writes one byte and ends. Compiled here, since it has to be static to run on an empty root.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::failure::{Attempt, Failure};

/// What it writes.
pub const BYTE: u8 = b'!';

const SOURCE: &str = "use std::io::Write;
fn main() {
    std::io::stdout().write_all(b\"!\").and_then(|()| std::io::stdout().flush()).expect(\"somebody reads\");
}
";

/// Compiles it into `folder`.
pub fn build(folder: &Path) -> Result<PathBuf, Failure> {
    let source = folder.join("first_byte.rs");
    let program = folder.join("first-byte");
    fs::write(&source, SOURCE).attempt(|| format!("write {}", source.display()))?;
    let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let mut rustc = Command::new(compiler);
    rustc.args([
        "--edition",
        "2024",
        "--target",
        "x86_64-unknown-linux-gnu",
        "-C",
        "target-feature=+crt-static",
    ]);
    rustc.args([
        "-C",
        "opt-level=3",
        "-C",
        "panic=abort",
        "-C",
        "strip=symbols",
        "-o",
    ]);
    let output = rustc
        .arg(&program)
        .arg(&source)
        .output()
        .attempt(|| "run rustc".to_owned())?;
    match output.status.success() {
        true => Ok(program),
        false => Err(Failure::new(format!(
            "rustc: {}",
            String::from_utf8_lossy(&output.stderr)
        ))),
    }
}
