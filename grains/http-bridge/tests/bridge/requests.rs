//! What the app sees: request lines, headers and their order, bodies.

use std::rc::Rc;

use percloud_schemas::web_session_capnp::web_session::{self, PropfindDepth, context};

use crate::app::App;
use crate::harness::{Bridge, Sink, alice, run, two_permissions};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// What every request of Alice's first session carries after the lines of its method.
const ALICE: &str = "Accept-Language: de,en;q=0.5\r\n";
const ALICE_AFTER_LANGUAGE: &str = "User-Agent: Test/1\r\n\
    X-Sandstorm-Tab-Id: abababababababababababababababab\r\n\
    X-Sandstorm-Username: Alice%20%C3%84rger\r\n\
    X-Sandstorm-User-Id: 000102030405060708090a0b0c0d0e0f\r\n\
    X-Sandstorm-Preferred-Handle: alice\r\n\
    X-Sandstorm-User-Picture: https://pictures.example/alice\r\n\
    X-Sandstorm-User-Pronouns: female\r\n\
    X-Sandstorm-Session-Type: normal\r\n\
    X-Sandstorm-Permissions: view,admin\r\n\
    X-Sandstorm-Base-Path: http://ui-1.localhost:6080\r\n\
    Host: ui-1.localhost:6080\r\n\
    X-Forwarded-Proto: http\r\n\
    X-Sandstorm-Session-Id: 0\r\n";

fn alice_head(line: &str, own: &str, context: &str) -> String {
    format!("{line} HTTP/1.1\r\nConnection: close\r\n{own}{ALICE}{ALICE_AFTER_LANGUAGE}{context}\r\n")
}

const ACCEPT_ALL: &str = "Accept: */*\r\n";

