//! A proxied request as a call of a `WebSession` method.

use capnp::capability::RemotePromise;
use percloud_schemas::util_capnp::byte_stream;
use percloud_schemas::web_session_capnp::web_session::{
    self, PropfindDepth, context, e_tag, options, post_content, put_content, request_stream, response,
};

use super::Refusal;
use crate::http::accept::entries;
use crate::http::etag::ETag;
use crate::http::fields::Fields;
use crate::http::request::allowed;
use crate::http::request_head::RequestHead;
use crate::http::response::text;

/// The methods a session has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
    Propfind,
    Proppatch,
    Mkcol,
    Copy,
    Move,
    Lock,
    Unlock,
    Acl,
    Report,
    Options,
}

impl Verb {
    fn of(method: &str) -> Option<Self> {
        Some(match method {
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "POST" => Self::Post,
            "PUT" => Self::Put,
            "PATCH" => Self::Patch,
            "DELETE" => Self::Delete,
            "PROPFIND" => Self::Propfind,
            "PROPPATCH" => Self::Proppatch,
            "MKCOL" => Self::Mkcol,
            "COPY" => Self::Copy,
            "MOVE" => Self::Move,
            "LOCK" => Self::Lock,
            "UNLOCK" => Self::Unlock,
            "ACL" => Self::Acl,
            "REPORT" => Self::Report,
            "OPTIONS" => Self::Options,
            _ => return None,
        })
    }

    /// Tells whether the body can be sent while it arrives.
    pub(super) fn streams(self) -> bool {
        matches!(self, Self::Post | Self::Put)
    }

    /// Tells whether the request only reads.
    pub(super) fn reads(self) -> bool {
        matches!(self, Self::Get | Self::Head)
    }
}

/// A request, understood.
pub(super) struct Ask<'a> {
    pub(super) verb: Verb,
    pub(super) path: &'a str,
    fields: &'a Fields,
    condition: Condition<'a>,
    destination: Option<String>,
}

