//! What a signed-in person has: one package, one grain, one powerbox request.

use std::rc::Rc;

use capnp_rpc::new_client;
use percloud_schemas::front_capnp::{listener, package, powerbox, upload, user_session};
use percloud_schemas::util_capnp::handle;

use crate::broker::grain::Grain;
use crate::broker::{Done, NOT_FOUND, answer, methods};
use crate::world::Shared;

pub(super) struct User(pub(super) Shared);

impl user_session::Server for User {
    methods! { user_session:
        accept_link(AcceptLinkParams, get_json) -> AcceptLinkResults 201 r#"{"id":"g1"}"#;
        people(PeopleParams) -> PeopleResults 200 r#"{"people":[]}"#;
        invitations(InvitationsParams) -> InvitationsResults 200 r#"{"invitations":[]}"#;
        invite(InviteParams, get_json) -> InviteResults 201 r#"{"url":"u"}"#;
        uninvite(UninviteParams, get_invitation_id) -> UninviteResults 204 "";
        notifications(NotificationsParams) -> NotificationsResults 200 r#"{"notifications":[]}"#;
        answer_notification(AnswerNotificationParams, get_notification_id, get_json)
            -> AnswerNotificationResults 204 "";
        history(HistoryParams) -> HistoryResults 200 r#"{"entries":[],"intact":true}"#;
    }

    async fn offer(
        self: Rc<Self>,
        params: user_session::OfferParams,
        mut results: user_session::OfferResults,
    ) -> Done {
        let params = params.get()?;
        let call = format!(
            "offer {} {}",
            params.get_offer_id()?.to_str()?,
            params.get_accept()
        );
        self.0.update(|facts| facts.calls.push(call));
        if params.get_accept() {
            answer(results.get().init_reply(), 200, r#"{"id":"g1"}"#);
        } else {
            answer(results.get().init_reply(), 204, "");
        }
        Ok(())
    }

    async fn powerbox(
        self: Rc<Self>,
        params: user_session::PowerboxParams,
        mut results: user_session::PowerboxResults,
    ) -> Done {
        if params.get()?.get_request_id()?.to_str()? == "r1" {
            answer(results.get().init_reply(), 200, "{}");
            results.get().set_powerbox(new_client(Powerbox(self.0.clone())));
        } else {
            answer(results.get().init_reply(), 404, NOT_FOUND);
        }
        Ok(())
    }

    async fn restore_backup(
        self: Rc<Self>,
        params: user_session::RestoreBackupParams,
        mut results: user_session::RestoreBackupResults,
    ) -> Done {
        let call = format!("restore {}", params.get()?.get_size());
        self.0.update(|facts| facts.calls.push(call));
        answer(results.get().init_reply(), 200, "{}");
        results.get().set_upload(new_client(Upload(self.0.clone())));
        Ok(())
    }

    async fn whoami(
        self: Rc<Self>,
        _: user_session::WhoamiParams,
        mut results: user_session::WhoamiResults,
    ) -> Done {
        answer(
            results.get().init_reply(),
            200,
            r#"{"name":"Owner","handle":"owner"}"#,
        );
        Ok(())
    }

    async fn sign_out(
        self: Rc<Self>,
        _: user_session::SignOutParams,
        mut results: user_session::SignOutResults,
    ) -> Done {
        answer(results.get().init_reply(), 204, "");
        Ok(())
    }

    async fn home(
        self: Rc<Self>,
        _: user_session::HomeParams,
        mut results: user_session::HomeResults,
    ) -> Done {
        answer(results.get().init_reply(), 200, r#"{"apps":[],"grains":[]}"#);
        Ok(())
    }

    async fn upload(
        self: Rc<Self>,
        params: user_session::UploadParams,
        mut results: user_session::UploadResults,
    ) -> Done {
        let params = params.get()?;
        let call = format!(
            "upload {} {}",
            params.get_size(),
            params.get_upload_id()?.to_str()?
        );
        self.0.update(|facts| facts.calls.push(call));
        answer(results.get().init_reply(), 200, "{}");
        results.get().set_upload(new_client(Upload(self.0.clone())));
        Ok(())
    }

    async fn package(
        self: Rc<Self>,
        params: user_session::PackageParams,
        mut results: user_session::PackageResults,
    ) -> Done {
        if params.get()?.get_package_id()?.to_str()? == "p1" {
            answer(results.get().init_reply(), 200, "{}");
            results.get().set_package(new_client(Package));
        } else {
            answer(results.get().init_reply(), 404, NOT_FOUND);
        }
        Ok(())
    }

    async fn grain(
        self: Rc<Self>,
        params: user_session::GrainParams,
        mut results: user_session::GrainResults,
    ) -> Done {
        if params.get()?.get_grain_id()?.to_str()? == "g1" {
            answer(results.get().init_reply(), 200, "{}");
            results.get().set_grain(new_client(Grain(self.0.clone())));
        } else {
            answer(results.get().init_reply(), 404, NOT_FOUND);
        }
        Ok(())
    }

    async fn create_grain(
        self: Rc<Self>,
        params: user_session::CreateGrainParams,
        mut results: user_session::CreateGrainResults,
    ) -> Done {
        let call = format!("create {}", params.get()?.get_json()?.to_str()?);
        self.0.update(|facts| facts.calls.push(call));
        answer(results.get().init_reply(), 201, r#"{"id":"g1"}"#);
        Ok(())
    }

    async fn watch(
        self: Rc<Self>,
        params: user_session::WatchParams,
        mut results: user_session::WatchResults,
    ) -> Done {
        let listener: listener::Client = params.get()?.get_listener()?;
        tokio::task::spawn_local(async move {
            for json in [r#"{"type":"hello"}"#, r#"{"type":"app-removed","appId":"a"}"#] {
                let mut event = listener.event_request();
                event.get().set_json(json);
                let _ = event.send().await;
            }
            // Held until the edge lets go of the handle, as a broker would.
            std::future::pending::<()>().await;
        });
        let facts = self.0.clone();
        results.get().set_handle(new_client(Handle(facts)));
        Ok(())
    }
}

struct Powerbox(Shared);

impl powerbox::Server for Powerbox {
    methods! { powerbox:
        choices(ChoicesParams) -> ChoicesResults 200 r#"{"choices":[]}"#;
        choose(ChooseParams, get_json) -> ChooseResults 200 r#"{"token":"t"}"#;
        cancel(CancelParams) -> CancelResults 204 "";
    }
}

pub(super) struct Handle(pub(super) Shared);

impl handle::Server for Handle {}

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.update(|facts| facts.listener_handles_dropped += 1);
    }
}

struct Upload(Shared);

impl upload::Server for Upload {
    async fn write(self: Rc<Self>, params: upload::WriteParams) -> Done {
        let data = params.get()?.get_data()?;
        self.0.update(|facts| facts.package.extend_from_slice(data));
        Ok(())
    }

