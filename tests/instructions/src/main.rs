//! Counts the instructions that the edge and the grain host spend on a warm request, and compares them with the numbers
//! in `expected.json`.
//!
//! Times are noisy where others use the machine too; instructions are not. Edge, grain host, app and broker run as
//! threads of one process, on real sockets and without a sandbox, under callgrind, which counts each thread by itself.
//! Only the difference between a long and a short run counts, so that starting costs nothing. What the kernel does is
//! not seen.
#![forbid(unsafe_code)]

mod count;
mod workload;

use std::process::ExitCode;

use count::Counts;

/// As in the shipped program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Beside this crate's manifest.
const EXPECTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/expected.json");
/// How much more or less than expected is still the same, in percent. With many connections the kernel decides how many
/// messages are read at once, which callgrind does not see and the machine's other work changes.
fn tolerance(name: &str) -> u64 {
    if name.ends_with(" 1 connection") { 5 } else { 20 }
}

/// How often is counted at most.
const ATTEMPTS: usize = 3;

const USAGE: &str = "\
Counts the instructions of a warm request under callgrind and compares them with expected.json.

Usage: percloud-instructions [--renew]

  --renew   Write the numbers of this build to expected.json instead.
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match arguments[..] {
        ["serve", requests, connections] => match (requests.parse(), connections.parse()) {
            (Ok(requests), Ok(connections)) => {
                workload::run(requests, connections);
                Ok(())
            }
            _ => Err(USAGE.to_owned()),
        },
        [] => check(),
        ["--renew"] => count::measure().and_then(|counts| renew(&counts)),
        _ => Err(USAGE.to_owned()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

fn renew(counts: &Counts) -> Result<(), String> {
    let mut text = serde_json::to_string_pretty(counts).map_err(|error| error.to_string())?;
    text.push('\n');
    std::fs::write(EXPECTED, text).map_err(|error| format!("{EXPECTED} cannot be written: {error}"))?;
    for (name, count) in counts {
        println!("{name}: {count} instructions per request");
    }
    Ok(())
}

/// Compares, and counts again when something is beyond its tolerance: the order in which threads run is chance and counts
/// a little, what a change costs is there every time.
fn check() -> Result<(), String> {
    for _ in 1..ATTEMPTS {
        if compare(&count::measure()?).is_ok() {
            return Ok(());
        }
    }
    compare(&count::measure()?)
}

fn compare(counts: &Counts) -> Result<(), String> {
    let text =
        std::fs::read_to_string(EXPECTED).map_err(|error| format!("{EXPECTED} cannot be read: {error}"))?;
    let expected: Counts =
        serde_json::from_str(&text).map_err(|error| format!("{EXPECTED} is not as expected: {error}"))?;
    let mut beyond = Vec::new();
    for (name, count) in counts {
        let known = expected.get(name).copied().unwrap_or_default();
        let verdict = judge(*count, known, tolerance(name));
        println!(
            "{name}: {count} instructions per request, {known} expected: {}",
            verdict.unwrap_or("good")
        );
        beyond.extend(verdict.map(|verdict| format!("{name} {verdict} by more than {} %", tolerance(name))));
    }
    if beyond.is_empty() {
        return Ok(());
    }
    Err(format!(
        "{}. Where that is meant: `cargo xtask test instructions --renew`",
        beyond.join("; ")
    ))
}

fn judge(count: u64, expected: u64, tolerance: u64) -> Option<&'static str> {
    let slack = expected * tolerance / 100;
    if count > expected + slack {
        Some("takes more than expected")
    } else if count + slack < expected {
        // Otherwise the next change could take back unnoticed what this one gained.
        Some("takes less than expected")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_and_less_are_noticed_beyond_the_tolerance() {
        assert_eq!(judge(1000, 1000, 5), None);
        assert_eq!(judge(1050, 1000, 5), None);
        assert_eq!(judge(1051, 1000, 5), Some("takes more than expected"));
        assert_eq!(judge(950, 1000, 5), None);
        assert_eq!(judge(949, 1000, 5), Some("takes less than expected"));
        assert_eq!(judge(1, 0, 5), Some("takes more than expected"));
        assert_eq!(judge(1200, 1000, tolerance("edge, 32 connections")), None);
        assert_eq!(tolerance("edge, 1 connection"), 5);
    }
}
