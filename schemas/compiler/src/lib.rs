//! Compiles Cap'n Proto schemas without a system compiler.
//!
//! The official compiler runs in-process as WebAssembly. Two things use it: `cargo xtask schemas`,
//! which regenerates `schemas/src/generated`, and `spk pack`, which evaluates
//! `sandstorm-pkgdef.capnp`. Neither is on the path of a running server.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

/// Why schemas could not be compiled.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The compiler refused a schema; it has printed the reason, with file and line, on standard error.
    #[error("{0}")]
    Schema(String),
    /// Rust could not be generated from a compiled schema.
    #[error("cannot generate Rust from the compiled schemas")]
    Generate(#[source] capnp::Error),
}

/// Where schemas are found.
#[derive(Debug, Default)]
pub struct Sources {
    /// The schemas to compile.
    pub files: Vec<PathBuf>,
    /// Folders searched for absolute imports.
    pub import_paths: Vec<PathBuf>,
    /// Folders whose names are cut from the names of compiled files.
    pub prefixes: Vec<PathBuf>,
    /// Leaves out the standard `/capnp/*.capnp`, which are otherwise built in.
    pub own_standard_schemas: bool,
}

/// Compiles `sources` and returns the serialized `CodeGeneratorRequest` (`/capnp/schema.capnp`).
pub fn compile(sources: &Sources) -> Result<Vec<u8>, Error> {
    let mut command = capnpc_embedded::CompileCommand::new();
    for file in &sources.files {
        command.file(file);
    }
    for path in &sources.import_paths {
        command.import_path(path);
    }
    for prefix in &sources.prefixes {
        command.src_prefix(prefix);
    }
    if sources.own_standard_schemas {
        command.no_standard_import();
    }
    command
        .compile()
        .map_err(|error| Error::Schema(error.to_string()))
}

/// Generates one Rust file per schema of `request` into `output`, named `<schema>_capnp.rs`.
pub fn generate_rust(request: &[u8], output: &Path) -> Result<(), Error> {
    capnpc::codegen::CodeGenerationCommand::new()
        .output_directory(output)
        .run(request)
        .map_err(Error::Generate)
}
