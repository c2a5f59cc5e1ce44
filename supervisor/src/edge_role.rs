//! The edge: the listening socket, one connection to the broker per thread, nothing else.

use std::error::Error;
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use percloud_sandbox::{confine, process};

use crate::cli::Edge;

/// The number of the listening socket; the connections to the broker follow it.
pub const LISTENER_FD: i32 = 3;

/// Serves browsers until the broker is gone.
pub fn run(options: &Edge) -> Result<ExitCode, Box<dyn Error>> {
    crate::serve::log_to_stderr();
    let listener = TcpListener::from(process::take(LISTENER_FD)?);
    let brokers: Result<Vec<UnixStream>, _> = (0..options.threads)
        .map(|thread| process::take(LISTENER_FD + 1 + i32::from(thread)).map(UnixStream::from))
        .collect();
    let config = percloud_edge::Config {
        listeners: vec![listener],
        brokers: brokers?,
        base: options.base.parse()?,
        assets: percloud_edge::Assets::embedded(),
        limits: percloud_edge::Limits::default(),
    };
    // Before the first thread and the first byte of a stranger: no file, no program, no new privilege.
    confine::edge(&options.doors)?;
    #[cfg(feature = "hostile")]
    percloud_sandbox::hostile::act("edge");
    percloud_edge::run(config)?;
    Ok(ExitCode::SUCCESS)
}
