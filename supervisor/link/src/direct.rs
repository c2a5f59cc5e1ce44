//! A capability of a peer on which calls are made past the RPC system, where they can be.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::ops::Deref;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use capnp::any_pointer;
use capnp::capability::{FromClientHook, Promise, RemotePromise, Request, Response};
use capnp::message::{Builder, HeapAllocator, Reader};
use capnp::private::capability::{
    ClientHook, ParamsHook, PipelineHook, PipelineOp, RequestHook, ResponseHook, ResultsHook,
};
use capnp::serialize::OwnedSegments;
use capnp::traits::{ImbueMut, Owned, Pipelined};
use capnp::{Error, MessageSize};
use capnp_rpc::rpc_capnp::{message, return_};

use super::Wire;
use super::calls::{Answer, Line, Waiter};

/// First words of a message whose size nobody announced.
const WORDS: u32 = 128;

/// A capability for calls that need no promises: nothing is pipelined on their answers, and what they carry, one
/// capability at most, is lent for as long as they last. It is dead when an answer has come that brings no capability.
#[derive(Clone)]
pub struct Direct<C> {
    client: C,
    pub(super) object: Rc<Object>,
}

impl<C: FromClientHook> Direct<C> {
    /// The same capability, for such calls.
    #[must_use]
    pub fn new(client: C) -> Self {
        let object = Rc::new(Object {
            hook: client.into_client_hook(),
            line: RefCell::default(),
        });
        Self {
            client: C::new(Box::new(Hook(Rc::clone(&object)))),
            object,
        }
    }
}

impl<C> Deref for Direct<C> {
    type Target = C;

    fn deref(&self) -> &C {
        &self.client
    }
}

/// What the calls are made on.
pub(super) struct Object {
    hook: Box<dyn ClientHook>,
    /// Where they leave, once one of them has been seen to.
    line: RefCell<Option<Line>>,
}

impl Object {
    /// The connection on which a call would leave now, past the RPC system, and what it is for there.
    pub(super) fn open(&self) -> Option<(Rc<Wire>, u32)> {
        let line = self.line.borrow();
        let line = line.as_ref()?;
        let wire = line.wire.upgrade().filter(|wire| wire.outbox.is_open())?;
        Some((wire, line.target))
    }
}

struct Hook(Rc<Object>);

impl ClientHook for Hook {
    fn add_ref(&self) -> Box<dyn ClientHook> {
        Box::new(Self(Rc::clone(&self.0)))
    }

    fn new_call(
        &self,
        interface: u64,
        method: u16,
        size: Option<MessageSize>,
    ) -> Request<any_pointer::Owned, any_pointer::Owned> {
        let object = Rc::clone(&self.0);
        match object.open() {
            Some((wire, target)) => Request::new(Box::new(Draft::new(
                wire,
                target,
                object,
                (interface, method),
                size,
            ))),
            None => Request::new(Box::new(First {
                request: object.hook.new_call(interface, method, size).hook,
                object,
            })),
        }
    }

    fn call(
        &self,
        interface: u64,
        method: u16,
        params: Box<dyn ParamsHook>,
        results: Box<dyn ResultsHook>,
    ) -> Promise<(), Error> {
        self.0.hook.call(interface, method, params, results)
    }

    fn get_brand(&self) -> usize {
        self.0.hook.get_brand()
    }

    fn get_ptr(&self) -> usize {
        self.0.hook.get_ptr()
    }

    fn get_resolved(&self) -> Option<Box<dyn ClientHook>> {
        self.0.hook.get_resolved()
    }

    fn when_more_resolved(&self) -> Option<Promise<Box<dyn ClientHook>, Error>> {
        self.0.hook.when_more_resolved()
    }

    fn when_resolved(&self) -> Promise<(), Error> {
        self.0.hook.when_resolved()
    }
}

/// A call by way of the RPC system, which shows where it leaves.
struct First {
    request: Box<dyn RequestHook>,
    object: Rc<Object>,
}

impl RequestHook for First {
    fn get(&mut self) -> any_pointer::Builder<'_> {
        self.request.get()
    }

    fn get_brand(&self) -> usize {
        self.request.get_brand()
    }

    fn send(self: Box<Self>) -> RemotePromise<any_pointer::Owned> {
        let Self { request, object } = *self;
        let (sent, found) = Line::of(|| request.send());
        let hook = &object.hook;
        let is_settled = hook.get_resolved().is_none() && hook.when_more_resolved().is_none();
        if is_settled && hook.get_brand() != 0 {
            object.line.replace(found);
        }
        sent
    }

    fn send_streaming(self: Box<Self>) -> Promise<(), Error> {
        self.request.send_streaming()
    }

    fn tail_send(self: Box<Self>) -> Option<(u32, Promise<(), Error>, Box<dyn PipelineHook>)> {
        self.request.tail_send()
    }
}

