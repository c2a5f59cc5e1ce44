@0xa949cfa7be07085b;

using ApiSession = import "api-session.capnp".ApiSession;
using SystemPersistent = import "supervisor.capnp".SystemPersistent;

interface PersistentApiSession @0xaca1efb8eb6cd18a extends(ApiSession, SystemPersistent) {
  # An `ApiSession` from the powerbox, as the platform sees it: one that apps can save.
}
