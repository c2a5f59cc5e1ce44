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

#[cfg(test)]
mod tests {
    use capnp::ErrorKind;
    use capnp::capability::FromClientHook;
    use percloud_schemas::email_capnp::email_send_port;
    use percloud_schemas::grain_capnp::sandstorm_api;
    use percloud_schemas::hack_session_capnp::hack_session_context;

    use super::*;

    /// The kind of error a call ends with.
    macro_rules! kind {
        ($request:expr) => {
            $request
                .send()
                .promise
                .await
                .err()
                .expect("the method is for later")
                .kind
        };
    }

    #[tokio::test]
    async fn a_context_is_all_an_app_casts_it_to_and_says_what_it_cannot() {
        let context = session_context();
        assert_eq!(kind!(context.close_request()), ErrorKind::Unimplemented);
        assert_eq!(
            kind!(context.get_shared_permissions_request()),
            ErrorKind::Unimplemented
        );
        let hack: hack_session_context::Client = context.clone().cast_to();
        assert_eq!(kind!(hack.get_public_id_request()), ErrorKind::Unimplemented);
        let mail: email_send_port::Client = context.cast_to();
        assert_eq!(kind!(mail.send_request()), ErrorKind::Unimplemented);
        let api: sandstorm_api::Client<any_pointer::Owned> = sandstorm_api().cast_to();
        assert_eq!(kind!(api.stay_awake_request()), ErrorKind::Unimplemented);
    }
}
