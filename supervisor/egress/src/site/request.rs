//! A request as a grain makes it, for a website.

use std::fmt::Write;

use capnp::{Error, text};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request};
use percloud_core::web_address::WebAddress;
use percloud_schemas::util_capnp::byte_stream;
use percloud_schemas::web_session_capnp::web_session::{PropfindDepth, context, e_tag};

use super::Body;

/// Who asks, as websites are told.
const AGENT: HeaderValue = HeaderValue::from_static(concat!("Percloud/", env!("CARGO_PKG_VERSION")));
/// Fields of one kind a request may have.
const FIELDS: u32 = 64;

/// A request without its body.
pub(super) struct Asked {
    pub(super) method: Method,
    /// Where it goes.
    pub(super) address: String,
    fields: HeaderMap,
    /// Where a long answer is to go.
    pub(super) stream: Option<byte_stream::Client>,
}

fn value(bytes: &[u8]) -> Result<HeaderValue, Error> {
    HeaderValue::from_bytes(bytes).map_err(|_| Error::failed("a value that fits in no header".to_owned()))
}

impl Asked {
    pub(super) fn new(
        base: &WebAddress,
        method: Method,
        path: text::Reader<'_>,
        context: context::Reader<'_>,
    ) -> Result<Self, Error> {
        let address = base.below(path.to_str()?);
        let address = address.map_err(|problem| Error::failed(problem.to_string()))?;
        let mut asked = Self {
            method,
            address,
            fields: HeaderMap::new(),
            stream: None,
        };
        asked.fields.insert(header::USER_AGENT, AGENT);
        asked.add_context(context)?;
        Ok(asked)
    }

    fn add_context(&mut self, context: context::Reader<'_>) -> Result<(), Error> {
        if context.has_response_stream() {
            self.stream = Some(context.get_response_stream()?);
        }
        // First, so that nothing among them stands in for what has a place of its own.
        let additional = context.get_additional_headers()?;
        few(additional.len())?;
        for field in additional {
            let name = field.get_name()?.as_bytes();
            let name = HeaderName::from_bytes(name)
                .map_err(|_| Error::failed("a header with a name no header has".to_owned()))?;
            if is_free(&name) {
                self.fields.append(name, value(field.get_value()?.as_bytes())?);
            }
        }
        self.add_accepted(context)?;
        self.add_condition(context)
    }

    fn add_accepted(&mut self, context: context::Reader<'_>) -> Result<(), Error> {
        let mut accepted = String::new();
        let types = context.get_accept()?;
        few(types.len())?;
        for kind in types {
            weigh(&mut accepted, kind.get_mime_type()?.to_str()?, kind.get_q_value());
        }
        if !accepted.is_empty() {
            self.fields.insert(header::ACCEPT, value(accepted.as_bytes())?);
        }
        let mut accepted = String::new();
        let codings = context.get_accept_encoding()?;
        few(codings.len())?;
        for coding in codings {
            weigh(
                &mut accepted,
                coding.get_content_coding()?.to_str()?,
                coding.get_q_value(),
            );
        }
        // Who does not say what it can decode gets what needs no decoding.
        let accepted = if accepted.is_empty() {
            "identity"
        } else {
            &accepted
        };
        self.fields
            .insert(header::ACCEPT_ENCODING, value(accepted.as_bytes())?);
        Ok(())
    }

    fn add_condition(&mut self, context: context::Reader<'_>) -> Result<(), Error> {
        use context::e_tag_precondition::Which;
        let (name, condition) = match context.get_e_tag_precondition().which()? {
            Which::None(()) => return Ok(()),
            Which::Exists(()) => (header::IF_MATCH, "*".to_owned()),
            Which::DoesntExist(()) => (header::IF_NONE_MATCH, "*".to_owned()),
            Which::MatchesOneOf(tags) => (header::IF_MATCH, joined(tags?)?),
            Which::MatchesNoneOf(tags) => (header::IF_NONE_MATCH, joined(tags?)?),
        };
        self.fields.insert(name, value(condition.as_bytes())?);
        Ok(())
    }

    /// With what the platform keeps to sign in.
    pub(super) fn authorized(mut self, authorization: Option<&HeaderValue>) -> Self {
        if let Some(authorization) = authorization {
            self.fields.insert(header::AUTHORIZATION, authorization.clone());
        }
        self
    }

