use bytes::BytesMut;
use proptest::prelude::*;

use super::*;

fn head(fields: &[(&str, &str)], status: u16) -> ResponseHead {
    let mut text = format!("HTTP/1.1 {status} X\r\n");
    for (name, value) in fields {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    ResponseHead::parse(text.as_bytes()).unwrap()
}

/// Decodes `wire` cut into pieces of the given sizes, then closes.
fn decode(
    head: &ResponseHead,
    wire: &[u8],
    mut pieces: impl Iterator<Item = usize>,
    limit: usize,
) -> Result<(Vec<u8>, Vec<u8>), RequestError> {
    let mut decoder = BodyDecoder::new(head, false)?;
    let (mut input, mut body, mut rest) = (BytesMut::new(), Vec::new(), wire);
    while !decoder.ended() {
        let mut output = BytesMut::new();
        decoder.decode(&mut input, &mut output, limit)?;
        assert!(output.len() <= limit);
        if !output.is_empty() {
            body.extend_from_slice(&output);
        } else if decoder.ended() {
            break;
        } else if rest.is_empty() {
            decoder.close()?;
        } else {
            let (now, later) = rest.split_at(pieces.next().unwrap_or(1).clamp(1, rest.len()));
            input.extend_from_slice(now);
            rest = later;
        }
    }
    input.extend_from_slice(rest);
    Ok((body, input.to_vec()))
}

fn whole(head: &ResponseHead, wire: &str) -> Result<String, RequestError> {
    let (body, _) = decode(head, wire.as_bytes(), std::iter::repeat(usize::MAX), usize::MAX)?;
    Ok(String::from_utf8(body).unwrap())
}

#[test]
fn chunks_extensions_and_trailers() {
    let chunked = head(&[("Transfer-Encoding", "Chunked")], 200);
    assert_eq!(
        whole(&chunked, "5\r\nhello\r\n6;a=b\r\n world\r\n0\r\nX: y\r\n\r\n").unwrap(),
        "hello world"
    );
    assert_eq!(whole(&chunked, "00A \nhelloworld\n0\n\n").unwrap(), "helloworld");
    assert_eq!(whole(&chunked, "0\r\n\r\n").unwrap(), "");
}

#[test]
fn broken_chunks_are_refused() {
    let chunked = head(&[("transfer-encoding", "chunked")], 200);
    let endless_line = format!("1;{}", "x".repeat(5000));
    let endless_trailers = format!("0\r\n{}", "x: y\r\n".repeat(20_000));
    for wire in [
        "\r\n",
        "x\r\n",
        "-1\r\na\r\n0\r\n\r\n",
        "+1\r\na\r\n0\r\n\r\n",
        "10000000000000000\r\n",
        "1\r\nab\r\n0\r\n\r\n",
        &endless_line,
        &endless_trailers,
    ] {
        let error = whole(&chunked, wire).unwrap_err();
        assert!(matches!(error, RequestError::Malformed(_)), "{wire:.20}: {error}");
    }
    for wire in [
        "",
        "5",
        "5\r\nhel",
        "5\r\nhello\r\n",
        "5\r\nhello\r\n0\r\n",
        "0\r\nX: y\r\n",
    ] {
        assert!(
            matches!(whole(&chunked, wire), Err(RequestError::Truncated)),
            "{wire}"
        );
    }
}

#[test]
fn lengths() {
    let five = head(&[("Content-Length", "5")], 200);
    let (body, rest) = decode(&five, b"hello world", std::iter::repeat(7), 2).unwrap();
    assert_eq!(
        (body.as_slice(), rest.as_slice()),
        (&b"hello"[..], &b" world"[..])
    );
    assert!(matches!(whole(&five, "hell"), Err(RequestError::Truncated)));
    assert_eq!(
        whole(
            &head(&[("Content-Length", "5, 5"), ("content-length", " 5 ")], 200),
            "hello"
        )
        .unwrap(),
        "hello"
    );
    assert_eq!(whole(&head(&[], 200), "until close").unwrap(), "until close");
    for value in ["-1", "+1", "", "1x", "0x1", "18446744073709551616", "1, 2", "1,"] {
        let error = BodyDecoder::new(&head(&[("Content-Length", value)], 200), false).unwrap_err();
        assert!(matches!(error, RequestError::Malformed(_)), "{value}");
    }
}

#[test]
fn chunked_overrides_a_length_and_other_codings_are_refused() {
    let both = head(&[("Content-Length", "3"), ("Transfer-Encoding", "chunked")], 200);
    assert_eq!(whole(&both, "5\r\nhello\r\n0\r\n\r\n").unwrap(), "hello");
    let identity = head(&[("Content-Length", "3"), ("Transfer-Encoding", "identity")], 200);
    assert_eq!(whole(&identity, "hello").unwrap(), "hel");
    for coding in ["gzip", "gzip, chunked", "chunked, chunked", ""] {
        assert!(
            BodyDecoder::new(&head(&[("Transfer-Encoding", coding)], 200), false).is_err(),
            "{coding}"
        );
    }
}

#[test]
fn some_responses_never_have_a_body() {
    for status in [204, 304] {
        assert!(
            BodyDecoder::new(&head(&[("Content-Length", "5")], status), false)
                .unwrap()
                .ended()
        );
    }
    assert!(
        BodyDecoder::new(&head(&[("Transfer-Encoding", "chunked")], 200), true)
            .unwrap()
            .ended()
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn pieces_do_not_matter(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 0..20),
        pieces in prop::collection::vec(1_usize..500, 1..50),
        limit in 1_usize..1000,
    ) {
        let mut wire = Vec::new();
        for chunk in &chunks {
            wire.extend(format!("{:x}\r\n", chunk.len()).bytes());
            wire.extend(chunk);
            wire.extend(b"\r\n");
        }
        wire.extend(b"0\r\n\r\nrest");
        let head = head(&[("Transfer-Encoding", "chunked")], 200);
        let (body, rest) = decode(&head, &wire, pieces.into_iter().cycle(), limit).unwrap();
        prop_assert_eq!(body, chunks.concat());
        prop_assert_eq!(rest, b"rest");
    }

    #[test]
    fn garbage_never_panics(wire in prop::collection::vec(any::<u8>(), 0..400), piece in 1_usize..50) {
        let head = head(&[("Transfer-Encoding", "chunked")], 200);
        let _ = decode(&head, &wire, std::iter::repeat(piece), 100);
    }
}
