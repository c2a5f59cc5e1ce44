@0xe16c039c931f2a8a;
# The documents of an app index. They are served as JSON, with these field names and with ids as
# text; what an index keeps for itself is here as well.

using AppId = import "package.capnp".AppId;
using Category = import "package.capnp".Category;
using PackageDefinition = import "package.capnp".PackageDefinition;
using PackageId = import "package.capnp".PackageId;
using UiView = import "grain.capnp".UiView;

struct AppIndexForMarket @0xa43da085c301f238 {
  # `/apps/index.json`: all there is, one entry for each app. Servers look daily for what is newer
  # than they have.

  apps @0 :List(App);

  struct App @0xf6b7160210b82765 {
    appId @0 :AppId;
    name @1 :Text;

    version @2 :Text;
    # For people. `versionNumber` decides what is newer.

    packageId @3 :PackageId;
    # The file is at `/packages/<packageId>`, and has to hash to this.

    imageId @4 :Text;
    # The icon is at `/images/<imageId>`.

    webLink @5 :Text;
    codeLink @6 :Text;
    # These two as `website` and `codeUrl` in `Metadata`.

    isOpenSource @7 :Bool;

    categories @8 :List(Text);
    # Titles, as in `categoryInfo`.

    author @9 :Identity;
    # Whoever holds the key of the author's signature.

    upstreamAuthor @11 :Text;
    shortDescription @10 :Text;
    # These two as in `Metadata`.

    createdAt @12 :Text;
    # When this version was published.

    versionNumber @13 :UInt32;
    # `Manifest.appVersion`

    struct Identity @0xee5a5f9c4f34b435 {
      # A person by their accounts elsewhere, as Keybase had verified them; null where there is
      # none.

      name @0 :Text;
      keybaseUsername @1 :Text;

      picture @2 :Text;
      # An address.

      githubUsername @3 :Text;
      twitterUsername @4 :Text;
      hackernewsUsername @5 :Text;
      redditUsername @6 :Text;
    }
  }
}

struct AppDetailsForMarket @0xddddd93c9a6351fb {
  # `/apps/<appId>.json`: what the page of one app shows besides.

  description @0 :Text;

  screenshots @1 :List(Screenshot);

  license @2 :Text;
  # In words.

  struct Screenshot @0xfd0ad347fa56e43d {
    imageId @0 :Text;
    # As in `App`.

    width @1 :UInt32;
    height @2 :UInt32;
    # In pixels.
  }
}

struct KeybaseIdentity @0x861df69e507ae6c8 {
  # What the index found out about the owner of a key. Kept by the index.

  keybaseHandle @0 :Text;
  name @1 :Text;

  picture @2 :Text;
  # An address.

  websites @3 :List(Text);
  githubHandles @4 :List(Text);
  twitterHandles @5 :List(Text);
  hackernewsHandles @6 :List(Text);
  redditHandles @7 :List(Text);
}

struct ShortDescriptionOverrides @0xa5b52303f3b4ace4 {
  # Short descriptions for apps whose packages have none. Kept by the index.

  items @0 :List(Item);

  struct Item @0xc2716c445e6642bc {
    appId @0 :Text;
    shortDescription @1 :Text;
  }
}

struct CategoryTable @0xb23bf849bde97f32 {
  categories @0 :List(Category);
  # All of them, in the order in which a market lists them.
}

const approvePermission @0xc4e59ec61872ca27 :UInt32 = 0;
# Position, in the view of the grain that runs an index, of the permission to publish what was
# handed in.

const reviewPermission @0xe061b2335a08980e :UInt32 = 1;
# The same for looking at what was handed in.

const submitPermission @0x838dd7a9a8cc3d99 :UInt32 = 2;
# The same for handing in.
