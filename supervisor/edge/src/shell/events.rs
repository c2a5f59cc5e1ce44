//! What goes on as it happens: changes as server-sent events, and a grain's log.

use std::any::Any;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use capnp::Error;
use hyper::Response;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use percloud_schemas::front_capnp::{grain_control, listener, user_session};
use tokio::task::AbortHandle;

use crate::body::{Body, Stream};
use crate::budget::Budget;
use crate::edge::Edge;
use crate::pipe::{Reader, Writer, pipe};
use crate::policy::Policy;
use crate::respond::{Answer, Refusal};
use crate::shell::api::reply::{ask, broken};

/// Backlog of a log where none is asked for, and the most, in bytes.
const BACKLOG: u64 = 64 << 10;
const MOST_BACKLOG: u64 = 16 << 20;
/// Bytes of one stream held for a slow client at most; the window makes it fewer.
const HELD: usize = 16 << 20;

/// Answers with what changes, until the client goes away.
pub(super) async fn answer(edge: &Rc<Edge>, session: &user_session::Client) -> Result<Answer, Refusal> {
    let (writer, reader) = pipe(edge.limits.window, Budget::of(HELD));
    let events = Rc::new(Events(writer));
    let commenting = tokio::task::spawn_local(comment(Rc::downgrade(&events), edge.limits.event_comment));
    let mut call = session.watch_request();
    call.get().set_listener(capnp_rpc::new_client_from_rc(events));
    let watching = ask(call.send().promise).await?;
    let handle = watching
        .get()
        .and_then(|watching| watching.get_handle())
        .map_err(broken)?;
    let held = (handle, Commenting(commenting.abort_handle()));
    Ok(stream("text/event-stream", reader, Box::new(held)))
}

/// Answers with the end of a grain's log and what is written from then on, until the client goes away.
pub(super) async fn log(
    edge: &Rc<Edge>,
    grain: &grain_control::Client,
    query: &str,
) -> Result<Answer, Refusal> {
    let backlog = query.split('&').find_map(|pair| pair.strip_prefix("backlog="));
    let backlog = match backlog {
        None => BACKLOG,
        Some(digits) => digits
            .parse()
            .map_err(|_| Refusal::BadRequest("The backlog is not a number of bytes."))?,
    };
    let (writer, reader) = pipe(edge.limits.window, Budget::of(HELD));
    let mut call = grain.log_request();
    call.get().set_backlog(backlog.min(MOST_BACKLOG));
    call.get().set_stream(capnp_rpc::new_client(writer));
    let following = ask(call.send().promise).await?;
    let handle = following
        .get()
        .and_then(|following| following.get_handle())
        .map_err(broken)?;
    Ok(stream("text/plain; charset=utf-8", reader, Box::new(handle)))
}

fn stream(kind: &'static str, reader: Reader, held: Box<dyn Any>) -> Answer {
    let mut answer = Response::new(Body::Stream(Stream::endless(reader, held)));
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Policy::api(headers);
    answer
}

/// Writes events as lines of `text/event-stream` (HTML standard section 9.2.5).
struct Events(Writer);

impl listener::Server for Events {
    async fn event(self: Rc<Self>, params: listener::EventParams) -> Result<(), Error> {
        let json = params.get()?.get_json()?.to_str()?;
        let mut lines = String::with_capacity(json.len() + 16);
        for line in json.lines() {
            lines.push_str("data: ");
            lines.push_str(line);
            lines.push('\n');
        }
        lines.push('\n');
        self.0.push(Bytes::from(lines))?;
        self.0.room().await
    }
}

struct Commenting(AbortHandle);

impl Drop for Commenting {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Says something now and then, so that nobody on the way takes a quiet stream for a dead one.
async fn comment(events: std::rc::Weak<Events>, every: Duration) {
    let mut beat = tokio::time::interval(every);
    beat.tick().await;
    loop {
        beat.tick().await;
        let Some(events) = events.upgrade() else { return };
        if events.0.is_idle() && events.0.push(Bytes::from_static(b":\n\n")).is_err() {
            return;
        }
    }
}
