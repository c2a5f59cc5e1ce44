//! Packages over the shell API: upload in pieces, look, install, remove, pictures.

use std::rc::Rc;

use bytes::Bytes;
use hyper::Response;
use hyper::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue,
};
use percloud_schemas::front_capnp::{package, upload, user_session};

use crate::body::Body;
use crate::edge::Edge;
use crate::intake::Intake;
use crate::policy::Policy;
use crate::respond::{Answer, Refusal};
use crate::shell::api::{ask, broken, is_error, pass};

const UPLOAD_ID: HeaderName = HeaderName::from_static("x-upload-id");
/// Largest piece passed on at once, in bytes.
const PIECE: usize = 256 << 10;

/// Passes a package to the broker while it arrives. An upload that breaks off is forgotten with its capability.
pub(super) async fn upload(
    edge: &Rc<Edge>,
    session: &user_session::Client,
    headers: &HeaderMap,
    mut body: Intake,
) -> Result<Answer, Refusal> {
    let limit = edge.limits.package;
    let id = headers
        .get(UPLOAD_ID)
        .and_then(|id| id.to_str().ok())
        .filter(|id| {
            (1..=64).contains(&id.len())
                && id
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
        })
        .ok_or(Refusal::BadRequest(
            "The header X-Upload-Id is missing or not 1 to 64 letters, digits, - or _.",
        ))?;
    if body.size().is_some_and(|size| size > limit) {
        return Err(Refusal::TooLarge(limit));
    }
    let mut call = session.upload_request();
    call.get().set_size(body.size().unwrap_or(0));
    call.get().set_upload_id(id);
    let begun = ask(call.send().promise).await?;
    let begun = begun.get().map_err(broken)?;
    if !begun.has_upload() || is_error(begun.get_reply()) {
        return pass(begun.get_reply());
    }
    let upload = begun.get_upload().map_err(broken)?;
    let mut received = 0;
    while let Some(mut bytes) = body.next().await? {
        received += bytes.len() as u64;
        if received > limit {
            return Err(Refusal::TooLarge(limit));
        }
        while !bytes.is_empty() {
            let piece: Bytes = bytes.split_to(bytes.len().min(PIECE));
            let mut write = upload.write_request();
            write.get().set_data(&piece);
            if let Err(error) = write.send().await {
                // What went wrong with the bytes, such as a full disk, is what `finish` has to say, unless the
                // capability broke with the write.
                let told = |_| Refusal::UploadFailed(error.extra.chars().take(500).collect());
                let finished = finish(upload).await.map_err(told)?;
                return pass(finished.get().and_then(|finished| finished.get_reply()));
            }
        }
    }
    let finished = finish(upload).await.map_err(broken)?;
    pass(finished.get().and_then(|finished| finished.get_reply()))
}

type Finished = capnp::capability::Response<upload::finish_results::Owned>;

/// Finishes an upload that is here whole, whether or not the browser waits for the end of it: what the broker does
/// then is not called off half-way.
async fn finish(upload: upload::Client) -> Result<Finished, capnp::Error> {
    let finishing = tokio::task::spawn_local(async move { upload.finish_request().send().promise.await });
    finishing
        .await
        .unwrap_or_else(|error| Err(capnp::Error::failed(error.to_string())))
}

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
