//! What an app may do to the person in front of one session.

use std::rc::Rc;

use capnp::Error;
use capnp::capability::FromClientHook;
use percloud_schemas::email_capnp::email_send_port;
use percloud_schemas::grain_capnp::session_context;
use percloud_schemas::hack_session_capnp::hack_session_context;
use percloud_schemas::host_capnp::session_keeper;

use super::seal::Recipient;
use super::{Platform, TOKEN, passed, permissions};
use crate::membrane::{Id, Membrane, Side, WeakMembrane};

/// What calls on a tied capability fail with once its person lost the permissions.
const UNTIED: &str = "the person this capability was tied to may no longer do this";
/// Text of methods that Sandstorm removed.
const REMOVED: &str = "this method was removed; newer apps do the same through the powerbox";
/// Text of methods that wait for mail.
const NO_MAIL: &str = "this server sends no mail yet";
/// Bytes of a path in another grain.
const PATH: usize = 4096;

/// The context of one session. It can be cast to `HackSessionContext`, and takes mail (trap 12). It is given to the app
/// through the membrane of the session, with which it dies.
pub(crate) fn session_context(
    platform: Rc<Platform>,
    session: Id,
    keeper: Option<session_keeper::Client>,
    membrane: &Membrane,
) -> session_context::Client {
    let context: hack_session_context::Client = capnp_rpc::new_client(SessionContext {
        platform,
        session,
        keeper,
        membrane: membrane.downgrade(),
    });
    membrane.carry(context.cast_to(), Side::Outside)
}

struct SessionContext {
    platform: Rc<Platform>,
    session: Id,
    keeper: Option<session_keeper::Client>,
    /// The session's own.
    membrane: WeakMembrane,
}

/// Gives a capability away, with what the app says of it. What `offer` and `fulfillRequest` are told and tell the broker
/// differs in its types alone.
macro_rules! give {
    ($context:ident, $params:ident: $said:ident, $recipient:ident, $call:ident) => {{
        let cap = passed($params.get()?.get_cap())?;
        let taken = $context.platform.taken(&$params)?;
        let taken = taken.get()?.get_as::<session_context::$said::Reader<'_>>()?;
        let permissions = permissions(taken.get_required_permissions()?)?;
        let (descriptor, display) = (taken.get_descriptor()?, taken.get_display_info()?);
        let keeper = $context.keeper()?;
        let recipient = Recipient::$recipient($context.session);
        let token = $context.platform.save(cap, &recipient, None).await?;
        let mut request = keeper.$call();
        let mut call = request.get();
        call.set_token(&token);
        call.set_permissions(&permissions[..])?;
        call.set_descriptor(descriptor)?;
        call.set_display(display)?;
        request.send().promise.await.map(drop)
    }};
}

impl SessionContext {
    fn keeper(&self) -> Result<&session_keeper::Client, Error> {
        self.keeper
            .as_ref()
            .ok_or_else(|| Error::unimplemented("nobody is in front of this session".to_owned()))
    }
}

impl session_context::Server for SessionContext {
    async fn get_shared_permissions(
        self: Rc<Self>,
        _: session_context::GetSharedPermissionsParams,
        mut results: session_context::GetSharedPermissionsResults,
    ) -> Result<(), Error> {
        let answer = self.keeper()?.permissions_request().send().promise.await?;
        results.get().set_var(answer.get()?.get_var()?);
        Ok(())
    }

