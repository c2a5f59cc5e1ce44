//! The sandbox an app runs in, and the launcher that builds sandboxes: everything dangerous, in one place.
//!
//! An app becomes process 1 of namespaces of its own, on a root made of its package (read-only) and its storage,
//! with no capability, no way to gain one, a system call filter and a Landlock domain. What it can touch beyond
//! that is what it was handed: file descriptor 3.
//!
//! - [`start`] builds one sandbox and runs one app in it. The caller is a process with a single thread: the grain
//!   host, just forked by the launcher. The app's tree dies with the caller.
//! - [`launcher`] is the small process that forks grain hosts and workers on request, and its client.
//! - [`process`] starts the long-lived roles by `exec`, with numbered descriptors.
//! - [`confine`] takes rights away from a process of ours that is about to read hostile bytes.
//! - [`seccomp`] holds the call policies as commented data, and the compiler that makes them balanced filters.
//! - [`refused`] tells which calls an app tried and was denied.
//! - [`cgroup`] bounds memory and processes where the machine lets us.
//! - [`probe`] tries what all this needs of the machine, and leaves nothing behind; [`feature`] names it, with remedies.
//!
//! This crate knows nothing of users, storage formats or Cap'n Proto, and nothing here is asynchronous. All `unsafe`
//! is in `sys`, one system call per function.

#![deny(unsafe_code)]

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
compile_error!(
    "the sandbox is written for Linux on x86-64: call numbers and audit architecture are that machine's"
);

#[cfg(all(feature = "hostile", not(debug_assertions)))]
compile_error!("hostile roles are for tests: no release build has them");

pub mod cgroup;
pub mod confine;
mod error;
mod exit;
pub mod feature;
#[cfg(feature = "hostile")]
pub mod hostile;
mod ids;
pub mod launcher;
pub mod mountinfo;
pub mod parent;
pub mod probe;
pub mod process;
pub mod refused;
pub mod seccomp;
mod spec;
mod start;
#[allow(unsafe_code, reason = "the one place for it")]
mod sys;

pub use error::{StartError, Step};
pub use exit::{Exit, kill, reap};
pub use spec::{CgroupMode, Limits, Policy, SandboxSpec};
pub use start::{App, prepare, start, weaknesses};
