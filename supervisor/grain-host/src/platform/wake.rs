//! Wake locks: what keeps a grain running that nobody looks at (sheet 3.4, trap 41).

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use capnp::Error;
use percloud_schemas::activity_capnp::ongoing_notification;
use percloud_schemas::util_capnp::handle;

use super::Platform;
use crate::membrane::{Message, Realm};

/// Locks an app may hold at a time. Each is a notification in front of its owner.
const LOCKS: usize = 64;

/// How many wake locks an app holds.
pub(crate) struct WakeLocks {
    held: Cell<usize>,
    realm: Realm,
}

impl WakeLocks {
    pub(super) fn new(realm: &Realm) -> Self {
        Self {
            held: Cell::new(0),
            realm: realm.clone(),
        }
    }

    /// Whether the app wants to go on with nobody using it.
    pub(crate) fn are_held(&self) -> bool {
        self.held.get() > 0
    }

    fn hold(self: &Rc<Self>) -> Result<Held, Error> {
        if self.held.get() >= LOCKS {
            return Err(Error::overloaded(format!(
                "a grain has {LOCKS} wake locks at most"
            )));
        }
        self.held.set(self.held.get() + 1);
        Ok(Held(Rc::clone(self)))
    }
}

/// One held lock. Letting go of the last one is use of the grain, so that it does not die at once.
struct Held(Rc<WakeLocks>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.held.set(self.0.held.get() - 1);
        self.0.realm.touch();
    }
}

impl Platform {
    /// Takes a lock and shows the owner why; `shown` holds the parameters of `SandstormApi.stayAwake`.
    pub(super) async fn stay_awake(&self, shown: &Message, ours: Ours) -> Result<handle::Client, Error> {
        use percloud_schemas::grain_capnp::sandstorm_api::stay_awake_params;
        let lock = Rc::new(Lock {
            held: RefCell::new(Some(self.wake.hold()?)),
            notification: RefCell::new(None),
        });
        let shown = shown
            .get()?
            .get_as::<stay_awake_params::Reader<'_, capnp::any_pointer::Owned>>()?;
        let mut request = self.keeper().stay_awake_request();
        request.get().set_display(shown.get_display_info()?)?;
        request
            .get()
            .set_notification(capnp_rpc::new_client(Notification {
                lock: Rc::downgrade(&lock),
                ours,
                realm: self.realm.clone(),
            }));
        let answer = request.send().promise.await?;
        // Unless the owner was quicker than this answer.
        if lock.held.borrow().is_some() {
            *lock.notification.borrow_mut() = Some(answer.get()?.get_handle()?);
        }
        Ok(capnp_rpc::new_client(LockHandle(lock)))
    }
}

/// The app's `OngoingNotification`, if it gave one.
pub(super) type Ours = Option<ongoing_notification::Client>;

struct Lock {
    held: RefCell<Option<Held>>,
    /// The broker shows the notification for as long as this is held.
    notification: RefCell<Option<handle::Client>>,
}

impl Lock {
    /// Ends the lock; says whether it was held until now.
    fn end(&self) -> bool {
        let notification = self.notification.borrow_mut().take();
        drop(notification);
        self.held.borrow_mut().take().is_some()
    }
}

/// Held by the app. Dropping it ends the lock and takes the notification back.
struct LockHandle(Rc<Lock>);

impl handle::Server for LockHandle {
    async fn ping(self: Rc<Self>, _: handle::PingParams, _: handle::PingResults) -> Result<(), Error> {
        Ok(())
    }
}

impl Drop for LockHandle {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Held by the broker, for as long as it likes: only the app's handle keeps the lock.
struct Notification {
    lock: Weak<Lock>,
    ours: Ours,
    realm: Realm,
}

impl ongoing_notification::Server for Notification {
    async fn cancel(
        self: Rc<Self>,
        _: ongoing_notification::CancelParams,
        _: ongoing_notification::CancelResults,
    ) -> Result<(), Error> {
        let was_held = self.lock.upgrade().is_some_and(|lock| lock.end());
        match &self.ours {
            Some(ours) if was_held => {
                let _in_use = self.realm.work();
                ours.cancel_request().send().promise.await.map(drop)
            }
            _ => Ok(()),
        }
    }
}
