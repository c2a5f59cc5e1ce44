//! A website as an `ApiSession`: every address below one, with the credentials the platform keeps.

mod answer;
mod connector;
mod request;
mod upload;
mod web_socket;

use std::future::Future;
use std::rc::Rc;

use bytes::Bytes;
use capnp::Error;
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper::header::HeaderValue;
use hyper::{Method, Request, Response};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioTimer;
use percloud_core::web_address::WebAddress;
use percloud_schemas::api_session_capnp::api_session;
use percloud_schemas::api_session_impl_capnp::persistent_api_session;
use percloud_schemas::grain_capnp::ui_session;
use percloud_schemas::persistent_capnp::persistent;
use percloud_schemas::supervisor_capnp::system_persistent;
use percloud_schemas::web_session_capnp::web_session::{self, context, post_content, response};

use crate::outlet::Outlet;
use crate::run::World;
use answer::deliver;
use connector::Connector;
use request::{Asked, depth, reach, xml};
use upload::Upload;

/// What goes out as a request's body.
type Body = UnsyncBoxBody<Bytes, Error>;
type HttpClient = Client<Connector, Body>;

/// How many connections wait for the next request.
const IDLE: usize = 4;
/// Longest head of an answer, in bytes; the fields in it are counted by hyper.
const HEAD: usize = 64 << 10;

/// One website, held by one grain.
#[derive(Clone)]
pub(crate) struct Site(Rc<Inner>);

struct Inner {
    outlet: Rc<Outlet>,
    world: World,
    address: WebAddress,
    authorization: Option<HeaderValue>,
    /// This site's alone: no connection ever serves two grains.
    client: HttpClient,
}

impl Site {
    pub(crate) fn new(
        outlet: Rc<Outlet>,
        world: &World,
        address: WebAddress,
        authorization: Option<HeaderValue>,
    ) -> Self {
        let connector = Connector::new(&outlet.holder, world);
        let client = Client::builder(outlet.background())
            .pool_timer(TokioTimer::new())
            // Long before somebody who waits for room gives up; the client may take twice as long.
            .pool_idle_timeout(world.limits.patience / 4)
            .pool_max_idle_per_host(IDLE)
            .http1_max_buf_size(HEAD)
            .build(connector);
        Self(Rc::new(Inner {
            outlet,
            world: world.clone(),
            address,
            authorization,
            client,
        }))
    }

    fn asked(
        &self,
        method: Method,
        path: capnp::text::Reader<'_>,
        context: context::Reader<'_>,
    ) -> Result<Asked, Error> {
        let asked = Asked::new(&self.0.address, method, path, context)?;
        Ok(asked.authorized(self.0.authorization.as_ref()))
    }

    /// Sends a request and waits for the head of its answer.
    async fn send(&self, request: Request<Body>) -> Result<Response<Incoming>, Error> {
        self.send_long(request, std::future::ready(())).await
    }

    /// The same for a request that is complete only when `sent` is; the site's time to answer begins then.
    async fn send_long(
        &self,
        request: Request<Body>,
        sent: impl Future<Output = ()>,
    ) -> Result<Response<Incoming>, Error> {
        let host = self.0.address.authority();
        let limit = self.0.world.limits.answer;
        let too_late = async {
            sent.await;
            tokio::time::sleep(limit).await;
        };
        tokio::select! {
            answer = self.0.client.request(request) => answer.map_err(|error| {
                Error::failed(format!("{host} could not be asked: {}", innermost(&error)))
            }),
            () = too_late => Err(Error::failed(format!(
                "{host} did not answer within {} seconds",
                limit.as_secs()
            ))),
        }
    }

    /// Sends a request with a body of some type.
    async fn submit(
        &self,
        asked: Asked,
        content: post_content::Reader<'_>,
        out: response::Builder<'_>,
    ) -> Result<(), Error> {
        let asked = asked.of_type(content.get_mime_type()?, content.get_encoding()?)?;
        self.exchange(asked, content.get_content()?, out).await
    }

