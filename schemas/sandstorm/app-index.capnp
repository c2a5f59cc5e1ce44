@0xe16c039c931f2a8a;

using AppId = import "package.capnp".AppId;
using Category = import "package.capnp".Category;
using PackageDefinition = import "package.capnp".PackageDefinition;
using PackageId = import "package.capnp".PackageId;
using UiView = import "grain.capnp".UiView;

struct AppIndexForMarket @0xa43da085c301f238 {
  apps @0 :List(App);
  struct App @0xf6b7160210b82765 {
    appId @0 :AppId;
    name @1 :Text;
    version @2 :Text;
    packageId @3 :PackageId;
    imageId @4 :Text;
    webLink @5 :Text;
    codeLink @6 :Text;
    isOpenSource @7 :Bool;
    categories @8 :List(Text);
    author @9 :Identity;
    upstreamAuthor @11 :Text;
    shortDescription @10 :Text;
    createdAt @12 :Text;
    versionNumber @13 :UInt32;
    struct Identity @0xee5a5f9c4f34b435 {
      name @0 :Text;
      keybaseUsername @1 :Text;
      picture @2 :Text;
      githubUsername @3 :Text;
      twitterUsername @4 :Text;
      hackernewsUsername @5 :Text;
      redditUsername @6 :Text;
    }
  }
}
struct AppDetailsForMarket @0xddddd93c9a6351fb {
  description @0 :Text;
  screenshots @1 :List(Screenshot);
  license @2 :Text;
  struct Screenshot @0xfd0ad347fa56e43d {
    imageId @0 :Text;
    width @1 :UInt32;
    height @2 :UInt32;
  }
}
struct KeybaseIdentity @0x861df69e507ae6c8 {
  keybaseHandle @0 :Text;
  name @1 :Text;
  picture @2 :Text;
  websites @3 :List(Text);
  githubHandles @4 :List(Text);
  twitterHandles @5 :List(Text);
  hackernewsHandles @6 :List(Text);
  redditHandles @7 :List(Text);
}
struct ShortDescriptionOverrides @0xa5b52303f3b4ace4 {
  items @0 :List(Item);
  struct Item @0xc2716c445e6642bc {
    appId @0 :Text;
    shortDescription @1 :Text;
  }
}
struct CategoryTable @0xb23bf849bde97f32 {
  categories @0 :List(Category);
}
const approvePermission @0xc4e59ec61872ca27 :UInt32 = 0;
const reviewPermission @0xe061b2335a08980e :UInt32 = 1;
const submitPermission @0x838dd7a9a8cc3d99 :UInt32 = 2;
