@0xd9c4b2ae6f108357;
# How the broker, the edge and a grain host speak. One grain host runs per running grain.

using ByteStream = import "/sandstorm/util.capnp".ByteStream;
using Handle = import "/sandstorm/util.capnp".Handle;
using Assignable = import "/sandstorm/util.capnp".Assignable;
using LocalizedText = import "/sandstorm/util.capnp".LocalizedText;
using UiView = import "/sandstorm/grain.capnp".UiView;
using UiSession = import "/sandstorm/grain.capnp".UiSession;
using ScheduledJob = import "/sandstorm/grain.capnp".ScheduledJob;
using SchedulingPeriod = import "/sandstorm/grain.capnp".SchedulingPeriod;
using ViewSharingLink = import "/sandstorm/grain.capnp".ViewSharingLink;
using SharingLink = import "/sandstorm/grain.capnp".SharingLink;
using UserInfo = import "/sandstorm/identity.capnp".UserInfo;
using WebSession = import "/sandstorm/web-session.capnp".WebSession;
using IpAddress = import "/sandstorm/ip.capnp".IpAddress;
using PowerboxDescriptor = import "/sandstorm/powerbox.capnp".PowerboxDescriptor;
using PowerboxDisplayInfo = import "/sandstorm/powerbox.capnp".PowerboxDisplayInfo;
using ActivityEvent = import "/sandstorm/activity.capnp".ActivityEvent;
using NotificationDisplayInfo = import "/sandstorm/activity.capnp".NotificationDisplayInfo;
using OngoingNotification = import "/sandstorm/activity.capnp".OngoingNotification;

interface GrainHost {
  # Bootstrap of a grain host towards the broker. Holding it is holding the grain.

  admit @0 (nonce :Data, session :Admission) -> ();
  # Expects somebody to present `nonce` at the door; once, and only for a few seconds.

  viewInfo @1 () -> (info :UiView.ViewInfo);
  # What the app says of itself; empty when it does not say.

  endSession @2 (sessionId :Data) -> ();
  # Breaks every capability made through the sessions and references with this id, on both
  # sides; returns when it is done.

  watchLog @3 (backlog :UInt64, stream :ByteStream) -> (handle :Handle);
  shutdown @4 () -> ();
  # Kills the app and ends the host. The connection breaks instead of a return.

  refusedSyscalls @5 () -> (calls :List(RefusedSyscall));
  # What the app asked the kernel for and did not get; filled when the grain was started to record it.

  keepAlive @6 () -> ();

  readQuery @7 (query :List(Text)) -> (descriptors :List(PowerboxDescriptor));
  # Decodes what a page of the app asked for: each text is one packed `PowerboxDescriptor` in
  # either base64 alphabet, padded or not. The broker decodes nothing a page wrote.

  writeDescriptor @8 (descriptor :PowerboxDescriptor) -> (text :Text);
  # The other way round, for the answer: packed, URL-safe base64.

  runJob @9 (object :ObjectId) -> (cancelFutureRuns :Bool);
  # Restores a `ScheduledJob.Callback` of this grain and runs it.

  dropObject @10 (object :ObjectId) -> ();
  # Tells the app that nobody holds this object of its any more (`MainView.drop`).

  usage @11 () -> (usage :Usage);
  # What the grain takes now; its storage is measured for this.

  limitStorage @12 (limit :StorageLimit) -> ();
  # Bounds the grain's storage from now on; whoever is above it already is ended.

  figures @13 () -> (memory :UInt64, processorTime :UInt64, atRest :Bool);
  # What the app takes: bytes of memory that only its end brings back, microseconds of processor time since it was
  # started; 0 where nobody counts. And whether it stands still now for having nothing to do. No use of the grain.
}

struct Usage {
  # What a grain takes. -1: the machine does not say.
  memory @0 :Int64;
  # Bytes in use, caches of files included.
  processes @1 :Int64;
  processor @2 :Int64;
  # Milliseconds of processor time since the app was started.
  bytes @3 :UInt64;
  # On disk, the log included.
  files @4 :UInt64;
}

struct StorageLimit {
  bytes @0 :UInt64;
  files @1 :UInt64;
}

enum Limit {
  # What an app may run into.
  none @0;
  memory @1;
  processes @2;
  disk @3;
  files @4;
  log @5;
  # It wrote more log than is kept.
  processor @6;
  # It kept a processor busy without a break; others are served first.
  openFiles @7;
  # A process of it has as many files open as it may.
  calls @8;
  # It makes calls and takes no answers, so that nothing more is read from it.
  answers @9;
  # It says nothing while somebody waits for it.
}

struct ObjectId {
  # By what an app finds one of its objects again.
  id @0 :AnyPointer;
  # As `AppPersistent.save` returned it; any shape, opaque to us.
}

struct RefusedSyscall {
  number @0 :UInt32;
  name @1 :Text;
  count @2 :UInt32;
}

struct Admission {
  # What somebody who presents the nonce is to be given.

  sessionId @0 :Data;
  # 16 bytes: what `endSession` names. Shared by all doors opened for one browser session.
  user @1 :UserInfo;
  # `permissions` are what the broker computed, except for an owner.
  tabId @2 :Data;
  # 16 bytes.
  isOwner @3 :Bool;
  # The owner holds every permission the app defines, however many those are.

  keeper @4 :SessionKeeper;
  # The broker towards this session. Null for `object`.

  union {
    page @5 :Void;
    # `UiView.newSession`, of type `WebSession`.
    api :group {
      # `UiView.newSession`, of type `ApiSession`, or `WebSession` where the app knows no other.
      remoteAddress @6 :IpAddress;
      # Null unless the client asked for it to be told.
    }
    request @7 :List(PowerboxDescriptor);
    # `UiView.newRequestSession`: the app is asked to provide something.
    offer :group {
      # `UiView.newOfferSession`: the app is offered something.
      cap @8 :Capability;
      descriptor @9 :PowerboxDescriptor;
    }
    object @10 :ObjectId;
    # One of the app's objects (`MainView.restore`), through `GrainDoor.take`.
  }
}

