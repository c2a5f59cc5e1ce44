//! Measures Percloud and its peers side by side, and keeps the figures.
//!
//! `percloud-bench [--quick] [NAME]...` runs all benches, or those of the groups or names given, prints a table and merges
//! the figures into `target/bench/summary.json` (see [`summary`]). What is compared runs in turns within one run, since
//! machines have moods; what is kept is the median. A peer that is not installed leaves its columns empty and says so.
//!
//! - group `sandbox`: from the decision to start a program to its first byte, ours against `fork` + `exec`, bubblewrap and runc;
//! - group `capabilities`: a call through a membrane against the bare call, and how soon taking back bites;
//! - group `fair`: signing in and opening while another grain takes all it can, against the same without it;
//! - group `http`: opening a native grain, requests to it against an nginx proxy hop, bulk transfers, memory at rest;
//! - group `warm`: opening again what was used lately, of apps that take long to start;
//! - group `scale`: what very many stored, running, or suddenly wanted grains cost;
//! - group `curves`: requests by connections, throughput by size of the body.
//!
//! The last two, and the first, also give curves, kept in `target/bench/curves.json` and drawn beside it (see [`curve`]).
#![forbid(unsafe_code)]
#![allow(
    clippy::disallowed_methods,
    reason = "a bench starts processes and reads its surroundings"
)]

mod capabilities;
mod curve;
mod curves;
mod failure;
mod fair;
mod figures;
mod http;
mod peer;
mod plot;
mod process;
mod sandbox;
mod scale;
mod soak;
mod summary;
mod warm;

use std::process::ExitCode;

use curve::Curve;
use failure::Failure;
use summary::{Entry, Summary};

/// Names of the entries of each group, in the order of the table; they stay the same for good.
const GROUPS: [(&str, &[&str]); 7] = [
    ("sandbox", &sandbox::NAMES),
    ("http", &http::NAMES),
    ("warm", &warm::NAMES),
    ("capabilities", &capabilities::NAMES),
    ("fair", &fair::NAMES),
    ("scale", &scale::NAMES),
    ("curves", &curves::NAMES),
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
        ["soak", rest @ ..] => soak::run(rest),
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

/// Measures a group; adds to what is kept.
type Group = fn(&Plan, &mut Vec<Entry>, &mut Vec<Curve>) -> Result<(), Failure>;

fn measure(arguments: &[&str]) -> Result<(), Failure> {
    let plan = plan(arguments)?;
    let mut entries: Vec<Entry> = Vec::new();
    let mut drawn: Vec<Curve> = Vec::new();
    let mut failed = Vec::new();
    let groups: [Group; 7] = [
        sandbox::run,
        |plan, entries, _| http::run(plan, entries),
        |plan, entries, _| warm::run(plan, entries),
        |plan, entries, _| capabilities::run(plan, entries),
        |plan, entries, _| fair::run(plan, entries),
        scale::run,
        |plan, _, curves| curves::run(plan, curves),
    ];
    for ((group, names), run) in GROUPS.iter().zip(groups) {
        if plan.wants(names)
            && let Err(failure) = run(&plan, &mut entries, &mut drawn)
        {
            eprintln!("error: the group `{group}` was not measured to its end: {failure}");
            failed.push(*group);
        }
    }
    entries.retain(|entry| plan.wants(&[entry.name.as_str()]));
    let missing: Vec<&str> = plan
        .names
        .iter()
        .filter(|name| !curves::NAMES.contains(name) && entries.iter().all(|entry| entry.name != **name))
        .copied()
        .collect();
    let folder = percloud_tests::built::target("bench");
    let path = folder.join("summary.json");
    let mut summary = Summary::read(&path)?;
    summary.merge(entries.clone());
    summary.write(&path)?;
    curve::keep(&folder, drawn)?;
    print!("{}", summary::table(&entries));
    println!(
        "\nKept in {}, drawn in {}",
        path.display(),
        folder.join("index.html").display()
    );
    match (failed.is_empty(), missing.is_empty()) {
        (true, true) => Ok(()),
        (false, true) => Err(Failure::new(format!(
            "not measured to the end: {}",
            failed.join(", ")
        ))),
        _ => Err(Failure::new(format!("not measured: {}", missing.join(", ")))),
    }
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
