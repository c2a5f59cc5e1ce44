//! Calls made on a wrapper by this process itself.

use std::rc::Rc;

use capnp::any_pointer;
use capnp::capability::{Promise, RemotePromise, Response};
use capnp::private::capability::{ClientHook, PipelineHook, PipelineOp, RequestHook, ResponseHook};
use capnp::{Error, MessageSize};

use super::cap::{CapState, Route};
use super::{Membrane, Message, Side};

/// First words of a request whose size nobody announced.
const WORDS: u32 = 64;

/// A call under construction. Its message is ours until it is sent.
pub(super) struct MembraneRequest {
    cap: Rc<CapState>,
    interface: u64,
    method: u16,
    message: Message,
}

impl MembraneRequest {
    pub(super) fn new(cap: Rc<CapState>, interface: u64, method: u16, size: Option<MessageSize>) -> Self {
        let words = size
            .and_then(|size| u32::try_from(size.word_count).ok())
            .unwrap_or(WORDS);
        Self {
            cap,
            interface,
            method,
            message: Message::new(words),
        }
    }

    /// Makes the same call on the object itself, with the parameters taken across.
    fn cross(mut self) -> capnp::Result<(Rc<CapState>, Box<dyn RequestHook>)> {
        self.message.carry(&self.cap.membrane, self.cap.lives.other());
        let mut request = self.cap.hook.new_call(self.interface, self.method, None);
        request.hook.get().set_as(self.message.get()?)?;
        Ok((self.cap, request.hook))
    }
}

impl RequestHook for MembraneRequest {
    fn get(&mut self) -> any_pointer::Builder<'_> {
        self.message
            .get_mut()
            .expect("the root of a message of our own is there")
    }

    fn get_brand(&self) -> usize {
        0
    }

    fn send(self: Box<Self>) -> RemotePromise<any_pointer::Owned> {
        match self.cap.route(self.interface, self.method) {
            Err(error) => return broken(error),
            Ok(Route::Save) => {
                let cap = self.cap;
                return RemotePromise {
                    promise: Promise::from_future(async move {
                        Ok(Response::new(Box::new(MembraneResponse(cap.save().await?))))
                    }),
                    // An id and a label: there is nothing in them to call.
                    ..broken(Error::failed("an object id is no capability".into()))
                };
            }
            Ok(Route::Through) => {}
        }
        let (cap, request) = match self.cross() {
            Ok(crossed) => crossed,
            Err(error) => return broken(error),
        };
        let RemotePromise { promise, pipeline } = request.send();
        let pipeline = MembranePipeline {
            hook: pipeline.hook,
            membrane: cap.membrane.clone(),
            lives: cap.lives,
        };
        RemotePromise {
            promise: Promise::from_future(async move {
                let answer = promise.await?;
                let carried = cap.membrane.copy_owned(answer.hook.get()?, cap.lives)?;
                Ok(Response::new(Box::new(MembraneResponse(carried))))
            }),
            pipeline: any_pointer::Pipeline::new(Box::new(pipeline)),
        }
    }

    fn send_streaming(self: Box<Self>) -> Promise<(), Error> {
        match self.cap.route(self.interface, self.method) {
            Ok(Route::Through) => {}
            Ok(Route::Save) => return Promise::err(Error::failed("saving is no stream".into())),
            Err(error) => return Promise::err(error),
        }
        match self.cross() {
            Ok((_, request)) => request.send_streaming(),
            Err(error) => Promise::err(error),
        }
    }

    /// Declines: a tail call would let the answer pass the membrane by.
    fn tail_send(self: Box<Self>) -> Option<(u32, Promise<(), Error>, Box<dyn PipelineHook>)> {
        None
    }
}

struct MembraneResponse(Message);

impl ResponseHook for MembraneResponse {
    fn get(&self) -> capnp::Result<any_pointer::Reader<'_>> {
        self.0.get()
    }
}

/// The capabilities of an answer that has not come, wrapped like those of one that has.
struct MembranePipeline {
    hook: Box<dyn PipelineHook>,
    membrane: Membrane,
    lives: Side,
}

impl PipelineHook for MembranePipeline {
    fn add_ref(&self) -> Box<dyn PipelineHook> {
        Box::new(Self {
            hook: self.hook.add_ref(),
            membrane: self.membrane.clone(),
            lives: self.lives,
        })
    }

    fn get_pipelined_cap(&self, ops: &[PipelineOp]) -> Box<dyn ClientHook> {
        self.membrane
            .carry_hook(self.hook.get_pipelined_cap(ops), self.lives)
    }
}

/// What a call that cannot be made returns.
fn broken(error: Error) -> RemotePromise<any_pointer::Owned> {
    let cap = capnp_rpc::new_broken_cap(error.clone());
    RemotePromise {
        promise: Promise::err(error),
        pipeline: any_pointer::Pipeline::new(Box::new(BrokenPipeline(cap.hook))),
    }
}

struct BrokenPipeline(Box<dyn ClientHook>);

impl PipelineHook for BrokenPipeline {
    fn add_ref(&self) -> Box<dyn PipelineHook> {
        Box::new(Self(self.0.add_ref()))
    }

    fn get_pipelined_cap(&self, _ops: &[PipelineOp]) -> Box<dyn ClientHook> {
        self.0.add_ref()
    }
}
