//! Finds the token a program brings, in the three places it may stand, and takes it out of the request (sheet 5.4).

use std::fmt;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use hyper::header::{
    AUTHORIZATION, COOKIE, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHORIZATION, USER_AGENT,
};
use hyper::http::uri::PathAndQuery;
use hyper::{Request, Uri};

use crate::api::host::ApiHost;
use crate::respond::Refusal;

/// The path form: what follows, up to the next slash, is the token.
const PREFIX: &str = "/.sandstorm-token/";
const DESTINATION: HeaderName = HeaderName::from_static("destination");

/// Some clients leave the padding out.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// 256 bits of authority in URL-safe base64: 43 characters. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Token(String);

impl Token {
    fn read(text: &str) -> Option<Self> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        (text.len() == 43 && text.bytes().all(fits)).then(|| Self(text.to_owned()))
    }

    /// The text, for the one who knows what it stands for.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Token(…)")
    }
}

/// Whether the address of a request is itself the right to what is there.
pub(super) fn is_in_path<B>(request: &Request<B>) -> bool {
    request.uri().path().starts_with(PREFIX)
}

/// What a program brought.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Brought {
    Nothing,
    /// Something in the place of a token that can be none.
    NoToken,
    Token(Token, Form),
}

/// Where a token stood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Bearer,
    Basic,
    Path,
}

impl Brought {
    fn read(text: &str, form: Form) -> Self {
        Token::read(text).map_or(Self::NoToken, |token| Self::Token(token, form))
    }
}

/// Takes the token out of a request. What is left of it may be shown to the app: neither credentials nor cookies.
///
/// # Errors
///
/// When the request has two tokens where one is meant.
pub(super) fn take<B>(host: &ApiHost, request: &mut Request<B>) -> Result<Brought, Refusal> {
    let any_form = !host.is_generic() || asks_for_passwords(request.headers());
    let brought = brought(request.headers(), any_form)?;
    for secret in [AUTHORIZATION, PROXY_AUTHORIZATION, COOKIE] {
        request.headers_mut().remove(secret);
    }
    let in_path = if any_form { strip(request)? } else { None };
    Ok(match (brought, in_path) {
        (Some(brought), _) => brought,
        (None, Some(token)) => token,
        (None, None) => Brought::Nothing,
    })
}

/// Whether a client is one of those that speak with passwords only and do not know token-specific hosts.
pub(super) fn asks_for_passwords(headers: &HeaderMap) -> bool {
    let agent = headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok());
    agent.is_some_and(|agent| {
        [
            "git/",
            "GitHub-Hookshot/",
            "mirall/",
            "Mozilla/5.0 (iOS) ownCloud-iOS/",
            "Mozilla/5.0 (Android) ownCloud-android/",
            "litmus/",
        ]
        .iter()
        .any(|start| agent.starts_with(start))
            || agent.contains(" mirall/")
    })
}

/// What `Authorization` says, if it is of a kind that counts here.
fn brought(headers: &HeaderMap, any_form: bool) -> Result<Option<Brought>, Refusal> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(Refusal::BadRequest(
            "The request has more than one Authorization.",
        ));
    }
    let Some((scheme, rest)) = value.to_str().ok().and_then(|value| value.trim().split_once(' ')) else {
        return Ok(None);
    };
    let rest = rest.trim();
    let (token, form) = if scheme.eq_ignore_ascii_case("bearer") {
        (rest.to_owned(), Form::Bearer)
    } else if scheme.eq_ignore_ascii_case("basic") && any_form {
        let pair = LENIENT
            .decode(rest)
            .ok()
            .and_then(|pair| String::from_utf8(pair).ok());
        match pair.as_deref().and_then(|pair| pair.split_once(':')) {
            Some((_, password)) => (password.trim().to_owned(), Form::Basic),
            None => return Ok(Some(Brought::NoToken)),
        }
    } else {
        return Ok(None);
    };
    Ok(Some(if token.is_empty() {
        Brought::Nothing
    } else {
        Brought::read(&token, form)
    }))
}

/// Takes the token out of the path, and out of the path that something is copied or moved to.
fn strip<B>(request: &mut Request<B>) -> Result<Option<Brought>, Refusal> {
    let whole = request.uri().path_and_query().map_or("", |path| path.as_str());
    let Some((token, rest)) = split(whole) else {
        return Ok(None);
    };
    let brought = Brought::read(token, Form::Path);
    let token = token.to_owned();
    let rest: PathAndQuery = rest
        .parse()
        .map_err(|_| Refusal::BadRequest("The address is not one."))?;
    let mut parts = request.uri().clone().into_parts();
    parts.path_and_query = Some(rest);
    let uri = Uri::from_parts(parts).map_err(|_| Refusal::BadRequest("The address is not one."))?;
    *request.uri_mut() = uri;
    if let Some(destination) = request.headers().get(DESTINATION) {
        let short = destination.to_str().ok().and_then(|url| shorten(url, &token));
        // The app would see a token otherwise, and whose it is nobody knows.
        let short = short.ok_or(Refusal::ForeignDestination)?;
        request.headers_mut().insert(DESTINATION, short);
    }
    Ok(Some(brought))
}

/// The same destination without the token.
fn shorten(url: &str, token: &str) -> Option<HeaderValue> {
    let path = match url.find("://") {
        Some(scheme) => scheme + 3 + url[scheme + 3..].find('/')?,
        None => 0,
    };
    let (found, rest) = split(&url[path..])?;
    (found == token).then(|| HeaderValue::try_from(format!("{}{rest}", &url[..path])).ok())?
}

