//! `cargo xtask bench`: builds for release, brings the peers, and hands over to the measuring program.

use std::process::Command;

use crate::build;
use crate::command::{self, cargo, find};
use crate::failure::Failure;
use crate::prerequisites::{self, Need};
use crate::samples;
use crate::workspace::Workspace;

/// What we measure ourselves against: program and the package it comes in.
const PEERS: [(&str, &str); 4] = [
    ("bwrap", "bubblewrap"),
    ("runc", "runc"),
    ("nginx", "nginx-light"),
    ("wrk", "wrk"),
];

/// The sample apps that are measured.
const SAMPLES: [&str; 2] = ["radicale", "tiddlywiki"];

/// Runs all benches, or those of the group or name given.
pub fn run(workspace: &Workspace, arguments: &[String]) -> Result<(), Failure> {
    prerequisites::check(&[Need::Build, Need::Node, Need::Sandbox])?;
    if !workspace.path("tests/bench/Cargo.toml").is_file() {
        return Err(Failure::new(
            "there is no tests/bench in this checkout, so nothing to measure with",
        ));
    }
    peers()?;
    build::everything(workspace)?;
    // What could not be packed is not measured; the others are.
    for failure in samples::pack_all(workspace, &samples::chosen(workspace, &SAMPLES)?) {
        eprintln!("{failure}");
    }
    measure(arguments)
}

/// `cargo xtask soak`: a server under churn for a while; what it leaves, and whether its memory stays flat.
pub fn soak(workspace: &Workspace, arguments: &[String]) -> Result<(), Failure> {
    prerequisites::check(&[Need::Build, Need::Node, Need::Sandbox])?;
    let arguments: Vec<String> = std::iter::once("soak".to_owned())
        .chain(arguments.iter().cloned())
        .collect();
    build::everything(workspace)?;
    measure(&arguments)
}

/// Builds the measuring program for release and runs it.
fn measure(arguments: &[String]) -> Result<(), Failure> {
    let mut measure = cargo();
    measure.args([
        "run",
        "--quiet",
        "--locked",
        "--release",
        "--package",
        "percloud-bench",
        "--",
    ]);
    command::run(measure.args(arguments))
}

/// Installs missing peers as root; an ordinary user is told the command.
fn peers() -> Result<(), Failure> {
    // nginx lives in /usr/sbin, which is not on everybody's path.
    let here =
        |program: &str| find(program).is_some() || std::path::Path::new("/usr/sbin").join(program).is_file();
    let missing: Vec<&str> = PEERS
        .iter()
        .filter(|(program, _)| !here(program))
        .map(|(_, package)| *package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !prerequisites::is_root() {
        return Err(Failure::new(format!(
            "the peers to compare with are missing; as root: `apt-get install {}`",
            missing.join(" ")
        )));
    }
    let apt = || {
        let mut apt = Command::new("apt-get");
        apt.env("DEBIAN_FRONTEND", "noninteractive").arg("--quiet=2");
        apt
    };
    command::output(apt().arg("update"))?;
    let installed = command::output(
        apt()
            .args(["install", "--yes", "--no-install-recommends"])
            .args(&missing),
    );
    // Debian's nginx is started as a service when it is installed, and where that fails (port 80 is taken, or there is no
    // service manager) so does the installation. Its program is there all the same, and all that is wanted here.
    match installed {
        Err(_) if PEERS.iter().all(|(program, _)| here(program)) => Ok(()),
        installed => installed.map(drop),
    }
}