    /// With a body of this type.
    pub(super) fn of_type(
        mut self,
        mime_type: text::Reader<'_>,
        encoding: text::Reader<'_>,
    ) -> Result<Self, Error> {
        if !mime_type.is_empty() {
            self.fields
                .insert(header::CONTENT_TYPE, value(mime_type.as_bytes())?);
        }
        if !encoding.is_empty() {
            self.fields
                .insert(header::CONTENT_ENCODING, value(encoding.as_bytes())?);
        }
        Ok(self)
    }

    /// With the target of a COPY or MOVE, which is below the same address.
    pub(super) fn destined(self, base: &WebAddress, path: text::Reader<'_>) -> Result<Self, Error> {
        let whole = base.below(path.to_str()?);
        let whole = whole.map_err(|problem| Error::failed(problem.to_string()))?;
        let whole = value(whole.as_bytes())?;
        Ok(self.field("destination", whole))
    }

    /// With one more field.
    pub(super) fn field(mut self, name: &'static str, value: HeaderValue) -> Self {
        self.fields.insert(name, value);
        self
    }

    /// The request that goes out.
    pub(super) fn with(self, body: Body) -> Result<Request<Body>, Error> {
        let request = Request::builder()
            .method(self.method)
            .uri(self.address)
            .body(body);
        let mut request =
            request.map_err(|error| Error::failed(format!("the path cannot be asked for: {error}")))?;
        *request.headers_mut() = self.fields;
        Ok(request)
    }
}

fn few(count: u32) -> Result<(), Error> {
    if count > FIELDS {
        return Err(Error::failed(format!(
            "a request has {FIELDS} fields of one kind at most"
        )));
    }
    Ok(())
}

/// Whether a grain may set this field itself: not what says how the message travels, who asks, or what has a place of its
/// own in a session.
fn is_free(name: &HeaderName) -> bool {
    const TAKEN: [&str; 33] = [
        "accept-encoding",
        "authorization",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "cookie",
        "depth",
        "destination",
        "expect",
        "forwarded",
        "host",
        "keep-alive",
        "lock-token",
        "origin",
        "overwrite",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
        "via",
        // Some servers take these for the host and the path that were asked for.
        "x-original-host",
        "x-original-uri",
        "x-original-url",
        "x-rewrite-url",
        // And these for who asks.
        "cf-connecting-ip",
        "client-ip",
        "true-client-ip",
        "x-real-ip",
        // CGI makes this the proxy of the programs behind it.
        "proxy",
    ];
    // Programs behind CGI cannot tell one from the other.
    let name = name.as_str().replace('_', "-");
    !TAKEN.contains(&name.as_str()) && !name.starts_with("sec-") && !name.starts_with("x-forwarded-")
}

fn weigh(list: &mut String, what: &str, weight: f32) {
    if !list.is_empty() {
        list.push_str(", ");
    }
    list.push_str(what);
    if (0.0..1.0).contains(&weight) {
        let _into_a_string = write!(list, ";q={weight:.3}");
    }
}

fn joined(tags: capnp::struct_list::Reader<'_, e_tag::Owned>) -> Result<String, Error> {
    few(tags.len())?;
    let mut list = String::new();
    for tag in tags {
        if !list.is_empty() {
            list.push_str(", ");
        }
        let weak = if tag.get_weak() { "W/" } else { "" };
        let tag = tag.get_value()?.to_str()?;
        if tag.contains('"') {
            return Err(Error::failed("an entity tag contains no quotes".to_owned()));
        }
        let _into_a_string = write!(list, "{weak}\"{tag}\"");
    }
    Ok(list)
}

/// How deep a request about properties goes.
pub(super) fn depth(depth: PropfindDepth) -> HeaderValue {
    HeaderValue::from_static(match depth {
        PropfindDepth::Infinity => "infinity",
        PropfindDepth::Zero => "0",
        PropfindDepth::One => "1",
    })
}

/// How deep an act goes: this alone, or all below it.
pub(super) fn reach(shallow: bool) -> HeaderValue {
    HeaderValue::from_static(if shallow { "0" } else { "infinity" })
}

/// The type of WebDAV's bodies.
pub(super) fn xml() -> HeaderValue {
    HeaderValue::from_static("application/xml;charset=utf-8")
}
