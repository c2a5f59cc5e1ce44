//! APIs that take bodies in one piece only.

use std::cell::RefCell;
use std::rc::Rc;

use capnp::Error;
use percloud_schemas::grain_capnp::ui_session;
use percloud_schemas::web_session_capnp::web_session;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Claimed, Proxy, claim};
use crate::harness::run;

/// An API of the old kind: it takes bodies in one piece, and says so in one of two ways.
struct OldApi {
    seen: RefCell<Vec<(String, usize)>>,
}

impl ui_session::Server for OldApi {}

impl web_session::Server for OldApi {
    async fn post(
        self: Rc<Self>,
        params: web_session::PostParams,
        mut results: web_session::PostResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let length = params.get_content()?.get_content()?.len();
        let entry = (format!("POST {}", params.get_path()?.to_str()?), length);
        self.seen.borrow_mut().push(entry);
        results.get().init_no_content();
        Ok(())
    }

    async fn put(
        self: Rc<Self>,
        params: web_session::PutParams,
        mut results: web_session::PutResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let length = params.get_content()?.get_content()?.len();
        let entry = (format!("PUT {}", params.get_path()?.to_str()?), length);
        self.seen.borrow_mut().push(entry);
        // Nothing of this may become a second header, or a header at all.
        let mut content = results.get().init_content();
        content.set_mime_type("a/b\r\nX-Evil: 1");
        content
            .reborrow()
            .init_disposition()
            .set_download("a\r\nX-Evil: 2");
        content.init_body().set_bytes(b"done");
        let mut headers = results.get().init_additional_headers(3);
        for (index, (name, value)) in (0..).zip([
            ("x-sandstorm-app-a", "1\nX-Evil: 3"),
            ("x-sandstorm-app-b: 1\r\nX-Evil", "4"),
            ("x-evil", "5"),
        ]) {
            headers.reborrow().get(index).set_name(name);
            headers.reborrow().get(index).set_value(value);
        }
        Ok(())
    }

    async fn put_streaming(
        self: Rc<Self>,
        _: web_session::PutStreamingParams,
        _: web_session::PutStreamingResults,
    ) -> Result<(), Error> {
        Err(Error::failed("Method not implemented.".into()))
    }
}

#[test]
fn who_cannot_take_a_stream_gets_the_body_in_one_piece() {
    run(async {
        let claimed = Claimed::start().await;
        let old = Rc::new(OldApi {
            seen: RefCell::default(),
        });
        let api: web_session::Client = capnp_rpc::new_client_from_rc(old.clone());
        claimed.bridge.world.fix(api.client.clone());
        claimed.bridge.world.choose("old", api.client).await;
        let cap = claim(&claimed.bridge, "old").await.unwrap();
        let proxy = Proxy::of(&claimed.bridge);
        let body = "x".repeat(200_000);
        for (method, framing, body) in [
            ("POST", "Content-Length: 200000", body.clone()),
            (
                "PUT",
                "Transfer-Encoding: chunked",
                format!("30d40\r\n{body}\r\n0\r\n\r\n"),
            ),
        ] {
            let head =
                format!("{method} http://x/p HTTP/1.1\r\nAuthorization: Bearer {cap}\r\n{framing}\r\n\r\n");
            let answer = proxy.ask(head + &body).await;
            assert!(answer.starts_with("HTTP/1.1 20"), "{answer}");
            assert!(!answer.to_lowercase().contains("x-evil"), "{answer}");
        }
        let expected = [("POST p".to_owned(), 200_000), ("PUT p".to_owned(), 200_000)];
        assert_eq!(*old.seen.borrow(), expected);
    });
}

#[test]
fn a_body_too_large_to_be_collected_is_refused() {
    run(async {
        let claimed = Claimed::start().await;
        let socket = Proxy::of(&claimed.bridge)
            .open(claimed.head("PATCH http://x/", "Transfer-Encoding: chunked\r\n"))
            .await;
        let (mut read, mut write) = socket.into_split();
        let piece = [b"100000\r\n", &vec![b'x'; 1 << 20][..], b"\r\n"].concat();
        let sending = async {
            // Until the proxy has had enough and closes.
            while write.write_all(&piece).await.is_ok() {}
        };
        let reading = async {
            let mut answer = Vec::new();
            // The connection may be reset after the answer, since there is no end to what is sent.
            while !answer.ends_with(b"32 MiB\n") {
                assert_ne!(read.read_buf(&mut answer).await.unwrap(), 0);
            }
            String::from_utf8(answer).unwrap()
        };
        tokio::select! {
            answer = reading => assert!(answer.starts_with("HTTP/1.1 413 Content Too Large\r\n"), "{answer}"),
            () = sending => panic!("closed before the answer could be read"),
        }
    });
}
