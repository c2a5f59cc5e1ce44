//! The broker's capabilities towards the edge (`schemas/percloud/front.capnp`): each method one use case.

use std::cell::RefCell;
use std::rc::Rc;

use capnp::Error;
use capnp_rpc::new_client;
use percloud_core::id::GrainId;
use percloud_schemas::front_capnp::{front, grain_control, listener, package, reply, upload, user_session};
use percloud_schemas::util_capnp::{byte_stream, handle};
use serde_json::{Value, json};

use crate::account::SignedIn;
use crate::broker::Broker;
use crate::problem::Problem;
use crate::upload::Upload;

/// Writes what a use case came to into a reply.
fn answer(mut reply: reply::Builder<'_>, status: u16, outcome: Result<Value, Problem>) {
    let (status, json) = match outcome {
        Ok(value) => (status, value),
        Err(problem) => (problem.status(), problem.json()),
    };
    reply.set_status(status);
    reply.set_json(json.to_string());
}

/// Runs a use case to its end, even when whoever asked is gone by then: a closed tab must not leave half a change.
pub(crate) async fn finished<T: 'static>(
    work: impl Future<Output = Result<T, Problem>> + 'static,
) -> Result<T, Problem> {
    let done = tokio::task::spawn_local(work).await;
    done.unwrap_or_else(|error| Err(Problem::internal("finish a use case", &error)))
}

/// Runs a use case for a person, if they are still signed in.
async fn act(
    broker: &Rc<Broker>,
    who: &SignedIn,
    work: impl AsyncFnOnce(&Rc<Broker>, &SignedIn) -> Result<Value, Problem> + 'static,
) -> Result<Value, Problem> {
    broker.check(who)?;
    let (broker, who) = (broker.clone(), who.clone());
    finished(async move { work(&broker, &who).await }).await
}

fn done(outcome: Result<(), Problem>) -> Result<Value, Problem> {
    outcome.map(|()| json!({}))
}

impl Broker {
    /// The bootstrap capability of a connection to an edge.
    #[must_use]
    pub fn front(self: &Rc<Self>) -> front::Client {
        new_client(Front { broker: self.clone() })
    }
}

struct Front {
    broker: Rc<Broker>,
}

impl front::Server for Front {
    async fn settings(
        self: Rc<Self>,
        _: front::SettingsParams,
        mut results: front::SettingsResults,
    ) -> Result<(), Error> {
        answer(results.get().init_reply(), 200, Ok(self.broker.settings()));
        Ok(())
    }

    async fn set_up(
        self: Rc<Self>,
        params: front::SetUpParams,
        mut results: front::SetUpResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let address = params.get_client()?.get_address()?.to_string()?;
        let (broker, json) = (self.broker.clone(), params.get_json()?.to_string()?);
        let outcome = finished(async move { broker.set_up(&json, &address).await }).await;
        if let Ok((_, cookie)) = &outcome {
            results.get().set_cookie(cookie.expose());
        }
        answer(results.get().init_reply(), 201, outcome.map(|(me, _)| me));
        Ok(())
    }

    async fn sign_in(
        self: Rc<Self>,
        params: front::SignInParams,
        mut results: front::SignInResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let address = params.get_client()?.get_address()?.to_string()?;
        let outcome = self.broker.sign_in(params.get_json()?.to_str()?, &address).await;
        if let Ok((_, cookie)) = &outcome {
            results.get().set_cookie(cookie.expose());
        }
        answer(results.get().init_reply(), 200, outcome.map(|(me, _)| me));
        Ok(())
    }

    async fn resume(
        self: Rc<Self>,
        params: front::ResumeParams,
        mut results: front::ResumeResults,
    ) -> Result<(), Error> {
        if let Some(who) = self.broker.resume(params.get()?.get_cookie()?) {
            let session = UserSession {
                broker: self.broker.clone(),
                who,
            };
            results.get().set_session(new_client(session));
        }
        Ok(())
    }

    async fn enter(
        self: Rc<Self>,
        params: front::EnterParams,
        mut results: front::EnterResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        if let Some((cookie, path)) = self
            .broker
            .enter(params.get_host_id()?.to_str()?, params.get_secret()?)
        {
            let mut results = results.get();
            results.set_cookie(cookie.expose());
            results.set_path(&path);
        }
        Ok(())
    }

    async fn grain_session(
        self: Rc<Self>,
        params: front::GrainSessionParams,
        mut results: front::GrainSessionResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let host = params.get_host_id()?.to_str()?;
        let Some(outcome) = self.broker.page_session(host, params.get_cookie()?).await else {
            return Ok(());
        };
        let mut access = results.get().init_access();
        match outcome {
            Ok(opened) => {
                let door = opened
                    .door
                    .to_str()
                    .ok_or_else(|| Error::failed("the runtime folder's name is not UTF-8".into()))?;
                access.set_socket_path(door);
                access.set_nonce(opened.nonce.expose());
                access.set_relaxed_policy(opened.relaxed_policy);
                access.set_ready(());
            }
            Err(problem) => access.set_failed(problem.to_string()),
        }
        Ok(())
    }
}

