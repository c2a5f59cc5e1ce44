@0xc8d91463cfc4fb4a;
# What a grain and the platform are to each other.
#
# Over descriptor 3 the platform offers an app `SandstormApi`, and the app offers the platform a
# `MainView`. Everything else in this file is reached from these two.

using ActivityEvent = import "activity.capnp".ActivityEvent;
using ActivityTypeDef = import "activity.capnp".ActivityTypeDef;
using Assignable = import "util.capnp".Assignable;
using Handle = import "util.capnp".Handle;
using Identity = import "identity.capnp".Identity;
using LocalizedText = import "util.capnp".LocalizedText;
using NotificationDisplayInfo = import "activity.capnp".NotificationDisplayInfo;
using OngoingNotification = import "activity.capnp".OngoingNotification;
using PowerboxDescriptor = import "powerbox.capnp".PowerboxDescriptor;
using PowerboxDisplayInfo = import "powerbox.capnp".PowerboxDisplayInfo;
using Profile = import "identity.capnp".Profile;
using StaticAsset = import "util.capnp".StaticAsset;
using UserInfo = import "identity.capnp".UserInfo;

# ------------------------------------------------------------------------------------------------
# What the platform does for a grain

interface SandstormApi @0xd2654fcf2a7002cb(AppObjectId) {
  # Bootstrap of the platform towards an app: what a grain may do with nobody looking at it. Every
  # grain holds its own from boot to death. Not persistent. It reaches nothing outside the grain
  # that a person has not given to it.
  #
  # `AppObjectId` is the app's own type for naming the objects it can save; to the platform it is
  # opaque.

  deprecatedPublish @0 () -> ();
  # Retired; keeps its number. Answers unimplemented.

  deprecatedRegisterAction @1 () -> ();
  # Retired; keeps its number. Answers unimplemented.

  shareCap @2 (cap :Capability, displayInfo :PowerboxDisplayInfo)
      -> (sharedCap :Capability, link :SharingLink);
  # Wraps a capability for giving away, so that what was given shows up in the grain's sharing and
  # can be revoked there. Sandstorm, as shipped, answers unimplemented; so apps need a plan without
  # it.

  shareView @3 (view :UiView) -> (sharedView :UiView, link :ViewSharingLink);
  # The same for a view, whose share carries a role. Unimplemented in shipped Sandstorm.

  restore @4 (token :Data) -> (cap :Capability);
  # Turns a token from `save` back into a live capability. Only the grain that saved it can: the
  # token of another grain, and a web key, are refused. Fails too when the token was dropped or
  # revoked, has expired, stems from one of which that is true, or when a requirement it was given
  # under (somebody's permission on some grain) no longer holds. The capability lasts as long as the
  # process and its connection: after "disconnected", restore again. A restored `UiView` answers
  # `getViewInfo` only: sessions are for people, and an app cannot open one.

  drop @5 (token :Data) -> ();
  # Forgets a token, for good. Succeeds silently for tokens that are unknown or belong to another
  # grain, and leaves those as they are. In shipped Sandstorm, capabilities already restored live
  # on.

  deleted @6 (ref :AppObjectId) -> ();
  # Tells the platform that an object it holds saved references to is gone, so that it may clean up
  # after the holders. Unimplemented in shipped Sandstorm.

  stayAwake @7 (displayInfo :NotificationDisplayInfo, notification :OngoingNotification)
      -> (handle :Handle);
  # Keeps the grain running with no session open, and shows the owner a notification for as long.
  # Ends when the app drops `handle`, which withdraws the notification, or when the owner dismisses
  # it, which calls `notification.cancel`. The platform keeps the two lifetimes apart and counts
  # both. Not persistent: the lock dies with the process, and it does not shield the grain from
  # being stopped by its owner.

  save @8 (cap :Capability, label :LocalizedText) -> (token :Data);
  # Makes a capability outlast the process. `label` says what it is for, where the owner reviews
  # what the grain holds. The token is 43 characters of base64url (256 bits) as ASCII; the platform
  # keeps only its hash, so the app must store it, under `/var`. It is a secret but works for this
  # grain alone. The app's own objects are asked for their id through `AppPersistent.save`. Saving a
  # restored capability gives a child of its token, which dies with the parent. Fails for what is
  # not persistent: sessions, contexts, streams and the like.

  backgroundActivity @9 (event :ActivityEvent) -> ();
  # Reports something that happened without a user acting: mail came in, a feed was read. With a
  # user acting, `SessionContext.activity` is the right place.

