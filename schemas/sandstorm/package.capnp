@0xdf9bc20172856a3a;
# What a package is: the file, the manifest in it, and the definition it is packed from.
#
# A package file is `magicNumber`, then one xz stream of two Cap'n Proto messages in unpacked stream
# framing, back to back: a `Signature` and an `Archive`. At most 1 GiB follow the signature. All of
# it is hostile until the signature holds, and its contents remain so afterwards.

using ApiSession = import "api-session.capnp".ApiSession;
using KeyValue = import "util.capnp".KeyValue;
using LocalizedText = import "util.capnp".LocalizedText;
using PowerboxDescriptor = import "powerbox.capnp".PowerboxDescriptor;
using PowerboxDisplayInfo = import "powerbox.capnp".PowerboxDisplayInfo;
using UiView = import "grain.capnp".UiView;

# ------------------------------------------------------------------------------------------------
# What an author writes

struct PackageDefinition @0x9f149fa71489be0b {
  # How to pack an app: the constant `pkgdef` of a file `sandstorm-pkgdef.capnp`. Never part of a
  # package.

  id @0 :Text;
  # The app id, 52 characters. The key for it has to be on the keyring.

  manifest @1 :Manifest;
  # Goes into the package as `sandstorm-manifest`. Must have a title and a marketing version.

  sourceMap @2 :SourceMap;
  # Where on the packing machine files come from.

  fileList @3 :Text;
  # Path of a text file, relative to the definition, that names what to pack: a path in the package
  # on each line, without a leading slash; empty lines and those with `#` in front do not count. A
  # directory listed is packed without its contents. A file listed and not found is an error.

  alwaysInclude @4 :List(Text);
  # Paths in the package to pack besides, directories with all that is in them; "." is everything.

  bridgeConfig @5 :BridgeConfig;
  # Goes into the package as `sandstorm-http-bridge-config`. For apps that run in the http bridge.
}

struct Manifest @0x855f296a69e6e1ca {
  # What an app is called and how it is started. Root of the message in `sandstorm-manifest`, which
  # must be a regular file at the top of the package.

  appTitle @7 :LocalizedText;

  appVersion @4 :UInt32;
  # Orders the versions of an app, and nothing else does. A grain moves to a package with a higher
  # one.

  minUpgradableAppVersion @5 :UInt32;
  # The oldest version whose grains this one can take over. Shipped Sandstorm does not read it.

  appMarketingVersion @6 :LocalizedText;
  # The version for people: "1.2.0".

  minApiVersion @0 :UInt32;
  maxApiVersion @1 :UInt32;
  # The platform API the app works with. Only 0 was ever defined: packing refuses more, and a
  # minimum above the maximum. Servers ignore both.

  metadata @8 :Metadata;

  actions @2 :List(Action);
  # Ways to make a new grain; asked for by position.

  continueCommand @3 :Command;
  # Runs at every start of a grain but its first. Without it, a grain cannot be opened again.

  const sizeLimitInWords @0xd9bd68bd9dba918f :UInt64 = 1048576;
  # A manifest has at most 8 MiB, counted as a traversal limit wherever it is read.

  struct Command @0xc64951b2a02886cf {
    # A program to run, as the first process of the grain's sandbox.

    argv @1 :List(Text);
    # The first is the path of the program inside the package; no shell and no `PATH` are involved.

    environ @2 :List(KeyValue);
    # The whole environment, in this order. The platform adds nothing, not even `SANDSTORM=1`.

    deprecatedExecutablePath @0 :Text;
    # In old packages: comes before `argv`, which may then be empty. Null otherwise.
  }

  struct Action @0xe5c59b9296375a00 {
    # One way to make a grain.

    input :union {
      # What it is made from.

      none @0 :Void;
      # Nothing: people choose it from a menu. Only such actions are shown.

      capability @1 :List(PowerboxDescriptor);
      # A capability that one of these describes.
    }

    command @2 :Command;
    # Runs at the grain's first start.

