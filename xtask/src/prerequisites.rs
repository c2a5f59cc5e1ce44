//! Checks what a machine must bring, and names the remedy for what is missing.

use std::process::Command;

use crate::command::{find, output};
use crate::failure::Failure;

/// Node's oldest major version that the front-end tools run on.
const OLDEST_NODE: u32 = 20;

/// What a chore needs of the machine.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// To compile Rust with C dependencies.
    Build,
    /// To build the browser shell.
    Node,
    /// To run grains in their sandbox.
    Sandbox,
}

/// Fails with every missing thing at once, each with its remedy.
pub fn check(needs: &[Need]) -> Result<(), Failure> {
    let mut missing = Vec::new();
    for need in needs {
        match need {
            Need::Build => missing.extend(compiler()),
            Need::Node => missing.extend(node()),
            Need::Sandbox => missing.extend(kernel()),
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!(
        "this machine lacks something:\n  - {}",
        missing.join("\n  - ")
    )))
}

/// Whether we run as root.
pub fn is_root() -> bool {
    output(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0")
}

fn compiler() -> Option<String> {
    let found = ["cc", "gcc", "clang"].iter().any(|name| find(name).is_some());
    (!found).then(|| "a C compiler: as root, `apt-get install gcc libc6-dev`".to_owned())
}

fn node() -> Option<String> {
    let remedy = format!(
        "Node.js {OLDEST_NODE} or newer with npm, from your distribution or from the Node.js project"
    );
    if find("npm").is_none() {
        return Some(remedy);
    }
    let version = output(Command::new("node").arg("--version")).unwrap_or_default();
    let major = version
        .trim()
        .trim_start_matches('v')
        .split('.')
        .next()
        .and_then(|major| major.parse::<u32>().ok());
    match major {
        Some(major) if major >= OLDEST_NODE => None,
        Some(_) => Some(format!("{remedy} (this is {})", version.trim())),
        None => Some(remedy),
    }
}

fn kernel() -> Vec<String> {
    let mut missing = Vec::new();
    if !make_namespaces(&["--user", "--map-root-user"]) {
        missing.push(
            "user namespaces: as root, `sysctl -w user.max_user_namespaces=65536`, and where the kernel has them \
             `sysctl -w kernel.unprivileged_userns_clone=1 kernel.apparmor_restrict_unprivileged_userns=0`"
                .to_owned(),
        );
    } else if !make_namespaces(&[
        "--user",
        "--map-root-user",
        "--mount",
        "--pid",
        "--fork",
        "--net",
        "--ipc",
        "--uts",
    ]) {
        missing.push(
            "mount, pid, net, ipc and uts namespaces: use a kernel built with CONFIG_NAMESPACES and its parts; in a \
             container, allow it to make them"
                .to_owned(),
        );
    }
    // The file is hidden where securityfs is not mounted; Percloud itself then asks the kernel and reports.
    if let Ok(modules) = std::fs::read_to_string("/sys/kernel/security/lsm")
        && !modules.split(',').any(|module| module.trim() == "landlock")
    {
        missing.push("Landlock: boot with `landlock` added to the kernel's `lsm=` list".to_owned());
    }
    missing
}

fn make_namespaces(flags: &[&str]) -> bool {
    output(Command::new("unshare").args(flags).arg("true")).is_ok()
}
