//! A grain's backup on its way to whoever asked for it.

use std::rc::Rc;

use hyper::Response;
use hyper::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE, HeaderValue};
use percloud_schemas::front_capnp::grain_control;
use serde_json::Value;

use crate::body::{Body, Stream};
use crate::budget::Budget;
use crate::edge::Edge;
use crate::grain::disposition;
use crate::pipe::pipe;
use crate::policy::Policy;
use crate::respond::{Answer, Refusal};
use crate::shell::api::reply::{ask, broken, is_error, pass};

/// Bytes of one backup held for a slow client at most; the window makes it fewer.
const HELD: usize = 16 << 20;
/// Characters of a title that become the name of a file.
const NAME: usize = 100;

/// Answers with a grain's backup, written as fast as it is read. Whoever stops reading stops the packing.
///
/// # Errors
///
/// When the broker does not answer.
pub(super) async fn download(edge: &Rc<Edge>, grain: &grain_control::Client) -> Result<Answer, Refusal> {
    let (writer, reader) = pipe(edge.limits.window, Budget::of(HELD));
    let mut call = grain.backup_request();
    call.get().set_stream(capnp_rpc::new_client(writer));
    let begun = ask(call.send().promise).await?;
    let begun = begun.get().map_err(broken)?;
    if !begun.has_handle() || is_error(begun.get_reply()) {
        return pass(begun.get_reply());
    }
    let told = begun.get_reply().and_then(|reply| reply.get_json());
    let name = file_name(told.map_err(broken)?.as_bytes());
    let handle = begun.get_handle().map_err(broken)?;
    let mut answer = Response::new(Body::Stream(Stream::new(reader, Box::new(handle))));
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/zip"));
    headers.insert(CONTENT_DISPOSITION, disposition(&name)?);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Policy::api(headers);
    Ok(answer)
}

/// The name of the file: the grain's title where the reply has one, less what file systems and terminals make
/// something else of.
fn file_name(reply: &[u8]) -> String {
    let reply: Value = serde_json::from_slice(reply).unwrap_or_default();
    let title = reply.get("title").and_then(Value::as_str).unwrap_or_default();
    let clean: String = title
        .chars()
        .filter(|character| !is_treacherous(*character))
        .map(|character| match character {
            '/' | '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|' => '-',
            character if character.is_whitespace() => ' ',
            character => character,
        })
        .take(NAME)
        .collect();
    // A dot in front hides a file, one behind is lost on some systems.
    let clean = clean.trim_matches([' ', '.']);
    if clean.is_empty() {
        "grain.zip".to_owned()
    } else {
        format!("{clean}.zip")
    }
}

/// Characters that are not seen, or turn around those that are.
fn is_treacherous(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_becomes_the_name_of_a_file_and_nothing_else() {
        for (reply, name) in [
            (r#"{"title":"Garden 2024"}"#, "Garden 2024.zip"),
            (r#"{"title":"Grüße"}"#, "Grüße.zip"),
            (r#"{"title":"../../etc/passwd"}"#, "-..-etc-passwd.zip"),
            (r#"{"title":"a\u0000b\r\nc"}"#, "abc.zip"),
            (r#"{"title":"bill\u202egpj.exe"}"#, "billgpj.exe.zip"),
            (r#"{"title":" . "}"#, "grain.zip"),
            (r#"{"title":7}"#, "grain.zip"),
            ("{}", "grain.zip"),
            ("", "grain.zip"),
            ("nonsense", "grain.zip"),
        ] {
            assert_eq!(file_name(reply.as_bytes()), name, "{reply}");
        }
        let long = format!(r#"{{"title":"{}"}}"#, "x".repeat(5000));
        assert_eq!(file_name(long.as_bytes()).len(), NAME + 4);
    }
}
