//! Runs the workload under callgrind and reads what each of our threads cost.

use std::collections::HashMap;
use std::path::Path;
use std::process::{Command, Stdio};

/// Requests of the shorter and of the longer run. What start and end cost is the same in both.
const REQUESTS: [u64; 2] = [320, 1600];

/// glibc picks copies and searches by what the processor offers, and would count otherwise on another machine.
const TUNABLES: &str = "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX2_Usable,-AVX2,-AVX_Fast_Unaligned_Load,-ERMS,-FSRM,-Prefer_No_VZEROUPPER";

/// The parts that are counted: what they are called, and the crate whose functions tell their thread.
const PARTS: [(&str, &str); 2] = [
    ("edge", "percloud_edge::"),
    ("grain host", "percloud_grain_host::"),
];

/// Instructions per request by part and number of connections.
pub type Counts = std::collections::BTreeMap<String, u64>;

/// Counts with 1 and with 32 connections.
///
/// # Errors
///
/// In words, when callgrind does not run or its report is not as expected.
pub fn measure() -> Result<Counts, String> {
    let folder = tempfile::tempdir().map_err(|error| format!("no temporary folder: {error}"))?;
    let mut counts = Counts::new();
    for connections in [1, 32] {
        let mut totals = Vec::new();
        for requests in REQUESTS {
            let reports = folder.path().join(format!("{connections}-{requests}"));
            std::fs::create_dir(&reports).map_err(|error| format!("no folder for reports: {error}"))?;
            run(requests, connections, &reports)?;
            totals.push(read(&reports)?);
        }
        for (index, (part, _)) in PARTS.iter().enumerate() {
            let more = totals[1][index].saturating_sub(totals[0][index]);
            let name = format!(
                "{part}, {connections} connection{}",
                if connections == 1 { "" } else { "s" }
            );
            counts.insert(name, more / (REQUESTS[1] - REQUESTS[0]));
        }
    }
    Ok(counts)
}

#[expect(clippy::disallowed_methods, reason = "a test starts the tool it is made with")]
fn run(requests: u64, connections: u64, reports: &Path) -> Result<(), String> {
    let own = std::env::current_exe().map_err(|error| format!("this program is not found: {error}"))?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--separate-threads=yes"])
        .arg(format!(
            "--callgrind-out-file={}",
            reports.join("report").display()
        ))
        .arg(own)
        .args(["serve", &requests.to_string(), &connections.to_string()])
        .env("GLIBC_TUNABLES", TUNABLES)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("valgrind cannot be started: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!(
        "the workload failed under callgrind ({}):\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    ))
}

/// What the thread of each part cost: of all threads the one that spent most in its functions.
fn read(reports: &Path) -> Result<[u64; PARTS.len()], String> {
    let entries = std::fs::read_dir(reports).map_err(|error| format!("no reports: {error}"))?;
    let mut best = [(0, 0); PARTS.len()];
    for entry in entries.flatten() {
        let text = std::fs::read(entry.path()).map_err(|error| format!("a report is unreadable: {error}"))?;
        let thread = Thread::read(&String::from_utf8_lossy(&text));
        for (best, (_, prefix)) in best.iter_mut().zip(PARTS) {
            let own = thread.spent_in(prefix);
            if own > best.0 {
                *best = (own, thread.total);
            }
        }
    }
    if best.iter().any(|(own, _)| *own == 0) {
        return Err("a report shows no function of ours; is this a build without symbols?".to_owned());
    }
    Ok(best.map(|(_, total)| total))
}

/// One thread's report: instructions by function, without those of functions it calls.
#[derive(Default)]
struct Thread {
    total: u64,
    functions: HashMap<String, u64>,
}

impl Thread {
    /// Reads callgrind's format (valgrind manual, "Callgrind Format Specification").
    fn read(text: &str) -> Self {
        let mut thread = Self::default();
        let mut names: HashMap<&str, &str> = HashMap::new();
        let mut current = "";
        let mut is_call = false;
        for line in text.lines() {
            if let Some(name) = line.strip_prefix("fn=") {
                current = resolve(name, &mut names);
            } else if let Some(name) = line.strip_prefix("cfn=") {
                resolve(name, &mut names);
            } else if line.starts_with("calls=") {
                is_call = true;
            } else if line.starts_with(['+', '-', '*'])
                || line.starts_with(|first: char| first.is_ascii_digit())
            {
                let cost = line.split(' ').nth(1).and_then(|cost| cost.parse::<u64>().ok());
                if !std::mem::take(&mut is_call)
                    && let Some(cost) = cost
                {
                    thread.total += cost;
                    *thread.functions.entry(current.to_owned()).or_default() += cost;
                }
            }
        }
        thread
    }

    fn spent_in(&self, prefix: &str) -> u64 {
        let own = self.functions.iter().filter(|(name, _)| name.contains(prefix));
        own.map(|(_, cost)| cost).sum()
    }
}

/// A name is written out once and then referred to by a number in front of it.
fn resolve<'text>(name: &'text str, names: &mut HashMap<&'text str, &'text str>) -> &'text str {
    match name.split_once(' ') {
        Some((number, name)) => {
            names.insert(number, name);
            name
        }
        None => names.get(name).copied().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_those_of_the_functions_themselves() {
        let report = "version: 1\nevents: Ir\n\nfn=(1) percloud_edge::serve\n12 5\n+3 7\ncfn=(2) memcpy\ncalls=2 40\n\
                      16 1000\n* 2\n\nfn=(2)\n40 1000\n\nfn=(1)\n-4 1\ntotals: 1015\n";
        let thread = Thread::read(report);
        assert_eq!(thread.total, 1015);
        assert_eq!(thread.spent_in("percloud_edge::"), 15);
        assert_eq!(thread.spent_in("memcpy"), 1000);
    }
}
