//! The egress: a connection to the broker, a door for grain hosts, and the way out.

use std::error::Error;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::ExitCode;

use percloud_sandbox::{confine, process};

use crate::cli::Egress;

/// The number of the connection to the broker; the door follows it.
pub const BROKER_FD: i32 = 3;
/// The socket grain hosts come to.
pub const DOOR_FD: i32 = 4;

/// What the C library reads to find other machines, as far as it is there.
const RESOLVER: [&str; 7] = [
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/host.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/ld.so.cache",
];

/// Where it keeps the parts it loads for that.
const LIBRARIES: [&str; 4] = ["/lib", "/lib64", "/usr/lib", "/usr/lib64"];

/// Serves outlets until the broker is gone.
pub fn run(options: &Egress) -> Result<ExitCode, Box<dyn Error>> {
    crate::serve::log_to_stderr();
    let broker = UnixStream::from(process::take(BROKER_FD)?);
    let door = UnixListener::from(process::take(DOOR_FD)?);
    let config = percloud_egress::Config {
        broker,
        door,
        open: options.open.clone(),
        listen: options.app_listen,
        roots: percloud_egress::system_roots(),
        limits: percloud_egress::Limits::default(),
    };
    // Before the first thread and the first byte of a stranger: what names need, and nothing else on this machine.
    confine::egress(&resolver())?;
    #[cfg(feature = "hostile")]
    percloud_sandbox::hostile::act("egress");
    percloud_egress::run(config)?;
    Ok(ExitCode::SUCCESS)
}

/// Links are followed now: what they lead to is what is allowed.
fn resolver() -> Vec<PathBuf> {
    let paths = RESOLVER.iter().chain(&LIBRARIES);
    let mut paths: Vec<PathBuf> = paths
        .filter_map(|path| std::fs::canonicalize(path).ok())
        .collect();
    paths.sort();
    paths.dedup();
    paths
}
