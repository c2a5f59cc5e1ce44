//! Serves a session: each method becomes one request to the app.

use std::rc::Rc;

use capnp::Error;
use capnp::text;
use percloud_schemas::api_session_capnp::api_session;
use percloud_schemas::grain_capnp::ui_session;
use percloud_schemas::web_session_capnp::web_session::{
    self, AclParams, AclResults, CopyParams, CopyResults, DeleteParams, DeleteResults, GetParams, GetResults,
    LockParams, LockResults, MkcolParams, MkcolResults, MoveParams, MoveResults, OpenWebSocketParams,
    OpenWebSocketResults, OptionsParams, OptionsResults, PatchParams, PatchResults, PostParams, PostResults,
    PostStreamingParams, PostStreamingResults, PropfindDepth, PropfindParams, PropfindResults,
    ProppatchParams, ProppatchResults, PutParams, PutResults, PutStreamingParams, PutStreamingResults,
    ReportParams, ReportResults, UnlockParams, UnlockResults, context, request_stream, response,
};

use crate::bridge::Bridge;
use crate::exchange::exchange;
use crate::http::request::Lines;
use crate::http::response::text as header_text;
use crate::reply::deliver;
use crate::session::{Registration, SessionHeaders, add_context};
use crate::upload::Upload;
use crate::web_socket::{add_upgrade, upgrade};

const XML: &str = "application/xml;charset=utf-8";

/// A person's or an API client's session with the app.
pub(crate) struct Session {
    pub(crate) bridge: Rc<Bridge>,
    pub(crate) headers: SessionHeaders,
    /// Put before every path as it is: `/`, or the app's API path.
    pub(crate) root: Vec<u8>,
    /// The session's base URL as the platform gave it; empty for an API session.
    pub(crate) base_path: Vec<u8>,
    /// Keeps the session findable by its id; none for an API that was given away.
    pub(crate) _registration: Option<Registration>,
}

/// A request to be sent in one go.
struct Request {
    bytes: Vec<u8>,
    is_head: bool,
}

impl Session {
    /// Writes a request: its line, the headers of its method, the session's, and those of `context`.
    fn request(
        &self,
        method: &str,
        path: text::Reader<'_>,
        own: &[(&str, &[u8])],
        context: context::Reader<'_>,
        body: &[u8],
    ) -> Result<Request, Error> {
        let mut lines = self.begin(method, path)?;
        for (name, value) in own {
            lines.add(name, value)?;
        }
        lines.append(&self.common(context)?);
        let mut bytes = lines.finish();
        bytes.extend_from_slice(body);
        Ok(Request {
            bytes,
            is_head: method == "HEAD",
        })
    }

    fn begin(&self, method: &str, path: text::Reader<'_>) -> Result<Lines, Error> {
        let mut lines = Lines::request(method, &self.root, path.as_bytes())?;
        lines.add("Connection", "close")?;
        Ok(lines)
    }

    fn common(&self, context: context::Reader<'_>) -> Result<Lines, Error> {
        let mut lines = self.headers.language.clone();
        lines.append(&self.headers.identity);
        add_context(&mut lines, context)?;
        Ok(lines)
    }

    /// Sends a request with a body that the caller has in hand.
    async fn send_content(
        &self,
        method: &str,
        path: text::Reader<'_>,
        content: Content<'_>,
        context: context::Reader<'_>,
        out: response::Builder<'_>,
    ) -> Result<(), Error> {
        let length = content.body.len().to_string();
        let own = [
            ("Content-Type", content.mime_type),
            ("Content-Length", length.as_bytes()),
            ("Content-Encoding", content.encoding),
        ];
        // The length is never empty; the others may be unknown.
        let own: Vec<_> = own.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        let request = self.request(method, path, &own, context, content.body)?;
        self.perform(request, context, out).await
    }

