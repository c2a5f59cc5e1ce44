//! Runs the chores of this repository: build and start, test, pack the samples, regenerate, measure.
//!
//! Invoked as `cargo xtask COMMAND`. Works as root and as an ordinary user, on a machine that has Rust, a C compiler,
//! Node 20 and git; whatever else a chore needs, it fetches from the distribution or says how to get.
#![forbid(unsafe_code)]
#![allow(
    clippy::disallowed_methods,
    reason = "a chore runner exists to start processes and read its surroundings"
)]

mod bench;
mod build;
mod chromium;
mod command;
mod debian;
mod digest;
mod failure;
mod licences;
mod prerequisites;
mod samples;
mod schemas;
mod test;
mod up;
mod workspace;

use std::process::ExitCode;

use failure::Failure;
use workspace::Workspace;

const HELP: &str = "\
Chores of the Percloud repository.

Usage: cargo xtask COMMAND [ARGUMENT]...

Commands:
  up [--listen ADDRESS:PORT] [--data DIR] [--only-build]
                     Build everything, pack the sample apps and start Percloud; prints the address
                     and the one-time setup secret. Default: 127.0.0.1:6080, data in target/percloud.
  test [SUITE]...    Install what tests need and run every suite that is not long, or those named.
  samples [NAME]...  Fetch, stage and pack the sample apps, or those named, into target/samples.
  samples --stage [NAME]...
                     Lay their files out in target/samples/NAME/root without packing.
  samples --relock [NAME]...
                     Write the versions on offer now, with their hashes, to the lock files.
  schemas            Regenerate the Rust of schemas/ (`cargo xtask test schemas` checks it).
  bench [NAME]...    Measure ourselves and our peers side by side; writes target/bench/summary.json,
                     and curves to look at in target/bench/index.html.
  soak [--minutes N] Keep a server busy with churn for a while (default 30) and see that nothing is left
                     and its memory stays flat; writes target/bench/soak.json and soak.svg.
  help               Print this.

";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (command, rest) = match arguments.split_first() {
        Some((command, rest)) => (command.as_str(), rest),
        None => ("help", &[][..]),
    };
    let wants_help = rest
        .iter()
        .any(|argument| argument == "--help" || argument == "-h");
    if wants_help || matches!(command, "help" | "--help" | "-h") {
        help();
        return ExitCode::SUCCESS;
    }
    let result = Workspace::find().and_then(|workspace| match command {
        "up" => up::run(&workspace, rest),
        "test" => test::run(&workspace, rest),
        "samples" => samples::run(&workspace, rest),
        "schemas" => schemas::regenerate(&workspace),
        "bench" => bench::run(&workspace, rest),
        "soak" => bench::soak(&workspace, rest),
        other => Err(Failure::new(format!(
            "there is no command `{other}`; `cargo xtask help` lists them"
        ))),
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn help() {
    print!("{HELP}");
    println!("Test suites:");
    for suite in test::SUITES {
        println!("  {:<14} {}", suite.name, suite.summary);
    }
}
