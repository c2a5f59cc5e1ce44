//! Fetches, stages and packs the sample apps: software that none of us wrote, unmodified, pinned by version and hash.
//!
//! A sample is a folder `tests/samples/NAME`:
//! - `sample.json`: what it is made of ([`definition`]);
//! - `lock.json`: version and SHA-256 of every file fetched for it ([`lock`]);
//! - `files/`: what we add, laid over the rest: a start script and configuration;
//! - `sandstorm-pkgdef.capnp`, `icon.svg`: how it becomes a package.

mod definition;
mod fetch;
mod lock;
mod pack;
mod stage;

use std::fs;

use crate::build;
use crate::failure::{Attempt, Failure};
use crate::workspace::Workspace;

pub use definition::Sample;

/// `cargo xtask samples`: packs the samples named, or all of them; fails if one of them could not be packed.
pub fn run(workspace: &Workspace, arguments: &[String]) -> Result<(), Failure> {
    let (flags, names): (Vec<&str>, Vec<&str>) = arguments
        .iter()
        .map(String::as_str)
        .partition(|argument| argument.starts_with("--"));
    let samples = chosen(workspace, &names)?;
    match flags.as_slice() {
        [] => {}
        ["--relock"] => {
            return samples
                .iter()
                .try_for_each(|sample| lock::relock(workspace, sample));
        }
        ["--stage"] => {
            if samples.iter().any(|sample| !sample.binaries.is_empty()) {
                build::grain_programs()?;
            }
            return samples.iter().try_for_each(|sample| stage_one(workspace, sample));
        }
        other => {
            return Err(Failure::new(format!(
                "`samples` does not know `{}`; see `cargo xtask help`",
                other.join(" ")
            )));
        }
    }
    build::packing_tools()?;
    let failures = pack_all(workspace, &samples);
    if failures.is_empty() {
        return Ok(());
    }
    Err(Failure::new(failures.join("\nerror: ")))
}

fn stage_one(workspace: &Workspace, sample: &Sample) -> Result<(), Failure> {
    let notes = pack::stage(workspace, sample)?;
    println!(
        "sample {}: staged in {}",
        sample.name,
        sample.work(workspace).join("root").display()
    );
    notes.iter().for_each(|note| println!("  note: {note}"));
    Ok(())
}

/// Packs `samples` and says so for each; returns one sentence for each that could not be.
pub fn pack_all(workspace: &Workspace, samples: &[Sample]) -> Vec<String> {
    let mut failures = Vec::new();
    for sample in samples {
        match pack::pack(workspace, sample) {
            Ok(packed) => println!("sample {}: {packed}", sample.name),
            Err(failure) => failures.push(format!("sample {}: {failure}", sample.name)),
        }
    }
    failures
}

/// The samples named, or all there are, in name order.
pub fn chosen(workspace: &Workspace, names: &[&str]) -> Result<Vec<Sample>, Failure> {
    let folder = workspace.path("tests/samples");
    let entries = fs::read_dir(&folder).attempt(|| format!("cannot list {}", folder.display()))?;
    let mut known: Vec<String> = entries
        .flatten()
        .filter(|entry| entry.path().join("sample.json").is_file())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    known.sort();
    if let Some(unknown) = names.iter().find(|name| !known.iter().any(|own| own == *name)) {
        return Err(Failure::new(format!(
            "there is no sample `{unknown}`; there are: {}",
            known.join(", ")
        )));
    }
    known.retain(|name| names.is_empty() || names.contains(&name.as_str()));
    known.iter().map(|name| Sample::read(workspace, name)).collect()
}
