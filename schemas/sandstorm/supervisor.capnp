@0xc7205d6d32c7b040;
# How Sandstorm's own processes speak about a grain, and in what form it keeps references.
#
# Apps never hold what is defined here. Percloud's processes have interfaces of their own
# (`percloud/`); these serve data and tools that come from Sandstorm, and fix the meaning of saving
# and revoking.

using ActivityEvent = import "activity.capnp".ActivityEvent;
using ByteStream = import "util.capnp".ByteStream;
using Handle = import "util.capnp".Handle;
using Identity = import "identity.capnp".Identity;
using LocalizedText = import "util.capnp".LocalizedText;
using NotificationTarget = import "activity.capnp".NotificationTarget;
using OngoingNotification = import "activity.capnp".OngoingNotification;
using Persistent = import "/capnp/persistent.capnp".Persistent;
using ScheduledJob = import "grain.capnp".ScheduledJob;
using UiView = import "grain.capnp".UiView;

interface Supervisor @0x9951c12163385530 {
  # A grain from outside: bootstrap of its supervisor towards the shell. Holding it is holding the
  # grain. Not persistent. Of these methods only `getMainView`, `restore` and `drop` start the app
  # when it does not run; files, logs and keeping alive must not.

  getMainView @0 () -> (view :UiView);
  # The app's main view, inside the membrane: `MainView`'s own methods do not pass.

  keepAlive @1 (core :SandstormCore) -> ();
  # Puts off the end of an idle grain. The supervisor looks every 90 seconds whether anything
  # happened, so one call is good for 90 to 180. `core` replaces the connection to the shell if that
  # had broken.

  shutdown @2 () -> ();
  # Kills the app at once, without a warning. Never returns: "disconnected" is success.

  obsoleteGetGrainSize @3 () -> (size :UInt64);
  # Retired in favour of `SandstormCore.reportGrainSize`. Unimplemented.

  obsoleteGetGrainSizeWhenDifferent @4 (oldSize :UInt64) -> (size :UInt64);
  # Retired likewise. Unimplemented.

  restore @5 (ref :SupervisorObjectId, obsolete :List(MembraneRequirement), parentToken :Data)
      -> (cap :Capability);
  # A saved object of this grain. The caller has checked the token; `parentToken` is that token,
  # under which further saves become its children. `obsolete` once carried requirements, and is not
  # read: the caller applies them by `SystemPersistent.addRequirements`.

  drop @6 (ref :SupervisorObjectId) -> ();
  # The reference is gone. Ends a wake lock's; fails for an app's own objects in shipped Sandstorm.

  watchLog @7 (backlogAmount :UInt64, stream :ByteStream) -> (handle :Handle);
  # Replays up to `backlogAmount` bytes of the grain's log, then follows it until the handle is
  # dropped.

  syncStorage @8 () -> ();
  # Returns when all the grain wrote so far is on disk.

  getWwwFileHack @9 (path :Text, stream :ByteStream) -> (status :WwwFileStatus);
  # Writes a file below `/var/www` into `stream`, for static publishing. Paths that are not
  # canonical, and links that lead out, are `notFound`. Nothing is written for the other two
  # answers.

  enum WwwFileStatus @0x85ccf31fc4aff09c {
    file @0;
    directory @1;
    notFound @2;
  }
}

interface SandstormCore @0x9ba45778a294b60c {
  # The shell from a grain's point of view. Held by its supervisor; one for each grain, so that the
  # shell knows who calls. Most of `SandstormApi` ends here. Never given to an app.

  restore @0 (token :Data) -> (cap :Capability);
  # As `SandstormApi.restore`: only tokens which this grain owns.

  makeToken @1 (ref :SupervisorObjectId, owner :ApiTokenOwner, requirements :List(MembraneRequirement))
      -> (token :Data);
  # A token for an object of this grain, for `owner` to restore as long as all of `requirements`
  # hold.

  getOwnerNotificationTarget @2 () -> (owner :NotificationTarget);
  # Where the grain's owner is notified.

  drop @3 (token :Data) -> ();
  # As `SandstormApi.drop`.

  obsoleteCheckRequirements @4 () -> ();
  # Retired; requirements are checked when tokens are restored.

  makeChildToken @5 (parent :Data, owner :ApiTokenOwner, requirements :List(MembraneRequirement))
      -> (token :Data);
  # A token for what `parent` stands for, with requirements added. It dies with its parent.

  claimRequest @6 (requestToken :Text, requiredPermissions :List(Bool)) -> (cap :Capability);
  # As `SessionContext.claimRequest`.

  backgroundActivity @7 (event :ActivityEvent) -> ();
  # As `SandstormApi.backgroundActivity`.

  reportGrainSize @8 (bytes :UInt64) -> ();
  # How much the grain takes up on disk: blocks of all its files and logs, those with several names
  # divided by their number. Sent when it has changed, every 500 ms at most.

