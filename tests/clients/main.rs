//! Programs that people own, unmodified, against a whole server: each brings a device password and finds its grain by
//! the address that came with it.
#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "tests start processes")]

mod calendars;
mod device;
mod files;
mod mirror;
mod program;
mod repositories;
mod requests;
