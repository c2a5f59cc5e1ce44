//! System calls that no crate of ours wraps safely: one per function, each with its argument why it is sound.
//!
//! Everything else in this crate is safe Rust over these, `rustix` and `nix`.

#[cfg(test)]
mod answers;
mod ask;
mod beside;
mod descriptors;
mod filter;
mod interface;
mod mounts;
mod processes;
#[cfg(feature = "hostile")]
mod raw;
mod signals;

#[cfg(test)]
pub(crate) use answers::answers;
pub(crate) use ask::{
    Asked, adjusted_clock, known, landlock_abi, project_quota, random_is_ready, seccomp_action,
};
pub(crate) use beside::{Beside, Made, Stack, run_beside, start_beside};
pub(crate) use descriptors::{close_copy, close_on_exec_from, dup_onto, own};
pub(crate) use filter::{install_listening, notification, refuse};
pub(crate) use interface::{bring_up, network_of};
pub(crate) use mounts::{Attributes, set_attributes};
pub(crate) use processes::{CStrings, execve, exit_now, fork, single_threaded, spawn, unshare_namespaces};
#[cfg(feature = "hostile")]
pub(crate) use raw::raw;
pub(crate) use signals::{default_dispositions, unblock_all, with_signals_blocked};

/// What the kernel said.
pub(crate) use rustix::io::Errno;

/// Turns the result of a raw call into the errno it left, if it failed.
fn check(result: libc::c_long) -> Result<libc::c_long, Errno> {
    if result == -1 { Err(last()) } else { Ok(result) }
}

fn last() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}
