//! Session hosts: from a request of a browser to a call on the app's `WebSession`, and back.

pub(crate) mod door;
pub(crate) mod sessions;

mod accept;
mod ask;
mod call;
mod context;
mod enter;
mod etag;
mod guard;
mod range;
mod reply;
mod share;
mod upload;
mod websocket;

use std::rc::Rc;

use hyper::body::Incoming;
use hyper::{Method, Request};
use percloud_core::host::SessionHost;

use crate::cookie::Ours;
use crate::edge::Edge;
use crate::respond::{Answer, Refusal};

/// Paths below this are ours on every session host; apps never see them.
const OWN_PATHS: &str = "/_percloud/";

/// Answers a request to a session host.
///
/// # Errors
///
/// With the refusal to show when the request does not reach the app, or nothing usable comes back.
pub(crate) async fn answer(
    edge: &Rc<Edge>,
    host: SessionHost,
    request: Request<Incoming>,
) -> Result<Answer, Refusal> {
    if request.uri().path().starts_with(OWN_PATHS) {
        return enter::answer(edge, &host, request).await;
    }
    guard::refuse_service_workers(request.headers())?;
    // Without a cookie there is nothing to look up: a stranger costs the broker nothing.
    let cookie = Ours::Page
        .read(&edge.base, request.headers())
        .ok_or(Refusal::PageClosed)?;
    let careful = !matches!(*request.method(), Method::GET | Method::HEAD)
        || websocket::is_asked_for(request.headers());
    let session = sessions::get(edge, &host, &cookie, request.headers(), careful).await?;
    guard::refuse_cross_site(&session, &request)?;
    if websocket::is_asked_for(request.headers()) {
        return websocket::answer(edge, session, request).await;
    }
    call::answer(edge, session, &host, &cookie, request).await
}
