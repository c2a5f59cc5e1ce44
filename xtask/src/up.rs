//! `cargo xtask up`: from a clone to a running server.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use crate::build;
use crate::failure::Failure;
use crate::prerequisites::{self, Need};
use crate::samples;
use crate::workspace::Workspace;

struct Options {
    listen: String,
    data: PathBuf,
    only_build: bool,
}

/// Builds everything, packs the samples and becomes the server. Returns only when it could not start.
pub fn run(workspace: &Workspace, arguments: &[String]) -> Result<(), Failure> {
    let options = options(workspace, arguments)?;
    prerequisites::check(&[Need::Build, Need::Node, Need::Sandbox])?;
    build::everything(workspace)?;

    println!("Packing the sample apps …");
    let samples = samples::chosen(workspace, &[])?;
    let skipped = samples::pack_all(workspace, &samples);
    for failure in &skipped {
        println!("left out: {failure}");
    }
    if skipped.len() < samples.len() {
        println!("Install a sample by choosing its .spk file on Percloud's page.");
    }
    if options.only_build {
        return Ok(());
    }
    let mut server = Command::new(workspace.release("percloud"));
    server
        .arg("serve")
        .arg("--data")
        .arg(&options.data)
        .args(["--listen", &options.listen]);
    // From here on we are the server: signals and the exit status are its own.
    let error = server.exec();
    Err(Failure::new(format!(
        "cannot start {}: {error}",
        workspace.release("percloud").display()
    )))
}

fn options(workspace: &Workspace, arguments: &[String]) -> Result<Options, Failure> {
    let mut options = Options {
        listen: "127.0.0.1:6080".to_owned(),
        data: workspace.target("percloud"),
        only_build: false,
    };
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let mut value = || {
            let value = arguments.next();
            value.ok_or_else(|| Failure::new(format!("`{argument}` needs a value; see `cargo xtask help`")))
        };
        match argument.as_str() {
            "--listen" => options.listen = value()?.clone(),
            "--data" => options.data = PathBuf::from(value()?),
            "--only-build" => options.only_build = true,
            other => {
                return Err(Failure::new(format!(
                    "`up` does not know `{other}`; see `cargo xtask help`"
                )));
            }
        }
    }
    Ok(options)
}
