//! A broker that knows one account, one package and one grain, and the door of that grain.

mod grain;
mod person;

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::mpsc::Sender;

use capnp::Error;
use capnp::capability::{Client, FromClientHook};
use capnp_rpc::{RpcSystem, new_client, rpc_twoparty_capnp::Side, twoparty};
use percloud_schemas::front_capnp::{client, front, grain_access, reply};
use percloud_schemas::host_capnp::grain_door;
use percloud_schemas::util_capnp::blob;
use percloud_schemas::web_session_capnp::web_session;
use tokio::sync::oneshot;
use tokio_util::compat::{TokioAsyncReadCompatExt, TokioAsyncWriteCompatExt};

use crate::app::{App, pattern};
use crate::broker::person::User;
use crate::world::{API, HAND_OVER, PAGE, PAGE_COOKIE, SHELL_COOKIE, SITE, Shared, TOKEN};

type Done = Result<(), Error>;

/// Methods that write down what they are called with, and answer as told.
macro_rules! methods {
    ($interface:ident: $($name:ident($params:ident $(, $text:ident)*) -> $results:ident $status:literal $json:literal;)*) => {
        $(async fn $name(
            self: Rc<Self>,
            params: $interface::$params,
            mut results: $interface::$results,
        ) -> Done {
            #[allow(unused_mut)]
            let mut call = stringify!($name).to_owned();
            let _params = params.get()?;
            $(
                call.push(' ');
                call.push_str(_params.$text()?.to_str()?);
            )*
            self.0.update(|facts| facts.calls.push(call));
            answer(results.get().init_reply(), $status, $json);
            Ok(())
        })*
    };
}
use methods;

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
        let opened = self.0.read(|facts| facts.opened);
        let session: web_session::Client = new_client(App(self.0.clone(), opened));
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

