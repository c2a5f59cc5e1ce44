//! What anybody may ask: knocking, and what knocking correctly yields.

use std::rc::Rc;

use capnp::Error;
use capnp_rpc::new_client;
use percloud_schemas::front_capnp::{client, front, grain_access};

use super::user::UserSession;
use super::{answer, finished};
use crate::broker::Broker;
use crate::problem::Problem;
use crate::visit::Opened;

/// Held by every edge thread. Grants nothing by itself.
pub(super) struct Front {
    pub broker: Rc<Broker>,
}

fn address(client: capnp::Result<client::Reader<'_>>) -> Result<String, Error> {
    Ok(client?.get_address()?.to_string()?)
}

/// Writes how to reach a grain, or why it cannot be reached.
fn access(mut access: grain_access::Builder<'_>, outcome: Result<Opened, Problem>) -> Result<(), Error> {
    match outcome {
        Ok(opened) => {
            let door = opened
                .door
                .to_str()
                .ok_or_else(|| Error::failed("the runtime folder's name is not UTF-8".into()))?;
            access.set_socket_path(door);
            access.set_nonce(opened.nonce.expose());
            access.set_relaxed_policy(opened.relaxed_policy);
            access.set_is_api(opened.is_api);
            access.set_ready(());
        }
        Err(problem) => access.set_failed(problem.to_string()),
    }
    Ok(())
}

impl front::Server for Front {
    async fn settings(
        self: Rc<Self>,
        _: front::SettingsParams,
        mut results: front::SettingsResults,
    ) -> Result<(), Error> {
        answer(results.get().init_reply(), 200, Ok(self.broker.settings()));
        Ok(())
    }

    async fn set_up(
        self: Rc<Self>,
        params: front::SetUpParams,
        mut results: front::SetUpResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let (address, json) = (address(params.get_client())?, params.get_json()?.to_string()?);
        let broker = self.broker.clone();
        let outcome = finished(async move { broker.set_up(&json, &address).await }).await;
        if let Ok((_, cookie)) = &outcome {
            results.get().set_cookie(cookie.expose());
        }
        answer(results.get().init_reply(), 201, outcome.map(|(me, _)| me));
        Ok(())
    }

    async fn sign_in(
        self: Rc<Self>,
        params: front::SignInParams,
        mut results: front::SignInResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let address = address(params.get_client())?;
        let outcome = self.broker.sign_in(params.get_json()?.to_str()?, &address).await;
        if let Ok((_, cookie)) = &outcome {
            results.get().set_cookie(cookie.expose());
        }
        answer(results.get().init_reply(), 200, outcome.map(|(me, _)| me));
        Ok(())
    }

    async fn join(
        self: Rc<Self>,
        params: front::JoinParams,
        mut results: front::JoinResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let (address, json) = (address(params.get_client())?, params.get_json()?.to_string()?);
        let broker = self.broker.clone();
        let outcome = finished(async move { broker.join(&json, &address).await }).await;
        if let Ok((_, cookie)) = &outcome {
            results.get().set_cookie(cookie.expose());
        }
        answer(results.get().init_reply(), 201, outcome.map(|(me, _)| me));
        Ok(())
    }

    async fn resume(
        self: Rc<Self>,
        params: front::ResumeParams,
        mut results: front::ResumeResults,
    ) -> Result<(), Error> {
        if let Some(who) = self.broker.resume(params.get()?.get_cookie()?) {
            let session = UserSession {
                broker: self.broker.clone(),
                who,
                id: (),
            };
            results.get().set_session(new_client(session));
        }
        Ok(())
    }

    async fn enter(
        self: Rc<Self>,
        params: front::EnterParams,
        mut results: front::EnterResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        if let Some((cookie, path)) = self
            .broker
            .enter(params.get_host_id()?.to_str()?, params.get_secret()?)
        {
            let mut results = results.get();
            results.set_cookie(cookie.expose());
            results.set_path(&path);
        }
        Ok(())
    }

    async fn grain_session(
        self: Rc<Self>,
        params: front::GrainSessionParams,
        mut results: front::GrainSessionResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let host = params.get_host_id()?.to_str()?;
        match self.broker.page_session(host, params.get_cookie()?).await {
            Some(outcome) => access(results.get().init_access(), outcome),
            None => Ok(()),
        }
    }

    async fn api_access(
        self: Rc<Self>,
        params: front::ApiAccessParams,
        mut results: front::ApiAccessResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let client = params.get_client()?;
        let call = crate::device::Call {
            host: params.get_host_id()?.to_string()?,
            token: params.get_token()?.to_string()?,
            agent: client.get_user_agent()?.to_string()?,
            remote_address: params.get_remote_address()?.to_string()?,
        };
        match self.broker.api_session(call).await {
            Some(outcome) => access(results.get().init_access(), outcome),
            None => Ok(()),
        }
    }

    async fn api_host(
        self: Rc<Self>,
        params: front::ApiHostParams,
        mut results: front::ApiHostResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let Some(known) = self.broker.api_host(params.get_host_id()?.to_str()?) else {
            return Ok(());
        };
        let mut results = results.get();
        results.set_known(true);
        let classes = u32::try_from(known.dav.len()).unwrap_or(0);
        let mut dav = results.reborrow().init_dav(classes);
        for (index, class) in (0..classes).zip(&known.dav) {
            dav.set(index, class);
        }
        if let Some(resource) = known.resources.get(params.get_path()?.to_str()?) {
            let mut written = results.init_resource();
            written.set_mime_type(resource.media_type.as_deref().unwrap_or_default());
            written.set_language(resource.language.as_deref().unwrap_or_default());
            written.set_encoding(resource.encoding.as_deref().unwrap_or_default());
            written.set_body(resource.body.as_bytes());
        }
        Ok(())
    }

    async fn keep_api_token(
        self: Rc<Self>,
        params: front::KeepApiTokenParams,
        mut results: front::KeepApiTokenResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let token = params.get_token()?.to_string()?;
        let known = self
            .broker
            .keep_api_token(&token, params.get_milliseconds())
            .await;
        results.get().set_known(known);
        Ok(())
    }

    async fn published_site(
        self: Rc<Self>,
        params: front::PublishedSiteParams,
        mut results: front::PublishedSiteResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let (site, path) = (
            params.get_public_id()?.to_string()?,
            params.get_path()?.to_string()?,
        );
        self.broker.publish(&site, &path, results.get());
        Ok(())
    }

    async fn look_at_link(
        self: Rc<Self>,
        params: front::LookAtLinkParams,
        mut results: front::LookAtLinkResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let address = address(params.get_client())?;
        let outcome = self
            .broker
            .look_at_link(params.get_json()?.to_str()?, &address)
            .await;
        answer(results.get().init_reply(), 200, outcome);
        Ok(())
    }

    async fn open_link(
        self: Rc<Self>,
        params: front::OpenLinkParams,
        mut results: front::OpenLinkResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let (address, json) = (address(params.get_client())?, params.get_json()?.to_string()?);
        let broker = self.broker.clone();
        let outcome = finished(async move { broker.open_link(&json, &address).await }).await;
        answer(results.get().init_reply(), 200, outcome);
        Ok(())
    }
}
