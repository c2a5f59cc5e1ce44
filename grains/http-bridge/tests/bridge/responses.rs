//! What the platform gets for each kind of answer the app may give, well-formed or not.

use std::rc::Rc;

use capnp::Error;
use capnp::capability::Response;
use percloud_schemas::web_session_capnp::web_session::response::{ClientErrorCode, SuccessCode};
use percloud_schemas::web_session_capnp::web_session::{self, cookie, response};

use crate::app::App;
use crate::harness::{Bridge, Sink, run};

type Got = Result<Response<response::Owned>, Error>;

/// Performs a GET that the app answers with exactly `bytes` before it closes.
async fn get(session: &web_session::Client, app: &App, bytes: impl AsRef<[u8]>) -> Got {
    get_into(session, app, bytes, &Rc::default(), false).await
}

async fn get_into(
    session: &web_session::Client,
    app: &App,
    bytes: impl AsRef<[u8]>,
    sink: &Rc<Sink>,
    ignore_body: bool,
) -> Got {
    let mut request = session.get_request();
    request.get().set_ignore_body(ignore_body);
    request.get().init_context().set_response_stream(sink.client());
    let app = async {
        let mut request = app.request().await;
        // A bridge that refuses hangs up early; that is its right.
        let _ = tokio::io::AsyncWriteExt::write_all(&mut request.socket, bytes.as_ref()).await;
        let _ = tokio::io::AsyncWriteExt::shutdown(&mut request.socket).await;
    };
    tokio::join!(request.send().promise, app).0
}

/// Returns the content of a response that has one, and its inline body.
fn content(got: &Got) -> (response::content::Reader<'_>, &[u8]) {
    let response = got.as_ref().unwrap().get().unwrap();
    let response::Content(content) = response.which().unwrap() else {
        panic!("no content")
    };
    let response::content::body::Bytes(bytes) = content.get_body().which().unwrap() else {
        panic!("no bytes")
    };
    (content, bytes.unwrap())
}

async fn with_session<F: AsyncFnOnce(web_session::Client, App)>(test: F) {
    let (bridge, app) = Bridge::simple().await;
    let session = bridge.alice().await;
    test(session, app).await;
}