    title @3 :LocalizedText;
    # "New document". Serves as label in packages that have no noun phrase.

    nounPhrase @5 :LocalizedText;
    # What comes to be, to follow the word "new" on a button: "document".

    description @4 :LocalizedText;
  }
}

struct SourceMap @0xe3d7ba482b2e470b {
  # Where to look for the files of a package.

  searchPath @0 :List(Mapping);
  # Tried in order. The first that has a file gives it; directories that several have are merged.

  struct Mapping @0x87dcf1b1edcb3eaf {
    # A directory laid into the package's tree.

    packagePath @0 :Text;
    # Where in the package, without a leading slash; empty for the top.

    sourcePath @1 :Text;
    # Where on the packing machine, relative to the definition.

    hidePaths @2 :List(Text);
    # Paths below `sourcePath` that are as if absent, with all below them.
  }
}

struct BridgeConfig @0xdd8c82383168c096 {
  # What an app in the http bridge would otherwise say over Cap'n Proto. Root of the message in
  # `sandstorm-http-bridge-config`.

  viewInfo @0 :UiView.ViewInfo;
  # The bridge's answer to `UiView.getViewInfo`.

  apiPath @1 :Text;
  # Put before the path of every API request, with nothing between; so it must end in a slash.
  # Empty: the app has no API.

  saveIdentityCaps @2 :Bool;
  # Save the identity of everyone who comes, for `SandstormHttpBridge.getSavedIdentity`.

  expectAppHooks @4 :Bool;
  # The app will export `AppHooks`.

  powerboxApis @3 :List(PowerboxApi);
  # HTTP APIs that other grains can obtain in the powerbox. If there are any, they take the place of
  # `viewInfo.matchRequests`, and people choose among them on a page of the bridge's. Needs
  # `saveIdentityCaps`.

  struct PowerboxApi @0xc9702c7dbfc6d7e4 {
    # An API to give away.

    name @0 :Text;
    # What requests carry in `X-Sandstorm-Api`. Stored in what was given away: it must not change.

    displayInfo @1 :PowerboxDisplayInfo;

    path @2 :Text;
    # Put before the path of every request, with a slash between; so it should not end in one.

    tag @3 :ApiSession.PowerboxTag;
    # What it is, for requests to match.

    permissions @4 :List(Bool);
    # What requests made through it may do, exactly. Only who holds all of these can give it away.
  }
}

struct Metadata @0xe0c5892a5448f4ee {
  # An app as shown in a market and on the page that asks whether to install it. All of it is the
  # author's word, but for the parts the signatures cover.

  icons :group {
    # For those missing: `grain` and `market` use `appGrid`, `marketBig` uses `market`, and without
    # any, a pattern is made from the app id. Sizes are in pixels, with limits in bytes: an SVG may
    # have four times as many, and a PNG for dense screens twice as many.

    appGrid @0 :Icon;
    # 128×128, 64 kB.

    grain @1 :Icon;
    # 24×24, 4 kB.

    market @2 :Icon;
    # 150×150, 64 kB.

    marketBig @18 :Icon;
    # 300×300, 256 kB.
  }

  website @3 :Text;
  # Begins with http:// or https://, if there is one.

  codeUrl @4 :Text;
  # The source; otherwise as `website`.

  license :group {
    notices @9 :LocalizedText;
    # What the licences of parts of it want shown.

    union {
      none @5 :Void;
      # No licence is stated.

      openSource @6 :OpenSourceLicense;

      proprietary @7 :LocalizedText;
      # Terms. They must be accepted before the app is first used.

      publicDomain @8 :LocalizedText;
      # The statement that makes it so.
    }
  }

  categories @10 :List(Category);

  author :group {
    upstreamAuthor @19 :Text;
    # Who wrote the app, if the package is someone else's work.

    contactEmail @11 :Text;

    pgpSignature @12 :Data;
    # An OpenPGP message, signed inline and binary (what `gpg --sign` makes; a detached signature
    # will not do), whose text, trimmed, is "I am the author of the Sandstorm.io app with the
    # following ID: " and the app id: the canonical one, where keys were replaced. Needs
    # `pgpKeyring`.
  }

