//! The egress from outside: real Cap'n Proto over sockets towards a broker and grain hosts, real connections to servers
//! that do as a test says.

mod said;
mod server;
mod sink;
mod world;

mod broken_uploads;
mod contexts;
mod credentials;
mod crowds;
mod door;
mod end;
mod gate;
mod hostile;
mod methods;
mod network;
mod paths;
mod ports;
mod replies;
mod streams;
mod tls;
mod uploads;
mod web_socket;
