//! Brings capabilities to life that the broker vouches for, each in a membrane of its own.

use std::cell::Cell;
use std::future::Future;
use std::path::Path;
use std::rc::Rc;

use capnp::capability::{Client, FromClientHook};
use capnp::{Error, any_pointer};
use capnp_rpc::rpc_twoparty_capnp::Side as VatSide;
use percloud_schemas::host_capnp::{grain_door, restored};
use tokio::net::UnixStream;
use tokio::task::spawn_local;

use super::objects::plain;
use super::{Platform, TOKEN};
use crate::crowd::Peer;
use crate::link::Link;
use crate::membrane::{Id, Side};
use crate::references::Expectation;

/// What calls on a reference fail with once it is ended.
const REVOKED: &str = "this capability was revoked";

impl Platform {
    /// What a token of this grain stands for.
    pub(super) async fn restore(&self, token: &[u8]) -> Result<Client, Error> {
        if token.len() > TOKEN {
            return Err(Error::failed("this is no token".to_owned()));
        }
        self.within_limit(async {
            let expectation = self.expect()?;
            let mut request = self.keeper().restore_request();
            request.get().set_token(token);
            let answer = request.send().promise.await?;
            self.bring(expectation, answer.get()?.get_restored()?).await
        })
        .await
    }

    /// A capability for the app of what the broker answered.
    pub(super) async fn revive(
        &self,
        expectation: Expectation,
        restored: restored::Reader<'_>,
    ) -> Result<Client, Error> {
        self.within_limit(self.bring(expectation, restored)).await
    }

    async fn within_limit(&self, work: impl Future<Output = Result<Client, Error>>) -> Result<Client, Error> {
        let limit = self.limits.object_timeout;
        tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
            let seconds = limit.as_secs();
            Err(Error::failed(format!(
                "nothing was brought back within {seconds} seconds"
            )))
        })
    }

    /// To be called before the broker is asked for a reference.
    pub(super) fn expect(&self) -> Result<Expectation, Error> {
        self.references.expect(self.limits.references)
    }

    async fn bring(&self, expectation: Expectation, restored: restored::Reader<'_>) -> Result<Client, Error> {
        use restored::Which;
        let id: Id = restored
            .get_id()?
            .try_into()
            .map_err(|_| Error::failed("the id of a reference has 16 bytes".to_owned()))?;
        match restored.which()? {
            Which::Cap(cap) => {
                let membrane = self.realm.membrane_of(id);
                let cap = membrane.carry(cap.get_as_capability::<Client>()?, Side::Outside);
                expectation.list(id, &membrane, REVOKED);
                Ok(cap)
            }
            // Plain, so that the app knows it; what the app has anyway cannot be taken from it.
            Which::Own(object) => self.find(object?).await,
            Which::Door(door) => {
                let membrane = self.realm.membrane_of(id);
                // Listed first: the reference may be ended while the other grain is still looking for the object.
                expectation.list(id, &membrane, REVOKED);
                let neighbour = Neighbour::counted(&self.neighbours, self.limits.neighbours)?;
                let path = door.get_socket_path()?.to_str()?;
                let (cap, connection) = self.take(Path::new(path), door.get_nonce()?, neighbour).await?;
                let cap = membrane.carry(cap, Side::Outside);
                membrane.keep(connection);
                Ok(cap)
            }
        }
    }

    /// Fetches an object of another grain from its host.
    async fn take(
        &self,
        socket: &Path,
        nonce: &[u8],
        neighbour: Neighbour,
    ) -> Result<(Client, Rc<Peer>), Error> {
        let failed = |what: &str, cause: String| {
            Error::failed(format!("the grain that has this object {what}: {cause}"))
        };
        let stream = UnixStream::connect(socket).await;
        let joined = stream.and_then(|stream| Ok((self.crowd.join(&stream)?, stream)));
        let (connection, stream) = joined.map_err(|error| failed("cannot be reached", error.to_string()))?;
        let bounds = crate::link::bounds(&self.limits, connection.gauge(), None);
        let mut link = Link::new(stream, VatSide::Client, bounds, None);
        let door: grain_door::Client = link.bootstrap();
        spawn_local(async move {
            let _neighbour = neighbour;
            // Who holds a capability that came by it hears of the end from the capability.
            let _ended = link.run().await;
        });
        let mut request = door.take_request();
        request.get().set_nonce(nonce);
        let answer = request.send().promise.await;
        let answer = answer.map_err(|error| Error {
            kind: error.kind,
            ..failed("did not give it", plain(&error))
        })?;
        let cap: any_pointer::Reader<'_> = answer.get()?.get_cap();
        Ok((
            FromClientHook::new(cap.get_as_capability::<Client>()?.hook),
            connection,
        ))
    }
}

/// One of so many connections to other hosts, as long as it lasts.
struct Neighbour(Rc<Cell<usize>>);

impl Neighbour {
    fn counted(count: &Rc<Cell<usize>>, most: usize) -> Result<Self, Error> {
        if count.get() >= most {
            return Err(Error::overloaded(format!(
                "this grain holds objects of {most} others already"
            )));
        }
        count.set(count.get() + 1);
        Ok(Self(Rc::clone(count)))
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}
