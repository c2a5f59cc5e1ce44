@0xf963cc483d8f9e3a;
# What the http bridge keeps for itself. Object ids outlive versions of the bridge, so this is for
# ever too.

using ApiSession = import "api-session.capnp".ApiSession;
using AppPersistent = import "grain.capnp".AppPersistent;
using PowerboxDescriptor = import "powerbox.capnp".PowerboxDescriptor;

struct BridgeObjectId @0xde7c54260c265bb4 {
  # `AppObjectId` of a grain that runs in the bridge.

  union {
    application @0 :AnyPointer;
    # An object of the app: what its own `AppPersistent.save` said.

    httpApi @1 :HttpApi;
    # One of the APIs in `BridgeConfig.powerboxApis`, given away.
  }

  struct HttpApi @0x903896a2654fb12b {
    # All that decides what requests may do, copied so that a new configuration changes no old
    # grant.

    name @0 :Text;
    path @1 :Text;
    permissions @2 :List(Bool);
    # These three as in `BridgeConfig.PowerboxApi`.

    identityId @3 :Data;
    # Who gave it away, 32 bytes: requests are made in their name.
  }
}

interface BridgeHttpSession @0xb71e38915c2a2afc extends(ApiSession, AppPersistent(BridgeObjectId)) {
  # Such an API as the bridge exports it. Persistent.
}

struct SessionInfo @0xcf999463ccff87dd {
  # What a session was opened for; `X-Sandstorm-Session-Type` names the alternative.

  union {
    normal @0 :Void;

    request :group {
      requestInfo @1 :List(PowerboxDescriptor);
      # The query to answer.
    }

    offer :group {
      offer @2 :Capability;
      descriptor @3 :PowerboxDescriptor;
      # The capability to receive, and what it is.
    }
  }
}
