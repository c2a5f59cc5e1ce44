//! One connection to a peer that is not trusted: its bytes, its messages, and how much it may have under way.
//!
//! capnp-rpc's own two-party network neither bounds what a peer may make us hold nor joins messages on their way
//! out. This one does both, by standing where the RPC system asks for a network:
//!
//! - a message's length is checked before memory is taken for it;
//! - no more is read while too many words of calls are unanswered, or too many bytes wait to be sent (back-pressure,
//!   sheet 3.1: 1 Mi words);
//! - a peer that hands over too many capabilities, or leads promises through too many promises, is cut off;
//! - usual calls go past the RPC system (ADR 0018): made ([`Direct`]) or passed on from one peer to another as they came
//!   ([`Route`]);
//! - messages that are ready leave in one system call: a turn of the connection hands on everything that has arrived,
//!   and only then sends what came of it.

#![forbid(unsafe_code)]

mod bounds;
mod calls;
mod direct;
mod inbox;
mod ledger;
mod notes;
mod numbers;
mod observe;
mod outbox;
mod passing;
mod pulse;
mod relay;
mod repeated;
mod slab;
mod socket;
mod turn;

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

use capnp::Error;
use capnp::capability::{FromClientHook, Promise};
use capnp::message::{Builder, HeapAllocator, Reader};
use capnp::serialize::OwnedSegments;
use capnp_rpc::RpcSystem;
use capnp_rpc::rpc_twoparty_capnp::Side as VatSide;
use tokio::net::UnixStream;

pub use bounds::Bounds;
pub use calls::Line;
use calls::{Calls, Fate};
pub use direct::Direct;
use inbox::Inbox;
use ledger::{Ledger, Verdict};
use numbers::Keyed;
pub use observe::Arrival;
pub use outbox::Gauge;
use outbox::Outbox;
use passing::Head;
pub use pulse::Pulse;
use relay::Relayed;
pub use relay::{Asked, Passage, Route};
pub use repeated::{Repeated, Shared};
use socket::Socket;
use turn::Turn;

/// First words of a message of ours: capnp-rpc would take four times as many for every call, and too few for small
/// messages, which then need a second piece of memory.
const FIRST_WORDS: std::ops::RangeInclusive<u32> = 32..=128;

/// A connection and the RPC system on it. Nothing happens until it is run.
pub struct Link {
    stream: UnixStream,
    wire: Rc<Wire>,
    system: RpcSystem<VatSide>,
    peer: VatSide,
}

impl Link {
    /// Sets up a connection on which we are `side`, and offer `bootstrap` if anything.
    pub fn new(
        stream: UnixStream,
        side: VatSide,
        bounds: Bounds,
        bootstrap: Option<capnp::capability::Client>,
    ) -> Self {
        let peer = match side {
            VatSide::Client => VatSide::Server,
            VatSide::Server => VatSide::Client,
        };
        let wire = Rc::new_cyclic(|this| Wire {
            this: this.clone(),
            socket: OnceCell::new(),
            inbox: RefCell::new(Inbox::default()),
            outbox: Outbox::new(Rc::clone(&bounds.gauge)),
            ledger: RefCell::new(Ledger::default()),
            reader: RefCell::new(None),
            failure: RefCell::new(None),
            calls: Calls::default(),
            routes: RefCell::default(),
            relayed: RefCell::default(),
            front: RefCell::default(),
            bounds,
        });
        let network = Network {
            wire: Rc::clone(&wire),
            accepted: false,
            peer,
        };
        Self {
            stream,
            system: RpcSystem::new(Box::new(network), bootstrap),
            wire,
            peer,
        }
    }

    /// What the peer offers. A promise: calls may be made at once.
    #[must_use]
    pub fn bootstrap<C: FromClientHook>(&mut self) -> C {
        self.system.bootstrap(self.peer)
    }

    /// Serves the connection until it ends. Says how the peer broke the rules, if that is why.
    ///
    /// Dropping the future closes the connection.
    ///
    /// # Errors
    ///
    /// What the peer did wrong, when it was cut off for it; and when the kernel has no room to watch the socket.
    pub async fn run(self) -> Result<(), Error> {
        let Self {
            stream, wire, system, ..
        } = self;
        let _the_first = wire.socket.set(Socket::new(stream)?);
        let _closed_at_last = HangUp(Rc::clone(&wire));
        let turn = Turn::new();
        let mut system = pin!(system);
        poll_fn(|context| {
            // Whoever adds messages from now on need not wake us for that: they are sent below.
            wire.outbox.hold();
            // Failures were noted by the wire; those of the system itself only repeat them.
            let ended = turn.take(context, |context| system.as_mut().poll(context));
            if ended.is_pending() {
                wire.send_queued(context);
            }
            ended.map(drop)
        })
        .await;
        match wire.failure.take() {
            Some(error) if error.kind != capnp::ErrorKind::Disconnected => Err(error),
            _ => Ok(()),
        }
    }
}

