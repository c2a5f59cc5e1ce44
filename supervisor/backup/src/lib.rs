//! Grain backups: a zip file in Sandstorm's layout (sheet 6.7), written from a grain's folder and read back into one.
//!
//! - [`pack`] writes a grain's storage, its log and what is known about it to any writer, in one pass.
//! - [`restore`] checks a zip file somebody uploaded and unpacks it into an empty folder.
//! - [`GrainInfo`] is the entry `metadata`: what a backup says of the grain it was taken of. Every field is a claim.
//! - [`Limits`] bounds both.
//!
//! Names are bytes and are followed one component at a time below an open folder, never through a link. Memory does not
//! grow with the size of files, only with their number, which is bounded. Both halves run in confined workers: this
//! crate knows neither the broker nor the store nor the sandbox. Why the zip format is read and written here and not by
//! a library is in `docs/adr/0010-grain-backups.md`.
#![forbid(unsafe_code)]

mod error;
mod info;
mod limits;
mod name;
mod pack;
mod restore;
mod zip;

pub use error::{BackupError, Refusal};
pub use info::{GrainInfo, Profile, Pronouns, User};
pub use limits::Limits;
pub use pack::{Packed, Skipped, Why, pack};
pub use restore::{Restored, STORAGE, restore};

#[cfg(test)]
mod tests;
