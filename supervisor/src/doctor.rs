//! `percloud doctor`: looks at the machine and says what a server on it would lack.
//!
//! Each file below answers for one part of the machine. Reading (a file of the kernel's, an answer of a probe) and judging
//! are apart: what judges is given text and numbers, and returns [`Check`]s. What tries is in the sandbox crate.
//!
//! Nothing is changed. The one thing made for a moment is a [`workplace::Workplace`].

mod check;
mod clock;
mod data;
mod file_system;
mod groups;
mod kernel;
mod limits;
mod listen;
mod memory;
mod namespaces;
mod print;
pub mod proc;
mod workplace;

use std::error::Error;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use crate::cli::Doctor;
use check::{Check, Status};
use print::Report;
use workplace::{Target, Workplace};

/// Checks, prints, and says by its exit code whether anything is missing.
pub fn run(options: &Doctor) -> Result<ExitCode, Box<dyn Error>> {
    let target = Target::find(&options.place.data)?;
    let report = Report {
        user: rustix::process::geteuid().as_raw(),
        data: target.data.clone(),
        listen: options.place.listen,
        checks: checks(options, &target),
    };
    let mut output = io::stdout().lock();
    let printed = if options.json {
        serde_json::to_writer_pretty(&mut output, &report.json())
            .map_err(io::Error::from)
            .and_then(|()| writeln!(output))
    } else {
        // Set to nothing counts as not set (no-color.org).
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        report.write(&mut output, output_is_terminal() && !refused)
    };
    match printed.and_then(|()| io::stdout().flush()) {
        // Whoever read it has read enough; the code still says what was found.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        other => other?,
    }
    Ok(ExitCode::from(u8::from(report.count(Status::Missing) > 0)))
}

fn output_is_terminal() -> bool {
    io::stdout().is_terminal()
}

fn checks(options: &Doctor, target: &Target) -> Vec<Check> {
    let workplace = Workplace::make(target);
    let mut checks = kernel::checks(target, workplace.as_ref().ok());
    checks.extend(namespaces::checks());
    checks.extend(groups::checks());
    checks.extend(data::checks(target));
    checks.extend(file_system::checks(target, &workplace));
    checks.extend(limits::checks());
    checks.extend(memory::checks());
    checks.extend(clock::checks());
    checks.extend(listen::checks(options.place.listen));
    checks
}
