//! Whole hosts on real sockets: apps and peers that may be hostile, and a broker with real token semantics.

mod admission;
pub(crate) mod app;
mod broker;
mod conditions;
mod context;
mod floods;
mod home;
mod platform;
pub(crate) mod rig;
