//! The broker towards one session: what its person may hand to the app. Dead once the session has ended.

use std::rc::Rc;
use std::time::Duration;

use capnp::Error;
use percloud_core::sharing::permission::PermissionSet;
use percloud_core::sharing::requirement::Requirement;
use percloud_core::sharing::share::Holder;
use percloud_schemas::host_capnp::{restored, session_keeper};

use super::told;
use crate::broker::Broker;
use crate::front::finished;
use crate::problem::Problem;
use crate::record::{Referent, Sealed, Token};
use crate::token::{Reference, TokenText};
use crate::visit::{Door, Purpose, Visit};

/// How long a page that has provided what it was asked for may stay.
const FAREWELL: Duration = Duration::from_secs(10);

/// One session, as the broker stands behind it.
struct Keeper {
    door: Door,
}

impl Broker {
    pub(crate) fn session_keeper(self: &Rc<Self>, visit: &Rc<Visit>) -> session_keeper::Client {
        capnp_rpc::new_client(Keeper {
            door: Door::new(self, visit),
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
    async fn condition(&self, broker: &Rc<Broker>, permissions: PermissionSet) -> Result<Requirement, Error> {
        let visit = &self.door.visit;
        // What a permission is, the app says; that somebody holds it can be told only then.
        if let Some(running) = broker.slot(&visit.grain).running() {
            broker.learn_view(&visit.grain, &running).await.map_err(told)?;
        }
        let condition = Requirement::PermissionsHeld {
            grain: visit.grain.clone(),
            holder: visit.visitor.holder.clone(),
            permissions,
        };
        if broker.proven(std::slice::from_ref(&condition)) {
            Ok(condition)
        } else {
            Err(Error::failed(
                "the person does not hold the permissions this needs".to_owned(),
            ))
        }
    }
}

impl Keeper {
    /// Brings to life what the person gave; it is the grain's from now on, while the condition holds.
    async fn take(
        &self,
        broker: &Rc<Broker>,
        text: &TokenText,
        condition: Requirement,
        into: restored::Builder<'_>,
    ) -> Result<(), Error> {
        let visit = &self.door.visit;
        let (grant, token) = {
            let slot = broker.slot(&visit.grain);
            let _turn = slot.commits.one().await;
            broker.take_answer(visit, text, condition).await.map_err(told)?
        };
        broker.revive(&visit.grain, &token, grant, into).await
    }

    /// What the app provides, taken out of the token its host made for this session, and bound to this person too.
    async fn take_provided(
        &self,
        broker: &Rc<Broker>,
        token: &[u8],
        condition: Requirement,
    ) -> Result<Token, Error> {
        let unknown = || told(Problem::NoReference);
        let text = TokenText::from_bytes(token).ok_or_else(unknown)?;
        let seal = Sealed::Answer(percloud_core::secret::hex(&self.door.visit.id));
        let (hash, mut token) = broker.token(&text, &seal).map_err(told)?;
        let slot = broker.slot(&self.door.visit.grain);
        let _turn = slot.commits.one().await;
        broker.spend(&hash).await.map_err(told)?;
        token.requirements.push(condition);
        Ok(token)
    }

    /// Hands what the app offers to the person: a whole grain becomes theirs to open.
    async fn hand_over(&self, broker: &Rc<Broker>, provided: Token) -> Result<(), Error> {
        let visit = &self.door.visit;
        let person = visit.visitor.person.as_ref();
        let person =
            person.ok_or_else(|| Error::failed("the visitor has no account here to put it in".to_owned()))?;
        let Referent::View { grain, .. } = &provided.what else {
            return Err(Error::unimplemented(
                "only whole grains can be offered to a person; offer others to a request".to_owned(),
            ));
        };
        let grain = grain.clone();
        {
            let slot = broker.slot(&visit.grain);
            let _turn = slot.commits.one().await;
            let (broker, person) = (broker.clone(), person.clone());
            // To its end, whether the app is still there to hear of it or not.
            finished(async move { broker.receive_view(&person, provided).await })
                .await
                .map_err(told)?;
        }
        let event = serde_json::json!({
            "type": "show", "grain": grain, "path": "/", "newTab": false, "from": visit.grain,
        });
        broker.events.tell(person, &event);
        Ok(())
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
        let (broker, _) = self.alive()?;
        let params = params.get()?;
        let condition = self
            .condition(&broker, permissions(params.get_permissions()?)?)
            .await?;
        let unknown = || told(Problem::NoReference);
        let text = TokenText::parse(params.get_token()?.to_str()?).ok_or_else(unknown)?;
        self.take(&broker, &text, condition, results.get().init_restored())
            .await
    }

    async fn fulfil(
        self: Rc<Self>,
        params: session_keeper::FulfilParams,
        _: session_keeper::FulfilResults,
    ) -> Result<(), Error> {
        let (broker, visit) = self.alive()?;
        let params = params.get()?;
        let condition = self
            .condition(&broker, permissions(params.get_permissions()?)?)
            .await?;
        let provided = self
            .take_provided(&broker, params.get_token()?, condition)
            .await?;
        let asked = match &visit.purpose {
            Purpose::Provide(request) => broker.requests.borrow().get(request).cloned(),
            _ => None,
        };
        let Some(asked) = asked else {
            return self.hand_over(&broker, provided).await;
        };
        let descriptor = params.get_descriptor()?;
        let answer = broker
            .answer_request(&asked, provided, descriptor)
            .await
            .map_err(told)?;
        if answer.get("token").is_some() {
            let event = serde_json::json!({
                "type": "answer",
                "request": asked.id,
                "token": answer["token"],
                "descriptor": answer["descriptor"],
            });
            broker.events.tell(&asked.by, &event);
        }
        // The page that provided has done its part. It may still say so to its person; the shell takes it away.
        let (broker, id) = (broker.clone(), visit.id);
        tokio::task::spawn_local(async move {
            tokio::time::sleep(FAREWELL).await;
            broker.close_pages(|page| page.visit.id == id).await;
        });
        Ok(())
    }

    async fn offer(
        self: Rc<Self>,
        params: session_keeper::OfferParams,
        _: session_keeper::OfferResults,
    ) -> Result<(), Error> {
        let (broker, _) = self.alive()?;
        let params = params.get()?;
        let condition = self
            .condition(&broker, permissions(params.get_permissions()?)?)
            .await?;
        let provided = self
            .take_provided(&broker, params.get_token()?, condition)
            .await?;
        self.hand_over(&broker, provided).await
    }

    async fn request(
        self: Rc<Self>,
        params: session_keeper::RequestParams,
        mut results: session_keeper::RequestResults,
    ) -> Result<(), Error> {
        let (broker, visit) = self.alive()?;
        let params = params.get()?;
        let condition = self
            .condition(&broker, permissions(params.get_permissions()?)?)
            .await?;
        let nobody = || Error::failed("there is nobody to ask: the visitor has no account here".to_owned());
        let person = visit.visitor.person.as_ref().ok_or_else(nobody)?;
        let (sender, answer) = tokio::sync::oneshot::channel();
        let asked = broker
            .ask(visit, person, "", params.get_query()?, Some(sender))
            .map_err(told)?;
        let event = serde_json::json!({"type": "asked", "request": asked.id, "grain": visit.grain});
        broker.events.tell(person, &event);
        let answer = answer
            .await
            .map_err(|_| Error::failed("the person did not choose anything".to_owned()))?;
        let descriptor = answer.descriptor.get_root_as_reader()?;
        results.get().set_descriptor(descriptor)?;
        self.take(&broker, &answer.token, condition, results.get().init_restored())
            .await
    }

    async fn permissions(
        self: Rc<Self>,
        _: session_keeper::PermissionsParams,
        mut results: session_keeper::PermissionsResults,
    ) -> Result<(), Error> {
        let (broker, visit) = self.alive()?;
        results.get().set_var(super::shared::getter(&broker, visit));
        Ok(())
    }

    async fn open_view(
        self: Rc<Self>,
        params: session_keeper::OpenViewParams,
        _: session_keeper::OpenViewResults,
    ) -> Result<(), Error> {
        let (broker, visit) = self.alive()?;
        let params = params.get()?;
        let person = visit.visitor.person.as_ref();
        let person = person.ok_or_else(|| Error::failed("the visitor has no account here".to_owned()))?;
        let grain = broker.grain_behind(params.get_view()?).await?;
        let path: String = params.get_path()?.to_str()?.chars().take(2048).collect();
        let event = serde_json::json!({
            "type": "show",
            "grain": grain,
            "path": format!("/{}", path.trim_start_matches('/')),
            "newTab": params.get_new_tab(),
            "from": visit.grain,
        });
        broker.events.tell(person, &event);
        Ok(())
    }

    async fn tie(
        self: Rc<Self>,
        params: session_keeper::TieParams,
        mut results: session_keeper::TieResults,
    ) -> Result<(), Error> {
        let (broker, visit) = self.alive()?;
        let condition = self
            .condition(&broker, permissions(params.get()?.get_permissions()?)?)
            .await?;
        let reference = Reference {
            holder: visit.grain.clone(),
            provider: None,
            token: None,
            what: None,
            conditions: vec![condition],
        };
        let id = broker.list_reference(reference).map_err(told)?;
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

    async fn activity(
        self: Rc<Self>,
        params: session_keeper::ActivityParams,
        _: session_keeper::ActivityResults,
    ) -> Result<(), Error> {
        let (broker, visit) = self.alive()?;
        let actor = visit.visitor.person.as_ref();
        broker
            .activity(&visit.grain, actor, params.get()?.get_event()?)
            .await
    }

    async fn public_id(
        self: Rc<Self>,
        _: session_keeper::PublicIdParams,
        mut results: session_keeper::PublicIdResults,
    ) -> Result<(), Error> {
        let (broker, visit) = self.alive()?;
        let id = {
            let slot = broker.slot(&visit.grain);
            let _turn = slot.commits.one().await;
            broker.public_id(&visit.grain).await.map_err(told)?
        };
        let (scheme, shell) = &broker.config.base;
        let mut results = results.get();
        results.set_public_id(&id);
        results.set_hostname(shell);
        results.set_auto_url(format!("{scheme}://{id}.{shell}"));
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
