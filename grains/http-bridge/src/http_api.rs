//! One of the app's HTTP APIs as another grain holds it: persistent, with the rights it was given out with.

use std::rc::Rc;

use capnp::Error;
use capnp::message::TypedBuilder;
use percloud_schemas::api_session_capnp::api_session;
use percloud_schemas::grain_capnp::{app_persistent, ui_session};
use percloud_schemas::identity_capnp::user_info;
use percloud_schemas::sandstorm_http_bridge_internal_capnp::{bridge_http_session, bridge_object_id};
use percloud_schemas::util_capnp::static_asset::Protocol;
use percloud_schemas::web_session_capnp::web_session::{
    self, AclParams, AclResults, CopyParams, CopyResults, DeleteParams, DeleteResults, GetParams, GetResults,
    LockParams, LockResults, MkcolParams, MkcolResults, MoveParams, MoveResults, OpenWebSocketParams,
    OpenWebSocketResults, OptionsParams, OptionsResults, PatchParams, PatchResults, PostParams, PostResults,
    PostStreamingParams, PostStreamingResults, PropfindParams, PropfindResults, ProppatchParams,
    ProppatchResults, PutParams, PutResults, PutStreamingParams, PutStreamingResults, ReportParams,
    ReportResults, UnlockParams, UnlockResults,
};
use tokio::sync::OnceCell;

use crate::bridge::Bridge;
use crate::config::PowerboxApi;
use crate::identity::UserId;
use crate::permissions;
use crate::session::{SessionHeaders, SessionType, User};
use crate::web_session::Session;

/// All that decides what requests may do. It is the object id, so a new version of the app, with another
/// configuration, changes nothing that was given out before.
pub(crate) struct Grant {
    name: String,
    path: String,
    permissions: Vec<bool>,
    /// Who gave it away; empty if that was somebody anonymous.
    identity_id: Vec<u8>,
}

impl Grant {
    /// Gives away `api` in the name of whoever has `identity_id`.
    pub(crate) fn new(api: &PowerboxApi, identity_id: &[u8]) -> Self {
        Self {
            name: api.name.clone(),
            path: api.path.clone(),
            permissions: api.permissions.clone(),
            identity_id: identity_id.to_vec(),
        }
    }

    /// Reads an object id.
    pub(crate) fn read(id: bridge_object_id::http_api::Reader<'_>) -> Result<Self, Error> {
        Ok(Self {
            name: id.get_name()?.to_string()?,
            path: id.get_path()?.to_string()?,
            permissions: id.get_permissions()?.iter().collect(),
            identity_id: id.get_identity_id()?.to_vec(),
        })
    }

    fn write(&self, mut id: bridge_object_id::http_api::Builder<'_>) -> Result<(), Error> {
        id.set_name(&*self.name);
        id.set_path(&*self.path);
        id.set_identity_id(&self.identity_id);
        permissions::fill(
            id.init_permissions(permissions::length(&self.permissions)?),
            &self.permissions,
        );
        Ok(())
    }
}

/// The capability.
pub(crate) struct HttpApi {
    bridge: Rc<Bridge>,
    grant: Grant,
    /// Made by the first request, since it takes looking up the giver.
    session: OnceCell<Rc<Session>>,
}

impl HttpApi {
    pub(crate) fn client(bridge: Rc<Bridge>, grant: Grant) -> bridge_http_session::Client {
        capnp_rpc::new_client(Self {
            bridge,
            grant,
            session: OnceCell::new(),
        })
    }

    async fn session(&self) -> Result<Rc<Session>, Error> {
        self.session.get_or_try_init(|| self.open()).await.cloned()
    }

