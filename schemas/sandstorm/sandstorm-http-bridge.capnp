@0xac137d236832bb1e;
# What the http bridge offers to the web app beside it, over the socket `/tmp/sandstorm-api`. It
# never leaves the grain.

using Identity = import "identity.capnp".Identity;
using PowerboxDescriptor = import "powerbox.capnp".PowerboxDescriptor;
using SandstormApi = import "grain.capnp".SandstormApi;
using SessionContext = import "grain.capnp".SessionContext;
using UiView = import "grain.capnp".UiView;

interface SandstormHttpBridge @0xad678f0d09bdd98a {
  # Bootstrap of that socket, for any process of the grain and any number of connections. Not
  # persistent.
  #
  # `id` is what requests carry in `X-Sandstorm-Session-Id`: a decimal number, counted from 0 in
  # each process, so that a restart uses the same ones again. An unknown id is an error.

  getSandstormApi @0 () -> (api :SandstormApi);
  # The grain's own platform API.

  getSessionContext @1 (id :Text) -> (context :SessionContext);
  # The context of a session, as long as that lives. Can be cast to `HackSessionContext`.

  getSavedIdentity @2 (identityId :Text) -> (identity :Identity);
  # The person with this id, as `X-Sandstorm-User-Id` spells it (32 hex digits), signed in or not.
  # Needs `BridgeConfig.saveIdentityCaps`, and that they were here before.

  saveIdentity @3 (identity :Identity) -> ();
  # Keeps an identity that came another way, such as the powerbox, for `getSavedIdentity`.

  getSessionRequest @4 (id :Text) -> (requestInfo :List(PowerboxDescriptor));
  # What a session of the type `request` was asked for.

  getSessionOffer @5 (id :Text) -> (offer :Capability, descriptor :PowerboxDescriptor);
  # What a session of the type `offer` was given.
}

interface AppHooks @0xcb12390f1429f70f(AppObjectId) {
  # What a bridged app can do itself instead of leaving it to the bridge. Exported by the app as
  # bootstrap on its first connection to the socket, if `BridgeConfig.expectAppHooks` is set. Held
  # by the bridge alone.

  getViewInfo @0 () -> UiView.ViewInfo;
  # Answers in place of `BridgeConfig.viewInfo`; that is used when this is unimplemented.

  restore @1 (objectId :AppObjectId) -> (cap :Capability);
  # As `MainView.restore`, for the objects the app saves. The ids of the bridge's own do not get
  # here.

  drop @2 (objectId :AppObjectId) -> ();
  # As `MainView.drop`.
}
