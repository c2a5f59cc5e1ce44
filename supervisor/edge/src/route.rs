//! Finds the part that answers a request: host first, everything else later.

use std::net::IpAddr;
use std::rc::Rc;

use hyper::body::Incoming;
use hyper::header::{ACCEPT_LANGUAGE, HOST, HeaderValue, LOCATION};
use hyper::{Method, Request, Response, StatusCode, Version};

use crate::base_url::Place;
use crate::body::Body;
use crate::edge::Edge;
use crate::language::Language;
use crate::respond::{Answer, Refusal};
use crate::said::Said;
use crate::{api, grain, shell, site};

/// Answers one request. Never fails: what goes wrong is an answer too.
pub(crate) async fn answer(edge: Rc<Edge>, said: &Said, peer: IpAddr, request: Request<Incoming>) -> Answer {
    // For a page of ours that says no; what was asked is the app's by then.
    let language = Language::preferred(request.headers().get(ACCEPT_LANGUAGE));
    // A request to a session host is the usual one: what the others need while they wait has a place of its own, and
    // does not make every request larger that is moved about.
    let answered = match place(&edge, said, &request) {
        Ok(place) => match &*place {
            Place::Session(host) => grain::answer(&edge, said, host, request).await,
            Place::Shell => return Box::pin(shell::answer(&edge, said, peer, request)).await,
            Place::Api(host) => {
                return Box::pin(api::answer(&edge, said, peer, host.clone(), request)).await;
            }
            Place::Site(id) => Box::pin(site::answer(&edge, id, request)).await,
            Place::Alias if matches!(*request.method(), Method::GET | Method::HEAD) => {
                to_shell(&edge, &request)
            }
            Place::Alias | Place::Elsewhere | Place::Malformed => Err(Refusal::NoSuchHost),
        },
        Err(refusal) => Err(refusal),
    };
    answered.unwrap_or_else(|refusal| refusal.page(&edge.policy, language))
}

/// The host meant. There must be exactly one `Host` (RFC 9112 section 3.2), and a target in absolute form must name
/// the same.
fn place(edge: &Edge, said: &Said, request: &Request<Incoming>) -> Result<Rc<Place>, Refusal> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => host,
        (None, _) if request.version() < Version::HTTP_11 => return Err(Refusal::NoSuchHost),
        (None, _) => {
            return Err(Refusal::BadRequest(
                "The request does not say which host it is for.",
            ));
        }
        (Some(_), Some(_)) => return Err(Refusal::BadRequest("The request names more than one host.")),
    };
    let place = said.host(&edge.base, host.as_bytes());
    if *place == Place::Malformed {
        return Err(Refusal::BadRequest("The Host header is not a host name."));
    }
    if let Some(target) = request.uri().authority()
        && (request.uri().scheme_str() != Some(edge.base.scheme())
            || edge.base.place(target.as_str()) != *place)
    {
        return Err(Refusal::BadRequest(
            "The address and the Host header name different hosts.",
        ));
    }
    let path = request.uri().path_and_query().map_or("", |path| path.as_str());
    if path.len() > edge.limits.path_bytes {
        return Err(Refusal::PathTooLong(edge.limits.path_bytes));
    }
    Ok(place)
}

fn to_shell(edge: &Edge, request: &Request<Incoming>) -> Result<Answer, Refusal> {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let mut answer = Response::new(Body::Empty);
    *answer.status_mut() = StatusCode::PERMANENT_REDIRECT;
    let location = HeaderValue::try_from(format!("{}{path}", edge.base.origin()))
        .map_err(|_| Refusal::BadRequest("The address is not one."))?;
    answer.headers_mut().insert(LOCATION, location);
    edge.policy.page(answer.headers_mut());
    Ok(answer)
}
