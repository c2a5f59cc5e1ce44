//! Writes an `EmailMessage` as a MIME message, within bounds. Lines end with LF, as files in a Maildir do.
//!
//! The parts are text and HTML as alternatives. Attachments make it a mixed message around those, so that no
//! reader takes the last attachment for the best form of the text.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use capnp::Error;
use percloud_schemas::email_capnp::{email_address, email_message};

use super::{date, header};
use crate::random;

/// Most bytes of texts and attachments together. A message with more does not reach us anyway: mail servers and
/// the limits of a call are in the way.
const MAX_CONTENT: usize = 48 << 20;

/// Most addresses and ids, and most attachments.
const MAX_ENTRIES: u32 = 10_000;

/// Most bytes of header fields.
const MAX_HEADER: usize = 2 << 20;

/// Bytes of an attachment encoded at once: some whole lines of 76 characters.
const LINE: usize = 57;

/// Returns the message as it will stand in its file.
pub(super) fn write(email: email_message::Reader<'_>) -> Result<Vec<u8>, Error> {
    let text = email.get_text()?.to_str()?;
    let html = email.get_html()?.to_str()?;
    let attachments = email.get_attachments()?;
    if attachments.len() > MAX_ENTRIES {
        return Err(too_large());
    }
    let mut content = text.len().saturating_add(html.len());
    for attachment in attachments {
        content = content.saturating_add(attachment.get_content()?.len());
    }
    if content > MAX_CONTENT {
        return Err(too_large());
    }

    let mut out = String::with_capacity(content + content / 2 + 4096);
    fields(email, &mut out)?;
    let alternative = random::name().map_err(failed)?;
    if attachments.is_empty() {
        alternatives(&alternative, text, html, &mut out);
        return Ok(out.into_bytes());
    }
    let mixed = random::name().map_err(failed)?;
    out.push_str(&format!(
        "Content-Type: multipart/mixed; boundary=\"{mixed}\"\n\n--{mixed}\n"
    ));
    alternatives(&alternative, text, html, &mut out);
    for attachment in attachments {
        out.push_str(&format!("--{mixed}\n"));
        let before = out.len();
        let kind = attachment.get_content_type()?.to_str()?;
        header::structured("Content-Type", content_type(kind), &mut out);
        let disposition = attachment.get_content_disposition()?.to_str()?;
        let disposition = if disposition.trim().is_empty() {
            "attachment"
        } else {
            disposition
        };
        header::structured("Content-Disposition", disposition, &mut out);
        let id = attachment.get_content_id()?.to_str()?;
        header::ids("Content-Id", std::iter::once(id), &mut out);
        if out.len() - before > MAX_HEADER {
            return Err(too_large());
        }
        out.push_str("Content-Transfer-Encoding: base64\n\n");
        for line in attachment.get_content()?.chunks(LINE) {
            BASE64_STANDARD.encode_string(line, &mut out);
            out.push('\n');
        }
    }
    out.push_str(&format!("--{mixed}--\n"));
    Ok(out.into_bytes())
}

/// Writes the header fields up to the type of the content.
fn fields(email: email_message::Reader<'_>, out: &mut String) -> Result<(), Error> {
    let lists = [
        email.get_to()?.len(),
        email.get_cc()?.len(),
        email.get_bcc()?.len(),
    ];
    let ids = [email.get_references()?.len(), email.get_in_reply_to()?.len()];
    if lists.into_iter().chain(ids).any(|count| count > MAX_ENTRIES) {
        return Err(too_large());
    }
    header::structured("Date", &date::write(email.get_date()), out);
    addresses("To", email.get_to()?, out)?;
    address("From", email.get_from()?, out)?;
    address("Reply-To", email.get_reply_to()?, out)?;
    addresses("CC", email.get_cc()?, out)?;
    addresses("BCC", email.get_bcc()?, out)?;
    header::unstructured("Subject", email.get_subject()?.to_str()?, out);
    header::ids(
        "Message-Id",
        std::iter::once(email.get_message_id()?.to_str()?),
        out,
    );
    for (name, list) in [
        ("References", email.get_references()?),
        ("In-Reply-To", email.get_in_reply_to()?),
    ] {
        let mut ids = Vec::new();
        for id in list {
            ids.push(id?.to_str()?);
        }
        header::ids(name, ids.into_iter(), out);
    }
    header::structured("MIME-Version", "1.0", out);
    if out.len() > MAX_HEADER {
        return Err(too_large());
    }
    Ok(())
}

