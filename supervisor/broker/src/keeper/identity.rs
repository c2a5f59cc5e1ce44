//! Capabilities the broker itself serves: people, and whole grains.

use std::rc::{Rc, Weak};
use std::time::Duration;

use capnp::Error;
use capnp::any_pointer;
use capnp::capability::{Client, FromClientHook};
use capnp_rpc::CapabilityServerSet;
use percloud_core::id::{AccountId, GrainId};
use percloud_schemas::grain_capnp::ui_view;
use percloud_schemas::identity_capnp::{identity, profile};
use percloud_schemas::identity_impl_capnp::persistent_identity;
use percloud_schemas::persistent_capnp::persistent;
use percloud_schemas::persistentuiview_capnp::persistent_ui_view;
use percloud_schemas::supervisor_capnp::{api_token_owner, system_persistent};

use super::told;
use crate::broker::Broker;
use crate::problem::Problem;
use crate::record::{Grain, Package, Referent, Sealed, Token, grain_key};
use crate::token::TokenText;
use crate::visit::SessionId;

/// Every identity handed out: the only way to tell one of ours from an imitation.
pub(crate) type Identities = CapabilityServerSet<Person, persistent_identity::Client>;

/// Every view of a whole grain handed out.
pub(crate) type Views = CapabilityServerSet<View, persistent_ui_view::Client>;

/// How long it may be open what a capability is that somebody passed.
const DECIDED: Duration = Duration::from_secs(30);

/// A person, as apps may know them.
pub(crate) struct Person {
    broker: Weak<Broker>,
    account: AccountId,
}

/// A grain as another one holds it: a view nobody but a person can open.
pub(crate) struct View {
    broker: Weak<Broker>,
    grain: GrainId,
    /// The reference it came with.
    reference: SessionId,
}

/// What a capability that somebody passed is in the end.
///
/// # Errors
///
/// When it is a promise that is not kept in time: whoever made it may never mean to.
async fn decided<C: FromClientHook>(cap: C) -> Result<C, Error> {
    let decided = tokio::time::timeout(DECIDED, capnp::capability::get_resolved_cap(cap)).await;
    decided.map_err(|_| Error::failed("the capability is a promise that was not kept".to_owned()))
}

impl Broker {
    /// The capability for a person.
    pub(crate) fn identity(self: &Rc<Self>, account: &AccountId) -> identity::Client {
        let person = Person {
            broker: Rc::downgrade(self),
            account: account.clone(),
        };
        let mut identities = self.identities.borrow_mut();
        identities.gc();
        let client: persistent_identity::Client = identities.new_client(person);
        client.cast_to()
    }

    /// Whose identity a capability is, if it is one of ours.
    pub(crate) async fn account_behind(&self, identity: Client) -> Result<AccountId, Error> {
        let identity = persistent_identity::Client::new(identity.hook);
        let resolved = decided(identity).await?;
        let identities = self.identities.borrow();
        let person = identities.get_local_server_of_resolved(&resolved);
        person
            .map(|person| person.account.clone())
            .ok_or_else(|| Error::failed("this is not an identity of this server".to_owned()))
    }

    /// Which grain a view is of, if it is one of ours.
    pub(crate) async fn grain_behind(&self, view: ui_view::Client) -> Result<GrainId, Error> {
        let view = persistent_ui_view::Client::new(view.into_client_hook());
        let resolved = decided(view).await?;
        let views = self.handed_views.borrow();
        let view = views.get_local_server_of_resolved(&resolved);
        view.filter(|view| self.references.borrow().contains_key(&view.reference))
            .map(|view| view.grain.clone())
            .ok_or_else(|| Error::failed("this is not a grain of this server".to_owned()))
    }

    /// The capability for a whole grain.
    pub(crate) fn grain_as_view(self: &Rc<Self>, grain: &GrainId, reference: SessionId) -> Client {
        let mut views = self.handed_views.borrow_mut();
        views.gc();
        let view: persistent_ui_view::Client = views.new_client(View {
            broker: Rc::downgrade(self),
            grain: grain.clone(),
            reference,
        });
        Client::new(view.into_client_hook())
    }

    /// Makes a token of what a live reference leads to, for who holds it. It stays bound to the same conditions.
    pub(crate) async fn save_reference(
        &self,
        id: &SessionId,
        owner: any_pointer::Reader<'_>,
    ) -> Result<TokenText, Error> {
        let unknown = || told(Problem::NoReference);
        let (seal, label) = sealed(owner)?;
        let reference = self.references.borrow().get(id).cloned().ok_or_else(unknown)?;
        let fits = self.may_save_for(&reference.holder, &seal);
        let what = reference.what.filter(|_| fits).ok_or_else(unknown)?;
        let token = Token {
            what,
            seal,
            label,
            created: self.outside.now(),
            expires: None,
            requirements: reference.conditions,
            parent: reference.token,
            by: None,
        };
        let slot = self.slot(&reference.holder);
        let _turn = slot.commits.one().await;
        self.make_token(token).await.map_err(told)
    }
}

