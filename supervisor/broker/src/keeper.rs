//! The broker towards one grain host: what a grain may ask of the platform (`schemas/percloud/host.capnp`).

mod identity;
mod session;
mod shared;

use std::cell::RefCell;
use std::path::Path;
use std::rc::{Rc, Weak};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use capnp::{Error, ErrorKind};
use percloud_core::grain::State;
use percloud_core::id::GrainId;
use percloud_core::secret::Secret;
use percloud_core::sharing::permission::PermissionSet;
use percloud_core::sharing::requirement::{Requirement, TokenHash};
use percloud_schemas::host_capnp::{host_keeper, object_id, restored, seal};

use crate::broker::Broker;
use crate::limits::Limit;
use crate::problem::Problem;
use crate::record::{Referent, Sealed, Token};
use crate::running::{Running, Slot, in_time};
use crate::token::{Reference, TokenText, object};
use crate::visit::SessionId;

pub(crate) use identity::{Identities, Views};

/// Longest object id of an app, in bytes of its message: a token must fit into one record of the store.
const OBJECT_ID: usize = 2048;

/// How a grain ended, in its host's words.
pub(crate) struct End {
    pub reason: String,
    asked: bool,
    limit: Option<Limit>,
}

/// The broker towards one grain host.
pub(crate) struct Keeper {
    pub broker: Weak<Broker>,
    pub grain: GrainId,
    pub slot: Rc<Slot>,
    pub end: RefCell<Option<End>>,
}

/// A problem as the grain host passes it on to its app.
pub(crate) fn told(problem: Problem) -> Error {
    match problem {
        Problem::TooManyAttempts { .. } => Error::overloaded(problem.to_string()),
        _ => Error::failed(problem.to_string()),
    }
}

impl Keeper {
    pub(crate) fn new(broker: &Rc<Broker>, grain: &GrainId, slot: &Rc<Slot>) -> Self {
        Self {
            broker: Rc::downgrade(broker),
            grain: grain.clone(),
            slot: slot.clone(),
            end: RefCell::default(),
        }
    }

    fn broker(&self) -> Result<Rc<Broker>, Error> {
        self.broker
            .upgrade()
            .ok_or_else(|| Error::disconnected("the server stops".to_owned()))
    }

    /// Notes the end of a connection; the grain sleeps from now on.
    pub(crate) fn ended(&self, running: &Weak<Running>, error: Option<Error>) {
        let is_cut_off = error
            .as_ref()
            .is_some_and(|error| error.kind == ErrorKind::Overloaded);
        if let Some(error) = error {
            tracing::warn!(grain = %self.grain, "the connection to a grain host was cut: {error}");
        }
        // A stop already forgot it, or a failed start never had it in place.
        let Some(running) = self.slot.take_if(running) else {
            return;
        };
        if let Some(broker) = self.broker.upgrade() {
            broker.forget_references(&self.grain);
            broker.forget_ongoing(&self.grain);
        }
        // Whatever is left of the host must not outlive its connection, nor meet its successor.
        self.slot.let_end(running);
        let end = self.end.take();
        let failed = end.as_ref().is_none_or(|end| !end.asked);
        let limit = end
            .as_ref()
            .map_or(is_cut_off.then_some(Limit::Calls), |end| end.limit);
        self.slot.limit.set(limit);
        let reason = end.map_or_else(|| "the app ended unexpectedly".to_owned(), |end| end.reason);
        self.slot
            .state
            .set(if failed { State::Failed } else { State::Asleep });
        *self.slot.problem.borrow_mut() = failed.then_some(reason);
        if let Some(broker) = self.broker.upgrade() {
            broker.tell_grain(&self.grain);
            broker.remember_size(&self.grain, &self.slot);
            if let Some(limit) = limit {
                broker.met_limit(&self.grain, limit);
            }
        }
    }

