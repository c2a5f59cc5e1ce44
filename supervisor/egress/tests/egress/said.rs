//! What a session says, in a form that tests can compare.

use capnp::Error;
use capnp::capability::Response;
use percloud_schemas::util_capnp::{byte_stream, handle};
use percloud_schemas::web_session_capnp::web_session::{self, e_tag, response};

type Answer = Result<Response<response::Owned>, Error>;

/// An answer.
#[derive(Default)]
pub struct Said {
    /// Which kind, with its status.
    pub what: String,
    pub mime: String,
    pub encoding: String,
    pub language: String,
    pub tag: String,
    /// The body, or that of an error which is no page.
    pub body: Vec<u8>,
    pub page: String,
    pub location: String,
    pub fields: Vec<(String, String)>,
    pub cookies: u32,
    pub stream: Option<handle::Client>,
}

fn tag(tag: e_tag::Reader<'_>) -> String {
    let value = tag.get_value().unwrap().to_str().unwrap();
    let weak = if tag.get_weak() { "W/" } else { "" };
    format!("{weak}{value}")
}

fn set_error_body(said: &mut Said, body: response::error_body::Reader<'_>) {
    said.body = body.get_data().unwrap().to_vec();
    said.mime = body.get_mime_type().unwrap().to_string().unwrap();
    said.encoding = body.get_encoding().unwrap().to_string().unwrap();
    said.language = body.get_language().unwrap().to_string().unwrap();
}

pub fn said(answer: Answer) -> Result<Said, Error> {
    use response::Which;
    use response::content::body;
    let answer = answer?;
    let answer = answer.get()?;
    let mut said = Said {
        cookies: answer.get_set_cookies()?.len(),
        ..Said::default()
    };
    for field in answer.get_additional_headers()? {
        said.fields
            .push((field.get_name()?.to_string()?, field.get_value()?.to_string()?));
    }
    match answer.which()? {
        Which::Content(content) => {
            said.what = format!("content {:?}", content.get_status_code()?);
            said.mime = content.get_mime_type()?.to_string()?;
            said.encoding = content.get_encoding()?.to_string()?;
            said.language = content.get_language()?.to_string()?;
            said.tag = tag(content.get_e_tag()?);
            match content.get_body().which()? {
                body::Which::Bytes(bytes) => said.body = bytes?.to_vec(),
                body::Which::Stream(stream) => said.stream = Some(stream?),
            }
        }
        Which::NoContent(empty) => {
            let form = if empty.get_should_reset_form() {
                " reset"
            } else {
                ""
            };
            said.what = format!("no content{form}");
            said.tag = tag(empty.get_e_tag()?);
        }
        Which::PreconditionFailed(failed) => {
            said.what = "precondition failed".to_owned();
            said.tag = tag(failed.get_matching_e_tag()?);
        }
        Which::Redirect(redirect) => {
            let (permanent, get) = (redirect.get_is_permanent(), redirect.get_switch_to_get());
            said.what = format!(
                "redirect{}{}",
                if permanent { " permanent" } else { "" },
                if get { " get" } else { "" }
            );
            said.location = redirect.get_location()?.to_string()?;
        }
        Which::ClientError(error) => {
            said.what = format!("client error {:?}", error.get_status_code()?);
            said.page = error.get_description_html()?.to_string()?;
            set_error_body(&mut said, error.get_non_html_body()?);
        }
        Which::ServerError(error) => {
            said.what = "server error".to_owned();
            said.page = error.get_description_html()?.to_string()?;
            set_error_body(&mut said, error.get_non_html_body()?);
        }
    }
    Ok(said)
}

/// Asks with GET, after `change` had its way with the context.
pub async fn ask(
    session: &web_session::Client,
    path: &str,
    change: impl FnOnce(web_session::context::Builder<'_>),
) -> Result<Said, Error> {
    let mut request = session.get_request();
    request.get().set_path(path);
    change(request.get().init_context());
    said(request.send().promise.await)
}

pub async fn get(session: &web_session::Client, path: &str) -> Result<Said, Error> {
    ask(session, path, |_| {}).await
}

/// Asks with GET for something that may be long.
pub async fn load(
    session: &web_session::Client,
    path: &str,
    stream: byte_stream::Client,
) -> Result<Said, Error> {
    ask(session, path, |mut context| context.set_response_stream(stream)).await
}

/// Why it failed.
pub fn problem<T>(result: Result<T, Error>) -> String {
    match result {
        Ok(_) => panic!("that should have failed"),
        Err(error) => error.to_string(),
    }
}
