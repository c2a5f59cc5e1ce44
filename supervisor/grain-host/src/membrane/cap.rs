//! A capability as the other side sees it.

use std::cell::RefCell;
use std::rc::Rc;

use capnp::MessageSize;
use capnp::any_pointer;
use capnp::capability::{Promise, Request};
use capnp::private::capability::{ClientHook, ParamsHook, ResultsHook};
use capnp::traits::HasTypeId;
use percloud_link::{Arrival, Line};
use percloud_schemas::{grain_capnp, persistent_capnp, supervisor_capnp};

use super::request::MembraneRequest;
use super::{MembraneState, Side, Target};

/// Holds a wrapper: what the RPC system passes around.
pub(super) struct Cap(pub(super) Rc<CapState>);

/// A wrapper: the only way from one side to an object on the other.
pub(super) struct CapState {
    pub(super) membrane: Rc<MembraneState>,
    pub(super) target: Target,
    /// Gone once the membrane is revoked.
    hook: RefCell<Option<Box<dyn ClientHook>>>,
    /// Where the realm lists this wrapper.
    place: usize,
}

impl CapState {
    /// Wraps `hook` and lists it with its membrane and realm.
    pub(super) fn new(membrane: &Rc<MembraneState>, hook: Box<dyn ClientHook>, target: Target) -> Rc<Self> {
        let revoked = membrane.revoked.borrow().is_some();
        Rc::new_cyclic(|this| {
            let place = membrane.realm.caps.borrow_mut().insert(this.clone());
            if !revoked {
                membrane.caps.borrow_mut().insert(target, this.clone());
            }
            let hook = RefCell::new((!revoked).then_some(hook));
            Self {
                membrane: Rc::clone(membrane),
                target,
                hook,
                place,
            }
        })
    }

    /// The object itself, or why it is out of reach.
    pub(super) fn hook(&self) -> capnp::Result<Box<dyn ClientHook>> {
        if let Some(error) = self.membrane.revoked.borrow().as_ref() {
            return Err(error.clone());
        }
        let hook = self.hook.borrow();
        let hook = hook.as_ref().expect("only revocation takes the hook");
        Ok(hook.add_ref())
    }

    /// Drops the object; called when the membrane is revoked.
    pub(super) fn let_go(&self) {
        let hook = self.hook.borrow_mut().take();
        drop(hook);
    }

    /// The object, if this call may reach it. Notes that the app is in use.
    pub(super) fn admit(&self, interface: u64) -> capnp::Result<Box<dyn ClientHook>> {
        let hook = self.hook()?;
        refuse_reserved(interface, self.target.lives)?;
        if self.target.lives == Side::Inside {
            let realm = &self.membrane.realm;
            if realm.is_overloaded() {
                return Err(capnp::Error::overloaded(
                    "the app takes in less than it is asked".to_owned(),
                ));
            }
            realm.touch();
        }
        Ok(hook)
    }

    /// Copies a message written by this wrapper's holder to the object's side.
    pub(super) fn copy_in(
        &self,
        source: any_pointer::Reader<'_>,
        target: any_pointer::Builder<'_>,
    ) -> capnp::Result<()> {
        self.membrane.copy(source, target, self.target.lives.other())
    }
}

impl Drop for CapState {
    fn drop(&mut self) {
        self.membrane.realm.caps.borrow_mut().remove(self.place);
        let mut caps = self.membrane.caps.borrow_mut();
        // Another wrapper of the same object may have taken the place while this one died.
        if caps
            .get(&self.target)
            .is_some_and(|known| known.strong_count() == 0)
        {
            caps.remove(&self.target);
        }
    }
}