    async fn tie_to_user(
        self: Rc<Self>,
        params: session_context::TieToUserParams,
        mut results: session_context::TieToUserResults,
    ) -> Result<(), Error> {
        let cap = passed(params.get()?.get_cap())?;
        let taken = self.platform.taken(&params)?;
        let taken = taken
            .get()?
            .get_as::<session_context::tie_to_user_params::Reader<'_>>()?;
        // As the app holds it: in this session's wrapper, an object of the app would die with the session.
        let membrane = self.membrane.upgrade();
        let membrane = membrane.ok_or_else(|| Error::disconnected("the session is over".to_owned()))?;
        let cap = membrane.carry(cap, Side::Outside);
        let expectation = self.platform.expect()?;
        let mut request = self.keeper()?.tie_request();
        request
            .get()
            .set_permissions(&permissions(taken.get_required_permissions()?)?[..])?;
        request.get().set_display(taken.get_display_info()?)?;
        let answer = request.send().promise.await?;
        let id = Id::try_from(answer.get()?.get_id()?);
        let id = id.map_err(|_| Error::failed("the id of a tie has 16 bytes".to_owned()))?;
        let (tied, membrane) = self.platform.realm.tie(cap, Some(id));
        expectation.list(id, &membrane, UNTIED);
        results.get().init_tied_cap().set_as_capability(tied.hook);
        Ok(())
    }

    async fn offer(
        self: Rc<Self>,
        params: session_context::OfferParams,
        _: session_context::OfferResults,
    ) -> Result<(), Error> {
        give!(self, params: offer_params, Offer, offer_request)
    }

    async fn request(
        self: Rc<Self>,
        params: session_context::RequestParams,
        mut results: session_context::RequestResults,
    ) -> Result<(), Error> {
        let taken = self.platform.taken(&params)?;
        let taken = taken
            .get()?
            .get_as::<session_context::request_params::Reader<'_>>()?;
        let expectation = self.platform.expect()?;
        let mut request = self.keeper()?.request_request();
        request.get().set_query(taken.get_query()?)?;
        request
            .get()
            .set_permissions(&permissions(taken.get_required_permissions()?)?[..])?;
        // No deadline: people take their time.
        let answer = request.send().promise.await?;
        let answer = answer.get()?;
        let cap = self.platform.revive(expectation, answer.get_restored()?).await?;
        let mut chosen = results.get();
        chosen.reborrow().init_cap().set_as_capability(cap.hook);
        chosen.set_descriptor(answer.get_descriptor()?)
    }

    async fn fulfill_request(
        self: Rc<Self>,
        params: session_context::FulfillRequestParams,
        _: session_context::FulfillRequestResults,
    ) -> Result<(), Error> {
        give!(self, params: fulfill_request_params, Request, fulfil_request)
    }

    async fn close(
        self: Rc<Self>,
        _: session_context::CloseParams,
        _: session_context::CloseResults,
    ) -> Result<(), Error> {
        self.keeper()?.close_request().send().promise.await.map(drop)
    }

    async fn open_view(
        self: Rc<Self>,
        params: session_context::OpenViewParams,
        _: session_context::OpenViewResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let path = params.get_path()?.to_str()?;
        if path.len() > PATH {
            return Err(Error::failed(format!("a path has {PATH} bytes at most")));
        }
        let view = self
            .platform
            .brokers_own(
                params.get_view()?.cast_to(),
                "only a view of a whole grain, as Percloud gave it, can be opened",
            )
            .await?;
        let mut request = self.keeper()?.open_view_request();
        request.get().set_view(view.cast_to());
        request.get().set_path(path);
        request.get().set_new_tab(params.get_new_tab());
        request.send().promise.await.map(drop)
    }

    async fn claim_request(
        self: Rc<Self>,
        params: session_context::ClaimRequestParams,
        mut results: session_context::ClaimRequestResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let token = params.get_request_token()?.to_str()?;
        if token.len() > TOKEN {
            return Err(Error::failed("this is no token".to_owned()));
        }
        let expectation = self.platform.expect()?;
        let mut request = self.keeper()?.claim_request();
        request.get().set_token(token);
        request
            .get()
            .set_permissions(&permissions(params.get_required_permissions()?)?[..])?;
        let answer = request.send().promise.await?;
        let cap = self
            .platform
            .revive(expectation, answer.get()?.get_restored()?)
            .await?;
        results.get().init_cap().set_as_capability(cap.hook);
        Ok(())
    }

