//! Asking the broker, and passing on what it says.

use bytes::Bytes;
use capnp::capability::{Promise, Response as Reply};
use hyper::StatusCode;
use percloud_schemas::front_capnp::reply;
use serde_json::Value;

use crate::respond::{Answer, Refusal, json};

/// Makes a call with the given parameters and passes the reply on. The calls of the broker's interfaces share the name
/// of their result, not a trait.
macro_rules! pass_on {
    ($call:expr) => {{
        let reply = $crate::shell::api::reply::ask($call.send().promise).await?;
        $crate::shell::api::reply::pass(reply.get().and_then(|reply| reply.get_reply()))
    }};
    ($call:expr, $($set:ident = $value:expr),+) => {{
        let mut call = $call;
        $(call.get().$set($value);)+
        pass_on!(call)
    }};
}
pub(super) use pass_on;

/// Waits for the broker.
pub(in crate::shell) async fn ask<T>(promise: Promise<Reply<T>, capnp::Error>) -> Result<Reply<T>, Refusal> {
    promise.await.map_err(broken)
}

/// What a broken answer of the broker means.
pub(in crate::shell) fn broken(error: capnp::Error) -> Refusal {
    Refusal::from_broker(&error)
}

/// Whether the broker refuses.
pub(in crate::shell) fn is_error(reply: Result<reply::Reader<'_>, capnp::Error>) -> bool {
    reply.is_ok_and(|reply| reply.get_status() >= 400)
}

/// Passes on what the broker composed, unread.
pub(in crate::shell) fn pass(reply: Result<reply::Reader<'_>, capnp::Error>) -> Result<Answer, Refusal> {
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
