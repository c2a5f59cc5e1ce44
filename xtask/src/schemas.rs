//! Regenerates the committed Rust of `schemas/`, and checks that it is what the schemas say.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::Path;

use crate::command::{cargo, run};
use crate::failure::{Attempt, Failure};
use crate::workspace::Workspace;

/// `cargo xtask schemas`: writes `schemas/src/generated`.
pub fn regenerate(workspace: &Workspace) -> Result<(), Failure> {
    generate_into(workspace, &workspace.path("schemas/src/generated"))
}

/// Returns the names of generated files that differ from what the schemas say now; empty is good.
pub fn differences(workspace: &Workspace) -> Result<Vec<String>, Failure> {
    let fresh = workspace.target("schemas-check");
    if fresh.exists() {
        fs::remove_dir_all(&fresh).attempt(|| format!("cannot remove {}", fresh.display()))?;
    }
    generate_into(workspace, &fresh)?;
    let (fresh, committed) = (
        contents(&fresh)?,
        contents(&workspace.path("schemas/src/generated"))?,
    );
    let names = fresh
        .keys()
        .chain(committed.keys())
        .collect::<std::collections::BTreeSet<_>>();
    let differing = names
        .into_iter()
        .filter(|name| fresh.get(*name) != committed.get(*name));
    Ok(differing
        .map(|name| name.to_string_lossy().into_owned())
        .collect())
}

fn generate_into(workspace: &Workspace, folder: &Path) -> Result<(), Failure> {
    let mut command = cargo();
    command.args([
        "run",
        "--quiet",
        "--locked",
        "--package",
        "percloud-schema-compiler",
        "--",
    ]);
    run(command.arg(workspace.path("schemas")).arg(folder))
}

fn contents(folder: &Path) -> Result<BTreeMap<OsString, Vec<u8>>, Failure> {
    let entries = fs::read_dir(folder).attempt(|| format!("cannot list {}", folder.display()))?;
    let mut contents = BTreeMap::new();
    for entry in entries.flatten() {
        if entry
            .path()
            .extension()
            .is_some_and(|extension| extension == "rs")
        {
            let bytes =
                fs::read(entry.path()).attempt(|| format!("cannot read {}", entry.path().display()))?;
            contents.insert(entry.file_name(), bytes);
        }
    }
    Ok(contents)
}
