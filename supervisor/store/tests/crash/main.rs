//! Crashes a store on purpose and asserts that nothing acknowledged is lost and nothing is half-done.
//!
//! The children are this program again, told by its arguments what to do. Cases that need a right this machine does not
//! grant are counted as ignored, with the feature that is missing.

#![forbid(unsafe_code)]
#![allow(
    clippy::disallowed_methods,
    reason = "the cases start this program again, and mount"
)]

mod denied;
mod full;
mod image;
mod kill;
mod outcome;
mod workload;

use std::io::Write;
use std::panic::catch_unwind;
use std::process::ExitCode;
use std::time::Instant;

use outcome::Outcome;

/// A case and its name.
type Case = (&'static str, fn() -> Outcome);

const CASES: &[Case] = &[
    (
        "a_killed_writer_loses_nothing_acknowledged",
        kill::killed_at_random,
    ),
    ("a_killed_rebuild_is_begun_again", kill::killed_while_rebuilding),
    (
        "a_file_that_cannot_grow_stops_the_store_cleanly",
        full::file_size_limit,
    ),
    (
        "a_store_of_somebody_else_is_named_as_such",
        denied::of_somebody_else,
    ),
    ("a_full_disk_is_refused_until_there_is_room", full::full_disk),
    ("a_crashed_host_loses_nothing_acknowledged", image::crashed_host),
    ("the_image_case_would_notice_a_missing_sync", image::control),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some((role, rest)) = arguments.split_first()
        && let Some(role) = role.strip_prefix("child:")
    {
        return child(role, rest);
    }
    let filters: Vec<&String> = arguments
        .iter()
        .filter(|argument| !argument.starts_with("--"))
        .collect();
    let chosen: Vec<&Case> = CASES
        .iter()
        .filter(|(name, _)| filters.is_empty() || filters.iter().any(|filter| name.contains(filter.as_str())))
        .collect();
    if arguments.iter().any(|argument| argument == "--list") {
        chosen.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    println!("\nrunning {} tests", chosen.len());
    let since = Instant::now();
    let (mut passed, mut failed, mut ignored) = (0, 0, 0);
    for (name, case) in &chosen {
        print!("test {name} ... ");
        let _ = std::io::stdout().flush();
        match catch_unwind(case) {
            Ok(Outcome::Passed(note)) => {
                passed += 1;
                println!("ok ({note})");
            }
            Ok(Outcome::Unavailable(missing)) => {
                ignored += 1;
                println!("ignored, {missing}");
            }
            Err(_) => {
                failed += 1;
                println!("FAILED");
            }
        }
    }
    let verdict = if failed == 0 { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {verdict}. {passed} passed; {failed} failed; {ignored} ignored; 0 measured; {} filtered out; \
         finished in {:.2}s\n",
        CASES.len() - chosen.len(),
        since.elapsed().as_secs_f64()
    );
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn child(role: &str, arguments: &[String]) -> ExitCode {
    match role {
        "write" => workload::write_for_ever(arguments[0].as_ref()),
        "write-unsynced" => workload::write_unsynced_for_ever(arguments[0].as_ref()),
        "denied" => denied::inside(arguments[0].as_ref()),
        "rebuild" => kill::rebuild(arguments[0].as_ref()),
        "full-disk" => full::inside(arguments[0].as_ref()),
        "image" => image::inside(arguments[0].as_ref()),
        "image-control" => image::control_inside(arguments[0].as_ref()),
        other => panic!("no child is called {other}"),
    }
    ExitCode::SUCCESS
}
