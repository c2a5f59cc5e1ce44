//! What needs no account: looking at the server, signing in, joining, following a link.

use hyper::StatusCode;
use hyper::header::SET_COOKIE;
use percloud_core::secret::Secret;
use percloud_schemas::front_capnp::reply;
use serde_json::Value;

use crate::client;
use crate::cookie::Ours;
use crate::edge::Edge;
use crate::respond::{Answer, Refusal, json};
use crate::shell::api::reply::{ask, broken, pass};
use crate::shell::api::{Call, resume};

/// Whether a call needs no account.
pub(super) fn may_ask(call: &Call<'_>) -> bool {
    matches!(
        (call.method, call.path),
        ("GET", ["settings"])
            | ("POST", ["setup" | "session" | "join"])
            | ("POST", ["links", "look" | "open"])
    )
}

/// Answers a call that needs no account.
///
/// # Errors
///
/// When the document cannot be read or the broker does not answer.
pub(super) async fn answer(call: Call<'_>) -> Result<Answer, Refusal> {
    let (edge, peer, headers, path) = (call.edge, call.peer, call.headers, call.path);
    // Each asks with a document and a word on who asks; those that sign in get a cookie besides.
    macro_rules! knock {
        ($request:ident) => {{
            let mut request = edge.front.$request();
            request.get().set_json(&call.document().await?);
            client::fill(request.get().init_client(), peer, headers);
            ask(request.send().promise).await?
        }};
    }
    macro_rules! sign_in {
        ($request:ident) => {{
            let replied = knock!($request);
            let replied = replied.get().map_err(broken)?;
            let cookie = if replied.has_cookie() {
                replied.get_cookie().map_err(broken)?
            } else {
                &[]
            };
            signed_in(edge, replied.get_reply().map_err(broken)?, cookie)
        }};
    }
    match path {
        ["settings"] => settings(call).await,
        ["setup"] => sign_in!(set_up_request),
        ["session"] => sign_in!(sign_in_request),
        ["join"] => sign_in!(join_request),
        ["links", "look"] => {
            let replied = knock!(look_at_link_request);
            pass(replied.get().and_then(|replied| replied.get_reply()))
        }
        ["links", "open"] => {
            let replied = knock!(open_link_request);
            pass(replied.get().and_then(|replied| replied.get_reply()))
        }
        _ => Err(Refusal::NotFound),
    }
}

async fn settings(call: Call<'_>) -> Result<Answer, Refusal> {
    // Who asks is between the edge and the broker: the document of a stranger is completed here.
    let signed_in = resume(call.edge, call.headers).await?.is_some();
    let reply = ask(call.edge.front.settings_request().send().promise).await?;
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