    async fn open(&self) -> Result<Rc<Session>, Error> {
        let grant = &self.grant;
        // The grain may have been woken for this very request.
        self.bridge.app.ready().await;
        let mut info = TypedBuilder::<user_info::Owned>::new_default();
        let mut fields = info.init_root();
        fields.set_identity_id(&grant.identity_id);
        let count = permissions::length(&grant.permissions)?;
        permissions::fill(fields.init_permissions(count), &grant.permissions);
        if let Some(id) = UserId::of(&grant.identity_id) {
            self.fill_in(id, info.get_root()?).await?;
        }
        let user = User {
            info: info.get_root_as_reader()?,
            tab_id: b"",
            session_type: SessionType::Normal,
            session_id: "",
            permission_names: &self.bridge.config.permissions,
        };
        Ok(Rc::new(Session {
            bridge: self.bridge.clone(),
            headers: SessionHeaders::for_powerbox_api(&grant.name, user)?,
            root: format!("{}/", grant.path).into_bytes(),
            base_path: Vec::new(),
            _registration: None,
        }))
    }

    /// Fills in what the giver's profile says.
    async fn fill_in(&self, id: UserId, mut info: user_info::Builder<'_>) -> Result<(), Error> {
        let identity = self.bridge.identities()?.find(id).await?;
        let answer = identity.get_profile_request().send().promise.await?;
        let profile = answer.get()?.get_profile()?;
        info.set_display_name(profile.get_display_name()?)?;
        info.set_preferred_handle(profile.get_preferred_handle()?);
        // A pronoun only a newer platform knows is none.
        if let Ok(pronouns) = profile.get_pronouns() {
            info.set_pronouns(pronouns);
        }
        if profile.has_picture() {
            let answer = profile.get_picture()?.get_url_request().send().promise.await;
            // A picture is not worth a request.
            if let Ok(answer) = &answer {
                let url = answer.get()?;
                let scheme = match url.get_protocol()? {
                    Protocol::Https => "https",
                    Protocol::Http => "http",
                };
                info.set_picture_url(format!("{scheme}://{}", url.get_host_path()?.to_str()?));
            }
        }
        Ok(())
    }
}

impl ui_session::Server for HttpApi {}
impl api_session::Server for HttpApi {}
impl bridge_http_session::Server for HttpApi {}

impl app_persistent::Server<bridge_object_id::Owned> for HttpApi {
    async fn save(
        self: Rc<Self>,
        _: app_persistent::SaveParams<bridge_object_id::Owned>,
        mut results: app_persistent::SaveResults<bridge_object_id::Owned>,
    ) -> Result<(), Error> {
        let mut results = results.get();
        self.grant
            .write(results.reborrow().init_object_id().init_http_api())?;
        let apis = &self.bridge.config.apis;
        match apis.iter().find(|api| api.name == self.grant.name) {
            Some(api) if api.display.get_root_as_reader()?.has_title() => {
                results.set_label(api.display.get_root_as_reader()?.get_title()?)
            }
            _ => {
                results.init_label().set_default_text(&*self.grant.name);
                Ok(())
            }
        }
    }
}

/// Passes methods on to the session behind.
macro_rules! pass_on {
    ($($method:ident($params:ty, $results:ty);)*) => {
        impl web_session::Server for HttpApi {
            $(async fn $method(self: Rc<Self>, params: $params, results: $results) -> Result<(), Error> {
                web_session::Server::$method(self.session().await?, params, results).await
            })*
        }
    };
}

pass_on! {
    get(GetParams, GetResults);
    post(PostParams, PostResults);
    open_web_socket(OpenWebSocketParams, OpenWebSocketResults);
    put(PutParams, PutResults);
    delete(DeleteParams, DeleteResults);
    post_streaming(PostStreamingParams, PostStreamingResults);
    put_streaming(PutStreamingParams, PutStreamingResults);
    propfind(PropfindParams, PropfindResults);
    proppatch(ProppatchParams, ProppatchResults);
    mkcol(MkcolParams, MkcolResults);
    copy(CopyParams, CopyResults);
    move_(MoveParams, MoveResults);
    lock(LockParams, LockResults);
    unlock(UnlockParams, UnlockResults);
    acl(AclParams, AclResults);
    report(ReportParams, ReportResults);
    options(OptionsParams, OptionsResults);
    patch(PatchParams, PatchResults);
}
