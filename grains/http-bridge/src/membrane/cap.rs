//! A capability as the other side sees it.

use std::rc::Rc;

use capnp::MessageSize;
use capnp::any_pointer;
use capnp::capability::{FromClientHook, Promise, Request};
use capnp::private::capability::{ClientHook, ParamsHook, ResultsHook};
use capnp::traits::HasTypeId;
use percloud_schemas::grain_capnp::app_persistent;
use percloud_schemas::sandstorm_http_bridge_internal_capnp::bridge_object_id;

use super::request::MembraneRequest;
use super::{Membrane, Message, Side};

type AppPersistent = app_persistent::Client<any_pointer::Owned>;

/// Holds a wrapper: what the RPC system passes around.
pub(super) struct Cap(pub(super) Rc<CapState>);

/// A wrapper: the only way from one side to an object on the other.
pub(super) struct CapState {
    pub(super) membrane: Membrane,
    pub(super) lives: Side,
    pub(super) hook: Box<dyn ClientHook>,
}

impl CapState {
    /// Wraps `hook` and lists it with its membrane.
    pub(super) fn new(membrane: &Membrane, hook: Box<dyn ClientHook>, lives: Side) -> Rc<Self> {
        let this = Rc::new(Self {
            membrane: membrane.clone(),
            lives,
            hook,
        });
        let address = Rc::as_ptr(&this) as usize;
        membrane
            .0
            .wrappers
            .borrow_mut()
            .insert(address, Rc::downgrade(&this));
        this
    }

    /// Returns what a call of this method becomes.
    pub(super) fn route(&self, interface: u64, method: u16) -> capnp::Result<Route> {
        match (interface == AppPersistent::TYPE_ID, self.lives, method) {
            (false, _, _) => Ok(Route::Through),
            (true, Side::App, 0) => Ok(Route::Save),
            (true, _, _) => Err(capnp::Error::unimplemented(
                "only an app's own objects have an object id".into(),
            )),
        }
    }

    /// Asks the app's object for its id and puts that into one of the bridge's.
    pub(super) async fn save(self: Rc<Self>) -> capnp::Result<Message> {
        let object = AppPersistent::new(self.hook.add_ref());
        let answer = object.save_request().send().promise.await?;
        let answer = answer.get()?;
        let mut message = Message::new(64);
        let mut results = message
            .get_mut()?
            .init_as::<app_persistent::save_results::Builder<'_, bridge_object_id::Owned>>();
        results.set_label(answer.get_label()?)?;
        results
            .init_object_id()
            .init_application()
            .set_as(answer.get_object_id()?)?;
        message.carry(&self.membrane, self.lives);
        Ok(message)
    }
}

impl Drop for CapState {
    fn drop(&mut self) {
        let address = std::ptr::from_ref(self) as usize;
        self.membrane.0.wrappers.borrow_mut().remove(&address);
    }
}

/// What becomes of a call.
pub(super) enum Route {
    /// It goes on to the object.
    Through,
    /// It is answered by [`CapState::save`].
    Save,
}

impl ClientHook for Cap {
    fn add_ref(&self) -> Box<dyn ClientHook> {
        Box::new(Self(Rc::clone(&self.0)))
    }

    /// Only callers in this process come this way; what arrives on a connection takes [`Cap::call`].
    fn new_call(
        &self,
        interface: u64,
        method: u16,
        size: Option<MessageSize>,
    ) -> Request<any_pointer::Owned, any_pointer::Owned> {
        let cap = Rc::clone(&self.0);
        Request::new(Box::new(MembraneRequest::new(cap, interface, method, size)))
    }

    fn call(
        &self,
        interface: u64,
        method: u16,
        params: Box<dyn ParamsHook>,
        mut results: Box<dyn ResultsHook>,
    ) -> Promise<(), capnp::Error> {
        let cap = Rc::clone(&self.0);
        match cap.route(interface, method) {
            Err(error) => return Promise::err(error),
            Ok(Route::Save) => {
                return Promise::from_future(async move {
                    let saved = cap.save().await?;
                    results.get()?.set_as(saved.get()?)
                });
            }
            Ok(Route::Through) => {}
        }
        // Everything up to `send` happens now, so that calls leave in the order they came.
        let mut request = cap.hook.new_call(interface, method, None);
        let copied = params
            .get()
            .and_then(|params| cap.membrane.copy(params, request.hook.get(), cap.lives.other()));
        drop(params);
        if let Err(error) = copied {
            return Promise::err(error);
        }
        let answer = request.hook.send().promise;
        Promise::from_future(async move {
            let answer = answer.await?;
            cap.membrane.copy(answer.hook.get()?, results.get()?, cap.lives)
        })
    }

    fn get_brand(&self) -> usize {
        self.0.membrane.brand()
    }

    fn get_ptr(&self) -> usize {
        Rc::as_ptr(&self.0) as usize
    }

    fn get_resolved(&self) -> Option<Box<dyn ClientHook>> {
        let closer = self.0.hook.get_resolved()?;
        Some(self.0.membrane.carry_hook(closer, self.0.lives))
    }

    fn when_more_resolved(&self) -> Option<Promise<Box<dyn ClientHook>, capnp::Error>> {
        // A promise of capnp-rpc that has resolved already would keep us waiting for ever.
        if let Some(closer) = self.get_resolved() {
            return Some(Promise::ok(closer));
        }
        let closer = self.0.hook.when_more_resolved()?;
        let (membrane, lives) = (self.0.membrane.clone(), self.0.lives);
        Some(Promise::from_future(async move {
            Ok(membrane.carry_hook(closer.await?, lives))
        }))
    }

    fn when_resolved(&self) -> Promise<(), capnp::Error> {
        match self.when_more_resolved() {
            None => Promise::ok(()),
            Some(closer) => Promise::from_future(async move { closer.await?.when_resolved().await }),
        }
    }
}
