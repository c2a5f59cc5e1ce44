//! The egress: the only code of Percloud that opens connections to other machines, in a process of its own.
//!
//! A grain has no network. What a person lets it reach is an *outlet*: a website, the network, or ports of this machine.
//! The broker announces each with a nonce; the grain's host knocks at the [`door`] with it and takes a capability:
//! an `ApiSession` ([`site`]), an `IpNetwork` or an `IpInterface` ([`ip`]). Every connection goes through the [`gate`], which
//! resolves names, looks at the address, and connects to that very address. What a grain takes, however often, shares the
//! bounds of its [`holder`].
//!
//! The process holds no store and no key of the server, only the credentials of the outlets that are alive.
#![forbid(unsafe_code)]

mod address;
mod door;
mod gate;
mod holder;
mod ip;
mod outlet;
mod run;
mod site;
mod tls;
mod way_out;

pub use address::is_public;
pub use run::{Config, Limits, StartError, run, serve};
pub use tls::system_roots;
