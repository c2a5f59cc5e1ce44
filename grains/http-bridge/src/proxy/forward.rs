//! Carries one request to the capability its token stands for, and the response back.

use std::future::Future;
use std::pin::{Pin, pin};

use capnp::ErrorKind;
use capnp::capability::{FromClientHook, RemotePromise};
use percloud_schemas::util_capnp::byte_stream;
use percloud_schemas::web_session_capnp::web_session::{request_stream, response};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::Notify;
use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;

use super::ask::{Ask, Verb};
use super::respond::{self, Reply};
use super::sessions::{Session, Sessions};
use super::stream::Event;
use super::{FAREWELL, Refusal, malformed, permit_body, stream};
use crate::bridge::Bridge;
use crate::exchange::Body;
use crate::http::request_head::RequestHead;

/// Bodies of a known length below this, in bytes, are sent in one piece, as platforms do it.
const STREAMED: u64 = 64 << 10;

/// Longest body collected for a method that takes it in one piece, in bytes. Half of what a message may hold.
const MAX_COLLECTED: usize = 32 << 20;

/// Forwards the request and writes the response. An error means that nothing has been written yet.
pub(super) async fn forward(
    head: &RequestHead,
    path: &str,
    token: &[u8],
    body: &mut Body,
    write: &mut OwnedWriteHalf,
    bridge: &Bridge,
    sessions: &Sessions,
) -> Result<(), Refusal> {
    let ask = Ask::new(head, path)?;
    let door = Door {
        token,
        bridge,
        sessions,
    };
    let reply = Reply {
        write,
        is_http11: head.is_http11,
        is_head: ask.verb == Verb::Head,
        is_cached: ask.asks_for_news(),
    };
    let is_long = body.remaining().is_none_or(|length| length >= STREAMED);
    if ask.verb.streams() && is_long {
        let (sink, events) = stream::open();
        if let Some(upload) = door.open(&ask, sink).await? {
            permit_body(head, body, reply.write).await;
            return send(upload, body, reply, events).await;
        }
    }
    permit_body(head, body, reply.write).await;
    let (content, complete) = body
        .collect(MAX_COLLECTED)
        .await
        .map_err(|error| malformed(&error))?;
    if !complete {
        return Err(Refusal::new(
            413,
            "a body that cannot be streamed may have no more than 32 MiB",
        ));
    }
    call(&door, &ask, &content, body, reply).await
}

/// What a token leads to.
struct Door<'a> {
    token: &'a [u8],
    bridge: &'a Bridge,
    sessions: &'a Sessions,
}

impl Door<'_> {
    async fn session(&self) -> Result<Session, Refusal> {
        self.sessions.get(self.token, self.bridge).await
    }

    /// Opens an upload; none if the other side cannot take one.
    async fn open(
        &self,
        ask: &Ask<'_>,
        sink: byte_stream::Client,
    ) -> Result<Option<request_stream::Client>, Refusal> {
        let mut is_retry = false;
        loop {
            let session = self.session().await?;
            match ask.open(&session.client, sink.clone()).await {
                Ok(upload) => return Ok(Some(upload)),
                Err(error) if is_unimplemented(&error) => return Ok(None),
                Err(error) => is_retry = self.may_retry(&session, is_retry, &error)?,
            }
        }
    }

    /// Allows one more attempt if the capability may only have lost its connection.
    fn may_retry(&self, session: &Session, is_retry: bool, error: &capnp::Error) -> Result<bool, Refusal> {
        if error.kind == ErrorKind::Disconnected {
            self.sessions.forget(self.token, session);
            if !is_retry {
                return Ok(true);
            }
        }
        Err(Refusal::of_call("the request failed", error))
    }
}

/// Tells whether the other side cannot take streams. Old apps say `failed`.
fn is_unimplemented(error: &capnp::Error) -> bool {
    error.kind == ErrorKind::Unimplemented
        || (error.kind == ErrorKind::Failed && error.extra.to_ascii_lowercase().contains("not implemented"))
}

