//! What a session's person may do, followed live (`SessionContext.getSharedPermissions`).

use std::rc::{Rc, Weak};

use capnp::Error;
use percloud_schemas::util_capnp::{assignable, handle};

use crate::broker::Broker;
use crate::visit::Visit;

type Permissions = capnp::primitive_list::Owned<bool>;

struct Getter {
    broker: Weak<Broker>,
    visit: Rc<Visit>,
}

/// Follows what a visit was granted.
pub(super) fn getter(broker: &Rc<Broker>, visit: &Rc<Visit>) -> assignable::getter::Client<Permissions> {
    capnp_rpc::new_client(Getter {
        broker: Rc::downgrade(broker),
        visit: visit.clone(),
    })
}

impl Getter {
    /// What the person may do now; none once the visit is over.
    fn now(&self) -> Vec<bool> {
        let Some(broker) = self.broker.upgrade() else {
            return Vec::new();
        };
        let count = broker.view_of(&self.visit.grain).rules.permissions;
        match broker.access(&self.visit.grain, &self.visit.visitor.holder) {
            Some(access) if broker.is_visiting(&self.visit.id) => {
                access.permissions.to_bools(count).collect()
            }
            _ => vec![false; count],
        }
    }
}

fn fill(mut list: capnp::primitive_list::Builder<'_, bool>, held: &[bool]) {
    for (index, held) in (0..).zip(held) {
        list.set(index, *held);
    }
}

fn length(held: &[bool]) -> u32 {
    u32::try_from(held.len()).unwrap_or(0)
}

impl assignable::getter::Server<Permissions> for Getter {
    async fn get(
        self: Rc<Self>,
        _: assignable::getter::GetParams<Permissions>,
        mut results: assignable::getter::GetResults<Permissions>,
    ) -> Result<(), Error> {
        let held = self.now();
        fill(results.get().initn_value(length(&held)), &held);
        Ok(())
    }

    async fn subscribe(
        self: Rc<Self>,
        params: assignable::getter::SubscribeParams<Permissions>,
        mut results: assignable::getter::SubscribeResults<Permissions>,
    ) -> Result<(), Error> {
        let setter = params.get()?.get_setter()?;
        let broker = self.broker.upgrade();
        let broker = broker.ok_or_else(|| Error::disconnected("the server stops".to_owned()))?;
        let mut changes = broker.time_changed.subscribe();
        drop(broker);
        let getter = self.clone();
        let task = tokio::task::spawn_local(async move {
            let mut told = None;
            loop {
                let held = getter.now();
                if told.as_ref() != Some(&held) {
                    let mut request = setter.set_request();
                    fill(request.get().initn_value(length(&held)), &held);
                    if request.send().promise.await.is_err() {
                        return;
                    }
                    told = Some(held);
                }
                // Every change of sharing is followed by a look at everybody, and that marks this.
                if changes.changed().await.is_err() {
                    return;
                }
            }
        });
        results
            .get()
            .set_handle(capnp_rpc::new_client(Following(task.abort_handle())));
        Ok(())
    }
}

/// Ends a subscription when it is let go.
struct Following(tokio::task::AbortHandle);

impl handle::Server for Following {
    async fn ping(self: Rc<Self>, _: handle::PingParams, _: handle::PingResults) -> Result<(), Error> {
        Ok(())
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.0.abort();
    }
}