  pgpKeyring @13 :Data;
  # The public keys for it, as GPG exports them.

  description @14 :LocalizedText;

  shortDescription @15 :LocalizedText;
  # A few words, to stand below the title.

  screenshots @16 :List(Screenshot);

  changeLog @17 :LocalizedText;

  struct Icon @0xe492a2981208ad0b {
    # A picture in one of two formats. Foreign bytes: never served from an origin that matters.

    union {
      unknown @0 :Void;

      svg @1 :Text;

      png :group {
        dpi1x @2 :Data;
        # At the size the icon is used in.

        dpi2x @3 :Data;
        # At twice that; null if none.
      }
    }
  }

  struct Screenshot @0x8bc9f4365959348e {
    width @0 :UInt32;
    height @1 :UInt32;
    # Both in pixels, as shown; the picture may have more.

    union {
      unknown @2 :Void;
      png @3 :Data;
      jpeg @4 :Data;
    }
  }
}

struct OsiLicenseInfo @0xb755d258845a4a8f {
  # A licence the Open Source Initiative approves.

  id @0 :Text;
  # As the Initiative spells it.

  title @1 :Text;
  # For people.

  requireSource @2 :Bool;
  # Who hands out the program must offer its source: `codeUrl` is then called for.
}

annotation osiInfo @0x9476412d0315d869 (enumerant) :OsiLicenseInfo;

enum OpenSourceLicense @0xd86e43f42c8b0f74 {
  invalid @0;
  # Nobody's choice: what a forgotten value looks like.

  mit @1 $osiInfo(id = "MIT", title = "MIT License");
  apache2 @2 $osiInfo(id = "Apache-2.0", title = "Apache License v2");
  gpl3 @3 $osiInfo(id = "GPL-3.0", title = "GNU GPL v3", requireSource = true);
  agpl3 @4 $osiInfo(id = "AGPL-3.0", title = "GNU AGPL v3", requireSource = true);
  bsd3Clause @5 $osiInfo(id = "BSD-3-Clause", title = "BSD 3-Clause");
  bsd2Clause @6 $osiInfo(id = "BSD-2-Clause", title = "BSD 2-Clause");
  gpl2 @7 $osiInfo(id = "GPL-2.0", title = "GNU GPL v2", requireSource = true);
  lgpl2 @8 $osiInfo(id = "LGPL-2.1", title = "GNU LGPL v2.1", requireSource = true);
  lgpl3 @9 $osiInfo(id = "LGPL-3.0", title = "GNU LGPL v3", requireSource = true);
  isc @10 $osiInfo(id = "ISC", title = "ISC License");
  artistic2 @11 $osiInfo(id = "Artistic-2.0", title = "Artistic License v2");
  python2 @12 $osiInfo(id = "Python-2.0", title = "Python License v2");
  php3 @13 $osiInfo(id = "PHP-3.0", title = "PHP License v3");
  mpl2 @14 $osiInfo(id = "MPL-2.0", title = "Mozilla Public License v2", requireSource = true);
  cddl @15 $osiInfo(id = "CDDL-1.0", title = "CDDL", requireSource = true);
  epl @16 $osiInfo(id = "EPL-1.0", title = "Eclipse Public License", requireSource = true);
  cpal @17 $osiInfo(id = "CPAL-1.0", title = "Common Public Attribution License", requireSource = true);
  zlib @18 $osiInfo(id = "Zlib", title = "Zlib/libpng License");
}

# ------------------------------------------------------------------------------------------------
# What a package is known by

struct AppId @0x880c6c7782a33310 {
  # The Ed25519 public key an app is signed with: 32 bytes in order, so that `id0` holds the first
  # eight of them little-endian. As text, 52 characters of base32 over
  # `0123456789acdefghjkmnpqrstuvwxyz`, highest bits first. A replaced key stands for the original
  # one.

