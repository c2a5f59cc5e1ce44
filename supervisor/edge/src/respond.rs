//! Says no: every refusal and failure, and its one translation to HTTP.

mod german;

use std::fmt::Write;

use bytes::Bytes;
use hyper::header::{CACHE_CONTROL, CONNECTION, CONTENT_LANGUAGE, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};

use crate::body::Body;
use crate::language::Language;
use crate::policy::Policy;

/// An answer on its way to a client.
pub(crate) type Answer = Response<Body>;

/// Why a request is not answered as it was meant. The messages are for the person in front of the page.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("{0}")]
    BadRequest(&'static str),
    #[error("There is no site with this name here.")]
    NoSuchHost,
    #[error("There is nothing at this address.")]
    NotFound,
    #[error("This page is closed. Open it again from Percloud.")]
    PageClosed,
    #[error("This page was opened already, or too long ago. Open it again from Percloud.")]
    LinkUsed,
    #[error("Sign in first.")]
    SignedOut,
    #[error("This token or password is not known here, or no longer.")]
    NoSuchToken,
    #[error("A token or password is needed here.")]
    TokenMissing,
    #[error("Too many wrong tokens or passwords came from here. Try again in {0} seconds.")]
    TooManyGuesses(u64),
    #[error("This request came from another site and was refused.")]
    CrossSite,
    #[error("Apps may not install service workers.")]
    ServiceWorker,
    #[error("The address is longer than {0} bytes.")]
    PathTooLong(usize),
    #[error("The upload is larger than the {0} bytes allowed here.")]
    TooLarge(u64),
    #[error("This address takes XML documents only.")]
    NotXml,
    #[error("The method {0} is not understood here.")]
    UnknownMethod(String),
    #[error("The app does not understand this kind of request.")]
    NotOffered,
    #[error("A file can be copied or moved within one session only.")]
    ForeignDestination,
    #[error("Nothing came for too long while the request was being read.")]
    TooSlow,
    #[error("The upload was broken off.")]
    Aborted,
    #[error("{0}")]
    GrainFailed(String),
    #[error("The upload failed: {0}")]
    UploadFailed(String),
    #[error("The app failed: {0}")]
    AppFailed(String),
    #[error("The app stopped while it was answering. Load the page again to start it again.")]
    AppGone,
    #[error("The app did not answer in time.")]
    AppSilent,
    #[error("The app's answer was not understood: {0}.")]
    AppAnswer(&'static str),
    #[error(
        "The app has answered, but there is no room for its answer. See whether it did what was asked before you ask again."
    )]
    AnswerLost,
    #[error("The app is busy. Try again in a moment.")]
    Overloaded,
    #[error("This page has too much under way: {0}. Try again in a moment.")]
    Crowded(&'static str),
    #[error(
        "This server, or this page of it, holds as much of what is sent to it as it may. Try again in a moment."
    )]
    NoRoomForBodies,
    #[error("This server has as many WebSockets open as it may have. Try again in a moment.")]
    NoRoomForSockets,
    #[error("Percloud is stopping or starting. Try again in a moment.")]
    Unavailable,
}

impl Refusal {
    /// What an error of an app means to the person waiting.
    pub(crate) fn from_app(error: &capnp::Error) -> Self {
        match error.kind {
            capnp::ErrorKind::Disconnected => Self::AppGone,
            capnp::ErrorKind::Overloaded => Self::Overloaded,
            capnp::ErrorKind::Unimplemented => Self::NotOffered,
            _ => Self::AppFailed(error.extra.chars().take(1000).collect()),
        }
    }

