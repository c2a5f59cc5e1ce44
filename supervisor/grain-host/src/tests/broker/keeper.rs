//! What the played broker does for a grain host.

use std::rc::{Rc, Weak};

use capnp::Error;
use capnp::capability::FromClientHook;
use capnp_rpc::new_client;
use percloud_schemas::grain_capnp::view_sharing_link;
use percloud_schemas::host_capnp::{host_keeper, job_schedule, object_id, seal};
use percloud_schemas::identity_impl_capnp::persistent_identity;

use super::objects::{Link, Shown};
use super::{Broker, Record, Seal, Thing};
use crate::membrane::{Id, Message};

pub(super) struct Keeper {
    pub(super) broker: Weak<Broker>,
    pub(super) grain: String,
}

impl Keeper {
    pub(super) fn broker(&self) -> Rc<Broker> {
        self.broker
            .upgrade()
            .expect("the broker lives as long as the test")
    }
}

fn read_seal(seal: seal::Reader<'_>) -> Result<Seal, Error> {
    Ok(match seal.which()? {
        seal::Which::Grain(id) => Seal::Grain(id?.to_string()?),
        seal::Which::Answer(session) => Seal::Answer(session?.try_into().unwrap()),
        seal::Which::Platform(()) => Seal::Platform,
        seal::Which::Link(()) => Seal::Link,
    })
}

fn text(object: object_id::Reader<'_>) -> Result<String, Error> {
    Ok(object.get_id().get_as::<capnp::text::Reader<'_>>()?.to_string()?)
}

impl host_keeper::Server for Keeper {
    async fn report_size(
        self: Rc<Self>,
        _: host_keeper::ReportSizeParams,
        _: host_keeper::ReportSizeResults,
    ) -> Result<(), Error> {
        Ok(())
    }

    async fn save(
        self: Rc<Self>,
        params: host_keeper::SaveParams,
        mut results: host_keeper::SaveResults,
    ) -> Result<(), Error> {
        let (params, broker) = (params.get()?, self.broker());
        let through = params.get_through()?;
        assert_eq!(through.len() % 16, 0);
        let conditions: Vec<Id> = through.chunks(16).map(|id| id.try_into().unwrap()).collect();
        let mut object = Message::new(16);
        object.get_mut()?.set_as(params.get_object()?.get_id())?;
        let token = broker.keep(Record {
            thing: Thing::Object(self.grain.clone(), Rc::new(object)),
            seal: read_seal(params.get_seal()?)?,
            conditions,
            label: params.get_label()?.get_default_text()?.to_string()?,
        });
        results.get().set_token(&token);
        Ok(())
    }

    async fn restore(
        self: Rc<Self>,
        params: host_keeper::RestoreParams,
        mut results: host_keeper::RestoreResults,
    ) -> Result<(), Error> {
        let seal = Seal::Grain(self.grain.clone());
        let (token, broker) = (params.get()?.get_token()?, self.broker());
        let answer = results.get().init_restored();
        broker.revive(&self.grain, token, &seal, &[], answer).await?;
        let hold = broker.hold.borrow_mut().take();
        if let Some(hold) = hold {
            hold.await
                .map_err(|_| Error::failed("the test is over".to_owned()))?;
        }
        Ok(())
    }

    async fn drop(
        self: Rc<Self>,
        params: host_keeper::DropParams,
        _: host_keeper::DropResults,
    ) -> Result<(), Error> {
        let (token, broker) = (params.get()?.get_token()?, self.broker());
        let mut tokens = broker.tokens.borrow_mut();
        if tokens
            .get(token)
            .is_some_and(|record| record.seal == Seal::Grain(self.grain.clone()))
        {
            tokens.remove(token);
        }
        Ok(())
    }

    async fn let_go(
        self: Rc<Self>,
        params: host_keeper::LetGoParams,
        _: host_keeper::LetGoResults,
    ) -> Result<(), Error> {
        let (ids, _) = params.get()?.get_references()?.as_chunks::<16>();
        self.broker().let_go.borrow_mut().extend(ids);
        Ok(())
    }

    async fn identity_id(
        self: Rc<Self>,
        params: host_keeper::IdentityIdParams,
        mut results: host_keeper::IdentityIdResults,
    ) -> Result<(), Error> {
        let broker = self.broker();
        let person: persistent_identity::Client = params.get()?.get_identity().get_as_capability()?;
        let person = capnp::capability::get_resolved_cap(person).await;
        let person = broker.people.borrow().get_local_server_of_resolved(&person);
        let person = person.ok_or_else(|| Error::failed("this is none of mine".to_owned()))?;
        results.get().set_id(person.name.as_bytes());
        Ok(())
    }

    async fn forget(
        self: Rc<Self>,
        params: host_keeper::ForgetParams,
        _: host_keeper::ForgetResults,
    ) -> Result<(), Error> {
        let forgotten = text(params.get()?.get_object()?)?;
        self.broker().tell(format!("{} forgets {forgotten}", self.grain));
        Ok(())
    }

    async fn stay_awake(
        self: Rc<Self>,
        params: host_keeper::StayAwakeParams,
        mut results: host_keeper::StayAwakeResults,
    ) -> Result<(), Error> {
        let (params, broker) = (params.get()?, self.broker());
        let caption = params
            .get_display()?
            .get_caption()?
            .get_default_text()?
            .to_string()?;
        if caption == "no" {
            return Err(Error::failed("the owner does not want to see it".to_owned()));
        }
        broker.tell(caption);
        broker.notifications.borrow_mut().push(params.get_notification()?);
        results.get().set_handle(new_client(Shown::new(&broker.shown)));
        Ok(())
    }

    async fn activity(
        self: Rc<Self>,
        params: host_keeper::ActivityParams,
        _: host_keeper::ActivityResults,
    ) -> Result<(), Error> {
        let broker = self.broker();
        let told = broker.activity(params.get()?.get_event()?).await?;
        broker.tell(told);
        Ok(())
    }

    async fn schedule(
        self: Rc<Self>,
        params: host_keeper::ScheduleParams,
        _: host_keeper::ScheduleResults,
    ) -> Result<(), Error> {
        let (params, broker) = (params.get()?, self.broker());
        assert_eq!(broker.record(params.get_token()?).seal, Seal::Platform);
        let name = params.get_name()?.get_default_text()?.to_string()?;
        let when = match params.get_job()?.which()? {
            job_schedule::Which::OneShot(once) => format!("at {} for {}", once.get_when(), once.get_slack()),
            job_schedule::Which::Periodic(period) => format!("{:?}", period?),
        };
        broker.tell(format!("{name} {when}"));
        Ok(())
    }

    async fn share_cap(
        self: Rc<Self>,
        params: host_keeper::ShareCapParams,
        mut results: host_keeper::ShareCapResults,
    ) -> Result<(), Error> {
        let (params, broker) = (params.get()?, self.broker());
        assert_eq!(broker.record(params.get_token()?).seal, Seal::Link);
        let title = params
            .get_display()?
            .get_title()?
            .get_default_text()?
            .to_string()?;
        broker.tell(format!("shares {title}"));
        let link: view_sharing_link::Client = new_client(Link);
        results.get().set_link(link.cast_to());
        Ok(())
    }

    async fn share_view(
        self: Rc<Self>,
        params: host_keeper::ShareViewParams,
        mut results: host_keeper::ShareViewResults,
    ) -> Result<(), Error> {
        let view = params.get()?.get_view()?;
        results.get().set_view(view);
        results.get().set_link(new_client(Link));
        Ok(())
    }
}
