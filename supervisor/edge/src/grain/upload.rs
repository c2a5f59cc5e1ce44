//! Passes a body of unknown or considerable size to the app while it arrives.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use capnp::ErrorKind;
use capnp::capability::FromClientHook;
use percloud_schemas::util_capnp::byte_stream;
use percloud_schemas::web_session_capnp::web_session::request_stream;
use tokio::time::timeout;

use crate::grain::ask::{Ask, Payload, Verb};
use crate::grain::call::{self, Page};
use crate::grain::sessions::Session;
use crate::grain::share::Seat;
use crate::grain::{context, reply};
use crate::intake::Intake;
use crate::pipe::{Reader, pipe};
use crate::respond::{Answer, Refusal};

/// Largest piece written at once, in bytes.
const PIECE: usize = 256 << 10;

/// Answers a POST or PUT whose body has not been read yet.
pub(super) async fn answer(
    page: &Page<'_>,
    session: Rc<Session>,
    mut ask: Ask,
    mut body: Intake,
) -> Result<Answer, Refusal> {
    let mut session = session;
    let mut seat = session.share.upload()?;
    let mut opened = open(page, &session, &ask).await?;
    if matches!(&opened, Err(error) if error.kind == ErrorKind::Disconnected) {
        // Nothing of the body is read, so nothing is lost by starting over.
        session = page.reopen(&session, &ask).await?;
        seat = session.share.upload()?;
        opened = open(page, &session, &ask).await?;
    }
    match opened {
        Ok((stream, reader)) => send(page, &session, &ask, (body, seat), stream, reader).await,
        Err(error) if is_unimplemented(&error) => {
            ask.payload = {
                let budgets = [&page.edge.bodies.requests, session.share.collected()];
                let limit = page.edge.limits.collected_body;
                Payload::Whole(body.whole(limit, &budgets).await?)
            };
            call::whole(page, session, &ask).await
        }
        Err(error) => Err(Refusal::from_app(&error)),
    }
}

/// Whether an app cannot take streams. Old ones say `failed` (sheet trap 11).
fn is_unimplemented(error: &capnp::Error) -> bool {
    error.kind == ErrorKind::Unimplemented
        || (error.kind == ErrorKind::Failed && error.extra.to_ascii_lowercase().contains("not implemented"))
}

type Opened = Result<(request_stream::Client, Reader), capnp::Error>;

async fn open(page: &Page<'_>, session: &Rc<Session>, ask: &Ask) -> Result<Opened, Refusal> {
    let (writer, reader) = pipe(page.edge.limits.window, session.share.streamed());
    let stream = capnp_rpc::new_client(writer);
    macro_rules! open {
        ($request:ident) => {{
            let mut request = session.web.$request();
            let mut params = request.get();
            params.set_path(&ask.path);
            params.set_mime_type(ask.mime_type());
            params.set_encoding(ask.encoding());
            context::fill(params.init_context(), &ask.headers, &ask.heard, stream)?;
            let opened = timeout(page.edge.limits.answer, request.send().promise).await;
            opened
                .map_err(|_| Refusal::AppSilent)?
                .and_then(|opened| opened.get()?.get_stream())
        }};
    }
    let opened = if ask.verb == Verb::Put {
        open!(put_streaming_request)
    } else {
        open!(post_streaming_request)
    };
    Ok(opened.map(|stream| (stream, reader)))
}

/// Why the body did not all reach the app.
enum Stopped {
    Client(Refusal),
    App,
    /// It took nothing for as long as it may think. Until then nobody looks whether the client is still there.
    Late,
}

async fn send(
    page: &Page<'_>,
    session: &Rc<Session>,
    ask: &Ask,
    (body, seat): (Intake, Seat),
    stream: request_stream::Client,
    reader: Reader,
) -> Result<Answer, Refusal> {
    let patience = page.edge.limits.answer;
    // Once, and before the body: the answer may come before the body ends (sheet trap 15).
    let mut replied = stream.get_response_request().send().promise;
    let mut pump = Box::pin(pump(stream.cast_to(), body, patience));
    let early = tokio::select! {
        biased;
        replied = &mut replied => Some(replied),
        pumped = &mut pump => match pumped {
            // An app that stops listening may still have something to say.
            Ok(()) | Err(Stopped::App) => None,
            Err(Stopped::Client(refusal)) => return Err(refusal),
            Err(Stopped::Late) => return Err(Refusal::AppSilent),
        },
    };
    let replied = match early {
        Some(replied) => {
            // The rest of the body goes where it was going, for as long as the client sends it.
            let session = session.clone();
            tokio::task::spawn_local(async move {
                let _ = pump.await;
                drop((session, seat));
            });
            replied
        }
        None => timeout(patience, replied).await.map_err(|_| Refusal::AppSilent)?,
    };
    let replied = replied.map_err(|error| {
        if error.kind == ErrorKind::Disconnected {
            page.forget(session);
        }
        Refusal::from_app(&error)
    })?;
    reply::compose(page.edge, session, ask, &replied, reader).await
}

/// Writes the body as fast as the app takes it, if it takes something within `patience`. Dropping the stream without
/// `done` tells the app that it broke off.
async fn pump(stream: byte_stream::Client, mut body: Intake, patience: Duration) -> Result<(), Stopped> {
    let announced = body.size().map(|size| {
        let mut request = stream.expect_size_request();
        request.get().set_size(size);
        request.send().promise
    });
    while let Some(mut bytes) = body.next().await.map_err(Stopped::Client)? {
        while !bytes.is_empty() {
            let piece: Bytes = bytes.split_to(bytes.len().min(PIECE));
            let mut request = stream.write_request();
            request.get().set_data(&piece);
            taken(patience, request.send()).await?;
        }
    }
    taken(patience, stream.done_request().send().promise).await?;
    // Held until now so that the call was not cancelled; apps may not know it.
    drop(announced);
    Ok(())
}

/// What the app says to a part of the body, in time.
async fn taken<T>(
    patience: Duration,
    taking: impl Future<Output = Result<T, capnp::Error>>,
) -> Result<T, Stopped> {
    let taken = timeout(patience, taking).await.map_err(|_| Stopped::Late)?;
    taken.map_err(|_| Stopped::App)
}