/// For whom something of the broker's own is saved.
fn sealed(owner: any_pointer::Reader<'_>) -> Result<(Sealed, String), Error> {
    let owner: api_token_owner::Reader<'_> = owner.get_as()?;
    match owner.which()? {
        api_token_owner::Grain(grain) => {
            let id = grain.get_grain_id()?.to_str()?.parse();
            let label = grain.get_save_label()?.get_default_text()?.to_string()?;
            Ok((Sealed::Grain(id.map_err(|_| told(Problem::NoReference))?), label))
        }
        api_token_owner::ClientPowerboxRequest(request) => Ok((
            Sealed::Answer(request.get_session_id()?.to_string()?),
            String::new(),
        )),
        api_token_owner::ClientPowerboxOffer(offer) => Ok((
            Sealed::Answer(offer.get_session_id()?.to_string()?),
            String::new(),
        )),
        _ => Err(Error::failed("this can be saved for a grain only".to_owned())),
    }
}

fn write_token(text: &TokenText, mut results: persistent::SaveResults) -> Result<(), Error> {
    results
        .get()
        .get_sturdy_ref()
        .set_as::<capnp::data::Owned>(text.expose().as_bytes())
}

fn write_profile(mut profile: profile::Builder<'_>, name: &str, handle: &str) {
    profile.reborrow().init_display_name().set_default_text(name);
    profile.set_preferred_handle(handle);
}

impl identity::Server for Person {
    async fn get_profile(
        self: Rc<Self>,
        _: identity::GetProfileParams,
        mut results: identity::GetProfileResults,
    ) -> Result<(), Error> {
        let broker = upgrade(&self.broker)?;
        let accounts = broker.accounts.borrow();
        let account = accounts
            .get(&self.account)
            .ok_or_else(|| told(Problem::NotFound))?;
        write_profile(results.get().init_profile(), &account.name, &account.handle);
        Ok(())
    }
}

impl persistent::Server for Person {
    async fn save(
        self: Rc<Self>,
        params: persistent::SaveParams,
        results: persistent::SaveResults,
    ) -> Result<(), Error> {
        let broker = upgrade(&self.broker)?;
        let (seal, label) = sealed(params.get()?.get_seal_for())?;
        let token = Token {
            what: Referent::Identity {
                account: self.account.clone(),
            },
            seal,
            label,
            created: broker.outside.now(),
            expires: None,
            requirements: Vec::new(),
            parent: None,
            by: None,
        };
        let text = {
            let _turn = broker.identity_saves.one().await;
            broker.make_token(token).await.map_err(told)?
        };
        write_token(&text, results)
    }
}

impl system_persistent::Server for Person {}
impl persistent_identity::Server for Person {}

impl Drop for View {
    fn drop(&mut self) {
        if let Some(broker) = self.broker.upgrade() {
            broker.references.borrow_mut().remove(&self.reference);
        }
    }
}

impl ui_view::Server for View {
    async fn get_view_info(
        self: Rc<Self>,
        _: ui_view::GetViewInfoParams,
        mut results: ui_view::GetViewInfoResults,
    ) -> Result<(), Error> {
        let broker = upgrade(&self.broker)?;
        if !broker.references.borrow().contains_key(&self.reference) {
            return Err(told(Problem::NoReference));
        }
        let grain: Option<Grain> = broker.read(grain_key(&self.grain)).map_err(told)?;
        let grain = grain.ok_or_else(|| told(Problem::NotFound))?;
        let package: Option<Package> = broker.read(grain.package_id.as_bytes()).ok().flatten();
        let view = broker.view_of(&self.grain);
        let length = |count: usize| u32::try_from(count).unwrap_or(0);
        let mut info = results.get();
        let mut permissions = info.reborrow().init_permissions(length(view.permissions.len()));
        for (index, name) in (0..).zip(&view.permissions) {
            permissions.reborrow().get(index).set_name(name);
        }
        let mut roles = info.reborrow().init_roles(length(view.roles.len()));
        for (index, (text, role)) in (0..).zip(view.roles.iter().zip(&view.rules.roles)) {
            let mut written = roles.reborrow().get(index);
            written.reborrow().init_title().set_default_text(&text.title);
            written.reborrow().init_verb_phrase().set_default_text(&text.verb);
            written
                .reborrow()
                .init_description()
                .set_default_text(&text.description);
            written.set_default(role.is_default);
            written.set_obsolete(text.obsolete);
            let count = view.rules.permissions;
            let mut held = written.init_permissions(length(count));
            for (index, holds) in (0..).zip(role.permissions.to_bools(count)) {
                held.set(index, holds);
            }
        }
        info.init_app_title()
            .set_default_text(package.map_or(String::new(), |package| package.title));
        Ok(())
    }
}

impl persistent::Server for View {
    async fn save(
        self: Rc<Self>,
        params: persistent::SaveParams,
        results: persistent::SaveResults,
    ) -> Result<(), Error> {
        let broker = upgrade(&self.broker)?;
        let owner = params.get()?.get_seal_for();
        let text = broker.save_reference(&self.reference, owner).await?;
        write_token(&text, results)
    }
}

impl system_persistent::Server for View {}
impl persistent_ui_view::Server for View {}

fn upgrade(broker: &Weak<Broker>) -> Result<Rc<Broker>, Error> {
    broker
        .upgrade()
        .ok_or_else(|| Error::disconnected("the server stops".to_owned()))
}
