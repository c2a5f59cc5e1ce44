//! Refuses what other sites make a browser send, even if the app forgets to (threat model P9).

use hyper::header::{HeaderMap, HeaderName, ORIGIN};
use hyper::{Method, Request};

use crate::grain::sessions::Session;
use crate::grain::websocket;
use crate::respond::Refusal;

pub(crate) const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const SERVICE_WORKER: HeaderName = HeaderName::from_static("service-worker");

/// Refuses scripts of service workers: one would outlive the page that it came with and answer in the app's place.
pub(super) fn refuse_service_workers(headers: &HeaderMap) -> Result<(), Refusal> {
    if headers.contains_key(SERVICE_WORKER) {
        Err(Refusal::ServiceWorker)
    } else {
        Ok(())
    }
}

/// Lets through what the session's own pages ask for, what a person navigates to, and what no browser sent.
pub(super) fn refuse_cross_site<B>(session: &Session, request: &Request<B>) -> Result<(), Refusal> {
    let headers = request.headers();
    match headers.get(ORIGIN).map(|origin| origin.as_bytes()) {
        None => {}
        Some(origin) if origin == session.origin.as_bytes() => return Ok(()),
        // Sandboxed frames of old apps (sheet 5.2); our cookie is not sent from other sites at all.
        Some(b"null") if session.relaxed => return Ok(()),
        Some(_) => return Err(Refusal::CrossSite),
    }
    match headers.get(FETCH_SITE).map(|site| site.as_bytes()) {
        None | Some(b"same-origin" | b"none") => Ok(()),
        Some(_) => {
            let safe =
                matches!(*request.method(), Method::GET | Method::HEAD) && !websocket::is_asked_for(headers);
            let navigates = headers
                .get(FETCH_MODE)
                .is_none_or(|mode| mode.as_bytes() == b"navigate");
            if safe && (navigates || session.relaxed) {
                Ok(())
            } else {
                Err(Refusal::CrossSite)
            }
        }
    }
}
