//! Objects of the played broker's own: people, views, links, notifications.

use std::cell::Cell;
use std::rc::{Rc, Weak};

use capnp::{Error, primitive_list};
use percloud_schemas::grain_capnp::{sharing_link, ui_view, view_sharing_link};
use percloud_schemas::identity_capnp::identity;
use percloud_schemas::identity_impl_capnp::persistent_identity;
use percloud_schemas::persistent_capnp::persistent;
use percloud_schemas::persistentuiview_capnp::persistent_ui_view;
use percloud_schemas::supervisor_capnp::{api_token_owner, system_persistent};
use percloud_schemas::util_capnp::{assignable, handle};

use super::{Broker, Record, Seal, Thing};
use crate::membrane::Id;

/// A person, or a view of a grain called so: the broker's own objects.
pub(super) struct Person {
    pub(super) broker: Weak<Broker>,
    pub(super) name: String,
}

impl identity::Server for Person {
    async fn get_profile(
        self: Rc<Self>,
        _: identity::GetProfileParams,
        mut results: identity::GetProfileResults,
    ) -> Result<(), Error> {
        results
            .get()
            .init_profile()
            .init_display_name()
            .set_default_text(self.name.as_str());
        Ok(())
    }
}

impl ui_view::Server for Person {
    async fn get_view_info(
        self: Rc<Self>,
        _: ui_view::GetViewInfoParams,
        mut results: ui_view::GetViewInfoResults,
    ) -> Result<(), Error> {
        results
            .get()
            .init_app_title()
            .set_default_text(self.name.as_str());
        Ok(())
    }
}

impl persistent::Server for Person {
    async fn save(
        self: Rc<Self>,
        params: persistent::SaveParams,
        mut results: persistent::SaveResults,
    ) -> Result<(), Error> {
        use api_token_owner::Which;
        let broker = self
            .broker
            .upgrade()
            .expect("the broker lives as long as the test");
        let owner: api_token_owner::Reader<'_> = params.get()?.get_seal_for().get_as()?;
        let id = |hex: capnp::text::Reader<'_>| -> Result<Id, Error> {
            let digits = hex.to_str()?;
            let byte = |index: usize| u8::from_str_radix(&digits[2 * index..2 * index + 2], 16).unwrap();
            Ok(std::array::from_fn(byte))
        };
        let (seal, label) = match owner.which()? {
            Which::Grain(grain) => {
                let label = grain.get_save_label()?.get_default_text()?.to_string()?;
                (Seal::Grain(grain.get_grain_id()?.to_string()?), label)
            }
            Which::ClientPowerboxRequest(request) => {
                (Seal::Answer(id(request.get_session_id()?)?), String::new())
            }
            Which::ClientPowerboxOffer(offer) => (Seal::Answer(id(offer.get_session_id()?)?), String::new()),
            Which::Webkey(()) => (Seal::Link, String::new()),
            _ => return Err(Error::failed("not for them".to_owned())),
        };
        let token = broker.keep(Record {
            thing: Thing::Person(self.name.clone()),
            seal,
            conditions: Vec::new(),
            label,
        });
        results
            .get()
            .get_sturdy_ref()
            .set_as::<capnp::data::Owned>(&token[..])
    }
}

impl system_persistent::Server for Person {}
impl persistent_identity::Server for Person {}
impl persistent_ui_view::Server for Person {}

pub(super) struct Link;

impl sharing_link::Server for Link {}

impl view_sharing_link::Server for Link {
    async fn get_role_assignment(
        self: Rc<Self>,
        _: view_sharing_link::GetRoleAssignmentParams,
        _: view_sharing_link::GetRoleAssignmentResults,
    ) -> Result<(), Error> {
        Err(Error::failed("the link answers".to_owned()))
    }
}

/// Shows a notification while it lives.
pub(super) struct Shown(Rc<Cell<usize>>);

impl Shown {
    pub(super) fn new(count: &Rc<Cell<usize>>) -> Self {
        count.set(count.get() + 1);
        Self(Rc::clone(count))
    }
}

impl handle::Server for Shown {}

impl Drop for Shown {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

pub(super) struct Variable(pub(super) Rc<Broker>);

impl assignable::getter::Server<primitive_list::Owned<bool>> for Variable {
    async fn get(
        self: Rc<Self>,
        _: assignable::getter::GetParams<primitive_list::Owned<bool>>,
        mut results: assignable::getter::GetResults<primitive_list::Owned<bool>>,
    ) -> Result<(), Error> {
        let permissions = self.0.permissions.borrow();
        results.get().set_value(&permissions[..])
    }
}
