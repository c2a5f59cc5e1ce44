//! Joins one app, its broker and its door: everything a host does but end.

use std::cell::RefCell;
use std::io;
use std::os::unix::net::UnixListener;
use std::rc::Rc;
use std::time::SystemTime;

use capnp::Error;
use capnp::capability::Client;
use capnp_rpc::rpc_twoparty_capnp::Side as VatSide;
use futures::channel::oneshot;
use percloud_schemas::grain_capnp::ui_view;
use percloud_schemas::host_capnp::{grain_host, host_keeper};
use tokio::net::UnixStream;
use tokio::task::{JoinHandle, spawn_local};

use crate::app::{App, Sessions};
use crate::broker::GrainHost;
use crate::config::{Ended, Freezer, Limits, RefusedSyscall};
use crate::crowd::Crowd;
use crate::door;
use crate::link::{Bounds, Gauge, Link, Pulse, bounds};
use crate::log::Log;
use crate::membrane::Realm;
use crate::platform::api::sandstorm_api;
use crate::platform::{Platform, WakeLocks};
use crate::rest::{Concerned, Rest};
use crate::share::Share;

/// Where a host's sockets lead.
pub(crate) struct Ends {
    pub(crate) grain: String,
    pub(crate) rpc: UnixStream,
    pub(crate) broker: UnixStream,
    pub(crate) door: UnixListener,
    pub(crate) log: Log,
    pub(crate) share: Rc<Share>,
    pub(crate) refused: Option<Box<dyn Fn() -> Vec<RefusedSyscall> + Send>>,
    pub(crate) freezer: Option<Box<dyn Freezer>>,
    pub(crate) limits: Limits,
    pub(crate) clock: fn() -> SystemTime,
}

/// A connection that is served until it ends.
pub(crate) type Connection = JoinHandle<Result<(), Error>>;

/// Everything that runs for one app.
pub(crate) struct Wired {
    pub(crate) realm: Realm,
    pub(crate) wake: Rc<WakeLocks>,
    pub(crate) rest: Rc<Rest>,
    /// Who may want something of the app.
    pub(crate) concerned: Concerned,
    pub(crate) keeper: host_keeper::Client,
    pub(crate) app_link: Connection,
    pub(crate) broker_link: Connection,
    pub(crate) door: JoinHandle<io::Result<()>>,
    /// Looks for peers that silence the app.
    pub(crate) watch: JoinHandle<()>,
    /// Told when the broker wants an end.
    pub(crate) end: oneshot::Receiver<Ended>,
}

impl Wired {
    pub(crate) fn start(ends: Ends) -> Self {
        let Ends {
            grain,
            rpc,
            broker,
            door,
            log,
            share,
            refused,
            freezer,
            limits,
            clock,
        } = ends;
        let realm = Realm::default();

        // What the app says goes to those at the door and to other hosts, and what they say to it: each side waits
        // for the other.
        let to_app = Rc::new(Gauge::default());
        let crowd = Crowd::new(limits.queued_bytes, limits.stall);
        realm.refuse_when({
            let (to_app, most, crowd) = (Rc::clone(&to_app), limits.queued_bytes, Rc::clone(&crowd));
            move || {
                crowd.call();
                to_app.bytes() > most
            }
        });

        let platform = Platform::new(&realm, grain, &limits, clock, Rc::clone(&crowd));
        let pulse = Rc::<Pulse>::default();
        let rest = Rest::new(freezer, &pulse);
        let app_bounds = Bounds {
            calls_run_to_their_end: true,
            pulse: Some(Rc::clone(&pulse)),
            ..bounds(&limits, to_app, Some(crowd.gauge()))
        };
        let mut app_link = Link::new(
            rpc,
            VatSide::Server,
            app_bounds,
            Some(sandstorm_api(Rc::clone(&platform))),
        );
        let view: Client = app_link.bootstrap();
        let app = Rc::new(App::new(
            ui_view::Client { client: view.clone() },
            limits.clone(),
            log.clone(),
        ));
        let sessions = Rc::new(Sessions::new(
            Rc::clone(&app),
            Rc::clone(&platform),
            realm.clone(),
        ));

        let (ender, end) = oneshot::channel();
        let face: grain_host::Client = capnp_rpc::new_client(GrainHost {
            app: Rc::clone(&app),
            sessions: Rc::clone(&sessions),
            platform: Rc::clone(&platform),
            realm: realm.clone(),
            membrane: realm.membrane(),
            log,
            share,
            limits: limits.clone(),
            refused,
            rest: Rc::clone(&rest),
            end: RefCell::new(Some(ender)),
        });
        let mut broker_link = Link::new(
            broker,
            VatSide::Client,
            bounds(&limits, Rc::default(), None),
            Some(face.client),
        );
        let keeper: host_keeper::Client = broker_link.bootstrap();

        let watch = spawn_local({
            let (crowd, realm) = (Rc::clone(&crowd), realm.clone());
            async move { crowd.watch(|| realm.pending() > 0).await }
        });
        platform.connect(capnp::capability::FromClientHook::new(view.hook), keeper.clone());
        Self {
            realm: realm.clone(),
            wake: Rc::clone(&platform.wake),
            concerned: Concerned {
                app,
                realm: realm.clone(),
                locks: Rc::clone(&platform.wake),
                sessions: Rc::clone(&sessions),
                pulse,
            },
            rest,
            keeper,
            app_link: spawn_local(app_link.run()),
            broker_link: spawn_local(broker_link.run()),
            door: spawn_local(door::keep(door, sessions, limits, crowd)),
            watch,
            end,
        }
    }
}
