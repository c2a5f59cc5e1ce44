@0xdf9bc20172856a3a;

using ApiSession = import "api-session.capnp".ApiSession;
using KeyValue = import "util.capnp".KeyValue;
using LocalizedText = import "util.capnp".LocalizedText;
using PowerboxDescriptor = import "powerbox.capnp".PowerboxDescriptor;
using PowerboxDisplayInfo = import "powerbox.capnp".PowerboxDisplayInfo;
using UiView = import "grain.capnp".UiView;

struct PackageDefinition @0x9f149fa71489be0b {
  id @0 :Text;
  manifest @1 :Manifest;
  sourceMap @2 :SourceMap;
  fileList @3 :Text;
  alwaysInclude @4 :List(Text);
  bridgeConfig @5 :BridgeConfig;
}
struct Manifest @0x855f296a69e6e1ca {
  appTitle @7 :LocalizedText;
  appVersion @4 :UInt32;
  minUpgradableAppVersion @5 :UInt32;
  appMarketingVersion @6 :LocalizedText;
  minApiVersion @0 :UInt32;
  maxApiVersion @1 :UInt32;
  metadata @8 :Metadata;
  actions @2 :List(Action);
  continueCommand @3 :Command;
  const sizeLimitInWords @0xd9bd68bd9dba918f :UInt64 = 1048576;
  struct Command @0xc64951b2a02886cf {
    argv @1 :List(Text);
    environ @2 :List(KeyValue);
    deprecatedExecutablePath @0 :Text;
  }
  struct Action @0xe5c59b9296375a00 {
    input :union {
      none @0 :Void;
      capability @1 :List(PowerboxDescriptor);
    }
    command @2 :Command;
    title @3 :LocalizedText;
    nounPhrase @5 :LocalizedText;
    description @4 :LocalizedText;
  }
}
struct SourceMap @0xe3d7ba482b2e470b {
  searchPath @0 :List(Mapping);
  struct Mapping @0x87dcf1b1edcb3eaf {
    packagePath @0 :Text;
    sourcePath @1 :Text;
    hidePaths @2 :List(Text);
  }
}
struct BridgeConfig @0xdd8c82383168c096 {
  viewInfo @0 :UiView.ViewInfo;
  apiPath @1 :Text;
  saveIdentityCaps @2 :Bool;
  expectAppHooks @4 :Bool;
  powerboxApis @3 :List(PowerboxApi);
  struct PowerboxApi @0xc9702c7dbfc6d7e4 {
    name @0 :Text;
    displayInfo @1 :PowerboxDisplayInfo;
    path @2 :Text;
    tag @3 :ApiSession.PowerboxTag;
    permissions @4 :List(Bool);
  }
}
struct Metadata @0xe0c5892a5448f4ee {
  icons :group {
    appGrid @0 :Icon;
    grain @1 :Icon;
    market @2 :Icon;
    marketBig @18 :Icon;
  }
  website @3 :Text;
  codeUrl @4 :Text;
  license :group {
    notices @9 :LocalizedText;
    union {
      none @5 :Void;
      openSource @6 :OpenSourceLicense;
      proprietary @7 :LocalizedText;
      publicDomain @8 :LocalizedText;
    }
  }
  categories @10 :List(Category);
  author :group {
    upstreamAuthor @19 :Text;
    contactEmail @11 :Text;
    pgpSignature @12 :Data;
  }
  pgpKeyring @13 :Data;
  description @14 :LocalizedText;
  shortDescription @15 :LocalizedText;
  screenshots @16 :List(Screenshot);
  changeLog @17 :LocalizedText;
  struct Icon @0xe492a2981208ad0b {
    union {
      unknown @0 :Void;
      svg @1 :Text;
      png :group {
        dpi1x @2 :Data;
        dpi2x @3 :Data;
      }
    }
  }
  struct Screenshot @0x8bc9f4365959348e {
    width @0 :UInt32;
    height @1 :UInt32;
    union {
      unknown @2 :Void;
      png @3 :Data;
      jpeg @4 :Data;
    }
  }
}
struct OsiLicenseInfo @0xb755d258845a4a8f {
  id @0 :Text;
  title @1 :Text;
  requireSource @2 :Bool;
}
annotation osiInfo @0x9476412d0315d869 (enumerant) :OsiLicenseInfo;
enum OpenSourceLicense @0xd86e43f42c8b0f74 {
  invalid @0;
  mit @1;
  apache2 @2;
  gpl3 @3;
  agpl3 @4;
  bsd3Clause @5;
  bsd2Clause @6;
  gpl2 @7;
  lgpl2 @8;
  lgpl3 @9;
  isc @10;
  artistic2 @11;
  python2 @12;
  php3 @13;
  mpl2 @14;
  cddl @15;
  epl @16;
  cpal @17;
  zlib @18;
}
struct AppId @0x880c6c7782a33310 {
  id0 @0 :UInt64;
  id1 @1 :UInt64;
  id2 @2 :UInt64;
  id3 @3 :UInt64;
}
struct PackageId @0xe2e344d346ffda6b {
  id0 @0 :UInt64;
  id1 @1 :UInt64;
}
struct VerifiedInfo @0x987ef3040a0342a9 {
  appId @0 :AppId;
  packageId @1 :PackageId;
  title @2 :LocalizedText;
  version @3 :UInt32;
  marketingVersion @4 :LocalizedText;
  authorPgpKeyFingerprint @5 :Text;
  metadata @6 :Metadata;
}
struct CategoryInfo @0xb9d2951d34ca391c $import "/capnp/rust.capnp".name("CategoryTitle") {
  title @0 :Text;
}
annotation categoryInfo @0x8d51dd236606d205 (enumerant) :CategoryInfo;
enum Category @0x938e7e53b106e1c0 {
  other @0;
  productivity @1;
  communications @2;
  social @3;
  webPublishing @4;
  office @5;
  developerTools @6;
  science @7;
  media @8;
  games @9;
  graphics @10;
}
struct KeyFile @0xe47ce2b3aab90f74 {
  publicKey @0 :Data;
  privateKey @1 :Data;
}
const magicNumber @0x82bdd60d2cf486c9 :Data = 0x"8f c6 cd ef 45 1a ea 96";
struct Signature @0xeca8b9277cb36488 {
  publicKey @0 :Data;
  signature @1 :Data;
}
struct Archive @0xf153ba7dee1c9118 {
  files @0 :List(File);
  struct File @0xd92313d72a1ab4d0 {
    name @0 :Text;
    lastModificationTimeNs @5 :Int64;
    union {
      regular @1 :Data;
      executable @2 :Data;
      symlink @3 :Text;
      directory @4 :List(File);
    }
  }
}
