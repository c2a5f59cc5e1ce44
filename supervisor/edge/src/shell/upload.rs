//! What is uploaded over the shell API: packages, and backups of grains. Both go to the broker while they arrive.

use std::rc::Rc;

use bytes::Bytes;
use hyper::header::{HeaderMap, HeaderName};
use percloud_schemas::front_capnp::{upload, user_session};

use crate::edge::Edge;
use crate::intake::Intake;
use crate::respond::{Answer, Refusal};
use crate::shell::api::reply::{ask, broken, is_error, pass};

const UPLOAD_ID: HeaderName = HeaderName::from_static("x-upload-id");
/// Largest piece passed on at once, in bytes.
const PIECE: usize = 256 << 10;

/// Takes what is uploaded. The calls that begin it differ in their types alone.
macro_rules! takes {
    ($(#[$about:meta])* $name:ident, $begin:ident) => {
        $(#[$about])*
        ///
        /// # Errors
        ///
        /// When the upload is larger than it may be or breaks off, or the broker does not answer.
        pub(super) async fn $name(
            edge: &Rc<Edge>,
            session: &user_session::Client,
            headers: &HeaderMap,
            body: Intake,
        ) -> Result<Answer, Refusal> {
            let limit = edge.limits.$name;
            let mut call = session.$begin();
            call.get().set_upload_id(upload_id(headers)?);
            call.get().set_size(announced(&body, limit)?);
            let begun = ask(call.send().promise).await?;
            let begun = begun.get().map_err(broken)?;
            if !begun.has_upload() || is_error(begun.get_reply()) {
                return pass(begun.get_reply());
            }
            send(begun.get_upload().map_err(broken)?, body, limit).await
        }
    };
}

takes! {
    /// Takes a package.
    package, upload_request
}

takes! {
    /// Takes a grain's backup.
    backup, restore_backup_request
}

fn upload_id(headers: &HeaderMap) -> Result<&str, Refusal> {
    headers
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
        ))
}

/// The size a client announced, 0 when it did not.
fn announced(body: &Intake, limit: u64) -> Result<u64, Refusal> {
    match body.size() {
        Some(size) if size > limit => Err(Refusal::TooLarge(limit)),
        size => Ok(size.unwrap_or(0)),
    }
}

/// Passes a body on while it arrives. An upload that breaks off is forgotten with its capability.
async fn send(upload: upload::Client, mut body: Intake, limit: u64) -> Result<Answer, Refusal> {
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
