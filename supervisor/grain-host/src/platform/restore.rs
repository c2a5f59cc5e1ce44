//! Brings capabilities to life that the broker vouches for, each in a membrane of its own.

use std::future::Future;
use std::path::Path;

use capnp::Error;
use capnp::capability::Client;
use percloud_schemas::host_capnp::restored;

use super::objects::plain;
use super::{Platform, TOKEN};
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
        let expectation = self.references.expect(self.limits.references);
        let gone = self.references.take_gone();
        if !gone.is_empty() {
            let mut request = self.keeper().let_go_request();
            request.get().set_references(&gone.concat());
            // The broker counts what is alive; it loses nothing by hearing of this late.
            let told = request.send().promise;
            tokio::task::spawn_local(async move { drop(told.await) });
        }
        expectation
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
                let path = Path::new(door.get_socket_path()?.to_str()?);
                let taken = self.neighbours.take(path, door.get_nonce()?).await;
                let (cap, connection) = taken.map_err(|error| Error {
                    extra: format!(
                        "the grain that has this object did not give it: {}",
                        plain(&error)
                    ),
                    ..error
                })?;
                let cap = membrane.carry(cap, Side::Outside);
                membrane.keep(connection);
                Ok(cap)
            }
        }
    }
}
