//! The broker towards one session: what its person may hand to the app. Dead once the session has ended.

use std::cell::RefCell;
use std::rc::Rc;

use capnp::Error;
use percloud_core::sharing::permission::PermissionSet;
use percloud_core::sharing::requirement::Requirement;
use percloud_core::sharing::share::Holder;
use percloud_schemas::host_capnp::session_keeper;
use percloud_store::Batch;

use super::told;
use crate::broker::Broker;
use crate::problem::Problem;
use crate::record::{Sealed, Token};
use crate::token::{Reference, TokenText};
use crate::visit::{Door, Visit};

/// One session, as the broker stands behind it.
struct Keeper {
    door: Door,
    /// Ties made in this session; they go with it.
    ties: RefCell<Vec<crate::visit::SessionId>>,
}

impl Broker {
    pub(crate) fn session_keeper(self: &Rc<Self>, visit: &Rc<Visit>) -> session_keeper::Client {
        capnp_rpc::new_client(Keeper {
            door: Door::new(self, visit),
            ties: RefCell::default(),
        })
    }
}

impl Keeper {
    /// The broker and the visit, while that goes on.
    fn alive(&self) -> Result<(Rc<Broker>, &Rc<Visit>), Error> {
        let ended = || Error::disconnected("the session has ended".to_owned());
        let broker = self.door.broker.upgrade().ok_or_else(ended)?;
        if !broker.is_visiting(&self.door.visit.id) {
            return Err(ended());
        }
        Ok((broker, &self.door.visit))
    }

    /// What must stay true for what this person hands over: that they hold the permissions the app asks for.
    fn condition(&self, broker: &Broker, permissions: PermissionSet) -> Result<Requirement, Error> {
        let visit = &self.door.visit;
        let condition = Requirement::PermissionsHeld {
            grain: visit.grain.clone(),
            holder: visit.visitor.holder.clone(),
            permissions,
        };
        if broker.proven(std::slice::from_ref(&condition)) {
            Ok(condition)
        } else {
            Err(Error::failed("the person does not hold the permissions this needs".to_owned()))
        }
    }
}

fn permissions(list: capnp::primitive_list::Reader<'_, bool>) -> Result<PermissionSet, Error> {
    PermissionSet::from_bools(list.iter()).map_err(|error| Error::failed(error.to_string()))
}

impl session_keeper::Server for Keeper {
    async fn claim(
        self: Rc<Self>,
        params: session_keeper::ClaimParams,
        mut results: session_keeper::ClaimResults,
    ) -> Result<(), Error> {
        let (broker, visit) = self.alive()?;
        let params = params.get()?;
        let condition = self.condition(&broker, permissions(params.get_permissions()?)?)?;
        let unknown = || told(Problem::NoReference);
        let text = TokenText::parse(params.get_token()?.to_str()?).ok_or_else(unknown)?;
        let seal = Sealed::Answer(percloud_core::secret::hex(&visit.id));
        let (hash, token) = broker.token(&text, &seal).map_err(told)?;
        // Once: whoever comes second finds nothing, even while the first is still on its way to the disk.
        let mut batch = Batch::new();
        batch.expect_present::<Token>(&hash.0);
        batch.delete::<Token>(&hash.0);
        broker.commit(batch).await.map_err(|_| unknown())?;
        broker
            .revive(&visit.grain, &token, None, vec![condition], results.get().init_restored())
            .await
    }

    async fn tie(
        self: Rc<Self>,
        params: session_keeper::TieParams,
        mut results: session_keeper::TieResults,
    ) -> Result<(), Error> {
        let (broker, visit) = self.alive()?;
        let condition = self.condition(&broker, permissions(params.get()?.get_permissions()?)?)?;
        let reference = Reference {
            holder: visit.grain.clone(),
            provider: None,
            token: None,
            conditions: vec![condition],
        };
        let id = broker.list_reference(reference).map_err(told)?;
        self.ties.borrow_mut().push(id);
        results.get().set_id(&id);
        Ok(())
    }

    async fn close(
        self: Rc<Self>,
        _: session_keeper::CloseParams,
        _: session_keeper::CloseResults,
    ) -> Result<(), Error> {
        let (broker, visit) = self.alive()?;
        let (broker, id) = (broker.clone(), visit.id);
        // The host waits for this answer before it can end the session that asked.
        tokio::task::spawn_local(async move {
            broker.close_pages(|page| page.visit.id == id).await;
        });
        Ok(())
    }

    async fn user_address(
        self: Rc<Self>,
        _: session_keeper::UserAddressParams,
        mut results: session_keeper::UserAddressResults,
    ) -> Result<(), Error> {
        let (broker, visit) = self.alive()?;
        // Nobody has an e-mail address here yet; the name is known all the same.
        let name = match &visit.visitor.holder {
            Holder::Person(person) => broker.name_of(person),
            Holder::Link(_) => None,
        };
        results.get().set_name(name.unwrap_or_default());
        Ok(())
    }
}
