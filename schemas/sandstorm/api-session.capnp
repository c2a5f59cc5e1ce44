@0xeb014c0c3413cbfb;
# HTTP for programs rather than browsers.

using IpAddress = import "ip.capnp".IpAddress;
using WebSession = import "web-session.capnp".WebSession;

interface ApiSession @0xc879e379c625cdc7 extends(WebSession) {
  # An HTTP API of a grain, or of something outside that a person connected. Held by the platform on
  # behalf of whoever has a web key, or by another grain that obtained it in the powerbox; in the
  # second case it can be persistent. Its holder can send any request below the API's root and none
  # above, with the permissions it was given out with. Cookies are carried neither way.

  struct Params @0xfee82d8d4c4ff597 {
    # `sessionParams` of `UiView.newSession` for this type.

    remoteAddress @0 :IpAddress;
    # Where the client is; null unless it sent `X-Sandstorm-Passthrough: address`.
  }

  struct PowerboxTag @0x93e1f7ca567dee32 {
    # Says which API is wanted or provided. By the powerbox's rules, a null field fits any.

    canonicalUrl @0 :Text;
    # The address people know the API by; also for an API which a grain provides in its place.

    oauthScopes @1 :List(OAuthScope);
    # What to ask the provider for where the API uses OAuth. Offered for hosts the platform has a
    # registration with.

    authentication @2 :Text;
    # How requests are authenticated towards the API, when a particular way is needed. The
    # credentials stay with the platform; the app never sees them.

    struct OAuthScope @0xbb95f31093b1fd88 {
      name @0 :Text;
      # As its provider spells it.
    }
  }
}
