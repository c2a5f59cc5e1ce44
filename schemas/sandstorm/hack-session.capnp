@0xbf6889795837d1e0;
# Things apps needed before there were capabilities for them. Kept because packages use them; no
# model for new interfaces.

using EmailAddress = import "email.capnp".EmailAddress;
using EmailSendPort = import "email.capnp".EmailSendPort;
using IpInterface = import "ip.capnp".IpInterface;
using IpNetwork = import "ip.capnp".IpNetwork;
using SessionContext = import "grain.capnp".SessionContext;
using UiSession = import "grain.capnp".UiSession;
using UiView = import "grain.capnp".UiView;
using UserInfo = import "identity.capnp".UserInfo;

interface HackSessionContext @0xe14c1f5321159b8f extends(SessionContext, EmailSendPort) {
  # What every `SessionContext` of the platform also is. Unlike the rest of the context, these
  # methods act for the grain's owner, whoever the session belongs to. Not persistent.
  #
  # `send` mails in the grain's name. Shipped Sandstorm allows 20 recipients for a message and 50
  # messages a day for an owner, and as sender the grain's address, which is also what a missing one
  # becomes, or the owner's verified one. `hintAddress` is unimplemented there.

  getPublicId @0 () -> (publicId :Text, hostname :Text, autoUrl :Text, isDemoUser :Bool);
  # The grain's public id, 20 characters of a-z and 0-9, made on the first call and then for ever.
  # From then on the platform publishes `/var/www` and accepts mail for the grain: the id is for the
  # world, and is not the grain id. `hostname` is the server's, to which a domain of the user's must
  # point; `autoUrl` is where the site can be seen without one.

  obsoleteHttpGet @1 (url :Text) -> (mimeType :Text, content :Data);
  # Retired, like all that follow but one: grains ask for a network or an API in the powerbox.
  # Throws.

  getUserAddress @2 () -> EmailAddress;
  # The owner's name and primary verified address.

  obsoleteGenerateApiToken @3 (petname :Text, userInfo :UserInfo, expires :UInt64 = 0)
      -> (token :Text, endpointUrl :Text, tokenId :Text);
  # Retired; pages send `renderTemplate` to the shell. Throws.

  obsoleteListApiTokens @4 () -> (tokens :List(TokenInfo));
  # Retired; the owner sees them in the shell. Throws.

  obsoleteRevokeApiToken @5 (tokenId :Text) -> ();
  # Retired; the owner revokes in the shell. Throws.

  obsoleteGetIpNetwork @6 () -> (network :IpNetwork);
  # Retired; it is a powerbox choice. Throws.

  obsoleteGetIpInterface @7 () -> (interface :IpInterface);
  # Retired; it is a powerbox choice. Throws.

  obsoleteGetUiViewForEndpoint @8 (url :Text) -> (view :UiView);
  # Retired; it is a powerbox choice. Throws.

  struct TokenInfo @0xf910658ae8c6674d {
    # Left over from `obsoleteListApiTokens`.

    tokenId @0 :Text;
    petname @1 :Text;
    userInfo @2 :UserInfo;
  }
}

interface HackEmailSession @0xc3b5ced7344b04a6 extends(UiSession, EmailSendPort) {
  # Mail for the grain's public id. The platform opens such a session, with params that mean
  # nothing, and calls `send`. The http bridge answers by a file in the Maildir `/var/mail`, which
  # the app must have made.
}
