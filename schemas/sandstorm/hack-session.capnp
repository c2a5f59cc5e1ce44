@0xbf6889795837d1e0;

using EmailAddress = import "email.capnp".EmailAddress;
using EmailSendPort = import "email.capnp".EmailSendPort;
using IpInterface = import "ip.capnp".IpInterface;
using IpNetwork = import "ip.capnp".IpNetwork;
using SessionContext = import "grain.capnp".SessionContext;
using UiSession = import "grain.capnp".UiSession;
using UiView = import "grain.capnp".UiView;
using UserInfo = import "identity.capnp".UserInfo;

interface HackSessionContext @0xe14c1f5321159b8f extends(SessionContext, EmailSendPort) {
  getPublicId @0 () -> (publicId :Text, hostname :Text, autoUrl :Text, isDemoUser :Bool);
  obsoleteHttpGet @1 (url :Text) -> (mimeType :Text, content :Data);
  getUserAddress @2 () -> EmailAddress;
  obsoleteGenerateApiToken @3 (petname :Text, userInfo :UserInfo, expires :UInt64 = 0) -> (token :Text, endpointUrl :Text, tokenId :Text);
  obsoleteListApiTokens @4 () -> (tokens :List(TokenInfo));
  obsoleteRevokeApiToken @5 (tokenId :Text) -> ();
  obsoleteGetIpNetwork @6 () -> (network :IpNetwork);
  obsoleteGetIpInterface @7 () -> (interface :IpInterface);
  obsoleteGetUiViewForEndpoint @8 (url :Text) -> (view :UiView);
  struct TokenInfo @0xf910658ae8c6674d {
    tokenId @0 :Text;
    petname @1 :Text;
    userInfo @2 :UserInfo;
  }
}
interface HackEmailSession @0xc3b5ced7344b04a6 extends(UiSession, EmailSendPort) {
}