/// Methods that never cross (sheet 3.1): the platform alone restores, drops and saves an app's objects.
///
/// Saving from outside over a connection does not come here: the platform answers it (see [`super::saving`]).
fn refuse_reserved(interface: u64, lives: Side) -> capnp::Result<()> {
    type Any = any_pointer::Owned;
    const MAIN_VIEW: u64 = grain_capnp::main_view::Client::<Any>::TYPE_ID;
    const APP_PERSISTENT: u64 = grain_capnp::app_persistent::Client::<Any>::TYPE_ID;
    const PERSISTENT: u64 = persistent_capnp::persistent::Client::TYPE_ID;
    const SYSTEM_PERSISTENT: u64 = supervisor_capnp::system_persistent::Client::TYPE_ID;
    match (interface, lives) {
        (MAIN_VIEW, Side::Inside) | (APP_PERSISTENT | PERSISTENT | SYSTEM_PERSISTENT, Side::Inside) => Err(
            capnp::Error::unimplemented("this method is not for callers outside the grain".to_owned()),
        ),
        (APP_PERSISTENT, Side::Outside) => Err(capnp::Error::unimplemented(
            "only an app's own objects have an object id".to_owned(),
        )),
        (PERSISTENT | SYSTEM_PERSISTENT, Side::Outside) => Err(capnp::Error::failed(
            "an app saves a capability with SandstormApi.save".to_owned(),
        )),
        _ => Ok(()),
    }
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
        Request::new(Box::new(MembraneRequest::new(
            Rc::clone(&self.0),
            interface,
            method,
            size,
        )))
    }

    fn call(
        &self,
        interface: u64,
        method: u16,
        params: Box<dyn ParamsHook>,
        mut results: Box<dyn ResultsHook>,
    ) -> Promise<(), capnp::Error> {
        let cap = Rc::clone(&self.0);
        if let Some(question) = cap.question(interface, method) {
            return cap.ask_saver(question, params, results);
        }
        // Everything up to `send` happens now, so that calls leave in the order they came.
        let begun = cap.admit(interface).and_then(|hook| {
            let mut request = hook.new_call(interface, method, None);
            let (source, arrival) = Arrival::of(|| params.get());
            cap.copy_in(source?, request.hook.get())?;
            Ok((hook, request, arrival))
        });
        let (hook, request, arrival) = match begun {
            Err(error) => return Promise::err(error),
            Ok(begun) => begun,
        };
        let (sent, line) = Line::of(|| match &arrival {
            Some(arrival) => arrival.lead_on(|| request.hook.send()),
            None => request.hook.send(),
        });
        drop(params);
        if let (Some(arrival), Some(line)) = (arrival, line) {
            cap.learn(hook.as_ref(), &arrival, line);
        }
        let answer = sent.promise;
        let lives = cap.target.lives;
        let membrane = Rc::clone(&cap.membrane);
        Promise::from_future(cap.membrane.guard(lives, async move {
            let answer = answer.await?;
            membrane.copy(answer.hook.get()?, results.get()?, lives)
        }))
    }

    fn get_brand(&self) -> usize {
        self.0.membrane.realm.brand()
    }

    /// An odd number: hooks of other kinds answer with an address, which is even.
    fn get_ptr(&self) -> usize {
        self.0.place << 1 | 1
    }

    fn get_resolved(&self) -> Option<Box<dyn ClientHook>> {
        let closer = self.0.hook().ok()?.get_resolved()?;
        Some(self.0.membrane.carry(closer, self.0.target.lives))
    }

    fn when_more_resolved(&self) -> Option<Promise<Box<dyn ClientHook>, capnp::Error>> {
        let hook = match self.0.hook() {
            Ok(hook) => hook,
            Err(error) => return Some(Promise::err(error)),
        };
        // A promise of capnp-rpc that has resolved already would keep us waiting for ever.
        if let Some(closer) = self.get_resolved() {
            return Some(Promise::ok(closer));
        }
        let closer = hook.when_more_resolved()?;
        let (membrane, lives) = (Rc::clone(&self.0.membrane), self.0.target.lives);
        // Waiting for a promise is no use of the app, so it must not keep it awake.
        Some(Promise::from_future(self.0.membrane.guard(
            Side::Outside,
            async move {
                let closer = closer.await?;
                Ok(membrane.carry(closer, lives))
            },
        )))
    }

    fn when_resolved(&self) -> Promise<(), capnp::Error> {
        match self.when_more_resolved() {
            None => Promise::ok(()),
            Some(closer) => Promise::from_future(async move { closer.await?.when_resolved().await }),
        }
    }
}