/// Splits `/.sandstorm-token/T[/rest]` into token and rest, which begins with a slash.
fn split(path: &str) -> Option<(&str, String)> {
    let after = path.strip_prefix(PREFIX)?;
    let end = after.find(['/', '?']).unwrap_or(after.len());
    let (token, rest) = after.split_at(end);
    let slash = if rest.starts_with('/') { "" } else { "/" };
    Some((token, format!("{slash}{rest}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdefghijklmnopqrstuvwxyzABCDE-_";
    const OWN: &str = "api-0123456789abcdef0123456789abcdef";

    fn basic(pair: &str) -> String {
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
    }

    fn taken(host: &str, path: &str, headers: &[(&str, &str)]) -> (Brought, Request<()>) {
        let mut request = Request::builder().uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(()).unwrap();
        let brought = take(&host.parse().unwrap(), &mut request).unwrap();
        (brought, request)
    }

    #[test]
    fn a_token_is_found_where_it_may_stand() {
        let git = ("user-agent", "git/2.40");
        let token = |form| Brought::Token(Token(TOKEN.to_owned()), form);
        let bearer = format!("bearer {TOKEN}");
        let padded = basic(&format!("any:{TOKEN} "));
        let unpadded = basic(&format!("user:{TOKEN}")).trim_end_matches('=').to_owned();
        let path = format!("/.sandstorm-token/{TOKEN}/a?b");
        for (host, path, headers, expected) in [
            (
                OWN,
                "/",
                vec![("authorization", bearer.as_str())],
                token(Form::Bearer),
            ),
            ("api", "/", vec![("authorization", &bearer)], token(Form::Bearer)),
            (OWN, "/", vec![("authorization", &padded)], token(Form::Basic)),
            (OWN, "/", vec![("authorization", &unpadded)], token(Form::Basic)),
            ("api", "/", vec![("authorization", &padded)], Brought::Nothing),
            (
                "api",
                "/",
                vec![("authorization", &padded), git],
                token(Form::Basic),
            ),
            (OWN, &path, vec![], token(Form::Path)),
            ("api", &path, vec![], Brought::Nothing),
            ("api", &path, vec![git], token(Form::Path)),
            (
                OWN,
                "/",
                vec![("authorization", &basic("user:"))],
                Brought::Nothing,
            ),
            (
                OWN,
                "/",
                vec![("authorization", &basic("user:  "))],
                Brought::Nothing,
            ),
            (
                OWN,
                "/",
                vec![("authorization", &basic("user"))],
                Brought::NoToken,
            ),
            (OWN, "/", vec![("authorization", "Basic ???")], Brought::NoToken),
            (
                OWN,
                "/",
                vec![("authorization", &basic("user:guess"))],
                Brought::NoToken,
            ),
            (OWN, "/", vec![("authorization", "Digest x")], Brought::Nothing),
            (OWN, "/", vec![("authorization", "Bearer")], Brought::Nothing),
            (OWN, "/.sandstorm-token/x", vec![], Brought::NoToken),
            (OWN, "/.sandstorm-token/", vec![], Brought::NoToken),
            (OWN, "/x/.sandstorm-token/", vec![], Brought::Nothing),
        ] {
            assert_eq!(
                taken(host, path, &headers).0,
                expected,
                "{host} {path} {headers:?}"
            );
        }
    }

    #[test]
    fn nothing_secret_is_left_in_the_request() {
        let bearer = format!("Bearer {TOKEN}");
        let destination = format!("http://{OWN}.example/.sandstorm-token/{TOKEN}/to?x");
        for (path, left) in [("", "/"), ("/", "/"), ("/a/b?c", "/a/b?c"), ("?c", "/?c")] {
            let path = format!("/.sandstorm-token/{TOKEN}{path}");
            let headers = [
                ("authorization", bearer.as_str()),
                ("cookie", "a=b"),
                ("destination", &destination),
            ];
            let (_, request) = taken(OWN, &path, &headers);
            assert_eq!(request.uri(), left);
            assert_eq!(request.headers().len(), 1);
            assert_eq!(
                request.headers()["destination"],
                format!("http://{OWN}.example/to?x")
            );
        }
    }

    #[test]
    fn a_destination_with_another_token_is_refused() {
        for destination in ["/.sandstorm-token/other/a", "/plain", "http://host.example"] {
            let mut request = Request::builder()
                .uri(format!("/.sandstorm-token/{TOKEN}/a"))
                .header("destination", destination)
                .body(())
                .unwrap();
            assert_eq!(
                take(&OWN.parse().unwrap(), &mut request),
                Err(Refusal::ForeignDestination),
                "{destination}"
            );
        }
    }

    #[test]
    fn two_tokens_are_none() {
        let mut request = Request::builder()
            .header("authorization", format!("Bearer {TOKEN}"))
            .header("authorization", "Bearer x")
            .body(())
            .unwrap();
        assert!(take(&OWN.parse().unwrap(), &mut request).is_err());
    }

    #[test]
    fn a_token_is_not_printed() {
        assert_eq!(format!("{:?}", Token(TOKEN.to_owned())), "Token(…)");
    }

    #[test]
    fn clients_that_know_passwords_only_are_told_apart() {
        for (agent, expected) in [
            ("git/2.40.1", true),
            ("Mozilla/5.0 (Linux) mirall/3.0", true),
            ("mirall/1", true),
            ("Mozilla/5.0 (iOS) ownCloud-iOS/11", true),
            ("Mozilla/5.0 (Android) ownCloud-android/2", true),
            ("litmus/0.13 neon/0.30", true),
            ("GitHub-Hookshot/1", true),
            ("Mozilla/5.0 (X11; Linux) Firefox/130", false),
            ("curl/8", false),
            ("legit/1", false),
        ] {
            let headers = HeaderMap::from_iter([(USER_AGENT, HeaderValue::from_static(agent))]);
            assert_eq!(asks_for_passwords(&headers), expected, "{agent}");
        }
    }
}
