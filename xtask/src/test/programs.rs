//! Brings the programs that the suite `clients` runs: curl, calendar clients, WebDAV clients.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::command;
use crate::debian::{self, Archive, Base};
use crate::failure::{Attempt, Failure};
use crate::prerequisites;
use crate::workspace::Workspace;

/// Programs, each the name of its package too.
const PROGRAMS: [&str; 5] = ["cadaver", "curl", "litmus", "rclone", "vdirsyncer"];

/// The variable that tells the tests where unpacked programs are.
const UNPACKED: &str = "PERCLOUD_CLIENTS";

/// Sees to it that every program is there: uses the machine's; installs missing ones as root; unpacks all of them under
/// `target/` as an ordinary user. Returns the environment that the tests need to find them.
pub fn provide(workspace: &Workspace) -> Result<Vec<(&'static str, String)>, Failure> {
    if !git_speaks_http() {
        return Err(Failure::new(
            "the git on this machine cannot speak HTTP: install one with `git-remote-http`",
        ));
    }
    if missing().is_empty() {
        return Ok(Vec::new());
    }
    if prerequisites::is_root() {
        debian::install(&missing())?;
        let still = missing();
        return if still.is_empty() {
            Ok(Vec::new())
        } else {
            Err(Failure::new(format!(
                "`apt-get install` brought no {}",
                still.join(", ")
            )))
        };
    }
    let folder = workspace.target("debian/clients");
    if !folder.join("complete").is_file() {
        unpack(workspace, &folder).map_err(|failure| {
            Failure::new(format!(
                "{failure}\n  Or, as root: `apt-get install {}`",
                PROGRAMS.join(" ")
            ))
        })?;
    }
    Ok(vec![(UNPACKED, folder.display().to_string())])
}

fn missing() -> Vec<&'static str> {
    PROGRAMS
        .into_iter()
        .filter(|program| command::find(program).is_none())
        .collect()
}

/// git is on every machine that builds this, but not every git can fetch over HTTP.
fn git_speaks_http() -> bool {
    let place = command::output(Command::new("git").arg("--exec-path")).unwrap_or_default();
    Path::new(place.trim()).join("git-remote-http").is_file()
}

fn unpack(workspace: &Workspace, folder: &Path) -> Result<(), Failure> {
    println!(
        "Unpacking {} from the distribution under {} …",
        PROGRAMS.join(", "),
        folder.display()
    );
    Archive::open(workspace)?.unpack_with_dependencies(&PROGRAMS, Base::Machine, folder)?;
    if let Some(program) = PROGRAMS
        .iter()
        .find(|program| !folder.join("usr/bin").join(program).is_file() && command::find(program).is_none())
    {
        return Err(Failure::new(format!(
            "{} was unpacked without {program}",
            folder.display()
        )));
    }
    fs::write(folder.join("complete"), "").attempt(|| format!("cannot write in {}", folder.display()))
}
