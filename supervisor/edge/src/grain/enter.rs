//! The hand-over: a secret that works once becomes the cookie of one session host (ADR 0007).

use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, HeaderValue, LOCATION, ORIGIN, SET_COOKIE};
use hyper::{Method, Request, Response, StatusCode};
use percloud_core::host::SessionHost;
use percloud_core::secret::Secret;

use crate::body::Body;
use crate::cookie::Ours;
use crate::edge::Edge;
use crate::grain::guard::FETCH_SITE;
use crate::intake::Intake;
use crate::respond::{Answer, Refusal};
use crate::said::Said;

/// `secret=` and 64 digits, with room for what a form may add.
const FORM: usize = 1024;

/// Answers on the paths that are ours: `POST /_percloud/enter`, and nothing else.
pub(super) async fn answer(
    edge: &Edge,
    said: &Said,
    host: &SessionHost,
    request: Request<Incoming>,
) -> Result<Answer, Refusal> {
    if request.uri().path() != "/_percloud/enter" || request.method() != Method::POST {
        return Err(Refusal::NotFound);
    }
    let headers = request.headers();
    let from_shell = match headers.get(ORIGIN) {
        Some(origin) => origin.as_bytes() == edge.base.origin().as_bytes(),
        // No browser leaves `Origin` out of a form it posts; what no browser sends, no other site can cause.
        None => headers.get(FETCH_SITE).is_none(),
    };
    if !from_shell {
        return Err(Refusal::CrossSite);
    }
    let form = Intake::new(request.into_body(), edge.limits.body_pause, said.taken())
        .whole(FORM, &[])
        .await?;
    let secret = std::str::from_utf8(&form)
        .ok()
        .and_then(|form| form.split('&').find_map(|field| field.strip_prefix("secret=")))
        .and_then(|digits| Secret::from_hex(digits.trim_end()))
        .ok_or(Refusal::LinkUsed)?;

    let mut asked = edge.front.enter_request();
    asked.get().set_host_id(host.as_str());
    asked.get().set_secret(secret.expose());
    let reply = asked
        .send()
        .promise
        .await
        .map_err(|error| Refusal::from_broker(&error))?;
    let (cookie, path) = read(&reply)
        .map_err(|error| Refusal::from_broker(&error))?
        .ok_or(Refusal::LinkUsed)?;

    let mut answer = Response::new(Body::Empty);
    *answer.status_mut() = StatusCode::SEE_OTHER;
    let headers = answer.headers_mut();
    // Two slashes would be another host.
    let local = path.starts_with('/') && !path.starts_with("//") && !path.contains('\\');
    let location = local.then(|| HeaderValue::try_from(path.as_str()).ok()).flatten();
    headers.insert(LOCATION, location.unwrap_or(HeaderValue::from_static("/")));
    headers.insert(SET_COOKIE, Ours::Page.give(&edge.base, &cookie));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    edge.policy.page(headers);
    Ok(answer)
}

type Entered = capnp::capability::Response<percloud_schemas::front_capnp::front::enter_results::Owned>;

fn read(reply: &Entered) -> Result<Option<(Secret, String)>, capnp::Error> {
    let reply = reply.get()?;
    if !reply.has_cookie() {
        return Ok(None);
    }
    let Some(cookie) = Secret::from_slice(reply.get_cookie()?) else {
        return Ok(None);
    };
    Ok(Some((cookie, reply.get_path()?.to_str()?.to_owned())))
}
