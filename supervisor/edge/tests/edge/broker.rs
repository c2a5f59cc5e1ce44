//! A broker that knows one account, one package and one grain, and the door of that grain.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::mpsc::Sender;

use capnp::Error;
use capnp::capability::{Client, FromClientHook};
use capnp_rpc::{RpcSystem, new_client, rpc_twoparty_capnp::Side, twoparty};
use percloud_schemas::front_capnp::{front, grain_control, listener, package, reply, upload, user_session};
use percloud_schemas::host_capnp::grain_door;
use percloud_schemas::util_capnp::handle;
use percloud_schemas::web_session_capnp::web_session;
use tokio::sync::oneshot;
use tokio_util::compat::{TokioAsyncReadCompatExt, TokioAsyncWriteCompatExt};

use crate::app::App;
use crate::world::{HAND_OVER, PAGE, PAGE_COOKIE, SHELL_COOKIE, Shared};

type Done = Result<(), Error>;

/// Serves both ends of the edge until told to stop.
pub fn run(
    ends: Vec<UnixStream>,
    door: &Path,
    facts: Shared,
    stopped: oneshot::Receiver<()>,
    ready: &Sender<()>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let listener = tokio::net::UnixListener::bind(door).unwrap();
        for end in ends {
            end.set_nonblocking(true).unwrap();
            let end = tokio::net::UnixStream::from_std(end).unwrap();
            let front: front::Client = new_client(Broker {
                facts: facts.clone(),
                door: door.to_owned(),
            });
            tokio::task::spawn_local(serve(end, front.client));
        }
        tokio::task::spawn_local(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let (cut, is_cut) = oneshot::channel();
                facts.update(|facts| facts.doors.push(Some(cut)));
                let door: grain_door::Client = new_client(Door(facts.clone()));
                let facts = facts.clone();
                tokio::task::spawn_local(async move {
                    tokio::select! {
                        () = serve(socket, door.client) => {}
                        _ = is_cut => {}
                    }
                    facts.update(|facts| facts.doors_closed += 1);
                });
            }
        });
        ready.send(()).unwrap();
        let _ = stopped.await;
    });
}

async fn serve(socket: tokio::net::UnixStream, bootstrap: Client) {
    let (reader, writer) = socket.into_split();
    let network = twoparty::VatNetwork::new(
        reader.compat(),
        writer.compat_write(),
        Side::Server,
        Default::default(),
    );
    let _ = RpcSystem::new(Box::new(network), Some(bootstrap)).await;
}

struct Door(Shared);

impl grain_door::Server for Door {
    async fn enter(
        self: Rc<Self>,
        params: grain_door::EnterParams,
        mut results: grain_door::EnterResults,
    ) -> Done {
        let params = params.get()?;
        let nonce = params.get_nonce()?.to_vec();
        let known = self.0.update(|facts| {
            let at = facts.nonces.iter().position(|known| *known == nonce)?;
            Some(facts.nonces.remove(at))
        });
        known.ok_or_else(|| Error::failed("nobody announced this nonce".to_owned()))?;
        let seen = params.get_params()?;
        let languages = seen
            .get_acceptable_languages()?
            .iter()
            .map(|language| language.unwrap().to_string().unwrap());
        let seen = (
            seen.get_base_path()?.to_string()?,
            seen.get_user_agent()?.to_string()?,
            languages.collect(),
        );
        self.0.update(|facts| facts.params.push(seen));
        let session: web_session::Client = new_client(App(self.0.clone()));
        results
            .get()
            .set_session(FromClientHook::new(session.into_client_hook()));
        Ok(())
    }
}

struct Broker {
    facts: Shared,
    door: PathBuf,
}

fn answer(mut reply: reply::Builder<'_>, status: u16, json: &str) {
    reply.set_status(status);
    reply.set_json(json);
}

impl front::Server for Broker {
    async fn settings(self: Rc<Self>, _: front::SettingsParams, mut results: front::SettingsResults) -> Done {
        answer(
            results.get().init_reply(),
            200,
            r#"{"title":"Test","setUp":true,"signedIn":false}"#,
        );
        Ok(())
    }

