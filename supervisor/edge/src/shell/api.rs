//! The shell API: each call is one thing a capability of the broker can do (docs/shell-api.md).

use std::net::IpAddr;
use std::rc::Rc;

use bytes::Bytes;
use capnp::capability::{Promise, Response as Reply};
use hyper::body::Incoming;
use hyper::header::{HeaderMap, HeaderName, ORIGIN, SET_COOKIE, USER_AGENT};
use hyper::{Method, Request, StatusCode};
use percloud_core::secret::Secret;
use percloud_schemas::front_capnp::{grain_control, reply, user_session};
use serde_json::Value;

use crate::cookie::Ours;
use crate::edge::Edge;
use crate::intake::Intake;
use crate::respond::{Answer, Refusal, json};
use crate::shell::{events, package};

/// Longest JSON document, in bytes.
const DOCUMENT: usize = 64 << 10;
const MARK: HeaderName = HeaderName::from_static("x-percloud");
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Answers a request below `/api`.
///
/// # Errors
///
/// With the refusal to show as JSON.
pub(super) async fn answer(
    edge: &Rc<Edge>,
    peer: IpAddr,
    request: Request<Incoming>,
) -> Result<Answer, Refusal> {
    let (parts, body) = request.into_parts();
    let body = Intake::new(body, edge.limits.body_pause);
    guard(edge, &parts.method, &parts.headers)?;
    let path: Vec<&str> = parts
        .uri
        .path()
        .trim_start_matches("/api")
        .split('/')
        .skip(1)
        .collect();
    let method = match parts.method.as_str() {
        "HEAD" => "GET",
        other => other,
    };

    // What a stranger may ask.
    match (method, path.as_slice()) {
        ("GET", ["settings"]) => return settings(edge, &parts.headers).await,
        ("POST", ["setup"]) => {
            let mut call = edge.front.set_up_request();
            call.get().set_json(&document(body).await?);
            fill_client(call.get().init_client(), peer, &parts.headers);
            let reply = ask(call.send().promise).await?;
            let reply = reply.get().map_err(broken)?;
            let cookie = if reply.has_cookie() {
                reply.get_cookie().map_err(broken)?
            } else {
                &[]
            };
            return signed_in(edge, reply.get_reply().map_err(broken)?, cookie);
        }
        ("POST", ["session"]) => {
            let mut call = edge.front.sign_in_request();
            call.get().set_json(&document(body).await?);
            fill_client(call.get().init_client(), peer, &parts.headers);
            let reply = ask(call.send().promise).await?;
            let reply = reply.get().map_err(broken)?;
            let cookie = if reply.has_cookie() {
                reply.get_cookie().map_err(broken)?
            } else {
                &[]
            };
            return signed_in(edge, reply.get_reply().map_err(broken)?, cookie);
        }
        _ => {}
    }

    let session = resume(edge, &parts.headers).await?.ok_or(Refusal::SignedOut)?;
    match (method, path.as_slice()) {
        ("DELETE", ["session"]) => {
            let reply = ask(session.sign_out_request().send().promise).await?;
            let mut answer = pass(reply.get().and_then(|reply| reply.get_reply()))?;
            answer
                .headers_mut()
                .append(SET_COOKIE, Ours::Shell.take_back(&edge.base));
            Ok(answer)
        }
        ("GET", ["me"]) => {
            let reply = ask(session.whoami_request().send().promise).await?;
            pass(reply.get().and_then(|reply| reply.get_reply()))
        }
        ("GET", ["home"]) => {
            let reply = ask(session.home_request().send().promise).await?;
            pass(reply.get().and_then(|reply| reply.get_reply()))
        }
        ("GET", ["events"]) => events::answer(edge, &session).await,
        ("POST", ["packages"]) => package::upload(edge, &session, &parts.headers, body).await,
        (_, ["packages", id, rest @ ..]) => package::answer(&session, method, id, rest).await,
        ("POST", ["grains"]) => {
            let mut call = session.create_grain_request();
            call.get().set_json(&document(body).await?);
            let reply = ask(call.send().promise).await?;
            pass(reply.get().and_then(|reply| reply.get_reply()))
        }
        (_, ["grains", id, rest @ ..]) => {
            let query = parts.uri.query().unwrap_or_default();
            grain(edge, &session, method, id, rest, query, body).await
        }
        _ => Err(Refusal::NotFound),
    }
}

