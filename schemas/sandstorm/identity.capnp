@0xc822108a5c3d7d25;
# People, as apps come to know them.

using LocalizedText = import "util.capnp".LocalizedText;
using StaticAsset = import "util.capnp".StaticAsset;

interface Identity @0xc084987aa951dd18 {
  # One person, as a capability. Implemented by the platform. An app receives it with every session
  # of a signed-in person and from powerbox choices; it may pass it on, compare it by
  # `SandstormApi.getIdentityId`, name it in activity events, and save it (persistent). It does not
  # let its holder act as that person, write to them, or find their other grains.

  getProfile @0 () -> (profile :Profile);
  # How the person presents themselves now. Profiles change; apps should keep the id, not the words.

  struct PowerboxTag @0xf35052cfb1d3bbe8 {
    # Asks for a person from the user's contacts. Choosing one also lets that person into the grain.

    permissions @0 :List(Bool);
    # What they will be allowed there, one bit for each of `ViewInfo.permissions`. A shorter list
    # means false for the rest.
  }
}

struct Profile @0xd3d0c34d7201fcef {
  # What a person chose to show. Nothing in it is unique or verified.

  displayName @0 :LocalizedText;

  preferredHandle @1 :Text;
  # A short name they would like, matching `^[a-z_][a-z0-9_]*$`. Two people may want the same one;
  # it must never serve as a key.

  picture @2 :StaticAsset;
  # A portrait, or a generated pattern when they gave none.

  pronouns @3 :Pronouns;

  enum Pronouns @0x84752dcf8539ab01 {
    # How to refer to the person in a sentence. `neutral` is also the answer of those who gave none.

    neutral @0;
    male @1;
    female @2;
    robot @3;
  }
}

struct UserInfo @0x94b9d1efb35d11d3 {
  # Who opens a session, and what they may do in it. The platform vouches for `permissions`,
  # `identityId` and `identity`; the rest is the person's own word.

  displayName @0 :LocalizedText;
  # "Anonymous User" for visitors who come by a link without revealing themselves.

  preferredHandle @4 :Text;
  # As in `Profile`; "anonymous" for anonymous visitors.

  pictureUrl @6 :Text;
  # Address of the portrait, or null.

  pronouns @5 :Profile.Pronouns;

  deprecatedPermissionsBlob @1 :Data;
  # `permissions` as packed bits, least significant first, for apps older than the list. Still
  # filled in, never read by the platform.

  permissions @3 :List(Bool);
  # One bit for each of `ViewInfo.permissions`, in that order. The owner has all of them; where the
  # app defines none, the list is empty for everybody. The app must enforce these: the platform
  # opens and closes sessions, it does not look into requests. A change ends the session.

  identityId @2 :Data;
  # 32 bytes that stand for this person in this grain, or null for the anonymous. Another grain sees
  # other bytes, so ids cannot be joined across grains. Stable over sessions, renames and restored
  # backups. The http bridge shows apps the first 16 bytes in hex.

  identity @7 :Identity;
  # The same person as a capability; null for the anonymous.
}