    async fn finish(self: Rc<Self>, _: upload::FinishParams, mut results: upload::FinishResults) -> Done {
        self.0.update(|facts| facts.finishing += 1);
        self.0.until(|facts| !facts.hold_finish).await;
        self.0.update(|facts| facts.finished += 1);
        answer(results.get().init_reply(), 201, r#"{"packageId":"p1"}"#);
        Ok(())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.0.update(|facts| facts.package_dropped = true);
    }
}

struct Package;

impl package::Server for Package {
    async fn info(self: Rc<Self>, _: package::InfoParams, mut results: package::InfoResults) -> Done {
        answer(results.get().init_reply(), 200, r#"{"packageId":"p1"}"#);
        Ok(())
    }

    async fn install(
        self: Rc<Self>,
        _: package::InstallParams,
        mut results: package::InstallResults,
    ) -> Done {
        answer(results.get().init_reply(), 200, r#"{"appId":"a"}"#);
        Ok(())
    }

    async fn remove(self: Rc<Self>, _: package::RemoveParams, mut results: package::RemoveResults) -> Done {
        answer(
            results.get().init_reply(),
            409,
            r#"{"error":{"code":"in-use","message":"Used."}}"#,
        );
        Ok(())
    }

    async fn icon(self: Rc<Self>, params: package::IconParams, mut results: package::IconResults) -> Done {
        match params.get()?.get_name()?.to_str()? {
            "appGrid" => {
                results.get().set_mime_type("image/svg+xml");
                results.get().set_data(b"<svg/>");
            }
            // What a package calls a picture need not be one.
            _ => {
                results.get().set_mime_type("text/html");
                results.get().set_data(b"<script>");
            }
        }
        Ok(())
    }
}
