//! The grain's `MainView`: describes the app and opens sessions.

use std::rc::Rc;

use capnp::capability::FromClientHook;
use capnp::message::TypedBuilder;
use capnp::traits::HasTypeId;
use capnp::{Error, ErrorKind, any_pointer};
use percloud_schemas::api_session_capnp::api_session;
use percloud_schemas::grain_capnp::{main_view, session_context, ui_session, ui_view};
use percloud_schemas::hack_session_capnp::hack_email_session;
use percloud_schemas::identity_capnp::user_info;
use percloud_schemas::sandstorm_http_bridge_capnp::sandstorm_http_bridge::{
    get_session_offer_results, get_session_request_results,
};
use percloud_schemas::sandstorm_http_bridge_internal_capnp::bridge_object_id;
use percloud_schemas::web_session_capnp::web_session;

use crate::api_socket::Hooks;
use crate::bridge::Bridge;
use crate::http_api::{Grant, HttpApi};
use crate::identity::UserId;
use crate::mail::MailSession;
use crate::picker::{Picker, is_for_apis};
use crate::session::{Detail, Registration, SessionHeaders, SessionType, User};
use crate::web_session::Session;

/// What the platform bootstraps.
pub(crate) struct MainView {
    pub(crate) bridge: Rc<Bridge>,
}

/// The arguments that all three ways to open a session share.
struct Opening<'a> {
    user: user_info::Reader<'a>,
    tab_id: &'a [u8],
    kind: u64,
    params: any_pointer::Reader<'a>,
    session_type: SessionType,
}

impl MainView {
    /// Opens a session once the app's server is up.
    async fn open(
        &self,
        opening: Opening<'_>,
        registration: Registration,
    ) -> Result<ui_session::Client, Error> {
        self.bridge.app.ready().await;
        if self.bridge.config.save_identities {
            self.notice(opening.user)?;
        }
        let user = User {
            info: opening.user,
            tab_id: opening.tab_id,
            session_type: opening.session_type,
            session_id: registration.id(),
            permission_names: &self.bridge.config.permissions,
        };
        let bridge = self.bridge.clone();
        let normal = opening.session_type == SessionType::Normal;
        match (opening.kind, &self.bridge.config.api_path) {
            (web_session::Client::TYPE_ID, _) => {
                let params: web_session::params::Reader<'_> = opening.params.get_as()?;
                let headers = SessionHeaders::for_page(params, user)?;
                let base_path = params.get_base_path()?.as_bytes().to_vec();
                let session = Session {
                    bridge,
                    headers,
                    root: b"/".to_vec(),
                    base_path,
                    _registration: Some(registration),
                };
                Ok(capnp_rpc::new_client::<web_session::Client, _>(session).cast_to())
            }
            (api_session::Client::TYPE_ID, Some(root)) if normal => {
                let params: api_session::params::Reader<'_> = opening.params.get_as()?;
                let address = params
                    .has_remote_address()
                    .then(|| params.get_remote_address())
                    .transpose()?;
                let headers = SessionHeaders::for_api(address, user)?;
                let session = Session {
                    bridge,
                    headers,
                    root: root.clone(),
                    base_path: Vec::new(),
                    _registration: Some(registration),
                };
                Ok(capnp_rpc::new_client::<api_session::Client, _>(session).cast_to())
            }
            (hack_email_session::Client::TYPE_ID, _) if normal => {
                let session = MailSession {
                    bridge,
                    _registration: registration,
                };
                Ok(capnp_rpc::new_client::<hack_email_session::Client, _>(session).cast_to())
            }
            // For an API session the platform tries again with a web session.
            _ => Err(Error::failed("Unsupported session type.".into())),
        }
    }

    /// Returns the app's hooks, without which its objects cannot be told apart.
    fn hooks(&self, what: &str) -> Result<&Hooks, Error> {
        self.bridge.hooks.as_ref().ok_or_else(|| {
            Error::unimplemented(format!(
                "{what}: this package does not set expectAppHooks in its BridgeConfig"
            ))
        })
    }

    /// Saves the identity of somebody who is seen for the first time. Nobody waits for it.
    fn notice(&self, user: user_info::Reader<'_>) -> Result<(), Error> {
        if let Some(id) = UserId::of(user.get_identity_id()?)
            && user.has_identity()
        {
            self.bridge.identities()?.notice(id, user.get_identity()?);
        }
        Ok(())
    }
}

impl ui_view::Server for MainView {
    async fn get_view_info(
        self: Rc<Self>,
        _: ui_view::GetViewInfoParams,
        mut results: ui_view::GetViewInfoResults,
    ) -> Result<(), Error> {
        if let Some(hooks) = &self.bridge.hooks {
            match hooks.get().await?.get_view_info_request().send().promise.await {
                Ok(answer) => return results.set(answer.get()?),
                Err(error) if error.kind == ErrorKind::Unimplemented => {}
                Err(error) => return Err(error),
            }
        }
        results.set(self.bridge.config.view_info.get_root_as_reader()?)
    }

