//! Turns a staged sample into `target/samples/NAME.spk` with our own `spk` and bridge.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Sample, fetch, stage};
use crate::command;
use crate::digest;
use crate::failure::{Attempt, Failure};
use crate::workspace::Workspace;

/// Packs `sample` unless nothing changed since it was last packed; returns what to tell the person.
pub fn pack(workspace: &Workspace, sample: &Sample) -> Result<String, Failure> {
    let package = workspace.target("samples").join(format!("{}.spk", sample.name));
    let work = sample.work(workspace);
    fs::create_dir_all(&work).attempt(|| format!("cannot make {}", work.display()))?;
    let stamp = work.join("stamp");
    let state = state(workspace, sample)?;
    if package.is_file() && fs::read_to_string(&stamp).is_ok_and(|packed| packed == state) {
        return Ok(format!("{} (unchanged)", shown(workspace, &package)));
    }
    let notes = stage(workspace, sample)?;
    for name in ["sandstorm-pkgdef.capnp", "icon.svg"] {
        let from = sample.folder.join(name);
        fs::copy(&from, work.join(name)).attempt(|| format!("cannot copy {}", from.display()))?;
    }
    let keyring = workspace.target("samples/keys").join(&sample.name);
    let id = app_id(workspace, &keyring)?;
    fs::write(work.join("app-id"), &id)
        .attempt(|| format!("cannot write {}", work.join("app-id").display()))?;

    let unfinished = work.join("unfinished.spk");
    let _ = fs::remove_file(&unfinished);
    let mut spk = Command::new(workspace.release("spk"));
    spk.current_dir(&work)
        .args(["pack", "-p", "sandstorm-pkgdef.capnp:pkgdef", "-k"])
        .arg(&keyring);
    spk.arg("--bridge")
        .arg(workspace.grain_binary("sandstorm-http-bridge"));
    // Packed often and sent nowhere: a tenth more bytes is worth a quarter of the time.
    spk.args(["--level", "1"]).arg(&unfinished);
    command::output(&mut spk)?;
    fs::rename(&unfinished, &package)
        .attempt(|| format!("cannot move the package to {}", package.display()))?;
    fs::write(&stamp, state).attempt(|| format!("cannot write {}", stamp.display()))?;

    let size = fs::metadata(&package)
        .map(|metadata| metadata.len())
        .unwrap_or_default();
    let mut told = format!("{} ({:.1} MB)", shown(workspace, &package), size as f64 / 1e6);
    for note in notes {
        told.push_str(&format!(
            "\n  note: {note}; `cargo xtask samples --relock {}` pins it",
            sample.name
        ));
    }
    Ok(told)
}

/// Fetches and stages `sample` into `target/samples/NAME/root`; returns a note on each file that is not the pinned one.
pub fn stage(workspace: &Workspace, sample: &Sample) -> Result<Vec<String>, Failure> {
    let (files, notes) = fetch::fetch(workspace, sample)?;
    stage::stage(workspace, sample, &files, &sample.work(workspace).join("root"))?;
    Ok(notes)
}

/// One digest of all that decides what the package will be.
fn state(workspace: &Workspace, sample: &Sample) -> Result<String, Failure> {
    let mut inputs = vec![
        sample.folder.clone(),
        workspace.release("spk"),
        workspace.grain_binary("sandstorm-http-bridge"),
    ];
    inputs.extend(
        sample
            .binaries
            .iter()
            .map(|(binary, _)| workspace.grain_binary(binary)),
    );
    digest::of_tree(&inputs, &[])
}

/// The app id of `sample` on this checkout: its key is made once and stays in `target/`, out of the repository.
fn app_id(workspace: &Workspace, keyring: &Path) -> Result<String, Failure> {
    if let Some(folder) = keyring.parent() {
        fs::create_dir_all(folder).attempt(|| format!("cannot make {}", folder.display()))?;
    }
    let verb = if keyring.is_file() { "listkeys" } else { "keygen" };
    let printed = command::output(
        Command::new(workspace.release("spk"))
            .arg(verb)
            .arg("-k")
            .arg(keyring),
    )?;
    let id = printed
        .lines()
        .map(str::trim)
        .rfind(|line| is_app_id(line))
        .map(str::to_owned);
    id.ok_or_else(|| Failure::new(format!("`spk {verb}` printed no app id: {printed}")))
}

fn is_app_id(text: &str) -> bool {
    text.len() == 52 && text.chars().all(|character| character.is_ascii_alphanumeric())
}

fn shown(workspace: &Workspace, path: &Path) -> String {
    let path: PathBuf = path
        .strip_prefix(workspace.root())
        .map_or_else(|_| path.to_path_buf(), Path::to_path_buf);
    path.display().to_string()
}
