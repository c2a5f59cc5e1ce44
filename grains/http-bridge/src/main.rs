//! `sandstorm-http-bridge <port> [--] <command> [<argument>…]`, the first process of a grain that runs an HTTP
//! app. The paths and the proxy port are where every package expects them.
#![forbid(unsafe_code)]

use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::ExitCode;

use percloud_http_bridge::{Args, Config, log, run, take_platform_socket};

fn main() -> ExitCode {
    // First, while 3 is certainly still what the platform put there.
    let platform = take_platform_socket();
    let args = match Args::parse(std::env::args_os().skip(1)) {
        Ok(args) => args,
        Err(error) => {
            log(error);
            return ExitCode::FAILURE;
        }
    };
    let platform = match platform {
        Ok(platform) => platform,
        Err(error) => {
            log(format_args!(
                "descriptor 3 is not a connection to the platform: {error}"
            ));
            return ExitCode::FAILURE;
        }
    };
    run(
        Config {
            bridge_config: "/sandstorm-http-bridge-config".into(),
            api_socket: "/tmp/sandstorm-api".into(),
            proxy: SocketAddrV4::new(Ipv4Addr::LOCALHOST, 15239),
            storage: "/var".into(),
            app_port: args.app_port,
            command: args.command,
        },
        platform,
    )
}
