//! The shell host: the page shell's files, and the API it speaks.

pub(crate) mod assets;

mod api;
mod backup;
mod events;
mod package;
mod upload;

use std::net::IpAddr;
use std::rc::Rc;

use hyper::body::Incoming;
use hyper::header::ACCEPT_LANGUAGE;
use hyper::{Method, Request};

use crate::edge::Edge;
use crate::language::Language;
use crate::respond::{Answer, Refusal};
use crate::said::Said;

/// Answers a request to the shell host.
pub(crate) async fn answer(edge: &Rc<Edge>, said: &Said, peer: IpAddr, request: Request<Incoming>) -> Answer {
    let path = request.uri().path();
    if path == "/api" || path.starts_with("/api/") {
        return api::answer(edge, said, peer, request)
            .await
            .unwrap_or_else(|refusal| refusal.json());
    }
    let language = Language::preferred(request.headers().get(ACCEPT_LANGUAGE));
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Refusal::UnknownMethod(request.method().as_str().chars().take(32).collect())
            .page(&edge.policy, language);
    }
    match edge.assets.answer(path, request.headers()) {
        Some(mut answer) => {
            if assets::is_offer(path) {
                edge.policy.offer(answer.headers_mut());
            } else {
                edge.policy.shell(answer.headers_mut());
            }
            answer
        }
        None => Refusal::NotFound.page(&edge.policy, language),
    }
}
