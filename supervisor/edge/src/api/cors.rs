//! Lets scripts of any site speak to API hosts: they have no authority there but the token they bring (sheet 5.4).

use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderValue, ORIGIN, SET_COOKIE, VARY,
};
use hyper::{Method, Request, StatusCode};

use crate::api::token;
use crate::policy::Policy;
use crate::respond::Answer;

const METHODS: [&str; 6] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];

/// What a request says that its answer must take up.
pub(super) struct Asked {
    options: bool,
    method: Option<HeaderValue>,
    headers: Option<HeaderValue>,
    origin: bool,
    linked: bool,
}

impl Asked {
    pub(super) fn read<B>(request: &Request<B>) -> Self {
        let headers = request.headers();
        Self {
            options: request.method() == Method::OPTIONS,
            method: headers.get(ACCESS_CONTROL_REQUEST_METHOD).cloned(),
            headers: headers.get(ACCESS_CONTROL_REQUEST_HEADERS).cloned(),
            origin: headers.contains_key(ORIGIN),
            linked: token::is_in_path(request),
        }
    }

    /// Whether a browser asks before it lets a script ask. It brings no token then.
    pub(super) fn is_preflight(&self) -> bool {
        self.options && self.origin && self.method.is_some()
    }

    /// Dresses an answer, whoever it came from. Cookies do not pass.
    pub(super) fn finish(self, answer: &mut Answer) {
        let switching = answer.status() == StatusCode::SWITCHING_PROTOCOLS;
        let headers = answer.headers_mut();
        // Taking something out changes the order of the rest.
        let exposed = exposed(headers);
        headers.remove(SET_COOKIE);
        Policy::program(headers, self.linked);
        if switching {
            return;
        }
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        headers.insert(VARY, HeaderValue::from_static("Authorization"));
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
        if self.options {
            headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("3600"));
            headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods(self.method.as_ref()));
            if let Some(asked) = self.headers {
                headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, asked);
            }
        }
    }
}

/// `ETag`, and what an app may set besides and has set.
fn exposed(headers: &HeaderMap) -> HeaderValue {
    let mut text = "ETag".to_owned();
    for name in headers.keys().map(|name| name.as_str()) {
        if name.starts_with("x-sandstorm-app-") || name == "x-oc-mtime" {
            text.push_str(", ");
            text.push_str(name);
        }
    }
    HeaderValue::try_from(text).expect("names of headers are visible ASCII")
}

fn methods(asked: Option<&HeaderValue>) -> HeaderValue {
    let mut text = METHODS.join(", ");
    let asked = asked
        .and_then(|asked| Method::from_bytes(asked.as_bytes()).ok())
        .filter(|asked| !METHODS.contains(&asked.as_str()));
    if let Some(asked) = asked {
        text.push_str(", ");
        text.push_str(asked.as_str());
    }
    HeaderValue::try_from(text).expect("methods are visible ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_is_added_once_and_only_if_it_is_one() {
        let usual = "GET, HEAD, POST, PUT, PATCH, DELETE";
        for (asked, expected) in [
            (None, usual.to_owned()),
            (Some("PUT"), usual.to_owned()),
            (Some("REPORT"), format!("{usual}, REPORT")),
            (Some("a b, c"), usual.to_owned()),
        ] {
            let asked = asked.map(HeaderValue::from_static);
            assert_eq!(methods(asked.as_ref()), expected, "{asked:?}");
        }
    }

    #[test]
    fn scripts_may_read_what_the_app_may_set() {
        let headers = HeaderMap::from_iter([
            (hyper::header::CONTENT_TYPE, HeaderValue::from_static("a/b")),
            (
                hyper::header::HeaderName::from_static("x-sandstorm-app-x"),
                HeaderValue::from_static("1"),
            ),
        ]);
        assert_eq!(exposed(&headers), "ETag, x-sandstorm-app-x");
    }
}
