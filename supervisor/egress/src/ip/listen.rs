//! Ports of this machine.

use std::net::SocketAddr;
use std::rc::{Rc, Weak};

use capnp::Error;
use percloud_schemas::ip_capnp::{ip_interface, persistent_ip_interface, tcp_port, udp_port};
use percloud_schemas::persistent_capnp::persistent;
use percloud_schemas::supervisor_capnp::system_persistent;
use percloud_schemas::util_capnp::{byte_stream, handle};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

use super::pipe::join;
use super::{DATAGRAM, RECOVERY};
use crate::outlet::{Outlet, Room};
use crate::run::World;

/// Ports of this machine, held by one grain.
pub(crate) struct Interface {
    outlet: Rc<Outlet>,
    world: World,
}

impl Interface {
    pub(crate) fn new(outlet: Rc<Outlet>, world: &World) -> Self {
        Self {
            outlet,
            world: world.clone(),
        }
    }

    fn taken(number: u16) -> impl Fn(std::io::Error) -> Error {
        move |error| Error::failed(format!("port {number} cannot be had: {error}"))
    }
}

impl ip_interface::Server for Interface {
    async fn listen_tcp(
        self: Rc<Self>,
        params: ip_interface::ListenTcpParams,
        mut results: ip_interface::ListenTcpResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let (number, port) = (params.get_port_num(), params.get_port()?);
        let room = self.outlet.socket()?;
        let listener = TcpListener::bind((self.world.listen, number)).await;
        let listener = listener.map_err(Self::taken(number))?;
        let outlet = Rc::clone(&self.outlet);
        let task = self.outlet.spawn(accept(outlet, listener, port));
        results.get().set_handle(listening(task, room));
        Ok(())
    }

    async fn listen_udp(
        self: Rc<Self>,
        params: ip_interface::ListenUdpParams,
        mut results: ip_interface::ListenUdpResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let (number, port) = (params.get_port_num(), params.get_port()?);
        let room = self.outlet.socket()?;
        let socket = UdpSocket::bind((self.world.listen, number)).await;
        let socket = Rc::new(socket.map_err(Self::taken(number))?);
        let task = self.outlet.spawn(receive(Rc::clone(&self.outlet), socket, port));
        results.get().set_handle(listening(task, room));
        Ok(())
    }
}

impl persistent::Server for Interface {
    async fn save(
        self: Rc<Self>,
        params: persistent::SaveParams,
        results: persistent::SaveResults,
    ) -> Result<(), Error> {
        self.outlet.save(params, results).await
    }
}

impl system_persistent::Server for Interface {}
impl persistent_ip_interface::Server for Interface {}

/// Hands each connection to the grain. They end with the listening.
async fn accept(outlet: Rc<Outlet>, listener: TcpListener, port: tcp_port::Client) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                // Who finds no room is hung up on.
                Ok((stream, _)) => if let Ok(room) = outlet.socket() {
                    connections.spawn_local(hand_over(Rc::clone(&outlet), stream, port.clone(), room));
                }
                Err(_) => tokio::time::sleep(RECOVERY).await,
            },
            Some(_ended) = connections.join_next() => {}
        }
    }
}

/// Introduces one connection to the grain: each side's way out is the other's way in.
async fn hand_over(outlet: Rc<Outlet>, stream: TcpStream, port: tcp_port::Client, room: Room) {
    let _small_pieces_at_once = stream.set_nodelay(true);
    // Where its words go is known only from the answer, to which the way to it has to be told.
    let (told, upstream) = tokio::sync::oneshot::channel::<byte_stream::Client>();
    let from_outside: byte_stream::Client = capnp_rpc::new_future_client(async move {
        let gone = |_| Error::disconnected("the app did not take the connection".to_owned());
        upstream.await.map_err(gone)
    });
    let to_outside = join(&outlet, stream, from_outside, room);
    let mut request = port.connect_request();
    request.get().set_downstream(to_outside);
    let Ok(answer) = request.send().promise.await else {
        return;
    };
    let Ok(theirs) = answer.get().and_then(|answer| answer.get_upstream()) else {
        return;
    };
    let _joined = told.send(theirs);
}

/// Hands each datagram to the grain, with the way back to who sent it.
async fn receive(outlet: Rc<Outlet>, socket: Rc<UdpSocket>, port: udp_port::Client) {
    let mut datagram = vec![0; DATAGRAM];
    loop {
        let (count, from) = match socket.recv_from(&mut datagram).await {
            Ok(received) => received,
            Err(_) => {
                tokio::time::sleep(RECOVERY).await;
                continue;
            }
        };
        let mut request = port.send_request();
        request.get().set_message(&datagram[..count]);
        request.get().set_return_port(capnp_rpc::new_client(Sender {
            outlet: Rc::clone(&outlet),
            socket: Rc::downgrade(&socket),
            to: from,
        }));
        // One at a time: what comes meanwhile waits in the kernel, as far as it has room.
        let _taken = request.send().promise.await;
    }
}

/// Who sent a datagram. Can be answered as long as the port is listened to.
struct Sender {
    outlet: Rc<Outlet>,
    socket: Weak<UdpSocket>,
    to: SocketAddr,
}

impl udp_port::Server for Sender {
    async fn send(
        self: Rc<Self>,
        params: udp_port::SendParams,
        _: udp_port::SendResults,
    ) -> Result<(), Error> {
        self.outlet
            .while_alive(async {
                let message = params.get()?.get_message()?;
                let socket = self.socket.upgrade();
                let socket = socket.ok_or_else(|| Error::disconnected("the port was closed".to_owned()))?;
                socket.send_to(message, self.to).await?;
                Ok(())
            })
            .await
    }
}

fn listening(task: AbortOnDropHandle<()>, room: Room) -> handle::Client {
    capnp_rpc::new_client(Listening {
        _task: task,
        _room: room,
    })
}

/// Dropped by who does not want to listen any more.
struct Listening {
    _task: AbortOnDropHandle<()>,
    _room: Room,
}

impl handle::Server for Listening {
    async fn ping(self: Rc<Self>, _: handle::PingParams, _: handle::PingResults) -> Result<(), Error> {
        Ok(())
    }
}
