//! What the played broker does for a session.

use std::rc::{Rc, Weak};

use capnp::{Error, primitive_list};
use capnp_rpc::new_client;
use percloud_schemas::host_capnp::session_keeper;

use super::objects::Variable;
use super::{Broker, Gift, Reference, Seal};
use crate::membrane::Id;

pub(super) struct Session {
    pub(super) broker: Weak<Broker>,
    pub(super) grain: String,
    pub(super) id: Id,
}

impl Session {
    pub(super) fn broker(&self) -> Rc<Broker> {
        self.broker
            .upgrade()
            .expect("the broker lives as long as the test")
    }
}

fn list(permissions: primitive_list::Reader<'_, bool>) -> Vec<bool> {
    permissions.iter().collect()
}

/// Takes note of a gift; the parameters of both methods are alike.
macro_rules! gift {
    ($self:ident, $kind:literal, $params:ident) => {{
        let (params, broker) = ($params.get()?, $self.broker());
        let token = params.get_token()?.to_vec();
        let record = broker.record(&token);
        if record.seal != Seal::Answer($self.id) {
            return Err(Error::failed("sealed for somebody else".to_owned()));
        }
        broker.gifts.borrow_mut().push(Gift {
            kind: $kind,
            session: $self.id,
            token,
            permissions: list(params.get_permissions()?),
            tag: params.get_descriptor()?.get_tags()?.get(0).get_id(),
            title: params
                .get_display()?
                .get_title()?
                .get_default_text()?
                .to_string()?,
        });
        Ok(())
    }};
}

impl session_keeper::Server for Session {
    async fn claim(
        self: Rc<Self>,
        params: session_keeper::ClaimParams,
        mut results: session_keeper::ClaimResults,
    ) -> Result<(), Error> {
        let (params, broker) = (params.get()?, self.broker());
        broker.tell(format!("claims with {:?}", list(params.get_permissions()?)));
        let token = params.get_token()?.as_bytes();
        let seal = Seal::Answer(self.id);
        let answer = results.get().init_restored();
        broker.revive(&self.grain, token, &seal, &[], answer).await?;
        broker.tokens.borrow_mut().remove(token);
        Ok(())
    }

    async fn fulfil(
        self: Rc<Self>,
        params: session_keeper::FulfilParams,
        _: session_keeper::FulfilResults,
    ) -> Result<(), Error> {
        gift!(self, "answer", params)
    }

    async fn offer(
        self: Rc<Self>,
        params: session_keeper::OfferParams,
        _: session_keeper::OfferResults,
    ) -> Result<(), Error> {
        gift!(self, "offer", params)
    }

    async fn request(
        self: Rc<Self>,
        params: session_keeper::RequestParams,
        mut results: session_keeper::RequestResults,
    ) -> Result<(), Error> {
        let (params, broker) = (params.get()?, self.broker());
        let choice = broker.choice.borrow_mut().take();
        let choice = choice.ok_or_else(|| Error::failed("the person chose nothing".to_owned()))?;
        let seal = broker.record(&choice).seal;
        let wanted = params.get_query()?.get(0);
        results.get().set_descriptor(wanted)?;
        let answer = results.get().init_restored();
        broker.revive(&self.grain, &choice, &seal, &[], answer).await
    }

    async fn permissions(
        self: Rc<Self>,
        _: session_keeper::PermissionsParams,
        mut results: session_keeper::PermissionsResults,
    ) -> Result<(), Error> {
        results.get().set_var(new_client(Variable(self.broker())));
        Ok(())
    }

    async fn tie(
        self: Rc<Self>,
        params: session_keeper::TieParams,
        mut results: session_keeper::TieResults,
    ) -> Result<(), Error> {
        let broker = self.broker();
        broker.tell(format!("ties to {:?}", list(params.get()?.get_permissions()?)));
        let id = broker.fresh_id();
        let reference = Reference {
            conditions: Vec::new(),
            hosts: vec![self.grain.clone()],
        };
        broker.references.borrow_mut().insert(id, reference);
        results.get().set_id(&id);
        Ok(())
    }

    async fn close(
        self: Rc<Self>,
        _: session_keeper::CloseParams,
        _: session_keeper::CloseResults,
    ) -> Result<(), Error> {
        self.broker().tell("closes".to_owned());
        Ok(())
    }

    async fn open_view(
        self: Rc<Self>,
        params: session_keeper::OpenViewParams,
        _: session_keeper::OpenViewResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let view = params.get_view()?.get_view_info_request().send().promise.await?;
        let title = view.get()?.get_app_title()?.get_default_text()?.to_string()?;
        let path = params.get_path()?.to_str()?;
        self.broker()
            .tell(format!("opens {title} {path} {}", params.get_new_tab()));
        Ok(())
    }

    async fn activity(
        self: Rc<Self>,
        params: session_keeper::ActivityParams,
        _: session_keeper::ActivityResults,
    ) -> Result<(), Error> {
        let broker = self.broker();
        let told = broker.activity(params.get()?.get_event()?).await?;
        broker.tell(told);
        Ok(())
    }

    async fn public_id(
        self: Rc<Self>,
        _: session_keeper::PublicIdParams,
        mut results: session_keeper::PublicIdResults,
    ) -> Result<(), Error> {
        let mut public = results.get();
        public.set_public_id("abcdefghij0123456789");
        public.set_hostname("percloud.example");
        public.set_auto_url("https://abcdefghij0123456789.percloud.example");
        public.set_is_demo_user(true);
        Ok(())
    }

    async fn user_address(
        self: Rc<Self>,
        _: session_keeper::UserAddressParams,
        mut results: session_keeper::UserAddressResults,
    ) -> Result<(), Error> {
        results.get().set_address("ada@example.org");
        results.get().set_name("Ada");
        Ok(())
    }
}
