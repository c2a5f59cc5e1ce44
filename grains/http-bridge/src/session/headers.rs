//! The headers that tell the app who is asking, and those that repeat what the browser sent.

use std::net::{IpAddr, Ipv6Addr};

use capnp::Error;
use percloud_schemas::identity_capnp::{profile::Pronouns, user_info};
use percloud_schemas::ip_capnp::ip_address;
use percloud_schemas::web_session_capnp::web_session::context::{self, e_tag_precondition};
use percloud_schemas::web_session_capnp::web_session::{e_tag, params};

use crate::error::RequestError;
use crate::http::etag::ETag;
use crate::http::request::{Lines, allowed, hex, is_token, percent_encode};

/// What kind of page the app is to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SessionType {
    Normal,
    Request,
    Offer,
}

impl SessionType {
    fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Request => "request",
            Self::Offer => "offer",
        }
    }
}

/// Header lines that are the same for every request of a session, written once.
pub(crate) struct SessionHeaders {
    /// `Accept-Language`, which a WebSocket does not get.
    pub(crate) language: Lines,
    /// Everything from `User-Agent` to `X-Real-IP`.
    pub(crate) identity: Lines,
}

impl SessionHeaders {
    /// Writes the headers of a person's session.
    pub(crate) fn for_page(params: params::Reader<'_>, user: User<'_>) -> Result<Self, Error> {
        let mut language = Lines::default();
        let mut languages: Vec<&[u8]> = Vec::new();
        for entry in params.get_acceptable_languages()? {
            languages.push(entry?.as_bytes());
        }
        language.add_unless_empty("Accept-Language", &languages.join(&b","[..]))?;

        let mut identity = Lines::default();
        identity.add_unless_empty("User-Agent", params.get_user_agent()?.as_bytes())?;
        user.add_to(&mut identity)?;
        let base = params.get_base_path()?.as_bytes();
        if base.is_empty() {
            identity.add("Host", "sandbox")?;
        } else {
            let base = base.strip_suffix(b"/").unwrap_or(base);
            let (scheme, host) = split_base(base)
                .ok_or_else(|| Error::failed("basePath of the session is not an absolute URL".into()))?;
            identity.add("X-Sandstorm-Base-Path", base)?;
            identity.add("Host", host)?;
            identity.add("X-Forwarded-Proto", scheme)?;
        }
        identity.add("X-Sandstorm-Session-Id", user.session_id)?;
        Ok(Self { language, identity })
    }

    /// Writes the headers of an API client's session.
    pub(crate) fn for_api(address: Option<ip_address::Reader<'_>>, user: User<'_>) -> Result<Self, Error> {
        let mut identity = Lines::default();
        user.add_to(&mut identity)?;
        identity.add("Host", "sandbox")?;
        identity.add("X-Sandstorm-Session-Id", user.session_id)?;
        if let Some(address) = address {
            identity.add("X-Real-IP", ip_of(address).to_string())?;
        }
        Ok(Self {
            language: Lines::default(),
            identity,
        })
    }

    /// Writes the headers of an API that `user` gave to another grain.
    pub(crate) fn for_powerbox_api(name: &str, user: User<'_>) -> Result<Self, Error> {
        let mut headers = Self::for_api(None, user)?;
        headers.identity.add("X-Sandstorm-Api", name)?;
        Ok(headers)
    }
}

/// Who opened a session, and how.
#[derive(Clone, Copy)]
pub(crate) struct User<'a> {
    pub(crate) info: user_info::Reader<'a>,
    pub(crate) tab_id: &'a [u8],
    pub(crate) session_type: SessionType,
    pub(crate) session_id: &'a str,
    /// Names of the app's permissions, by bit number.
    pub(crate) permission_names: &'a [Vec<u8>],
}

impl User<'_> {
    /// Adds the lines from the tab id to the permissions.
    fn add_to(&self, lines: &mut Lines) -> Result<(), Error> {
        let mut tab = Vec::new();
        hex(self.tab_id, &mut tab);
        lines.add("X-Sandstorm-Tab-Id", tab)?;

        let identity = self.info.get_identity_id()?;
        let mut name = Vec::new();
        percent_encode(
            self.info.get_display_name()?.get_default_text()?.as_bytes(),
            &mut name,
        );
        if name.is_empty() && identity.is_empty() {
            name.extend_from_slice(b"Anonymous%20User");
        }
        lines.add("X-Sandstorm-Username", name)?;
        if !identity.is_empty() {
            let first = identity
                .get(..16)
                .ok_or_else(|| Error::failed("identityId is shorter than 16 bytes".into()))?;
            let mut id = Vec::new();
            hex(first, &mut id);
            lines.add("X-Sandstorm-User-Id", id)?;
            let handle = self.info.get_preferred_handle()?.as_bytes();
            lines.add_unless_empty("X-Sandstorm-Preferred-Handle", handle)?;
            let picture = self.info.get_picture_url()?.as_bytes();
            lines.add_unless_empty("X-Sandstorm-User-Picture", picture)?;
            let pronouns = match self.info.get_pronouns() {
                Ok(Pronouns::Male) => "male",
                Ok(Pronouns::Female) => "female",
                Ok(Pronouns::Robot) => "robot",
                // Also what a newer platform may send and this one cannot name.
                Ok(Pronouns::Neutral) | Err(_) => "",
            };
            lines.add_unless_empty("X-Sandstorm-User-Pronouns", pronouns.as_bytes())?;
        }
        lines.add("X-Sandstorm-Session-Type", self.session_type.name())?;

        let granted: Vec<&[u8]> = self
            .info
            .get_permissions()?
            .iter()
            .zip(self.permission_names)
            .filter(|(granted, _)| *granted)
            .map(|(_, name)| name.as_slice())
            .collect();
        lines.add("X-Sandstorm-Permissions", granted.join(&b","[..]))?;
        Ok(())
    }
}