#[test]
fn content_keeps_its_headers() {
    run(with_session(async |session, app| {
        let got = get(
            &session,
            &app,
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=x\r\nContent-Encoding: gzip\r\n\
             Content-Language: de\r\nContent-Language: en\r\nETag: W/\"tag\"\r\n\
             Content-Disposition: attachment; filename=\"a \\\"b\\\".txt\"\r\n\
             X-Sandstorm-App-Two: 2\r\nX-OC-MTime: accepted\r\nx-sandstorm-app-two: zwei\r\n\
             Cache-Control: no-store\r\nVary: x\r\nLink: y\r\nContent-Length: 5\r\n\r\nhello",
        )
        .await;
        let (content, bytes) = content(&got);
        assert_eq!(bytes, b"hello");
        assert_eq!(content.get_status_code().unwrap(), SuccessCode::Ok);
        assert_eq!(content.get_mime_type().unwrap(), "text/plain; charset=x");
        assert_eq!(content.get_encoding().unwrap(), "gzip");
        assert_eq!(content.get_language().unwrap(), "de, en");
        assert_eq!(content.get_e_tag().unwrap().get_value().unwrap(), "tag");
        assert!(content.get_e_tag().unwrap().get_weak());
        let response::content::disposition::Download(name) = content.get_disposition().which().unwrap()
        else {
            panic!("no download")
        };
        assert_eq!(name.unwrap(), "a \"b\".txt");
        let headers = got
            .as_ref()
            .unwrap()
            .get()
            .unwrap()
            .get_additional_headers()
            .unwrap();
        let headers: Vec<_> = headers
            .iter()
            .map(|header| {
                (
                    header.get_name().unwrap().to_string().unwrap(),
                    header.get_value().unwrap().to_string().unwrap(),
                )
            })
            .collect();
        let expected = [("x-sandstorm-app-two", "2, zwei"), ("x-oc-mtime", "accepted")];
        assert_eq!(
            headers,
            expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
    }));
}

#[test]
fn what_the_app_left_out_stays_out() {
    run(with_session(async |session, app| {
        let got = get(
            &session,
            &app,
            "HTTP/1.0 200 OK\r\nETag: unquoted\r\nContent-Length: 4\r\n\r\nbody",
        )
        .await;
        let (content, bytes) = content(&got);
        assert_eq!(bytes, b"body");
        assert!(!content.has_mime_type() && !content.has_e_tag() && !content.has_encoding());
        assert!(matches!(
            content.get_disposition().which().unwrap(),
            response::content::disposition::Normal(())
        ));
        assert!(!got.as_ref().unwrap().get().unwrap().has_set_cookies());
    }));
}

#[test]
fn success_codes() {
    run(with_session(async |session, app| {
        for (status, code) in [
            (200, SuccessCode::Ok),
            (201, SuccessCode::Created),
            (202, SuccessCode::Accepted),
            (206, SuccessCode::PartialContent),
            (207, SuccessCode::MultiStatus),
        ] {
            let got = get(
                &session,
                &app,
                format!("HTTP/1.1 {status} X\r\nContent-Length: 2\r\n\r\nhi"),
            )
            .await;
            assert_eq!(content(&got).0.get_status_code().unwrap(), code);
            assert_eq!(content(&got).1, b"hi");
        }
        for (status, reset) in [(204, false), (205, true)] {
            let got = get(
                &session,
                &app,
                format!("HTTP/1.1 {status} X\r\nETag: \"t\"\r\n\r\n"),
            )
            .await
            .unwrap();
            let response::NoContent(empty) = got.get().unwrap().which().unwrap() else {
                panic!("{status}")
            };
            assert_eq!(empty.get_should_reset_form(), reset);
            assert_eq!(empty.get_e_tag().unwrap().get_value().unwrap(), "t");
        }
        for status in [304, 412] {
            let got = get(
                &session,
                &app,
                format!("HTTP/1.1 {status} X\r\nETag: \"t\"\r\n\r\n"),
            )
            .await
            .unwrap();
            let response::PreconditionFailed(failed) = got.get().unwrap().which().unwrap() else {
                panic!("{status}")
            };
            assert_eq!(failed.get_matching_e_tag().unwrap().get_value().unwrap(), "t");
        }
        for status in [101, 203, 300, 305, 600] {
            let error = get(
                &session,
                &app,
                format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n"),
            )
            .await;
            let error = error.err().unwrap();
            assert!(error.extra.contains(&format!("status {status}")), "{error}");
        }
    }));
}

#[test]
fn redirects() {
    run(with_session(async |session, app| {
        for (status, permanent, to_get) in [
            (301, true, true),
            (302, false, true),
            (303, false, true),
            (307, false, false),
            (308, true, false),
        ] {
            let location = "http://ui-1.localhost:6080/x?y#z";
            let reply =
                format!("HTTP/1.1 {status} X\r\nLocation: {location}\r\nSet-Cookie: a=b\r\n\r\n<a href=x>");
            let got = get(&session, &app, reply).await.unwrap();
            assert_eq!(got.get().unwrap().get_set_cookies().unwrap().len(), 1);
            let response::Redirect(redirect) = got.get().unwrap().which().unwrap() else {
                panic!("{status}")
            };
            assert_eq!(
                (redirect.get_is_permanent(), redirect.get_switch_to_get()),
                (permanent, to_get)
            );
            assert_eq!(redirect.get_location().unwrap(), location);
        }
        let error = get(&session, &app, "HTTP/1.1 302 Found\r\n\r\n")
            .await
            .err()
            .unwrap();
        assert!(error.extra.contains("Location"), "{error}");
    }));
}

#[test]
fn client_errors() {
    use ClientErrorCode as E;
    run(with_session(async |session, app| {
        for (status, code) in [
            (400, E::BadRequest),
            (401, E::BadRequest),
            (403, E::Forbidden),
            (404, E::NotFound),
            (405, E::MethodNotAllowed),
            (406, E::NotAcceptable),
            (409, E::Conflict),
            (410, E::Gone),
            (413, E::RequestEntityTooLarge),
            (414, E::RequestUriTooLong),
            (415, E::UnsupportedMediaType),
            (418, E::ImATeapot),
            (422, E::UnprocessableEntity),
            (423, E::BadRequest),
            (499, E::BadRequest),
        ] {
            let reply = format!("HTTP/1.1 {status} X\r\nContent-Type: text/html\r\n\r\n<b>{status}</b>");
            let got = get(&session, &app, reply).await.unwrap();
            let response::ClientError(error) = got.get().unwrap().which().unwrap() else {
                panic!("{status}")
            };
            assert_eq!(error.get_status_code().unwrap(), code);
            assert_eq!(
                error.get_description_html().unwrap(),
                format!("<b>{status}</b>").as_str()
            );
            assert!(!error.has_non_html_body());
        }
    }));
}

#[test]
fn error_bodies_of_other_types_keep_their_type() {
    run(with_session(async |session, app| {
        let reply =
            "HTTP/1.1 500 X\r\nContent-Type: application/json\r\nContent-Language: en\r\n\r\n{\"e\":1}";
        let got = get(&session, &app, reply).await.unwrap();
        let response::ServerError(error) = got.get().unwrap().which().unwrap() else {
            panic!("no error")
        };
        assert_eq!(error.get_description_html().unwrap(), "{\"e\":1}");
        let body = error.get_non_html_body().unwrap();
        assert_eq!(body.get_data().unwrap(), b"{\"e\":1}");
        assert_eq!(body.get_mime_type().unwrap(), "application/json");
        assert_eq!(body.get_language().unwrap(), "en");
        assert!(!body.has_encoding());

        let reply = "HTTP/1.1 404 X\r\nContent-Type: text/html\r\nContent-Encoding: gzip\r\n\r\n\x1f\u{8b}";
        let got = get(&session, &app, reply).await.unwrap();
        let response::ClientError(error) = got.get().unwrap().which().unwrap() else {
            panic!("no error")
        };
        assert!(!error.has_description_html());
        let body = error.get_non_html_body().unwrap();
        assert_eq!(body.get_encoding().unwrap(), "gzip");
        assert_eq!(body.get_data().unwrap(), "\x1f\u{8b}".as_bytes());
    }));
}

#[test]
fn an_endless_error_page_is_cut_off() {
    run(with_session(async |session, app| {
        let request = session.get_request().send().promise;
        let app = async {
            let mut request = app.request().await;
            request.send("HTTP/1.1 500 X\r\n\r\n").await;
            let piece = vec![b'x'; 64 << 10];
            let mut sent = 0_u64;
            while tokio::io::AsyncWriteExt::write_all(&mut request.socket, &piece)
                .await
                .is_ok()
            {
                sent += piece.len() as u64;
                assert!(sent < 100 << 20, "the bridge reads for ever");
            }
        };
        let (got, ()) = tokio::join!(request, app);
        let got = got.unwrap();
        let response::ServerError(error) = got.get().unwrap().which().unwrap() else {
            panic!("no error")
        };
        assert_eq!(error.get_description_html().unwrap().len(), 1 << 20);
    }));
}

#[test]
fn cookies() {
    run(with_session(async |session, app| {
        let dates = [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun, 06-Nov-94 08:49:37 GMT",
            "Sun, 06-Nov-1994 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ];
        let mut reply = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n".to_owned();
        for date in dates {
            reply.push_str(&format!(
                "Set-Cookie: d=1; Expires={date}; Secure; Domain=x.example\r\n"
            ));
        }
        reply.push_str("set-cookie: s=a=b; Path=/p; HttpOnly; SameSite=None; Max-Age=60\r\n");
        reply.push_str("Set-Cookie: bare=\r\n\r\n");
        let got = get(&session, &app, reply).await.unwrap();
        let list = got.get().unwrap().get_set_cookies().unwrap();
        assert_eq!(list.len(), 7);
        for index in 0..5 {
            let cookie = list.get(index);
            assert!(matches!(
                cookie.get_expires().which().unwrap(),
                cookie::expires::Absolute(784_111_777)
            ));
            assert!(!cookie.get_http_only());
        }
        let cookie = list.get(5);
        assert_eq!(cookie.get_name().unwrap(), "s");
        assert_eq!(cookie.get_value().unwrap(), "a=b");
        assert_eq!(cookie.get_path().unwrap(), "/p");
        assert!(cookie.get_http_only());
        assert!(matches!(
            cookie.get_expires().which().unwrap(),
            cookie::expires::Relative(60)
        ));
        let cookie = list.get(6);
        assert!(matches!(
            cookie.get_expires().which().unwrap(),
            cookie::expires::None(())
        ));
        assert!(!cookie.has_path());

        let error = get(&session, &app, "HTTP/1.1 200 OK\r\nSet-Cookie: novalue\r\n\r\n")
            .await
            .err()
            .unwrap();
        assert!(error.extra.contains("Set-Cookie"), "{error}");
    }));
}

#[test]
fn head_has_no_body_whatever_the_app_sends() {
    run(with_session(async |session, app| {
        for reply in [
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\nContent-Type: a/b\r\n\r\n",
        ] {
            let got = get_into(&session, &app, reply, &Rc::default(), true).await;
            assert_eq!(content(&got).1, b"", "{reply}");
        }
        let reply = "HTTP/1.1 404 X\r\nContent-Length: 9\r\n\r\n";
        let got = get_into(&session, &app, reply, &Rc::default(), true)
            .await
            .unwrap();
        assert!(matches!(
            got.get().unwrap().which().unwrap(),
            response::ClientError(_)
        ));
    }));
}

#[test]
fn short_bodies_are_inline_however_they_are_framed() {
    run(with_session(async |session, app| {
        for reply in [
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\nT: u\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n\
             HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello and more",
            "HTTP/1.0 200 OK\nContent-Length: 5\n\nhello",
        ] {
            let got = get(&session, &app, reply).await;
            assert_eq!(content(&got).1, b"hello", "{reply}");
        }
        // A known short length is worth waiting for.
        let request = session.get_request().send().promise;
        let app = async {
            let mut request = app.request().await;
            request
                .send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe")
                .await;
            tokio::task::yield_now().await;
            request.send("llo").await;
            request
        };
        let (got, _request) = tokio::join!(request, app);
        assert_eq!(content(&got).1, b"hello");
    }));
}

#[test]
fn malformed_answers_fail_that_request_only() {
    run(with_session(async |session, app| {
        let huge_head = format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\n", "x".repeat(70_000));
        let many_fields = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(300));
        let interim = "HTTP/1.1 100 Continue\r\n\r\n".repeat(40);
        for reply in [
            "",
            "garbage",
            "HTTP/1.1",
            "HTTP/1.1 200 OK\r\nA: b\r\n",
            "HTTP/1.1 abc OK\r\n\r\n",
            "HTTP/2 200\r\n\r\n",
            "\0\0\0\0",
            "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            "HTTP/1.1 200 OK\r\nno colon here\r\n\r\n",
            &huge_head,
            &many_fields,
            &interim,
        ] {
            assert!(get(&session, &app, reply).await.is_err(), "{reply:.60}");
        }
        let got = get(
            &session,
            &app,
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        )
        .await;
        assert_eq!(content(&got).1, b"hello");
    }));
}

#[test]
fn header_text_that_is_not_utf8_is_latin1() {
    run(with_session(async |session, app| {
        let got = get(
            &session,
            &app,
            b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Type: text/caf\xe9\r\n\r\n",
        )
        .await;
        assert_eq!(content(&got).0.get_mime_type().unwrap(), "text/café");
    }));
}
