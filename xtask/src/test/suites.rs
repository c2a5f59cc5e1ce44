//! What each suite does.

use std::process::Command;

use super::count::Count;
use super::programs;
use crate::build;
use crate::chromium;
use crate::command::{self, cargo, find, output, stream};
use crate::debian;
use crate::failure::{Attempt, Failure};
use crate::licences;
use crate::prerequisites::{self, Need};
use crate::samples;
use crate::schemas as generated;
use crate::workspace::Workspace;

/// Packages that have a suite of their own, or (the measuring program) none.
const NOT_UNIT: [&str; 5] = [
    "percloud-store",
    "percloud-sandbox",
    "percloud-tests",
    "percloud-bench",
    "percloud-instructions",
];

/// The arrows between crates.
pub fn architecture(_workspace: &Workspace) -> Result<Count, Failure> {
    cargo_test(&["--package", "percloud-tests", "--test", "architecture"])
}

/// One check: regenerating changes nothing.
pub fn schemas(workspace: &Workspace) -> Result<Count, Failure> {
    let differing = generated::differences(workspace)?;
    for name in &differing {
        eprintln!("schemas/src/generated/{name} is not what the schemas say; run `cargo xtask schemas`");
    }
    Ok(Count::check(differing.is_empty()))
}

/// Every crate without a suite of its own.
pub fn unit(workspace: &Workspace) -> Result<Count, Failure> {
    prerequisites::check(&[Need::Build, Need::Node])?;
    // The edge carries the built shell inside; its tests ask for it.
    build::ui(workspace)?;
    let mut arguments = vec!["--workspace"];
    let members = workspace_members(workspace)?;
    for package in NOT_UNIT
        .iter()
        .filter(|name| members.iter().any(|member| member == *name))
    {
        arguments.extend(["--exclude", package]);
    }
    cargo_test(&arguments)
}

/// The store.
pub fn store(_workspace: &Workspace) -> Result<Count, Failure> {
    cargo_test(&["--package", "percloud-store"])
}

/// The sandbox, with the hostile fixture it starts.
pub fn sandbox(_workspace: &Workspace) -> Result<Count, Failure> {
    prerequisites::check(&[Need::Build, Need::Sandbox])?;
    build::grain_programs()?;
    cargo_test(&["--package", "percloud-sandbox"])
}

/// Instructions of a warm request, compared with those that are committed.
pub fn instructions(_workspace: &Workspace) -> Result<Count, Failure> {
    valgrind()?;
    let mut count = cargo_test(&["--package", "percloud-instructions"])?;
    count += checked("instructions", stream(&mut counting(), |line| println!("{line}")));
    Ok(count)
}

/// Writes the numbers that [`instructions`] compares with.
pub fn renew_instructions() -> Result<(), Failure> {
    valgrind()?;
    command::run(counting().args(["--", "--renew"]))
}

fn counting() -> Command {
    let mut command = cargo();
    command.args([
        "run",
        "--quiet",
        "--locked",
        "--release",
        "--package",
        "percloud-instructions",
    ]);
    command
}

/// callgrind is part of it.
fn valgrind() -> Result<(), Failure> {
    prerequisites::check(&[Need::Build])?;
    if find("valgrind").is_some() {
        return Ok(());
    }
    if prerequisites::is_root() && find("apt-get").is_some() {
        return debian::install(&["valgrind"]);
    }
    Err(Failure::new(
        "valgrind is missing; as root: `apt-get install valgrind`",
    ))
}

/// The browser shell.
pub fn ui(workspace: &Workspace) -> Result<Count, Failure> {
    prerequisites::check(&[Need::Node])?;
    build::ui(workspace)?;
    let mut npm = Command::new("npm");
    npm.args(["test", "--silent"])
        .current_dir(workspace.path("shell-ui"))
        .env("PERCLOUD_TARGET", workspace.target(""));
    let browser = chromium::provide(workspace)?;
    npm.env("PERCLOUD_CHROMIUM", &browser.program)
        .envs(browser.environment);
    node_test(&mut npm)
}

/// A whole server, driven over HTTP.
pub fn system(workspace: &Workspace) -> Result<Count, Failure> {
    prerequisites::check(&[Need::Build, Need::Node, Need::Sandbox])?;
    build::everything(workspace)?;
    pack_samples(workspace)?;
    cargo_test(&["--package", "percloud-tests", "--lib", "--test", "system"])
}

/// Starts and ends without number; the test runs in `system` too, with fewer.
pub fn residue(workspace: &Workspace) -> Result<Count, Failure> {
    prerequisites::check(&[Need::Build, Need::Node, Need::Sandbox])?;
    build::everything(workspace)?;
    let rounds = [("PERCLOUD_RESIDUE_ROUNDS", "10000".to_owned())];
    cargo_test_with(
        &rounds,
        &["--package", "percloud-tests", "--test", "system", "residue"],
    )
}