async fn grain(
    edge: &Rc<Edge>,
    session: &user_session::Client,
    method: &str,
    id: &str,
    rest: &[&str],
    query: &str,
    body: Intake,
) -> Result<Answer, Refusal> {
    let mut call = session.grain_request();
    call.get().set_grain_id(id);
    let found = ask(call.send().promise).await?;
    let found = found.get().map_err(broken)?;
    if !found.has_grain() || is_error(found.get_reply()) {
        return pass(found.get_reply());
    }
    let grain = found.get_grain().map_err(broken)?;
    macro_rules! pass {
        ($call:expr) => {{
            let reply = ask($call.send().promise).await?;
            pass(reply.get().and_then(|reply| reply.get_reply()))
        }};
    }
    match (method, rest) {
        ("GET", []) => pass!(grain.info_request()),
        ("PATCH", []) => change(&grain, &document(body).await?).await,
        ("DELETE", []) => pass!(grain.delete_request()),
        ("POST", ["open"]) => {
            let mut call = grain.open_request();
            call.get().set_json(&document(body).await?);
            pass!(call)
        }
        ("POST", ["trash"]) => pass!(grain.trash_request()),
        ("POST", ["restore"]) => pass!(grain.restore_request()),
        ("POST", ["restart"]) => pass!(grain.restart_request()),
        ("GET", ["log"]) => events::log(edge, &grain, query).await,
        _ => Err(Refusal::NotFound),
    }
}

