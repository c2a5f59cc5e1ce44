//! The network, and ports of this machine, as capabilities.

mod listen;
mod pipe;

use std::cell::RefCell;
use std::net::{IpAddr, Ipv6Addr};
use std::rc::{Rc, Weak};
use std::time::Duration;

use capnp::Error;
use percloud_schemas::ip_capnp::{
    ip_address, ip_network, ip_remote_host, persistent_ip_network, tcp_port, udp_port,
};
use percloud_schemas::persistent_capnp::persistent;
use percloud_schemas::supervisor_capnp::system_persistent;
use tokio::net::UdpSocket;
use tokio::sync::OnceCell;
use tokio_util::task::AbortOnDropHandle;

use crate::gate::Refusal;
use crate::outlet::{Outlet, Room};
use crate::run::World;
use crate::tls;
pub(crate) use listen::Interface;
use pipe::join;

/// Longest datagram (RFC 768).
const DATAGRAM: usize = 65_535;
/// Pause after the kernel refused to accept or to receive.
const RECOVERY: Duration = Duration::from_millis(100);

/// Any public machine, held by one grain.
#[derive(Clone)]
pub(crate) struct Network {
    outlet: Rc<Outlet>,
    world: World,
    tls: bool,
}

impl Network {
    pub(crate) fn new(outlet: Rc<Outlet>, world: &World, tls: bool) -> Self {
        Self {
            outlet,
            world: world.clone(),
            tls,
        }
    }

    fn host(&self, name: String) -> ip_remote_host::Client {
        capnp_rpc::new_client(Host {
            network: self.clone(),
            name,
        })
    }
}

/// An address as the interface writes it.
fn read_address(address: ip_address::Reader<'_>) -> IpAddr {
    let bits = u128::from(address.get_upper64()) << 64 | u128::from(address.get_lower64());
    IpAddr::V6(Ipv6Addr::from_bits(bits)).to_canonical()
}

impl ip_network::Server for Network {
    async fn get_remote_host(
        self: Rc<Self>,
        params: ip_network::GetRemoteHostParams,
        mut results: ip_network::GetRemoteHostResults,
    ) -> Result<(), Error> {
        let address = read_address(params.get()?.get_address()?);
        results.get().set_host(self.host(address.to_string()));
        Ok(())
    }

    async fn get_remote_host_by_name(
        self: Rc<Self>,
        params: ip_network::GetRemoteHostByNameParams,
        mut results: ip_network::GetRemoteHostByNameResults,
    ) -> Result<(), Error> {
        let name = params.get()?.get_address()?.to_string()?;
        results.get().set_host(self.host(name));
        Ok(())
    }
}

impl persistent::Server for Network {
    async fn save(
        self: Rc<Self>,
        params: persistent::SaveParams,
        results: persistent::SaveResults,
    ) -> Result<(), Error> {
        self.outlet.save(params, results).await
    }
}

impl system_persistent::Server for Network {}
impl persistent_ip_network::Server for Network {}

/// One machine, on all its ports.
#[derive(Clone)]
struct Host {
    network: Network,
    name: String,
}

impl ip_remote_host::Server for Host {
    async fn get_tcp_port(
        self: Rc<Self>,
        params: ip_remote_host::GetTcpPortParams,
        mut results: ip_remote_host::GetTcpPortResults,
    ) -> Result<(), Error> {
        let number = params.get()?.get_port_num();
        let host = (*self).clone();
        results
            .get()
            .set_port(capnp_rpc::new_client(Tcp { host, number }));
        Ok(())
    }

    async fn get_udp_port(
        self: Rc<Self>,
        params: ip_remote_host::GetUdpPortParams,
        mut results: ip_remote_host::GetUdpPortResults,
    ) -> Result<(), Error> {
        if self.network.tls {
            return Err(Error::failed("datagrams cannot be encrypted".to_owned()));
        }
        results.get().set_port(capnp_rpc::new_client(Udp {
            host: (*self).clone(),
            number: params.get()?.get_port_num(),
            open: OnceCell::new(),
        }));
        Ok(())
    }
}

