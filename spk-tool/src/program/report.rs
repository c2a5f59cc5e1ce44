//! Says on standard error what went wrong, and how far things are.

use std::error::Error;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use super::{Failure, arguments::Common};

/// Prints an error with its causes; as JSON on standard output where JSON was asked for.
pub(super) fn failure(failure: &Failure, as_json: bool) {
    let message = chain(failure);
    if as_json {
        let code = match failure {
            Failure::Package(error) => error.code(),
            Failure::Use(_) => "usage",
            _ => "failed",
        };
        let json = serde_json::json!({ "error": { "code": code, "message": message } });
        // If this cannot be written either, the exit status remains.
        let _ = writeln!(io::stdout(), "{json}");
    }
    let _ = writeln!(io::stderr(), "spk: {message}");
}

fn chain(failure: &Failure) -> String {
    let mut message = failure.to_string();
    let mut cause = failure.source();
    while let Some(error) = cause {
        message.push_str(": ");
        message.push_str(&error.to_string());
        cause = error.source();
    }
    message
}

/// Tells the author something on standard error.
pub(super) fn note(common: &Common, text: &str) {
    if !common.quiet {
        let _ = writeln!(io::stderr(), "spk: {text}");
    }
}

/// A line on the terminal that says how far things are. Silent elsewhere, and with `--quiet`.
pub(super) struct Meter {
    shown: bool,
    last: Option<Instant>,
}

impl Meter {
    pub(super) fn new(common: &Common) -> Self {
        Self {
            shown: !common.quiet && io::stderr().is_terminal(),
            last: None,
        }
    }

    pub(super) fn show(&mut self, doing: &str, done: u64, total: Option<u64>) {
        const INTERVAL: Duration = Duration::from_millis(100);
        if !self.shown || self.last.is_some_and(|last| last.elapsed() < INTERVAL) {
            return;
        }
        self.last = Some(Instant::now());
        let amount = match total {
            Some(total) if total > 0 => format!("{} %", done.min(total) * 100 / total),
            _ => bytes(done),
        };
        let _ = write!(io::stderr(), "\r\x1b[K{doing}: {amount}");
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        if self.last.is_some() {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

/// Writes a number of bytes for people.
pub(super) fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if count < 1000 {
        return format!("{count} bytes");
    }
    let mut unit = 0;
    let mut scaled = count / 100;
    while scaled >= 10_000 && unit < UNITS.len() - 1 {
        scaled /= 1000;
        unit += 1;
    }
    format!("{}.{} {}", scaled / 10, scaled % 10, UNITS[unit])
}