  getIdentityId @10 (identity :Identity) -> (id :Data);
  # The 32 bytes that `UserInfo.identityId` has for this person in this grain. Fails for
  # capabilities that are no identity of the platform's.

  schedule @11 ScheduledJob -> ();
  # Has the platform wake the grain and call it at a later time, also after restarts. Sandstorm
  # keeps about 50 jobs for each grain.
}

struct ScheduledJob @0xa34f0cfe24c69d74 {
  name @0 :LocalizedText;
  # Shown to the owner in the grain's settings, also beside the error of a job that failed.

  callback @1 :Callback;
  # Saved by the platform when the job is made, so it must be persistent: an object of the app that
  # implements `AppPersistent` as well.

  schedule :union {
    oneShot :group {
      # Runs once; the job is gone after it succeeded.

      when @2 :Int64;
      # Start of the window in which to run, in nanoseconds since the Unix epoch. The past is an
      # error.

      slack @3 :UInt64;
      # Width of that window, in nanoseconds. The run falls at a random moment inside, which keeps
      # jobs of many grains apart. 0 stands for an eighth of the time from now to `when`. Otherwise
      # at least `minimumSchedulingSlack`: less is raised to it silently in shipped Sandstorm,
      # although its documents promise an error.
    }

    periodic @4 :SchedulingPeriod;
    # Runs again and again, the first time at a random moment in the first half period.
  }

  interface Callback @0xab619ad5a8fb7e11 {
    # Implemented by the app, held by the platform alone. Persistent.

    run @0 () -> (cancelFutureRuns :Bool = false);
    # Does the job. The grain is kept awake until the call returns. "Disconnected" is tried again,
    # five times at most; any other error is noted for the owner to see. With `cancelFutureRuns` a
    # periodic job ends here.
  }
}

const minimumSchedulingSlack @0xeecac1be25f73248 :UInt64 = 300000000000;
# Five minutes, in nanoseconds. The platform looks for due jobs no more often than that.

enum SchedulingPeriod @0x8478a37e9456409d {
  hourly @0;
  daily @1;
  monthly @2;
  annually @3;
  weekly @4;
}

# ------------------------------------------------------------------------------------------------
# What a grain shows to people

interface UiView @0xdbb4d798ea67e2e7 {
  # A grain, or a part of one, that people can look at. Implemented by apps. Only the platform can
  # open sessions on it; another app that was given a view holds a persistent reference with which
  # to show what it is, to offer it to people, and no more.

  getViewInfo @0 () -> ViewInfo;
  # What the app says of itself. Asked at every opening. "Unimplemented", and "failed" from old
  # apps, mean an empty answer.

  newSession @1 (userInfo :UserInfo, context :SessionContext, sessionType :UInt64,
                 sessionParams :AnyPointer, tabId :Data) -> (session :UiSession);
  # Lets a person in. `sessionType` is the type id of the interface wanted: `WebSession`,
  # `ApiSession` or `HackEmailSession`. `sessionParams` is that interface's `Params`, or anything
  # for e-mail. `tabId` is 16 bytes, the same for sessions that belong to one browser tab or one
  # token. The app throws for types it does not serve; an `ApiSession` refused in whatever way is
  # asked for again as a `WebSession` with the base path `https://sandbox`. The session serves
  # `userInfo`'s person and is not persistent. `context` also answers as a `HackSessionContext`.

  newRequestSession @2 (userInfo :UserInfo, context :SessionContext, sessionType :UInt64,
                        sessionParams :AnyPointer, requestInfo :List(PowerboxDescriptor),
                        tabId :Data) -> (session :UiSession);
  # A session inside a picker: the person chose this grain to answer another's powerbox request.
  # `requestInfo` is the query. The app lets them pick, then calls `SessionContext.fulfillRequest`.

  newOfferSession @3 (userInfo :UserInfo, context :SessionContext, sessionType :UInt64,
                      sessionParams :AnyPointer, offer :Capability, descriptor :PowerboxDescriptor,
                      tabId :Data) -> (session :UiSession);
  # A session for receiving a capability another grain offers. The shell of shipped Sandstorm never
  # calls it.

  struct ViewInfo @0xbc5e354741a8e665 {
    permissions @0 :List(PermissionDef);
    # The bits this app tells people apart by. Their positions are what is stored in shares and
    # saved references, so a version may add at the end and mark obsolete, never reorder or remove.

    roles @1 :List(RoleDef);
    # What people are offered when they share. Positions are stored, and the same rule applies.
    # Shares remember the role, not its bits: a role that changes, changes for everybody who has it.

