//! The broker: every use case of Percloud, decided in one place.
//!
//! It owns the store, the accounts, the packages and the life of grains, and hands out capabilities
//! (`schemas/percloud/front.capnp`) that the edge turns into pages. It opens no network socket, decodes no
//! package and is not in the path of a grain's data: those belong to the edge, to disposable workers and to
//! grain hosts.
#![forbid(unsafe_code)]

mod access;
mod account;
mod audit;
mod backup;
mod broker;
mod catalogue;
mod described;
mod descriptor;
mod device;
mod event;
mod front;
mod grain;
mod job;
mod keeper;
mod layout;
mod limits;
mod log;
mod mend;
mod notice;
mod open;
mod outlet;
mod outside;
mod package;
mod parts;
mod people;
mod pour;
mod powerbox;
mod problem;
mod publish;
mod record;
mod running;
mod sharing;
mod staging;
mod token;
mod traces;
mod tree;
mod turns;
mod upload;
mod view;
mod view_info;
mod visit;
mod warm;

#[cfg(test)]
mod tests;

pub use broker::{Broker, Config, StartError};
pub use layout::Layout;
pub use limits::{Disk, GrainLimits, Limit};
pub use log::tail as tail_of_log;
pub use outside::{
    AdjustReport, AdjustStart, BackupReport, BackupStart, FreezeReport, FreezeStart, GrainStart, HostProcess,
    LaunchError, Launcher, Outside, RestoreReport, RestoreStart, UnpackReport, UnpackStart,
};
pub use parts::Part;
pub use problem::Problem;
pub use running::RefusedSyscall;
pub use visit::Opened;
pub use warm::Memory;
