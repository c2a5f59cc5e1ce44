//! One signed-in person.

use std::cell::RefCell;
use std::rc::Rc;

use capnp::Error;
use capnp_rpc::new_client;
use percloud_schemas::front_capnp::{listener, upload, user_session};
use serde_json::json;

use super::grain::GrainControl;
use super::package::{Package, UploadServer};
use super::powerbox::Powerbox;
use super::{Task, act, answer, done, use_cases};
use crate::account::SignedIn;
use crate::broker::Broker;
use crate::problem::Problem;
use crate::upload::{Kind, Upload};
use crate::view::Asked;

pub(super) struct UserSession {
    pub broker: Rc<Broker>,
    pub who: SignedIn,
    /// For nothing but the person.
    pub id: (),
}

impl UserSession {
    fn begin(&self, kind: Kind, size: u64, name: &str) -> Result<upload::Client, Problem> {
        self.broker.check(&self.who)?;
        let upload = Upload::begin(&self.broker, &self.who, kind, size, name)?;
        Ok(new_client(UploadServer {
            upload: Rc::new(upload),
            failed: RefCell::default(),
        }))
    }
}

impl user_session::Server for UserSession {
    use_cases! { user_session:
        whoami WhoamiParams WhoamiResults () -> 200 = |broker, who, _of| broker.whoami(who);
        sign_out SignOutParams SignOutResults () -> 204 = |broker, who, _of| done(broker.sign_out(who).await);
        home HomeParams HomeResults () -> 200 = |broker, who, _of| broker.home(who).await;
        create_grain CreateGrainParams CreateGrainResults (json = get_json) -> 201
            = |broker, who, _of| broker.create_grain(who, &json).await;

        accept_link AcceptLinkParams AcceptLinkResults (json = get_json) -> 201
            = |broker, who, _of| broker.accept_link(who, &json).await;
        people PeopleParams PeopleResults () -> 200 = |broker, who, _of| broker.people(who);
        invitations InvitationsParams InvitationsResults () -> 200 = |broker, who, _of| broker.invitations(who);
        invite InviteParams InviteResults (json = get_json) -> 201 = |broker, who, _of| broker.invite(who, &json).await;
        uninvite UninviteParams UninviteResults (invitation = get_invitation_id) -> 204
            = |broker, who, _of| done(broker.uninvite(who, &invitation).await);
        notifications NotificationsParams NotificationsResults () -> 200
            = |broker, who, _of| broker.notifications(who).await;
        answer_notification AnswerNotificationParams AnswerNotificationResults
            (notice = get_notification_id, json = get_json) -> 204
            = |broker, who, _of| done(broker.answer_notice(who, &notice, &json).await);
        history HistoryParams HistoryResults () -> 200 = |broker, who, _of| broker.server_history(who).await;
    }

    async fn grains(
        self: Rc<Self>,
        params: user_session::GrainsParams,
        mut results: user_session::GrainsResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let asked = Asked {
            search: params.get_search()?.to_string()?,
            after: params.get_after()?.to_string()?,
            trashed: params.get_trashed(),
            limit: params.get_limit(),
        };
        let outcome = act(&self.broker, &self.who, async move |broker, who| {
            broker.grains(who, &asked)
        })
        .await;
        answer(results.get().init_reply(), 200, outcome);
        Ok(())
    }

    async fn offer(
        self: Rc<Self>,
        params: user_session::OfferParams,
        mut results: user_session::OfferResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let (offer, accept) = (params.get_offer_id()?.to_string()?, params.get_accept());
        let outcome = act(&self.broker, &self.who, async move |broker, who| {
            broker.answer_offer(who, &offer, accept).await
        })
        .await;
        answer(
            results.get().init_reply(),
            if accept { 200 } else { 204 },
            outcome,
        );
        Ok(())
    }

