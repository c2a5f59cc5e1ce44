@0xac137d236832bb1e;

using Identity = import "identity.capnp".Identity;
using PowerboxDescriptor = import "powerbox.capnp".PowerboxDescriptor;
using SandstormApi = import "grain.capnp".SandstormApi;
using SessionContext = import "grain.capnp".SessionContext;
using UiView = import "grain.capnp".UiView;

interface SandstormHttpBridge @0xad678f0d09bdd98a {
  getSandstormApi @0 () -> (api :SandstormApi);
  getSessionContext @1 (id :Text) -> (context :SessionContext);
  getSavedIdentity @2 (identityId :Text) -> (identity :Identity);
  saveIdentity @3 (identity :Identity) -> ();
  getSessionRequest @4 (id :Text) -> (requestInfo :List(PowerboxDescriptor));
  getSessionOffer @5 (id :Text) -> (offer :Capability, descriptor :PowerboxDescriptor);
}
interface AppHooks @0xcb12390f1429f70f(AppObjectId) {
  getViewInfo @0 () -> UiView.ViewInfo;
  restore @1 (objectId :AppObjectId) -> (cap :Capability);
  drop @2 (objectId :AppObjectId) -> ();
}
