@0xdcbc0d702b1b47a5;

using ApiSession = import "api-session.capnp".ApiSession;
using ByteStream = import "util.capnp".ByteStream;
using GrainInfo = import "grain.capnp".GrainInfo;
using Handle = import "util.capnp".Handle;
using Manifest = import "package.capnp".Manifest;
using SandstormCore = import "supervisor.capnp".SandstormCore;
using Supervisor = import "supervisor.capnp".Supervisor;
using WebSession = import "web-session.capnp".WebSession;

interface Backend @0xc1b0e9713ac1ad4f {
  startGrain @0 (ownerId :Text, grainId :Text, packageId :Text, command :Manifest.Command, isNew :Bool, devMode :Bool = false, mountProc :Bool = false) -> (supervisor :Supervisor);
  getGrain @1 (ownerId :Text, grainId :Text) -> (supervisor :Supervisor);
  deleteGrain @2 (ownerId :Text, grainId :Text) -> ();
  installPackage @3 () -> (stream :PackageUploadStream);
  tryGetPackage @4 (packageId :Text) -> (appId :Text, manifest :Manifest, authorPgpKeyFingerprint :Text);
  deletePackage @5 (packageId :Text) -> ();
  backupGrain @6 (backupId :Text, ownerId :Text, grainId :Text, info :GrainInfo) -> ();
  restoreGrain @7 (backupId :Text, ownerId :Text, grainId :Text) -> (info :GrainInfo);
  uploadBackup @8 (backupId :Text) -> (stream :ByteStream);
  downloadBackup @9 (backupId :Text, stream :ByteStream) -> ();
  deleteBackup @10 (backupId :Text) -> ();
  getUserStorageUsage @11 (userId :Text) -> (size :UInt64);
  transferGrain @12 (ownerId :Text, grainId :Text, newOwnerId :Text) -> ();
  deleteUser @13 (userId :Text) -> ();
  ping @14 () -> ();
  getGrainStorageUsage @15 (ownerId :Text, grainId :Text) -> (size :UInt64);
  interface PackageUploadStream @0xb481d35d0da2713c extends(ByteStream) {
    saveAs @0 (packageId :Text) -> (appId :Text, manifest :Manifest, authorPgpKeyFingerprint :Text);
  }
}
interface GatewayRouter @0xc3a9d72077d3a1da {
  openUiSession @0 (sessionCookie :Text, params :WebSession.Params) -> (session :WebSession, loadingIndicator :Handle, parentOrigin :Text);
  openApiSession @1 (apiToken :Text, params :ApiSession.Params) -> (session :ApiSession);
  getStaticAsset @2 (id :Text) -> (content :Data, type :Text, encoding :Text);
  getStaticPublishingHost @3 (publicId :Text) -> (supervisor :Supervisor);
  routeForeignHostname @4 (hostname :Text) -> (info :ForeignHostnameInfo);
  subscribeTlsKeys @5 (callback :TlsKeyCallback) -> ();
  getApiHostOptions @6 (hostId :Text) -> (dav :List(Text));
  getApiHostResource @7 (hostId :Text, path :Text) -> (resource :StaticResource);
  keepaliveApiToken @8 (apiToken :Text, durationMs :UInt32) -> ();
  struct StaticResource @0xb78d8adc5c13b1b9 {
    type @0 :Text;
    language @1 :Text;
    encoding @2 :Text;
    body @3 :Data;
  }
  struct ForeignHostnameInfo @0xc70587321bf0dd8b {
    ttlSeconds @3 :UInt32;
    union {
      unknown @0 :Void;
      staticPublishing @1 :Text;
      standalone @2 :Void;
    }
  }
  interface TlsKeyCallback @0xa37265bba0f4c58f {
    setKeys @0 (key :Text, certChain :Text) -> ();
  }
}
interface ShellCli @0xdd2b1e18de9ed1b8 {
  createAcmeAccount @0 (directory :Text, email :Text, agreeToTerms :Bool) -> ();
  setAcmeChallenge @1 (module :Text, options :Text) -> ();
  renewCertificateNow @2 () -> ();
  const socketPath @0xb111b10de5e83a82 :Text = "var/sandstorm/socket/shell-cli";
}
interface SandstormCoreFactory @0xf0832c3f66256d2b {
  getSandstormCore @0 (grainId :Text) -> (core :SandstormCore);
  getGatewayRouter @1 () -> (router :GatewayRouter);
  getShellCli @2 () -> (shellCli :ShellCli);
}