    async fn set_up(self: Rc<Self>, params: front::SetUpParams, mut results: front::SetUpResults) -> Done {
        if params.get()?.get_json()?.to_str()?.contains("right") {
            answer(results.get().init_reply(), 201, r#"{"name":"Owner"}"#);
            results.get().set_cookie(&[SHELL_COOKIE; 32]);
        } else {
            answer(
                results.get().init_reply(),
                403,
                r#"{"error":{"code":"wrong-secret","message":"No."}}"#,
            );
        }
        Ok(())
    }

    async fn sign_in(self: Rc<Self>, params: front::SignInParams, mut results: front::SignInResults) -> Done {
        let params = params.get()?;
        let client = params.get_client()?;
        let seen = format!(
            "{} {}",
            client.get_address()?.to_str()?,
            client.get_user_agent()?.to_str()?
        );
        self.facts.update(|facts| facts.calls.push(seen));
        if params.get_json()?.to_str()?.contains("right") {
            answer(results.get().init_reply(), 200, r#"{"name":"Owner"}"#);
            results.get().set_cookie(&[SHELL_COOKIE; 32]);
        } else {
            let json = r#"{"error":{"code":"too-many-attempts","message":"Wait.","retryAfter":30}}"#;
            answer(results.get().init_reply(), 429, json);
        }
        Ok(())
    }

    async fn resume(self: Rc<Self>, params: front::ResumeParams, mut results: front::ResumeResults) -> Done {
        if params.get()?.get_cookie()? == [SHELL_COOKIE; 32] {
            results.get().set_session(new_client(User(self.facts.clone())));
        }
        Ok(())
    }

    async fn enter(self: Rc<Self>, params: front::EnterParams, mut results: front::EnterResults) -> Done {
        let params = params.get()?;
        let known = params.get_host_id()?.to_str()? == PAGE && params.get_secret()? == [HAND_OVER; 32];
        if known
            && !self
                .facts
                .update(|facts| std::mem::replace(&mut facts.hand_over_used, true))
        {
            results.get().set_cookie(&[PAGE_COOKIE; 32]);
            results.get().set_path("/start?x=1");
        }
        Ok(())
    }

    async fn grain_session(
        self: Rc<Self>,
        params: front::GrainSessionParams,
        mut results: front::GrainSessionResults,
    ) -> Done {
        let params = params.get()?;
        if params.get_host_id()?.to_str()? != PAGE || params.get_cookie()? != [PAGE_COOKIE; 32] {
            return Ok(());
        }
        let (relaxed, failed, nonce) = self.facts.update(|facts| {
            facts.opened += 1;
            let nonce = facts.opened.to_be_bytes().to_vec();
            facts.nonces.push(nonce.clone());
            (facts.relaxed, facts.failed.clone(), nonce)
        });
        let mut access = results.get().init_access();
        access.set_socket_path(self.door.to_str().unwrap());
        access.set_nonce(&nonce);
        access.set_relaxed_policy(relaxed);
        match failed {
            Some(why) => access.set_failed(&why),
            None => access.set_ready(()),
        }
        Ok(())
    }
}

struct User(Shared);

impl user_session::Server for User {
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
            answer(
                results.get().init_reply(),
                404,
                r#"{"error":{"code":"not-found","message":"None."}}"#,
            );
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
            answer(
                results.get().init_reply(),
                404,
                r#"{"error":{"code":"not-found","message":"None."}}"#,
            );
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

struct Handle(Shared);

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

struct Grain(Shared);

impl Grain {
    fn note(&self, call: &str, json: Result<capnp::text::Reader<'_>, Error>) -> Done {
        let call = format!("{call} {}", json?.to_str()?);
        self.0.update(|facts| facts.calls.push(call));
        Ok(())
    }
}

impl grain_control::Server for Grain {
    async fn info(
        self: Rc<Self>,
        _: grain_control::InfoParams,
        mut results: grain_control::InfoResults,
    ) -> Done {
        answer(results.get().init_reply(), 200, r#"{"id":"g1"}"#);
        Ok(())
    }

    async fn open(
        self: Rc<Self>,
        params: grain_control::OpenParams,
        mut results: grain_control::OpenResults,
    ) -> Done {
        self.note("open", params.get()?.get_json())?;
        answer(results.get().init_reply(), 200, r#"{"host":"h","secret":"s"}"#);
        Ok(())
    }

    async fn rename(
        self: Rc<Self>,
        params: grain_control::RenameParams,
        mut results: grain_control::RenameResults,
    ) -> Done {
        self.note("rename", params.get()?.get_json())?;
        answer(results.get().init_reply(), 200, r#"{"title":"new"}"#);
        Ok(())
    }

    async fn configure(
        self: Rc<Self>,
        params: grain_control::ConfigureParams,
        mut results: grain_control::ConfigureResults,
    ) -> Done {
        self.note("configure", params.get()?.get_json())?;
        answer(results.get().init_reply(), 200, r#"{"relaxedPolicy":true}"#);
        Ok(())
    }

    async fn trash(
        self: Rc<Self>,
        _: grain_control::TrashParams,
        mut results: grain_control::TrashResults,
    ) -> Done {
        answer(results.get().init_reply(), 200, r#"{"trashed":1}"#);
        Ok(())
    }

    async fn restore(
        self: Rc<Self>,
        _: grain_control::RestoreParams,
        mut results: grain_control::RestoreResults,
    ) -> Done {
        answer(results.get().init_reply(), 200, r#"{"trashed":null}"#);
        Ok(())
    }

    async fn delete(
        self: Rc<Self>,
        _: grain_control::DeleteParams,
        mut results: grain_control::DeleteResults,
    ) -> Done {
        answer(results.get().init_reply(), 204, "");
        Ok(())
    }

    async fn restart(
        self: Rc<Self>,
        _: grain_control::RestartParams,
        mut results: grain_control::RestartResults,
    ) -> Done {
        answer(results.get().init_reply(), 200, r#"{"state":"running"}"#);
        Ok(())
    }

    async fn log(
        self: Rc<Self>,
        params: grain_control::LogParams,
        mut results: grain_control::LogResults,
    ) -> Done {
        let params = params.get()?;
        let line = format!("backlog {}\n", params.get_backlog());
        let stream = params.get_stream()?;
        tokio::task::spawn_local(async move {
            let mut write = stream.write_request();
            write.get().set_data(line.as_bytes());
            let _ = write.send().await;
            std::future::pending::<()>().await;
        });
        results.get().set_handle(new_client(Handle(self.0.clone())));
        Ok(())
    }
}
