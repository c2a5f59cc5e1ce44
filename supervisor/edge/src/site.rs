//! Published sites: the files a grain shows to everybody, each grain's on a host of its own (sheet 5.7).
//!
//! The app is not started, nobody is signed in, and no cookie is read or set: what is here, anyone may have.
//!
//! - [`address`]: from the address in a request to the path of a file
//! - [`mime`]: types, by what a file's name ends in
//! - [`copy`]: a file on its way, as fast as it is read

mod address;
mod copy;
mod mime;

use std::rc::Rc;
use std::str::FromStr;

use hyper::body::Incoming;
use hyper::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderValue,
    LOCATION,
};
use hyper::{Method, Request, Response, StatusCode};
use percloud_schemas::front_capnp::published_file;
use percloud_schemas::util_capnp::blob;

use crate::body::Body;
use crate::edge::Edge;
use crate::grain::{Part, part};
use crate::policy::Policy;
use crate::respond::{Answer, Refusal};

/// How long what was published may be taken for current.
const CACHING: HeaderValue = HeaderValue::from_static("public, max-age=30");

/// 20 letters and digits: the public name of a grain. It opens nothing but what is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PublicId(String);

/// Says that a host name is not that of a published site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotAPublicId;

impl FromStr for PublicId {
    type Err = NotAPublicId;

    fn from_str(text: &str) -> Result<Self, NotAPublicId> {
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        if text.len() == 20 && text.bytes().all(fits) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NotAPublicId)
        }
    }
}

/// Answers a request to a published site.
///
/// # Errors
///
/// When there is no such site or file, or the broker does not answer.
pub(crate) async fn answer(
    edge: &Rc<Edge>,
    id: &PublicId,
    request: Request<Incoming>,
) -> Result<Answer, Refusal> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Err(Refusal::UnknownMethod(
            request.method().as_str().chars().take(32).collect(),
        ));
    }
    let path = address::file(request.uri().path()).ok_or(Refusal::NotFound)?;
    let broken = |error| Refusal::from_broker(&error);
    let mut call = edge.front.published_site_request();
    call.get().set_public_id(&id.0);
    call.get().set_path(&path);
    let reply = call.send().promise.await.map_err(broken)?;
    let reply = reply.get().map_err(broken)?;
    if !reply.has_file() {
        return Err(Refusal::NoSuchHost);
    }
    let found = reply.get_file().map_err(broken)?.which();
    let mut answer = match found.map_err(|error| broken(error.into()))? {
        published_file::NotFound(()) => return Err(Refusal::NotFound),
        published_file::Directory(()) => into_directory(&request)?,
        published_file::File(file) => {
            let read = file.get_read().map_err(broken)?;
            let head = request.method() == Method::HEAD;
            show(&path, file.get_size(), read, request.headers(), head)
        }
    };
    answer.headers_mut().insert(CACHE_CONTROL, CACHING);
    Policy::site(answer.headers_mut());
    Ok(answer)
}

/// The same address with a slash behind it, so that what a page there links to is found.
fn into_directory<B>(request: &Request<B>) -> Result<Answer, Refusal> {
    let uri = request.uri();
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let mut answer = Response::new(Body::Empty);
    *answer.status_mut() = StatusCode::SEE_OTHER;
    let location = HeaderValue::try_from(format!("{}/{query}", uri.path())).map_err(|_| Refusal::NotFound)?;
    answer.headers_mut().insert(LOCATION, location);
    Ok(answer)
}

/// A file, or the part of it that was asked for. There is nothing to tell versions apart by, so conditions do not
/// count; a part is of the file as it is now.
fn show(path: &str, size: u64, read: blob::Client, asked: &HeaderMap, head: bool) -> Answer {
    let mut answer = Response::new(Body::Empty);
    let (start, length) = match part(asked, None, size) {
        Part::Whole => (0, size),
        Part::Slice { start, length } => {
            *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
            let range = format!("bytes {start}-{}/{size}", start + length - 1);
            answer.headers_mut().insert(CONTENT_RANGE, figures(range));
            (start, length)
        }
        Part::Beyond => {
            *answer.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
            answer
                .headers_mut()
                .insert(CONTENT_RANGE, figures(format!("bytes */{size}")));
            return answer;
        }
    };
    if head {
        answer.headers_mut().insert(CONTENT_LENGTH, length.into());
    } else {
        *answer.body_mut() = copy::body(read, start, length);
    }
    let headers = answer.headers_mut();
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if let Some(kind) = mime::of(path) {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    answer
}

fn figures(text: String) -> HeaderValue {
    HeaderValue::try_from(text).expect("figures are visible ASCII")
}
