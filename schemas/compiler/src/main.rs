//! Regenerates the committed Rust of `schemas/`: `percloud-schema-compiler SCHEMAS OUTPUT`.
#![forbid(unsafe_code)]

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use percloud_schema_compiler::{Sources, compile, generate_rust};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(schemas), Some(output)) = (arguments.next(), arguments.next()) else {
        return Err("usage: percloud-schema-compiler SCHEMAS OUTPUT".into());
    };
    let mut sources = Sources {
        import_paths: vec![schemas.clone()],
        own_standard_schemas: true,
        ..Sources::default()
    };
    sources.files.push(schemas.join("capnp/persistent.capnp"));
    sources.prefixes.push(schemas.join("capnp"));
    for folder in ["sandstorm", "percloud"] {
        let folder = schemas.join(folder);
        sources.files.extend(schema_files(&folder)?);
        sources.prefixes.push(folder);
    }
    fs::create_dir_all(&output)?;
    generate_rust(&compile(&sources)?, &output)?;
    Ok(())
}

fn schema_files(folder: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "capnp"));
    files.sort();
    Ok(files)
}