/// A call under construction.
struct Draft {
    wire: Rc<Wire>,
    message: Builder<HeapAllocator>,
    caps: Vec<Option<Box<dyn ClientHook>>>,
    object: Rc<Object>,
    method: (u64, u16),
}

impl Draft {
    fn new(
        wire: Rc<Wire>,
        target: u32,
        object: Rc<Object>,
        method: (u64, u16),
        size: Option<MessageSize>,
    ) -> Self {
        let words = size
            .and_then(|size| u32::try_from(size.word_count + 32).ok())
            .unwrap_or(WORDS);
        let words = words.clamp(*super::FIRST_WORDS.start(), *super::FIRST_WORDS.end());
        let mut message = Builder::new(HeapAllocator::new().first_segment_words(words));
        let mut call = message.init_root::<message::Builder<'_>>().init_call();
        call.set_interface_id(method.0);
        call.set_method_id(method.1);
        call.reborrow().init_target().set_imported_cap(target);
        call.init_params();
        Self {
            wire,
            message,
            caps: Vec::new(),
            object,
            method,
        }
    }

    fn call(&mut self) -> capnp_rpc::rpc_capnp::call::Builder<'_> {
        let root = self.message.get_root::<message::Builder<'_>>();
        match root.map(message::Builder::which) {
            Ok(Ok(message::Call(Ok(call)))) => call,
            _ => unreachable!("a message of our own is what it was made"),
        }
    }

    /// The same call by way of the RPC system.
    fn by_the_system(mut self) -> Box<dyn RequestHook> {
        let hook = &self.object.hook;
        let mut request = hook.new_call(self.method.0, self.method.1, None).hook;
        let params = self.get().into_reader();
        // Both are ours, and there is room.
        let _copied = request.get().set_as(params);
        request
    }

    fn dispatch(mut self) -> Sent {
        Sent::new(
            Rc::clone(&self.wire),
            !self.caps.is_empty(),
            |wire, number, lent| {
                let mut call = self.call();
                call.set_question_id(number);
                if let (Some(lent), Ok(params)) = (lent, call.get_params()) {
                    params.init_cap_table(1).get(0).set_sender_hosted(lent);
                }
                wire.send_call(self.message);
            },
        )
    }
}

impl RequestHook for Draft {
    fn get(&mut self) -> any_pointer::Builder<'_> {
        let root = self.message.get_root::<message::Builder<'_>>();
        let mut content = match root.map(message::Builder::which) {
            Ok(Ok(message::Call(Ok(call)))) => match call.get_params() {
                Ok(params) => params.get_content(),
                Err(_) => unreachable!("a message of our own is what it was made"),
            },
            _ => unreachable!("a message of our own is what it was made"),
        };
        content.imbue_mut(&mut self.caps);
        content
    }

    fn get_brand(&self) -> usize {
        self.object.hook.get_brand()
    }

    fn send(mut self: Box<Self>) -> RemotePromise<any_pointer::Owned> {
        let may_lend = self.caps.is_empty()
            || self.caps.len() == 1 && self.wire.calls.may_lend(self.wire.bounds.capabilities);
        if !may_lend || !self.wire.outbox.is_open() {
            return self.by_the_system().send();
        }
        let (object, method) = (Rc::clone(&self.object), self.method);
        let lent = self.caps.pop().flatten();
        self.caps.extend(lent.as_ref().map(|_| None));
        let sent = self.dispatch();
        RemotePromise {
            promise: sent.answer(object, method, lent),
            pipeline: any_pointer::Pipeline::new(Box::new(NoPipeline)),
        }
    }

    fn send_streaming(self: Box<Self>) -> Promise<(), Error> {
        self.by_the_system().send_streaming()
    }

    fn tail_send(self: Box<Self>) -> Option<(u32, Promise<(), Error>, Box<dyn PipelineHook>)> {
        None
    }
}

pub(super) enum Outcome {
    Answer(Results),
    StandIn(StandIn),
}

/// A call that left. Dropped before it is answered, it is given up.
pub(super) struct Sent {
    wire: Rc<Wire>,
    number: u32,
    waiting: Rc<Waiting>,
}