    deniedPermissions @2 :List(Bool);
    # Bits that nobody gets through this view, whatever their role; for views narrower than their
    # grain.

    matchRequests @3 :List(PowerboxDescriptor);
    # Requests this grain can answer. Its owner and those it is shared with find it in the picker
    # when one of them matches.

    matchOffers @4 :List(PowerboxDescriptor);
    # Offers this grain would accept. See `newOfferSession`.

    appTitle @5 :LocalizedText;
    # Filled in by the platform for views held by other apps; what an app itself says here is not
    # used.

    grainIcon @6 :StaticAsset;
    # Likewise.

    eventTypes @7 :List(ActivityTypeDef);
    # Kinds of activity, for `ActivityEvent.type` to index. Positions are for ever.
  }

  struct PowerboxTag @0x982790c08b1958ec {
    # In a request: any grain the person can open, with a role they choose. In an offer, which must
    # have this one tag: a view for the person to keep.

    title @0 :Text;
    # In an offer, the name the person will find it under; must not be empty.
  }
}

interface UiSession @0xf63241ee58b5166f {
  # One person looking at one view. What they can do there is up to the derived interface. Held by
  # the platform; dropped when the person leaves, loses access or has their permissions changed.
  # Never persistent.
}

interface SessionContext @0xbf3e401d5a63f336 {
  # What an app may do to the person in front of it. Held by the app, one for each session, and dead
  # once the session ends. Not persistent. Calls that show something need the person's tab, and
  # anything that gives authority away is checked against what this person has.

  getSharedPermissions @0 () -> (var :Assignable(List(Bool)).Getter);
  # The person's permissions as a variable to watch. Unimplemented in shipped Sandstorm, which ends
  # the session when they change.

  tieToUser @1 (cap :Capability, requiredPermissions :List(Bool), displayInfo :PowerboxDisplayInfo)
      -> (tiedCap :Capability);
  # Wraps a capability so that it works only while this person has `requiredPermissions` on the
  # grain. Unimplemented in shipped Sandstorm.

  offer @2 (cap :Capability, requiredPermissions :List(Bool), descriptor :PowerboxDescriptor,
            displayInfo :PowerboxDisplayInfo) -> ();
  # Gives the person something to take along. A `UiView` goes to their list of grains and opens;
  # anything else is shown as a web key for outside programs. `cap` must be persistent. What they
  # receive works while they keep `requiredPermissions` here, which is checked at once, and access
  # to this grain as such, which is implied even by an empty list.

  request @3 (query :List(PowerboxDescriptor), requiredPermissions :List(Bool))
      -> (cap :Capability, descriptor :PowerboxDescriptor);
  # Asks the person for a capability from the server's side. Unimplemented in shipped Sandstorm:
  # apps ask from the page, by a `powerboxRequest` message, and then call `claimRequest`.

  fulfillRequest @4 (cap :Capability, requiredPermissions :List(Bool), descriptor :PowerboxDescriptor,
                     displayInfo :PowerboxDisplayInfo) -> ();
  # Answers the request this session was opened for and closes the picker. `cap` must be persistent,
  # with requirements as for `offer`. In a session that answers no request it does what `offer`
  # does.

  close @5 () -> ();
  # Closes the view. Unimplemented in shipped Sandstorm.

  openView @6 (view :UiView, path :Text = "", newTab :Bool = false) -> ();
  # Takes the person to another view, at `path` in it. Unimplemented in shipped Sandstorm.

  claimRequest @7 (requestToken :Text, requiredPermissions :List(Bool)) -> (cap :Capability);
  # Trades the token which the page got from its powerbox request for the capability picked. Works
  # in the session that asked and in no other, whoever else learns the token; it lapses after ten
  # minutes. The capability works while this person keeps `requiredPermissions` on this grain, and
  # access to it at all. It is persistent: an app which needs it beyond this session calls
  # `SandstormApi.save`.

  activity @8 (event :ActivityEvent) -> ();
  # Reports that the person did something. The platform knows who acted, so `event.users` lists the
  # others whom it concerns.
}

struct PermissionDef @0xf144a5e58889dafb {
  # One bit of what a person may do. The meaning is the app's, and so is the enforcing.

  name @3 :Text;
  # For programs: the http bridge sends the names of the bits held, joined by commas, to the app; so
  # there can be no comma in a name.

  title @0 :LocalizedText;
  # For people: "write".

  description @1 :LocalizedText;

  obsolete @2 :Bool;
  # No longer offered; stays here for the sake of the positions after it.
}