/// One port of one machine.
struct Tcp {
    host: Host,
    number: u16,
}

impl tcp_port::Server for Tcp {
    async fn connect(
        self: Rc<Self>,
        params: tcp_port::ConnectParams,
        mut results: tcp_port::ConnectResults,
    ) -> Result<(), Error> {
        let Network { outlet, world, tls } = &self.host.network;
        let downstream = params.get()?.get_downstream()?;
        let upstream = outlet
            .while_alive(async {
                let room = outlet.socket()?;
                let name = &self.host.name;
                let stream = world.gate.connect(&outlet.holder, name, self.number).await;
                let stream = stream.map_err(|refusal| Error::failed(refusal.to_string()))?;
                if !*tls {
                    return Ok(join(outlet, stream, downstream, room));
                }
                let encrypted = tls::encrypt(&world.tls, name, stream, world.limits.patience).await;
                let told = |error| Refusal::Unencrypted(name.clone(), error);
                let encrypted = encrypted.map_err(|error| Error::failed(told(error).to_string()))?;
                Ok(join(outlet, encrypted, downstream, room))
            })
            .await?;
        results.get().set_upstream(upstream);
        Ok(())
    }
}

/// One port of one machine, for datagrams. Its socket is made by the first of them.
struct Udp {
    host: Host,
    number: u16,
    open: OnceCell<Open>,
}

struct Open {
    /// The receiver's, which ends with the outlet.
    socket: Weak<UdpSocket>,
    /// Where answers go: where the last datagram said. The receiver's too, for it may be this very port.
    answers: Weak<RefCell<Option<udp_port::Client>>>,
    _receiver: AbortOnDropHandle<()>,
    _room: Room,
}

impl Udp {
    async fn open(self: &Rc<Self>) -> Result<Open, Error> {
        let Network { outlet, world, .. } = &self.host.network;
        let room = outlet.socket()?;
        let socket = world
            .gate
            .datagrams(&outlet.holder, &self.host.name, self.number)
            .await;
        let from = Rc::new(socket.map_err(|refusal| Error::failed(refusal.to_string()))?);
        let told = Rc::<RefCell<Option<udp_port::Client>>>::default();
        // Weak, so that the port ends when the grain lets go of it.
        let (socket, answers, port) = (Rc::downgrade(&from), Rc::downgrade(&told), Rc::downgrade(self));
        let receiver = outlet.spawn(async move {
            let mut datagram = vec![0; DATAGRAM];
            loop {
                let count = match from.recv(&mut datagram).await {
                    Ok(count) => count,
                    // Somebody on the way said that nobody listens there; later somebody may.
                    Err(_) => {
                        tokio::time::sleep(RECOVERY).await;
                        continue;
                    }
                };
                let Some(port) = port.upgrade() else { return };
                let Some(answer) = told.borrow().clone() else {
                    continue;
                };
                let mut request = answer.send_request();
                request.get().set_message(&datagram[..count]);
                request.get().set_return_port(capnp_rpc::new_client_from_rc(port));
                // What nobody takes is lost, as datagrams are.
                let _taken = request.send().promise.await;
            }
        });
        Ok(Open {
            socket,
            answers,
            _receiver: receiver,
            _room: room,
        })
    }
}

impl udp_port::Server for Udp {
    async fn send(
        self: Rc<Self>,
        params: udp_port::SendParams,
        _: udp_port::SendResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        self.host
            .network
            .outlet
            .while_alive(async {
                let open = self.open.get_or_try_init(|| self.open()).await?;
                if params.has_return_port()
                    && let Some(answers) = open.answers.upgrade()
                {
                    answers.replace(Some(params.get_return_port()?));
                }
                let socket = open.socket.upgrade();
                let socket = socket.ok_or_else(|| Error::disconnected("the port was closed".to_owned()))?;
                match socket.send(params.get_message()?).await {
                    // About an earlier one.
                    Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => Ok(()),
                    sent => Ok(sent.map(drop)?),
                }
            })
            .await
    }
}
