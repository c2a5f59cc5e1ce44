//! Percloud: a personal, permanent cloud. One executable, several roles.
//!
//! `serve` is the parent of a server: it starts this same executable again as broker, launcher, edge and egress.
#![forbid(unsafe_code)]

mod attempt;
mod backup_workers;
mod base;
mod cli;
mod doctor;
mod edge_role;
mod egress_role;
mod failed_start;
mod launcher_role;
mod parent_role;
mod processes;
mod serve;
mod trial;
mod wiring;

use std::process::ExitCode;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let outcome = match cli::Cli::parse().command {
        cli::Command::Serve(options) => parent_role::run(&options),
        cli::Command::Try(options) => attempt::run(&options),
        cli::Command::Doctor(options) => doctor::run(&options),
        cli::Command::Edge(options) => edge_role::run(&options),
        cli::Command::Egress(options) => egress_role::run(&options),
        cli::Command::Launcher(options) => launcher_role::run(&options),
        cli::Command::Broker(options) => serve::run(&options),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("percloud: {error}");
            let mut source = error.source();
            while let Some(cause) = source {
                eprintln!("  because: {cause}");
                source = cause.source();
            }
            ExitCode::FAILURE
        }
    }
}