    /// Sends a WebDAV request with an XML body.
    async fn send_xml(
        &self,
        method: &str,
        path: text::Reader<'_>,
        xml: &[u8],
        depth: Option<&str>,
        context: context::Reader<'_>,
        out: response::Builder<'_>,
    ) -> Result<(), Error> {
        let length = xml.len().to_string();
        let mut own = vec![
            ("Content-Type", XML.as_bytes()),
            ("Content-Length", length.as_bytes()),
        ];
        own.extend(depth.map(|depth| ("Depth", depth.as_bytes())));
        let request = self.request(method, path, &own, context, xml)?;
        self.perform(request, context, out).await
    }

    async fn perform(
        &self,
        request: Request,
        context: context::Reader<'_>,
        out: response::Builder<'_>,
    ) -> Result<(), Error> {
        let stream = context
            .has_response_stream()
            .then(|| context.get_response_stream())
            .transpose()?;
        let socket = self.bridge.app.connect().await?;
        let answer = exchange(socket, request.bytes, request.is_head).await?;
        deliver(answer, stream, out).await
    }

    /// Opens an upload whose body will follow.
    async fn upload(
        &self,
        method: &str,
        path: text::Reader<'_>,
        mime_type: text::Reader<'_>,
        encoding: text::Reader<'_>,
        context: context::Reader<'_>,
    ) -> Result<request_stream::Client, Error> {
        let mut before = self.begin(method, path)?;
        before.add_unless_empty("Content-Type", mime_type.as_bytes())?;
        before.add_unless_empty("Content-Encoding", encoding.as_bytes())?;
        let after = self.common(context)?;
        let stream = context
            .has_response_stream()
            .then(|| context.get_response_stream())
            .transpose()?;
        let socket = self.bridge.app.connect().await?;
        Ok(capnp_rpc::new_client(Upload::new(socket, before, after, stream)))
    }

    /// Returns the `Destination` of a COPY or MOVE: the base URL directly followed by the path.
    ///
    /// A base without its final slash would run into the path and name another host; then a slash goes between. A session
    /// without a base has no host to name: its destination is a path like that of its requests (RFC 4918 section 8.3).
    fn destination(&self, path: &[u8]) -> Vec<u8> {
        if self.base_path.is_empty() {
            let path = path.strip_prefix(b"/").unwrap_or(path);
            return [self.root.as_slice(), path].concat();
        }
        let mut url = self.base_path.clone();
        if !url.ends_with(b"/") && !path.starts_with(b"/") {
            url.push(b'/');
        }
        url.extend_from_slice(path);
        url
    }
}

/// A request body and what describes it.
struct Content<'a> {
    mime_type: &'a [u8],
    encoding: &'a [u8],
    body: &'a [u8],
}

impl<'a> Content<'a> {
    fn of_post(content: web_session::post_content::Reader<'a>) -> Result<Self, Error> {
        Ok(Self {
            mime_type: content.get_mime_type()?.as_bytes(),
            encoding: content.get_encoding()?.as_bytes(),
            body: content.get_content()?,
        })
    }

    fn of_put(content: web_session::put_content::Reader<'a>) -> Result<Self, Error> {
        Ok(Self {
            mime_type: content.get_mime_type()?.as_bytes(),
            encoding: content.get_encoding()?.as_bytes(),
            body: content.get_content()?,
        })
    }
}

fn overwrite(no_overwrite: bool) -> &'static [u8] {
    if no_overwrite { b"F" } else { b"T" }
}

fn depth(shallow: bool) -> &'static str {
    if shallow { "0" } else { "infinity" }
}

impl ui_session::Server for Session {}
impl api_session::Server for Session {}

impl web_session::Server for Session {
    async fn get(self: Rc<Self>, params: GetParams, mut results: GetResults) -> Result<(), Error> {
        let params = params.get()?;
        let method = if params.get_ignore_body() { "HEAD" } else { "GET" };
        let context = params.get_context()?;
        let request = self.request(method, params.get_path()?, &[], context, b"")?;
        self.perform(request, context, results.get()).await
    }