/// Ends the connection for the peer. Calls that are never answered hold on to it on our side: in capnp-rpc they refer
/// to the connection they came by, which refers to them.
struct HangUp(Rc<Wire>);

impl Drop for HangUp {
    fn drop(&mut self) {
        self.0.outbox.close();
        self.0.calls.end();
        self.0.end_relayed();
        self.0.outbox.abandon();
        if let Some(socket) = self.0.socket.get() {
            socket.shut_down();
        }
    }
}

/// A message, and the call on its way that it stands in for, if it does.
type InFront = (Reader<OwnedSegments>, Option<Rc<Relayed>>);

/// The two ends of a connection, shared by everything that speaks on it.
struct Wire {
    this: Weak<Wire>,
    /// There once the connection runs.
    socket: OnceCell<Socket>,
    inbox: RefCell<Inbox>,
    outbox: Outbox,
    ledger: RefCell<Ledger>,
    /// Waits for a message, or for leave to read one.
    reader: RefCell<Option<Waker>>,
    /// Why the connection ended.
    failure: RefCell<Option<Error>>,
    /// Calls of ours that go past the RPC system.
    calls: Calls,
    /// By our number: capabilities on which calls of the peer are passed on.
    routes: RefCell<HashMap<u32, Rc<dyn Route>, Keyed>>,
    /// Calls of the peer that were passed on and not answered.
    relayed: RefCell<HashMap<u32, Rc<Relayed>, Keyed>>,
    /// What the RPC system is to have before anything else that the peer said.
    front: RefCell<VecDeque<InFront>>,
    bounds: Bounds,
}

impl Wire {
    fn poll_receive(&self, context: &mut Context<'_>) -> Poll<Result<Option<Incoming>, Error>> {
        if self.outbox.is_dead() {
            return Poll::Ready(Err(Error::disconnected(
                "the peer takes no more messages".to_owned(),
            )));
        }
        loop {
            if let Some(overdue) = self.overdue() {
                return Poll::Ready(overdue.map(Some));
            }
            if self.is_paused(context) || self.calls.is_parked() {
                return Poll::Pending;
            }
            let Some(socket) = self.socket.get() else {
                return Poll::Pending;
            };
            let received = self
                .inbox
                .borrow_mut()
                .poll_message(socket, self.bounds.message_words, context);
            let Some(message) = std::task::ready!(received)? else {
                return Poll::Ready(Ok(None));
            };
            if let Some(message) = self.admit(message)? {
                return Poll::Ready(Ok(Some(message)));
            }
        }
    }

    /// What the RPC system is told before it gets the next message.
    fn overdue(&self) -> Option<Result<Incoming, Error>> {
        if let Some(overdue) = self.ledger.borrow_mut().overdue() {
            return Some(overdue.map(|message| self.incoming(message)));
        }
        loop {
            if let Some((message, stands_in)) = self.in_front() {
                let mut incoming = self.incoming(message);
                incoming.stands_in = stands_in;
                return Some(Ok(incoming));
            }
            let sorted = match self.unparked()? {
                Ok(Fate::Hand(message)) => self.sort(message),
                Ok(Fate::Taken) => Ok(None),
                Ok(Fate::Parked) => return None,
                Err(error) => Err(error),
            };
            if let Some(message) = sorted.transpose() {
                return Some(message);
            }
        }
    }

    fn incoming(&self, message: Reader<OwnedSegments>) -> Incoming {
        Incoming {
            message,
            wire: self.this.clone(),
            stands_in: None,
            number: observe::number(),
            is_begun: Cell::new(false),
        }
    }

    /// A message that has been read already, if there is one and it may be handed on.
    fn buffered(&self) -> Option<Result<Incoming, Error>> {
        let bounds = &self.bounds;
        loop {
            if let Some(overdue) = self.overdue() {
                return Some(overdue);
            }
            if self.calls.is_parked()
                || self.ledger.borrow().is_full(bounds)
                || self.outbox.bytes() > bounds.queued_bytes
                || bounds
                    .pressure
                    .as_ref()
                    .is_some_and(|gauge| gauge.bytes() > bounds.queued_bytes)
            {
                return None;
            }
            let message = self
                .inbox
                .borrow_mut()
                .buffered(bounds.message_words)
                .transpose()?;
            let admitted = message.and_then(|message| self.admit(message));
            if let Some(message) = admitted.transpose() {
                return Some(message);
            }
        }
    }

