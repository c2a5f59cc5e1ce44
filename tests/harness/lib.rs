//! Drives a whole Percloud from outside, as a browser would, for tests and measurements.
//!
//! - [`server`]: starts `percloud serve` on a free port with a folder of its own, kills it, starts it again, and insists
//!   that nothing of it is left;
//! - [`owner`]: what its owner does: set up, install, create, open, rename, trash;
//! - [`http`]: a small HTTP client that says exactly what it is told, wrong things included;
//! - [`package`]: makes packages, good and bad;
//! - [`process`]: finds and ends processes by their number;
//! - [`residue`]: counts what a server leaves behind.
//!
//! Everything listens on loopback. Names such as `percloud.localhost` need no resolver: connections go to the address
//! that was listened on, and the name travels in the `Host` header.
#![forbid(unsafe_code)]
#![allow(
    clippy::disallowed_methods,
    reason = "tests start processes and read their surroundings"
)]
#![allow(clippy::missing_panics_doc, reason = "a harness fails by panicking")]

pub mod built;
pub mod http;
pub mod owner;
pub mod package;
pub mod process;
pub mod residue;
pub mod server;
pub mod wait;

pub use owner::{Owner, Visit};
pub use server::Server;