/// A change of title and one of settings are two acts of the broker; which are meant shows in the document.
async fn change(grain: &grain_control::Client, text: &str) -> Result<Answer, Refusal> {
    const UNKNOWN: Refusal = Refusal::BadRequest("There is nothing to change in this request.");
    let Ok(Value::Object(document)) = serde_json::from_str(text) else {
        return Err(Refusal::BadRequest("The request is not a JSON document."));
    };
    let part = |name: &str| {
        document
            .get(name)
            .map(|value| serde_json::json!({name: value}).to_string())
    };
    let (title, settings) = (part("title"), part("relaxedPolicy"));
    if document.len() != usize::from(title.is_some()) + usize::from(settings.is_some()) {
        return Err(UNKNOWN);
    }
    let mut answer = Err(UNKNOWN);
    if let Some(title) = title {
        let mut call = grain.rename_request();
        call.get().set_json(&title);
        let reply = ask(call.send().promise).await?;
        let renamed = pass(reply.get().and_then(|reply| reply.get_reply()))?;
        if !renamed.status().is_success() {
            return Ok(renamed);
        }
        answer = Ok(renamed);
    }
    if let Some(settings) = settings {
        let mut call = grain.configure_request();
        call.get().set_json(&settings);
        let reply = ask(call.send().promise).await?;
        answer = pass(reply.get().and_then(|reply| reply.get_reply()));
    }
    answer
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

async fn settings(edge: &Edge, headers: &HeaderMap) -> Result<Answer, Refusal> {
    // Who asks is between the edge and the broker: the document of a stranger is completed here.
    let signed_in = resume(edge, headers).await?.is_some();
    let reply = ask(edge.front.settings_request().send().promise).await?;
    let reply = reply.get().and_then(|reply| reply.get_reply()).map_err(broken)?;
    let text = reply
        .get_json()
        .and_then(|text| Ok(text.to_str()?))
        .map_err(broken)?;
    match serde_json::from_str(text) {
        Ok(Value::Object(mut document)) if reply.get_status() == 200 => {
            document.insert("signedIn".to_owned(), signed_in.into());
            Ok(json(StatusCode::OK, Value::Object(document).to_string().into()))
        }
        _ => pass(Ok(reply)),
    }
}

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

fn signed_in(edge: &Edge, reply: reply::Reader<'_>, cookie: &[u8]) -> Result<Answer, Refusal> {
    let mut answer = pass(Ok(reply))?;
    if answer.status().is_success()
        && let Some(secret) = Secret::from_slice(cookie)
    {
        answer
            .headers_mut()
            .append(SET_COOKIE, Ours::Shell.give(&edge.base, &secret));
    }
    Ok(answer)
}

fn fill_client(
    mut client: percloud_schemas::front_capnp::client::Builder<'_>,
    peer: IpAddr,
    headers: &HeaderMap,
) {
    // What the broker counts attempts by must not be cheap to change.
    client.set_address(crate::crowd::client(peer).to_string());
    let agent = headers
        .get(USER_AGENT)
        .and_then(|agent| agent.to_str().ok())
        .unwrap_or_default();
    client.set_user_agent(agent.get(..agent.len().min(512)).unwrap_or_default());
}

async fn document(mut body: Intake) -> Result<String, Refusal> {
    let bytes = body.whole(DOCUMENT).await?;
    String::from_utf8(bytes.into()).map_err(|_| Refusal::BadRequest("The request is not UTF-8."))
}

/// Waits for the broker.
pub(super) async fn ask<T>(promise: Promise<Reply<T>, capnp::Error>) -> Result<Reply<T>, Refusal> {
    promise.await.map_err(broken)
}

/// What a broken answer of the broker means.
pub(super) fn broken(error: capnp::Error) -> Refusal {
    Refusal::from_broker(&error)
}

/// Whether the broker refuses.
pub(super) fn is_error(reply: Result<reply::Reader<'_>, capnp::Error>) -> bool {
    reply.is_ok_and(|reply| reply.get_status() >= 400)
}

/// Passes on what the broker composed, unread.
pub(super) fn pass(reply: Result<reply::Reader<'_>, capnp::Error>) -> Result<Answer, Refusal> {
    let reply = reply.map_err(broken)?;
    let text = reply.get_json().map_err(broken)?;
    let status = StatusCode::from_u16(reply.get_status()).map_err(|_| Refusal::Unavailable)?;
    if !(200..600).contains(&status.as_u16()) {
        return Err(Refusal::Unavailable);
    }
    let mut answer = json(status, Bytes::copy_from_slice(text.as_bytes()));
    if status == StatusCode::TOO_MANY_REQUESTS {
        let after = serde_json::from_slice::<Value>(text.as_bytes()).ok();
        let after = after.and_then(|document| document.pointer("/error/retryAfter")?.as_u64());
        if let Some(after) = after {
            answer
                .headers_mut()
                .insert(hyper::header::RETRY_AFTER, after.into());
        }
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use percloud_schemas::front_capnp::client;

    use super::*;

    fn told(peer: &str) -> String {
        let mut message = capnp::message::Builder::new_default();
        let mut client = message.init_root::<client::Builder<'_>>();
        fill_client(client.reborrow(), peer.parse().unwrap(), &HeaderMap::new());
        client.into_reader().get_address().unwrap().to_string().unwrap()
    }

    #[test]
    fn the_broker_counts_networks_and_not_the_addresses_within() {
        assert_eq!(told("2001:db8:1:2:3:4:5:6"), told("2001:db8:1:2::1"));
        assert_eq!(told("2001:db8:1:2::1"), "2001:db8:1:2::");
        assert_ne!(told("2001:db8:1:3::1"), told("2001:db8:1:2::1"));
    }

    #[test]
    fn an_old_address_is_told_whole_and_in_one_way() {
        assert_eq!(told("192.0.2.7"), "192.0.2.7");
        assert_eq!(told("::ffff:192.0.2.7"), "192.0.2.7");
    }
}