impl Sent {
    /// Sends what `say` makes of the numbers of a call and of what is lent with it.
    pub(super) fn new(wire: Rc<Wire>, lends: bool, say: impl FnOnce(&Wire, u32, Option<u32>)) -> Self {
        let waiting = Rc::new(Waiting::default());
        let waiter: Rc<Waiting> = Rc::clone(&waiting);
        let (number, lent) = wire.calls.begin(waiter, lends);
        say(&wire, number, lent);
        Self {
            wire,
            number,
            waiting,
        }
    }

    /// The answer. `lent` is what went along, should the call have to be made again by way of the RPC system.
    pub(super) fn answer<Results: Pipelined + Owned + 'static>(
        self,
        object: Rc<Object>,
        method: (u64, u16),
        lent: Option<Box<dyn ClientHook>>,
    ) -> Promise<Response<Results>, Error> {
        Promise::from_future(async move {
            let stand_in = match self.await? {
                Outcome::Answer(answer) => return Ok(Response::new(Box::new(answer))),
                Outcome::StandIn(stand_in) => stand_in,
            };
            let through = stand_in.make(|| {
                let mut request = object.hook.new_call(method.0, method.1, None);
                if let Some(lent) = lent {
                    request.get().set_as_capability(lent);
                }
                request.hook.send().promise
            });
            Ok(Response::new(through.await?.hook))
        })
    }
}

#[derive(Default)]
struct Waiting {
    heard: Cell<Option<Heard>>,
    is_over: Cell<bool>,
    task: Cell<Option<Waker>>,
}

enum Heard {
    Answer(Answer),
    StandInWanted,
}

impl Waiting {
    fn hear(&self, heard: Heard) {
        self.heard.set(Some(heard));
        if let Some(task) = self.task.take() {
            task.wake();
        }
    }
}

impl Waiter for Waiting {
    fn answered(&self, answer: Answer) {
        self.is_over.set(true);
        self.hear(Heard::Answer(answer));
    }

    fn stand_in_wanted(&self) {
        self.hear(Heard::StandInWanted);
    }
}

impl Future for Sent {
    type Output = Result<Outcome, Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let heard = match self.waiting.heard.take() {
            Some(heard) => Poll::Ready(heard),
            None => {
                self.waiting.task.set(Some(context.waker().clone()));
                Poll::Pending
            }
        };
        Poll::Ready(match ready!(heard) {
            Heard::Answer(Answer::Results(message)) => {
                Ok(Outcome::Answer(Results(super::inbox::reader(message))))
            }
            Heard::Answer(Answer::Failed(error)) => Err(error),
            Heard::StandInWanted => {
                self.waiting.is_over.set(true);
                Ok(Outcome::StandIn(StandIn {
                    wire: Rc::clone(&self.wire),
                    number: Some(self.number),
                }))
            }
        })
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        if !self.waiting.is_over.get() {
            self.wire.forget_call(self.number);
        }
    }
}

/// The duty to make a call again by way of the RPC system. Dropped without, the call is given up.
pub(super) struct StandIn {
    wire: Rc<Wire>,
    number: Option<u32>,
}

impl StandIn {
    fn make<T>(mut self, make: impl FnOnce() -> T) -> T {
        match self.number.take() {
            Some(number) => self.wire.stand_in(number, make),
            None => make(),
        }
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.wire.forget_call(number);
        }
    }
}

/// An answer that carries no capability.
pub(super) struct Results(Reader<OwnedSegments>);

impl ResponseHook for Results {
    fn get(&self) -> capnp::Result<any_pointer::Reader<'_>> {
        match self.0.get_root::<message::Reader<'_>>()?.which()? {
            message::Return(answer) => match answer?.which()? {
                return_::Results(results) => Ok(results?.get_content()),
                _ => Err(Error::failed("an answer without results".to_owned())),
            },
            _ => Err(Error::failed("no answer".to_owned())),
        }
    }
}

/// Nothing is pipelined on these calls.
struct NoPipeline;

impl PipelineHook for NoPipeline {
    fn add_ref(&self) -> Box<dyn PipelineHook> {
        Box::new(Self)
    }

    fn get_pipelined_cap(&self, _: &[PipelineOp]) -> Box<dyn ClientHook> {
        let error = Error::failed("this call was made without promises".to_owned());
        capnp_rpc::new_broken_cap(error).hook
    }
}