    /// Sends a request whose body is at hand, and passes the answer on.
    async fn exchange(&self, asked: Asked, body: &[u8], out: response::Builder<'_>) -> Result<(), Error> {
        let inner = Rc::clone(&self.0);
        inner
            .outlet
            .while_alive(async {
                let room = self.0.outlet.room()?;
                let stream = asked.stream.clone();
                let from = asked.address.clone();
                let body = http_body_util::Full::new(Bytes::copy_from_slice(body));
                let body = body.map_err(|never| match never {}).boxed_unsync();
                let answer = self.send(asked.with(body)?).await?;
                deliver(self, &from, answer, stream, room, out).await
            })
            .await
    }
}

/// The sentence at the bottom of a chain of errors, which says what happened.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(cause) = error.source() {
        error = cause;
    }
    error.to_string()
}

impl ui_session::Server for Site {}
impl api_session::Server for Site {}
impl system_persistent::Server for Site {}
impl persistent_api_session::Server for Site {}

impl persistent::Server for Site {
    async fn save(
        self: Rc<Self>,
        params: persistent::SaveParams,
        results: persistent::SaveResults,
    ) -> Result<(), Error> {
        self.0.outlet.save(params, results).await
    }
}

fn webdav(name: &'static str) -> Method {
    Method::from_bytes(name.as_bytes()).expect("the names of methods are tokens")
}

fn overwrite(no_overwrite: bool) -> HeaderValue {
    HeaderValue::from_static(if no_overwrite { "F" } else { "T" })
}

impl web_session::Server for Site {
    async fn get(
        self: Rc<Self>,
        params: web_session::GetParams,
        mut results: web_session::GetResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let method = if params.get_ignore_body() {
            Method::HEAD
        } else {
            Method::GET
        };
        let asked = self.asked(method, params.get_path()?, params.get_context()?)?;
        self.exchange(asked, b"", results.get()).await
    }

    async fn post(
        self: Rc<Self>,
        params: web_session::PostParams,
        mut results: web_session::PostResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let asked = self.asked(Method::POST, params.get_path()?, params.get_context()?)?;
        self.submit(asked, params.get_content()?, results.get()).await
    }

    async fn put(
        self: Rc<Self>,
        params: web_session::PutParams,
        mut results: web_session::PutResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let content = params.get_content()?;
        let asked = self
            .asked(Method::PUT, params.get_path()?, params.get_context()?)?
            .of_type(content.get_mime_type()?, content.get_encoding()?)?;
        self.exchange(asked, content.get_content()?, results.get()).await
    }

    async fn patch(
        self: Rc<Self>,
        params: web_session::PatchParams,
        mut results: web_session::PatchResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let asked = self.asked(Method::PATCH, params.get_path()?, params.get_context()?)?;
        self.submit(asked, params.get_content()?, results.get()).await
    }

    async fn delete(
        self: Rc<Self>,
        params: web_session::DeleteParams,
        mut results: web_session::DeleteResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let asked = self.asked(Method::DELETE, params.get_path()?, params.get_context()?)?;
        self.exchange(asked, b"", results.get()).await
    }

    async fn post_streaming(
        self: Rc<Self>,
        params: web_session::PostStreamingParams,
        mut results: web_session::PostStreamingResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let asked = self
            .asked(Method::POST, params.get_path()?, params.get_context()?)?
            .of_type(params.get_mime_type()?, params.get_encoding()?)?;
        results
            .get()
            .set_stream(capnp_rpc::new_client(Upload::new(&self, asked)?));
        Ok(())
    }

    async fn put_streaming(
        self: Rc<Self>,
        params: web_session::PutStreamingParams,
        mut results: web_session::PutStreamingResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let asked = self
            .asked(Method::PUT, params.get_path()?, params.get_context()?)?
            .of_type(params.get_mime_type()?, params.get_encoding()?)?;
        results
            .get()
            .set_stream(capnp_rpc::new_client(Upload::new(&self, asked)?));
        Ok(())
    }

    async fn open_web_socket(
        self: Rc<Self>,
        params: web_session::OpenWebSocketParams,
        mut results: web_session::OpenWebSocketResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let asked = self.asked(Method::GET, params.get_path()?, params.get_context()?)?;
        web_socket::open(
            &self,
            asked,
            params.get_protocol()?,
            params.get_client_stream()?,
            &mut results,
        )
        .await
    }

