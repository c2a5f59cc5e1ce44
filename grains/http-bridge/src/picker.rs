//! The bridge's own page inside another grain's powerbox: which of the app's APIs is it to be?

mod page;

use std::rc::Rc;

use capnp::Error;
use capnp::capability::FromClientHook;
use capnp::message::{HeapAllocator, TypedBuilder};
use capnp::traits::HasTypeId;
use percloud_schemas::api_session_capnp::api_session;
use percloud_schemas::grain_capnp::{session_context, ui_session, ui_view};
use percloud_schemas::identity_capnp::identity;
use percloud_schemas::powerbox_capnp::powerbox_descriptor;
use percloud_schemas::web_session_capnp::web_session::response::{self, ClientErrorCode, SuccessCode};
use percloud_schemas::web_session_capnp::web_session::{
    self, GetParams, GetResults, PostParams, PostResults, params,
};

use crate::bridge::Bridge;
use crate::config::PowerboxApi;
use crate::http_api::{Grant, HttpApi};
use crate::identity::UserId;
use crate::log::log;
use crate::permissions;
use crate::session::Registration;
use page::Choice;

type Descriptors<'a> = capnp::struct_list::Reader<'a, powerbox_descriptor::Owned>;

/// Tells whether the bridge answers this request itself: if it asks for nothing but HTTP APIs. Anything else is the
/// app's to answer.
pub(crate) fn is_for_apis(query: Descriptors<'_>) -> Result<bool, Error> {
    for descriptor in query {
        let tags = descriptor.get_tags()?;
        if tags.is_empty()
            || tags
                .iter()
                .any(|tag| tag.get_id() != api_session::Client::TYPE_ID)
        {
            return Ok(false);
        }
    }
    Ok(!query.is_empty())
}

/// One person choosing.
pub(crate) struct Picker {
    bridge: Rc<Bridge>,
    context: session_context::Client,
    identity_id: Vec<u8>,
    identity: Option<identity::Client>,
    languages: Vec<String>,
    /// Positions, in the configuration, of what this person may give away.
    offered: Vec<usize>,
    _registration: Registration,
}

impl Picker {
    /// Opens the page for a request that [`is_for_apis`].
    pub(crate) fn open(
        bridge: Rc<Bridge>,
        params: ui_view::new_request_session_params::Reader<'_>,
        registration: Registration,
    ) -> Result<ui_session::Client, Error> {
        let user = params.get_user_info()?;
        let held: Vec<bool> = user.get_permissions()?.iter().collect();
        let query = params.get_request_info()?;
        let page: params::Reader<'_> = params.get_session_params().get_as()?;
        let mut languages = Vec::new();
        for language in page.get_acceptable_languages()? {
            languages.push(language?.to_string()?);
        }
        let picker = Self {
            offered: offered(&bridge.config.apis, query, &held)?,
            bridge,
            context: params.get_context()?,
            identity_id: user.get_identity_id()?.to_vec(),
            identity: user.has_identity().then(|| user.get_identity()).transpose()?,
            languages,
            _registration: registration,
        };
        Ok(capnp_rpc::new_client::<web_session::Client, _>(picker).cast_to())
    }

    fn page(&self) -> Result<String, Error> {
        let mut choices = Vec::new();
        for api in self
            .offered
            .iter()
            .filter_map(|at| self.bridge.config.apis.get(*at))
        {
            choices.push(Choice::of(api, &self.languages)?);
        }
        Ok(page::render(&choices))
    }

    /// Answers the request with the API called `name`; false if this person may not give that away.
    async fn fulfil(&self, name: &[u8]) -> Result<bool, Error> {
        let mut offered = self
            .offered
            .iter()
            .filter_map(|at| self.bridge.config.apis.get(*at));
        let Some(api) = offered.find(|api| api.name.as_bytes() == name) else {
            return Ok(false);
        };
        // Requests will be made in this person's name, in other processes too: so it must be findable there.
        if let Some(id) = UserId::of(&self.identity_id) {
            let identities = self.bridge.identities()?;
            match &self.identity {
                Some(identity) => identities.remember(id, identity.clone()).await?,
                None => drop(identities.find(id).await?),
            }
        }
        let cap = HttpApi::client(self.bridge.clone(), Grant::new(api, &self.identity_id));
        let mut request = self.context.fulfill_request_request();
        let mut params = request.get();
        params
            .reborrow()
            .init_cap()
            .set_as_capability(cap.into_client_hook());
        let count = permissions::length(&api.permissions)?;
        let required = params.reborrow().init_required_permissions(count);
        permissions::fill(required, &api.permissions);
        let mut tag = params.reborrow().init_descriptor().init_tags(1).get(0);
        tag.set_id(api_session::Client::TYPE_ID);
        tag.init_value().set_as(api.tag.get_root_as_reader()?)?;
        params.set_display_info(api.display.get_root_as_reader()?)?;
        request.send().promise.await?;
        Ok(true)
    }
}