/// Performs a GET of `path` and returns the head the app saw.
async fn get(
    session: &web_session::Client,
    app: &App,
    path: &str,
    fill: impl FnOnce(context::Builder<'_>),
) -> Result<String, capnp::Error> {
    let mut request = session.get_request();
    request.get().set_path(path);
    let mut context = request.get().init_context();
    context.set_response_stream(Rc::new(Sink::default()).client());
    fill(context);
    tokio::select! {
        biased;
        head = async {
            let mut request = app.request().await;
            request.reply(OK).await;
            request.head
        } => Ok(head),
        result = request.send().promise => Err(result.err().expect("answered without the app")),
    }
}

#[test]
fn a_page_request_is_exactly_this() {
    run(async {
        let (bridge, app) = Bridge::simple().await;
        let session = bridge.alice().await;
        let head = get(&session, &app, "a%20b/../c?d=e", |mut context| {
            let mut cookies = context.reborrow().init_cookies(2);
            cookies.reborrow().get(0).set_key("k");
            cookies.reborrow().get(0).set_value("v=1");
            cookies.reborrow().get(1).set_key("k2");
            cookies.reborrow().get(1).set_value("");
            let mut accept = context.reborrow().init_accept(2);
            accept.reborrow().get(0).set_mime_type("text/html");
            accept.reborrow().get(1).set_mime_type("*/*");
            accept.reborrow().get(1).set_q_value(0.8);
            let mut encodings = context.reborrow().init_accept_encoding(2);
            encodings.reborrow().get(0).set_content_coding("gzip");
            encodings.reborrow().get(1).set_content_coding("br");
            encodings.reborrow().get(1).set_q_value(0.1);
            let mut headers = context.reborrow().init_additional_headers(4);
            for (index, (name, value)) in (0..).zip([
                ("X-Sandstorm-App-One", "1"),
                ("oc-lazyops", "2"),
                ("authorization", "no"),
                ("x-csrftoken", "t"),
            ]) {
                headers.reborrow().get(index).set_name(name);
                headers.reborrow().get(index).set_value(value);
            }
            let mut tags = context.init_e_tag_precondition().init_matches_none_of(2);
            tags.reborrow().get(0).set_value("one");
            tags.reborrow().get(1).set_value("two");
            tags.reborrow().get(1).set_weak(true);
        })
        .await
        .unwrap();
        let context = "Cookie: k=v=1; k2=\r\n\
            Accept: text/html, */*; q=0.8\r\n\
            Accept-Encoding: gzip, br; q=0.1\r\n\
            x-sandstorm-app-one: 1\r\n\
            oc-lazyops: 2\r\n\
            x-csrftoken: t\r\n\
            If-None-Match: \"one\", W/\"two\"\r\n";
        assert_eq!(head, alice_head("GET /a%20b/../c?d=e", "", context));
    });
}

#[test]
fn preconditions_become_the_two_headers() {
    run(async {
        let (bridge, app) = Bridge::simple().await;
        let session = bridge.alice().await;
        let last = |head: String| head.lines().rev().nth(1).unwrap().to_owned();
        let head = get(&session, &app, "", |context| {
            context.init_e_tag_precondition().set_exists(())
        })
        .await;
        assert_eq!(last(head.unwrap()), "If-Match: *");
        let head = get(&session, &app, "", |context| {
            context.init_e_tag_precondition().set_doesnt_exist(())
        })
        .await;
        assert_eq!(last(head.unwrap()), "If-None-Match: *");
        let head = get(&session, &app, "", |context| {
            context
                .init_e_tag_precondition()
                .init_matches_one_of(1)
                .get(0)
                .set_value("x");
        });
        assert_eq!(last(head.await.unwrap()), "If-Match: \"x\"");
        let head = get(&session, &app, "", |_| ()).await;
        assert_eq!(last(head.unwrap()), "Accept: */*");
    });
}

#[test]
fn an_anonymous_visitor_has_no_id_and_no_permissions() {
    run(async {
        let (bridge, app) = Bridge::simple().await;
        let session = bridge
            .open(|params| {
                let mut user = params.init_user_info();
                user.reborrow()
                    .init_display_name()
                    .set_default_text("Anonymous User");
                user.set_preferred_handle("anonymous");
            })
            .await;
        assert_eq!(
            get(&session, &app, "", |_| ()).await.unwrap(),
            "GET / HTTP/1.1\r\nConnection: close\r\n\
             X-Sandstorm-Tab-Id: \r\n\
             X-Sandstorm-Username: Anonymous%20User\r\n\
             X-Sandstorm-Session-Type: normal\r\n\
             X-Sandstorm-Permissions: \r\n\
             Host: sandbox\r\n\
             X-Sandstorm-Session-Id: 0\r\n\
             Accept: */*\r\n\r\n"
        );
    });
}

#[test]
fn an_api_request_has_its_root_and_address() {
    run(async {
        let app = App::listen().await;
        let bridge = Bridge::start(app.port(), &["cat"], |mut config| {
            config.set_api_path("/api/v1/");
            two_permissions(config);
        });
        let four = bridge.api(Some((0, 0x0000_ffff_c000_0201))).await.unwrap();
        let head = get(&four, &app, "x?y", |_| ()).await.unwrap();
        assert_eq!(
            head,
            "GET /api/v1/x?y HTTP/1.1\r\nConnection: close\r\n\
             X-Sandstorm-Tab-Id: 01010101010101010101010101010101\r\n\
             X-Sandstorm-Username: Alice%20%C3%84rger\r\n\
             X-Sandstorm-User-Id: 000102030405060708090a0b0c0d0e0f\r\n\
             X-Sandstorm-Preferred-Handle: alice\r\n\
             X-Sandstorm-User-Picture: https://pictures.example/alice\r\n\
             X-Sandstorm-User-Pronouns: female\r\n\
             X-Sandstorm-Session-Type: normal\r\n\
             X-Sandstorm-Permissions: view,admin\r\n\
             Host: sandbox\r\n\
             X-Sandstorm-Session-Id: 0\r\n\
             X-Real-IP: 192.0.2.1\r\n\
             Accept: */*\r\n\r\n"
        );
        let six = bridge.api(Some((0x2001_0db8_0000_0000, 1))).await.unwrap();
        assert!(
            get(&six, &app, "", |_| ())
                .await
                .unwrap()
                .contains("\r\nX-Real-IP: 2001:db8::1\r\n")
        );
        let none = bridge.api(None).await.unwrap();
        let head = get(&none, &app, "", |_| ()).await.unwrap();
        assert!(!head.contains("X-Real-IP") && head.contains("\r\nX-Sandstorm-Session-Id: 2\r\n"));
    });
}

#[test]
fn sessions_of_kinds_the_app_does_not_offer_are_refused() {
    run(async {
        let (bridge, _app) = Bridge::simple().await;
        let error = bridge.api(None).await.err().unwrap();
        assert!(error.extra.contains("Unsupported session type"), "{error}");
        let error = bridge
            .try_open(|mut params| params.set_session_type(12345))
            .await
            .err()
            .unwrap();
        assert!(error.extra.contains("Unsupported session type"), "{error}");
    });
}

#[test]
fn a_line_break_aborts_the_request_and_nothing_is_sent() {
    run(async {
        let (bridge, app) = Bridge::simple().await;
        let session = bridge.alice().await;
        let error = get(&session, &app, "a\r\nX-Sandstorm-User-Id: 1", |_| ())
            .await
            .unwrap_err();
        assert!(error.extra.contains("path"), "{error}");
        let error = get(&session, &app, "", |context| {
            let mut cookie = context.init_cookies(1).get(0);
            cookie.set_key("a");
            cookie.set_value("b\nX-Sandstorm-Permissions: admin");
        });
        assert!(error.await.unwrap_err().extra.contains("Cookie"));
        let error = get(&session, &app, "", |context| {
            let mut header = context.init_additional_headers(1).get(0);
            header.set_name("x-sandstorm-app-a");
            header.set_value("b\nc");
        });
        assert!(error.await.unwrap_err().extra.contains("x-sandstorm-app-a"));
        // A name that is no name is not on the list.
        let head = get(&session, &app, "", |context| {
            context
                .init_additional_headers(1)
                .get(0)
                .set_name("x-sandstorm-app-a: b\nx");
        });
        assert_eq!(head.await.unwrap(), alice_head("GET /", "", ACCEPT_ALL));
        let refused = bridge.try_open(|params| {
            let mut user = params.init_user_info();
            user.set_identity_id(&[0; 32]);
            user.set_preferred_handle("a\nb");
        });
        assert!(refused.await.is_err());
    });
}

/// Sends one request of each method and compares its head and body.
macro_rules! sends {
    ($session:expr, $app:expr, $method:ident, $line:expr, $own:expr, $body:expr, |$params:ident| $fill:block) => {{
        let mut request = $session.$method();
        {
            let mut $params = request.get();
            $params.set_path("p");
            $fill
        }
        let promise = request.send().promise;
        let app = async {
            let mut request = $app.request().await;
            let body = request.body(str::len($body)).await;
            assert_eq!(request.head, alice_head($line, $own, ACCEPT_ALL));
            assert_eq!(String::from_utf8(body).unwrap(), $body);
            request.reply(OK).await;
        };
        let (result, ()) = tokio::join!(promise, app);
        result.unwrap();
    }};
}

#[test]
fn every_method_has_its_own_lines_first() {
    run(async {
        let (bridge, app) = Bridge::simple().await;
        let s = bridge.alice().await;
        sends!(s, app, get_request, "GET /p", "", "", |p| {
            p.set_ignore_body(false)
        });
        sends!(s, app, get_request, "HEAD /p", "", "", |p| {
            p.set_ignore_body(true)
        });
        sends!(s, app, delete_request, "DELETE /p", "", "", |_p| {});

        let typed = "Content-Type: text/x\r\nContent-Length: 5\r\nContent-Encoding: gzip\r\n";
        macro_rules! content {
            ($method:ident, $line:expr) => {
                sends!(s, app, $method, $line, typed, "hello", |p| {
                    let mut content = p.reborrow().init_content();
                    content.set_mime_type("text/x");
                    content.set_encoding("gzip");
                    content.set_content(b"hello");
                });
                sends!(s, app, $method, $line, "Content-Length: 0\r\n", "", |p| {
                    p.reborrow().init_content();
                });
            };
        }
        content!(post_request, "POST /p");
        content!(put_request, "PUT /p");
        content!(patch_request, "PATCH /p");
        content!(mkcol_request, "MKCOL /p");
        content!(report_request, "REPORT /p");

        let xml = "Content-Type: application/xml;charset=utf-8\r\nContent-Length: 4\r\n";
        for (depth, text) in [
            (PropfindDepth::Infinity, "infinity"),
            (PropfindDepth::Zero, "0"),
            (PropfindDepth::One, "1"),
        ] {
            sends!(
                s,
                app,
                propfind_request,
                "PROPFIND /p",
                &format!("{xml}Depth: {text}\r\n"),
                "<a/>",
                |p| {
                    p.set_xml_content("<a/>");
                    p.set_depth(depth);
                }
            );
        }
        sends!(s, app, proppatch_request, "PROPPATCH /p", xml, "<a/>", |p| {
            p.set_xml_content("<a/>")
        });
        sends!(s, app, acl_request, "ACL /p", xml, "<a/>", |p| {
            p.set_xml_content("<a/>")
        });
        for (shallow, text) in [(true, "0"), (false, "infinity")] {
            sends!(
                s,
                app,
                lock_request,
                "LOCK /p",
                &format!("{xml}Depth: {text}\r\n"),
                "<a/>",
                |p| {
                    p.set_xml_content("<a/>");
                    p.set_shallow(shallow);
                }
            );
            let own =
                format!("Destination: http://ui-1.localhost:6080/b/c\r\nOverwrite: T\r\nDepth: {text}\r\n");
            sends!(s, app, copy_request, "COPY /p", &own, "", |p| {
                p.set_destination("b/c");
                p.set_shallow(shallow);
            });
        }
        let own = "Destination: http://ui-1.localhost:6080/b\r\nOverwrite: F\r\n";
        sends!(s, app, move_request, "MOVE /p", own, "", |p| {
            p.set_destination("/b");
            p.set_no_overwrite(true);
        });
        sends!(
            s,
            app,
            unlock_request,
            "UNLOCK /p",
            "Lock-Token: <urn:x>\r\n",
            "",
            |p| { p.set_lock_token("<urn:x>") }
        );
        sends!(s, app, options_request, "OPTIONS /p", "", "", |_p| {});
    });
}

#[test]
fn options_reports_dav_classes() {
    run(async {
        let (bridge, app) = Bridge::simple().await;
        let session = bridge.alice().await;
        let promise = session.options_request().send().promise;
        let reply = "HTTP/1.1 204 No Content\r\nDAV: 1, 3,access-control\r\ndav: calendar-access, 1\r\n\r\n";
        let (response, _) = tokio::join!(promise, app.answer(reply));
        let response = response.unwrap();
        let options = response.get().unwrap();
        assert!(options.get_dav_class1() && !options.get_dav_class2() && options.get_dav_class3());
        let extensions = options.get_dav_extensions().unwrap();
        let extensions: Vec<_> = extensions
            .iter()
            .map(|text| text.unwrap().to_string().unwrap())
            .collect();
        assert_eq!(extensions, ["access-control", "calendar-access"]);
    });
}

#[test]
fn a_hundred_requests_at_once_are_kept_apart() {
    run(async {
        let (bridge, app) = Bridge::simple().await;
        let session = bridge.alice().await;
        let calls = (0..100).map(|number| {
            let mut request = session.get_request();
            request.get().set_path(format!("{number}").as_str());
            async move {
                let response = request.send().promise.await.unwrap();
                let web_session::response::Content(content) = response.get().unwrap().which().unwrap() else {
                    panic!("no content")
                };
                let web_session::response::content::body::Bytes(bytes) = content.get_body().which().unwrap()
                else {
                    panic!("no bytes")
                };
                assert_eq!(bytes.unwrap(), number.to_string().as_bytes());
            }
        });
        let server = async {
            let mut requests = Vec::new();
            for _ in 0..100 {
                requests.push(app.request().await);
            }
            // Answered last first: none of them waits for another.
            for mut request in requests.into_iter().rev() {
                let path = request.head[5..].split(' ').next().unwrap().to_owned();
                request
                    .reply(format!(
                        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{path}",
                        path.len()
                    ))
                    .await;
            }
        };
        tokio::join!(futures::future::join_all(calls), server);
    });
}

#[test]
fn unknown_pronouns_and_short_ids() {
    run(async {
        let (bridge, _app) = Bridge::simple().await;
        let refused = bridge
            .try_open(|params| params.init_user_info().set_identity_id(&[1; 15]))
            .await;
        assert!(refused.err().unwrap().extra.contains("identityId"));
        let refused = bridge
            .try_open(|mut params| {
                alice(params.reborrow().init_user_info());
                let mut page: web_session::params::Builder<'_> = params.init_session_params().init_as();
                page.set_base_path("no url");
            })
            .await;
        assert!(refused.err().unwrap().extra.contains("basePath"));
    });
}