    /// The message the RPC system is to have for this one, if any now.
    fn admit(&self, message: OwnedSegments) -> Result<Option<Incoming>, Error> {
        let message = match self.take_usual(message)? {
            None => return Ok(None),
            Some((message, true)) => return self.sort_out(inbox::reader(message)),
            Some((message, false)) => inbox::reader(message),
        };
        let verdict = self.ledger.borrow_mut().received(&message, &self.bounds)?;
        self.hear();
        match verdict {
            Verdict::Pass => self.sort_out(message),
            Verdict::Replace(other) => Ok(Some(self.incoming(other))),
            Verdict::Keep => Ok(None),
        }
    }

    /// Deals with what never comes to the RPC system. Else says whether the ledger took note of the message.
    fn take_usual(&self, message: OwnedSegments) -> Result<Option<(OwnedSegments, bool)>, Error> {
        let has_routes = !self.routes.borrow().is_empty();
        if self.calls.is_idle() && !has_routes {
            return Ok(Some((message, false)));
        }
        let Some(head) = Head::of(&message) else {
            return Ok(Some((message, false)));
        };
        let words = message.len() / 8;
        let is_noted = self
            .ledger
            .borrow_mut()
            .received_usual(&head, words, &self.bounds)?;
        // What is said by the way keeps its order.
        if !is_noted {
            return Ok(Some((message, false)));
        }
        self.hear();
        let Some(message) = self.take_plain(&head, message)? else {
            return Ok(None);
        };
        let left = match has_routes {
            true => self.pass_plain(&head, message),
            false => Some(message),
        };
        Ok(left.map(|message| (message, true)))
    }

    fn sort_out(&self, message: Reader<OwnedSegments>) -> Result<Option<Incoming>, Error> {
        if self.calls.is_idle() {
            return self.sort(message);
        }
        match self.look(message)? {
            Fate::Hand(message) => self.sort(message),
            Fate::Taken | Fate::Parked => Ok(None),
        }
    }

    /// The RPC system's, unless it has to wait for calls that were passed on.
    fn sort(&self, message: Reader<OwnedSegments>) -> Result<Option<Incoming>, Error> {
        if self.routes.borrow().is_empty() && self.relayed.borrow().is_empty() {
            return Ok(Some(self.incoming(message)));
        }
        Ok(match self.relay(message)? {
            Fate::Hand(message) => Some(self.incoming(message)),
            Fate::Taken | Fate::Parked => None,
        })
    }

    /// Whether reading has to wait; if so, arranges to be woken.
    fn is_paused(&self, context: &mut Context<'_>) -> bool {
        let bounds = &self.bounds;
        let is_held = self.ledger.borrow().is_full(bounds) || self.outbox.bytes() > bounds.queued_bytes;
        self.reader.borrow_mut().replace(context.waker().clone());
        let is_silenced = !is_held
            && bounds
                .pressure
                .as_ref()
                .is_some_and(|gauge| gauge.poll_below(bounds.queued_bytes, context).is_pending());
        if let Some(pulse) = &bounds.pulse {
            pulse.pause(is_held, is_silenced);
        }
        is_held || is_silenced
    }

    fn wake_reader(&self) {
        let reader = self.reader.borrow_mut().take();
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    fn send(&self, mut message: Builder<HeapAllocator>) -> Rc<Builder<HeapAllocator>> {
        if self.stays(&message) {
            return Rc::new(message);
        }
        self.translate(&mut message);
        observe::sent(&self.this, &message);
        self.send_untranslated(message)
    }

    fn send_untranslated(&self, message: Builder<HeapAllocator>) -> Rc<Builder<HeapAllocator>> {
        if self.ledger.borrow_mut().sent(&message) {
            self.wake_reader();
        }
        self.beat();
        let message = Rc::new(message);
        self.outbox.push(Rc::clone(&message));
        message
    }

    fn hear(&self) {
        if let Some(pulse) = &self.bounds.pulse {
            pulse.hear(self.ledger.borrow().open());
        }
    }

    fn beat(&self) {
        if let Some(pulse) = &self.bounds.pulse {
            pulse.beat(self.ledger.borrow().open());
        }
    }

    /// Sends what is queued, as far as the socket takes it. After a failed write the reader ends the connection.
    fn send_queued(&self, context: &mut Context<'_>) {
        let was_above = self.outbox.bytes() > self.bounds.queued_bytes;
        let was_dead = self.outbox.is_dead();
        if let Some(socket) = self.socket.get() {
            self.outbox.send(socket, context);
        }
        let relieved = was_above && self.outbox.bytes() <= self.bounds.queued_bytes;
        if relieved || self.outbox.is_dead() != was_dead {
            self.wake_reader();
        }
    }

    /// Ready once the connection is closed; then what the socket takes at once has been sent.
    fn poll_closed(&self, context: &mut Context<'_>) -> Poll<()> {
        std::task::ready!(self.outbox.poll_closing(context));
        self.send_queued(context);
        self.outbox.abandon();
        Poll::Ready(())
    }
}

struct Network {
    wire: Rc<Wire>,
    accepted: bool,
    peer: VatSide,
}

impl capnp_rpc::VatNetwork<VatSide> for Network {
    fn connect(&mut self, vat: VatSide) -> Option<Box<dyn capnp_rpc::Connection<VatSide>>> {
        (vat == self.peer).then(|| self.connection())
    }