    /// For whom a token is to be made that this grain asks for.
    fn sealed(
        &self,
        broker: &Broker,
        seal: seal::Reader<'_>,
        through: &[u8],
    ) -> Result<(Sealed, Vec<Requirement>, Option<TokenHash>), Error> {
        let sealed = match seal.which()? {
            seal::Grain(id) => Sealed::Grain(id?.to_str()?.parse().map_err(|_| told(Problem::NoReference))?),
            seal::Answer(session) => Sealed::Answer(percloud_core::secret::hex(session?)),
            seal::Platform(()) => Sealed::Job(self.grain.clone()),
            seal::Link(()) => {
                return Err(Error::unimplemented(
                    "links to objects cannot be made yet".to_owned(),
                ));
            }
        };
        if through.is_empty() {
            // The app itself saves: for itself, for the platform, or in answer to a session of its own.
            return match &sealed {
                Sealed::Grain(grain) if *grain != self.grain => Err(told(Problem::NoReference)),
                Sealed::Answer(session) if !broker.has_session(&self.grain, session) => {
                    Err(told(Problem::NoReference))
                }
                _ => Ok((sealed, Vec::new(), None)),
            };
        }
        // Somebody else saves what they reached through one of our references, and perhaps ties within it: it stays bound
        // to the conditions of all of them.
        let unknown = || told(Problem::NoReference);
        let mut conditions = Vec::new();
        let mut through_reference = None;
        for id in through.chunks(16) {
            let id: SessionId = id.try_into().map_err(|_| unknown())?;
            if let Some(reference) = broker.references.borrow().get(&id) {
                if reference.provider.as_ref() == Some(&self.grain) {
                    through_reference = Some((reference.holder.clone(), reference.token));
                } else if reference.holder != self.grain {
                    return Err(unknown());
                }
                conditions.extend(reference.conditions.iter().cloned());
            } else if let Some(visit) = broker
                .visits
                .borrow()
                .get(&id)
                .filter(|visit| visit.grain == self.grain)
            {
                conditions.push(Requirement::PermissionsHeld {
                    grain: self.grain.clone(),
                    holder: visit.visitor.holder.clone(),
                    permissions: PermissionSet::default(),
                });
            } else {
                return Err(unknown());
            }
        }
        let (holder, token) = through_reference.ok_or_else(unknown)?;
        if broker.may_save_for(&holder, &sealed) {
            Ok((sealed, conditions, token))
        } else {
            Err(unknown())
        }
    }
}

/// The object id of an app as text; opaque, bounded.
pub(crate) fn object_text(id: object_id::Reader<'_>) -> Result<String, Error> {
    let mut message = capnp::message::Builder::new_default();
    message.set_root_canonical(id)?;
    let bytes = capnp::serialize::write_message_to_words(&message);
    if bytes.len() > OBJECT_ID {
        return Err(Error::failed(format!(
            "the object's id is {} bytes long; at most {OBJECT_ID} can be kept",
            bytes.len()
        )));
    }
    Ok(STANDARD.encode(bytes))
}

/// Writes an object id that was kept.
pub(crate) fn write_object(text: &str, mut into: object_id::Builder<'_>) -> Result<(), Error> {
    let bytes = STANDARD
        .decode(text)
        .map_err(|_| Error::failed("an object id in the store is damaged".to_owned()))?;
    let message = capnp::serialize::read_message(&bytes[..], capnp::message::ReaderOptions::new())?;
    let id: object_id::Reader<'_> = message.get_root()?;
    into.reborrow().get_id().set_as(id.get_id())?;
    Ok(())
}

/// Writes where something is to be taken, and with which nonce.
pub(crate) fn write_door(door: &Path, nonce: &Secret, into: restored::Builder<'_>) -> Result<(), Error> {
    let path = door.to_str();
    let path = path.ok_or_else(|| Error::failed("the runtime folder's name is not UTF-8".to_owned()))?;
    let mut way = into.init_door();
    way.set_socket_path(path);
    way.set_nonce(nonce.expose());
    Ok(())
}

impl Broker {
    /// Brings a token to life for a grain: lists the reference, and says how the grain's host gets hold of it.
    pub(crate) async fn revive(
        self: &Rc<Self>,
        holder: &GrainId,
        token: &Token,
        hash: Option<TokenHash>,
        mut into: restored::Builder<'_>,
    ) -> Result<(), Error> {
        if let Referent::Object { grain, id } = &token.what
            && grain == holder
        {
            // Its own object: nothing of anybody else's comes alive, so there is nothing to end.
            let mut unlisted = [0; 16];
            (self.outside.random)(&mut unlisted);
            into.set_id(&unlisted);
            return write_object(id, into.init_own());
        }
        let provider = match &token.what {
            Referent::Object { grain, .. } if grain != holder => Some(grain.clone()),
            _ => None,
        };
        let reference = Reference {
            holder: holder.clone(),
            provider: provider.clone(),
            token: hash.or(token.parent),
            what: Some(token.what.clone()),
            conditions: token.requirements.clone(),
        };
        let id = self.list_reference(reference).map_err(told)?;
        into.set_id(&id);
        let outcome = self
            .point_to(&token.what, provider.as_ref(), (&id, holder), into)
            .await;
        let still = self.references.borrow().contains_key(&id);
        if outcome.is_err() || !still {
            self.references.borrow_mut().remove(&id);
        }
        outcome?;
        if still {
            Ok(())
        } else {
            Err(told(Problem::NoReference))
        }
    }