fn address(name: &str, address: email_address::Reader<'_>, out: &mut String) -> Result<(), Error> {
    let pair = (address.get_name()?.to_str()?, address.get_address()?.to_str()?);
    header::addresses(name, std::iter::once(pair), out);
    Ok(())
}

fn addresses(
    name: &str,
    list: capnp::struct_list::Reader<'_, email_address::Owned>,
    out: &mut String,
) -> Result<(), Error> {
    let mut pairs = Vec::new();
    for address in list {
        pairs.push((address.get_name()?.to_str()?, address.get_address()?.to_str()?));
    }
    header::addresses(name, pairs.into_iter(), out);
    Ok(())
}

/// Writes the two texts as alternatives. A message with neither gets an empty text.
fn alternatives(boundary: &str, text: &str, html: &str, out: &mut String) {
    out.push_str(&format!(
        "Content-Type: multipart/alternative; boundary=\"{boundary}\"\n\n"
    ));
    for (kind, content, wanted) in [
        ("plain", text, !text.is_empty() || html.is_empty()),
        ("html", html, !html.is_empty()),
    ] {
        if wanted {
            out.push_str(&format!(
                "--{boundary}\nContent-Type: text/{kind}; charset=UTF-8\nContent-Transfer-Encoding: 8bit\n\n"
            ));
            lines(content, out);
        }
    }
    out.push_str(&format!("--{boundary}--\n"));
}

/// Appends a text with LF at the end of every line, the last one too, and without NUL, which no text has.
fn lines(text: &str, out: &mut String) {
    let begin = out.len();
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\r' => {
                let _ = letters.next_if_eq(&'\n');
                out.push('\n');
            }
            '\0' => {}
            letter => out.push(letter),
        }
    }
    if out.len() == begin || !out.ends_with('\n') {
        out.push('\n');
    }
}