    async fn propfind(
        self: Rc<Self>,
        params: web_session::PropfindParams,
        mut results: web_session::PropfindResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let asked = self
            .asked(webdav("PROPFIND"), params.get_path()?, params.get_context()?)?
            .field("depth", depth(params.get_depth()?))
            .field("content-type", xml());
        self.exchange(asked, params.get_xml_content()?.as_bytes(), results.get())
            .await
    }

    async fn proppatch(
        self: Rc<Self>,
        params: web_session::ProppatchParams,
        mut results: web_session::ProppatchResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let asked = self
            .asked(webdav("PROPPATCH"), params.get_path()?, params.get_context()?)?
            .field("content-type", xml());
        self.exchange(asked, params.get_xml_content()?.as_bytes(), results.get())
            .await
    }

    async fn mkcol(
        self: Rc<Self>,
        params: web_session::MkcolParams,
        mut results: web_session::MkcolResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let asked = self.asked(webdav("MKCOL"), params.get_path()?, params.get_context()?)?;
        self.submit(asked, params.get_content()?, results.get()).await
    }

    async fn copy(
        self: Rc<Self>,
        params: web_session::CopyParams,
        mut results: web_session::CopyResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let asked = self
            .asked(webdav("COPY"), params.get_path()?, params.get_context()?)?
            .destined(&self.0.address, params.get_destination()?)?
            .field("overwrite", overwrite(params.get_no_overwrite()))
            .field("depth", reach(params.get_shallow()));
        self.exchange(asked, b"", results.get()).await
    }

    async fn move_(
        self: Rc<Self>,
        params: web_session::MoveParams,
        mut results: web_session::MoveResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let asked = self
            .asked(webdav("MOVE"), params.get_path()?, params.get_context()?)?
            .destined(&self.0.address, params.get_destination()?)?
            .field("overwrite", overwrite(params.get_no_overwrite()));
        self.exchange(asked, b"", results.get()).await
    }

    async fn lock(
        self: Rc<Self>,
        params: web_session::LockParams,
        mut results: web_session::LockResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let asked = self
            .asked(webdav("LOCK"), params.get_path()?, params.get_context()?)?
            .field("depth", reach(params.get_shallow()))
            .field("content-type", xml());
        self.exchange(asked, params.get_xml_content()?.as_bytes(), results.get())
            .await
    }

    async fn unlock(
        self: Rc<Self>,
        params: web_session::UnlockParams,
        mut results: web_session::UnlockResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let token = HeaderValue::from_bytes(params.get_lock_token()?.as_bytes())
            .map_err(|_| Error::failed("a lock token that fits in no header".to_owned()))?;
        let asked = self
            .asked(webdav("UNLOCK"), params.get_path()?, params.get_context()?)?
            .field("lock-token", token);
        self.exchange(asked, b"", results.get()).await
    }

    async fn acl(
        self: Rc<Self>,
        params: web_session::AclParams,
        mut results: web_session::AclResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let asked = self
            .asked(webdav("ACL"), params.get_path()?, params.get_context()?)?
            .field("content-type", xml());
        self.exchange(asked, params.get_xml_content()?.as_bytes(), results.get())
            .await
    }

    async fn report(
        self: Rc<Self>,
        params: web_session::ReportParams,
        mut results: web_session::ReportResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let asked = self.asked(webdav("REPORT"), params.get_path()?, params.get_context()?)?;
        self.submit(asked, params.get_content()?, results.get()).await
    }

    async fn options(
        self: Rc<Self>,
        params: web_session::OptionsParams,
        mut results: web_session::OptionsResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let asked = self.asked(Method::OPTIONS, params.get_path()?, params.get_context()?)?;
        let answer = self
            .0
            .outlet
            .while_alive(async {
                let _room = self.0.outlet.room()?;
                self.send(
                    asked.with(
                        http_body_util::Empty::new()
                            .map_err(|never| match never {})
                            .boxed_unsync(),
                    )?,
                )
                .await
            })
            .await?;
        answer::set_options(answer.headers(), results.get());
        Ok(())
    }
}