interface HostKeeper {
  # Bootstrap of the broker towards a grain host: what one grain may ask of the platform.

  reportSize @0 (bytes :UInt64, files :UInt64) -> ();
  reportExit @1 (reason :Text, asked :Bool, limit :Limit) -> ();
  # The app is gone: how it ended, if that was asked for (shutdown, idle), and which limit ended it.

  save @2 (object :ObjectId, seal :Seal, label :LocalizedText, through :Data) -> (token :Data);
  # Makes a durable reference to one of this grain's objects, good only for whom it is sealed
  # for. `through` is the id of the session or reference through which the object was reached,
  # empty when the app itself saves: the conditions of that session become those of the token.
  # An object under a tie has the id of the tie as well, behind the other: 16 bytes each, any number.

  restore @3 (token :Data) -> (restored :Restored);
  # What a token sealed for this grain stands for. Fails alike when it is unknown, revoked,
  # expired, or sealed for somebody else.

  drop @4 (token :Data) -> ();
  # Forgets a token sealed for this grain. Unknown tokens are no error.

  identityId @5 (identity :Capability) -> (id :Data);
  # By which 32 bytes this grain knows the person behind an `Identity` of ours.

  forget @6 (object :ObjectId) -> ();
  # The app says this object is gone for good: every token for it dies.

  stayAwake @7 (display :NotificationDisplayInfo, notification :OngoingNotification) -> (handle :Handle);
  # Tells the owner that the app works in the background, until the handle is dropped or the
  # owner cancels (`OngoingNotification.cancel`).

  activity @8 (event :ActivityEvent) -> ();
  # Something happened in the grain that nobody in particular did.

  schedule @9 (token :Data, name :LocalizedText, job :JobSchedule) -> ();
  # Runs the callback behind `token` (sealed for the platform) when it is due.

  shareCap @10 (token :Data, display :PowerboxDisplayInfo) -> (link :SharingLink);
  shareView @11 (view :UiView) -> (view :UiView, link :ViewSharingLink);
  # `view` is one of ours; both results are new, revocable by the owner, and pass on no more.

  letGo @12 (references :Data) -> ();
  # Nothing of what came by these references (16 bytes each, any number) is held any more. Sent now and then, not at once.

  reportLimit @13 (limit :Limit) -> ();
  # The app has met this limit and goes on.
}

struct JobSchedule {
  union {
    oneShot :group {
      when @0 :Int64;
      slack @1 :UInt64;
    }
    periodic @2 :SchedulingPeriod;
  }
}

struct Seal {
  # Whom a token is for. A token is worthless to anybody else.
  union {
    grain @0 :Text;
    # The id of a grain.
    answer @1 :Data;
    # The session (16 bytes) whose `fulfil` or `offer` will name it at once.
    platform @2 :Void;
    # A scheduled job of the grain that saves it.
    link @3 :Void;
    # A sharing link for something that is not a view.
  }
}

struct Restored {
  # A reference come alive.

  id @0 :Data;
  # 16 bytes: what `endSession` names when the reference is revoked.
  union {
    cap @1 :Capability;
    # One of the broker's own objects.
    own @2 :ObjectId;
    # One of the asking grain's own objects.
    door :group {
      # An object of another grain, to be had with `GrainDoor.take`.
      socketPath @3 :Text;
      nonce @4 :Data;
    }
  }
}

interface SessionKeeper {
  # The broker towards one session of a grain: what its person may hand to the app. Dead once
  # the session has ended.

  claim @0 (token :Text, permissions :List(Bool)) -> (restored :Restored);
  # Takes what the person chose in the powerbox, once. It lives only while the person holds
  # `permissions` on the grain.

  fulfil @1 (token :Data, permissions :List(Bool), descriptor :PowerboxDescriptor, display :PowerboxDisplayInfo) -> ();
  # Answers the request this session was opened for with the object behind `token`, which
  # `save` sealed as `answer`. Where nothing was requested, it is an offer.

  offer @2 (token :Data, permissions :List(Bool), descriptor :PowerboxDescriptor, display :PowerboxDisplayInfo) -> ();

  request @3 (query :List(PowerboxDescriptor), permissions :List(Bool)) -> (restored :Restored, descriptor :PowerboxDescriptor);
  # Opens the powerbox in front of the person and returns what they choose.

  permissions @4 () -> (var :Assignable(List(Bool)).Getter);
  # What the person may do in the grain, followed live.

  tie @5 (permissions :List(Bool), display :PowerboxDisplayInfo) -> (id :Data);
  # An id (16 bytes) that `endSession` will name when the person loses `permissions`.

  close @6 () -> ();
  # The app is done with this page.

  openView @7 (view :UiView, path :Text, newTab :Bool) -> ();
  # Asks the shell to show another grain the app holds a view of.

  activity @8 (event :ActivityEvent) -> ();
  # The person did something in the grain.

  publicId @9 () -> (publicId :Text, hostname :Text, autoUrl :Text, isDemoUser :Bool);
  # Where the grain's `/var/www` is published, from now on.

  userAddress @10 () -> (address :Text, name :Text);
}

interface GrainDoor {
  # Bootstrap of the socket a grain host listens on. Grants nothing without a nonce.

  enter @0 (nonce :Data, params :WebSession.Params) -> (session :UiSession);
  # A session of the kind, person and permissions that the broker announced for `nonce`.

  take @1 (nonce :Data) -> (cap :Capability);
  # The object that the broker announced for `nonce`.
}