    async fn upload(
        self: Rc<Self>,
        params: user_session::UploadParams,
        mut results: user_session::UploadResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let begun = self.begin(
            Kind::Package,
            params.get_size(),
            params.get_upload_id()?.to_str()?,
        );
        let mut results = results.get();
        let begun = begun.map(|upload| results.set_upload(upload));
        answer(results.init_reply(), 200, done(begun));
        Ok(())
    }

    async fn restore_backup(
        self: Rc<Self>,
        params: user_session::RestoreBackupParams,
        mut results: user_session::RestoreBackupResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let begun = self.begin(Kind::Backup, params.get_size(), params.get_upload_id()?.to_str()?);
        let mut results = results.get();
        let begun = begun.map(|upload| results.set_upload(upload));
        answer(results.init_reply(), 200, done(begun));
        Ok(())
    }

    async fn package(
        self: Rc<Self>,
        params: user_session::PackageParams,
        mut results: user_session::PackageResults,
    ) -> Result<(), Error> {
        let id = params.get()?.get_package_id()?.to_string()?;
        self.broker
            .check(&self.who)
            .or(Err(Error::failed("signed out".into())))?;
        match self.broker.own_package(&self.who, &id).await {
            Ok(_) => {
                let package = Package {
                    broker: self.broker.clone(),
                    who: self.who.clone(),
                    id,
                };
                results.get().set_package(new_client(package));
                answer(results.get().init_reply(), 200, Ok(json!({})));
            }
            Err(problem) => answer(results.get().init_reply(), 200, Err(problem)),
        }
        Ok(())
    }

    async fn grain(
        self: Rc<Self>,
        params: user_session::GrainParams,
        mut results: user_session::GrainResults,
    ) -> Result<(), Error> {
        let id = params
            .get()?
            .get_grain_id()?
            .to_str()?
            .parse()
            .map_err(|_| Problem::NotFound);
        let checked = self.broker.check(&self.who).and(id);
        match checked.and_then(|id| self.broker.reachable(&self.who, &id).map(|_| id)) {
            Ok(id) => {
                let grain = GrainControl {
                    broker: self.broker.clone(),
                    who: self.who.clone(),
                    id,
                };
                results.get().set_grain(new_client(grain));
                answer(results.get().init_reply(), 200, Ok(json!({})));
            }
            Err(problem) => answer(results.get().init_reply(), 200, Err(problem)),
        }
        Ok(())
    }

    async fn powerbox(
        self: Rc<Self>,
        params: user_session::PowerboxParams,
        mut results: user_session::PowerboxResults,
    ) -> Result<(), Error> {
        let id = params.get()?.get_request_id()?.to_str()?.parse();
        let checked = self
            .broker
            .check(&self.who)
            .and(id.map_err(|_| Problem::NotFound));
        match checked.and_then(|id| self.broker.asked(&self.who.account, &id).map(|_| id)) {
            Ok(id) => {
                let powerbox = Powerbox {
                    broker: self.broker.clone(),
                    who: self.who.clone(),
                    id,
                };
                results.get().set_powerbox(new_client(powerbox));
                answer(results.get().init_reply(), 200, Ok(json!({})));
            }
            Err(problem) => answer(results.get().init_reply(), 200, Err(problem)),
        }
        Ok(())
    }

    async fn watch(
        self: Rc<Self>,
        params: user_session::WatchParams,
        mut results: user_session::WatchResults,
    ) -> Result<(), Error> {
        let listener: listener::Client = params.get()?.get_listener()?;
        let mut events = self.broker.events.watch(self.who.account.clone());
        let (broker, who) = (self.broker.clone(), self.who.clone());
        let telling = async move {
            while let Some(event) = events.recv().await {
                let mut request = listener.event_request();
                request.get().set_json(&*event);
                if request.send().await.is_err() {
                    break;
                }
            }
        };
        let task = tokio::task::spawn_local(async move {
            tokio::select! {
                () = telling => {}
                () = broker.signed_out(&who) => {}
            }
        });
        results.get().set_handle(new_client(Task(task.abort_handle())));
        Ok(())
    }
}