/// Adds what belongs to one request: cookies, accepted types, allow-listed headers and conditions.
pub(crate) fn add_context(lines: &mut Lines, context: context::Reader<'_>) -> Result<(), Error> {
    let mut cookies = Vec::new();
    for cookie in context.get_cookies()? {
        push_separated(
            &mut cookies,
            b"; ",
            &[cookie.get_key()?.as_bytes(), b"=", cookie.get_value()?.as_bytes()],
        );
    }
    lines.add_unless_empty("Cookie", &cookies)?;

    let mut accept = Vec::new();
    for entry in context.get_accept()? {
        push_weighted(
            &mut accept,
            entry.get_mime_type()?.as_bytes(),
            entry.get_q_value(),
        );
    }
    if accept.is_empty() {
        accept.extend_from_slice(b"*/*");
    }
    lines.add("Accept", accept)?;

    let mut encodings = Vec::new();
    for entry in context.get_accept_encoding()? {
        push_weighted(
            &mut encodings,
            entry.get_content_coding()?.as_bytes(),
            entry.get_q_value(),
        );
    }
    lines.add_unless_empty("Accept-Encoding", &encodings)?;

    let list = context::HEADER_WHITELIST.get()?;
    for header in context.get_additional_headers()? {
        let name = header.get_name()?.as_bytes();
        if is_token(name) && allowed(name, list.iter().flatten().map(|entry| entry.as_bytes())) {
            let name = String::from_utf8_lossy(name).to_ascii_lowercase();
            lines.add(&name, header.get_value()?.as_bytes())?;
        }
    }

    match context.get_e_tag_precondition().which()? {
        e_tag_precondition::None(()) => {}
        e_tag_precondition::Exists(()) => lines.add("If-Match", "*")?,
        e_tag_precondition::MatchesOneOf(tags) => lines.add("If-Match", tag_list(tags?)?)?,
        e_tag_precondition::MatchesNoneOf(tags) => lines.add("If-None-Match", tag_list(tags?)?)?,
        e_tag_precondition::DoesntExist(()) => lines.add("If-None-Match", "*")?,
    }
    Ok(())
}

fn tag_list(tags: capnp::struct_list::Reader<'_, e_tag::Owned>) -> Result<Vec<u8>, Error> {
    let mut list = Vec::new();
    for tag in tags {
        if !list.is_empty() {
            list.extend_from_slice(b", ");
        }
        ETag {
            value: tag.get_value()?.as_bytes(),
            weak: tag.get_weak(),
        }
        .write(&mut list)
        .ok_or(RequestError::Unwritable("an entity tag holds a quote"))?;
    }
    Ok(list)
}

fn push_separated(list: &mut Vec<u8>, separator: &[u8], parts: &[&[u8]]) {
    if !list.is_empty() {
        list.extend_from_slice(separator);
    }
    for part in parts {
        list.extend_from_slice(part);
    }
}

fn push_weighted(list: &mut Vec<u8>, value: &[u8], weight: f32) {
    // Exactly the schema's default, which is never computed.
    if weight.to_bits() == 1.0_f32.to_bits() || !weight.is_finite() {
        push_separated(list, b", ", &[value]);
    } else {
        push_separated(list, b", ", &[value, b"; q=", weight.to_string().as_bytes()]);
    }
}

/// Splits `scheme://host[:port][/…]` into scheme and authority.
fn split_base(base: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = base.windows(3).position(|window| window == b"://")?;
    let (scheme, rest) = base.split_at(colon);
    let rest = rest.get(3..)?;
    let host = rest.split(|byte| matches!(byte, b'/' | b'?' | b'#')).next()?;
    (!scheme.is_empty() && !host.is_empty()).then_some((scheme, host))
}

/// Reads an address; IPv4 addresses travel mapped into IPv6.
fn ip_of(address: ip_address::Reader<'_>) -> IpAddr {
    let bits = u128::from(address.get_upper64()) << 64 | u128::from(address.get_lower64());
    IpAddr::V6(Ipv6Addr::from_bits(bits)).to_canonical()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_urls_are_taken_apart() {
        assert_eq!(
            split_base(b"https://a.b:8080"),
            Some((&b"https"[..], &b"a.b:8080"[..]))
        );
        assert_eq!(split_base(b"http://a/b/c"), Some((&b"http"[..], &b"a"[..])));
        for base in ["a.b", "://a", "http://", "http:///a", ""] {
            assert_eq!(split_base(base.as_bytes()), None, "{base}");
        }
    }

    #[test]
    fn weights_are_written_shortest() {
        let mut list = Vec::new();
        for (value, weight) in [("a/b", 1.0), ("c/d", 0.8), ("*/*", 0.0), ("e/f", f32::NAN)] {
            push_weighted(&mut list, value.as_bytes(), weight);
        }
        assert_eq!(list, b"a/b, c/d; q=0.8, */*; q=0, e/f");
    }
}