/// Programs that people own, against a whole server.
pub fn clients(workspace: &Workspace) -> Result<Count, Failure> {
    prerequisites::check(&[Need::Build, Need::Node, Need::Sandbox])?;
    let environment = programs::provide(workspace)?;
    build::everything(workspace)?;
    pack_samples(workspace)?;
    cargo_test_with(
        &environment,
        &["--package", "percloud-tests", "--test", "clients"],
    )
}

/// The sample apps in Chromium.
pub fn browser(workspace: &Workspace) -> Result<Count, Failure> {
    prerequisites::check(&[Need::Build, Need::Node, Need::Sandbox])?;
    build::everything(workspace)?;
    pack_samples(workspace)?;
    build::node_modules(workspace, "tests/browser")?;
    let browser = chromium::provide(workspace)?;
    let mut npm = Command::new("npm");
    npm.args(["test", "--silent"])
        .current_dir(workspace.path("tests/browser"));
    npm.env("PERCLOUD_TARGET", workspace.target(""))
        .env("PERCLOUD_CHROMIUM", &browser.program)
        .envs(browser.environment);
    node_test(&mut npm)
}

/// Format, clippy, licences; each counts as one check.
pub fn lint(workspace: &Workspace) -> Result<Count, Failure> {
    let mut count = Count::default();
    let mut format = cargo();
    count += checked(
        "format",
        stream(format.args(["fmt", "--all", "--check"]), |line| {
            println!("{line}")
        }),
    );
    let mut clippy = cargo();
    clippy.args([
        "clippy",
        "--workspace",
        "--all-targets",
        "--locked",
        "--quiet",
        "--",
        "--deny",
        "warnings",
    ]);
    count += checked("clippy", stream(&mut clippy, |line| println!("{line}")));
    let licences = licences::check().map(|(refused, looked_at)| {
        refused
            .iter()
            .for_each(|sentence| eprintln!("{sentence}, which is not on the list of licences we accept"));
        println!("looked at the licences of {looked_at} crates");
        refused.is_empty()
    });
    count += checked("licences", licences);
    if find("cargo-deny").is_some() && workspace.path("deny.toml").is_file() {
        let mut deny = cargo();
        // Advisories need a database from the network; licences, bans and sources do not.
        count += checked(
            "cargo deny",
            stream(
                deny.args(["deny", "--locked", "check", "licenses", "bans", "sources"]),
                |line| println!("{line}"),
            ),
        );
    }
    Ok(count)
}

fn checked(what: &str, result: Result<bool, Failure>) -> Count {
    let passed = result.unwrap_or_else(|failure| {
        eprintln!("error: {failure}");
        false
    });
    println!("{what}: {}", if passed { "good" } else { "BAD" });
    Count::check(passed)
}

/// Packs all samples; a test that needs one that is missing fails by itself, so one sentence here is enough.
fn pack_samples(workspace: &Workspace) -> Result<(), Failure> {
    for failure in samples::pack_all(workspace, &samples::chosen(workspace, &[])?) {
        eprintln!("error: {failure}");
    }
    Ok(())
}

/// Runs `cargo test` and adds up its closing lines. A crate that does not compile counts as a failure.
fn cargo_test(arguments: &[&str]) -> Result<Count, Failure> {
    cargo_test_with(&[], arguments)
}

/// The same, with variables that tell the tests about this machine.
fn cargo_test_with(environment: &[(&str, String)], arguments: &[&str]) -> Result<Count, Failure> {
    let mut count = Count::default();
    let mut command = cargo();
    command
        .args(["test", "--locked", "--no-fail-fast"])
        .args(arguments)
        .envs(environment.iter().map(|(name, value)| (name, value)));
    let passed = stream(&mut command, |line| {
        println!("{line}");
        count.read_libtest(line);
    })?;
    if !passed && count.failed == 0 {
        count += Count::one_failure();
    }
    Ok(count)
}

/// Runs a script that ends in Node's test runner and adds up its closing lines.
fn node_test(command: &mut Command) -> Result<Count, Failure> {
    let mut count = Count::default();
    let passed = stream(command, |line| {
        println!("{line}");
        count.read_node(line);
    })?;
    if !passed && count.failed == 0 {
        count += Count::one_failure();
    }
    Ok(count)
}

/// The names of the workspace's packages.
fn workspace_members(workspace: &Workspace) -> Result<Vec<String>, Failure> {
    #[derive(serde::Deserialize)]
    struct Metadata {
        packages: Vec<Package>,
    }
    #[derive(serde::Deserialize)]
    struct Package {
        name: String,
    }
    let mut command = cargo();
    command
        .args(["metadata", "--no-deps", "--format-version=1", "--locked"])
        .current_dir(workspace.root());
    let metadata: Metadata = serde_json::from_str(&output(&mut command)?)
        .attempt(|| "cannot make sense of `cargo metadata`".to_owned())?;
    Ok(metadata
        .packages
        .into_iter()
        .map(|package| package.name)
        .collect())
}