struct RoleDef @0xcb3f7064eae4dc5a {
  # A set of permissions with a name people can choose when sharing.

  title @0 :LocalizedText;
  # "editor"

  verbPhrase @1 :LocalizedText;
  # Completes a sentence about the person: "can edit".

  description @2 :LocalizedText;

  permissions @3 :List(Bool);
  # One bit for each of `ViewInfo.permissions`; a shorter list means false for the rest.

  obsolete @4 :Bool;
  # No longer offered for new shares; existing ones keep it.

  default @5 :Bool;
  # The role of shares that name none. If no role has this, such shares give access with no
  # permissions.
}

interface SharingLink @0xc05520c9b0994ad3 {
  # One share, seen from the side of the one who gave it. Reached only by `SandstormApi.shareCap`
  # and `shareView`, so not found in shipped Sandstorm. Dropping it takes nothing back.

  getPetname @0 () -> (name :Assignable(LocalizedText));
  # The name the sharer has for the recipient. The recipient never sees it.
}

interface ViewSharingLink @0xa4f82f764dc3fee8 extends(SharingLink) {
  # A share of a view.

  getRoleAssignment @0 () -> (var :Assignable(RoleAssignment));
  # What the recipient may do; writing it changes their access.

  struct RoleAssignment @0xf020f2be35e8e2b5 {
    # Never more than the sharer has: along a chain of shares, permissions intersect.

    addPermissions @3 :List(Bool);
    # Bits beyond those of the role. Without effect in shipped Sandstorm, which looks for this and
    # the next field under other names.

    removePermissions @4 :List(Bool);
    # Bits of the role to withhold. Without effect in shipped Sandstorm.

    union {
      none @0 :Void;
      # The app's default role. A missing assignment means this too.

      allAccess @1 :Void;
      # Whatever the sharer may do.

      roleId @2 :UInt16;
      # Position in `ViewInfo.roles`. A position that is not there gives no permissions.
    }
  }
}

struct GrainInfo @0xb5fcc0e153671d68 {
  # Root of the entry `metadata` in a grain's backup. Comes from a file somebody uploads: every
  # field is a claim.

  appId @0 :Text;
  # 52 characters. A backup with none cannot be restored.

  appVersion @1 :UInt32;
  # As in `Manifest`. Restoring takes an installed app that is at least as new.

  title @2 :Text;

  ownerIdentityId @3 :Text;
  # `UserInfo.identityId` of the owner, in hex. The restored grain knows its new owner by it, which
  # keeps their belongings in the app. Absent in old backups.

  users @4 :List(User);
  # Others the grain has known. Empty in old backups.

  originalGrainId @5 :Text;
  # Where the backup was taken. Shipped Sandstorm never writes it.

  struct User @0x9f07b75928ba4e20 {
    identityId @0 :Text;
    # In hex, as the app knows this person.

    credentialIds @1 :List(Text);
    # Hex SHA-256 of "service:id in that service", for each way they sign in. Who comes to the
    # restored grain with one of these gets the identity back.

    profile @2 :Profile;
    # Without the picture.
  }
}

# ------------------------------------------------------------------------------------------------
# What an app does for the platform

interface AppPersistent @0xaffa789add8747b8(AppObjectId) {
  # Implemented by those of an app's objects that can be saved, beside their proper interface. The
  # platform alone calls it: from other grains, and by apps on what they hold, it is unimplemented.

  save @0 () -> (objectId :AppObjectId, label :LocalizedText);
  # A name from which `MainView.restore` can make the object again, in any later process of this
  # grain. The platform stores it unread, whatever struct it is, and never shows it to the holder of
  # the token. It should carry all that decides what the object may do. `label` is what the object
  # is called where its grain's owner reviews what was handed out.
}

interface MainView @0xc277e9822ae2c8fc(AppObjectId) extends(UiView) {
  # Bootstrap of an app towards the platform, and the grain as people see it. Held by the platform;
  # `restore` and `drop` do not pass the membrane to anyone else. A plain `UiView` will do for apps
  # that save no objects. The app must accept calls before it is ready; they wait.

  restore @0 (objectId :AppObjectId) -> (cap :Capability);
  # The object that `AppPersistent.save` named. The platform has checked that the caller is entitled
  # to it and that the id is one this grain gave out. May run in a grain just started for it.

  drop @1 (objectId :AppObjectId) -> ();
  # No reference to the object is left. Shipped Sandstorm never calls it, so the only price of an
  # app not counting on it is storage.
}
