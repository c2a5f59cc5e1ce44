//! The bridge with its places chosen by the caller, so that tests can run many at once:
//! `bridge_at <directory> <port> [--] <command> [<argument>…]`.
//!
//! Configuration, socket and storage are in the directory; the proxy listens on a loopback address made from the port.
#![forbid(unsafe_code)]

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::process::ExitCode;

use percloud_http_bridge::{Args, Config, log, run, take_platform_socket};

fn main() -> ExitCode {
    let platform = take_platform_socket();
    let mut args = std::env::args_os().skip(1);
    let directory = PathBuf::from(args.next().unwrap_or_default());
    match (Args::parse(args), platform) {
        (Ok(args), Ok(platform)) => {
            let [high, low] = args.app_port.to_be_bytes();
            let config = Config {
                bridge_config: directory.join("config"),
                api_socket: directory.join("api"),
                proxy: SocketAddrV4::new(Ipv4Addr::new(127, 15, high, low), 15239),
                storage: directory.join("var"),
                app_port: args.app_port,
                command: args.command,
            };
            run(config, platform)
        }
        (Err(error), _) => {
            log(error);
            ExitCode::FAILURE
        }
        (_, Err(error)) => {
            log(error);
            ExitCode::FAILURE
        }
    }
}
