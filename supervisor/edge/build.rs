//! Makes sure there is a folder to embed: the built shell, or nothing yet.

use std::path::Path;

fn main() {
    let dist = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shell-ui/dist");
    // A tree that was never built in a browser tool chain still compiles; the edge then says how to build the shell.
    if let Err(error) = std::fs::create_dir_all(&dist) {
        println!("cargo::error=creating {}: {error}", dist.display());
    }
    println!("cargo::rerun-if-changed={}", dist.display());
}
