//! A whole server, driven from outside over HTTP. Every promise that needs more than one process is shown here.
#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "tests start processes")]

mod accounts;
mod backups;
mod cpp;
mod crowds;
mod fair_share;
mod hostile_apps;
mod hostile_roles;
mod hosts;
mod install;
mod launch;
mod lifecycle;
mod outlets;
mod powerbox;
mod residue;
mod rest;
mod samples;
mod sharing;
mod survival;
