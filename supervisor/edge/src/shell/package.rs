//! Packages over the shell API: look, install, remove, pictures.

use bytes::Bytes;
use hyper::Response;
use hyper::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue};
use percloud_schemas::front_capnp::{package, user_session};

use crate::body::Body;
use crate::policy::Policy;
use crate::respond::{Answer, Refusal};
use crate::shell::api::reply::{ask, broken, is_error, pass};

/// Everything about one package.
pub(super) async fn answer(
    session: &user_session::Client,
    method: &str,
    id: &str,
    rest: &[&str],
) -> Result<Answer, Refusal> {
    let mut call = session.package_request();
    call.get().set_package_id(id);
    let found = ask(call.send().promise).await?;
    let found = found.get().map_err(broken)?;
    if !found.has_package() || is_error(found.get_reply()) {
        return pass(found.get_reply());
    }
    let package = found.get_package().map_err(broken)?;
    match (method, rest) {
        ("GET", []) => {
            let reply = ask(package.info_request().send().promise).await?;
            pass(reply.get().and_then(|reply| reply.get_reply()))
        }
        ("DELETE", []) => {
            let reply = ask(package.remove_request().send().promise).await?;
            pass(reply.get().and_then(|reply| reply.get_reply()))
        }
        ("POST", ["install"]) => {
            let reply = ask(package.install_request().send().promise).await?;
            pass(reply.get().and_then(|reply| reply.get_reply()))
        }
        ("GET", ["icons", name]) => icon(&package, name).await,
        _ => Err(Refusal::NotFound),
    }
}

/// A picture out of a package: shown, never run.
async fn icon(package: &package::Client, name: &str) -> Result<Answer, Refusal> {
    if !["appGrid", "grain", "market"].contains(&name) {
        return Err(Refusal::NotFound);
    }
    let mut call = package.icon_request();
    call.get().set_name(name);
    let reply = ask(call.send().promise).await?;
    let reply = reply.get().map_err(broken)?;
    let data = reply.get_data().map_err(broken)?;
    let kind = match reply
        .get_mime_type()
        .and_then(|kind| Ok(kind.to_str()?))
        .map_err(broken)?
    {
        "image/png" => "image/png",
        "image/jpeg" => "image/jpeg",
        "image/gif" => "image/gif",
        "image/webp" => "image/webp",
        "image/svg+xml" => "image/svg+xml",
        _ => return Err(Refusal::NotFound),
    };
    if data.is_empty() {
        return Err(Refusal::NotFound);
    }
    let mut answer = Response::new(Body::Whole(Bytes::copy_from_slice(data)));
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    // Pictures never change: the package is named by its content.
    headers.insert(
        CACHE_CONTROL,
        HeaderValue::from_static("private, max-age=31536000, immutable"),
    );
    headers.insert(
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("sandbox; default-src 'none'; style-src 'unsafe-inline'"),
    );
    Policy::api(headers);
    Ok(answer)
}
