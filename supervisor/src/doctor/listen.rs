//! The address to listen on.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};

use super::check::{Check, Group, Subject};

const LISTEN: Subject = Subject::new(Group::Network, "listen-address", "Address to listen on");

pub fn checks(address: SocketAddr) -> Vec<Check> {
    // Let go again at once: nobody who connects in between is kept waiting, for nobody knows of it.
    vec![judge(address, TcpListener::bind(address).map(drop))]
}

fn judge(address: SocketAddr, bound: io::Result<()>) -> Check {
    const CONSEQUENCE: &str = "the server does not start";
    let Err(error) = bound else {
        return LISTEN.good(match address.port() {
            0 => format!("{address}: a free port can be had"),
            _ => format!("{address} is free"),
        });
    };
    match error.kind() {
        ErrorKind::AddrInUse => LISTEN.missing(
            format!("{address} is in use"),
            CONSEQUENCE,
            "nothing, if that is the server you mean; else stop what listens there, or choose another with --listen",
        ),
        ErrorKind::AddrNotAvailable => LISTEN.missing(
            format!("{address} is no address of this machine"),
            CONSEQUENCE,
            "choose another with --listen; 0.0.0.0 or [::] stand for all of this machine's",
        ),
        ErrorKind::PermissionDenied => LISTEN.missing(
            format!("{address} is not for ordinary users to listen on"),
            CONSEQUENCE,
            "choose a port from 1024 up with --listen, or set sysctl net.ipv4.ip_unprivileged_port_start",
        ),
        _ => LISTEN.missing(format!("{address} cannot be listened on: {error}"), CONSEQUENCE, "choose another with --listen"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::Status::*;
    use super::*;

    #[test]
    fn an_address_that_is_taken_is_told_from_a_free_one() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        assert_eq!(checks(address)[0].found, format!("{address} is in use"));
        assert_eq!(checks("127.0.0.1:0".parse().unwrap())[0].status, Good);
        // Set aside for documentation (RFC 5737): no machine's.
        let check = &checks("192.0.2.1:6080".parse().unwrap())[0];
        assert!(check.found.contains("no address of this machine"), "{check:?}");
    }
}