enum Condition<'a> {
    None,
    Exists,
    MatchesOneOf(Vec<ETag<'a>>),
    MatchesNoneOf(Vec<ETag<'a>>),
    DoesNotExist,
}

impl<'a> Ask<'a> {
    pub(super) fn new(head: &'a RequestHead, path: &'a str) -> Result<Self, Refusal> {
        let verb = Verb::of(&head.method).ok_or(Refusal::new(501, "this proxy does not know that method"))?;
        let upgrade = head.fields.first("upgrade");
        if upgrade.is_some_and(|value| value.eq_ignore_ascii_case(b"websocket")) {
            return Err(Refusal::new(501, "this proxy passes no WebSockets"));
        }
        let destination = match verb {
            Verb::Copy | Verb::Move => Some(destination(&head.fields)?),
            _ => None,
        };
        Ok(Self {
            verb,
            path,
            fields: &head.fields,
            condition: condition(&head.fields)?,
            destination,
        })
    }

    /// Tells whether a failed condition means that the client has the newest version already: what was asked is
    /// `If-None-Match`.
    pub(super) fn asks_for_news(&self) -> bool {
        self.verb.reads()
            && matches!(
                self.condition,
                Condition::MatchesNoneOf(_) | Condition::DoesNotExist
            )
    }

    /// Calls the method, with the whole body. `OPTIONS` has an answer of its own kind; see [`Self::options`].
    pub(super) fn call(
        &self,
        session: &web_session::Client,
        body: &[u8],
        stream: byte_stream::Client,
    ) -> Result<RemotePromise<response::Owned>, Refusal> {
        /// Begins a call and fills in what every method has.
        macro_rules! begin {
            ($request:ident) => {{
                let mut request = session.$request();
                request.get().set_path(self.path);
                self.fill(request.get().init_context(), stream);
                request
            }};
        }
        /// Makes a call of a method with content.
        macro_rules! with_content {
            ($request:ident, $fill:ident) => {{
                let mut request = begin!($request);
                self.$fill(request.get().init_content(), body);
                request.send()
            }};
        }
        Ok(match self.verb {
            Verb::Get | Verb::Head => {
                let mut request = begin!(get_request);
                request.get().set_ignore_body(self.verb == Verb::Head);
                request.send()
            }
            Verb::Post => with_content!(post_request, post_content),
            Verb::Put => with_content!(put_request, put_content),
            Verb::Patch => with_content!(patch_request, post_content),
            Verb::Mkcol => with_content!(mkcol_request, post_content),
            Verb::Report => with_content!(report_request, post_content),
            Verb::Delete => begin!(delete_request).send(),
            Verb::Propfind => {
                let mut request = begin!(propfind_request);
                request.get().set_xml_content(utf8(body)?);
                request.get().set_depth(match self.fields.first("depth") {
                    None => PropfindDepth::Infinity,
                    Some(b"0") => PropfindDepth::Zero,
                    Some(b"1") => PropfindDepth::One,
                    Some(value) if value.eq_ignore_ascii_case(b"infinity") => PropfindDepth::Infinity,
                    Some(_) => return Err(DEPTH),
                });
                request.send()
            }
            Verb::Proppatch => {
                let mut request = begin!(proppatch_request);
                request.get().set_xml_content(utf8(body)?);
                request.send()
            }
            Verb::Acl => {
                let mut request = begin!(acl_request);
                request.get().set_xml_content(utf8(body)?);
                request.send()
            }
            Verb::Lock => {
                let mut request = begin!(lock_request);
                request.get().set_xml_content(utf8(body)?);
                request.get().set_shallow(self.is_shallow()?);
                request.send()
            }
            Verb::Unlock => {
                let mut request = begin!(unlock_request);
                let token = self.fields.first("lock-token");
                request.get().set_lock_token(&*text(token.unwrap_or_default()));
                request.send()
            }
            Verb::Copy => {
                let mut request = begin!(copy_request);
                request.get().set_destination(self.destination());
                request.get().set_no_overwrite(self.keeps_what_is_there()?);
                request.get().set_shallow(self.is_shallow()?);
                request.send()
            }
            Verb::Move => {
                let mut request = begin!(move_request);
                request.get().set_destination(self.destination());
                request.get().set_no_overwrite(self.keeps_what_is_there()?);
                request.send()
            }
            Verb::Options => return Err(Refusal::new(501, "OPTIONS has no response")),
        })
    }

    /// Calls `options`.
    pub(super) fn options(
        &self,
        session: &web_session::Client,
        stream: byte_stream::Client,
    ) -> RemotePromise<options::Owned> {
        let mut request = session.options_request();
        request.get().set_path(self.path);
        self.fill(request.get().init_context(), stream);
        request.send()
    }

    /// Opens a request whose body will follow.
    pub(super) async fn open(
        &self,
        session: &web_session::Client,
        stream: byte_stream::Client,
    ) -> Result<request_stream::Client, capnp::Error> {
        let kind = self.value("content-type");
        let encoding = self.value("content-encoding");
        if self.verb == Verb::Put {
            let mut request = session.put_streaming_request();
            let mut params = request.get();
            params.set_path(self.path);
            params.set_mime_type(&*kind);
            params.set_encoding(&*encoding);
            self.fill(params.init_context(), stream);
            request.send().promise.await?.get()?.get_stream()
        } else {
            let mut request = session.post_streaming_request();
            let mut params = request.get();
            params.set_path(self.path);
            params.set_mime_type(&*kind);
            params.set_encoding(&*encoding);
            self.fill(params.init_context(), stream);
            request.send().promise.await?.get()?.get_stream()
        }
    }

    fn post_content(&self, mut content: post_content::Builder<'_>, body: &[u8]) {
        content.set_mime_type(&*self.value("content-type"));
        content.set_encoding(&*self.value("content-encoding"));
        content.set_content(body);
    }

    fn put_content(&self, mut content: put_content::Builder<'_>, body: &[u8]) {
        content.set_mime_type(&*self.value("content-type"));
        content.set_encoding(&*self.value("content-encoding"));
        content.set_content(body);
    }

    fn value(&self, name: &str) -> String {
        self.fields
            .joined(name)
            .map(|value| text(&value).into_owned())
            .unwrap_or_default()
    }

    /// Fills in what is not particular to a method. Cookies are carried neither way in an `ApiSession`.
    fn fill(&self, mut context: context::Builder<'_>, stream: byte_stream::Client) {
        context.set_response_stream(stream);

        let accept = self.value("accept");
        let accept: Vec<_> = entries(&accept).collect();
        let mut list = context.reborrow().init_accept(length(&accept));
        for (index, (name, weight)) in (0..).zip(&accept) {
            let mut entry = list.reborrow().get(index);
            entry.set_mime_type(*name);
            entry.set_q_value(*weight);
        }
        let encodings = self.value("accept-encoding");
        let encodings: Vec<_> = entries(&encodings).collect();
        let mut list = context.reborrow().init_accept_encoding(length(&encodings));
        for (index, (name, weight)) in (0..).zip(&encodings) {
            let mut entry = list.reborrow().get(index);
            entry.set_content_coding(*name);
            entry.set_q_value(*weight);
        }

        let found = self.fields.allowed(is_allowed);
        let mut list = context.reborrow().init_additional_headers(length(&found));
        for (index, (name, value)) in (0..).zip(&found) {
            let mut header = list.reborrow().get(index);
            header.set_name(*name);
            header.set_value(&*text(value));
        }

        let mut condition = context.init_e_tag_precondition();
        match &self.condition {
            Condition::None => condition.set_none(()),
            Condition::Exists => condition.set_exists(()),
            Condition::DoesNotExist => condition.set_doesnt_exist(()),
            Condition::MatchesOneOf(tags) => set_tags(tags, condition.init_matches_one_of(length(tags))),
            Condition::MatchesNoneOf(tags) => set_tags(tags, condition.init_matches_none_of(length(tags))),
        }
    }

    fn destination(&self) -> &str {
        self.destination.as_deref().unwrap_or_default()
    }

    fn is_shallow(&self) -> Result<bool, Refusal> {
        match self.fields.first("depth") {
            None => Ok(false),
            Some(b"0") => Ok(true),
            Some(value) if value.eq_ignore_ascii_case(b"infinity") => Ok(false),
            Some(_) => Err(DEPTH),
        }
    }

    fn keeps_what_is_there(&self) -> Result<bool, Refusal> {
        match self.fields.first("overwrite") {
            None | Some(b"T" | b"t") => Ok(false),
            Some(b"F" | b"f") => Ok(true),
            Some(_) => Err(Refusal::new(400, "Overwrite is neither T nor F")),
        }
    }
}

const DEPTH: Refusal = Refusal::new(400, "this Depth has no meaning here");

fn length<T>(list: &[T]) -> u32 {
    // Bounded by the size of a head.
    u32::try_from(list.len()).unwrap_or_default()
}

fn is_allowed(name: &str) -> bool {
    // A constant of the schema; were it ever unreadable, nothing would be allowed.
    let list = context::HEADER_WHITELIST.get();
    list.is_ok_and(|list| {
        allowed(
            name.as_bytes(),
            list.iter().flatten().map(|entry| entry.as_bytes()),
        )
    })
}

fn set_tags(tags: &[ETag<'_>], mut list: capnp::struct_list::Builder<'_, e_tag::Owned>) {
    for (index, tag) in (0..).zip(tags) {
        let mut entry = list.reborrow().get(index);
        entry.set_value(&*text(tag.value));
        entry.set_weak(tag.weak);
    }
}

/// Reads the condition. There is room for one: `If-Match` goes first (RFC 9110 section 13.2.2), and must be
/// readable, or something could be destroyed; `If-None-Match` only saves work.
fn condition(fields: &Fields) -> Result<Condition<'_>, Refusal> {
    if let Some(value) = fields.first("if-match") {
        if value == b"*" {
            return Ok(Condition::Exists);
        }
        let tags = ETag::list(value).ok_or(Refusal::new(400, "If-Match cannot be read"))?;
        return Ok(Condition::MatchesOneOf(tags));
    }
    Ok(match fields.first("if-none-match") {
        None => Condition::None,
        Some(b"*") => Condition::DoesNotExist,
        Some(value) => ETag::list(value).map_or(Condition::None, Condition::MatchesNoneOf),
    })
}

/// Returns the path that `Destination` names, without the slash in front. Which host stands there means as little
/// as in the request itself.
fn destination(fields: &Fields) -> Result<String, Refusal> {
    let value = fields
        .first("destination")
        .ok_or(Refusal::new(400, "there is no Destination"))?;
    let value = text(value);
    let path = match value.split_once("://") {
        Some((_, rest)) => rest.split_once('/').map_or("", |(_, path)| path),
        None => value.strip_prefix('/').unwrap_or(&value),
    };
    Ok(path.to_owned())
}

fn utf8(body: &[u8]) -> Result<&str, Refusal> {
    std::str::from_utf8(body).map_err(|_| Refusal::new(415, "the body is not text in UTF-8"))
}
