//! Makes capabilities last: for the app, and for those outside who hold one of its objects.

use std::rc::Rc;

use capnp::capability::{Client, FromClientHook, Promise};
use capnp::private::capability::{ParamsHook, ResultsHook};
use capnp::{Error, ErrorKind};
use percloud_schemas::persistent_capnp::persistent;
use percloud_schemas::supervisor_capnp::{api_token_owner, system_persistent};
use percloud_schemas::util_capnp::{handle, localized_text};

use super::objects::Saved;
use super::seal::Recipient;
use super::{Platform, TOKEN, bounded, words};
use crate::membrane::{Asked, Id, Membrane, Message, Origin, Question, Saver, Side, carry_error};

impl Platform {
    /// Makes a token of a capability the app passed.
    pub(super) async fn save(
        &self,
        cap: Client,
        recipient: &Recipient,
        label: Option<localized_text::Reader<'_>>,
    ) -> Result<Vec<u8>, Error> {
        let label = label.map(words).transpose()?;
        match self.origin(cap).await? {
            Origin::App { object, ties } => {
                let Saved { object, label: own } = self.object_id(object).await?;
                self.tokenize(&object, recipient, label.unwrap_or(own.get()?.get_as()?), &named(ties)?)
                    .await
            }
            Origin::Outside { is_tied: true, .. } => Err(Error::failed(
                "this capability came from elsewhere and works under conditions of this grain, so it cannot be saved"
                    .to_owned(),
            )),
            Origin::Outside { object, .. } => {
                let object: system_persistent::Client = FromClientHook::new(object);
                self.save_foreign(object, recipient, label).await
            }
        }
    }

    /// Has an object of somebody else saved by whoever it belongs to.
    async fn save_foreign(
        &self,
        object: system_persistent::Client,
        recipient: &Recipient,
        label: Option<localized_text::Reader<'_>>,
    ) -> Result<Vec<u8>, Error> {
        let object: persistent::Client = object.cast_to();
        let mut request = object.save_request();
        let owner = request
            .get()
            .get_seal_for()
            .init_as::<api_token_owner::Builder<'_>>();
        recipient.write_owner(&self.grain, label, owner)?;
        let limit = self.limits.object_timeout;
        let answer = tokio::time::timeout(limit, request.send().promise).await;
        let answer = answer
            .map_err(|_| Error::failed("whoever this capability belongs to does not answer".to_owned()))?
            .map_err(|error| match error.kind {
                ErrorKind::Unimplemented => Error::failed("this capability cannot be saved".to_owned()),
                _ => error,
            })?;
        let token = answer
            .get()?
            .get_sturdy_ref()
            .get_as::<capnp::data::Reader<'_>>()?;
        checked(token)
    }

    /// Has the broker make a token of one of the app's objects.
    async fn tokenize(
        &self,
        object: &Message,
        recipient: &Recipient,
        label: localized_text::Reader<'_>,
        through: &[Id],
    ) -> Result<Vec<u8>, Error> {
        let mut request = self.keeper().save_request();
        {
            let mut call = request.get();
            call.reborrow().init_object().get_id().set_as(object.get()?)?;
            recipient.write(call.reborrow().init_seal());
            call.set_label(label)?;
            call.set_through(&through.concat());
        }
        let answer = request.send().promise.await?;
        checked(answer.get()?.get_token()?)
    }

    /// Answers somebody outside who wants to save an object of the app.
    async fn save_for_others(
        &self,
        asked: Asked,
        params: Box<dyn ParamsHook>,
        mut results: Box<dyn ResultsHook>,
    ) -> Result<(), Error> {
        let Asked { object, through, .. } = asked;
        let params = params.get()?.get_as::<persistent::save_params::Reader<'_>>()?;
        let owner = params.get_seal_for();
        bounded(owner.target_size()?)?;
        if owner.is_null() {
            return Err(Error::failed("whom is this to be saved for?".to_owned()));
        }
        let owner = owner.get_as::<api_token_owner::Reader<'_>>()?;
        let recipient = Recipient::read(owner)?;
        let Origin::App { object, ties } = self.origin(Client::new(object)).await? else {
            return Err(Error::failed(
                "this capability came to the grain from elsewhere; it cannot be saved at third hand"
                    .to_owned(),
            ));
        };
        let Saved { object, label: own } = self.object_id(object).await?;
        let label = match owner.which()? {
            api_token_owner::Which::Grain(grain) if grain.has_save_label() => words(grain.get_save_label()?)?,
            _ => own.get()?.get_as()?,
        };
        let conditions = through.id().into_iter().chain(named(ties)?).collect::<Vec<_>>();
        let token = self.tokenize(&object, &recipient, label, &conditions).await?;
        let mut answer = results.get()?.init_as::<persistent::save_results::Builder<'_>>();
        answer
            .reborrow()
            .get_sturdy_ref()
            .set_as::<capnp::data::Owned>(&token[..])
    }

    /// The same object in a membrane of its own, which dies with the one it was asked through, and earlier if the
    /// observer says so. What is asked to hold is not ours to judge, so nothing is saved under it.
    async fn add_requirements(
        &self,
        asked: Asked,
        params: Box<dyn ParamsHook>,
        mut results: Box<dyn ResultsHook>,
    ) -> Result<(), Error> {
        let Asked { object, through, .. } = asked;
        let params = params
            .get()?
            .get_as::<system_persistent::add_requirements_params::Reader<'_>>()?;
        let (tied, membrane) = self.realm.tie(Client::new(object), None);
        if params.has_observer() {
            let mut request = params.get_observer()?.drop_when_revoked_request();
            request.get().set_handle(capnp_rpc::new_client(Until(membrane)));
            request.send().promise.await?;
        }
        let mut answer = results
            .get()?
            .init_as::<system_persistent::add_requirements_results::Builder<'_>>();
        answer.set_cap(through.carry(tied, Side::Inside).cast_to());
        Ok(())
    }
}

impl Saver for Platform {
    fn answer(
        self: Rc<Self>,
        asked: Asked,
        params: Box<dyn ParamsHook>,
        results: Box<dyn ResultsHook>,
    ) -> Promise<(), Error> {
        Promise::from_future(async move {
            let answer = match asked.question {
                Question::Save => self.save_for_others(asked, params, results).await,
                Question::AddRequirements => self.add_requirements(asked, params, results).await,
            };
            answer.map_err(carry_error)
        })
    }
}

/// Revokes a membrane when nobody holds it any more.
struct Until(Membrane);

impl handle::Server for Until {
    async fn ping(self: Rc<Self>, _: handle::PingParams, _: handle::PingResults) -> Result<(), Error> {
        Ok(())
    }
}

impl Drop for Until {
    fn drop(&mut self) {
        self.0.revoke("a condition of this capability no longer holds");
    }
}

/// The names of ties, as far as all of them have one.
fn named(ties: Vec<Option<Id>>) -> Result<Vec<Id>, Error> {
    let named: Option<Vec<_>> = ties.into_iter().collect();
    named.ok_or_else(|| {
        Error::failed("this capability works under conditions that cannot be saved".to_owned())
    })
}

fn checked(token: &[u8]) -> Result<Vec<u8>, Error> {
    if token.is_empty() || token.len() > TOKEN {
        return Err(Error::failed("what came back is no token".to_owned()));
    }
    Ok(token.to_owned())
}
