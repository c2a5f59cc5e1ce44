//! Writes the bridge's own lines into the grain's log.

use std::fmt::Display;

/// Writes one line to standard error, recognisable among the app's own output.
///
/// A log that cannot be written is not a reason to stop serving, so failures are ignored.
pub fn log(message: impl Display) {
    use std::io::Write;
    let line = format!("** HTTP-BRIDGE: {message}\n");
    let _ = std::io::stderr().write_all(line.as_bytes());
}
