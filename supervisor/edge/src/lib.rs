//! HTTP in front of everything: which host is meant, who may ask, and how an answer reaches a browser safely.
//!
//! Four kinds of hosts are served. The *shell host* carries the page shell and its JSON API, whose every answer
//! comes from the broker. A *session host*, unguessable and made for one browser session of one grain, carries the
//! app: each request becomes a call on a `WebSession` capability held at the grain's own process. An *API host* does
//! the same for programs that bring a token. A *site* shows everybody the files a grain publishes. The edge itself
//! holds no store, no key and no right but the capabilities of the sessions passing through it.
//!
//! - [`config`]: what the edge is given, and every limit it holds to
//! - [`base_url`]: addresses: which host is the shell, which a session, which neither
//! - [`serve`]: threads, listening, connections
//! - [`route`]: from a request to the part that answers it
//! - [`respond`]: refusals as pages and as JSON, nowhere else
//! - [`policy`]: the headers that tell a browser what pages may do
//! - [`shell`]: the shell host: static files and `/api`
//! - [`grain`]: session hosts: hand-over, requests, streams, WebSockets
//! - [`api`]: API hosts: tokens, what strangers may see, CORS
//! - [`site`]: published sites
#![forbid(unsafe_code)]

pub mod base_url;
pub mod config;

mod alarm;
mod api;
mod bodies;
mod body;
mod budget;
mod client;
mod cookie;
mod crowd;
mod edge;
mod grain;
mod intake;
mod language;
mod percent;
mod pipe;
mod policy;
mod respond;
mod room;
mod route;
mod said;
mod serve;
mod shell;
mod site;
mod socket;

pub use base_url::BaseUrl;
pub use config::{Config, Limits};
pub use serve::{EdgeError, run};
pub use shell::assets::Assets;
