//! Every method of a session, and what arrives at a server that takes HTTP at its word.

use std::cell::RefCell;
use std::rc::Rc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use percloud_schemas::web_session_capnp::web_session::{self, PropfindDepth, post_content};
use tokio::net::TcpListener;
use tokio::task::spawn_local;
use tokio_util::task::AbortOnDropHandle;

use crate::said::said;
use crate::world::{World, run};

/// A website that remembers what it was asked.
struct Website {
    url: String,
    asked: Rc<RefCell<Vec<String>>>,
    _task: AbortOnDropHandle<()>,
}

/// A request in one line, without what is in all of them.
fn told(request: &Request<()>, body: &[u8]) -> String {
    let mut told = format!("{} {}", request.method(), request.uri());
    let mut fields = Vec::new();
    for (name, value) in request.headers() {
        if !["host", "user-agent", "accept-encoding", "content-length"].contains(&name.as_str()) {
            fields.push(format!(" | {name}: {}", value.to_str().unwrap()));
        }
    }
    fields.sort();
    told.extend(fields);
    if !body.is_empty() {
        told.push_str(" | ");
        told.push_str(std::str::from_utf8(body).unwrap());
    }
    told
}

impl Website {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/api", listener.local_addr().unwrap());
        let asked: Rc<RefCell<Vec<String>>> = Rc::default();
        let notes = Rc::clone(&asked);
        let task = spawn_local(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let notes = Rc::clone(&notes);
                let service = service_fn(move |request: Request<hyper::body::Incoming>| {
                    let notes = Rc::clone(&notes);
                    async move {
                        let (head, body) = request.into_parts();
                        let body = body.collect().await?.to_bytes();
                        notes
                            .borrow_mut()
                            .push(told(&Request::from_parts(head, ()), &body));
                        Ok::<_, hyper::Error>(Response::new(Full::new(Bytes::from_static(b"well"))))
                    }
                });
                let connection = hyper::server::conn::http1::Builder::new();
                spawn_local(connection.serve_connection(TokioIo::new(stream), service));
            }
        });
        Self {
            url,
            asked,
            _task: AbortOnDropHandle::new(task),
        }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.take()
    }
}

fn fill(mut content: post_content::Builder<'_>) {
    content.set_mime_type("text/x-note");
    content.set_encoding("gzip");
    content.set_content(b"a body");
}

/// Sends a request, which has to be answered, with a body where that has one.
macro_rules! send {
    ($request:expr, $path:expr $(, $change:expr)?) => {{
        let mut request = $request;
        request.get().set_path($path);
        $( #[allow(clippy::redundant_closure_call)] ($change)(request.get()); )?
        assert_eq!(said(request.send().promise.await).unwrap().body, b"well");
    }};
}

#[test]
fn bodies_arrive_as_they_were_given() {
    run(async {
        let world = World::new().await;
        let website = Website::new().await;
        let session = world.website(&website.url).await;
        send!(
            session.post_request(),
            "a?b=c",
            |params: web_session::post_params::Builder<'_>| fill(params.init_content())
        );
        send!(
            session.patch_request(),
            "a",
            |params: web_session::patch_params::Builder<'_>| fill(params.init_content())
        );
        send!(
            session.mkcol_request(),
            "a",
            |params: web_session::mkcol_params::Builder<'_>| fill(params.init_content())
        );
        send!(
            session.report_request(),
            "a",
            |params: web_session::report_params::Builder<'_>| fill(params.init_content())
        );
        send!(
            session.put_request(),
            "a%20b",
            |params: web_session::put_params::Builder<'_>| {
                let mut content = params.init_content();
                content.set_mime_type("text/plain");
                content.set_content(b"put");
            }
        );
        send!(session.post_request(), "");
        let described = "| content-encoding: gzip | content-type: text/x-note | a body";
        assert_eq!(
            website.asked(),
            [
                format!("POST /api/a?b=c {described}"),
                format!("PATCH /api/a {described}"),
                format!("MKCOL /api/a {described}"),
                format!("REPORT /api/a {described}"),
                "PUT /api/a%20b | content-type: text/plain | put".to_owned(),
                "POST /api".to_owned(),
            ]
        );
    });
}

#[test]
fn methods_without_a_body_arrive() {
    run(async {
        let world = World::new().await;
        let website = Website::new().await;
        let session = world.website(&website.url).await;
        send!(session.get_request(), "a/b?c=%2F&d");
        send!(session.delete_request(), "a");
        send!(
            session.copy_request(),
            "a",
            |mut params: web_session::copy_params::Builder<'_>| {
                params.set_destination("b/c");
                params.set_no_overwrite(true);
                params.set_shallow(true);
            }
        );
        send!(
            session.move_request(),
            "a",
            |mut params: web_session::move_params::Builder<'_>| {
                params.set_destination("b");
            }
        );
        send!(
            session.unlock_request(),
            "a",
            |mut params: web_session::unlock_params::Builder<'_>| {
                params.set_lock_token("<urn:uuid:1>");
            }
        );
        let mut head = session.get_request();
        head.get().set_path("a");
        head.get().set_ignore_body(true);
        let answer = said(head.send().promise.await).unwrap();
        assert_eq!((answer.what.as_str(), answer.body.len()), ("content Ok", 0));
        let url = &website.url;
        assert_eq!(
            website.asked(),
            [
                "GET /api/a/b?c=%2F&d".to_owned(),
                "DELETE /api/a".to_owned(),
                format!("COPY /api/a | depth: 0 | destination: {url}/b/c | overwrite: F"),
                format!("MOVE /api/a | destination: {url}/b | overwrite: T"),
                "UNLOCK /api/a | lock-token: <urn:uuid:1>".to_owned(),
                "HEAD /api/a".to_owned(),
            ]
        );
    });
}

#[test]
fn methods_with_xml_arrive() {
    run(async {
        let world = World::new().await;
        let website = Website::new().await;
        let session = world.website(&website.url).await;
        for depth in [PropfindDepth::Infinity, PropfindDepth::Zero, PropfindDepth::One] {
            send!(
                session.propfind_request(),
                "a",
                |mut params: web_session::propfind_params::Builder<'_>| {
                    params.set_depth(depth);
                    params.set_xml_content("<find/>");
                }
            );
        }
        send!(
            session.proppatch_request(),
            "a",
            |mut params: web_session::proppatch_params::Builder<'_>| {
                params.set_xml_content("<patch/>");
            }
        );
        send!(
            session.acl_request(),
            "a",
            |mut params: web_session::acl_params::Builder<'_>| {
                params.set_xml_content("<acl/>");
            }
        );
        for shallow in [false, true] {
            send!(
                session.lock_request(),
                "a",
                |mut params: web_session::lock_params::Builder<'_>| {
                    params.set_shallow(shallow);
                    params.set_xml_content("<lock/>");
                }
            );
        }
        let kind = "| content-type: application/xml;charset=utf-8 |";
        assert_eq!(
            website.asked(),
            [
                format!("PROPFIND /api/a {kind} depth: infinity | <find/>"),
                format!("PROPFIND /api/a {kind} depth: 0 | <find/>"),
                format!("PROPFIND /api/a {kind} depth: 1 | <find/>"),
                format!("PROPPATCH /api/a {kind} <patch/>"),
                format!("ACL /api/a {kind} <acl/>"),
                format!("LOCK /api/a {kind} depth: infinity | <lock/>"),
                format!("LOCK /api/a {kind} depth: 0 | <lock/>"),
            ]
        );
    });
}