    fn accept(&mut self) -> Promise<Box<dyn capnp_rpc::Connection<VatSide>>, Error> {
        if std::mem::replace(&mut self.accepted, true) {
            Promise::from_future(std::future::pending())
        } else {
            Promise::ok(self.connection())
        }
    }

    fn drive_until_shutdown(&mut self) -> Promise<(), Error> {
        let wire = Rc::clone(&self.wire);
        Promise::from_future(poll_fn(move |context| wire.poll_closed(context).map(Ok)))
    }
}

impl Network {
    fn connection(&self) -> Box<dyn capnp_rpc::Connection<VatSide>> {
        Box::new(Connection {
            wire: Rc::clone(&self.wire),
            peer: self.peer,
        })
    }
}

struct Connection {
    wire: Rc<Wire>,
    peer: VatSide,
}

impl capnp_rpc::Connection<VatSide> for Connection {
    fn get_peer_vat_id(&self) -> VatSide {
        self.peer
    }

    fn new_outgoing_message(&mut self, words: u32) -> Box<dyn capnp_rpc::OutgoingMessage> {
        let allocator =
            HeapAllocator::new().first_segment_words(words.clamp(*FIRST_WORDS.start(), *FIRST_WORDS.end()));
        Box::new(Outgoing {
            message: Builder::new(allocator),
            wire: Rc::clone(&self.wire),
        })
    }

    fn receive_incoming_message(&mut self) -> Promise<Option<Box<dyn capnp_rpc::IncomingMessage>>, Error> {
        fn boxed(message: Incoming) -> Box<dyn capnp_rpc::IncomingMessage> {
            Box::new(message)
        }
        observe::handled();
        if let Some(message) = self.wire.buffered() {
            return message.map(|message| Some(boxed(message))).into();
        }
        let wire = Rc::clone(&self.wire);
        Promise::from_future(async move {
            let message = poll_fn(|context| wire.poll_receive(context)).await?;
            Ok(message.map(boxed))
        })
    }

    fn shutdown(&mut self, result: capnp::Result<()>) -> Promise<(), Error> {
        if let Err(error) = result {
            self.wire.failure.borrow_mut().get_or_insert(error);
        }
        self.wire.outbox.close();
        self.wire.calls.end();
        self.wire.end_relayed();
        Promise::ok(())
    }
}

struct Incoming {
    message: Reader<OwnedSegments>,
    wire: Weak<Wire>,
    /// The call on its way that this one is.
    stands_in: Option<Rc<Relayed>>,
    number: u64,
    is_begun: Cell<bool>,
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if let Some(relayed) = &self.stands_in {
            relayed.let_go();
        }
    }
}

impl capnp_rpc::IncomingMessage for Incoming {
    fn get_body(&self) -> capnp::Result<capnp::any_pointer::Reader<'_>> {
        observe::read(self);
        self.message.get_root()
    }
}

struct Outgoing {
    message: Builder<HeapAllocator>,
    wire: Rc<Wire>,
}

impl capnp_rpc::OutgoingMessage for Outgoing {
    fn get_body(&mut self) -> capnp::Result<capnp::any_pointer::Builder<'_>> {
        self.message.get_root()
    }

    fn get_body_as_reader(&self) -> capnp::Result<capnp::any_pointer::Reader<'_>> {
        self.message.get_root_as_reader()
    }

    fn send(self: Box<Self>) -> (Promise<(), Error>, Rc<Builder<HeapAllocator>>) {
        let Self { message, wire } = *self;
        (Promise::ok(()), wire.send(message))
    }

    fn take(self: Box<Self>) -> Builder<HeapAllocator> {
        self.message
    }

    fn size_in_words(&self) -> usize {
        self.message.size_in_words()
    }
}
