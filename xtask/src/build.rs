//! Builds what runs: the browser shell, the server and tools, and the programs that live inside grains.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::command::{cargo, run};
use crate::digest;
use crate::failure::{Attempt, Failure};
use crate::workspace::{GRAIN_TARGET, Workspace};

/// Programs that run inside grains: package and program.
const GRAIN_PROGRAMS: [(&str, &str); 4] = [
    ("percloud-http-bridge", "sandstorm-http-bridge"),
    ("percloud-raw-app", "percloud-raw-app"),
    ("percloud-prober", "percloud-prober"),
    ("percloud-tests", "percloud-hostile"),
];

/// Builds everything `up` and the system tests run: UI first, since the server carries it inside.
pub fn everything(workspace: &Workspace) -> Result<(), Failure> {
    ui(workspace)?;
    release(&["percloud", "percloud-spk"])?;
    grain_programs()
}

/// Builds what packing needs: `spk` and the programs that live inside grains.
pub fn packing_tools() -> Result<(), Failure> {
    release(&["percloud-spk"])?;
    grain_programs()
}

/// Builds the browser shell into `shell-ui/dist`, unless its sources are the ones it was built from.
pub fn ui(workspace: &Workspace) -> Result<(), Failure> {
    let folder = workspace.path("shell-ui");
    let stamp = workspace.target("shell-ui.stamp");
    let state = digest::of_tree(std::slice::from_ref(&folder), &["node_modules", "dist"])?;
    if folder.join("dist/index.html").is_file()
        && fs::read_to_string(&stamp).is_ok_and(|built| built == state)
    {
        return Ok(());
    }
    node_modules(workspace, "shell-ui")?;
    println!("Building the browser shell …");
    run(Command::new("npm")
        .args(["run", "--silent", "build"])
        .current_dir(&folder))?;
    // Building may write generated sources beside the others; the stamp speaks of what is there afterwards.
    let state = digest::of_tree(&[folder], &["node_modules", "dist"])?;
    write_stamp(&stamp, &state)
}

/// Installs the npm packages of `folder` as its lock file says, unless they are there already.
pub fn node_modules(workspace: &Workspace, folder: &str) -> Result<(), Failure> {
    let path = workspace.path(folder);
    let stamp = workspace.target(&format!("{}.npm-stamp", folder.replace('/', "-")));
    let state = digest::of_tree(&[path.join("package.json"), path.join("package-lock.json")], &[])?;
    if path.join("node_modules").is_dir()
        && fs::read_to_string(&stamp).is_ok_and(|installed| installed == state)
    {
        return Ok(());
    }
    println!("Installing the npm packages of {folder} …");
    let mut npm = Command::new("npm");
    npm.args(["ci", "--no-audit", "--no-fund", "--loglevel=error"])
        .current_dir(&path);
    run(&mut npm).map_err(|failure| {
        Failure::new(format!(
            "{failure}\n  The first build needs the npm registry; later ones work without a network"
        ))
    })?;
    write_stamp(&stamp, &state)
}

/// Builds packages of the workspace for release.
pub fn release(packages: &[&str]) -> Result<(), Failure> {
    println!("Building {} …", packages.join(", "));
    let mut command = cargo();
    command.args(["build", "--quiet", "--locked", "--release"]);
    run(command.args(packages.iter().flat_map(|package| ["--package", package])))
}

/// Builds the programs that live inside grains, linked statically: a package then needs no C library of ours.
pub fn grain_programs() -> Result<(), Failure> {
    println!("Building the programs that run inside grains …");
    let mut command = cargo();
    command.args([
        "build",
        "--quiet",
        "--locked",
        "--release",
        "--target",
        GRAIN_TARGET,
    ]);
    command
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    for (package, program) in GRAIN_PROGRAMS {
        command.args(["--package", package, "--bin", program]);
    }
    run(&mut command)
}

fn write_stamp(stamp: &Path, state: &str) -> Result<(), Failure> {
    if let Some(folder) = stamp.parent() {
        fs::create_dir_all(folder).attempt(|| format!("cannot make {}", folder.display()))?;
    }
    fs::write(stamp, state).attempt(|| format!("cannot write {}", stamp.display()))
}
