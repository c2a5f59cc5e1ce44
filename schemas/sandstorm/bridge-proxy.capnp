@0xbf72526e76ecd73b;
# The JSON with which a bridged app claims what its page got from the powerbox: POST to
# `http://http-bridge/session/<session id>/claim`, through the bridge's proxy. Field names are
# these.

using LocalizedText = import "util.capnp".LocalizedText;

struct ProxyClaimRequestRequest @0xe85d79ab9bde4783 {
  requestToken @0 :Text;
  # What the page got in answer to `powerboxRequest`.

  requiredPermissions @1 :List(Text);
  # Permissions the person must keep here for it to work; by name, not by position.

  label @2 :LocalizedText;
  # What the app needs it for, as in `SandstormApi.save`.
}

struct ProxyClaimRequestResponse @0x88b48ab0daf5d8d0 {
  cap @0 :Text;
  # The saved token in base64. As bearer token of a request through the proxy it sends that request
  # to the capability, which has to be an `ApiSession`.
}