/// Makes a call with the whole body and passes on what comes of it.
async fn call(
    door: &Door<'_>,
    ask: &Ask<'_>,
    content: &[u8],
    body: &mut Body,
    mut reply: Reply<'_>,
) -> Result<(), Refusal> {
    let mut gone = pin!(body.until_closed());
    let mut is_retry = false;
    loop {
        let Some(session) = unless(gone.as_mut(), door.session()).await else {
            return Ok(());
        };
        let session = session?;
        let (sink, events) = stream::open();
        let failed = if ask.verb == Verb::Options {
            let answer = ask.options(&session.client, sink).promise;
            match unless(gone.as_mut(), answer).await {
                None => return Ok(()),
                Some(Ok(answer)) => {
                    let options = answer.get().map_err(|error| unreadable(&error))?;
                    return respond::options(&mut reply, options).await;
                }
                Some(Err(error)) => error,
            }
        } else {
            let RemotePromise { promise, .. } = ask.call(&session.client, content, sink)?;
            match unless(gone.as_mut(), promise).await {
                None => return Ok(()),
                Some(Ok(answer)) => {
                    let response = answer.get().map_err(|error| unreadable(&error))?;
                    return pass_on(gone, response, reply, events).await.map(|_| ());
                }
                Some(Err(error)) => error,
            }
        };
        is_retry = door.may_retry(&session, is_retry, &failed)?;
    }
}

/// Sends a body piece by piece and passes on the response, whenever it comes.
async fn send(
    upload: request_stream::Client,
    body: &mut Body,
    reply: Reply<'_>,
    events: Receiver<Event>,
) -> Result<(), Refusal> {
    // Asked for before the body: the response may come before the body has ended.
    let answer = upload.get_response_request().send().promise;
    let sent = Notify::new();
    let mut gone = pin!(feed(body, upload.cast_to(), &sent));
    match unless(gone.as_mut(), answer).await {
        None => Ok(()),
        Some(Ok(answer)) => {
            let response = answer.get().map_err(|error| unreadable(&error))?;
            let is_there = pass_on(gone.as_mut(), response, reply, events).await?;
            // An answer is not always the end: who accepts something early may still want the rest of it.
            if is_there {
                let _ = timeout(FAREWELL, unless(gone, sent.notified())).await;
            }
            Ok(())
        }
        Some(Err(error)) => Err(Refusal::of_call("the request failed", &error)),
    }
}

/// Sends the body, then waits until the client is gone. If the client goes away in the middle of it, the stream is
/// dropped without `done`, and nobody will take what was sent for the whole. `sent` tells that all was sent that
/// ever will be.
async fn feed(body: &mut Body, upload: byte_stream::Client, sent: &Notify) {
    // Not waited for; held, since dropping it would take the call back.
    let _expected = body.remaining().map(|size| {
        let mut request = upload.expect_size_request();
        request.get().set_size(size);
        request.send().promise
    });
    loop {
        match body.next().await {
            Ok(Some(piece)) => {
                let mut request = upload.write_request();
                request.get().set_data(&piece);
                drop(piece);
                if request.send().await.is_err() {
                    // The other side does not want the rest. Its answer is what counts.
                    break;
                }
            }
            Ok(None) => {
                let _ = upload.done_request().send().promise.await;
                break;
            }
            Err(_) => return,
        }
    }
    sent.notify_one();
    body.until_closed().await;
}

/// Writes the response; false if the client left in the middle of it.
async fn pass_on(
    gone: Pin<&mut impl Future<Output = ()>>,
    response: response::Reader<'_>,
    mut reply: Reply<'_>,
    events: Receiver<Event>,
) -> Result<bool, Refusal> {
    let written = unless(gone, respond::response(&mut reply, response, events)).await;
    written.map_or(Ok(false), |written| written.map(|()| true))
}

/// Does `work` until the client is gone; none if it is, and `gone` must then not be asked again.
async fn unless<T>(gone: Pin<&mut impl Future<Output = ()>>, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        result = work => Some(result),
        () = gone => None,
    }
}

fn unreadable(error: &capnp::Error) -> Refusal {
    Refusal::of_call("the response cannot be read", error)
}
