//! The edge from outside: real TCP towards clients, real Cap'n Proto over sockets towards a broker and a grain that
//! do as a test says.

mod app;
mod broker;
mod client;
mod world;

mod bodies;
mod crowded;
mod hosts;
mod methods;
mod programs;
mod replies;
mod revocation;
mod sessions;
mod sharing;
mod shell;
mod site;
mod slow;
mod streams;
mod websocket;
