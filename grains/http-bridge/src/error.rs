//! What can go wrong between a session call and the app's answer, and how the caller hears of it.

use std::error::Error as _;
use std::io;
use std::net::SocketAddrV4;

/// A request that did not come to an answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestError {
    /// A value would have ended its header line and begun another.
    #[error("value of header {0} holds a line break or NUL")]
    LineBreak(String),
    /// The path would have ended the request line early.
    #[error("request path holds a space or a control character")]
    Path,
    /// A value that has no form on the wire.
    #[error("request cannot be written as HTTP: {0}")]
    Unwritable(&'static str),
    #[error("could not connect to the app at {address}")]
    Connect {
        address: SocketAddrV4,
        #[source]
        source: io::Error,
    },
    #[error("could not read the app's response")]
    Read(#[source] io::Error),
    #[error("could not send to the app")]
    Send(#[source] io::Error),
    #[error("app closed the connection without answering")]
    NoAnswer,
    #[error("app closed the connection in the middle of its response")]
    Truncated,
    #[error("app's response is not valid HTTP: {0}")]
    Malformed(&'static str),
    #[error("app answered with status {0}, which a session cannot express")]
    Status(u16),
    #[error("app answered with a redirect that has no Location")]
    NoLocation,
    #[error("app answered with a Set-Cookie header that has no `=`")]
    Cookie,
    #[error("app refused the WebSocket with status {0}")]
    NoUpgrade(u16),
}

impl From<RequestError> for capnp::Error {
    fn from(error: RequestError) -> Self {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            source = cause.source();
        }
        Self::failed(text)
    }
}
