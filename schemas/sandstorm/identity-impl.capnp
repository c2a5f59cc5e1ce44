@0xacf10e4407376d3f;

using Identity = import "identity.capnp".Identity;
using SystemPersistent = import "supervisor.capnp".SystemPersistent;

interface PersistentIdentity @0xaaecb6e5c137fd7a extends(Identity, SystemPersistent) {
  # An `Identity` as the platform sees it: one that apps can save.
}
