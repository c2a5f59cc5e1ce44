//! Measures Percloud and its peers side by side, and keeps the figures.
//!
//! `percloud-bench [--quick] [NAME]...` runs all benches, or those of the groups or names given, prints a table and merges
//! the figures into `target/bench/summary.json` (see [`summary`]). What is compared runs in turns within one run, since
//! machines have moods; what is kept is the median. A peer that is not installed leaves its columns empty and says so.
//!
//! - group `sandbox`: from the decision to start a program to its first byte, ours against `fork` + `exec`, bubblewrap and runc;
//! - group `capabilities`: a call through a membrane against the bare call, and how soon taking back bites;
//! - group `fair`: signing in and opening while another grain takes all it can, against the same without it;
//! - group `http`: opening a native grain, requests to it against an nginx proxy hop, bulk transfers, memory at rest.
#![forbid(unsafe_code)]
#![allow(
    clippy::disallowed_methods,
    reason = "a bench starts processes and reads its surroundings"
)]

mod capabilities;
mod failure;
mod fair;
mod figures;
mod http;
mod peer;
mod process;
mod sandbox;
mod summary;

use std::process::ExitCode;

use failure::Failure;
use summary::{Entry, Summary};

/// Names of the entries of each group, in the order of the table; they stay the same for good.
const GROUPS: [(&str, &[&str]); 4] = [
    ("sandbox", &sandbox::NAMES),
    ("http", &http::NAMES),
    ("capabilities", &capabilities::NAMES),
    ("fair", &fair::NAMES),
];

/// What is to be measured, and how patiently.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Entries that are wanted.
    names: Vec<&'static str>,
    /// Fewer, shorter rounds: to see that everything works, not to keep.
    pub quick: bool,
}

impl Plan {
    /// Whether one of `names` is wanted.
    pub fn wants(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.names.contains(name))
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match arguments.as_slice() {
        ["role:sandbox", rest @ ..] => sandbox::ours::serve(rest),
        ["role:launcher"] => sandbox::ahead::serve(),
        ["role:upstream", socket] => peer::upstream::serve(socket),
        _ => measure(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn measure(arguments: &[&str]) -> Result<(), Failure> {
    let plan = plan(arguments)?;
    let mut entries: Vec<Entry> = Vec::new();
    let mut failed = Vec::new();
    for (group, run) in [
        (
            "sandbox",
            sandbox::run as fn(&Plan, &mut Vec<Entry>) -> Result<(), Failure>,
        ),
        ("http", http::run),
        ("capabilities", capabilities::run),
        ("fair", fair::run),
    ] {
        let (_, names) = GROUPS
            .iter()
            .find(|(name, _)| *name == group)
            .expect("listed above");
        if plan.wants(names)
            && let Err(failure) = run(&plan, &mut entries)
        {
            eprintln!("error: the group `{group}` was not measured to its end: {failure}");
            failed.push(group);
        }
    }
    entries.retain(|entry| plan.wants(&[entry.name.as_str()]));
    let missing: Vec<&str> = plan
        .names
        .iter()
        .filter(|name| entries.iter().all(|entry| entry.name != **name))
        .copied()
        .collect();
    let path = percloud_tests::built::target("bench/summary.json");
    let mut summary = Summary::read(&path)?;
    summary.merge(entries.clone());
    summary.write(&path)?;
    print!("{}", summary::table(&entries));
    println!("\nKept in {}", path.display());
    if failed.is_empty() && missing.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!("not measured: {}", missing.join(", "))))
}

fn plan(arguments: &[&str]) -> Result<Plan, Failure> {
    let mut plan = Plan {
        names: Vec::new(),
        quick: false,
    };
    for argument in arguments {
        if *argument == "--quick" {
            plan.quick = true;
        } else if let Some((_, names)) = GROUPS.iter().find(|(group, _)| group == argument) {
            plan.names.extend_from_slice(names);
        } else if let Some(name) = GROUPS
            .iter()
            .flat_map(|(_, names)| *names)
            .find(|name| *name == argument)
        {
            plan.names.push(name);
        } else {
            let known: Vec<String> = GROUPS
                .iter()
                .map(|(group, names)| format!("  {group}: {}", names.join(", ")))
                .collect();
            return Err(Failure::new(format!(
                "nothing is called `{argument}`; there are\n{}",
                known.join("\n")
            )));
        }
    }
    if plan.names.is_empty() {
        plan.names = GROUPS.iter().flat_map(|(_, names)| *names).copied().collect();
    }
    Ok(plan)
}
