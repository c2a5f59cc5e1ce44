//! How a case ends, and how it gets rights of its own for mounting.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

/// How a case ended; a failed one panics.
pub enum Outcome {
    /// As it should, with what was seen.
    Passed(String),
    /// Not tried: what is missing.
    Unavailable(String),
}

/// This program in another role.
pub fn child(role: &str, argument: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("our own path"));
    command.arg(format!("child:{role}")).arg(argument);
    command
}

/// Runs this program in another role under `unshare`, so that all it mounts goes when it goes, however it ends.
///
/// The child prints its note, or `missing: …` as its last line if it cannot even begin.
pub fn in_mount_namespace(flags: &[&str], role: &str, argument: &Path) -> Outcome {
    let probe = Command::new("unshare")
        .args(flags)
        .args(["--", "true"])
        .stderr(Stdio::piped())
        .output();
    match probe {
        Ok(output) if output.status.success() => {}
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Outcome::Unavailable(format!(
                "mounting in a namespace of our own is not allowed here: {said}"
            ));
        }
        Err(error) => return Outcome::Unavailable(format!("the program unshare (util-linux): {error}")),
    }
    let own = child(role, argument);
    let mut command = Command::new("unshare");
    command
        .args(flags)
        .arg("--")
        .arg(own.get_program())
        .args(own.get_args());
    let mut running = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("unshare ran before");
    let mut said = String::new();
    running
        .stdout
        .take()
        .expect("piped")
        .read_to_string(&mut said)
        .expect("text");
    let status = running.wait().expect("our child");
    let last = said.lines().last().unwrap_or_default().to_owned();
    if let Some(missing) = last.strip_prefix("missing: ") {
        return Outcome::Unavailable(missing.to_owned());
    }
    assert!(
        status.success(),
        "{role} ended with {status} after saying: {said}"
    );
    Outcome::Passed(last)
}

/// Says what is missing and ends this child.
pub fn missing(what: &str) -> ! {
    println!("missing: {what}");
    let _ = std::io::stdout().flush();
    std::process::exit(0)
}

/// Runs a system program to its end.
pub fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .map_err(|error| format!("{program}: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!(
            "{program} {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        )),
    }
}
