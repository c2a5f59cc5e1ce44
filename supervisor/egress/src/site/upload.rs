//! A request whose body follows piece by piece.

use std::cell::RefCell;
use std::rc::Rc;

use bytes::Bytes;
use capnp::Error;
use futures::channel::oneshot;
use http_body_util::BodyExt;
use http_body_util::channel::{Channel, Sender};
use hyper::Response;
use hyper::body::Incoming;
use hyper::header::HeaderValue;
use percloud_schemas::util_capnp::byte_stream;
use percloud_schemas::web_session_capnp::web_session::request_stream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::request::Asked;
use super::{Site, deliver};
use crate::outlet::Room;

/// Pieces on their way to the connection; who writes more waits.
const PIECES: usize = 2;

type Answer = Result<Response<Incoming>, Error>;

/// A body on its way. Dropped before `done`, it is broken off, not ended.
pub(super) struct Upload {
    site: Site,
    from: String,
    stream: Option<byte_stream::Client>,
    state: RefCell<State>,
    answer: RefCell<Option<Awaited>>,
    told: RefCell<Option<oneshot::Sender<Answer>>>,
    sending: Sending,
    /// Said by `done`.
    is_sent: CancellationToken,
}

/// The request, held by the upload and by whoever waits for the answer.
type Sending = Rc<RefCell<Option<AbortOnDropHandle<()>>>>;

struct Awaited {
    answer: oneshot::Receiver<Answer>,
    room: Room,
}

enum State {
    /// Nothing has been sent; how long the body is may still be said.
    Waiting(Option<(Asked, Room)>),
    /// `None` while a piece is being sent, and for good when that was given up.
    Open(Option<Rest>),
    Done,
}

/// What is still to come. Dropped, it breaks off: the site must not take what it has for everything.
struct Rest {
    sender: Option<Sender<Bytes, Error>>,
    _room: Room,
}

impl Rest {
    async fn send(&mut self, data: Bytes) -> Result<(), Error> {
        let over = || Error::disconnected("the website takes no more".to_owned());
        let sender = self.sender.as_mut().ok_or_else(over)?;
        sender.send_data(data).await.map_err(|_| over())
    }

    /// Nothing is.
    fn finish(mut self) {
        // Letting go of the sender is the end of the body.
        drop(self.sender.take());
    }
}

impl Drop for Rest {
    fn drop(&mut self) {
        if let Some(sender) = self.sender.take() {
            sender.abort(Error::disconnected("the upload was broken off".to_owned()));
        }
    }
}

impl Upload {
    pub(super) fn new(site: &Site, asked: Asked) -> Result<Self, Error> {
        let room = site.0.outlet.room()?;
        let (told, answer) = oneshot::channel();
        Ok(Self {
            site: site.clone(),
            from: asked.address.clone(),
            stream: asked.stream.clone(),
            state: RefCell::new(State::Waiting(Some((asked, Rc::clone(&room))))),
            answer: RefCell::new(Some(Awaited { answer, room })),
            told: RefCell::new(Some(told)),
            sending: Sending::default(),
            is_sent: CancellationToken::new(),
        })
    }

    /// Begins the request, if it has not begun.
    fn begin(&self, size: Option<u64>) -> Result<(), Error> {
        let mut state = self.state.borrow_mut();
        let State::Waiting(waiting) = &mut *state else {
            return Ok(());
        };
        let Some((mut asked, room)) = waiting.take() else {
            return Ok(());
        };
        if let Some(size) = size {
            asked = asked.field("content-length", HeaderValue::from(size));
        }
        let (sender, body) = Channel::new(PIECES);
        *state = State::Open(Some(Rest {
            sender: Some(sender),
            _room: room,
        }));
        let request = asked.with(body.boxed_unsync())?;
        let told = self.told.borrow_mut().take();
        let site = self.site.clone();
        let is_sent = self.is_sent.clone();
        let sending = self.site.0.outlet.spawn(async move {
            let answer = site.send_long(request, is_sent.cancelled()).await;
            if let Some(told) = told {
                // Nobody listens when the grain let go of the stream.
                drop(told.send(answer));
            }
        });
        *self.sending.borrow_mut() = Some(sending);
        Ok(())
    }
}

impl byte_stream::Server for Upload {
    async fn write(self: Rc<Self>, params: byte_stream::WriteParams) -> Result<(), Error> {
        self.begin(None)?;
        let rest = match &mut *self.state.borrow_mut() {
            State::Open(rest) => rest.take(),
            _ => None,
        };
        let mut rest = rest.ok_or_else(|| Error::failed("the upload has ended".to_owned()))?;
        let data = Bytes::copy_from_slice(params.get()?.get_data()?);
        let limit = self.site.0.world.limits.answer;
        let outlet = &self.site.0.outlet;
        outlet
            .while_alive(async {
                let sent = tokio::time::timeout(limit, rest.send(data)).await;
                sent.unwrap_or_else(|_| {
                    Err(Error::failed(format!(
                        "{} took nothing for {} seconds",
                        self.site.0.address.authority(),
                        limit.as_secs()
                    )))
                })
            })
            .await?;
        *self.state.borrow_mut() = State::Open(Some(rest));
        Ok(())
    }

    async fn done(
        self: Rc<Self>,
        _: byte_stream::DoneParams,
        _: byte_stream::DoneResults,
    ) -> Result<(), Error> {
        self.begin(Some(0))?;
        match self.state.replace(State::Done) {
            State::Open(Some(rest)) => rest.finish(),
            _ => return Err(Error::failed("the upload has ended".to_owned())),
        }
        self.is_sent.cancel();
        Ok(())
    }

    async fn expect_size(
        self: Rc<Self>,
        params: byte_stream::ExpectSizeParams,
        _: byte_stream::ExpectSizeResults,
    ) -> Result<(), Error> {
        self.begin(Some(params.get()?.get_size()))
    }
}

impl request_stream::Server for Upload {
    async fn get_response(
        self: Rc<Self>,
        _: request_stream::GetResponseParams,
        mut results: request_stream::GetResponseResults,
    ) -> Result<(), Error> {
        let awaited = self.answer.borrow_mut().take();
        let Awaited { answer, room } =
            awaited.ok_or_else(|| Error::failed("the response was asked for already".to_owned()))?;
        let (site, from, stream) = (self.site.clone(), self.from.clone(), self.stream.clone());
        let _sending = Rc::clone(&self.sending);
        // Who waits for the answer does not hold the stream: a grain that lets go of it breaks it off.
        drop(self);
        let outlet = Rc::clone(&site.0.outlet);
        outlet
            .while_alive(async {
                let over = |_| Error::disconnected("the upload was broken off".to_owned());
                let answer = answer.await.map_err(over)??;
                deliver(&site, &from, answer, stream, room, results.get()).await
            })
            .await
    }
}
