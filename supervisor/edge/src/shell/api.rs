//! The shell API: each call is one thing a capability of the broker can do (docs/shell-api.md).
//!
//! - [`stranger`]: what needs no account
//! - [`person`]: what a signed-in person does outside any one grain
//! - [`grain`]: everything about one grain
//! - [`reply`]: asking the broker, and passing on what it says

mod grain;
mod person;
pub(super) mod reply;
mod stranger;

use std::net::IpAddr;
use std::rc::Rc;

use hyper::body::Incoming;
use hyper::header::{HeaderMap, HeaderName, ORIGIN};
use hyper::{Method, Request};
use percloud_schemas::front_capnp::user_session;

use crate::cookie::Ours;
use crate::edge::Edge;
use crate::intake::Intake;
use crate::respond::{Answer, Refusal};
use crate::said::Said;
use crate::shell::api::reply::{ask, broken};

/// Longest JSON document, in bytes.
const DOCUMENT: usize = 64 << 10;
const MARK: HeaderName = HeaderName::from_static("x-percloud");
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// A call below `/api`, taken apart. Who may make it is settled.
struct Call<'a> {
    edge: &'a Rc<Edge>,
    peer: IpAddr,
    /// `GET` for `HEAD`, too.
    method: &'a str,
    /// What stands between the slashes after `/api/`.
    path: &'a [&'a str],
    query: &'a str,
    headers: &'a HeaderMap,
    body: Intake,
}

/// Answers a request below `/api`.
///
/// # Errors
///
/// With the refusal to show as JSON.
pub(super) async fn answer(
    edge: &Rc<Edge>,
    said: &Said,
    peer: IpAddr,
    request: Request<Incoming>,
) -> Result<Answer, Refusal> {
    let (parts, body) = request.into_parts();
    guard(edge, &parts.method, &parts.headers)?;
    let path: Vec<&str> = parts
        .uri
        .path()
        .trim_start_matches("/api")
        .split('/')
        .skip(1)
        .collect();
    let call = Call {
        edge,
        peer,
        method: match parts.method.as_str() {
            "HEAD" => "GET",
            other => other,
        },
        path: &path,
        query: parts.uri.query().unwrap_or_default(),
        headers: &parts.headers,
        body: Intake::new(body, edge.limits.body_pause, said.taken()),
    };
    if stranger::may_ask(&call) {
        return stranger::answer(call).await;
    }
    let session = resume(edge, &parts.headers).await?.ok_or(Refusal::SignedOut)?;
    match call.path {
        ["grains", id, rest @ ..] => grain::answer(call, &session, id, rest).await,
        _ => person::answer(call, &session).await,
    }
}

impl Call<'_> {
    /// The document a call came with.
    async fn document(self) -> Result<String, Refusal> {
        document(self.edge, self.body).await
    }

    /// The document of a call that may come without one.
    async fn any_document(self) -> Result<String, Refusal> {
        let text = document(self.edge, self.body).await?;
        Ok(if text.is_empty() { "{}".to_owned() } else { text })
    }
}

/// Refuses what another site makes a browser send: changes need the shell's origin and a mark that only scripts of
/// the same origin can set; reading is for the shell, and for people who type the address.
fn guard(edge: &Edge, method: &Method, headers: &HeaderMap) -> Result<(), Refusal> {
    let site = headers.get(FETCH_SITE).map(|site| site.as_bytes());
    let own_origin = headers
        .get(ORIGIN)
        .map(|origin| origin.as_bytes() == edge.base.origin().as_bytes());
    let allowed = if matches!(*method, Method::GET | Method::HEAD) {
        own_origin != Some(false) && matches!(site, None | Some(b"same-origin" | b"none"))
    } else {
        let marked = headers.get(MARK).is_some_and(|mark| mark == "1");
        marked && own_origin.unwrap_or(matches!(site, None | Some(b"same-origin")))
    };
    if allowed { Ok(()) } else { Err(Refusal::CrossSite) }
}

/// The session of whoever is signed in.
async fn resume(edge: &Edge, headers: &HeaderMap) -> Result<Option<user_session::Client>, Refusal> {
    let Some(cookie) = Ours::Shell.read(&edge.base, headers) else {
        return Ok(None);
    };
    let mut call = edge.front.resume_request();
    call.get().set_cookie(cookie.expose());
    let reply = ask(call.send().promise).await?;
    let reply = reply.get().map_err(broken)?;
    if reply.has_session() {
        Ok(Some(reply.get_session().map_err(broken)?))
    } else {
        Ok(None)
    }
}

async fn document(edge: &Edge, mut body: Intake) -> Result<String, Refusal> {
    let bytes = body.whole(DOCUMENT, &[&edge.bodies.requests]).await?;
    String::from_utf8(bytes.into()).map_err(|_| Refusal::BadRequest("The request is not UTF-8."))
}
