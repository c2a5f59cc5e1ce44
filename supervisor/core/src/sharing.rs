//! Decides who may do what with a grain, and who may pass it on.
//!
//! [`permission`] and [`role`] are what an app says of itself; [`share`] is what people did; [`ledger`] keeps all of it
//! and [`access`] draws the conclusion. Nothing here is remembered from one decision to the next: roles are stored,
//! never the permissions they meant at the time, so that an app's update or a revoked share is felt at once.

pub mod access;
mod board;
mod decision;
pub mod ledger;
pub mod permission;
pub mod requirement;
pub mod revoke;
pub mod role;
pub mod share;
pub mod transfer;
pub mod ways;

#[cfg(test)]
mod tests;
