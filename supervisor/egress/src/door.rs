//! The door: who knocks with a nonce of the broker takes the outlet that was announced for it, once.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use capnp::Error;
use capnp_rpc::rpc_twoparty_capnp::Side;
use hyper::header::HeaderValue;
use percloud_core::web_address::WebAddress;
use percloud_link::{Bounds, Link};
use percloud_schemas::api_session_impl_capnp::persistent_api_session;
use percloud_schemas::egress_capnp::{egress, egress_keeper, outlet};
use percloud_schemas::host_capnp::grain_door;
use percloud_schemas::ip_capnp::{persistent_ip_interface, persistent_ip_network};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::holder::{Holder, Holders};
use crate::ip::{Interface, Network};
use crate::outlet::{Id, Outlet, Outlets};
use crate::run::World;
use crate::site::Site;

/// How long a nonce is good for.
const NONCE: Duration = Duration::from_secs(30);
/// Nonces that may be waiting, and those of one holder.
const NONCES: usize = 10_000;
const NONCES_OF_ONE: usize = 1000;
/// How long a connection may last on which nothing has been taken.
const HESITATION: Duration = Duration::from_secs(10);
/// Pause after the kernel refused to accept, which it does when it is out of descriptors.
const RECOVERY: Duration = Duration::from_millis(100);

/// What an outlet leads to.
enum Kind {
    Website {
        address: WebAddress,
        authorization: Option<HeaderValue>,
    },
    Network {
        tls: bool,
    },
    Interface,
}

impl Kind {
    fn read(outlet: outlet::Reader<'_>) -> Result<Self, Error> {
        use outlet::Which;
        Ok(match outlet.which()? {
            Which::Website(website) => {
                let address = WebAddress::parse(website.get_url()?.to_str()?);
                let address = address.map_err(|problem| Error::failed(problem.to_string()))?;
                let authorization = if website.has_authorization() {
                    let mut value = HeaderValue::from_bytes(website.get_authorization()?.as_bytes())
                        .map_err(|_| Error::failed("a credential that fits in no header".to_owned()))?;
                    value.set_sensitive(true);
                    Some(value)
                } else {
                    None
                };
                Self::Website {
                    address,
                    authorization,
                }
            }
            Which::Network(network) => Self::Network {
                tls: network.get_tls(),
            },
            Which::Interface(()) => Self::Interface,
        })
    }
}

struct Announced {
    reference: Id,
    holder: Arc<Holder>,
    kind: Kind,
    until: Instant,
}

/// What has been announced and not been taken, and what was.
pub(crate) struct Door {
    world: World,
    outlets: Outlets,
    holders: Holders,
    announced: RefCell<HashMap<[u8; 32], Announced>>,
}

impl Door {
    pub(crate) fn new(world: World) -> Self {
        Self {
            outlets: Outlets::new(),
            holders: Holders::new(world.limits.connections, world.limits.in_all),
            world,
            announced: RefCell::default(),
        }
    }

    /// Introduces the broker. To be called before its connection is run.
    pub(crate) fn know(&self, keeper: egress_keeper::Client) {
        self.outlets.know(keeper);
    }

    fn announce(&self, nonce: &[u8], reference: &[u8], holder: &str, kind: Kind) -> Result<(), Error> {
        let odd = |_| Error::failed("a nonce has 32 bytes, a reference 16".to_owned());
        let (nonce, reference) = (nonce.try_into().map_err(odd)?, reference.try_into().map_err(odd)?);
        let now = Instant::now();
        let mut announced = self.announced.borrow_mut();
        announced.retain(|_, waiting| now < waiting.until);
        let holder = self.holders.get(holder);
        let of_one = announced
            .values()
            .filter(|waiting| Arc::ptr_eq(&waiting.holder, &holder));
        if announced.len() >= NONCES || of_one.count() >= NONCES_OF_ONE {
            return Err(Error::overloaded("too many wait at the door".to_owned()));
        }
        announced.insert(
            nonce,
            Announced {
                reference,
                holder,
                kind,
                until: now + NONCE,
            },
        );
        Ok(())
    }