struct UserSession {
    broker: Rc<Broker>,
    who: SignedIn,
}

impl user_session::Server for UserSession {
    async fn whoami(
        self: Rc<Self>,
        _: user_session::WhoamiParams,
        mut results: user_session::WhoamiResults,
    ) -> Result<(), Error> {
        let outcome = act(&self.broker, &self.who, async |broker, who| broker.whoami(who)).await;
        answer(results.get().init_reply(), 200, outcome);
        Ok(())
    }

    async fn sign_out(
        self: Rc<Self>,
        _: user_session::SignOutParams,
        mut results: user_session::SignOutResults,
    ) -> Result<(), Error> {
        let outcome = act(&self.broker, &self.who, async |broker, who| {
            done(broker.sign_out(who).await)
        })
        .await;
        answer(results.get().init_reply(), 204, outcome);
        Ok(())
    }

    async fn home(
        self: Rc<Self>,
        _: user_session::HomeParams,
        mut results: user_session::HomeResults,
    ) -> Result<(), Error> {
        let outcome = act(&self.broker, &self.who, async |broker, who| {
            broker.home(who).await
        })
        .await;
        answer(results.get().init_reply(), 200, outcome);
        Ok(())
    }

    async fn upload(
        self: Rc<Self>,
        params: user_session::UploadParams,
        mut results: user_session::UploadResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let name = params.get_upload_id()?.to_str()?;
        let checked = self.broker.check(&self.who);
        match checked.and_then(|()| Upload::begin(&self.broker, &self.who, params.get_size(), name)) {
            Ok(upload) => {
                let upload = Rc::new(upload);
                results.get().set_upload(new_client(UploadServer {
                    upload,
                    failed: RefCell::default(),
                }));
                answer(results.get().init_reply(), 200, Ok(json!({})));
            }
            Err(problem) => answer(results.get().init_reply(), 200, Err(problem)),
        }
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
        match checked.and_then(|id| self.broker.own_grain(&self.who, &id).map(|_| id)) {
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

    async fn create_grain(
        self: Rc<Self>,
        params: user_session::CreateGrainParams,
        mut results: user_session::CreateGrainResults,
    ) -> Result<(), Error> {
        let json = params.get()?.get_json()?.to_string()?;
        let outcome = act(&self.broker, &self.who, async move |broker, who| {
            broker.create_grain(who, &json).await
        })
        .await;
        answer(results.get().init_reply(), 201, outcome);
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

/// Ends a task when it is let go.
struct Task(tokio::task::AbortHandle);

impl handle::Server for Task {
    async fn ping(self: Rc<Self>, _: handle::PingParams, _: handle::PingResults) -> Result<(), Error> {
        Ok(())
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct UploadServer {
    upload: Rc<Upload>,
    /// Why an earlier write failed; what comes after it is thrown away.
    failed: RefCell<Option<Problem>>,
}

impl upload::Server for UploadServer {
    async fn write(self: Rc<Self>, params: upload::WriteParams) -> Result<(), Error> {
        // A failed streaming call would break the capability, and with it the answer that says why: `finish` tells.
        if self.failed.borrow().is_none()
            && let Err(problem) = self.upload.write(params.get()?.get_data()?)
        {
            *self.failed.borrow_mut() = Some(problem);
        }
        Ok(())
    }

    async fn finish(
        self: Rc<Self>,
        _: upload::FinishParams,
        mut results: upload::FinishResults,
    ) -> Result<(), Error> {
        let failed = self.failed.borrow().clone();
        let outcome = match failed {
            Some(problem) => Err(problem),
            None => {
                let upload = self.upload.clone();
                finished(async move { upload.finish().await }).await
            }
        };
        answer(results.get().init_reply(), 201, outcome);
        Ok(())
    }
}

struct Package {
    broker: Rc<Broker>,
    who: SignedIn,
    id: String,
}

impl package::Server for Package {
    async fn info(
        self: Rc<Self>,
        _: package::InfoParams,
        mut results: package::InfoResults,
    ) -> Result<(), Error> {
        let id = self.id.clone();
        let outcome = act(&self.broker, &self.who, async move |broker, who| {
            let info = broker.own_package(who, &id).await?;
            broker.package_view(who, &info)
        })
        .await;
        answer(results.get().init_reply(), 200, outcome);
        Ok(())
    }

    async fn install(
        self: Rc<Self>,
        _: package::InstallParams,
        mut results: package::InstallResults,
    ) -> Result<(), Error> {
        let id = self.id.clone();
        let outcome = act(&self.broker, &self.who, async move |broker, who| {
            broker.install(who, &id).await
        })
        .await;
        answer(results.get().init_reply(), 200, outcome);
        Ok(())
    }

    async fn remove(
        self: Rc<Self>,
        _: package::RemoveParams,
        mut results: package::RemoveResults,
    ) -> Result<(), Error> {
        let id = self.id.clone();
        let outcome = act(&self.broker, &self.who, async move |broker, who| {
            done(broker.remove_package(who, &id).await)
        })
        .await;
        answer(results.get().init_reply(), 204, outcome);
        Ok(())
    }

    async fn icon(
        self: Rc<Self>,
        params: package::IconParams,
        mut results: package::IconResults,
    ) -> Result<(), Error> {
        let name = params.get()?.get_name()?.to_str()?;
        if self.broker.check(&self.who).is_err() {
            return Ok(());
        }
        if let Ok((media_type, bytes)) = self.broker.icon(&self.who, &self.id, name).await {
            let mut results = results.get();
            results.set_mime_type(media_type);
            results.set_data(&bytes);
        }
        Ok(())
    }
}

struct GrainControl {
    broker: Rc<Broker>,
    who: SignedIn,
    id: GrainId,
}

impl grain_control::Server for GrainControl {
    async fn info(
        self: Rc<Self>,
        _: grain_control::InfoParams,
        mut results: grain_control::InfoResults,
    ) -> Result<(), Error> {
        let id = self.id.clone();
        let outcome = act(&self.broker, &self.who, async move |broker, who| {
            broker.grain_now(who, &id)
        })
        .await;
        answer(results.get().init_reply(), 200, outcome);
        Ok(())
    }

    async fn open(
        self: Rc<Self>,
        params: grain_control::OpenParams,
        mut results: grain_control::OpenResults,
    ) -> Result<(), Error> {
        let (id, json) = (self.id.clone(), params.get()?.get_json()?.to_string()?);
        let outcome = act(&self.broker, &self.who, async move |broker, who| {
            broker.open(who, &id, &json)
        })
        .await;
        answer(results.get().init_reply(), 200, outcome);
        Ok(())
    }

    async fn rename(
        self: Rc<Self>,
        params: grain_control::RenameParams,
        mut results: grain_control::RenameResults,
    ) -> Result<(), Error> {
        let (id, json) = (self.id.clone(), params.get()?.get_json()?.to_string()?);
        let outcome = act(&self.broker, &self.who, async move |broker, who| {
            broker.change_grain(who, &id, &json).await
        })
        .await;
        answer(results.get().init_reply(), 200, outcome);
        Ok(())
    }

    async fn trash(
        self: Rc<Self>,
        _: grain_control::TrashParams,
        mut results: grain_control::TrashResults,
    ) -> Result<(), Error> {
        let id = self.id.clone();
        let outcome = act(&self.broker, &self.who, async move |broker, who| {
            broker.trash_grain(who, &id).await
        })
        .await;
        answer(results.get().init_reply(), 200, outcome);
        Ok(())
    }

    async fn restore(
        self: Rc<Self>,
        _: grain_control::RestoreParams,
        mut results: grain_control::RestoreResults,
    ) -> Result<(), Error> {
        let id = self.id.clone();
        let outcome = act(&self.broker, &self.who, async move |broker, who| {
            broker.restore_grain(who, &id).await
        })
        .await;
        answer(results.get().init_reply(), 200, outcome);
        Ok(())
    }

    async fn delete(
        self: Rc<Self>,
        _: grain_control::DeleteParams,
        mut results: grain_control::DeleteResults,
    ) -> Result<(), Error> {
        let id = self.id.clone();
        let outcome = act(&self.broker, &self.who, async move |broker, who| {
            done(broker.delete_grain(who, &id).await)
        })
        .await;
        answer(results.get().init_reply(), 204, outcome);
        Ok(())
    }

    async fn restart(
        self: Rc<Self>,
        _: grain_control::RestartParams,
        mut results: grain_control::RestartResults,
    ) -> Result<(), Error> {
        let id = self.id.clone();
        let outcome = act(&self.broker, &self.who, async move |broker, who| {
            broker.restart_grain(who, &id).await
        })
        .await;
        answer(results.get().init_reply(), 200, outcome);
        Ok(())
    }

    async fn log(
        self: Rc<Self>,
        params: grain_control::LogParams,
        mut results: grain_control::LogResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let stream: byte_stream::Client = params.get_stream()?;
        let handle = self
            .broker
            .follow_log(&self.who, &self.id, params.get_backlog(), stream);
        results.get().set_handle(new_client(Task(handle)));
        Ok(())
    }

    async fn configure(
        self: Rc<Self>,
        params: grain_control::ConfigureParams,
        mut results: grain_control::ConfigureResults,
    ) -> Result<(), Error> {
        let (id, json) = (self.id.clone(), params.get()?.get_json()?.to_string()?);
        let outcome = act(&self.broker, &self.who, async move |broker, who| {
            broker.change_grain(who, &id, &json).await
        })
        .await;
        answer(results.get().init_reply(), 200, outcome);
        Ok(())
    }
}
