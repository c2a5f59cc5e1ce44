//! What an app may ask of Percloud.
//!
//! Every method of the sheet's section 2.x is here, so that an app finds the interfaces it casts to; those that the
//! capability work will bring answer "unimplemented", which apps written for Sandstorm tolerate.

use capnp::any_pointer;
use percloud_schemas::email_capnp::email_send_port;
use percloud_schemas::grain_capnp::{sandstorm_api, session_context};
use percloud_schemas::hack_session_capnp::hack_session_context;

/// The platform as every app finds it on file descriptor 3. Wake locks (`stayAwake`) will be counted by its owner.
pub(crate) fn sandstorm_api() -> capnp::capability::Client {
    let api: sandstorm_api::Client<any_pointer::Owned> = capnp_rpc::new_client(SandstormApi);
    capnp::capability::Client::new(capnp::capability::FromClientHook::into_client_hook(api))
}

/// The context of one session. It can be cast to `HackSessionContext`, and takes mail (trap 12).
pub(crate) fn session_context() -> session_context::Client {
    use capnp::capability::FromClientHook;
    let context: hack_session_context::Client = capnp_rpc::new_client(SessionContext);
    context.cast_to()
}

struct SandstormApi;

impl sandstorm_api::Server<any_pointer::Owned> for SandstormApi {}

struct SessionContext;

impl session_context::Server for SessionContext {}
impl hack_session_context::Server for SessionContext {}
impl email_send_port::Server for SessionContext {}