  id0 @0 :UInt64;
  id1 @1 :UInt64;
  id2 @2 :UInt64;
  id3 @3 :UInt64;
}

struct PackageId @0xe2e344d346ffda6b {
  # The first 16 bytes of the SHA-256 of the package file, compressed as it is, laid out like
  # `AppId`. As text, 32 digits of lower-case hex.

  id0 @0 :UInt64;
  id1 @1 :UInt64;
}

struct VerifiedInfo @0x987ef3040a0342a9 {
  # What `spk verify` prints about a package whose signatures hold.

  appId @0 :AppId;
  packageId @1 :PackageId;

  title @2 :LocalizedText;
  # From here on as in `Manifest`.

  version @3 :UInt32;
  marketingVersion @4 :LocalizedText;

  authorPgpKeyFingerprint @5 :Text;
  # Of the primary key that made `pgpSignature`, in upper-case hex; null if there is none.

  metadata @6 :Metadata;
}

struct CategoryInfo @0xb9d2951d34ca391c $import "/capnp/rust.capnp".name("CategoryTitle") {
  # Renamed in Rust, where it would clash with the module of the annotation.

  title @0 :Text;
  # For people.
}

annotation categoryInfo @0x8d51dd236606d205 (enumerant) :CategoryInfo;

enum Category @0x938e7e53b106e1c0 {
  # Where a market shows an app. An app may be in several.

  other @0 $categoryInfo(title = "Other");
  productivity @1 $categoryInfo(title = "Productivity");
  communications @2 $categoryInfo(title = "Communications");
  social @3 $categoryInfo(title = "Social");
  webPublishing @4 $categoryInfo(title = "Web Publishing");
  office @5 $categoryInfo(title = "Office");
  developerTools @6 $categoryInfo(title = "DevTools");
  science @7 $categoryInfo(title = "Science");
  media @8 $categoryInfo(title = "Media");
  games @9 $categoryInfo(title = "Games");
  graphics @10 $categoryInfo(title = "Graphics");
}

# ------------------------------------------------------------------------------------------------
# What the files hold

struct KeyFile @0xe47ce2b3aab90f74 {
  # A key on a keyring. A keyring is any number of these messages one after another, in unpacked
  # stream framing.

  publicKey @0 :Data;
  # 32 bytes: the app id.

  privateKey @1 :Data;
  # 64 bytes: the Ed25519 seed, then the public key once more. Secret.
}

const magicNumber @0x82bdd60d2cf486c9 :Data = 0x"8f c6 cd ef 45 1a ea 96";
# The first eight bytes of a package file. They alone are not compressed.

struct Signature @0xeca8b9277cb36488 {
  # First message of a package.

  publicKey @0 :Data;
  # 32 bytes: who signed.

  signature @1 :Data;
  # 128 bytes: an Ed25519 signature of 64, then the 64 it signs, which are the SHA-512 of all that
  # follows this message, the archive's segment table included. Both the signature and the hash have
  # to be checked.
}

struct Archive @0xf153ba7dee1c9118 {
  # Second message of a package: the tree that becomes the grain's root directory. Directories nest
  # deeper than the usual limit for pointers; reading takes one of 128.

  files @0 :List(File);
  # What is at the top.

  struct File @0xd92313d72a1ab4d0 {
    # There are no owners, no modes but one bit, no hard links and no devices.

    name @0 :Text;
    # Not empty, not "." or "..", with no slash and no NUL, and no second time in the same
    # directory. Anything else fails the whole package.

    lastModificationTimeNs @5 :Int64;
    # In nanoseconds since the Unix epoch, of either sign. Set as the time of access too.

    union {
      # An unknown kind fails the whole package.

      regular @1 :Data;
      # Contents, below 512 MiB. The same for `executable`.

      executable @2 :Data;

      symlink @3 :Text;
      # The target, kept as it is: it means something inside the sandbox only, and unpacking never
      # follows it.

      directory @4 :List(File);
    }
  }
}
