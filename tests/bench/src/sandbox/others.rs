//! The other sides, each with the same program on as empty a root.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::failure::{Attempt, Failure};
use crate::process::find;

/// Makes the command of one start.
pub type Starter = Box<dyn FnMut() -> Command>;

/// No sandbox at all: the floor.
pub fn fork_exec(payload: &Path) -> Starter {
    let payload = payload.to_owned();
    let uid = rustix::process::geteuid().as_raw();
    Box::new(move || {
        let mut command = Command::new(&payload);
        // Asked to set an id, the standard library forks instead of calling posix_spawn, which would be something else.
        command.uid(uid);
        command
    })
}

/// bubblewrap with every namespace it has, and the places our sandbox has.
pub fn bwrap(folder: &Path, payload: &Path) -> Result<Option<Starter>, Failure> {
    let Some(program) = find("bwrap") else {
        return Ok(None);
    };
    let root = super::root(folder, "bwrap", payload)?;
    Ok(Some(Box::new(move || {
        let mut command = Command::new(&program);
        command
            .arg("--unshare-all")
            .args(["--die-with-parent", "--ro-bind"])
            .arg(&root)
            .arg("/");
        command.arg("--bind").arg(root.join("var")).arg("/var");
        command.args(["--dev", "/dev", "--tmpfs", "/tmp", "/first-byte"]);
        command
    })))
}

/// runc with the configuration that `runc spec` writes.
pub fn runc(folder: &Path, payload: &Path) -> Result<Option<Starter>, Failure> {
    let Some(program) = find("runc") else {
        return Ok(None);
    };
    let bundle = folder.join("runc");
    let root = super::root(&bundle, "rootfs", payload)?;
    let mut spec = Command::new(&program);
    spec.arg("spec").arg("--bundle").arg(&bundle);
    if !rustix::process::geteuid().is_root() {
        spec.arg("--rootless");
    }
    let output = spec.output().attempt(|| "run runc spec".to_owned())?;
    if !output.status.success() {
        return Err(Failure::new(format!(
            "runc spec: {}",
            String::from_utf8_lossy(&output.stderr)
        )));
    }
    let path = bundle.join("config.json");
    let text = fs::read(&path).attempt(|| format!("read {}", path.display()))?;
    let mut configuration: Value = serde_json::from_slice(&text)
        .map_err(|error| Failure::new(format!("runc spec wrote something unreadable: {error}")))?;
    configuration["process"]["terminal"] = json!(false);
    configuration["process"]["args"] = json!(["/first-byte"]);
    configuration["root"] = json!({"path": root, "readonly": true});
    fs::write(&path, configuration.to_string()).attempt(|| format!("write {}", path.display()))?;
    let state = folder.join("runc-state");
    let mut count = 0_u32;
    Ok(Some(Box::new(move || {
        count += 1;
        let mut command = Command::new(&program);
        command
            .arg("--root")
            .arg(&state)
            .args(["run", "--bundle"])
            .arg(&bundle);
        command.arg(format!("percloud-bench-{}-{count}", std::process::id()));
        command
    })))
}
