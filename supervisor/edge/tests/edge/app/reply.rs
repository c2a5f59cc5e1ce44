//! What the app says of its replies: cookies, headers, and what it was asked.

use std::fmt::Write;

use capnp::Error;
use percloud_schemas::web_session_capnp::web_session::{self, context};

use super::Done;

/// Everything a context says, one thing a line.
pub(super) fn dump(text: &mut String, context: context::Reader<'_>) -> Done {
    for cookie in context.get_cookies()? {
        writeln!(
            text,
            "cookie {}={}",
            cookie.get_key()?.to_str()?,
            cookie.get_value()?.to_str()?
        )
        .unwrap();
    }
    for accepted in context.get_accept()? {
        writeln!(
            text,
            "accept {} {}",
            accepted.get_mime_type()?.to_str()?,
            accepted.get_q_value()
        )
        .unwrap();
    }
    for coding in context.get_accept_encoding()? {
        writeln!(
            text,
            "coding {} {}",
            coding.get_content_coding()?.to_str()?,
            coding.get_q_value()
        )
        .unwrap();
    }
    for header in context.get_additional_headers()? {
        writeln!(
            text,
            "header {}: {}",
            header.get_name()?.to_str()?,
            header.get_value()?.to_str()?
        )
        .unwrap();
    }
    let tags = |tags: capnp::struct_list::Reader<'_, web_session::e_tag::Owned>| -> Result<String, Error> {
        let mut text = String::new();
        for tag in tags {
            let weak = if tag.get_weak() { "W/" } else { "" };
            write!(text, " {weak}{}", tag.get_value()?.to_str()?).unwrap();
        }
        Ok(text)
    };
    use context::e_tag_precondition::Which;
    match context.get_e_tag_precondition().which()? {
        Which::None(()) => {}
        Which::Exists(()) => writeln!(text, "condition exists").unwrap(),
        Which::DoesntExist(()) => writeln!(text, "condition absent").unwrap(),
        Which::MatchesOneOf(list) => writeln!(text, "condition one of{}", tags(list?)?).unwrap(),
        Which::MatchesNoneOf(list) => writeln!(text, "condition none of{}", tags(list?)?).unwrap(),
    }
    assert!(
        context.has_response_stream(),
        "there is always a stream to answer on"
    );
    Ok(())
}

pub(super) fn say(results: &mut web_session::GetResults, text: &str) {
    let mut content = results.get().init_content();
    content.set_mime_type("text/plain");
    content.init_body().set_bytes(text.as_bytes());
}

pub(super) fn headers(results: &mut web_session::GetResults) {
    let mut reply = results.get();
    let mut cookies = reply.reborrow().init_set_cookies(2);
    let mut cookie = cookies.reborrow().get(0);
    cookie.set_name("session");
    cookie.set_value("abc");
    cookie.set_path("/");
    cookie.set_http_only(true);
    cookie.init_expires().set_relative(60);
    let mut cookie = cookies.get(1);
    cookie.set_name("other");
    cookie.set_value("def");
    let mut extra = reply.reborrow().init_additional_headers(2);
    let mut header = extra.reborrow().get(0);
    header.set_name("X-Sandstorm-App-Color");
    header.set_value("green");
    let mut header = extra.get(1);
    header.set_name("X-OC-MTime");
    header.set_value("accepted");
    let mut content = reply.init_content();
    content.set_mime_type("text/html; charset=utf-8");
    content.set_language("de");
    content.set_encoding("identity");
    let mut tag = content.reborrow().init_e_tag();
    tag.set_value("v2");
    tag.set_weak(true);
    content
        .reborrow()
        .init_disposition()
        .set_download("re\"port.html");
    content.init_body().set_bytes(b"<p>hello");
}

pub(super) fn bad_headers(results: &mut web_session::GetResults) {
    let mut reply = results.get();
    let forbidden = [
        ("Content-Security-Policy", "default-src *"),
        ("Set-Cookie", "a=b; Domain=localhost"),
        ("Access-Control-Allow-Origin", "*"),
        ("Location", "https://evil.example/"),
        ("Service-Worker-Allowed", "/"),
        ("Content-Length", "1"),
        ("Transfer-Encoding", "chunked"),
        ("X-Sandstorm-App-Bad", "a\r\nInjected: yes"),
        ("X-Sandstorm-App-Bad\r\nInjected", "yes"),
        ("Clear-Site-Data", "*"),
    ];
    let mut list = reply
        .reborrow()
        .init_additional_headers(forbidden.len().try_into().unwrap());
    for (index, (name, value)) in (0..).zip(forbidden) {
        let mut header = list.reborrow().get(index);
        header.set_name(name);
        header.set_value(value);
    }
    let mut cookies = reply.reborrow().init_set_cookies(2);
    let mut cookie = cookies.reborrow().get(0);
    cookie.set_name("__Host-percloud-session");
    cookie.set_value("stolen");
    let mut cookie = cookies.get(1);
    cookie.set_name("a");
    cookie.set_value("b; Domain=localhost");
    let mut content = reply.init_content();
    content.set_mime_type("text/html\r\nInjected: yes");
    content.set_language("de\nInjected: yes");
    content.set_encoding("gzip\u{e4}");
    content.reborrow().init_e_tag().set_value("a\"b");
    content.init_body().set_bytes(b"<script>");
}