    async fn point_to(
        self: &Rc<Self>,
        what: &Referent,
        provider: Option<&GrainId>,
        (id, holder): (&SessionId, &GrainId),
        into: restored::Builder<'_>,
    ) -> Result<(), Error> {
        match (what, provider) {
            (Referent::Object { id: object, .. }, None) => write_object(object, into.init_own()),
            (Referent::Object { id: object, .. }, Some(provider)) => {
                let running = self.wake(provider).await.map_err(told)?;
                let nonce = self.outside.secret();
                let mut request = running.host.admit_request();
                request.get().set_nonce(nonce.expose());
                let mut admission = request.get().init_session();
                admission.set_session_id(id);
                admission.set_tab_id(&[0; 16]);
                write_object(object, admission.init_object())?;
                in_time(request.send().promise).await?;
                write_door(&running.door, &nonce, into)
            }
            (Referent::View { grain, .. }, _) => {
                let view = self.grain_as_view(grain, *id);
                into.init_cap().set_as_capability(view.hook);
                Ok(())
            }
            (Referent::Website { .. } | Referent::Network { .. } | Referent::Interface, _) => {
                self.point_outside(what, (id, holder), into).await
            }
            (Referent::Identity { account }, _) => {
                let identity = self.identity(account);
                into.init_cap().set_as_capability(identity.client.hook);
                Ok(())
            }
        }
    }

    /// Whether a grain may have something it holds saved for this recipient: itself, or the answer in a session of its own.
    pub(crate) fn may_save_for(&self, holder: &GrainId, seal: &Sealed) -> bool {
        match seal {
            Sealed::Grain(grain) => grain == holder,
            Sealed::Answer(session) => self.has_session(holder, session),
            Sealed::Job(_) | Sealed::Grant(_) => false,
        }
    }

    /// Whether a session of a grain goes on; by its id in hexadecimal.
    pub(crate) fn has_session(&self, grain: &GrainId, session: &str) -> bool {
        let visits = self.visits.borrow();
        let mut own = visits.values().filter(|visit| visit.grain == *grain);
        own.any(|visit| percloud_core::secret::hex(&visit.id) == session)
    }
}

impl host_keeper::Server for Keeper {
    async fn report_size(
        self: Rc<Self>,
        params: host_keeper::ReportSizeParams,
        _: host_keeper::ReportSizeResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        self.slot.size.set(Some(params.get_bytes()));
        self.slot.files.set(Some(params.get_files()));
        self.broker()?.tell_grain(&self.grain);
        Ok(())
    }

    async fn report_exit(
        self: Rc<Self>,
        params: host_keeper::ReportExitParams,
        _: host_keeper::ReportExitResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let reason: String = params.get_reason()?.to_str()?.chars().take(500).collect();
        *self.end.borrow_mut() = Some(End {
            reason,
            asked: params.get_asked(),
            // A newer host's is none we know of.
            limit: params.get_limit().ok().and_then(Limit::read),
        });
        Ok(())
    }

    async fn report_limit(
        self: Rc<Self>,
        params: host_keeper::ReportLimitParams,
        _: host_keeper::ReportLimitResults,
    ) -> Result<(), Error> {
        if let Some(limit) = Limit::read(params.get()?.get_limit()?) {
            self.broker()?.met_limit(&self.grain, limit);
        }
        Ok(())
    }

    async fn save(
        self: Rc<Self>,
        params: host_keeper::SaveParams,
        mut results: host_keeper::SaveResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let broker = self.broker()?;
        let (seal, requirements, parent) = self.sealed(&broker, params.get_seal()?, params.get_through()?)?;
        let token = Token {
            what: object(&self.grain, object_text(params.get_object()?)?),
            seal,
            label: params.get_label()?.get_default_text()?.to_string()?,
            created: broker.outside.now(),
            expires: None,
            requirements,
            parent,
            by: None,
        };
        let _turn = self.slot.commits.one().await;
        let text = broker.make_token(token).await.map_err(told)?;
        results.get().set_token(text.expose().as_bytes());
        Ok(())
    }