const NOT_FOUND: &str = r#"{"error":{"code":"not-found","message":"None."}}"#;

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
        self.admit(results.get().init_access());
        Ok(())
    }

    async fn join(self: Rc<Self>, params: front::JoinParams, mut results: front::JoinResults) -> Done {
        let params = params.get()?;
        self.knock("join", params.get_json(), params.get_client()?)?;
        if params.get_json()?.to_str()?.contains("right") {
            answer(results.get().init_reply(), 201, r#"{"name":"New"}"#);
            results.get().set_cookie(&[SHELL_COOKIE; 32]);
        } else {
            let json = r#"{"error":{"code":"wrong-secret","message":"No."}}"#;
            answer(results.get().init_reply(), 403, json);
        }
        Ok(())
    }

    async fn look_at_link(
        self: Rc<Self>,
        params: front::LookAtLinkParams,
        mut results: front::LookAtLinkResults,
    ) -> Done {
        let params = params.get()?;
        self.knock("look", params.get_json(), params.get_client()?)?;
        if params.get_json()?.to_str()?.contains("right") {
            answer(
                results.get().init_reply(),
                200,
                r#"{"title":"Plan","grain":null}"#,
            );
        } else {
            let json = r#"{"error":{"code":"too-many-attempts","message":"Wait.","retryAfter":7}}"#;
            answer(results.get().init_reply(), 429, json);
        }
        Ok(())
    }

    async fn open_link(
        self: Rc<Self>,
        params: front::OpenLinkParams,
        mut results: front::OpenLinkResults,
    ) -> Done {
        let params = params.get()?;
        self.knock("follow", params.get_json(), params.get_client()?)?;
        answer(results.get().init_reply(), 200, r#"{"host":"h","secret":"s"}"#);
        Ok(())
    }

    async fn api_access(
        self: Rc<Self>,
        params: front::ApiAccessParams,
        mut results: front::ApiAccessResults,
    ) -> Done {
        let params = params.get()?;
        let (host, token) = (params.get_host_id()?.to_str()?, params.get_token()?.to_str()?);
        let address = params.get_remote_address()?.to_str()?;
        self.knock(
            "token",
            Ok(format!("{host} {address}").as_str().into()),
            params.get_client()?,
        )?;
        let revoked = self.facts.read(|facts| facts.revoked);
        if token == TOKEN && matches!(host, "api" | API) && !revoked {
            self.admit(results.get().init_access());
        }
        Ok(())
    }

    async fn api_host(
        self: Rc<Self>,
        params: front::ApiHostParams,
        mut results: front::ApiHostResults,
    ) -> Done {
        let params = params.get()?;
        let path = params.get_path()?.to_string()?;
        self.facts
            .update(|facts| facts.calls.push(format!("registered {path}")));
        if params.get_host_id()?.to_str()? != API || self.facts.read(|facts| facts.revoked) {
            return Ok(());
        }
        let mut results = results.get();
        results.set_known(true);
        let mut dav = results.reborrow().init_dav(3);
        dav.set(0, "1");
        dav.set(1, "calendar-access");
        dav.set(2, "bad\r\nclass");
        let (kind, body) = match path.as_str() {
            "/hello" => ("text/html; charset=utf-8", "<p>hello"),
            "/bad" => ("text/html\r\nX-Injected: yes", "<script>"),
            "/.well-known/caldav" => ("", "/dav/calendars/"),
            "/.well-known/carddav" => ("text/plain", "https://evil.example/"),
            _ => return Ok(()),
        };
        let mut resource = results.init_resource();
        resource.set_mime_type(kind);
        resource.set_language("en");
        resource.set_body(body.as_bytes());
        Ok(())
    }

    async fn keep_api_token(
        self: Rc<Self>,
        params: front::KeepApiTokenParams,
        mut results: front::KeepApiTokenResults,
    ) -> Done {
        let params = params.get()?;
        let known = params.get_token()?.to_str()? == TOKEN;
        let call = format!("keep {}", params.get_milliseconds());
        self.facts.update(|facts| facts.calls.push(call));
        results.get().set_known(known);
        Ok(())
    }

    async fn published_site(
        self: Rc<Self>,
        params: front::PublishedSiteParams,
        mut results: front::PublishedSiteResults,
    ) -> Done {
        let params = params.get()?;
        if params.get_public_id()?.to_str()? != SITE {
            return Ok(());
        }
        let path = params.get_path()?.to_string()?;
        self.facts
            .update(|facts| facts.calls.push(format!("published {path}")));
        let mut found = results.get().init_file();
        let size = match path.as_str() {
            "index.html" | "dir/index.html" | "README" | "a b/\u{fc}.txt" => 10,
            "empty.txt" => 0,
            "big.bin" | "short.bin" | "greedy.bin" => 1 << 20,
            "huge.bin" => 1 << 30,
            "dir" => {
                found.set_directory(());
                return Ok(());
            }
            _ => {
                found.set_not_found(());
                return Ok(());
            }
        };
        let mut file = found.init_file();
        file.set_size(size);
        file.set_read(new_client(File {
            facts: self.facts.clone(),
            path,
            size,
        }));
        Ok(())
    }
}

impl Broker {
    /// Writes down who knocked, and with what.
    fn knock(
        &self,
        call: &str,
        json: Result<capnp::text::Reader<'_>, Error>,
        client: client::Reader<'_>,
    ) -> Done {
        let seen = format!(
            "{call} {} from {} {}",
            json?.to_str()?,
            client.get_address()?.to_str()?,
            client.get_user_agent()?.to_str()?
        );
        self.facts.update(|facts| facts.calls.push(seen));
        Ok(())
    }

    fn admit(&self, mut access: grain_access::Builder<'_>) {
        let (relaxed, failed, nonce) = self.facts.update(|facts| {
            facts.opened += 1;
            let nonce = facts.opened.to_be_bytes().to_vec();
            facts.nonces.push(nonce.clone());
            (facts.relaxed, facts.failed.clone(), nonce)
        });
        access.set_socket_path(self.door.to_str().unwrap());
        access.set_nonce(&nonce);
        access.set_relaxed_policy(relaxed);
        match failed {
            Some(why) => access.set_failed(&why),
            None => access.set_ready(()),
        }
    }
}

/// A published file, some of which are not what they say.
struct File {
    facts: Shared,
    path: String,
    size: u64,
}

impl blob::Server for File {
    async fn get_slice(
        self: Rc<Self>,
        params: blob::GetSliceParams,
        mut results: blob::GetSliceResults,
    ) -> Done {
        let params = params.get()?;
        let (offset, size) = (params.get_offset(), u64::from(params.get_size()));
        assert!(size <= 64 << 10, "files are read in pieces");
        self.facts.update(|facts| facts.slices += 1);
        let end = if self.path == "short.bin" {
            100_000
        } else {
            self.size
        };
        let mut length = size.min(end.saturating_sub(offset));
        if self.path == "greedy.bin" && offset > 0 {
            length = size + 1;
        }
        let data = pattern(offset, usize::try_from(length).unwrap());
        results.get().set_data(&data);
        Ok(())
    }
}

impl Drop for File {
    fn drop(&mut self) {
        self.facts.update(|facts| facts.files_closed += 1);
    }
}
