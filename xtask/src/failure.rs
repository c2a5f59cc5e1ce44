//! The one error of this crate: a sentence for the person at the keyboard.

use std::fmt;

/// What was attempted, on which thing, and, where there is one, the remedy.
#[derive(Debug)]
pub struct Failure(String);

impl Failure {
    /// A failure with its whole text.
    pub fn new(text: impl Into<String>) -> Self {
        Failure(text.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Adds what was being attempted to an error from elsewhere.
pub trait Attempt<T> {
    /// Turns the error into a [`Failure`] that begins with `what`.
    fn attempt(self, what: impl FnOnce() -> String) -> Result<T, Failure>;
}

impl<T, E: fmt::Display> Attempt<T> for Result<T, E> {
    fn attempt(self, what: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|error| Failure(format!("{}: {error}", what())))
    }
}
