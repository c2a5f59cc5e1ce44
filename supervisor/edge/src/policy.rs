//! Headers that tell a browser what a page may do, load and be framed by.

use hyper::HeaderMap;
use hyper::header::{
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};

use crate::BaseUrl;

const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");
const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
const AGENT_CLUSTER: HeaderName = HeaderName::from_static("origin-agent-cluster");

/// What an answer to a program may do where a browser shows it: nothing (sheet 5.4).
const NOTHING: HeaderValue = HeaderValue::from_static("default-src 'none'; sandbox");
/// Headers that most answers have at most: those of the policy, and a few of the app.
const USUAL: usize = 12;

/// The policies that depend only on where the shell lives, made once.
#[derive(Debug)]
pub(crate) struct Policy {
    shell: HeaderValue,
    offer: HeaderValue,
    page: HeaderValue,
    relaxed: HeaderValue,
    base: BaseUrl,
}

impl Policy {
    pub(crate) fn new(base: &BaseUrl) -> Self {
        let (scheme, authority, origin) = (base.scheme(), base.authority(), base.origin());
        let sessions = format!("{scheme}://*.{authority}");
        // `form-action` covers the hand-over form, which goes to a session host in a frame.
        let shell = format!(
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
             font-src 'self'; manifest-src 'self'; frame-src {sessions}; form-action 'self' {sessions}; \
             base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
        );
        // Framed by pages of apps, which the shell frames; it may speak to hosts of programs to keep its token alive.
        let offer = format!(
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; \
             connect-src {sessions}; base-uri 'none'; form-action 'none'; frame-ancestors 'self' {sessions}; \
             require-trusted-types-for 'script'; trusted-types 'none'"
        );
        let page = format!(
            "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; \
             frame-ancestors {origin} 'self'"
        );
        let relaxed = format!("frame-ancestors {origin} 'self'");
        let value =
            |text: String| HeaderValue::try_from(text).expect("a host name and constants are visible ASCII");
        Self {
            shell: value(shell),
            offer: value(offer),
            page: value(page),
            relaxed: value(relaxed),
            base: base.clone(),
        }
    }

    /// For pages of the shell.
    pub(crate) fn shell(&self, headers: &mut HeaderMap) {
        headers.insert(CONTENT_SECURITY_POLICY, self.shell.clone());
        headers.insert(OPENER_POLICY, HeaderValue::from_static("same-origin"));
        everywhere(headers);
        // Not `no-referrer` or `same-origin`: with those the hand-over form would say `Origin: null` (Fetch standard,
        // "append a request `Origin` header"). Only the origin leaves; never a path.
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("strict-origin"));
    }

    /// For the one page of the shell that apps may frame: it shows a text that the shell left for it in this tab (sheet
    /// 5.6). Whoever frames it cannot look inside; alone, or framed from elsewhere, it is not shown or has nothing.
    pub(crate) fn offer(&self, headers: &mut HeaderMap) {
        headers.insert(CONTENT_SECURITY_POLICY, self.offer.clone());
        everywhere(headers);
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    }

    /// For answers of the API, which are never pages.
    pub(crate) fn api(headers: &mut HeaderMap) {
        headers
            .entry(CONTENT_SECURITY_POLICY)
            .or_insert(HeaderValue::from_static(
                "default-src 'none'; frame-ancestors 'none'",
            ));
        everywhere(headers);
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    }

    /// For the small pages of our own that say what went wrong, on any host.
    pub(crate) fn page(&self, headers: &mut HeaderMap) {
        headers.insert(CONTENT_SECURITY_POLICY, self.page.clone());
        everywhere(headers);
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    }

    /// What every answer to an app's page says; kept with the session, since it names the session's own host. What the
    /// pages may do is this:
    ///
    /// The strict policy lets nothing out of the session's host from any page of it: no foreign picture, form, frame
    /// or connection (threat model P2, P9). The relaxed one is what older apps were written for (sheet 5.3).
    pub(crate) fn of_app(&self, origin: &str, relaxed: bool) -> HeaderMap {
        if relaxed {
            return app(self.relaxed.clone());
        }
        let socket = origin.replacen("http", "ws", 1);
        let shell = self.base.origin();
        let loose = "'self' 'unsafe-inline' 'unsafe-eval' data: blob:";
        let text = format!(
            "default-src 'none'; script-src {loose}; style-src 'self' 'unsafe-inline' data: blob:; \
             img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data: blob:; \
             frame-src 'self' data: blob: {shell}; child-src 'self' data: blob:; worker-src 'none'; \
             manifest-src 'self'; connect-src 'self' {socket} data: blob:; form-action 'self'; base-uri 'self'; \
             frame-ancestors {shell} 'self'"
        );
        app(HeaderValue::try_from(text).expect("host names and constants are visible ASCII"))
    }

    /// What every answer of an app to a program says.
    pub(crate) fn of_program() -> HeaderMap {
        app(NOTHING)
    }

    /// For everything said to a program. Scripts of any site may be such a program: all they have is their token. As
    /// pictures and the like, other sites may show only what is `linked`, which is to say that the token stands in the
    /// address: a browser may have added one by itself else, which the page does not know.
    pub(crate) fn program(headers: &mut HeaderMap, linked: bool) {
        headers.insert(CONTENT_SECURITY_POLICY, NOTHING);
        everywhere(headers);
        if linked {
            headers.insert(RESOURCE_POLICY, HeaderValue::from_static("cross-origin"));
        }
        // The token may stand in the address.
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    }

    /// For published files. They are anybody's, and their host holds nothing else.
    pub(crate) fn site(headers: &mut HeaderMap) {
        everywhere(headers);
        headers.insert(RESOURCE_POLICY, HeaderValue::from_static("cross-origin"));
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
        if !headers.contains_key(CONTENT_TYPE) {
            // Only the browser can tell then, and there is nobody on this host to be deceived.
            headers.remove(X_CONTENT_TYPE_OPTIONS);
        }
    }
}

/// For everything an app says; with room for what it usually says itself.
fn app(policy: HeaderValue) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(USUAL);
    headers.insert(CONTENT_SECURITY_POLICY, policy);
    everywhere(&mut headers);
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers
}

fn everywhere(headers: &mut HeaderMap) {
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(PERMISSIONS_POLICY, HeaderValue::from_static("interest-cohort=()"));
    headers.insert(RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
    // Without this, two sessions could agree on a common `document.domain`.
    headers.insert(AGENT_CLUSTER, HeaderValue::from_static("?1"));
}
