//! Cap'n Proto interfaces: Sandstorm's, wire-identical, and Percloud's own.
//!
//! The modules are generated from the `.capnp` files beside `src/` and committed, so building needs no
//! schema compiler; `cargo xtask schemas` regenerates them. Documentation is in the schemas themselves.
#![forbid(unsafe_code)]

#[rustfmt::skip]
#[allow(missing_docs, unused_qualifications, clippy::all)]
#[path = "generated/activity_capnp.rs"]
pub mod activity_capnp;
#[rustfmt::skip]
#[allow(missing_docs, unused_qualifications, clippy::all)]
#[path = "generated/api_session_capnp.rs"]
pub mod api_session_capnp;
#[rustfmt::skip]
#[allow(missing_docs, unused_qualifications, clippy::all)]
#[path = "generated/api_session_impl_capnp.rs"]
pub mod api_session_impl_capnp;
#[rustfmt::skip]
#[allow(missing_docs, unused_qualifications, clippy::all)]
#[path = "generated/app_index_capnp.rs"]
pub mod app_index_capnp;
#[rustfmt::skip]
#[allow(missing_docs, unused_qualifications, clippy::all)]
#[path = "generated/appid_replacements_capnp.rs"]
pub mod appid_replacements_capnp;
#[rustfmt::skip]
#[allow(missing_docs, unused_qualifications, clippy::all)]
#[path = "generated/backend_capnp.rs"]
pub mod backend_capnp;
#[rustfmt::skip]
#[allow(missing_docs, unused_qualifications, clippy::all)]
#[path = "generated/bridge_proxy_capnp.rs"]
pub mod bridge_proxy_capnp;
#[rustfmt::skip]
#[allow(missing_docs, unused_qualifications, clippy::all)]
#[path = "generated/egress_capnp.rs"]
pub mod egress_capnp;
#[rustfmt::skip]
#[allow(missing_docs, unused_qualifications, clippy::all)]
#[path = "generated/email_capnp.rs"]
pub mod email_capnp;
#[rustfmt::skip]
#[allow(missing_docs, unused_qualifications, clippy::all)]
#[path = "generated/email_impl_capnp.rs"]
pub mod email_impl_capnp;
#[rustfmt::skip]
#[allow(missing_docs, unused_qualifications, clippy::all)]
#[path = "generated/fixture_capnp.rs"]
pub mod fixture_capnp;
#[rustfmt::skip]
#[allow(missing_docs, unused_qualifications, clippy::all)]
#[path = "generated/front_capnp.rs"]
pub mod front_capnp;
#[rustfmt::skip]
#[allow(missing_docs, unused_qualifications, clippy::all)]
#[path = "generated/grain_capnp.rs"]
pub mod grain_capnp;
#[rustfmt::skip]
#[allow(missing_docs, unused_qualifications, clippy::all)]
#[path = "generated/hack_session_capnp.rs"]
pub mod hack_session_capnp;
#[rustfmt::skip]
#[allow(missing_docs, unused_qualifications, clippy::all)]
#[path = "generated/host_capnp.rs"]
pub mod host_capnp;
#[rustfmt::skip]
#[allow(missing_docs, unused_qualifications, clippy::all)]
#[path = "generated/identity_capnp.rs"]
pub mod identity_capnp;
#[rustfmt::skip]
#[allow(missing_docs, unused_qualifications, clippy::all)]
#[path = "generated/identity_impl_capnp.rs"]
pub mod identity_impl_capnp;
#[rustfmt::skip]
#[allow(missing_docs, unused_qualifications, clippy::all)]
#[path = "generated/ip_capnp.rs"]
pub mod ip_capnp;
#[rustfmt::skip]
#[allow(missing_docs, unused_qualifications, clippy::all)]
#[path = "generated/package_capnp.rs"]
pub mod package_capnp;
#[rustfmt::skip]
#[allow(missing_docs, unused_qualifications, clippy::all)]
#[path = "generated/payments_capnp.rs"]
pub mod payments_capnp;
#[rustfmt::skip]
#[allow(missing_docs, unused_qualifications, clippy::all)]
#[path = "generated/persistent_capnp.rs"]
pub mod persistent_capnp;
#[rustfmt::skip]
#[allow(missing_docs, unused_qualifications, clippy::all)]
#[path = "generated/persistentuiview_capnp.rs"]
pub mod persistentuiview_capnp;
#[rustfmt::skip]
#[allow(missing_docs, unused_qualifications, clippy::all)]
#[path = "generated/powerbox_capnp.rs"]
pub mod powerbox_capnp;
#[rustfmt::skip]
#[allow(missing_docs, unused_qualifications, clippy::all)]
#[path = "generated/sandstorm_http_bridge_capnp.rs"]
pub mod sandstorm_http_bridge_capnp;
#[rustfmt::skip]
#[allow(missing_docs, unused_qualifications, clippy::all)]
#[path = "generated/sandstorm_http_bridge_internal_capnp.rs"]
pub mod sandstorm_http_bridge_internal_capnp;
#[rustfmt::skip]
#[allow(missing_docs, unused_qualifications, clippy::all)]
#[path = "generated/submit_capnp.rs"]
pub mod submit_capnp;
#[rustfmt::skip]
#[allow(missing_docs, unused_qualifications, clippy::all)]
#[path = "generated/supervisor_capnp.rs"]
pub mod supervisor_capnp;
#[rustfmt::skip]
#[allow(missing_docs, unused_qualifications, clippy::all)]
#[path = "generated/update_tool_capnp.rs"]
pub mod update_tool_capnp;
#[rustfmt::skip]
#[allow(missing_docs, unused_qualifications, clippy::all)]
#[path = "generated/util_capnp.rs"]
pub mod util_capnp;
#[rustfmt::skip]
#[allow(missing_docs, unused_qualifications, clippy::all)]
#[path = "generated/web_publishing_capnp.rs"]
pub mod web_publishing_capnp;
#[rustfmt::skip]
#[allow(missing_docs, unused_qualifications, clippy::all)]
#[path = "generated/web_session_capnp.rs"]
pub mod web_session_capnp;
