//! Goes to the door of a running grain and comes back with a session.

use std::cell::Cell;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use capnp::capability::FromClientHook;
use capnp_rpc::rpc_twoparty_capnp::Side;
use hyper::HeaderMap;
use hyper::header::{ACCEPT_LANGUAGE, USER_AGENT};
use percloud_core::host::SessionHost;
use percloud_core::secret::Secret;
use percloud_link::{Bounds, Link};
use percloud_schemas::front_capnp::{front, grain_access};
use percloud_schemas::host_capnp::grain_door;
use percloud_schemas::web_session_capnp::web_session;
use rustix::io::Errno;
use rustix::net::{RecvFlags, Shutdown};
use tokio::net::UnixStream;

use crate::edge::Edge;
use crate::grain::sessions::Way;
use crate::respond::Refusal;

/// Longest user agent and list of languages passed on, in bytes and entries.
const USER_AGENT_BYTES: usize = 1024;
const LANGUAGES: usize = 32;

/// A connection to a grain host, closed when dropped.
pub(super) struct Connection {
    gone: Rc<Cell<bool>>,
    socket: OwnedFd,
}

impl Connection {
    /// Whether the other side is known to have closed it.
    pub(super) fn is_gone(&self) -> bool {
        self.gone.get()
    }

    /// Asks the kernel whether the other side has closed it, before we have been told. For requests that cannot be
    /// sent twice.
    pub(super) fn is_closed(&self) -> bool {
        let peeked = rustix::net::recv(&self.socket, &mut [0; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT);
        match peeked {
            Ok((read, _)) => read == 0,
            Err(error) => error != Errno::AGAIN && error != Errno::INTR,
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Both halves read an end, and the task that drives them finishes.
        let _ = rustix::net::shutdown(&self.socket, Shutdown::Both);
    }
}

/// What came through the door.
pub(super) struct Entered {
    pub web: web_session::Client,
    pub relaxed: bool,
    pub connection: Connection,
}

/// Asks the broker for the grain that is meant and enters it.
///
/// # Errors
///
/// [`Refusal::PageClosed`] or [`Refusal::NoSuchToken`] when what was brought opens nothing here, whatever the reason;
/// else what failed.
pub(super) async fn enter(edge: &Edge, way: Way<'_>, browser: &HeaderMap) -> Result<Entered, Refusal> {
    let (access, host, base_path) = match way {
        Way::Page(host, cookie) => (
            ask(&edge.front, host, cookie).await?,
            host.as_str(),
            edge.base.session_origin(host),
        ),
        Way::Program(visit) => (
            visit.ask(&edge.front).await?,
            visit.host().as_str(),
            // What an app that knows no API sessions is told (sheet 5.5).
            "https://sandbox".to_owned(),
        ),
    };
    let failed = |error: &dyn std::fmt::Display| {
        tracing::info!(%error, host, "entering a grain");
        Refusal::AppGone
    };
    let socket = UnixStream::connect(&access.socket_path)
        .await
        .map_err(|error| failed(&error))?;
    let kept = socket
        .as_fd()
        .try_clone_to_owned()
        .map_err(|error| failed(&error))?;
    // A grain host that was taken over by its app is bounded like any stranger.
    let mut link = Link::new(socket, Side::Client, Bounds::default(), None);
    let door: grain_door::Client = link.bootstrap();
    let gone = Rc::new(Cell::new(false));
    let told = gone.clone();
    tokio::task::spawn_local(async move {
        let _ = link.run().await;
        told.set(true);
    });
    let connection = Connection { gone, socket: kept };

    let mut request = door.enter_request();
    let mut knock = request.get();
    knock.set_nonce(&access.nonce);
    fill(knock.init_params(), &base_path, browser);
    let entered = request.send().promise.await.map_err(|error| {
        // A nonce that was not honoured is between the host and us, not the app's doing.
        tracing::info!(%error, host, "entering a grain");
        Refusal::from_app(&error)
    })?;
    let session = entered
        .get()
        .and_then(|results| results.get_session())
        .map_err(|error| failed(&error))?;
    // The door gives a `UiSession` because that is what apps make; the kind asked for was a `WebSession`.
    let web = web_session::Client::new(session.into_client_hook());
    Ok(Entered {
        web,
        relaxed: access.relaxed,
        connection,
    })
}

/// How to reach a grain that is awake.
pub(crate) struct Access {
    socket_path: String,
    nonce: Vec<u8>,
    relaxed: bool,
}

impl Access {
    /// Reads what the broker says.
    ///
    /// # Errors
    ///
    /// [`Refusal::GrainFailed`] with the broker's reason, or that its answer is damaged.
    pub(crate) fn read(access: grain_access::Reader<'_>) -> Result<Self, Refusal> {
        let read = || -> Result<Result<Self, Refusal>, capnp::Error> {
            if let grain_access::Failed(why) = access.which()? {
                return Ok(Err(Refusal::GrainFailed(why?.to_string()?)));
            }
            Ok(Ok(Self {
                socket_path: access.get_socket_path()?.to_string()?,
                nonce: access.get_nonce()?.to_vec(),
                relaxed: access.get_relaxed_policy(),
            }))
        };
        read().unwrap_or_else(|error| Err(Refusal::from_broker(&error)))
    }
}

async fn ask(front: &front::Client, host: &SessionHost, cookie: &Secret) -> Result<Access, Refusal> {
    let mut request = front.grain_session_request();
    request.get().set_host_id(host.as_str());
    request.get().set_cookie(cookie.expose());
    let reply = request
        .send()
        .promise
        .await
        .map_err(|error| Refusal::from_broker(&error))?;
    let broken = |error| Refusal::from_broker(&error);
    let reply = reply.get().map_err(broken)?;
    if !reply.has_access() {
        return Err(Refusal::PageClosed);
    }
    Access::read(reply.get_access().map_err(broken)?)
}

/// What the session knows of the browser (sheet 5.2).
fn fill(mut params: web_session::params::Builder<'_>, base_path: &str, browser: &HeaderMap) {
    params.set_base_path(base_path);
    let text = |name| {
        browser
            .get(name)
            .and_then(|value: &hyper::header::HeaderValue| value.to_str().ok())
    };
    let agent = text(USER_AGENT).filter(|agent| !agent.is_empty() && agent.len() <= USER_AGENT_BYTES);
    params.set_user_agent(agent.unwrap_or("UnknownAgent/0.0"));
    let asked: Vec<&str> = text(ACCEPT_LANGUAGE)
        .into_iter()
        .flat_map(|languages| languages.split(','))
        .map(str::trim)
        .filter(|language| !language.is_empty())
        .take(LANGUAGES)
        .collect();
    let languages = if asked.is_empty() {
        &["en-US", "en"][..]
    } else {
        &asked
    };
    let mut list = params.init_acceptable_languages(u32::try_from(languages.len()).expect("at most 32"));
    for (index, language) in (0..).zip(languages) {
        list.set(index, language);
    }
}