    async fn restore(
        self: Rc<Self>,
        params: host_keeper::RestoreParams,
        mut results: host_keeper::RestoreResults,
    ) -> Result<(), Error> {
        let broker = self.broker()?;
        let text =
            TokenText::from_bytes(params.get()?.get_token()?).ok_or_else(|| told(Problem::NoReference))?;
        let (hash, token) = broker
            .token(&text, &Sealed::Grain(self.grain.clone()))
            .map_err(told)?;
        broker
            .revive(&self.grain, &token, Some(hash), results.get().init_restored())
            .await
    }

    async fn drop(
        self: Rc<Self>,
        params: host_keeper::DropParams,
        _: host_keeper::DropResults,
    ) -> Result<(), Error> {
        let broker = self.broker()?;
        match TokenText::from_bytes(params.get()?.get_token()?) {
            Some(text) => {
                let _turn = self.slot.commits.one().await;
                broker.drop_token(&self.grain, &text).await.map_err(told)
            }
            None => Ok(()),
        }
    }

    async fn let_go(
        self: Rc<Self>,
        params: host_keeper::LetGoParams,
        _: host_keeper::LetGoResults,
    ) -> Result<(), Error> {
        let broker = self.broker()?;
        let mut references = broker.references.borrow_mut();
        let (ids, _) = params.get()?.get_references()?.as_chunks::<16>();
        for id in ids {
            if references.get(id).is_some_and(|known| known.holder == self.grain) {
                references.remove(id);
            }
        }
        Ok(())
    }

    async fn identity_id(
        self: Rc<Self>,
        params: host_keeper::IdentityIdParams,
        mut results: host_keeper::IdentityIdResults,
    ) -> Result<(), Error> {
        let broker = self.broker()?;
        let identity = params.get()?.get_identity().get_as_capability()?;
        let account = broker.account_behind(identity).await?;
        results.get().set_id(&broker.identity_id(&account, &self.grain));
        Ok(())
    }

    async fn stay_awake(
        self: Rc<Self>,
        params: host_keeper::StayAwakeParams,
        mut results: host_keeper::StayAwakeResults,
    ) -> Result<(), Error> {
        let broker = self.broker()?;
        let params = params.get()?;
        let caption = params
            .get_display()?
            .get_caption()?
            .get_default_text()?
            .to_string()?;
        let stop = if params.has_notification() {
            Some(params.get_notification()?)
        } else {
            None
        };
        let handle = broker.stay_awake(&self.grain, &caption, stop).map_err(told)?;
        results.get().set_handle(handle);
        Ok(())
    }

    async fn activity(
        self: Rc<Self>,
        params: host_keeper::ActivityParams,
        _: host_keeper::ActivityResults,
    ) -> Result<(), Error> {
        self.broker()?
            .activity(&self.grain, None, params.get()?.get_event()?)
            .await
    }

    async fn schedule(
        self: Rc<Self>,
        params: host_keeper::ScheduleParams,
        _: host_keeper::ScheduleResults,
    ) -> Result<(), Error> {
        let broker = self.broker()?;
        let params = params.get()?;
        let text = TokenText::from_bytes(params.get_token()?).ok_or_else(|| told(Problem::NoReference))?;
        let (hash, token) = broker
            .token(&text, &Sealed::Job(self.grain.clone()))
            .map_err(told)?;
        let Referent::Object { id, .. } = token.what else {
            return Err(told(Problem::NoReference));
        };
        let name = params.get_name()?.get_default_text()?.to_string()?;
        let _turn = self.slot.commits.one().await;
        broker.spend(&hash).await.map_err(told)?;
        broker
            .schedule(&self.grain, id, &name, params.get_job()?)
            .await
            .map_err(told)
    }

    async fn forget(
        self: Rc<Self>,
        params: host_keeper::ForgetParams,
        _: host_keeper::ForgetResults,
    ) -> Result<(), Error> {
        let broker = self.broker()?;
        let gone = object(&self.grain, object_text(params.get()?.get_object()?)?);
        let _turn = self.slot.commits.one().await;
        broker.forget_object(&gone).await.map_err(told)
    }
}