    async fn post(self: Rc<Self>, params: PostParams, mut results: PostResults) -> Result<(), Error> {
        let params = params.get()?;
        let content = Content::of_post(params.get_content()?)?;
        self.send_content(
            "POST",
            params.get_path()?,
            content,
            params.get_context()?,
            results.get(),
        )
        .await
    }

    async fn patch(self: Rc<Self>, params: PatchParams, mut results: PatchResults) -> Result<(), Error> {
        let params = params.get()?;
        let content = Content::of_post(params.get_content()?)?;
        self.send_content(
            "PATCH",
            params.get_path()?,
            content,
            params.get_context()?,
            results.get(),
        )
        .await
    }

    async fn put(self: Rc<Self>, params: PutParams, mut results: PutResults) -> Result<(), Error> {
        let params = params.get()?;
        let content = Content::of_put(params.get_content()?)?;
        self.send_content(
            "PUT",
            params.get_path()?,
            content,
            params.get_context()?,
            results.get(),
        )
        .await
    }

    async fn delete(self: Rc<Self>, params: DeleteParams, mut results: DeleteResults) -> Result<(), Error> {
        let params = params.get()?;
        let context = params.get_context()?;
        let request = self.request("DELETE", params.get_path()?, &[], context, b"")?;
        self.perform(request, context, results.get()).await
    }

    async fn post_streaming(
        self: Rc<Self>,
        params: PostStreamingParams,
        mut results: PostStreamingResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let (path, mime, encoding) = (
            params.get_path()?,
            params.get_mime_type()?,
            params.get_encoding()?,
        );
        let stream = self
            .upload("POST", path, mime, encoding, params.get_context()?)
            .await?;
        results.get().set_stream(stream);
        Ok(())
    }

    async fn put_streaming(
        self: Rc<Self>,
        params: PutStreamingParams,
        mut results: PutStreamingResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let (path, mime, encoding) = (
            params.get_path()?,
            params.get_mime_type()?,
            params.get_encoding()?,
        );
        let stream = self
            .upload("PUT", path, mime, encoding, params.get_context()?)
            .await?;
        results.get().set_stream(stream);
        Ok(())
    }

    async fn open_web_socket(
        self: Rc<Self>,
        params: OpenWebSocketParams,
        mut results: OpenWebSocketResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let mut protocols: Vec<&[u8]> = Vec::new();
        for protocol in params.get_protocol()? {
            protocols.push(protocol?.as_bytes());
        }
        let mut lines = Lines::request("GET", &self.root, params.get_path()?.as_bytes())?;
        add_upgrade(&mut lines, &protocols)?;
        lines.append(&self.headers.identity);
        add_context(&mut lines, params.get_context()?)?;

        let socket = self.bridge.app.connect().await?;
        let upgraded = upgrade(socket, &lines.finish()).await?;
        let chosen = upgraded.protocols();
        let count = u32::try_from(chosen.len()).map_err(|_| Error::failed("too many protocols".into()))?;
        let mut list = results.get().init_protocol(count);
        for (index, name) in (0..).zip(&chosen) {
            list.set(index, header_text(name).as_ref());
        }
        results
            .get()
            .set_server_stream(upgraded.start(params.get_client_stream()?));
        Ok(())
    }

    async fn propfind(
        self: Rc<Self>,
        params: PropfindParams,
        mut results: PropfindResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let depth = match params.get_depth()? {
            PropfindDepth::Infinity => "infinity",
            PropfindDepth::Zero => "0",
            PropfindDepth::One => "1",
        };
        let xml = params.get_xml_content()?.as_bytes();
        self.send_xml(
            "PROPFIND",
            params.get_path()?,
            xml,
            Some(depth),
            params.get_context()?,
            results.get(),
        )
        .await
    }

    async fn proppatch(
        self: Rc<Self>,
        params: ProppatchParams,
        mut results: ProppatchResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let xml = params.get_xml_content()?.as_bytes();
        self.send_xml(
            "PROPPATCH",
            params.get_path()?,
            xml,
            None,
            params.get_context()?,
            results.get(),
        )
        .await
    }

