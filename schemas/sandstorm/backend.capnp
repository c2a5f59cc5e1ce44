@0xdcbc0d702b1b47a5;
# How Sandstorm's three server processes, which are backend, shell and gateway, divide their work.
# Apps never see it. Percloud divides it otherwise (`percloud/`); these serve as reference and for
# tools.

using ApiSession = import "api-session.capnp".ApiSession;
using ByteStream = import "util.capnp".ByteStream;
using GrainInfo = import "grain.capnp".GrainInfo;
using Handle = import "util.capnp".Handle;
using Manifest = import "package.capnp".Manifest;
using SandstormCore = import "supervisor.capnp".SandstormCore;
using Supervisor = import "supervisor.capnp".Supervisor;
using WebSession = import "web-session.capnp".WebSession;

interface Backend @0xc1b0e9713ac1ad4f {
  # Packages and grains on disk. Held by the shell alone; it can do everything to all of them.

  startGrain @0 (ownerId :Text, grainId :Text, packageId :Text, command :Manifest.Command, isNew :Bool,
                 devMode :Bool = false, mountProc :Bool = false) -> (supervisor :Supervisor);
  # Starts a grain's supervisor, or finds it running. `isNew` makes its directory, which must not
  # exist; otherwise it must. `mountProc` gives it a `/proc`, in `devMode` only.

  getGrain @1 (ownerId :Text, grainId :Text) -> (supervisor :Supervisor);
  # A running grain; fails if it is not running.

  deleteGrain @2 (ownerId :Text, grainId :Text) -> ();
  # Stops the grain and removes what it stored.

  installPackage @3 () -> (stream :PackageUploadStream);
  # Takes a package file.

  tryGetPackage @4 (packageId :Text) -> (appId :Text, manifest :Manifest, authorPgpKeyFingerprint :Text);
  # What is known of an unpacked package; nulls if it is not here.

  deletePackage @5 (packageId :Text) -> ();

  backupGrain @6 (backupId :Text, ownerId :Text, grainId :Text, info :GrainInfo) -> ();
  # Packs a grain into a backup, with `info` as metadata. The grain is frozen meanwhile, and one
  # that is not running cannot be started.

  restoreGrain @7 (backupId :Text, ownerId :Text, grainId :Text) -> (info :GrainInfo);
  # Unpacks a backup into a new grain.

  uploadBackup @8 (backupId :Text) -> (stream :ByteStream);
  downloadBackup @9 (backupId :Text, stream :ByteStream) -> ();

  deleteBackup @10 (backupId :Text) -> ();
  # Backups are temporary: they go two hours after they were made in any case.

  getUserStorageUsage @11 (userId :Text) -> (size :UInt64);
  # Bytes of all grains of a user.

  transferGrain @12 (ownerId :Text, grainId :Text, newOwnerId :Text) -> ();
  # Does nothing in shipped Sandstorm.

  deleteUser @13 (userId :Text) -> ();

  ping @14 () -> ();

  getGrainStorageUsage @15 (ownerId :Text, grainId :Text) -> (size :UInt64);
  # Bytes of one grain.

  interface PackageUploadStream @0xb481d35d0da2713c extends(ByteStream) {
    saveAs @0 (packageId :Text) -> (appId :Text, manifest :Manifest, authorPgpKeyFingerprint :Text);
    # Verifies and unpacks what was written. The id is that of the file, by the caller's account.
  }
}

interface GatewayRouter @0xc3a9d72077d3a1da {
  # What the gateway, which faces browsers, asks the shell. Held by the gateway alone.

  openUiSession @0 (sessionCookie :Text, params :WebSession.Params)
      -> (session :WebSession, loadingIndicator :Handle, parentOrigin :Text);
  # The session a cookie stands for. Waits up to a minute for one that is not known yet, since a
  # page may load before its session is registered. `loadingIndicator` is held until the page has
  # loaded; `parentOrigin` is who may frame it.

  openApiSession @1 (apiToken :Text, params :ApiSession.Params) -> (session :ApiSession);
  # The session a web key stands for.

  getStaticAsset @2 (id :Text) -> (content :Data, type :Text, encoding :Text);

  getStaticPublishingHost @3 (publicId :Text) -> (supervisor :Supervisor);
  # The grain that publishes under a public id; good for `getWwwFileHack`.

  routeForeignHostname @4 (hostname :Text) -> (info :ForeignHostnameInfo);
  # What to serve on a host that is not the server's own.

  subscribeTlsKeys @5 (callback :TlsKeyCallback) -> ();
  # Passes the certificate and each one that follows it.

  getApiHostOptions @6 (hostId :Text) -> (dav :List(Text));
  # What an API host answers to OPTIONS without a token.

  getApiHostResource @7 (hostId :Text, path :Text) -> (resource :StaticResource);
  # What an API host serves without a token; null for nothing.

  keepaliveApiToken @8 (apiToken :Text, durationMs :UInt32) -> ();
  # Puts off the end of a token that expires when unused.

  struct StaticResource @0xb78d8adc5c13b1b9 {
    # A resource registered with `renderTemplate`.

    type @0 :Text;
    language @1 :Text;
    encoding @2 :Text;
    body @3 :Data;
  }

  struct ForeignHostnameInfo @0xc70587321bf0dd8b {
    ttlSeconds @3 :UInt32;
    # How long the answer may be kept.

    union {
      unknown @0 :Void;
      # None of ours.

      staticPublishing @1 :Text;
      # A site of the user's, with its public id.

      standalone @2 :Void;
      # A shell around one grain.
    }
  }

  interface TlsKeyCallback @0xa37265bba0f4c58f {
    setKeys @0 (key :Text, certChain :Text) -> ();
    # Both in PEM. The key is secret.
  }
}

interface ShellCli @0xdd2b1e18de9ed1b8 {
  # What the command line asks the shell, by the Unix socket at `socketPath`. Whoever can open that
  # administers the server.

  createAcmeAccount @0 (directory :Text, email :Text, agreeToTerms :Bool) -> ();
  # Registers with a certificate authority (RFC 8555).

  setAcmeChallenge @1 (module :Text, options :Text) -> ();
  # How control of the domain is proven: a module and its options as JSON.

  renewCertificateNow @2 () -> ();

  const socketPath @0xb111b10de5e83a82 :Text = "var/sandstorm/socket/shell-cli";
  # Relative to the installation.
}

interface SandstormCoreFactory @0xf0832c3f66256d2b {
  # Bootstrap of the shell towards the backend.

  getSandstormCore @0 (grainId :Text) -> (core :SandstormCore);
  # For the supervisor of this grain.

  getGatewayRouter @1 () -> (router :GatewayRouter);
  # For the gateway.

  getShellCli @2 () -> (shellCli :ShellCli);
  # For the command line.
}