    async fn activity(
        self: Rc<Self>,
        params: session_context::ActivityParams,
        _: session_context::ActivityResults,
    ) -> Result<(), Error> {
        let taken = self.platform.taken(&params)?;
        let taken = taken
            .get()?
            .get_as::<session_context::activity_params::Reader<'_>>()?;
        let mut request = self.keeper()?.activity_request();
        request.get().set_event(taken.get_event()?)?;
        request.send().promise.await.map(drop)
    }
}

impl hack_session_context::Server for SessionContext {
    async fn get_public_id(
        self: Rc<Self>,
        _: hack_session_context::GetPublicIdParams,
        mut results: hack_session_context::GetPublicIdResults,
    ) -> Result<(), Error> {
        let answer = self.keeper()?.public_id_request().send().promise.await?;
        let answer = answer.get()?;
        let mut public = results.get();
        public.set_public_id(answer.get_public_id()?);
        public.set_hostname(answer.get_hostname()?);
        public.set_auto_url(answer.get_auto_url()?);
        public.set_is_demo_user(answer.get_is_demo_user());
        Ok(())
    }

    async fn get_user_address(
        self: Rc<Self>,
        _: hack_session_context::GetUserAddressParams,
        mut results: hack_session_context::GetUserAddressResults,
    ) -> Result<(), Error> {
        let answer = self.keeper()?.user_address_request().send().promise.await?;
        let answer = answer.get()?;
        let mut address = results.get();
        address.set_address(answer.get_address()?);
        address.set_name(answer.get_name()?);
        Ok(())
    }

    async fn obsolete_http_get(
        self: Rc<Self>,
        _: hack_session_context::ObsoleteHttpGetParams,
        _: hack_session_context::ObsoleteHttpGetResults,
    ) -> Result<(), Error> {
        removed()
    }

    async fn obsolete_generate_api_token(
        self: Rc<Self>,
        _: hack_session_context::ObsoleteGenerateApiTokenParams,
        _: hack_session_context::ObsoleteGenerateApiTokenResults,
    ) -> Result<(), Error> {
        removed()
    }

    async fn obsolete_list_api_tokens(
        self: Rc<Self>,
        _: hack_session_context::ObsoleteListApiTokensParams,
        _: hack_session_context::ObsoleteListApiTokensResults,
    ) -> Result<(), Error> {
        removed()
    }

    async fn obsolete_revoke_api_token(
        self: Rc<Self>,
        _: hack_session_context::ObsoleteRevokeApiTokenParams,
        _: hack_session_context::ObsoleteRevokeApiTokenResults,
    ) -> Result<(), Error> {
        removed()
    }

    async fn obsolete_get_ip_network(
        self: Rc<Self>,
        _: hack_session_context::ObsoleteGetIpNetworkParams,
        _: hack_session_context::ObsoleteGetIpNetworkResults,
    ) -> Result<(), Error> {
        removed()
    }

    async fn obsolete_get_ip_interface(
        self: Rc<Self>,
        _: hack_session_context::ObsoleteGetIpInterfaceParams,
        _: hack_session_context::ObsoleteGetIpInterfaceResults,
    ) -> Result<(), Error> {
        removed()
    }

    async fn obsolete_get_ui_view_for_endpoint(
        self: Rc<Self>,
        _: hack_session_context::ObsoleteGetUiViewForEndpointParams,
        _: hack_session_context::ObsoleteGetUiViewForEndpointResults,
    ) -> Result<(), Error> {
        removed()
    }
}

fn removed() -> Result<(), Error> {
    Err(Error::failed(REMOVED.to_owned()))
}

/// Mail is not there yet.
impl email_send_port::Server for SessionContext {
    async fn send(
        self: Rc<Self>,
        _: email_send_port::SendParams,
        _: email_send_port::SendResults,
    ) -> Result<(), Error> {
        Err(Error::unimplemented(NO_MAIL.to_owned()))
    }

    async fn hint_address(
        self: Rc<Self>,
        _: email_send_port::HintAddressParams,
        _: email_send_port::HintAddressResults,
    ) -> Result<(), Error> {
        Err(Error::unimplemented(NO_MAIL.to_owned()))
    }
}
