//! The rules of Percloud: names of things, secrets, who may do what with a grain, what fits what in the powerbox, what a
//! grain may become, when to say "not so fast".
//!
//! Pure on purpose: no input or output, no clock, no randomness. Callers bring `now` and fresh bytes, so every
//! rule can be tested as a table of cases.
#![forbid(unsafe_code)]

pub mod account;
pub mod audit;
pub mod digest;
pub mod grain;
pub mod host;
pub mod id;
pub mod petname;
pub mod powerbox;
pub mod secret;
pub mod sharing;
pub mod throttle;
pub mod time;
pub mod warm;
pub mod web_address;
