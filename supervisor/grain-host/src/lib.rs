//! One running app's capabilities, sessions, log and life: the grain host process.
//!
//! The launcher's child calls [`run`] once it has built the sandbox and started the app. From then on this
//! process is the only one that speaks with the app: over its file descriptor 3 it reads what a hostile
//! program wrote, and it passes on calls between the app and the people who have it open. It holds nothing of
//! any other grain, so owning it yields what the app could do anyway.
//!
//! | Module | Question it answers |
//! |---|---|
//! | [`config`] | what a host is given, and how it ends |
//! | `host` | what ends it all |
//! | `wired` | who is joined with whom |
//! | `link` | how bytes become messages, and how much a peer may have under way |
//! | `membrane` | what happens to a capability that crosses between the app and the outside |
//! | `app` | is the app alive, what does it say of itself, how does it open a session |
//! | `neighbours` | how are other grains' objects reached |
//! | `platform` | what the app may ask of Percloud |
//! | `references` | what is broken when an id is ended |
//! | `broker` | what the broker may ask of the host |
//! | `rest` | when does the app stand still |
//! | `crowd` | who is cut off for reading nothing |
//! | `door` | who may enter, with which nonce |
//! | `descriptor` | what does a page ask for in the powerbox |
//! | `log` | where the app's words go |
//! | `usage` | how much of the disk the grain takes |
//! | `share` | which limit the app has met, and whether that ends it |
//! | `attention` | does the app say anything while somebody waits for it |
//!
//! *Invariants.* The host never opens a network socket, never starts a process, never follows a link inside
//! the grain's storage, and never decides who may enter: it admits whom the broker announced.
#![forbid(unsafe_code)]

mod app;
mod attention;
mod broker;
pub mod config;
mod crowd;
mod descriptor;
mod door;
mod guests;
mod host;
mod link;
mod log;
pub mod membrane;
mod neighbours;
mod platform;
mod references;
mod rest;
mod share;
#[cfg(test)]
mod tests;
mod usage;
mod wired;

pub use config::{
    AppHandles, Config, Ended, Freezer, Group, Limit, Limits, Reading, RefusedSyscall, Storage,
};
pub use host::run;