/// Returns the positions of the APIs that match the query and that somebody with the permissions `held` may give
/// away. Should none match, which the platform has looked after before it came here, they are all on offer.
fn offered(apis: &[PowerboxApi], query: Descriptors<'_>, held: &[bool]) -> Result<Vec<usize>, Error> {
    let mut matching = Vec::new();
    let mut allowed = Vec::new();
    for (at, api) in apis.iter().enumerate() {
        let matches = does_match(query, &api.tag)?;
        if api.is_covered_by(held) {
            allowed.push(at);
        }
        if matches {
            matching.push(at);
        }
    }
    if !matching.is_empty() {
        allowed.retain(|at| matching.contains(at));
    }
    Ok(allowed)
}

type Tag = TypedBuilder<api_session::powerbox_tag::Owned, HeapAllocator>;

/// Matches as the powerbox does: some descriptor, with all of its tags; what is null on either side fits anything.
fn does_match(query: Descriptors<'_>, tag: &Tag) -> Result<bool, Error> {
    let provided = tag.get_root_as_reader()?;
    'descriptors: for descriptor in query {
        for tag in descriptor.get_tags()? {
            if tag.get_value().is_null() {
                continue;
            }
            let wanted: api_session::powerbox_tag::Reader<'_> = tag.get_value().get_as()?;
            let url_differs = wanted.has_canonical_url()
                && provided.has_canonical_url()
                && wanted.get_canonical_url()?.as_bytes() != provided.get_canonical_url()?.as_bytes();
            let authentication_differs = wanted.has_authentication()
                && provided.has_authentication()
                && wanted.get_authentication()?.as_bytes() != provided.get_authentication()?.as_bytes();
            if url_differs || authentication_differs || !has_scopes(wanted, provided)? {
                continue 'descriptors;
            }
        }
        return Ok(true);
    }
    Ok(false)
}

fn has_scopes(
    wanted: api_session::powerbox_tag::Reader<'_>,
    provided: api_session::powerbox_tag::Reader<'_>,
) -> Result<bool, Error> {
    if !wanted.has_oauth_scopes() || !provided.has_oauth_scopes() {
        return Ok(true);
    }
    let mut names = Vec::new();
    for scope in provided.get_oauth_scopes()? {
        names.push(scope.get_name()?.as_bytes());
    }
    for scope in wanted.get_oauth_scopes()? {
        if !names.contains(&scope.get_name()?.as_bytes()) {
            return Ok(false);
        }
    }
    Ok(true)
}

impl ui_session::Server for Picker {}

impl web_session::Server for Picker {
    async fn get(self: Rc<Self>, params: GetParams, mut results: GetResults) -> Result<(), Error> {
        let params = params.get()?;
        if !is_root(params.get_path()?.as_bytes()) {
            return refuse(results.get(), ClientErrorCode::NotFound, "There is no such page.");
        }
        let mut content = results.get().init_content();
        content.set_status_code(SuccessCode::Ok);
        content.set_mime_type("text/html; charset=UTF-8");
        content.init_body().set_bytes(self.page()?.as_bytes());
        Ok(())
    }

    async fn post(self: Rc<Self>, params: PostParams, mut results: PostResults) -> Result<(), Error> {
        let params = params.get()?;
        if !is_root(params.get_path()?.as_bytes()) {
            return refuse(results.get(), ClientErrorCode::NotFound, "There is no such page.");
        }
        match self.fulfil(params.get_content()?.get_content()?).await {
            Ok(true) => {
                results.get().init_no_content();
                Ok(())
            }
            Ok(false) => refuse(
                results.get(),
                ClientErrorCode::Forbidden,
                "This is not yours to give.",
            ),
            Err(error) => {
                log(format_args!("could not answer a powerbox request: {error}"));
                results
                    .get()
                    .init_server_error()
                    .set_description_html("The request could not be answered.");
                Ok(())
            }
        }
    }
}

fn is_root(path: &[u8]) -> bool {
    path.is_empty() || path.starts_with(b"?")
}

fn refuse(out: response::Builder<'_>, code: ClientErrorCode, text: &str) -> Result<(), Error> {
    let mut error = out.init_client_error();
    error.set_status_code(code);
    error.set_description_html(text);
    Ok(())
}