    async fn lock(self: Rc<Self>, params: LockParams, mut results: LockResults) -> Result<(), Error> {
        let params = params.get()?;
        let depth = Some(depth(params.get_shallow()));
        let xml = params.get_xml_content()?.as_bytes();
        self.send_xml(
            "LOCK",
            params.get_path()?,
            xml,
            depth,
            params.get_context()?,
            results.get(),
        )
        .await
    }

    async fn acl(self: Rc<Self>, params: AclParams, mut results: AclResults) -> Result<(), Error> {
        let params = params.get()?;
        let xml = params.get_xml_content()?.as_bytes();
        self.send_xml(
            "ACL",
            params.get_path()?,
            xml,
            None,
            params.get_context()?,
            results.get(),
        )
        .await
    }

    async fn unlock(self: Rc<Self>, params: UnlockParams, mut results: UnlockResults) -> Result<(), Error> {
        let params = params.get()?;
        let context = params.get_context()?;
        let own = [("Lock-Token", params.get_lock_token()?.as_bytes())];
        let request = self.request("UNLOCK", params.get_path()?, &own, context, b"")?;
        self.perform(request, context, results.get()).await
    }

    async fn mkcol(self: Rc<Self>, params: MkcolParams, mut results: MkcolResults) -> Result<(), Error> {
        let params = params.get()?;
        let content = Content::of_post(params.get_content()?)?;
        self.send_content(
            "MKCOL",
            params.get_path()?,
            content,
            params.get_context()?,
            results.get(),
        )
        .await
    }

    async fn report(self: Rc<Self>, params: ReportParams, mut results: ReportResults) -> Result<(), Error> {
        let params = params.get()?;
        let content = Content::of_post(params.get_content()?)?;
        self.send_content(
            "REPORT",
            params.get_path()?,
            content,
            params.get_context()?,
            results.get(),
        )
        .await
    }

    async fn copy(self: Rc<Self>, params: CopyParams, mut results: CopyResults) -> Result<(), Error> {
        let params = params.get()?;
        let context = params.get_context()?;
        let destination = self.destination(params.get_destination()?.as_bytes());
        let own = [
            ("Destination", destination.as_slice()),
            ("Overwrite", overwrite(params.get_no_overwrite())),
            ("Depth", depth(params.get_shallow()).as_bytes()),
        ];
        let request = self.request("COPY", params.get_path()?, &own, context, b"")?;
        self.perform(request, context, results.get()).await
    }

    async fn move_(self: Rc<Self>, params: MoveParams, mut results: MoveResults) -> Result<(), Error> {
        let params = params.get()?;
        let context = params.get_context()?;
        let destination = self.destination(params.get_destination()?.as_bytes());
        let own = [
            ("Destination", destination.as_slice()),
            ("Overwrite", overwrite(params.get_no_overwrite())),
        ];
        let request = self.request("MOVE", params.get_path()?, &own, context, b"")?;
        self.perform(request, context, results.get()).await
    }

    async fn options(
        self: Rc<Self>,
        params: OptionsParams,
        mut results: OptionsResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let request = self.request("OPTIONS", params.get_path()?, &[], params.get_context()?, b"")?;
        let socket = self.bridge.app.connect().await?;
        let answer = exchange(socket, request.bytes, false).await?;
        let mut options = results.get();
        let mut extensions = Vec::new();
        for class in answer
            .head
            .all("dav")
            .flat_map(|value| value.split(|byte| *byte == b','))
        {
            match class.trim_ascii() {
                b"" => {}
                b"1" => options.set_dav_class1(true),
                b"2" => options.set_dav_class2(true),
                b"3" => options.set_dav_class3(true),
                extension => extensions.push(header_text(extension)),
            }
        }
        let count =
            u32::try_from(extensions.len()).map_err(|_| Error::failed("DAV header too long".into()))?;
        let mut list = options.init_dav_extensions(count);
        for (index, extension) in (0..).zip(&extensions) {
            list.set(index, extension.as_ref());
        }
        Ok(())
    }
}
