//! Why something was not measured, in words.

use std::fmt;
use std::io;

/// What was attempted, and why it did not work.
#[derive(Debug)]
pub struct Failure(String);

impl Failure {
    pub fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

/// Names what was attempted.
pub trait Attempt<T> {
    fn attempt(self, what: impl FnOnce() -> String) -> Result<T, Failure>;
}

impl<T> Attempt<T> for io::Result<T> {
    fn attempt(self, what: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(format!("cannot {}: {error}", what())))
    }
}