    /// What an error of the broker means; the details are for the log.
    pub(crate) fn from_broker(error: &capnp::Error) -> Self {
        tracing::warn!(%error, "asking the broker");
        Self::Unavailable
    }

    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::NoSuchHost | Self::NotFound | Self::PageClosed | Self::LinkUsed => StatusCode::NOT_FOUND,
            Self::SignedOut | Self::NoSuchToken | Self::TokenMissing => StatusCode::UNAUTHORIZED,
            Self::TooManyGuesses(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::CrossSite | Self::ServiceWorker => StatusCode::FORBIDDEN,
            Self::PathTooLong(_) => StatusCode::URI_TOO_LONG,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::NotXml => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::UnknownMethod(_) | Self::NotOffered => StatusCode::NOT_IMPLEMENTED,
            Self::ForeignDestination | Self::AppAnswer(_) | Self::AppGone | Self::AnswerLost => {
                StatusCode::BAD_GATEWAY
            }
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Aborted => StatusCode::BAD_REQUEST,
            Self::AppFailed(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::AppSilent => StatusCode::GATEWAY_TIMEOUT,
            Self::GrainFailed(_)
            | Self::UploadFailed(_)
            | Self::Overloaded
            | Self::Crowded(_)
            | Self::NoRoomForBodies
            | Self::NoRoomForSockets
            | Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The stable code of the shell API (docs/shell-api.md).
    fn code(&self) -> &'static str {
        match self {
            Self::SignedOut => "signed-out",
            Self::CrossSite => "cross-site",
            Self::TooLarge(_) => "too-large",
            Self::BadRequest(_) | Self::TooSlow | Self::Aborted | Self::PathTooLong(_) => "bad-request",
            Self::Unavailable
            | Self::Overloaded
            | Self::Crowded(_)
            | Self::NoRoomForBodies
            | Self::NoRoomForSockets
            | Self::UploadFailed(_) => "unavailable",
            _ => "not-found",
        }
    }

    /// The refusal as a small page.
    pub(crate) fn page(&self, policy: &Policy, language: Language) -> Answer {
        let sentence = match language {
            Language::English => self.to_string(),
            Language::German => german::sentence(self),
        };
        let mut text = String::new();
        escape(&sentence, &mut text);
        let page = format!(
            "<!DOCTYPE html><html lang=\"{}\"><head><meta charset=\"utf-8\"><title>{text}</title>\
             <meta name=\"viewport\" content=\"width=device-width\"><style>\
             :root{{color-scheme:light dark}}body{{font:1rem/1.5 system-ui,sans-serif;max-width:36rem;margin:15vh auto;\
             padding:0 1.5rem;overflow-wrap:anywhere}}</style></head><body><p>{text}</p></body></html>\n",
            language.tag()
        );
        let mut answer = Response::new(Body::from(page));
        *answer.status_mut() = self.status();
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        headers.insert(CONTENT_LANGUAGE, HeaderValue::from_static(language.tag()));
        policy.page(headers);
        self.finish(&mut answer);
        answer
    }

    /// The refusal as programs read it.
    pub(crate) fn text(&self) -> Answer {
        let mut answer = Response::new(Body::from(format!("{self}\n")));
        *answer.status_mut() = self.status();
        let kind = HeaderValue::from_static("text/plain; charset=utf-8");
        answer.headers_mut().insert(CONTENT_TYPE, kind);
        self.finish(&mut answer);
        answer
    }

    /// The refusal as the shell API says it.
    pub(crate) fn json(&self) -> Answer {
        let error = serde_json::json!({"error": {"code": self.code(), "message": self.to_string()}});
        let mut answer = json(self.status(), Bytes::from(error.to_string()));
        self.finish(&mut answer);
        answer
    }

    fn finish(&self, answer: &mut Answer) {
        let headers = answer.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        match self {
            Self::Overloaded
            | Self::Crowded(_)
            | Self::NoRoomForBodies
            | Self::NoRoomForSockets
            | Self::Unavailable => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("2"));
            }
            Self::TooManyGuesses(seconds) => {
                headers.insert(RETRY_AFTER, (*seconds).into());
            }
            // The rest of the request is not worth reading.
            Self::TooLarge(_) | Self::TooSlow | Self::Aborted | Self::UploadFailed(_) => {
                headers.insert(CONNECTION, HeaderValue::from_static("close"));
            }
            _ => {}
        }
    }
}

/// An answer of the shell API.
pub(crate) fn json(status: StatusCode, text: Bytes) -> Answer {
    let mut answer = Response::new(Body::Whole(text));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    if status == StatusCode::NO_CONTENT {
        *answer.body_mut() = Body::Empty;
    } else {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    let headers = answer.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Policy::api(headers);
    answer
}

/// Writes text so that it is text in HTML, within elements and quoted attributes.
fn escape(text: &str, html: &mut String) {
    for character in text.chars() {
        match character {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            // Marks that turn text around could make a message say something else.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                let _ = write!(html, "&#xfffd;");
            }
            _ => html.push(character),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BaseUrl;

    #[test]
    fn what_an_app_says_of_its_failure_is_text_and_not_markup() {
        let policy = Policy::new(&BaseUrl::new("http", "percloud.localhost:6080").unwrap());
        for language in [Language::English, Language::German] {
            let refusal = Refusal::AppFailed("<script>alert(1)</script>\u{202e}".to_owned());
            let Body::Whole(page) = refusal.page(&policy, language).into_body() else {
                panic!("a page is at hand");
            };
            let page = std::str::from_utf8(&page).unwrap();
            assert_eq!(
                page.matches("&lt;script&gt;alert(1)&lt;/script&gt;&#xfffd;")
                    .count(),
                2,
                "as title and as text: {page}"
            );
            assert!(!page.contains("<script") && !page.contains('\u{202e}'), "{page}");
        }
    }
}