  getIdentityId @9 (identity :Identity) -> (id :Data);
  # As `SandstormApi.getIdentityId`.

  schedule @10 ScheduledJob -> ();
  # As `SandstormApi.schedule`.
}

struct MembraneRequirement @0x918db9a721f13886 {
  # A fact on which a reference depends. When it ceases to be true, the reference is dead.
  # References collect the facts of all hands they passed through.

  union {
    tokenValid @0 :Text;
    # The token with this id is not revoked, nor is any of its parents.

    permissionsHeld :group {
      # Somebody has all of `permissions` on a grain and can open it, the latter even if the list is
      # empty.

      grainId @2 :Text;

      permissions @3 :List(Bool);
      # By position in that grain's `ViewInfo.permissions`.

      userId @1 :Text;
      # Left over from older records; `accountId` took over.

      union {
        # Who.

        accountId @5 :Text;

        tokenId @6 :Text;
        # The anonymous bearer of this token.
      }
    }

    userIsAdmin @4 :Text;
    # This account administers the server. Stands behind `IpNetwork` and `IpInterface`.
  }
}

interface SystemPersistent @0xc38cedd77cbed5b4 extends(Persistent) {
  # What the platform can do with every persistent capability. The inherited `save` seals for an
  # `ApiTokenOwner`, which may not be null. Apps cannot call any of it: the membrane answers with an
  # error that points to `SandstormApi.save`.

  addRequirements @0 (requirements :List(MembraneRequirement), observer :RevocationObserver)
      -> (cap :SystemPersistent);
  # The same capability under more conditions; what is saved from it inherits them. This is how
  # authority that passes through a grain comes to depend on how the grain got it.

  interface RevocationObserver @0xcdda9d1436d7d206 {
    # Held by the capability that depends on something; implemented by whoever watches that.

    dropWhenRevoked @0 (handle :Handle) -> ();
    # Keeps `handle` until one of the requirements fails, then drops it.
  }
}

interface PersistentHandle @0xc22ce229c18c0a02 extends(SystemPersistent, Handle) {
  # A handle that survives restarts, such as that of a notification.
}

interface PersistentOngoingNotification @0xdbbdcec8587dd355 extends(SystemPersistent, OngoingNotification) {
  # A grain's wake lock, as the shell keeps it.
}

struct DenormalizedGrainMetadata @0xbdd9bea5585df6c5 {
  # What a list of shared grains shows, copied into the share so that no grain or package need be
  # asked.

  appTitle @0 :LocalizedText;

  union {
    icon :group {
      # A picture served as static asset.

      format @1 :Text;
      # "svg" or "png".

      assetId @2 :Text;

      assetId2xDpi @3 :Text;
      # For dense screens; null for none.
    }

    appId @4 :Text;
    # No picture: a pattern is made from the app id.
  }
}

struct ApiTokenOwner @0xda970537e2a8a9a9 {
  # Who may use a token. Checked at every restore.

  union {
    webkey @0 :Void;
    # Whoever knows it, over HTTP. Never a grain.

    grain :group {
      # One grain, through `SandstormApi.restore`.

      grainId @1 :Text;

      saveLabel @2 :LocalizedText;
      # What the app said when it saved.

      introducerIdentity @9 :Text;
      # Left over from older records, as the next one is.

      introducerUser @5 :Text;
    }

    internet @3 :AnyPointer;
    # A party on another server. Reserved: unused.

    frontend @4 :Void;
    # The shell itself, for notifications and scheduled jobs.

    user :group {
      # A person, in their list of grains. Views only.

      accountId @18 :Text;

      identityId @10 :Text;
      # Left over from older records, as `userId` is; `accountId` took over.

      title @7 :Text;
      # What this person calls the grain.

      denormalizedGrainMetadata @8 :DenormalizedGrainMetadata;

      userId @6 :Text;

      upstreamTitle @11 :Text;
      # What its owner calls the grain, as far as that differs.

      renamed @12 :Bool;
      # The person chose `title`; the owner's renaming leaves it alone.

      seenAllActivity @16 :Bool;
      # Nothing in it is unread.
    }

    clientPowerboxRequest :group {
      # A page that asked in the powerbox, until `claimRequest`; ten minutes at most.

      sessionId @15 :Text;
      # The only session that can claim it.

      grainId @13 :Text;

      introducerIdentity @14 :Text;
      # Left over from older records.
    }

    clientPowerboxOffer :group {
      # A capability offered to the person at this session; ten minutes at most.

      sessionId @17 :Text;
    }
  }
}

struct SupervisorObjectId @0x8e74650737dbb840(AppObjectId) {
  # What a token stands for inside a grain.

  union {
    appRef @0 :AppObjectId;
    # An object of the app, as it named it in `AppPersistent.save`. Kept unread, whatever struct it
    # is.

    wakeLockNotification @1 :UInt32;
    # The notification of a wake lock, counted in the supervisor's process.
  }
}
