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
    answer: RefCell<Option<(oneshot::Receiver<Answer>, Room)>>,
    told: RefCell<Option<oneshot::Sender<Answer>>>,
    sending: RefCell<Option<AbortOnDropHandle<()>>>,
}

enum State {
    /// Nothing has been sent; how long the body is may still be said.
    Waiting(Option<Asked>),
    Open(Option<Sender<Bytes, Error>>),
    Done,
}

impl Upload {
    pub(super) fn new(site: &Site, asked: Asked) -> Result<Self, Error> {
        let room = site.0.outlet.room()?;
        let (told, answer) = oneshot::channel();
        Ok(Self {
            site: site.clone(),
            from: asked.address.clone(),
            stream: asked.stream.clone(),
            state: RefCell::new(State::Waiting(Some(asked))),
            answer: RefCell::new(Some((answer, room))),
            told: RefCell::new(Some(told)),
            sending: RefCell::default(),
        })
    }

    /// Begins the request, if it has not begun.
    fn begin(&self, size: Option<u64>) -> Result<(), Error> {
        let mut state = self.state.borrow_mut();
        let State::Waiting(asked) = &mut *state else {
            return Ok(());
        };
        let Some(mut asked) = asked.take() else {
            return Ok(());
        };
        if let Some(size) = size {
            asked = asked.field("content-length", HeaderValue::from(size));
        }
        let (sender, body) = Channel::new(PIECES);
        *state = State::Open(Some(sender));
        let request = asked.with(body.boxed_unsync())?;
        let told = self.told.borrow_mut().take();
        let site = self.site.clone();
        let sending = self.site.0.outlet.spawn(async move {
            let answer = site.send(request).await;
            if let Some(told) = told {
                // Nobody listens when the grain let go of the stream.
                drop(told.send(answer));
            }
        });
        *self.sending.borrow_mut() = Some(sending);
        Ok(())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let State::Open(Some(sender)) = self.state.replace(State::Done) {
            sender.abort(Error::disconnected("the upload was broken off".to_owned()));
        }
    }
}

impl byte_stream::Server for Upload {
    async fn write(self: Rc<Self>, params: byte_stream::WriteParams) -> Result<(), Error> {
        self.begin(None)?;
        let sender = match &mut *self.state.borrow_mut() {
            State::Open(sender) => sender.take(),
            _ => None,
        };
        let mut sender = sender.ok_or_else(|| Error::failed("the upload has ended".to_owned()))?;
        let data = Bytes::copy_from_slice(params.get()?.get_data()?);
        let sent = self
            .site
            .0
            .outlet
            .while_alive(async {
                let sent = sender.send_data(data).await;
                sent.map_err(|_| Error::disconnected("the website takes no more".to_owned()))
            })
            .await;
        *self.state.borrow_mut() = State::Open(Some(sender));
        sent
    }

    async fn done(
        self: Rc<Self>,
        _: byte_stream::DoneParams,
        _: byte_stream::DoneResults,
    ) -> Result<(), Error> {
        self.begin(Some(0))?;
        // Letting go of the sender is the end of the body.
        *self.state.borrow_mut() = State::Done;
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
        let answer = self.answer.borrow_mut().take();
        let (answer, room) =
            answer.ok_or_else(|| Error::failed("the response was asked for already".to_owned()))?;
        let outlet = Rc::clone(&self.site.0.outlet);
        outlet
            .while_alive(async {
                let over = |_| Error::disconnected("the upload was broken off".to_owned());
                let answer = answer.await.map_err(over)??;
                deliver(
                    &self.site,
                    &self.from,
                    answer,
                    self.stream.clone(),
                    room,
                    results.get(),
                )
                .await
            })
            .await
    }
}
