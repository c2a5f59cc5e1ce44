//! Runs the bridge as a process between a platform and an app that are both played by the test.

mod app;
mod harness;
mod identities;
mod life;
mod mail;
mod picker;
mod powerbox;
mod proxy;
mod requests;
mod responses;
mod sockets;
mod streaming;
mod web_socket;
mod world;
