//! Memory at rest: the server without a grain, and what each running grain adds.

use std::time::Duration;

use percloud_tests::{Server, wait};

use super::client::Shell;
use super::megabytes;
use crate::Plan;
use crate::failure::Failure;
use crate::process::pss_bytes;
use crate::summary::Entry;

/// The server without a running grain, all its processes.
pub fn of_the_server(pids: &dyn Fn() -> Vec<u32>) -> Result<Entry, Failure> {
    Ok(megabytes("idle_server_pss", at_rest(pids)?).with_note("all processes, no grain running"))
}

/// The memory of `pids` once it has stopped changing, in bytes: allocators give back a little after they may.
fn at_rest(pids: &dyn Fn() -> Vec<u32>) -> Result<f64, Failure> {
    let mut last = None;
    let mut failure = None;
    let settled = wait::within(Duration::from_secs(10), || {
        // Asked less often than the deadline's pace: a pause is what shows that nothing changes.
        std::thread::sleep(Duration::from_millis(250));
        match pss_bytes(&pids()) {
            Ok(now) => {
                let before = last.replace(now);
                before
                    .filter(|before| before.abs_diff(now) * 200 <= now)
                    .map(|_| now)
            }
            Err(error) => {
                failure = Some(error);
                None
            }
        }
    });
    match (settled.or(last), failure) {
        (Some(bytes), _) => Ok(bytes as f64),
        (None, failure) => Err(failure.unwrap_or_else(|| Failure::new("no memory was measured"))),
    }
}

/// A running, idle grain: all its processes, that is app and grain host.
///
/// What the others need for it is not in this: their memory moves by more than that for reasons of their own.
pub fn of_a_grain(plan: &Plan, server: &Server, shell: &Shell, app: &str) -> Result<Entry, Failure> {
    let count = if plan.quick { 4 } else { 24 };
    let before = server.processes();
    let grains = (0..count)
        .map(|_| shell.create(app))
        .collect::<Result<Vec<String>, Failure>>()?;
    let visits = grains
        .iter()
        .map(|grain| shell.open(grain))
        .collect::<Result<Vec<_>, Failure>>()?;
    let added = || {
        let now = server.processes();
        now.difference(&before)
            .map(|process| process.pid)
            .collect::<Vec<u32>>()
    };
    let bytes = at_rest(&added)?;
    let processes = added().len();
    drop(visits);
    for grain in &grains {
        shell.put_to_sleep(grain)?;
    }
    Ok(
        megabytes("idle_grain_pss", bytes / f64::from(count)).with_note(format!(
            "of {count} grains, {processes} processes; kernel memory not included"
        )),
    )
}
