@0xf44732d435305f86;
# The internet, as a capability. A grain has none of it until an administrator gives it some: its
# own network name space holds only the loopback.

using ByteStream = import "util.capnp".ByteStream;
using Handle = import "util.capnp".Handle;
using SystemPersistent = import "supervisor.capnp".SystemPersistent;

interface IpNetwork @0xa982576b7a2a2040 {
  # Outgoing traffic to anywhere. Implemented by the platform, granted in the powerbox by
  # administrators only. Persistent. It cannot listen; that takes an `IpInterface`.

  getRemoteHost @0 (address :IpAddress) -> (host :IpRemoteHost);
  # The right to reach one machine, for giving away instead of the whole network.

  getRemoteHostByName @1 (address :Text) -> (host :IpRemoteHost);
  # The same by name; the platform resolves it, since grains have no DNS.

  struct PowerboxTag @0xcf9e3f33950df819 {
    encryption @0 :Encryption;
    # How connections made through this network go over the wire.

    struct Encryption @0xe2d94cf90fe4078d {
      union {
        none @0 :Void;
        # As the app writes them.

        tls @1 :Void;
        # In TLS, which the platform speaks; the app sees plain text.
      }
    }
  }
}

struct IpAddress @0xeeb98f9937d32c0b {
  # An IPv6 address as two halves. IPv4 is written as an IPv4-mapped address (RFC 4291 section
  # 2.5.5.2): `upper64` = 0, `lower64` = 0x0000ffff00000000 | address.

  lower64 @0 :UInt64;
  # The last eight bytes, the first of them in the highest place.

  upper64 @1 :UInt64;
  # The first eight, likewise.
}

interface IpInterface @0xe32c506ee93ed6fa {
  # Incoming traffic. Implemented by the platform, granted in the powerbox by administrators only.
  # Persistent. It cannot connect to anything.

  listenTcp @0 (portNum :UInt16, port :TcpPort) -> (handle :Handle);
  # Has connections to this port passed to `port` until the handle is dropped. Fails if the port is
  # taken.

  listenUdp @1 (portNum :UInt16, port :UdpPort) -> (handle :Handle);
  # The same for datagrams.
}

interface IpRemoteHost @0x905dd76b298b3130 {
  # The right to reach one machine, on all its ports.

  getTcpPort @0 (portNum :UInt16) -> (port :TcpPort);
  # The right to connect to one port of it. Connects to nothing yet.

  getUdpPort @1 (portNum :UInt16) -> (port :UdpPort);
  # The right to send datagrams to one port of it.
}

interface TcpPort @0xeab20e1af07806b4 {
  # Something that accepts connections: a port far away, or the app's own for listening.

  connect @0 (downstream :ByteStream) -> (upstream :ByteStream);
  # One connection. What the other side sends is written to `downstream`, and what is written to
  # `upstream` goes to the other side. `done` ends a direction; dropping both ends the connection.
}

interface UdpPort @0xc6212e1217d001ce {
  # Something that accepts datagrams. As unreliable as they are: success says nothing about arrival.

  send @0 (message :Data, returnPort :UdpPort) -> ();
  # One datagram. Answers to it are sent to `returnPort`; null if none is expected.
}

struct IpPortPowerboxMetadata @0x856e71a6a4f22bba {
  # Value of a powerbox tag for a port: what the asking app would like best.

  preferredPortNum @0 :UInt16;
  # 0 for no preference.

  preferredHost @1 :Text;
  # Null for no preference.
}

interface PersistentIpNetwork @0xa5b3215660e038f2 extends(IpNetwork, SystemPersistent) {
  # An `IpNetwork` as the platform sees it.
}

interface PersistentIpInterface @0xcf43ebe6a5a6f1b4 extends(IpInterface, SystemPersistent) {
  # An `IpInterface` as the platform sees it.
}