    async fn new_session(
        self: Rc<Self>,
        params: ui_view::NewSessionParams,
        mut results: ui_view::NewSessionResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let opening = Opening {
            user: params.get_user_info()?,
            tab_id: params.get_tab_id()?,
            kind: params.get_session_type(),
            params: params.get_session_params(),
            session_type: SessionType::Normal,
        };
        let registration = self
            .bridge
            .sessions
            .register(or_broken(params.get_context()), Detail::Normal);
        results.get().set_session(self.open(opening, registration).await?);
        Ok(())
    }

    async fn new_request_session(
        self: Rc<Self>,
        params: ui_view::NewRequestSessionParams,
        mut results: ui_view::NewRequestSessionResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let opening = Opening {
            user: params.get_user_info()?,
            tab_id: params.get_tab_id()?,
            kind: params.get_session_type(),
            params: params.get_session_params(),
            session_type: SessionType::Request,
        };
        let mut message = TypedBuilder::<get_session_request_results::Owned>::new_default();
        message.init_root().set_request_info(params.get_request_info()?)?;
        let detail = Detail::Request(Rc::new(message));
        let registration = self
            .bridge
            .sessions
            .register(or_broken(params.get_context()), detail);
        let is_page = opening.kind == web_session::Client::TYPE_ID;
        let session =
            if is_page && !self.bridge.config.apis.is_empty() && is_for_apis(params.get_request_info()?)? {
                if self.bridge.config.save_identities {
                    self.notice(params.get_user_info()?)?;
                }
                Picker::open(self.bridge.clone(), params, registration)?
            } else {
                self.open(opening, registration).await?
            };
        results.get().set_session(session);
        Ok(())
    }

    async fn new_offer_session(
        self: Rc<Self>,
        params: ui_view::NewOfferSessionParams,
        mut results: ui_view::NewOfferSessionResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let opening = Opening {
            user: params.get_user_info()?,
            tab_id: params.get_tab_id()?,
            kind: params.get_session_type(),
            params: params.get_session_params(),
            session_type: SessionType::Offer,
        };
        let mut message = TypedBuilder::<get_session_offer_results::Owned>::new_default();
        message.init_root().set_descriptor(params.get_descriptor()?)?;
        let offer = params.get_offer().get_as_capability()?;
        let detail = Detail::Offer {
            offer,
            message: Rc::new(message),
        };
        let registration = self
            .bridge
            .sessions
            .register(or_broken(params.get_context()), detail);
        results.get().set_session(self.open(opening, registration).await?);
        Ok(())
    }
}

/// Objects the app has saved are its hooks' business; the APIs it gives away are the bridge's.
impl main_view::Server<any_pointer::Owned> for MainView {
    async fn restore(
        self: Rc<Self>,
        params: main_view::RestoreParams<any_pointer::Owned>,
        mut results: main_view::RestoreResults<any_pointer::Owned>,
    ) -> Result<(), Error> {
        let id: bridge_object_id::Reader<'_> = params.get()?.get_object_id()?.get_as()?;
        let cap = match id.which()? {
            bridge_object_id::Application(id) => {
                let mut request = self.hooks("restore")?.get().await?.restore_request();
                request.get().set_object_id(id)?;
                let answer = request.send().promise.await?;
                answer.get()?.get_cap().get_as_capability()?
            }
            bridge_object_id::HttpApi(id) => {
                HttpApi::client(self.bridge.clone(), Grant::read(id?)?).cast_to::<capnp::capability::Client>()
            }
        };
        results.get().init_cap().set_as_capability(cap.hook);
        Ok(())
    }

    async fn drop(
        self: Rc<Self>,
        params: main_view::DropParams<any_pointer::Owned>,
        _: main_view::DropResults<any_pointer::Owned>,
    ) -> Result<(), Error> {
        let id: bridge_object_id::Reader<'_> = params.get()?.get_object_id()?.get_as()?;
        match id.which()? {
            bridge_object_id::Application(id) => {
                let mut request = self.hooks("drop")?.get().await?.drop_request();
                request.get().set_object_id(id)?;
                request.send().promise.await?;
            }
            // Nothing is kept for it but the id.
            bridge_object_id::HttpApi(_) => {}
        }
        Ok(())
    }
}

/// Turns a missing context into one that fails when it is used: most apps never do.
fn or_broken(context: Result<session_context::Client, Error>) -> session_context::Client {
    context.unwrap_or_else(|error| capnp_rpc::new_broken_cap(error).cast_to())
}
