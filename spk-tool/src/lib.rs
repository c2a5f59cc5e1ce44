//! Packages: reads, checks, unpacks and writes Sandstorm's `.spk` files.
//!
//! A package is signed, compressed and usually written by someone else, so everything here treats it as hostile:
//! the signature is checked before anything else is believed, sizes, counts and depths are bounded before memory
//! is used, and neither a large package nor a large file in it is ever held in memory.
//!
//! The road of a package through this crate:
//!
//! - [`verify`] reads the file once, as a stream: package id, decompression into an unnamed temporary file, hash,
//!   signature, and the shape of the archive. What comes out is a [`verify::VerifiedSpk`].
//! - [`manifest`], [`bridge_config`] and [`sandbox`] turn what the app says about itself into plain, bounded Rust values.
//! - [`unpack`] writes the verified tree into a new folder.
//! - [`install`] does all of this for a server, in one call made for a disposable worker process.
//! - [`definition`] evaluates a `sandstorm-pkgdef.capnp`, [`source`] collects the files it names, and [`pack`]
//!   writes them as a package.
//!
//! Left out on purpose: the network, the store, accounts. Authors' OpenPGP signatures are reported as present and
//! never as verified; see `docs/adr/0006-package-definitions.md`.
#![forbid(unsafe_code)]

pub mod archive;
pub mod bridge_config;
pub mod definition;
pub mod error;
pub mod ids;
pub mod install;
pub mod keyring;
pub mod limits;
pub mod manifest;
pub mod pack;
pub mod program;
pub mod replacements;
pub mod sandbox;
pub mod source;
pub mod tree;
pub mod unpack;
pub mod verify;

#[cfg(test)]
mod crafted;

pub use error::SpkError;
pub use ids::{AppId, PackageId};
pub use limits::Limits;
