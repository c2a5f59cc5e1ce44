//! Where a capability comes from, looked up behind whatever membranes it is wrapped in.
//!
//! For the platform alone: what is found here is the naked object, so it is never handed to anybody but the one it
//! belongs to.

use capnp::Error;
use capnp::capability::FromClientHook;
use capnp::private::capability::ClientHook;
use std::rc::Rc;

use super::cap::{Cap, CapState};
use super::{Id, Membrane, Realm, RealmState, Side, Target};

/// Layers looked behind. Honest apps make two or three.
const LAYERS: usize = 16;

/// What a capability is, behind its wrappers.
pub enum Origin {
    /// An object of the app itself.
    App {
        /// The object, as it comes from the app's connection.
        object: Box<dyn ClientHook>,
        /// The ties it is under ([`Realm::tie`]); one without a name cannot be told to anybody.
        ties: Vec<Option<Id>>,
    },
    /// An object of somebody else.
    Outside {
        /// The object, as it came to this grain.
        object: Box<dyn ClientHook>,
        /// Whether it works under more conditions than those of the one way it came by.
        is_tied: bool,
    },
}

impl Realm {
    /// Says which capabilities are the app's own: those of the connection `hook` comes from.
    pub fn know_app(&self, hook: &dyn ClientHook) {
        self.0.app_brand.set(Some(hook.get_brand()));
    }

    /// What `hook` is, behind the wrappers of this realm.
    ///
    /// # Errors
    /// When one of them is revoked: a dead capability has no origin.
    pub fn origin(&self, mut hook: Box<dyn ClientHook>) -> capnp::Result<Origin> {
        let mut ties = Vec::new();
        let mut borders = 0;
        for _ in 0..LAYERS {
            while let Some(closer) = hook.get_resolved() {
                hook = closer;
            }
            if hook.get_brand() != self.0.brand() {
                let is_app = self.0.app_brand.get() == Some(hook.get_brand());
                return Ok(if is_app {
                    Origin::App { object: hook, ties }
                } else {
                    let is_tied = borders > 1 || !ties.is_empty();
                    Origin::Outside {
                        object: hook,
                        is_tied,
                    }
                });
            }
            let cap = self.0.find(hook.get_ptr());
            let cap = cap.ok_or_else(|| Error::failed("the capability is gone".to_owned()))?;
            if cap.membrane.is_tied {
                ties.push(cap.membrane.id);
            } else if cap.target.lives == Side::Outside {
                borders += 1;
            }
            hook = cap.hook()?;
        }
        Err(Error::failed("the capability is wrapped too often".to_owned()))
    }

    /// Whether `hook` is as the app holds or makes it, rather than as somebody outside does.
    pub fn is_the_apps(&self, hook: &dyn ClientHook) -> bool {
        self.0.is_the_apps(hook)
    }

    /// The same capability for the app to hold, under one more condition: it, and everything obtained through it, is
    /// dead once the returned membrane is revoked. Unlike other wrappers it stays on when it comes home.
    #[must_use]
    pub fn tie<C: FromClientHook>(&self, cap: C, id: Option<Id>) -> (C, Membrane) {
        let membrane = self.new_membrane(id, true);
        let hook = cap.into_client_hook();
        let target = Target {
            brand: hook.get_brand(),
            identity: hook.get_ptr(),
            lives: Side::Inside,
        };
        let tied = Cap(CapState::new(&membrane.0, hook, target));
        (C::new(Box::new(tied)), membrane)
    }
}

impl RealmState {
    pub(super) fn is_the_apps(self: &Rc<Self>, hook: &dyn ClientHook) -> bool {
        if hook.get_brand() == self.brand() {
            let cap = self.find(hook.get_ptr());
            return cap.is_some_and(|cap| cap.membrane.is_tied || cap.target.lives == Side::Outside);
        }
        self.app_brand.get() == Some(hook.get_brand())
    }
}