    fn take(&self, nonce: &[u8]) -> Result<(Weak<Outlet>, capnp::capability::Client), Error> {
        let unknown = || Error::failed("nobody was announced with this nonce".to_owned());
        let nonce: [u8; 32] = nonce.try_into().map_err(|_| unknown())?;
        let announced = self.announced.borrow_mut().remove(&nonce);
        let announced = announced
            .filter(|announced| Instant::now() < announced.until)
            .ok_or_else(unknown)?;
        let outlet = self.outlets.list(announced.reference, announced.holder)?;
        let taken = Rc::downgrade(&outlet);
        let client = match announced.kind {
            Kind::Website {
                address,
                authorization,
            } => {
                let site = Site::new(outlet, &self.world, address, authorization);
                let client: persistent_api_session::Client = capnp_rpc::new_client(site);
                client.client
            }
            Kind::Network { tls } => {
                let client: persistent_ip_network::Client =
                    capnp_rpc::new_client(Network::new(outlet, &self.world, tls));
                client.client
            }
            Kind::Interface => {
                let client: persistent_ip_interface::Client =
                    capnp_rpc::new_client(Interface::new(outlet, &self.world));
                client.client
            }
        };
        Ok((taken, client))
    }
}

impl egress::Server for Door {
    async fn admit(
        self: Rc<Self>,
        params: egress::AdmitParams,
        _: egress::AdmitResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let kind = Kind::read(params.get_outlet()?)?;
        let holder = params.get_holder()?.to_str()?;
        self.announce(params.get_nonce()?, params.get_reference()?, holder, kind)
    }

    async fn end(self: Rc<Self>, params: egress::EndParams, _: egress::EndResults) -> Result<(), Error> {
        let reference = params.get()?.get_reference()?;
        self.announced
            .borrow_mut()
            .retain(|_, announced| announced.reference != *reference);
        self.outlets.end(reference).await;
        Ok(())
    }
}

/// One connection to the door.
struct Visit {
    door: Rc<Door>,
    taken: RefCell<Vec<Weak<Outlet>>>,
}

impl grain_door::Server for Visit {
    async fn take(
        self: Rc<Self>,
        params: grain_door::TakeParams,
        mut results: grain_door::TakeResults,
    ) -> Result<(), Error> {
        let (outlet, client) = self.door.take(params.get()?.get_nonce()?)?;
        let mut taken = self.taken.borrow_mut();
        taken.retain(|outlet| outlet.strong_count() > 0);
        taken.push(outlet);
        results.get().init_cap().set_as_capability(client.hook);
        Ok(())
    }
}

/// Accepts connections until dropped.
pub(crate) async fn keep(listener: UnixListener, door: Rc<Door>, most: usize) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < most => match accepted {
                Ok((stream, _)) => {
                    connections.spawn_local(serve(stream, Rc::clone(&door)));
                }
                Err(_) => tokio::time::sleep(RECOVERY).await,
            },
            Some(_ended) = connections.join_next() => {}
        }
    }
}

/// Serves one connection. What was taken on it ends with it.
async fn serve(stream: UnixStream, door: Rc<Door>) {
    let visit = Rc::new(Visit {
        door,
        taken: RefCell::default(),
    });
    let client: grain_door::Client = capnp_rpc::new_client_from_rc(Rc::clone(&visit));
    let mut link =
        std::pin::pin!(Link::new(stream, Side::Server, Bounds::default(), Some(client.client)).run());
    tokio::select! {
        _ended = &mut link => {}
        () = hesitation(&visit) => {}
    }
    // Connections that nobody can use any more are not kept for calls that will never be answered.
    for outlet in visit.taken.take().iter().filter_map(Weak::upgrade) {
        outlet.end();
    }
}

/// Over when a visitor has waited too long; never for one who took something.
async fn hesitation(visit: &Visit) {
    tokio::time::sleep(HESITATION).await;
    if !visit.taken.borrow().is_empty() {
        std::future::pending::<()>().await;
    }
}
