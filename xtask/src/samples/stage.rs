//! Lays a sample's files out as they will be inside the package.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use super::Sample;
use super::fetch::{self, Fetched};
use crate::command;
use crate::failure::{Attempt, Failure};
use crate::workspace::Workspace;

/// Builds `root` anew from the fetched files, our own binaries and the sample's `files/`.
pub fn stage(workspace: &Workspace, sample: &Sample, files: &[Fetched], root: &Path) -> Result<(), Failure> {
    if root.exists() {
        fs::remove_dir_all(root).attempt(|| format!("cannot remove {}", root.display()))?;
    }
    make_folder(root)?;
    for (artifact, path) in files {
        fetch::unpack(sample, artifact, path, root)?;
    }
    if sample.python.is_some() {
        fetch::compile_python(root)?;
    }
    for (binary, place) in &sample.binaries {
        let (from, to) = (workspace.grain_binary(binary), root.join(place));
        make_parent(&to)?;
        fs::copy(&from, &to).attempt(|| format!("cannot copy {}", from.display()))?;
        // Debugging information weighs ten times what the program does.
        if command::find("strip").is_some() {
            command::output(std::process::Command::new("strip").arg(&to))?;
        }
    }
    for path in &sample.remove {
        remove(&root.join(path))?;
    }
    for (folder, kept) in &sample.only {
        let folder = root.join(folder);
        let entries = fs::read_dir(&folder).attempt(|| format!("cannot list {}", folder.display()))?;
        for entry in entries.flatten() {
            if !kept.iter().any(|name| entry.file_name() == name.as_str()) {
                remove(&entry.path())?;
            }
        }
    }
    for (from, to) in &sample.moves {
        let to = root.join(to);
        make_parent(&to)?;
        fs::rename(root.join(from), &to).attempt(|| format!("cannot move {from}"))?;
    }
    for (place, target) in &sample.links {
        let place = root.join(place);
        make_parent(&place)?;
        symlink(target, &place).attempt(|| format!("cannot link {}", place.display()))?;
    }
    let own = sample.folder.join("files");
    if own.is_dir() {
        copy_over(&own, root)?;
    }
    // The platform mounts these; whatever packages ship there would be out of sight.
    for hidden in ["dev", "tmp", "var", "proc", "sys", "run"] {
        remove(&root.join(hidden))?;
    }
    Ok(())
}

fn copy_over(from: &Path, to: &Path) -> Result<(), Failure> {
    let entries = fs::read_dir(from).attempt(|| format!("cannot list {}", from.display()))?;
    for entry in entries {
        let entry = entry.attempt(|| format!("cannot list {}", from.display()))?;
        let (source, place) = (entry.path(), to.join(entry.file_name()));
        if source.is_dir() {
            make_folder(&place)?;
            copy_over(&source, &place)?;
            continue;
        }
        if place.symlink_metadata().is_ok() {
            fs::remove_file(&place).attempt(|| format!("cannot replace {}", place.display()))?;
        }
        fs::copy(&source, &place).attempt(|| format!("cannot copy {}", source.display()))?;
        let script = source
            .extension()
            .is_some_and(|extension| extension == "sh" || extension == "cgi");
        let mode = if script { 0o755 } else { 0o644 };
        fs::set_permissions(&place, fs::Permissions::from_mode(mode))
            .attempt(|| format!("cannot set the mode of {}", place.display()))?;
    }
    Ok(())
}

fn remove(path: &Path) -> Result<(), Failure> {
    let Ok(metadata) = path.symlink_metadata() else {
        return Ok(());
    };
    let removed = if metadata.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    };
    removed.attempt(|| format!("cannot remove {}", path.display()))
}

fn make_parent(path: &Path) -> Result<(), Failure> {
    path.parent().map_or(Ok(()), make_folder)
}

fn make_folder(path: &Path) -> Result<(), Failure> {
    fs::create_dir_all(path).attempt(|| format!("cannot make {}", path.display()))
}