/// Returns a type that may stand over base64: a composite one may not (RFC 2045 section 6.4).
fn content_type(kind: &str) -> &str {
    let trimmed = kind.trim();
    let is_composite = ["multipart/", "message/"].iter().any(|prefix| {
        trimmed
            .get(..prefix.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    });
    if trimmed.is_empty() || is_composite {
        "application/octet-stream"
    } else {
        trimmed
    }
}

fn too_large() -> Error {
    Error::failed("message is larger than this mailbox takes".into())
}

fn failed(error: std::io::Error) -> Error {
    Error::failed(format!("no random numbers: {error}"))
}

#[cfg(test)]
mod tests {
    use capnp::message::TypedBuilder;

    use super::*;

    fn written(fill: impl FnOnce(email_message::Builder<'_>)) -> String {
        let mut message = TypedBuilder::<email_message::Owned>::new_default();
        fill(message.init_root());
        String::from_utf8(write(message.get_root_as_reader().unwrap()).unwrap()).unwrap()
    }

    /// Replaces the boundaries, which differ every time, by letters.
    fn stable(mut message: String) -> String {
        for letter in ["A", "B"] {
            let Some(at) = message.find("boundary=\"") else {
                break;
            };
            let boundary = message[at + 10..at + 32].to_owned();
            message = message.replace(&format!("boundary=\"{boundary}\""), &format!("boundary={letter}"));
            message = message.replace(&format!("--{boundary}"), &format!("--{letter}"));
        }
        message
    }

    #[test]
    fn fields_and_parts_stand_in_their_order() {
        let message = written(|mut email| {
            email.set_date(784_111_777_000_000_000);
            email.reborrow().init_to(1).get(0).set_address("to@x.example");
            let mut from = email.reborrow().init_from();
            from.set_name("From");
            from.set_address("from@x.example");
            email.reborrow().init_reply_to().set_address("reply@x.example");
            email.reborrow().init_cc(1).get(0).set_address("cc@x.example");
            email.reborrow().init_bcc(1).get(0).set_address("bcc@x.example");
            email.set_subject("Hello");
            email.set_message_id("1@x.example");
            let mut references = email.reborrow().init_references(2);
            references.set(0, "a@x.example");
            references.set(1, "b@x.example");
            email.reborrow().init_in_reply_to(1).set(0, "b@x.example");
            email.set_text("one\r\ntwo\rthree\0");
            email.set_html("<p>one</p>\n");
            let mut attachment = email.init_attachments(1).get(0);
            attachment.set_content_type("image/png");
            attachment.set_content_disposition("inline; filename=\"a.png\"");
            attachment.set_content_id("pic");
            attachment.set_content(&[7; 60]);
        });
        let expected = "Date: Sun, 06 Nov 1994 08:49:37 +0000\n\
            To: to@x.example\n\
            From: \"From\" <from@x.example>\n\
            Reply-To: reply@x.example\n\
            CC: cc@x.example\n\
            BCC: bcc@x.example\n\
            Subject: Hello\n\
            Message-Id: <1@x.example>\n\
            References: <a@x.example>\n <b@x.example>\n\
            In-Reply-To: <b@x.example>\n\
            MIME-Version: 1.0\n\
            Content-Type: multipart/mixed; boundary=A\n\n\
            --A\n\
            Content-Type: multipart/alternative; boundary=B\n\n\
            --B\n\
            Content-Type: text/plain; charset=UTF-8\nContent-Transfer-Encoding: 8bit\n\n\
            one\ntwo\nthree\n\
            --B\n\
            Content-Type: text/html; charset=UTF-8\nContent-Transfer-Encoding: 8bit\n\n\
            <p>one</p>\n\
            --B--\n\
            --A\n\
            Content-Type: image/png\n\
            Content-Disposition: inline; filename=\"a.png\"\n\
            Content-Id: <pic>\n\
            Content-Transfer-Encoding: base64\n\n\
            BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH\n\
            BwcH\n\
            --A--\n";
        assert_eq!(stable(message), expected);
    }

    #[test]
    fn a_message_of_nothing_is_still_a_message() {
        let message = stable(written(|_| ()));
        assert_eq!(
            message,
            "Date: Thu, 01 Jan 1970 00:00:00 +0000\nSubject: \nMIME-Version: 1.0\n\
             Content-Type: multipart/alternative; boundary=A\n\n--A\n\
             Content-Type: text/plain; charset=UTF-8\nContent-Transfer-Encoding: 8bit\n\n\n--A--\n"
        );
    }

    #[test]
    fn nothing_in_a_message_becomes_a_field() {
        let evil = "x\r\nX-Evil: 1\n\nX-Evil: 2\rX-Evil: 3";
        let message = written(|mut email| {
            let mut from = email.reborrow().init_from();
            from.set_name(evil);
            from.set_address(evil);
            let mut to = email.reborrow().init_to(1).get(0);
            to.set_name(evil);
            to.set_address(evil);
            email.set_subject(evil);
            email.set_message_id(evil);
            email.reborrow().init_references(1).set(0, evil);
            let mut attachment = email.init_attachments(1).get(0);
            attachment.set_content_type(evil);
            attachment.set_content_disposition(evil);
            attachment.set_content_id(evil);
        });
        assert!(message.contains("X-Evil"));
        assert!(
            !message.lines().any(|line| line.starts_with("X-Evil")),
            "{message}"
        );
    }

    #[test]
    fn composite_types_are_not_taken_on_trust() {
        for (given, written) in [
            ("text/calendar; method=REQUEST", "text/calendar; method=REQUEST"),
            ("", "application/octet-stream"),
            (" Multipart/mixed; boundary=x", "application/octet-stream"),
            ("message/rfc822", "application/octet-stream"),
            ("ä", "ä"),
        ] {
            assert_eq!(content_type(given), written);
        }
    }

    #[test]
    fn what_is_too_large_is_refused() {
        let mut message = TypedBuilder::<email_message::Owned>::new_default();
        message.init_root().init_to(MAX_ENTRIES + 1);
        assert!(write(message.get_root_as_reader().unwrap()).is_err());
        let mut message = TypedBuilder::<email_message::Owned>::new_default();
        let mut attachments = message.init_root().init_attachments(2);
        for index in 0..2 {
            attachments
                .reborrow()
                .get(index)
                .set_content(&vec![0; MAX_CONTENT / 2 + 1]);
        }
        assert!(write(message.get_root_as_reader().unwrap()).is_err());
    }
}
