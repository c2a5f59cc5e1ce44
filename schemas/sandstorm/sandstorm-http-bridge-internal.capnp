@0xf963cc483d8f9e3a;

using ApiSession = import "api-session.capnp".ApiSession;
using AppPersistent = import "grain.capnp".AppPersistent;
using PowerboxDescriptor = import "powerbox.capnp".PowerboxDescriptor;

struct BridgeObjectId @0xde7c54260c265bb4 {
  union {
    application @0 :AnyPointer;
    httpApi @1 :HttpApi;
  }
  struct HttpApi @0x903896a2654fb12b {
    name @0 :Text;
    path @1 :Text;
    permissions @2 :List(Bool);
    identityId @3 :Data;
  }
}
interface BridgeHttpSession @0xb71e38915c2a2afc extends(ApiSession, AppPersistent(BridgeObjectId)) {
}
struct SessionInfo @0xcf999463ccff87dd {
  union {
    normal @0 :Void;
    request :group {
      requestInfo @1 :List(PowerboxDescriptor);
    }
    offer :group {
      offer @2 :Capability;
      descriptor @3 :PowerboxDescriptor;
    }
  }
}
