//! Starts other programs and says plainly what went wrong with them.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::failure::{Attempt, Failure};

/// Runs `command` with its output on our terminal; fails unless it exits with 0.
pub fn run(command: &mut Command) -> Result<(), Failure> {
    let shown = show(command);
    let status = command
        .stdin(Stdio::null())
        .status()
        .attempt(|| format!("cannot run `{shown}`"))?;
    if status.success() {
        Ok(())
    } else {
        Err(Failure::new(format!("`{shown}` failed ({status})")))
    }
}

/// Runs `command` silently and returns its standard output; a failure carries the end of its standard error.
pub fn output(command: &mut Command) -> Result<String, Failure> {
    let shown = show(command);
    let output = command
        .stdin(Stdio::null())
        .output()
        .attempt(|| format!("cannot run `{shown}`"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = said.trim_end().lines().collect();
    let tail = lines[lines.len().saturating_sub(8)..].join("\n  ");
    Err(Failure::new(format!(
        "`{shown}` failed ({})\n  {tail}",
        output.status
    )))
}

/// Runs `command`, handing each line of its standard output to `line` as it comes; returns whether it exited with 0.
pub fn stream(command: &mut Command, mut line: impl FnMut(&str)) -> Result<bool, Failure> {
    let shown = show(command);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .attempt(|| format!("cannot run `{shown}`"))?;
    let stdout = child.stdout.take().expect("standard output is piped");
    let mut reader = BufReader::new(stdout);
    let mut raw = Vec::new();
    loop {
        raw.clear();
        // A line without end would otherwise fill memory.
        let count = reader
            .by_ref()
            .take(1 << 20)
            .read_until(b'\n', &mut raw)
            .attempt(|| format!("cannot read from `{shown}`"))?;
        if count == 0 {
            break;
        }
        line(String::from_utf8_lossy(&raw).trim_end_matches(['\n', '\r']));
    }
    Ok(child
        .wait()
        .attempt(|| format!("cannot wait for `{shown}`"))?
        .success())
}

/// Finds a program on the search path.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|candidate| candidate.is_file())
}

/// A cargo that builds in this workspace, whatever called us.
pub fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// The command as one would type it.
fn show(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}
