//! Session hosts: from a request of a browser to a call on the app's `WebSession`, and back. Programs come here too,
//! once their token is taken (`api`).

pub(crate) mod accept;
pub(crate) mod door;
pub(crate) mod sessions;

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

pub(crate) use guard::FETCH_SITE;
pub(crate) use range::{Part, part};
pub(crate) use reply::{METHODS, disposition};
pub(crate) use websocket::is_asked_for as is_socket;

use std::rc::Rc;

use hyper::body::Incoming;
use hyper::{Method, Request};
use percloud_core::host::SessionHost;

use crate::api::visit::Visit;
use crate::edge::Edge;
use crate::grain::sessions::Way;
use crate::intake;
use crate::respond::{Answer, Refusal};
use crate::said::Said;

/// Paths below this are ours on every session host; apps never see them.
const OWN_PATHS: &str = "/_percloud/";

/// Answers a request to a session host.
///
/// # Errors
///
/// With the refusal to show when the request does not reach the app, or nothing usable comes back.
pub(crate) async fn answer(
    edge: &Rc<Edge>,
    said: &Said,
    host: &SessionHost,
    request: Request<Incoming>,
) -> Result<Answer, Refusal> {
    if request.uri().path().starts_with(OWN_PATHS) {
        return Box::pin(enter::answer(edge, said, host, request)).await;
    }
    guard::refuse_service_workers(request.headers())?;
    let heard = said.hear(&edge.base, request.headers());
    let cookies = Rc::clone(&heard.cookies);
    // Without a cookie there is nothing to look up: a stranger costs the broker nothing.
    let cookie = cookies.page.as_ref().ok_or(Refusal::PageClosed)?;
    let socket = websocket::is_asked_for(request.headers());
    let careful = socket || !matches!(*request.method(), Method::GET | Method::HEAD);
    let way = Way::Page(host, cookie);
    let session = sessions::get(edge, way, request.headers(), careful).await?;
    guard::refuse_cross_site(&session, &request)?;
    if socket {
        return Box::pin(websocket::answer(edge, session, &heard, request)).await;
    }
    call::answer(edge, session, way, heard, request).await
}

/// Whether a session for this visit is at hand.
pub(crate) fn is_open(edge: &Edge, visit: &Visit) -> bool {
    edge.sessions.has(Way::Program(visit))
}

/// Answers a request of a program.
///
/// # Errors
///
/// [`Refusal::NoSuchToken`] when its token stands for nothing here, or no longer; else as [`answer`].
pub(crate) async fn answer_program(
    edge: &Rc<Edge>,
    said: &Said,
    visit: &Visit,
    request: Request<Incoming>,
) -> Result<Answer, Refusal> {
    guard::refuse_service_workers(request.headers())?;
    let socket = websocket::is_asked_for(request.headers());
    let careful = socket || !matches!(*request.method(), Method::GET | Method::HEAD);
    let way = Way::Program(visit);
    let session = match sessions::get(edge, way, request.headers(), careful).await {
        Ok(session) => session,
        Err(refusal) => {
            intake::discard(request, said.taken()).await;
            return Err(refusal);
        }
    };
    let heard = said.hear(&edge.base, request.headers());
    let answered = if socket {
        websocket::answer(edge, session.clone(), &heard, request).await
    } else {
        call::answer(edge, session.clone(), way, heard, request).await
    };
    if matches!(answered, Err(Refusal::AppGone)) {
        // The grain went away, or the token did. Who may come back tries again, who may not is told.
        sessions::forget(edge, way, &session);
        visit.ask(&edge.front).await?;
    }
    answered
}
