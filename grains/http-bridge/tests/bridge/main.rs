//! Runs the bridge as a process between a platform and an app that are both played by the test.

mod app;
mod harness;
mod life;
mod powerbox;
mod requests;
mod responses;
mod sockets;
mod streaming;
mod web_socket;
