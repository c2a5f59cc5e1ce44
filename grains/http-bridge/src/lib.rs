//! The HTTP bridge: lets an app that only speaks HTTP live in a grain.
//!
//! Packed as `/sandstorm-http-bridge`, it is the first process of the sandbox. It starts the app's own
//! server, serves the platform's `MainView` on descriptor 3, and turns every `WebSession` call into one
//! HTTP/1.1 request to `127.0.0.1`. What an app can see of it (header names and order, status mapping,
//! paths) is an interoperability fact shared with every existing package and does not change.
//!
//! * `bridge` wires everything and waits for the end; `child` starts the app and reaps orphans; `app` knows
//!   when its server is up.
//! * `main_view` opens sessions; `session` knows who they belong to; `web_session` serves them, and `mail` those that
//!   bring mail.
//! * `http` is the wire format, free of I/O; `exchange` moves it; `reply` turns it into RPC results.
//! * `upload` and `web_socket` are the two shapes of request that outlive their first call.
//! * `api_socket` and `proxy` are the doors the app itself may knock on; `membrane` stands behind the first.
//! * `picker` lets people give the app's APIs to other grains, which hold them as `http_api`; `identity` remembers
//!   who the people were.
//!
//! The app is trusted with itself only: what it sends is bounded in size before it is kept, and a request that
//! fails takes nothing else with it. One thread, one local task set; no task outlives what it works for by
//! more than seconds.
#![deny(unsafe_code)]

mod api_socket;
mod app;
mod args;
mod bridge;
mod child;
mod config;
mod error;
mod exchange;
mod http;
mod http_api;
mod identity;
mod log;
mod mail;
mod main_view;
mod membrane;
mod permissions;
mod picker;
mod proxy;
mod random;
mod reply;
mod session;
mod sys;
mod upload;
mod web_session;
mod web_socket;

pub use args::{Args, UsageError};
pub use bridge::{Config, run};
pub use log::log;
pub use sys::take_platform_socket;
